//! What `setup` wants: roles, rights on the database, schemas.

use std::collections::BTreeSet;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::admin::Admin;
use super::change::{Change, Changes};
use super::password::{NewPassword, verifier};
use super::report::NewLogin;
use crate::config::{Config, Secret, TargetConfig};
use crate::connect::sort;
use crate::error::Result;
use crate::schema::quote_ident;

/// What no role of a warehouse needs.
const NO_MORE: &str = "nosuperuser nocreatedb nocreaterole noreplication";

/// Whether the owner role may connect, make temporary tables and make schemas, and the reader role may connect.
const DATABASE: &str = "select coalesce(pg_catalog.has_database_privilege(o.oid, d.oid, 'connect') \
         and pg_catalog.has_database_privilege(o.oid, d.oid, 'temporary') \
         and pg_catalog.has_database_privilege(o.oid, d.oid, 'create'), false), \
     coalesce(pg_catalog.has_database_privilege(r.oid, d.oid, 'connect'), false) \
     from pg_catalog.pg_database d left join pg_catalog.pg_roles o on o.rolname = $1 \
     left join pg_catalog.pg_roles r on r.rolname = $2 where d.datname = pg_catalog.current_database()";

/// Schemas of these names: to whom they belong, and whether the reader role may use them and reads tables to come.
const SCHEMAS: &str = "select w.name, pg_catalog.pg_get_userbyid(n.nspowner)::text, \
     coalesce(pg_catalog.has_schema_privilege(r.oid, n.oid, 'usage'), false), \
     exists (select from pg_catalog.pg_default_acl a cross join lateral pg_catalog.aclexplode(a.defaclacl) x \
         where a.defaclrole = o.oid and a.defaclnamespace = n.oid and a.defaclobjtype = 'r' \
         and x.grantee = r.oid and x.privilege_type = 'SELECT') \
     from pg_catalog.unnest($1) with ordinality w(name, place) left join pg_catalog.pg_namespace n on n.nspname = w.name \
     left join pg_catalog.pg_roles o on o.rolname = $2 left join pg_catalog.pg_roles r on r.rolname = $3 order by w.place";

/// What `setup` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct SetupRequest {
    /// The password of the login of `[target] url`; `None`: the one that `url` has, or else one is made up. A login that is
    /// there gets another one only if it is given here.
    pub password: Option<Secret>,
    /// Only tell what would be made.
    pub dry_run: bool,
}

pub(super) async fn changes(config: &Config, admin: &Admin, request: &SetupRequest) -> Result<Changes> {
    let target = &config.target;
    let mut changes = Changes { member_of: vec![target.owner_role.clone()], ..Changes::default() };
    let names = [target.owner_role.as_str(), &target.reader_role, &admin.loader];
    let found = admin.roles(&names).await?;
    for (name, role) in names.iter().zip(&found) {
        if role.mighty {
            changes.notes.push(format!("role `{name}` may do more than it needs; `dwh check` says how to mend it"));
        }
    }
    for (name, role) in names.iter().zip(&found).take(2) {
        let sql = format!("create role {} nologin {NO_MORE}", quote_ident(name));
        changes.roles.push(Change::unless(role.there, format!("role `{name}`"), sql));
    }
    if let Some(role) = found.get(2) {
        let login = Login { name: &admin.loader, there: role.there, logs_in: role.logs_in };
        let given = request.password.as_ref().or(admin.loader_password.as_ref().filter(|_| !role.there));
        login.wanted(given, request.dry_run, &mut changes).map_err(|error| match &request.password {
            Some(_) => error,
            None => error.context("`[target] url`"),
        })?;
    }
    let member = admin.is_member(&admin.loader, &target.owner_role).await?;
    changes.roles.push(in_group(&admin.loader, &target.owner_role, member));
    database(target, admin, &mut changes).await?;
    schemas(config, admin, &mut changes).await?;
    Ok(changes)
}

/// A role that logs in.
pub(super) struct Login<'a> {
    pub(super) name: &'a str,
    pub(super) there: bool,
    pub(super) logs_in: bool,
}

