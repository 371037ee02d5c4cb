//! Migrations: the control schema, the role contract, the views, and the bronze tables of a configuration.
//!
//! The files are in `migrations/`, plain SQL that a DBA can read. Four names in them stand for those of `[target]`;
//! putting the configured ones in is all that is done to them.

mod adapt;
mod dry_run;
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
use crate::plan::{Isolation, LoadPlan, Plan, bronze_ddl, missing_extension_hint, opening};
use crate::schema::{TableRef, TypeName, quote_ident, quote_literal};
use crate::watermark::Micros;

pub(crate) use adapt::adapt;
pub use dry_run::dry_run;
pub(crate) use reset::{occupied, set_aside};

const FILES: [(&str, &str); 7] = [
    ("261001_dwh_control.sql", include_str!("../migrations/261001_dwh_control.sql")),
    ("261002_bronze_constraints_audit.sql", include_str!("../migrations/261002_bronze_constraints_audit.sql")),
    ("261003_dwh_roles.sql", include_str!("../migrations/261003_dwh_roles.sql")),
    ("261004_dwh_observability_views.sql", include_str!("../migrations/261004_dwh_observability_views.sql")),
    ("261101_dwh_identity.sql", include_str!("../migrations/261101_dwh_identity.sql")),
    ("261102_dwh_error_code.sql", include_str!("../migrations/261102_dwh_error_code.sql")),
    ("261201_dwh_repair.sql", include_str!("../migrations/261201_dwh_repair.sql")),
];

const PRINT_HINT: &str = "`dwh migrate --print-sql` prints all of it for a DBA to apply";

/// A migration with the configured names put in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Migration {
    /// File name.
    pub name: &'static str,
    /// The SQL.
    pub sql: String,
    /// SHA-256 of the SQL, lower-case hex.
    pub checksum: String,
}

/// What [`Pipeline::migrate`](crate::Pipeline::migrate) did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct MigrateReport {
    /// Whether nothing was done.
    #[serde(default)]
    pub dry_run: bool,
    /// Migrations applied now, or to be applied.
    pub applied: Vec<String>,
    /// Migrations that were there already.
    pub present: Vec<String>,
    /// Bronze tables created now, or to be created.
    pub tables_created: Vec<String>,
    /// Bronze tables that were there already; they are left as they are.
    pub tables_present: Vec<String>,
    /// Tables whose watermarks cannot be used: they belong to something else, or bronze lost what was loaded.
    #[serde(default)]
    pub conflicts: Vec<MigrateConflict>,
    /// What was changed in bronze tables because their sources changed, or would be.
    #[serde(default)]
    pub drift_applied: Vec<MigrateDrift>,
    /// What source and bronze still differ in, and what a person does about it; empty unless it was asked for.
    #[serde(default)]
    pub drift_left: Vec<MigrateDrift>,
}

/// A difference between source and bronze.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct MigrateDrift {
    /// The table's name in the configuration.
    pub table: String,
    /// What differs, or differed, one line.
    pub message: String,
    /// The statements that mended it, or what to do.
    pub remedy: String,
}

/// A table whose watermark cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct MigrateConflict {
    /// The table's name in the configuration.
    pub table: String,
    /// What is wrong, one line.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl MigrateReport {
    /// 0 if runs may begin; 4 if a table's watermark cannot be used, or source and bronze still differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.conflicts.is_empty() && self.drift_left.is_empty() { 0 } else { ErrorKind::Contract.row().exit_code }
    }
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
    let mut client = Connector::to_target(target, environment)?.connect().await?;
    let done = make_all(&mut client, target, tables).await;
    owner::explained(&client, target, tables, done).await
}

async fn make_all(client: &mut Client, target: &TargetConfig, tables: &[LoadPlan]) -> Result<MigrateReport> {
    let mut report = MigrateReport::default();
    for migration in render(target) {
        apply(client, target, &migration, &mut report).await?;
    }
    make_tables(client, target, tables, &mut report).await?;
    let transaction = begin(client, target).await?;
    transaction.batch_execute(&audits(target)).await.map_err(refused)?;
    transaction.commit().await.map_err(sort)?;
    Ok(report)
}

async fn begin<'a>(client: &'a mut Client, target: &TargetConfig) -> Result<Transaction<'a>> {
    let transaction = client.transaction().await.map_err(sort)?;
    transaction.batch_execute(&format!("{}; {}", pinned(Isolation::Write), lock(target))).await.map_err(sort)?;
    Ok(transaction)
}

