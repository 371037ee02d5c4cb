//! `migrate --print-sql`: everything that `migrate` would run, without asking the target.

use std::collections::BTreeSet;

use super::design::design_of;
use super::tables::{schema_unless_there, schemas_of, seeds, table_schema};
use super::{audits, loads, lock, record, render};
use crate::config::{Config, Discovered, TargetConfig};
use crate::control::Control;
use crate::error::Result;
use crate::plan::{Design, LoadPlan, Plan, bronze_ddl, type_ddl, unresolved};
use crate::schema::{TypeDef, TypeKind, definition, quote_ident, quote_literal};

/// Everything that [`migrate`](super::migrate()) would run, for a DBA: one transaction, for psql or any other client.
///
/// # Errors
/// `Config` for a design that cannot be used.
pub fn print_sql(target: &TargetConfig, plans: &[Plan]) -> Result<String> {
    let tables = loads(plans);
    let mut sql = format!("begin;\n{};\n", lock(target));
    for migration in render(target) {
        sql.push_str(&format!("\n-- {}\n{}{}\n", migration.name, migration.sql, record(target, &migration)));
    }
    sql.push_str(&bronze(target, &tables)?);
    sql.push_str(&format!(
        "reset role;\nset local search_path = '';\n\n-- Watermark rows\n{}\n",
        seeds(target, &tables)
    ));
    sql.push_str(&format!("-- Both raise with a list when something is missing\n{}commit;\n", audits(target)));
    Ok(sql)
}

/// What keeps relations that patterns have found, for a DBA as well.
#[must_use]
pub(crate) fn remember_sql(config: &Config, found: &[Discovered]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let control = Control::new(&config.target.control_schema);
    format!(
        "begin;\n\n-- Relations that are tables by `include`\n{}commit;\n",
        control.remember(&config.project.name, found)
    )
}

fn bronze(target: &TargetConfig, tables: &[LoadPlan]) -> Result<String> {
    let owner = quote_ident(&target.owner_role);
    let mut sql = "\n-- Bronze tables\n".to_owned();
    schemas_of(target, tables).into_iter().for_each(|name| sql.push_str(&table_schema(target, name)));
    let resolved: Vec<LoadPlan> = tables.iter().map(unresolved).collect();
    let mut made: Vec<&TypeDef> = Vec::new();
    for def in resolved.iter().flat_map(|load| &load.types) {
        if !matches!(def.kind, TypeKind::Extension { .. }) && made.iter().all(|known| *known != def) {
            made.push(def);
        }
    }
    let schemas: BTreeSet<&str> = made.iter().map(|def| def.name.schema.as_str()).collect();
    for name in schemas {
        sql.push_str(&schema_unless_there(target, name));
        sql.push_str(&format!("grant usage, create on schema {} to {owner};\n", quote_ident(name)));
    }
    sql.push_str(&format!("{}set local role {owner};\n", search_path(target, tables)));
    for def in made {
        let missing =
            || format!("-- type {} is {}: it must be there already\n", def.name.sql().replace('\n', " "), def.kind);
        sql.push_str(&type_ddl(def).unwrap_or_else(missing));
    }
    for load in &resolved {
        let design = design_of(&target.designs, &load.target)?;
        sql.push_str(&design.as_ref().map_or_else(|| bronze_ddl(load), Design::sql));
        sql.push('\n');
    }
    Ok(sql)
}

/// Types of extensions are looked up where those lie; a type of which only the name is known, also in bronze, in `public`
/// and in a schema of the same name.
fn search_path(target: &TargetConfig, tables: &[LoadPlan]) -> String {
    let mut extensions = BTreeSet::new();
    let mut schemas = BTreeSet::new();
    for load in tables {
        extensions.extend(load.types.iter().filter_map(|def| match &def.kind {
            TypeKind::Extension { extension } => Some(quote_literal(extension)),
            _ => None,
        }));
        let names = load.columns.iter().map(|column| &column.type_name);
        let unknown = names.filter(|name| definition(&load.types, name).is_none()).filter_map(|name| name.object());
        schemas.extend(unknown.map(|name| quote_literal(&name.schema)));
    }
    if !schemas.is_empty() {
        schemas.extend([quote_literal(&target.bronze_schema), quote_literal("public")]);
    }
    let list = |names: BTreeSet<String>| names.into_iter().chain(["null".to_owned()]).collect::<Vec<_>>().join(", ");
    let any = if schemas.is_empty() { "" } else { " or true" };
    format!(
        "select pg_catalog.set_config('search_path', coalesce((\n    \
         select pg_catalog.string_agg(distinct pg_catalog.quote_ident(n.nspname), ', ') from pg_catalog.pg_namespace n\n    \
         where n.nspname in ({}) or n.oid in (\n        \
         select t.typnamespace from pg_catalog.pg_extension x\n        \
         join pg_catalog.pg_depend d on d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.refobjid = x.oid\n        \
         join pg_catalog.pg_type t on d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and d.objid = t.oid\n        \
         where d.deptype = 'e' and (x.extname in ({}){any}))), ''), true);\n",
        list(schemas),
        list(extensions)
    )
}
