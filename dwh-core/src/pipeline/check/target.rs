//! What the target must have: two roles, a login without more rights than it needs, and the control schema.

use tokio_postgres::types::{ToSql, Type};

use super::{About, Server, open};
use crate::config::{Config, TargetConfig};
use crate::connect::sort;
use crate::error::{ErrorKind, Result};
use crate::migrate;
use crate::schema::{TableRef, quote_ident};

/// Looks at the target; `None` if it cannot be reached.
pub(super) async fn check(config: &Config, about: &mut About<'_>) -> Option<Server> {
    let target = &config.target;
    let server = open(&target.url, &config.environment, about).await?;
    let looked = login(&server, target, about).await;
    about.unless("login", looked);
    for role in [&target.owner_role, &target.reader_role] {
        let looked = exists(&server, role, about).await;
        about.unless("role", looked);
    }
    let looked = reader(&server, config, about).await;
    about.unless("reader", looked);
    let looked = control(&server, target, about).await;
    about.unless("control_schema", looked);
    Some(server)
}

/// The login works through the owner role, and is no superuser.
async fn login(server: &Server, target: &TargetConfig, about: &mut About<'_>) -> Result<()> {
    let (role, owner) = (quote_ident(&server.role), quote_ident(&target.owner_role));
    if server.superuser {
        about.fail(
            "login",
            ErrorKind::Permission,
            format!("`{}` is a superuser: a mistake in the configuration could change anything there", server.role),
            format!("in the target: create role dwh_loader login in role {owner}; \\password dwh_loader"),
        );
        return Ok(());
    }
    let sql = "select exists (select from pg_catalog.pg_roles where rolname = $1 and not pg_catalog.pg_has_role(oid, 'usage')), \
               pg_catalog.has_database_privilege(pg_catalog.current_database(), 'temporary'), \
               pg_catalog.current_database()::text";
    let row = server.client.query_typed_one(sql, &[(&target.owner_role, Type::TEXT)]).await.map_err(sort)?;
    let (stranger, temporary, database): (bool, bool, String) = (row.get(0), row.get(1), row.get(2));
    if stranger {
        about.fail(
            "login",
            ErrorKind::Permission,
            format!("`{}` is no member of `{}`", server.role, target.owner_role),
            format!("in the target: grant {owner} to {role};"),
        );
    }
    if !temporary {
        about.fail(
            "login",
            ErrorKind::Permission,
            format!("`{}` may not make the temporary table that rows are staged in", server.role),
            format!("in the target: grant temporary on database {} to {role};", quote_ident(&database)),
        );
    }
    if !stranger && temporary {
        about.ok("login", format!("`{}` is no superuser", server.role));
    }
    Ok(())
}

async fn exists(server: &Server, role: &str, about: &mut About<'_>) -> Result<()> {
    let sql = "select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls \
               from pg_catalog.pg_roles where rolname = $1";
    match server
        .client
        .query_typed_opt(sql, &[(&role, Type::TEXT)])
        .await
        .map_err(sort)?
        .map(|row| row.get::<_, bool>(0))
    {
        Some(false) => about.ok("role", format!("role `{role}` is there")),
        Some(true) => about.fail(
            "role",
            ErrorKind::Contract,
            format!("role `{role}` may do more than it needs"),
            format!(
                "in the target: alter role {} nosuperuser nocreaterole nocreatedb noreplication nobypassrls;",
                quote_ident(role)
            ),
        ),
        None => about.fail(
            "role",
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
    let rows = server.client.query_typed(sql, &values).await.map_err(sort)?;
    let writable: Vec<TableRef> =
        rows.iter().map(|row| TableRef::new(row.get::<_, String>(0), row.get::<_, String>(1))).collect();
    if writable.is_empty() {
        about.ok("reader", format!("`{}` writes nothing", target.reader_role));
        return Ok(());
    }
    let (reader, owner) = (quote_ident(&target.reader_role), quote_ident(&target.owner_role));
    let quoted: Vec<String> = writable.iter().map(TableRef::sql).collect();
    let list: Vec<String> = writable.iter().map(ToString::to_string).collect();
    about.fail(
        "reader",
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
    let applied = if has_control(server, target).await? {
        let sql = format!("select name from {}.schema_migrations", quote_ident(&target.control_schema));
        server.client.query_typed(&sql, &[]).await.map_err(sort)?.iter().map(|row| row.get(0)).collect()
    } else {
        Vec::<String>::new()
    };
    let missing: Vec<&str> = migrate::render(target)
        .iter()
        .map(|migration| migration.name)
        .filter(|name| !applied.iter().any(|applied| applied == name))
        .collect();
    if missing.is_empty() {
        about.ok("control_schema", format!("schema `{}` has all migrations", target.control_schema));
    } else {
        about.fail(
            "control_schema",
            ErrorKind::Contract,
            format!("schema `{}` lacks {}", target.control_schema, missing.join(", ")),
            "dwh migrate",
        );
    }
    Ok(())
}

/// Whether migrations were applied: asked of the catalog, which every role may read.
pub(super) async fn has_control(server: &Server, target: &TargetConfig) -> Result<bool> {
    let sql = "select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
               where n.nspname = $1 and c.relname = 'schema_migrations')";
    Ok(server.client.query_typed_one(sql, &[(&target.control_schema, Type::TEXT)]).await.map_err(sort)?.get(0))
}
