//! Migrations: the control schema, the role contract, the views, and the bronze tables of a configuration.
//!
//! The files are in `migrations/`, plain SQL that a DBA can read. Four names in them stand for those of `[target]`;
//! putting the configured ones in is all that is done to them.

mod owner;
mod reset;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};

use crate::config::{Environment, TargetConfig};
use crate::connect::{Connector, sort};
use crate::dialect::hex;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{LoadPlan, Plan, bronze_ddl, missing_extension_hint};
use crate::schema::{quote_ident, quote_literal};

pub(crate) use reset::{occupied, set_aside};

const FILES: [(&str, &str); 4] = [
    ("261001_dwh_control.sql", include_str!("../migrations/261001_dwh_control.sql")),
    ("261002_bronze_constraints_audit.sql", include_str!("../migrations/261002_bronze_constraints_audit.sql")),
    ("261003_dwh_roles.sql", include_str!("../migrations/261003_dwh_roles.sql")),
    ("261004_dwh_observability_views.sql", include_str!("../migrations/261004_dwh_observability_views.sql")),
];

const PRINT_HINT: &str = "`dwh migrate --print-sql` prints all of it for a DBA to apply";

/// A migration with the configured names put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// File name.
    pub name: &'static str,
    /// The SQL.
    pub sql: String,
    /// SHA-256 of the SQL, lower-case hex.
    pub checksum: String,
}

/// What [`migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MigrateReport {
    /// Migrations applied now.
    pub applied: Vec<String>,
    /// Migrations that were there already.
    pub present: Vec<String>,
    /// Bronze tables created now.
    pub tables_created: Vec<String>,
    /// Bronze tables that were there already; they are left as they are.
    pub tables_present: Vec<String>,
}

/// The migrations, in their order, with the names of `target`.
#[must_use]
pub fn render(target: &TargetConfig) -> Vec<Migration> {
    FILES
        .iter()
        .map(|(name, template)| {
            let sql = put_in(template, target);
            let checksum = hex(&Sha256::digest(sql.as_bytes()));
            Migration { name, sql, checksum }
        })
        .collect()
}

/// Replaces the four names in one pass, so that a configured name is never taken for another placeholder.
fn put_in(template: &str, target: &TargetConfig) -> String {
    let names = [
        ("dwh_control", &target.control_schema),
        ("bronze", &target.bronze_schema),
        ("dwh_owner", &target.owner_role),
        ("grafana_ro", &target.reader_role),
    ];
    let mut sql = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['"', '\'']) {
        sql.push_str(&rest[..at]);
        rest = &rest[at..];
        let (quote, inner) = rest.split_at(1);
        let found =
            names.iter().find(|(name, _)| inner.strip_prefix(name).is_some_and(|after| after.starts_with(quote)));
        let length = found.map_or(1, |(name, _)| name.len() + 2);
        match found {
            Some((_, configured)) if quote == "\"" => sql.push_str(&quote_ident(configured)),
            Some((_, configured)) => sql.push_str(&quote_literal(configured)),
            None => sql.push_str(quote),
        }
        rest = &rest[length..];
    }
    sql.push_str(rest);
    sql
}

/// Applies what is missing, makes the bronze tables of `plans` that are missing, and asserts keys and roles.
///
/// Each migration is a transaction of its own, under a lock that a second `migrate` waits for; the bronze tables with
/// their watermark rows are one more. What failed has left nothing of its own behind, and the call can be repeated.
///
/// # Errors
/// `Contract`, with the list of what is missing and the SQL that makes it, when the connection may not make it, when
/// an applied migration had other contents, or when keys or roles are not as promised; `Unreachable`, `Auth`.
pub async fn migrate(target: &TargetConfig, environment: &Environment, plans: &[Plan]) -> Result<MigrateReport> {
    migrate_tables(target, environment, &loads(plans)).await
}

/// What bronze needs to know of each plan.
fn loads(plans: &[Plan]) -> Vec<LoadPlan> {
    plans.iter().map(|plan| plan.load(false)).collect()
}

/// As [`migrate`], for tables of which only the loads are known: no source is needed.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_tables(
    target: &TargetConfig,
    environment: &Environment,
    tables: &[LoadPlan],
) -> Result<MigrateReport> {
    let mut client = Connector::new("target", &target.url, environment)?.connect().await?;
    let done = make_all(&mut client, target, tables).await;
    owner::explained(&client, target, tables, done).await
}

async fn make_all(client: &mut Client, target: &TargetConfig, tables: &[LoadPlan]) -> Result<MigrateReport> {
    let mut report = MigrateReport::default();
    for migration in render(target) {
        apply(client, target, &migration, &mut report).await?;
    }
    make_tables(client, target, tables, &mut report).await?;
    client.batch_execute(&audits(target)).await.map_err(refused)?;
    Ok(report)
}

