//! What the target must have: two roles, a login without more rights than it needs, and the control schema.

use std::collections::BTreeMap;
use tokio_postgres::types::{ToSql, Type};

use super::about::About;
use super::server::{Server, open};
use super::words::Word;
use super::{rehearsal, rights};
use crate::config::{Config, TargetConfig};
use crate::error::{ErrorKind, Result};
use crate::migrate::{self, Migration};
use crate::schema::{TableRef, quote_ident};

/// Looks at the target; `None` if it cannot be reached.
pub(super) async fn check(config: &Config, about: &mut About<'_>) -> Option<Server> {
    let target = &config.target;
    // A table has two while it works, and the run log is written by one more.
    let wanted = 2 * target.connections.min(config.tables.len()) + 1;
    let mut server = open(&target.url, &config.environment, target.idle_timeout, wanted, about).await?;
    let looked = writable(&server, about).await;
    about.unless(Word::Writable, looked);
    let looked = login(&server, target, about).await;
    about.unless(Word::Login, looked);
    for role in [&target.owner_role, &target.reader_role] {
        let looked = exists(&server, role, about).await;
        about.unless(Word::Role, looked);
    }
    let looked = reader(&server, config, about).await;
    about.unless(Word::Reader, looked);
    let looked = rights::at_target(&mut server, config, about).await;
    about.unless(Word::Rights, looked);
    if !server.closed.contains(&target.control_schema) {
        let looked = control(&server, target, about).await;
        about.unless(Word::ControlSchema, looked);
    }
    if !about.has_failed() {
        rehearsal::control(&server, target, about).await;
    }
    Some(server)
}

/// It is no standby, and transactions may write.
async fn writable(server: &Server, about: &mut About<'_>) -> Result<()> {
    let sql = "select pg_catalog.pg_is_in_recovery(), \
               pg_catalog.current_setting('default_transaction_read_only')::boolean, pg_catalog.current_database()::text";
    let row = server.ask_one(sql, &[]).await?;
    if row.get(0) {
        let remedy = "name its primary in `url` of `[target]`";
        about.fail(Word::Writable, ErrorKind::Contract, "it is a standby, which only reads", remedy);
    } else if row.get(1) {
        let (role, database) = (quote_ident(&server.role), quote_ident(row.get(2)));
        about.fail(
            Word::Writable,
            ErrorKind::Permission,
            format!("`{}` only reads there: `default_transaction_read_only` is on", server.role),
            format!("in the target: alter role {role} in database {database} set default_transaction_read_only = off;"),
        );
    } else {
        about.ok(Word::Writable, "transactions may write");
    }
    Ok(())
}

/// The login works through the owner role, and is no superuser.
async fn login(server: &Server, target: &TargetConfig, about: &mut About<'_>) -> Result<()> {
    let (role, owner) = (quote_ident(&server.role), quote_ident(&target.owner_role));
    if server.superuser {
        about.fail(
            Word::Login,
            ErrorKind::Permission,
            format!("`{}` is a superuser: a mistake in the configuration could change anything there", server.role),
            format!("in the target: create role dwh_loader login in role {owner}; \\password dwh_loader"),
        );
        return Ok(());
    }
    let sql = "select exists (select from pg_catalog.pg_roles where rolname = $1 and not pg_catalog.pg_has_role(oid, 'usage')), \
               pg_catalog.has_database_privilege(pg_catalog.current_database(), 'temporary'), \
               pg_catalog.current_database()::text";
    let row = server.ask_one(sql, &[(&target.owner_role, Type::TEXT)]).await?;
    let (stranger, temporary, database): (bool, bool, String) = (row.get(0), row.get(1), row.get(2));
    if stranger {
        about.fail(
            Word::Login,
            ErrorKind::Permission,
            format!("`{}` is no member of `{}`", server.role, target.owner_role),
            format!("in the target: grant {owner} to {role};"),
        );
    }
    if !temporary {
        about.fail(
            Word::Login,
            ErrorKind::Permission,
            format!("`{}` may not make the temporary table that rows are staged in", server.role),
            format!("in the target: grant temporary on database {} to {role};", quote_ident(&database)),
        );
    }
    if !stranger && temporary {
        about.ok(Word::Login, format!("`{}` is no superuser", server.role));
    }
    Ok(())
}