impl Login<'_> {
    /// Makes it with the password given, or one that is made up; one that is there gets the password if one is given.
    pub(super) fn wanted(&self, given: Option<&Secret>, dry_run: bool, changes: &mut Changes) -> Result<()> {
        let (what, name) = (format!("login `{}`", self.name), quote_ident(self.name));
        let verified = given.map(verifier).transpose()?;
        match (self.there, verified) {
            (false, Some(verified)) => {
                let sql = format!("create role {name} login {NO_MORE}");
                changes.roles.push(Change::with_password(what, &sql, &verified));
            }
            (false, None) => {
                let password = NewPassword::make_up();
                let sql = format!("create role {name} login {NO_MORE}");
                changes.roles.push(Change::with_password(what, &sql, &verifier(password.secret())?));
                let password = (!dry_run).then_some(password);
                changes.login = Some(NewLogin { role: self.name.to_owned(), password });
            }
            (true, verified) => {
                changes.roles.push(Change::unless(self.logs_in, what, format!("alter role {name} login")));
                if let Some(verified) = verified {
                    let what = format!("password of `{}`", self.name);
                    let change = Change::with_password(what, &format!("alter role {name}"), &verified);
                    changes.roles.push(Change { always: true, ..change });
                }
            }
        }
        Ok(())
    }
}

/// A role in a group.
pub(super) fn in_group(member: &str, group: &str, is_member: bool) -> Change {
    let sql = format!("grant {} to {}", quote_ident(group), quote_ident(member));
    Change::unless(is_member, format!("`{member}` in group `{group}`"), sql)
}

async fn database(target: &TargetConfig, admin: &Admin, changes: &mut Changes) -> Result<()> {
    let (owner, reader) = (&target.owner_role, &target.reader_role);
    let names = [(owner as _, Type::TEXT), (reader as _, Type::TEXT)];
    let row = admin.client.query_typed_one(DATABASE, &names).await.map_err(sort)?;
    let database = quote_ident(&admin.database);
    let wanted = [(row.get(0), owner, "connect, temporary, create"), (row.get(1), reader, "connect")];
    for (there, role, rights) in wanted {
        let sql = format!("grant {rights} on database {database} to {}", quote_ident(role));
        changes.rest.push(Change::unless(there, format!("`{role}`: {rights} on database `{}`", admin.database), sql));
    }
    Ok(())
}

/// The schemas of the warehouse: control, bronze, one of each source that has one, and those of single tables.
pub(super) fn schemas_of(config: &Config) -> Vec<&str> {
    let target = &config.target;
    let others: BTreeSet<&str> = config
        .sources
        .values()
        .filter_map(|source| source.schema.as_deref())
        .chain(config.tables.iter().map(|table| table.target.schema.as_str()))
        .filter(|name| ![&target.control_schema, &target.bronze_schema].iter().any(|known| known == name))
        .collect();
    [target.control_schema.as_str(), &target.bronze_schema].into_iter().chain(others).collect()
}

async fn schemas(config: &Config, admin: &Admin, changes: &mut Changes) -> Result<()> {
    let (owner, reader) = (&config.target.owner_role, &config.target.reader_role);
    let names = schemas_of(config);
    let values: [(&(dyn ToSql + Sync), Type); 3] =
        [(&names, Type::TEXT_ARRAY), (owner, Type::TEXT), (reader, Type::TEXT)];
    for row in admin.client.query_typed(SCHEMAS, &values).await.map_err(sort)? {
        schema(&row, owner, reader, changes);
    }
    Ok(())
}

fn schema(row: &Row, owner: &str, reader: &str, changes: &mut Changes) {
    let (name, belongs_to): (&str, Option<&str>) = (row.get(0), row.get(1));
    let (sql, owner_sql, reader_sql) = (quote_ident(name), quote_ident(owner), quote_ident(reader));
    if let Some(other) = belongs_to.filter(|other| *other != owner) {
        changes.notes.push(format!(
            "schema `{name}` belongs to `{other}` and was left as it is; to give it to dwh: alter schema {sql} owner to {owner_sql};"
        ));
        return;
    }
    let make = format!("create schema {sql} authorization {owner_sql}");
    changes.rest.push(Change::unless(belongs_to.is_some(), format!("schema `{name}`"), make));
    let usage = format!("grant usage on schema {sql} to {reader_sql}");
    changes.rest.push(Change::unless(row.get(2), format!("`{reader}` uses schema `{name}`"), usage));
    let to_come =
        format!("alter default privileges for role {owner_sql} in schema {sql} grant select on tables to {reader_sql}");
    changes.rest.push(Change::unless(row.get(3), format!("`{reader}` reads what comes into `{name}`"), to_come));
}