async fn begin<'a>(client: &'a mut Client, target: &TargetConfig) -> Result<Transaction<'a>> {
    let transaction = client.transaction().await.map_err(sort)?;
    transaction.batch_execute(&lock(target)).await.map_err(sort)?;
    Ok(transaction)
}

fn lock(target: &TargetConfig) -> String {
    let name = quote_literal(&format!("dwh migrate {}", target.control_schema));
    format!("select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended({name}, 0))")
}

async fn apply(
    client: &mut Client,
    target: &TargetConfig,
    migration: &Migration,
    report: &mut MigrateReport,
) -> Result<()> {
    let transaction = begin(client, target).await?;
    match applied_checksum(&transaction, target, migration.name).await? {
        Some(checksum) if checksum == migration.checksum => report.present.push(migration.name.to_owned()),
        Some(_) => {
            return Err(Error::new(
                ErrorKind::Contract,
                format!("migration `{}` was applied with other contents or other names", migration.name),
            )
            .with_hint(
                "the names in `[target]` stay as they were when it was applied; for other names, take another `control_schema`",
            ));
        }
        None => {
            let sql = format!("{}\n{}", migration.sql, record(target, migration));
            transaction.batch_execute(&sql).await.map_err(|error| {
                let error = refused(error);
                if error.kind() == ErrorKind::Contract { error } else { error.context(migration.name) }
            })?;
            report.applied.push(migration.name.to_owned());
        }
    }
    transaction.commit().await.map_err(sort)
}

async fn applied_checksum(tx: &Transaction<'_>, target: &TargetConfig, name: &str) -> Result<Option<String>> {
    let table = format!("{}.schema_migrations", quote_ident(&target.control_schema));
    // Asked of the catalog by name: without the right to use the schema, `to_regclass` would raise.
    let there = "select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                 where n.nspname = $1 and c.relname = 'schema_migrations')";
    if !tx.query_typed_one(there, &[(&target.control_schema, Type::TEXT)]).await.map_err(sort)?.get::<_, bool>(0) {
        return Ok(None);
    }
    let sql = format!("select checksum from {table} where name = $1");
    let row = tx.query_typed_opt(&sql, &[(&name, Type::TEXT)]).await.map_err(refused)?;
    Ok(row.map(|row| row.get(0)))
}

fn record(target: &TargetConfig, migration: &Migration) -> String {
    format!(
        "insert into {}.schema_migrations (name, checksum, engine_version) values ({}, {}, {}) on conflict (name) do nothing;",
        quote_ident(&target.control_schema),
        quote_literal(migration.name),
        quote_literal(&migration.checksum),
        quote_literal(env!("CARGO_PKG_VERSION")),
    )
}

async fn make_tables(
    client: &mut Client,
    target: &TargetConfig,
    tables: &[LoadPlan],
    report: &mut MigrateReport,
) -> Result<()> {
    let transaction = begin(client, target).await?;
    transaction.batch_execute(&schemas(target, tables)).await.map_err(refused)?;
    transaction.batch_execute(&as_owner(target, tables)).await.map_err(refused)?;
    let there = "select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                 where n.nspname = $1 and c.relname = $2)";
    for load in tables {
        let table = &load.target;
        let names: [(&(dyn ToSql + Sync), Type); 2] = [(&table.schema, Type::TEXT), (&table.name, Type::TEXT)];
        if transaction.query_typed_one(there, &names).await.map_err(sort)?.get(0) {
            report.tables_present.push(table.to_string());
            continue;
        }
        transaction.batch_execute(&bronze_ddl(load)).await.map_err(|error| no_table(load, error))?;
        report.tables_created.push(table.to_string());
    }
    transaction.batch_execute(&format!("reset role;\n{}", seeds(target, tables))).await.map_err(refused)?;
    transaction.commit().await.map_err(sort)
}

/// Why a bronze table could not be made, with the extension that a type needs.
fn no_table(load: &LoadPlan, error: tokio_postgres::Error) -> Error {
    let unknown = error.as_db_error().filter(|db| db.code().code() == "42704").and_then(|db| {
        // The server names the type as it was written, in quotes of its own language.
        load.columns.iter().map(|column| column.type_name.as_str()).find(|name| {
            let bare = crate::schema::bare_type(name);
            db.message().contains(&format!("\"{}\"", bare.split(['(', '[']).next().unwrap_or(bare).trim_matches('"')))
        })
    });
    let table = format!("table `{}`", load.table);
    match unknown {
        Some(name) => Error::new(ErrorKind::Contract, format!("{table}: the target has no type `{name}`"))
            .with_hint(missing_extension_hint(name)),
        None => refused(error).context(table),
    }
}

