//! The types that a bronze table needs: what the target has of them, what is made, and what keeps it from being made.
//!
//! Everything is found out from the catalog, before anything is written; no server's message is read.

use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::GenericClient;
use tokio_postgres::types::{ToSql, Type};

use super::Cause;
use crate::catalog::{self, TypesOf};
use crate::config::TargetConfig;
use crate::connect::sort;
use crate::error::Result;
use crate::plan::{LoadPlan, missing_extension_hint, renamed, type_ddl};
use crate::schema::{ObjectName, TypeDef, TypeKind, TypeName, definition, named_there, quote_ident, quote_literal};

/// Whether a role may use a schema and create in it, and whether ours may grant that. A role that is not there yet has
/// nothing that could be missing.
const SCHEMAS: &str = "select n.nspname::text, coalesce(pg_catalog.has_schema_privilege(o.oid, n.oid, 'usage'), true), \
         coalesce(pg_catalog.has_schema_privilege(o.oid, n.oid, 'create'), true), \
         pg_catalog.pg_has_role(n.nspowner, 'usage') \
     from pg_catalog.pg_namespace n left join pg_catalog.pg_roles o on o.rolname = $2 where n.nspname = any ($1)";

/// Types of these names that the role may not use, though it may use their schemas.
const LOCKED: &str = "select n.nspname::text, t.typname::text from unnest($1, $2) w(schema, name) \
     join pg_catalog.pg_namespace n on n.nspname = w.schema \
     join pg_catalog.pg_type t on t.typnamespace = n.oid and t.typname = w.name \
     join pg_catalog.pg_roles o on o.rolname = $3 \
     where pg_catalog.has_schema_privilege(o.oid, n.oid, 'usage') and not pg_catalog.has_type_privilege(o.oid, t.oid, 'usage')";

/// Where types of a name lie, the likeliest first: in the schema of that name, in an extension, in bronze or `public`.
const ANYWHERE: &str = "select n.nspname::text from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace \
     left join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and d.objid = t.oid \
         and d.deptype = 'e' \
     where t.typname = $2 and (n.nspname in ($1, $3, 'public') or d.objid is not null) \
     order by n.nspname <> $1, d.objid is null, n.nspname = 'public', 1 limit 1";

/// Types of PostgreSQL itself that this server does not have.
const UNKNOWN: &str = "select name from pg_catalog.unnest($1) name where pg_catalog.to_regtype(name) is null";

/// What is done for the types of a table before it is made.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// The load with the names that its types have at the target.
    pub(super) load: Option<LoadPlan>,
    /// Schemas that are made.
    pub(super) schemas: BTreeSet<String>,
    /// Rights on schemas that the owner role gets.
    pub(super) grants: Vec<String>,
    /// Types that are made.
    pub(crate) made: Vec<ObjectName>,
    /// Enums that get labels.
    pub(crate) labels: Vec<(ObjectName, Vec<String>)>,
    /// What is run as the owner role.
    pub(super) sql: Vec<String>,
    /// What keeps the table from being made.
    pub(crate) causes: Vec<Cause>,
}

/// Looks at what a load needs. `present`: its table is there, so types that are there too need no right of the owner role.
pub(crate) async fn look_at(
    client: &impl GenericClient,
    target: &TargetConfig,
    load: &LoadPlan,
    present: bool,
) -> Result<Prepared> {
    let names: Vec<ObjectName> = load.types.iter().map(|def| def.name.clone()).collect();
    // The question walks through all that extensions bring: a table of plain types, as most are, does without.
    let there = match names.is_empty() {
        true => Vec::new(),
        false => catalog::types(client, &TypesOf { names: &names, ..TypesOf::default() }).await?,
    };
    let prepared = Prepared::default();
    let owner = &target.owner_role;
    let mut look = Look { owner, present, there, schemas: BTreeMap::new(), used: Vec::new(), prepared };
    let old = look.undescribed(client, &target.bronze_schema, load).await?;
    let name_there = |name: &TypeName| match old.get(name) {
        Some(schema) => name.moved(Some(schema)),
        None => named_there(name, &load.types, &look.there),
    };
    let resolved = renamed(load, name_there);
    look.rights(client, &resolved).await?;
    look.builtin(client, &resolved).await?;
    for def in &resolved.types {
        look.judge(def);
    }
    look.locked(client).await?;
    look.prepared.load = Some(resolved);
    Ok(look.prepared)
}

