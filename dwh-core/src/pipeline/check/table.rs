//! What a table must have: a watermark that can be trusted, a key behind `ON CONFLICT`, and the same columns at both ends.

use tokio_postgres::types::{ToSql, Type};

use super::{About, Server, target};
use crate::catalog;
use crate::config::{Mode, TableConfig};
use crate::connect::sort;
use crate::error::{ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::plan::Plan;
use crate::schema::{RelationKind, TableSchema, quote_ident};
use crate::watermark::WatermarkKind;

/// Looks at a table at both ends; without a target, at its source alone.
pub(super) async fn check(
    pipeline: &Pipeline,
    table: &TableConfig,
    target: Option<&Server>,
    about: &mut About<'_>,
) -> Result<()> {
    let source = match pipeline.source(table)?.describe(table).await {
        Ok(source) => source,
        Err(error) => {
            about.error("source", &error);
            return Ok(());
        }
    };
    let plan = match Plan::new(table, source) {
        Ok(plan) => plan,
        Err(error) => {
            about.error("configuration", &error);
            return Ok(());
        }
    };
    about.ok("source", format!("{} columns, about {} rows", plan.columns.len(), plan.source.row_estimate.max(0)));
    watermark(&plan, about);
    source_key(&plan, about);
    let Some(server) = target else { return Ok(()) };
    let bronze = catalog::describe(&server.client, &table.target).await?;
    match plan.check_bronze(bronze.as_ref()) {
        Ok(()) => about.ok("bronze", format!("{} fits", table.target)),
        Err(error) => {
            let word = match error.kind() {
                ErrorKind::Drift => "drift",
                ErrorKind::Contract => "key",
                _ => "bronze",
            };
            about.error(word, &error);
        }
    }
    if let Some(bronze) = bronze {
        obstacles(server, table, &bronze, about).await?;
    }
    run_log(pipeline, server, table, about).await
}

/// The watermark column is filled by the source itself, indexed, never NULL and fine enough.
fn watermark(plan: &Plan, about: &mut About<'_>) {
    let (Some(kind), Ok(name)) = (&plan.watermark, plan.watermark_column()) else { return };
    let relation = plan.source.table.sql();
    let column = quote_ident(name);
    let is_table =
        matches!(plan.source.kind, RelationKind::Table | RelationKind::Partitioned | RelationKind::Hypertable);
    if !is_table {
        about.ok(
            "watermark",
            format!("`{name}`; {} is no table, so its indexes and defaults are not known", plan.source.table),
        );
        return;
    }
    if plan.watermark_nullable {
        about.warn(
            "watermark_null",
            format!("`{name}` may be NULL, and a row without a time stops the table's runs"),
            format!("in the source: alter table {relation} alter column {column} set not null;"),
        );
    }
    if !plan.watermark_indexed {
        let concurrently = if plan.source.kind == RelationKind::Table { " concurrently" } else { "" };
        about.warn(
            "watermark_index",
            format!("no index leads with `{name}`, so each run reads the whole table"),
            format!("in the source: create index{concurrently} on {relation} ({column});"),
        );
    }
    let default = plan.source.column(name).and_then(|column| column.default.as_deref()).unwrap_or_default();
    let own_clock =
        ["now()", "current_timestamp", "clock_timestamp()", "statement_timestamp()", "localtimestamp", "current_date"];
    if !own_clock.iter().any(|clock| default.to_lowercase().contains(clock)) {
        about.warn(
            "watermark_default",
            format!("`{name}` has no `default now()`: is it really the time of insertion into the source? \
                     rows that are stamped earlier than they appear can be missed"),
            format!("in the source: alter table {relation} alter column {column} set default now(); -- and let no writer set it"),
        );
    }
    let (precision, whole) = match kind {
        WatermarkKind::TimestampTz { precision } => (*precision, "timestamptz"),
        WatermarkKind::Timestamp { precision, .. } => (*precision, "timestamp"),
        WatermarkKind::Date { .. } => (0, "timestamptz"),
    };
    if precision < 6 {
        about.warn(
            "watermark_precision",
            format!("`{name}` is rounded, so rows of some time share one value: each run holds the newest ones back"),
            format!("in the source: alter table {relation} alter column {column} type {whole};"),
        );
    }
    if plan.watermark_indexed && !plan.watermark_nullable {
        about.ok("watermark", format!("`{name}` is indexed and never NULL"));
    }
}

/// Two source rows of one key would become one row in bronze.
fn source_key(plan: &Plan, about: &mut About<'_>) {
    let key = &plan.table.key;
    let is_table = matches!(plan.source.kind, RelationKind::Table | RelationKind::Partitioned);
    if plan.table.mode != Mode::Incremental || !is_table {
        return;
    }
    let list = key.join(", ");
    if plan.source.key_over(key).is_some_and(|key| key.unusable.is_none()) {
        about.ok("source_key", format!("the source keeps ({list}) unique"));
        return;
    }
    let quoted: Vec<String> = key.iter().map(|name| quote_ident(name)).collect();
    about.warn(
        "source_key",
        format!("the source does not keep ({list}) unique: rows that share it become one in bronze"),
        format!(
            "in the source: create unique index concurrently on {} ({});",
            plan.source.table.sql(),
            quoted.join(", ")
        ),
    );
}

/// What stands between a load and its rows: missing rights, row security, triggers, rules.
async fn obstacles(server: &Server, table: &TableConfig, bronze: &TableSchema, about: &mut About<'_>) -> Result<()> {
    let sql = "select pg_catalog.has_table_privilege(c.oid, 'select') and pg_catalog.has_table_privilege(c.oid, 'insert') \
                   and pg_catalog.has_table_privilege(c.oid, $3), \
               pg_catalog.row_security_active(c.oid), \
               array(select tgname::text from pg_catalog.pg_trigger \
                   where tgrelid = c.oid and not tgisinternal and tgenabled in ('O', 'A') order by 1), \
               array(select rulename::text from pg_catalog.pg_rewrite \
                   where ev_class = c.oid and rulename <> '_RETURN' and ev_enabled in ('O', 'A') order by 1) \
               from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
               where n.nspname = $1 and c.relname = $2";
    let right = if table.mode == Mode::Snapshot { "truncate" } else { "update" };
    let values: [(&(dyn ToSql + Sync), Type); 3] =
        [(&bronze.table.schema, Type::TEXT), (&bronze.table.name, Type::TEXT), (&right, Type::TEXT)];
    let row = server.client.query_typed_one(sql, &values).await.map_err(sort)?;
    let (name, role) = (bronze.table.sql(), quote_ident(&server.role));
    if !row.get::<_, bool>(0) {
        about.fail(
            "rights",
            ErrorKind::Permission,
            format!("`{}` may not load {}", server.role, bronze.table),
            format!("in the target: grant select, insert, update, truncate on {name} to {role};"),
        );
    }
    if row.get(1) {
        about.fail(
            "row_security",
            ErrorKind::Permission,
            format!("row security of {} would hide rows from the load", bronze.table),
            format!("in the target: alter table {name} disable row level security;"),
        );
    }
    let triggers: Vec<String> = row.get(2);
    let rules: Vec<String> = row.get(3);
    for (what, names) in [("trigger", triggers), ("rule", rules)] {
        for found in names {
            about.warn(
                what,
                format!(
                    "{what} `{found}` of {} may change or drop rows, and then the load is rolled back",
                    bronze.table
                ),
                format!("in the target: drop {what} {} on {name};", quote_ident(&found)),
            );
        }
    }
    Ok(())
}

/// The watermark row, and who holds it.
async fn run_log(pipeline: &Pipeline, server: &Server, table: &TableConfig, about: &mut About<'_>) -> Result<()> {
    let config = &pipeline.config().target;
    if !target::has_control(server, config).await? {
        return Ok(());
    }
    let sql = format!(
        "select lease_holder, lease_since::text from {}.extract_watermarks where table_name = $1",
        quote_ident(&config.control_schema)
    );
    match server.client.query_typed_opt(&sql, &[(&table.name, Type::TEXT)]).await.map_err(sort)? {
        None => about.fail("watermark_row", ErrorKind::Contract, "it has no watermark row", "dwh migrate"),
        Some(row) => {
            if let Some(holder) = row.get::<_, Option<String>>(0) {
                let since: Option<String> = row.get(1);
                about.warn(
                    "lease",
                    format!("{holder} has worked on it since {}", since.unwrap_or_default()),
                    "wait for it, or see whether it still lives: `dwh status` shows its last run",
                );
            }
        }
    }
    Ok(())
}