/// Makes the schemas of bronze tables that do not lie in the bronze schema.
fn schemas(target: &TargetConfig, tables: &[LoadPlan]) -> String {
    let names: BTreeSet<&str> =
        tables.iter().map(|load| load.target.schema.as_str()).filter(|name| *name != target.bronze_schema).collect();
    let (owner, reader) = (quote_ident(&target.owner_role), quote_ident(&target.reader_role));
    names
        .iter()
        .map(|name| {
            let (schema, text) = (quote_ident(name), quote_literal(name));
            let create = quote_literal(&format!("create schema {schema} authorization {owner}"));
            format!(
                "do $dwh$ begin\n    if not exists (select from pg_catalog.pg_namespace where nspname = {text}) then\n        \
                 execute {create};\n    end if;\nend $dwh$;\n\
                 grant usage on schema {schema} to {reader};\n\
                 alter default privileges for role {owner} in schema {schema} grant select on tables to {reader};\n"
            )
        })
        .collect()
}

/// Tables are made by the role that owns them; types are looked up where extensions live, in bronze, and in schemas that
/// are called as those of the source's own types.
fn as_owner(target: &TargetConfig, tables: &[LoadPlan]) -> String {
    let mut schemas = BTreeSet::from([quote_literal(&target.bronze_schema), quote_literal("public")]);
    for column in tables.iter().flat_map(|load| &load.columns) {
        let schema = column.type_name.strip_suffix(column.bare_type()).unwrap_or_default().trim_end_matches('.');
        let name =
            schema.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(|name| name.replace("\"\"", "\""));
        schemas.insert(quote_literal(name.as_deref().unwrap_or(schema)));
    }
    format!(
        "select pg_catalog.set_config('search_path', (select pg_catalog.string_agg(distinct pg_catalog.quote_ident(n.nspname), ', ')\n    \
         from pg_catalog.pg_namespace n where n.nspname in ({}) or n.oid in (select extnamespace from pg_catalog.pg_extension)), true);\n\
         set local role {};\n",
        schemas.into_iter().collect::<Vec<_>>().join(", "),
        quote_ident(&target.owner_role)
    )
}

/// One watermark row and one contract a table.
fn seeds(target: &TargetConfig, tables: &[LoadPlan]) -> String {
    let control = quote_ident(&target.control_schema);
    tables
        .iter()
        .map(|load| {
            let name = quote_literal(&load.table);
            let key: Vec<String> = load.key.iter().map(|column| quote_literal(column)).collect();
            format!(
                "insert into {control}.extract_watermarks (table_name) values ({name}) on conflict (table_name) do nothing;\n\
                 insert into {control}.table_contracts (table_name, target_schema, target_table, mode, key_columns)\n    \
                 values ({name}, {}, {}, '{}', array[{}]::text[])\n    \
                 on conflict (table_name) do update set target_schema = excluded.target_schema,\n    \
                 target_table = excluded.target_table, mode = excluded.mode, key_columns = excluded.key_columns;\n",
                quote_literal(&load.target.schema),
                quote_literal(&load.target.name),
                load.mode.as_str(),
                key.join(", ")
            )
        })
        .collect()
}

fn audits(target: &TargetConfig) -> String {
    let control = quote_ident(&target.control_schema);
    format!("select {control}.audit_keys();\nselect {control}.audit_roles();\n")
}

/// What the migrations say themselves is a broken contract with a hint of its own; so is a missing right.
fn refused(error: tokio_postgres::Error) -> Error {
    match error.as_db_error().map(|db| (db.code().code(), db)) {
        Some(("P0001", db)) => {
            let told = Error::new(ErrorKind::Contract, db.message());
            match db.hint() {
                Some(hint) => told.with_hint(hint),
                None => told,
            }
        }
        Some(("42501", db)) => Error::new(ErrorKind::Contract, db.message()).with_hint(PRINT_HINT),
        _ => sort(error),
    }
}

/// Everything that [`migrate`] would run, for a DBA: one transaction, for psql or any other client.
#[must_use]
pub fn print_sql(target: &TargetConfig, plans: &[Plan]) -> String {
    let tables = loads(plans);
    let mut sql = format!("begin;\n{};\n", lock(target));
    for migration in render(target) {
        sql.push_str(&format!("\n-- {}\n{}{}\n", migration.name, migration.sql, record(target, &migration)));
    }
    sql.push_str(&format!("\n-- Bronze tables\n{}{}", schemas(target, &tables), as_owner(target, &tables)));
    for load in &tables {
        sql.push_str(&bronze_ddl(load));
        sql.push('\n');
    }
    sql.push_str(&format!(
        "reset role;\nset local search_path = '';\n\n-- Watermark rows\n{}\n",
        seeds(target, &tables)
    ));
    sql.push_str(&format!("-- Both raise with a list when something is missing\n{}commit;\n", audits(target)));
    sql
}