struct Look<'a> {
    owner: &'a str,
    present: bool,
    /// What the target has.
    there: Vec<TypeDef>,
    /// Schemas of the target.
    schemas: BTreeMap<String, Rights>,
    /// Types of the target that are used.
    used: Vec<ObjectName>,
    prepared: Prepared,
}

#[derive(Clone, Copy)]
struct Rights {
    usage: bool,
    create: bool,
    ours: bool,
}

impl Look<'_> {
    fn refuse(&mut self, cause: String, hint: String) {
        self.prepared.causes.push(Cause { cause, hint });
    }

    /// Where the types lie that nothing but their name is known of.
    async fn undescribed(
        &mut self,
        client: &impl GenericClient,
        bronze_schema: &str,
        load: &LoadPlan,
    ) -> Result<BTreeMap<TypeName, String>> {
        let mut found = BTreeMap::new();
        for name in load.columns.iter().map(|column| &column.type_name) {
            let Some(object) = name.object().filter(|object| object.schema != "information_schema") else { continue };
            if definition(&load.types, name).is_some() {
                continue;
            }
            let values: [(&(dyn ToSql + Sync), Type); 3] =
                [(&object.schema, Type::TEXT), (&object.name, Type::TEXT), (&bronze_schema, Type::TEXT)];
            match client.query_typed_opt(ANYWHERE, &values).await.map_err(sort)? {
                Some(row) => drop(found.insert(name.clone(), row.get(0))),
                None => self.refuse(format!("the target has no type `{name}`"), missing_extension_hint(name.name())),
            }
        }
        Ok(found)
    }

    async fn rights(&mut self, client: &impl GenericClient, load: &LoadPlan) -> Result<()> {
        let of_columns = load.columns.iter().filter_map(|column| column.type_name.object());
        let names: BTreeSet<String> = load
            .types
            .iter()
            .map(|def| def.name.clone())
            .chain(self.there.iter().map(|def| def.name.clone()))
            .chain(of_columns)
            .map(|name| name.schema)
            .collect();
        let names: Vec<String> = names.into_iter().collect();
        let values: [(&(dyn ToSql + Sync), Type); 2] = [(&names, Type::TEXT_ARRAY), (&self.owner, Type::TEXT)];
        let rows = client.query_typed(SCHEMAS, &values).await.map_err(sort)?;
        let rights = |row: &tokio_postgres::Row| Rights { usage: row.get(1), create: row.get(2), ours: row.get(3) };
        self.schemas = rows.iter().map(|row| (row.get(0), rights(row))).collect();
        Ok(())
    }

    async fn builtin(&mut self, client: &impl GenericClient, load: &LoadPlan) -> Result<()> {
        let parts = load.types.iter().flat_map(TypeDef::parts);
        let names = parts.chain(load.columns.iter().map(|column| &column.type_name));
        let own: BTreeSet<&str> = names.filter(|name| name.schema().is_none()).map(TypeName::as_str).collect();
        let own: Vec<&str> = own.into_iter().collect();
        for row in client.query_typed(UNKNOWN, &[(&own, Type::TEXT_ARRAY)]).await.map_err(sort)? {
            self.refuse(
                format!("the target has no type `{}`, which the PostgreSQL of the source has", row.get::<_, &str>(0)),
                "take a newer PostgreSQL at the target, or copy the column's text with `[table.select]`".to_owned(),
            );
        }
        Ok(())
    }

    /// Decides about a type whose parts bear the names that they have at the target.
    fn judge(&mut self, def: &TypeDef) {
        if let TypeKind::Extension { extension } = &def.kind {
            self.judge_extension(def, extension);
            return;
        }
        let Some(there) = self.there.iter().find(|other| other.name == def.name).cloned() else {
            self.make(def);
            return;
        };
        match difference(def, &there) {
            Difference::None => self.may_use(&def.name),
            Difference::Labels(labels) => {
                self.may_use(&def.name);
                self.prepared.labels.push((def.name.clone(), labels));
                self.prepared.sql.extend(type_ddl(def));
            }
            Difference::Another(hint) => {
                let text =
                    format!("type `{}` is {} in the target, but {} in the source", def.name, there.kind, def.kind);
                self.refuse(text, hint);
            }
        }
    }

    fn judge_extension(&mut self, def: &TypeDef, extension: &str) {
        let of = |other: &&TypeDef| other.kind == def.kind;
        let quoted = quote_ident(extension);
        if let Some(there) = self.there.iter().find(|other| of(other) && other.name.name == def.name.name) {
            let name = there.name.clone();
            self.may_use(&name);
        } else if self.there.iter().any(|other| of(&other)) {
            self.refuse(
                format!("extension `{extension}` of the target has no type `{}`", def.name.name),
                format!("in the target, as a superuser: alter extension {quoted} update;"),
            );
        } else {
            self.refuse(
                format!("the target has no extension `{extension}`, which brings type `{}`", def.name.name),
                format!("in the target, as a superuser: create extension if not exists {quoted};"),
            );
        }
    }

    fn make(&mut self, def: &TypeDef) {
        let Some(sql) = type_ddl(def) else {
            self.refuse(
                format!("the target has no type `{}`, which is {}", def.name, def.kind),
                "install it in the target, or copy the column's text with `[table.select]`".to_owned(),
            );
            return;
        };
        self.may_create_in(&def.name.schema);
        self.prepared.made.push(def.name.clone());
        self.prepared.sql.push(sql);
    }

    fn may_create_in(&mut self, schema: &str) {
        let Some(rights) = self.schemas.get(schema).copied() else {
            self.prepared.schemas.insert(schema.to_owned());
            return;
        };
        if !(rights.create && rights.usage) {
            self.grant(schema, "usage, create", "create types in", rights.ours);
        }
    }

    fn may_use(&mut self, name: &ObjectName) {
        if self.present {
            return;
        }
        self.used.push(name.clone());
        if let Some(rights) = self.schemas.get(&name.schema).copied().filter(|rights| !rights.usage) {
            self.grant(&name.schema, "usage", "use", rights.ours);
        }
    }

    /// A right that the owner role lacks: given where ours may give it.
    fn grant(&mut self, schema: &str, right: &str, what: &str, ours: bool) {
        let sql = format!("grant {right} on schema {} to {};", quote_ident(schema), quote_ident(self.owner));
        if ours {
            self.prepared.grants.push(sql);
        } else {
            let cause =
                format!("role `{}` may not {what} schema `{schema}` of the target, where types lie", self.owner);
            self.refuse(cause, format!("in the target: {sql}"));
        }
    }

    async fn locked(&mut self, client: &impl GenericClient) -> Result<()> {
        let (schemas, names): (Vec<&str>, Vec<&str>) =
            self.used.iter().map(|name| (name.schema.as_str(), name.name.as_str())).unzip();
        let values: [(&(dyn ToSql + Sync), Type); 3] =
            [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY), (&self.owner, Type::TEXT)];
        for row in client.query_typed(LOCKED, &values).await.map_err(sort)? {
            let name = ObjectName::new(row.get::<_, String>(0), row.get::<_, String>(1));
            let grant = format!("grant usage on type {} to {};", name.sql(), quote_ident(self.owner));
            self.refuse(
                format!("role `{}` may not use type `{name}` of the target", self.owner),
                format!("in the target: {grant}"),
            );
        }
        Ok(())
    }
}

