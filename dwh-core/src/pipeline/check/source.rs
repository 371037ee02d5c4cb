//! What a source must have: a role that only reads, and a view of who may be writing.

use tokio_postgres::types::{ToSql, Type};

use super::{About, Server, open};
use crate::config::{Environment, Mode, SourceConfig, TableConfig};
use crate::connect::sort;
use crate::error::{ErrorKind, Result};
use crate::schema::{TableRef, quote_ident};
use crate::source::activity_function_sql;

const WRITABLE: &str = "select n.nspname::text, c.relname::text \
     from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) as t(schema_name, name) \
     join pg_catalog.pg_namespace n on n.nspname = t.schema_name \
     join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = t.name \
     where pg_catalog.has_table_privilege(c.oid, 'insert, update, delete, truncate') \
     or pg_catalog.has_any_column_privilege(c.oid, 'insert, update') order by 1, 2";

/// Looks at a source; `None` if it cannot be reached.
pub(super) async fn check(
    config: &SourceConfig,
    tables: &[&TableConfig],
    environment: &Environment,
    about: &mut About<'_>,
) -> Option<Server> {
    let server = open(&config.url, environment, about).await?;
    let looked = read_only(&server, tables, about).await;
    about.unless("read_only", looked);
    let looked = activity(&server, config, about).await;
    about.unless("activity", looked);
    let looked = standby(&server, config, tables, environment, about).await;
    about.unless("standby", looked);
    Some(server)
}

async fn read_only(server: &Server, tables: &[&TableConfig], about: &mut About<'_>) -> Result<()> {
    let role = quote_ident(&server.role);
    if server.superuser {
        about.fail(
            "read_only",
            ErrorKind::Permission,
            format!("`{}` is a superuser, and may write", server.role),
            format!("in the source: {} -- then connect as dwh_reader", reader_sql(tables)),
        );
        return Ok(());
    }
    let relations: Vec<&TableRef> = tables.iter().filter_map(|table| table.relation.as_ref()).collect();
    let schemas: Vec<&str> = relations.iter().map(|relation| relation.schema.as_str()).collect();
    let names: Vec<&str> = relations.iter().map(|relation| relation.name.as_str()).collect();
    let lists: [(&(dyn ToSql + Sync), Type); 2] = [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let rows = server.client.query_typed(WRITABLE, &lists).await.map_err(sort)?;
    let writable: Vec<TableRef> =
        rows.iter().map(|row| TableRef::new(row.get::<_, String>(0), row.get::<_, String>(1))).collect();
    if writable.is_empty() {
        about.ok("read_only", format!("`{}` may not write", server.role));
        return Ok(());
    }
    let list: Vec<String> = writable.iter().map(ToString::to_string).collect();
    let quoted: Vec<String> = writable.iter().map(TableRef::sql).collect();
    about.fail(
        "read_only",
        ErrorKind::Permission,
        format!("`{}` may write to {}", server.role, list.join(", ")),
        format!("in the source: revoke insert, update, delete, truncate on {} from {role};", quoted.join(", ")),
    );
    Ok(())
}

/// The statements that make a role which only reads these tables.
fn reader_sql(tables: &[&TableConfig]) -> String {
    let mut sql =
        "create role dwh_reader login; \\password dwh_reader\ngrant pg_read_all_stats to dwh_reader;".to_owned();
    for relation in tables.iter().filter_map(|table| table.relation.as_ref()) {
        sql.push_str(&format!(
            "\ngrant usage on schema {} to dwh_reader; grant select on {} to dwh_reader;",
            quote_ident(&relation.schema),
            relation.sql()
        ));
    }
    sql
}

/// Who may be writing is what the safe bound stands on.
async fn activity(server: &Server, config: &SourceConfig, about: &mut About<'_>) -> Result<()> {
    let grant = format!("in the source: grant pg_read_all_stats to {};", quote_ident(&server.role));
    if let Some(function) = &config.activity_function {
        let sql = "select pg_catalog.to_regprocedure($1) is not null \
                   and pg_catalog.has_function_privilege(pg_catalog.to_regprocedure($1), 'execute')";
        let name = format!("{}()", function.sql());
        // A schema that the role may not use makes the look-up itself fail: that is an answer, too.
        match server.client.query_typed_one(sql, &[(&name, Type::TEXT)]).await {
            Ok(row) if row.get(0) => about.ok("activity", format!("every session is seen through {function}()")),
            _ => about.fail(
                "activity",
                ErrorKind::Permission,
                format!("`activity_function` {function}() is not there, or `{}` may not call it", server.role),
                format!("in the source: {}", activity_function_sql(function, &server.role)),
            ),
        }
        return Ok(());
    }
    let sql = "select pg_catalog.pg_has_role('pg_read_all_stats', 'usage')";
    if server.client.query_typed_one(sql, &[]).await.map_err(sort)?.get(0) {
        about.ok("activity", "every session is seen (pg_read_all_stats)");
    } else {
        about.warn(
            "activity",
            format!(
                "`{}` does not see what other sessions do: each run waits up to {:.0} s for their transactions to end",
                server.role,
                config.drain_timeout.as_seconds()
            ),
            grant,
        );
    }
    Ok(())
}

async fn standby(
    server: &Server,
    config: &SourceConfig,
    tables: &[&TableConfig],
    environment: &Environment,
    about: &mut About<'_>,
) -> Result<()> {
    if !in_recovery(server).await? {
        return Ok(());
    }
    let remedy = "set `primary_url` of the source to its primary, where `pg_stat_activity` shows who writes";
    let Some(primary_url) = &config.primary_url else {
        let incremental = || tables.iter().filter(|table| table.mode == Mode::Incremental);
        let message = "it is a standby, which does not know the transactions of its primary";
        if incremental().any(|table| table.late_window.0 == 0) {
            about.fail("standby", ErrorKind::Config, message, remedy);
        } else if incremental().next().is_some() {
            about.warn(
                "standby",
                format!("{message}; the watermark stays, and rows are read by the sweep alone"),
                remedy,
            );
        }
        return Ok(());
    };
    let mut primary_about = About::new(format!("{} primary", about.subject), about.report);
    let Some(primary) = open(primary_url, environment, &mut primary_about).await else { return Ok(()) };
    if in_recovery(&primary).await? {
        primary_about.fail("standby", ErrorKind::Config, "`primary_url` leads to a standby", remedy);
    }
    activity(&primary, config, &mut primary_about).await
}

async fn in_recovery(server: &Server) -> Result<bool> {
    let row = server.client.query_typed_one("select pg_catalog.pg_is_in_recovery()", &[]).await.map_err(sort)?;
    Ok(row.get(0))
}