async fn exists(server: &Server, role: &str, about: &mut About<'_>) -> Result<()> {
    let sql = "select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls \
               from pg_catalog.pg_roles where rolname = $1";
    match server.ask(sql, &[(&role, Type::TEXT)]).await?.first().map(|row| row.get::<_, bool>(0)) {
        Some(false) => about.ok(Word::Role, format!("role `{role}` is there")),
        Some(true) => about.fail(
            Word::Role,
            ErrorKind::Contract,
            format!("role `{role}` may do more than it needs"),
            format!(
                "in the target: alter role {} nosuperuser nocreaterole nocreatedb noreplication nobypassrls;",
                quote_ident(role)
            ),
        ),
        None => about.fail(
            Word::Role,
            ErrorKind::Contract,
            format!("role `{role}` is missing"),
            format!("in the target: create role {} nologin; -- or let `dwh migrate` do it", quote_ident(role)),
        ),
    }
    Ok(())
}

/// The reader reads.
async fn reader(server: &Server, config: &Config, about: &mut About<'_>) -> Result<()> {
    let target = &config.target;
    let mut schemas: Vec<&str> = vec![&target.control_schema, &target.bronze_schema];
    schemas.extend(config.tables.iter().map(|table| table.target.schema.as_str()));
    let sql = "select n.nspname::text, c.relname::text from pg_catalog.pg_class c \
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
               join pg_catalog.pg_roles r on r.rolname = $2 \
               where n.nspname = any ($1) and c.relkind in ('r', 'p', 'v', 'f') \
               and pg_catalog.has_table_privilege(r.oid, c.oid, 'insert, update, delete, truncate') order by 1, 2";
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&schemas, Type::TEXT_ARRAY), (&target.reader_role, Type::TEXT)];
    let rows = server.ask(sql, &values).await?;
    let writable: Vec<TableRef> =
        rows.iter().map(|row| TableRef::new(row.get::<_, String>(0), row.get::<_, String>(1))).collect();
    if writable.is_empty() {
        about.ok(Word::Reader, format!("`{}` writes nothing", target.reader_role));
        return Ok(());
    }
    let (reader, owner) = (quote_ident(&target.reader_role), quote_ident(&target.owner_role));
    let quoted: Vec<String> = writable.iter().map(TableRef::sql).collect();
    let list: Vec<String> = writable.iter().map(ToString::to_string).collect();
    about.fail(
        Word::Reader,
        ErrorKind::Contract,
        format!("`{}` may write to {}", target.reader_role, list.join(", ")),
        format!(
            "in the target: revoke insert, update, delete, truncate on {} from {reader}; revoke {owner} from {reader};",
            quoted.join(", ")
        ),
    );
    Ok(())
}

async fn control(server: &Server, target: &TargetConfig, about: &mut About<'_>) -> Result<()> {
    let mut applied: BTreeMap<String, String> = BTreeMap::new();
    if has_control(server, target).await? {
        let sql = format!("select name, checksum from {}.schema_migrations", quote_ident(&target.control_schema));
        applied = server.ask(&sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
    }
    let migrations = migrate::render(target);
    let missing: Vec<&str> =
        migrations.iter().map(|migration| migration.name).filter(|name| !applied.contains_key(*name)).collect();
    let is_other =
        |migration: &&Migration| applied.get(migration.name).is_some_and(|checksum| *checksum != migration.checksum);
    let others: Vec<&str> = migrations.iter().filter(is_other).map(|migration| migration.name).collect();
    let schema = &target.control_schema;
    if !missing.is_empty() {
        let message = format!("schema `{schema}` lacks {}", missing.join(", "));
        about.fail(Word::ControlSchema, ErrorKind::Contract, message, "dwh migrate");
    } else if !others.is_empty() {
        about.fail(
            Word::ControlSchema,
            ErrorKind::Contract,
            format!("schema `{schema}` got {} with other contents or other names", others.join(", ")),
            "the names in `[target]` stay as they were when it was applied; for other names, take another `control_schema`",
        );
    } else {
        about.ok(Word::ControlSchema, format!("schema `{schema}` has all migrations"));
    }
    Ok(())
}

/// Whether migrations were applied: asked of the catalog, which every role may read.
pub(super) async fn has_control(server: &Server, target: &TargetConfig) -> Result<bool> {
    let sql = "select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
               where n.nspname = $1 and c.relname = 'schema_migrations')";
    Ok(server.ask_one(sql, &[(&target.control_schema, Type::TEXT)]).await?.get(0))
}