enum Difference {
    None,
    /// These are missing in the target.
    Labels(Vec<String>),
    /// It is another type, with what to do.
    Another(String),
}

fn difference(wanted: &TypeDef, there: &TypeDef) -> Difference {
    let another = || {
        Difference::Another(format!(
            "make it the same in the target (`alter type`), or move it away: alter type {} rename to {}; then `dwh migrate` again; \
             or copy the column's text with `[table.select]`",
            wanted.name.sql(),
            quote_ident(&format!("{}_old", wanted.name.name))
        ))
    };
    match (&wanted.kind, &there.kind) {
        (TypeKind::Enum { labels }, TypeKind::Enum { labels: known }) => {
            let missing: Vec<String> = labels.iter().filter(|label| !known.contains(label)).cloned().collect();
            let more: Vec<&String> = known.iter().filter(|label| !labels.contains(label)).collect();
            let both = |of: &[String], other: &[String]| -> Vec<String> {
                of.iter().filter(|label| other.contains(label)).cloned().collect()
            };
            match (missing.is_empty(), more.first()) {
                _ if both(labels, known) != both(known, labels) => another(),
                (true, _) => Difference::None,
                (false, None) => Difference::Labels(missing),
                // A label that was renamed looks like this, and a second label in its place would keep old rows apart.
                (false, Some(old)) => Difference::Another(format!(
                    "if the source renamed it, in the target: alter type {0} rename value {1} to {2}; -- if not: alter type {0} add \
                     value {2};",
                    wanted.name.sql(),
                    quote_literal(old),
                    quote_literal(&missing[0])
                )),
            }
        }
        (wanted, there) if wanted.is_same(there) => Difference::None,
        _ => another(),
    }
}
