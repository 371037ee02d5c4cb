//! Whose the objects are that may not be changed: "permission denied" alone helps nobody.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::tables::schemas_of;
use super::{BY_SETUP_OR_A_SUPERUSER, PRINT_HINT};
use crate::catalog::{Holder, LockWanted, held_by, holders, is_lock_timeout};
use crate::config::TargetConfig;
use crate::connect::{look, sort};
use crate::control::Control;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LoadPlan;
use crate::schema::{quote_ident, quote_literal};

/// The same error, or a better one: if the server denied a right and tables belong to roles that are not ours, or if a lock
/// was not granted and somebody holds it.
///
/// # Errors
/// That one.
pub(super) async fn explained<T>(
    client: &Client,
    target: &TargetConfig,
    tables: &[LoadPlan],
    done: Result<T>,
) -> Result<T> {
    match done {
        Err(error) if error.kind() == ErrorKind::Contract && error.hint() == PRINT_HINT => {
            Err(foreign(client, target, tables).await?.unwrap_or(error))
        }
        Err(error) if is_lock_timeout(&error) => {
            let found = look(client, holding(client, target, tables)).await?;
            Err(held_by(error, &found, "in the target"))
        }
        done => done,
    }
}

/// Who holds the tables that `migrate` changes: first of all those who keep rows from being written.
async fn holding(client: &Client, target: &TargetConfig, tables: &[LoadPlan]) -> Result<Vec<Holder>> {
    let control = Control::new(&target.control_schema).tables();
    let names: Vec<String> = tables.iter().map(|load| load.target.sql()).chain(control).collect();
    let found = holders(client, Some(&names), LockWanted::Rows).await?;
    if found.is_empty() { holders(client, Some(&names), LockWanted::Alone).await } else { Ok(found) }
}

/// Tables in our schemas, and those that are loaded in others, that the connection's role may not change.
pub(super) async fn foreign(client: &Client, target: &TargetConfig, tables: &[LoadPlan]) -> Result<Option<Error>> {
    let loaded: Vec<String> = tables
        .iter()
        .map(|load| format!("({}, {})", quote_literal(&load.target.schema), quote_literal(&load.target.name)))
        .collect();
    let others = if loaded.is_empty() { "('', '')".to_owned() } else { loaded.join(", ") };
    let sql = format!(
        "select pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.pg_get_userbyid(c.relowner)::text
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'f') and not pg_catalog.pg_has_role(c.relowner, 'usage')
            and (n.nspname in ($1, $2) or (n.nspname, c.relname) in ({others}))
            and not exists (select from pg_catalog.pg_depend d where d.objid = c.oid
                and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype = 'e')
         order by 1"
    );
    let names = [(&target.bronze_schema as _, Type::TEXT), (&target.control_schema as _, Type::TEXT)];
    let rows = look(client, async { client.query_typed(&sql, &names).await.map_err(sort) }).await?;
    let (mut problems, mut remedies) = (String::new(), String::new());
    for row in &rows {
        let (table, owner): (&str, &str) = (row.get(0), row.get(1));
        problems += &format!("\n  - {table} belongs to \"{owner}\", not to \"{}\"", target.owner_role);
        remedies += &format!("\nalter table {table} owner to {};", quote_ident(&target.owner_role));
    }
    Ok((!rows.is_empty()).then(|| {
        Error::new(ErrorKind::Contract, format!("tables of others are in the way:{problems}"))
            .with_hint(format!("a superuser of the target runs:{remedies}"))
    }))
}

/// The schemas of `$1` that are missing and that this role may not make.
const NOT_MADE: &str = "select w.name, current_user::text, pg_catalog.current_database()::text from pg_catalog.unnest($1) w(name) \
     where not exists (select from pg_catalog.pg_namespace n where n.nspname = w.name) \
     and not pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') order by 1";

/// Refuses with all schemas of bronze tables that are missing and that the connection may not make.
pub(super) async fn may_make_schemas(client: &Client, target: &TargetConfig, tables: &[LoadPlan]) -> Result<()> {
    let names: Vec<&str> = schemas_of(target, tables).into_iter().collect();
    if names.is_empty() {
        return Ok(());
    }
    let names = [(&names as _, Type::TEXT_ARRAY)];
    let rows = look(client, async { client.query_typed(NOT_MADE, &names).await.map_err(sort) }).await?;
    let (mut problems, mut remedies) = (String::new(), String::new());
    for row in &rows {
        let (name, role, database): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        problems += &format!(
            "\n  - schema \"{name}\" is missing, and \"{role}\" may not create schemas in database \"{database}\""
        );
        remedies +=
            &format!("create schema {} authorization {};\n", quote_ident(name), quote_ident(&target.owner_role));
    }
    if rows.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Contract, format!("the warehouse is not prepared:{problems}"))
        .with_hint(format!("{BY_SETUP_OR_A_SUPERUSER}{}", remedies.trim_end())))
}
