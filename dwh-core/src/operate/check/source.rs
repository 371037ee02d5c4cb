//! What a source must have: a role that only reads, and a view of who may be writing.

use std::collections::BTreeSet;
use tokio_postgres::types::{ToSql, Type};

use super::about::About;
use super::rights;
use super::server::{Server, open};
use super::words::Word;
use crate::config::{Config, Environment, Mode, SourceConfig, TableConfig};
use crate::error::{ErrorKind, Result};
use crate::operate::init::copyable;
use crate::schema::{TableRef, quote_ident};
use crate::source::activity_function_sql;

/// The tables that the role may write, with who it has that from.
const WRITABLE: &str = "select n.nspname::text, c.relname::text, pg_catalog.pg_has_role(c.relowner, 'usage'), \
     array(select distinct case when a.grantee = 0 then 'public' \
             else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end \
         from (select e.grantee, e.privilege_type from pg_catalog.aclexplode(c.relacl) e \
             union all select e.grantee, e.privilege_type from pg_catalog.pg_attribute f, \
             lateral pg_catalog.aclexplode(f.attacl) e where f.attrelid = c.oid) a \
         where a.privilege_type in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') \
         and (a.grantee = 0 or pg_catalog.pg_has_role(a.grantee, 'usage')) order by 1) \
     from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) as t(schema_name, name) \
     join pg_catalog.pg_namespace n on n.nspname = t.schema_name \
     join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = t.name \
     where pg_catalog.has_table_privilege(c.oid, 'insert, update, delete, truncate') \
     or pg_catalog.has_any_column_privilege(c.oid, 'insert, update') order by 1, 2";

/// Where `track_activities` is switched off, as the statement that switches it on again.
const UNTRACKED: &str = "select case when s.setrole = 0 then '' else pg_catalog.format('role %I ', pg_catalog.pg_get_userbyid(s.setrole)) end \
     || case when s.setrole <> 0 and s.setdatabase <> 0 then 'in ' else '' end \
     || case when s.setdatabase = 0 then '' else pg_catalog.format('database %I ', d.datname) end \
     from pg_catalog.pg_db_role_setting s join pg_catalog.pg_database d on d.datname = pg_catalog.current_database() \
     where s.setdatabase in (0, d.oid) and 'track_activities=off' = any (s.setconfig) order by 1";

/// Looks at a source; `None` if it cannot be reached.
pub(super) async fn check(
    project: &Config,
    config: &SourceConfig,
    tables: &[&TableConfig],
    about: &mut About<'_>,
) -> Option<Server> {
    let environment = &project.environment;
    // A read has one, and a second one where the table cannot be locked by its name.
    let wanted = project.target.connections.min(tables.len()) + 1;
    let server = open(&config.url, environment, config.idle_timeout, wanted, about).await?;
    let looked = read_only(&server, tables, about).await;
    about.unless(Word::ReadOnly, looked);
    let looked = rights::at_source(&server, about).await;
    about.unless(Word::Rights, looked);
    let looked = activity(&server, config, about).await;
    about.unless(Word::Activity, looked);
    let looked = standby(&server, config, tables, environment, about).await;
    about.unless(Word::Standby, looked);
    Some(server)
}

/// Tells which relations of the source are in no table of the configuration, as a second look of `init` would find them. A
/// manifest names what is wanted of its database.
pub(super) async fn not_copied(server: &Server, tables: &[&TableConfig], about: &mut About<'_>) -> Result<()> {
    const FIRST: usize = 5;
    if tables.iter().any(|table| table.manifest.is_some()) {
        return Ok(());
    }
    let known: BTreeSet<&TableRef> = tables.iter().filter_map(|table| table.relation.as_ref()).collect();
    let all = copyable(&server.survey, &server.role).await?;
    let rest: Vec<String> = all.iter().filter(|one| !known.contains(one)).map(ToString::to_string).collect();
    if rest.is_empty() {
        return Ok(());
    }
    let relations = if rest.len() == 1 { "relation is" } else { "relations are" };
    let first = rest[..rest.len().min(FIRST)].join(", ");
    let more = if rest.len() > FIRST { format!(", and {} more", rest.len() - FIRST) } else { String::new() };
    let message = format!("{} {relations} in no table of the configuration: {first}{more}", rest.len());
    about.remark(Word::NotCopied, message, "dwh init --update");
    Ok(())
}