/// What a transaction relies on, said inside it: the driver begins one with the defaults of role and database.
fn pinned(isolation: Isolation) -> String {
    opening(isolation, Micros::ZERO).replacen("begin ", "set transaction ", 1)
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
    if is_applied(&transaction, target, migration).await? {
        report.present.push(migration.name.to_owned());
    } else {
        let sql = format!("{}\n{}", migration.sql, record(target, migration));
        transaction.batch_execute(&sql).await.map_err(|error| not_applied(migration, error))?;
        report.applied.push(migration.name.to_owned());
    }
    transaction.commit().await.map_err(sort)
}

fn not_applied(migration: &Migration, error: tokio_postgres::Error) -> Error {
    let error = refused(error);
    if error.kind() == ErrorKind::Contract { error } else { error.context(migration.name) }
}

/// Whether it was applied before, as it is now.
async fn is_applied(tx: &Transaction<'_>, target: &TargetConfig, migration: &Migration) -> Result<bool> {
    match applied_checksum(tx, target, migration.name).await? {
        None => Ok(false),
        Some(checksum) if checksum == migration.checksum => Ok(true),
        Some(_) => Err(Error::new(
            ErrorKind::Contract,
            format!("migration `{}` was applied with other contents or other names", migration.name),
        )
        .with_hint(
            "the names in `[target]` stay as they were when it was applied; for other names, take another `control_schema`",
        )),
    }
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
    for load in tables {
        if is_there(&transaction, &load.target).await? {
            report.tables_present.push(load.target.to_string());
            continue;
        }
        transaction.batch_execute(&bronze_ddl(load)).await.map_err(|error| no_table(load, error))?;
        report.tables_created.push(load.target.to_string());
    }
    transaction.batch_execute(&format!("reset role;\n{}", seeds(target, tables))).await.map_err(refused)?;
    transaction.commit().await.map_err(sort)
}

async fn is_there(tx: &Transaction<'_>, table: &TableRef) -> Result<bool> {
    let there = "select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                 where n.nspname = $1 and c.relname = $2)";
    let names: [(&(dyn ToSql + Sync), Type); 2] = [(&table.schema, Type::TEXT), (&table.name, Type::TEXT)];
    Ok(tx.query_typed_one(there, &names).await.map_err(sort)?.get(0))
}

/// Why a bronze table could not be made, with the extension that a type needs.
fn no_table(load: &LoadPlan, error: tokio_postgres::Error) -> Error {
    let unknown = error.as_db_error().filter(|db| db.code().code() == "42704").and_then(|db| {
        // The server names the type as it was written, in quotes of its own language.
        let names = |name: &&TypeName| db.message().contains(&format!("\"{}\"", name.name().trim_matches('"')));
        load.columns.iter().map(|column| &column.type_name).find(names)
    });
    match unknown {
        Some(name) => no_type(load, name),
        None => refused(error).context(format!("table `{}`", load.table)),
    }
}

fn no_type(load: &LoadPlan, name: &TypeName) -> Error {
    Error::new(ErrorKind::Contract, format!("table `{}`: the target has no type `{name}`", load.table))
        .with_hint(missing_extension_hint(name.name()))
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

/// Tables are made by the role that owns them.
fn as_owner(target: &TargetConfig, tables: &[LoadPlan]) -> String {
    format!("{}set local role {};\n", search_path(target, tables), quote_ident(&target.owner_role))
}

/// Types are looked up where extensions live, in bronze, and in schemas that are called as those of the source's own
/// types.
fn search_path(target: &TargetConfig, tables: &[LoadPlan]) -> String {
    let mut schemas = BTreeSet::from([quote_literal(&target.bronze_schema), quote_literal("public")]);
    for column in tables.iter().flat_map(|load| &load.columns) {
        let schema = column.type_name.schema().unwrap_or_default();
        let name =
            schema.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(|name| name.replace("\"\"", "\""));
        schemas.insert(quote_literal(name.as_deref().unwrap_or(schema)));
    }
    format!(
        "select pg_catalog.set_config('search_path', (select pg_catalog.string_agg(distinct pg_catalog.quote_ident(n.nspname), ', ')\n    \
         from pg_catalog.pg_namespace n where n.nspname in ({}) or n.oid in (select extnamespace from pg_catalog.pg_extension)), true);\n",
        schemas.into_iter().collect::<Vec<_>>().join(", ")
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
    audit_keys(target) + &audit_roles(target)
}

fn audit_keys(target: &TargetConfig) -> String {
    format!("select {}.audit_keys();\n", quote_ident(&target.control_schema))
}

fn audit_roles(target: &TargetConfig) -> String {
    format!("select {}.audit_roles();\n", quote_ident(&target.control_schema))
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