async fn read_only(server: &Server, tables: &[&TableConfig], about: &mut About<'_>) -> Result<()> {
    let another = || format!("in the source: {} -- then connect as dwh_reader", reader_sql(tables));
    if server.superuser {
        let message = format!("`{}` is a superuser, and may write", server.role);
        about.fail(Word::ReadOnly, ErrorKind::Permission, message, another());
        return Ok(());
    }
    let relations: Vec<&TableRef> = tables.iter().filter_map(|table| table.relation.as_ref()).collect();
    let schemas: Vec<&str> = relations.iter().map(|relation| relation.schema.as_str()).collect();
    let names: Vec<&str> = relations.iter().map(|relation| relation.name.as_str()).collect();
    let lists: [(&(dyn ToSql + Sync), Type); 2] = [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let rows = server.ask(WRITABLE, &lists).await?;
    if rows.is_empty() {
        about.ok(Word::ReadOnly, format!("`{}` may not write", server.role));
        return Ok(());
    }
    let writable: Vec<TableRef> =
        rows.iter().map(|row| TableRef::new(row.get::<_, String>(0), row.get::<_, String>(1))).collect();
    let list: Vec<String> = writable.iter().map(ToString::to_string).collect();
    let quoted: Vec<String> = writable.iter().map(TableRef::sql).collect();
    let mut from: Vec<String> = rows.iter().flat_map(|row| row.get::<_, Vec<String>>(3)).collect();
    from.sort();
    from.dedup();
    let remedy = if rows.iter().any(|row| row.get(2)) {
        another()
    } else if from.is_empty() {
        format!("in the source: revoke pg_write_all_data from {};", quote_ident(&server.role))
    } else {
        let (tables, from) = (quoted.join(", "), from.join(", "));
        format!("in the source: revoke insert, update, delete, truncate on {tables} from {from};")
    };
    let message = format!("`{}` may write to {}", server.role, list.join(", "));
    about.fail(Word::ReadOnly, ErrorKind::Permission, message, remedy);
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
    let untracked = server.ask(UNTRACKED, &[]).await?;
    if !untracked.is_empty() {
        let alters: Vec<String> =
            untracked.iter().map(|row| format!("alter {}reset track_activities;", row.get::<_, &str>(0))).collect();
        about.warn(
            Word::Activity,
            format!(
                "`track_activities` is off, so sessions do not say what they do: each run waits up to {} for their \
                 transactions to end",
                config.drain_timeout
            ),
            format!("in the source: {} -- then have those sessions connect anew", alters.join(" ")),
        );
        return Ok(());
    }
    let grant = format!("in the source: grant pg_read_all_stats to {};", quote_ident(&server.role));
    if let Some(function) = &config.activity_function {
        let sql = "select pg_catalog.to_regprocedure($1) is not null \
                   and pg_catalog.has_function_privilege(pg_catalog.to_regprocedure($1), 'execute')";
        let name = format!("{}()", function.sql());
        // A schema that the role may not use makes the look-up itself fail: that is an answer, too.
        match server.ask_one(sql, &[(&name, Type::TEXT)]).await {
            Ok(row) if row.get(0) => about.ok(Word::Activity, format!("every session is seen through {function}()")),
            _ => about.fail(
                Word::Activity,
                ErrorKind::Permission,
                format!("`activity_function` {function}() is not there, or `{}` may not call it", server.role),
                format!("in the source: {}", activity_function_sql(function, &server.role)),
            ),
        }
        return Ok(());
    }
    let sql = "select pg_catalog.pg_has_role('pg_read_all_stats', 'usage')";
    if server.ask_one(sql, &[]).await?.get(0) {
        about.ok(Word::Activity, "every session is seen (pg_read_all_stats)");
    } else {
        about.warn(
            Word::Activity,
            format!(
                "`{}` does not see what other sessions do: each run waits up to {} for their transactions to end",
                server.role, config.drain_timeout
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
            about.fail(Word::Standby, ErrorKind::Config, message, remedy);
        } else if incremental().next().is_some() {
            about.warn(
                Word::Standby,
                format!("{message}; the watermark stays, and rows are read by the sweep alone"),
                remedy,
            );
        }
        return Ok(());
    };
    let mut primary_about = About::new(format!("{} primary", about.subject), about.report);
    let Some(primary) = open(primary_url, environment, config.idle_timeout, 1, &mut primary_about).await else {
        return Ok(());
    };
    if in_recovery(&primary).await? {
        primary_about.fail(Word::Standby, ErrorKind::Config, "`primary_url` leads to a standby", remedy);
    }
    activity(&primary, config, &mut primary_about).await
}

async fn in_recovery(server: &Server) -> Result<bool> {
    Ok(server.ask_one("select pg_catalog.pg_is_in_recovery()", &[]).await?.get(0))
}
