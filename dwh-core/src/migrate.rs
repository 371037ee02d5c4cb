//! Migrations: the control schema, the role contract, the views, and the bronze tables of a configuration.
//!
//! The files are in `migrations/`, plain SQL that a DBA can read. Four names in them stand for those of `[target]`;
//! putting the configured ones in is all that is done to them.

mod adapt;
mod apart;
mod design;
mod dry_run;
mod left_behind;
mod owner;
mod print;
mod report;
mod reset;
mod tables;
mod types;
mod views;

use sha2::{Digest, Sha256};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use crate::config::{Environment, TargetConfig};
use crate::connect::{Connector, sort};
use crate::dialect::hex;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Isolation, LoadPlan, Plan, opening, patience};
use crate::schema::{quote_ident, quote_literal};
use crate::watermark::Micros;

pub(crate) use adapt::adapt;
pub(crate) use apart::make_apart;
pub(crate) use design::{TypesThere, both_lines, design_of, try_design};
pub use dry_run::dry_run;
pub(crate) use left_behind::left_behind;
pub use print::print_sql;
pub(crate) use print::remember_sql;
pub(crate) use report::Cause;
pub use report::{AddedLabel, MigrateConflict, MigrateDrift, MigrateRefusal, MigrateReport};
pub(crate) use reset::{occupied, set_aside};
use tables::make_tables;
pub(crate) use tables::table_schema;
pub(crate) use types::look_at;
pub(crate) use views::{drop_views, make_views, views_over};

const FILES: [(&str, &str); 15] = [
    ("261001_dwh_control.sql", include_str!("../migrations/261001_dwh_control.sql")),
    ("261002_bronze_constraints_audit.sql", include_str!("../migrations/261002_bronze_constraints_audit.sql")),
    ("261003_dwh_roles.sql", include_str!("../migrations/261003_dwh_roles.sql")),
    ("261004_dwh_observability_views.sql", include_str!("../migrations/261004_dwh_observability_views.sql")),
    ("261101_dwh_identity.sql", include_str!("../migrations/261101_dwh_identity.sql")),
    ("261102_dwh_error_code.sql", include_str!("../migrations/261102_dwh_error_code.sql")),
    ("261201_dwh_repair.sql", include_str!("../migrations/261201_dwh_repair.sql")),
    ("261301_dwh_routes.sql", include_str!("../migrations/261301_dwh_routes.sql")),
    ("261302_dwh_files.sql", include_str!("../migrations/261302_dwh_files.sql")),
    ("261303_dwh_resync.sql", include_str!("../migrations/261303_dwh_resync.sql")),
    ("261401_dwh_deletes.sql", include_str!("../migrations/261401_dwh_deletes.sql")),
    ("261501_dwh_discovered.sql", include_str!("../migrations/261501_dwh_discovered.sql")),
    ("261601_dwh_alerts.sql", include_str!("../migrations/261601_dwh_alerts.sql")),
    ("261701_dwh_models.sql", include_str!("../migrations/261701_dwh_models.sql")),
    ("261801_dwh_freshness.sql", include_str!("../migrations/261801_dwh_freshness.sql")),
];

/// How the migrations begin the list of what a superuser does.
const BY_A_SUPERUSER: &str = "a superuser of the target runs:\n";
const BY_SETUP_OR_A_SUPERUSER: &str = "`dwh setup` does it, with an administrator's connection in `admin_url` of `[target]`; or a superuser of the target runs:\n";
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

/// Applies what is missing, makes the bronze tables of `plans` that are missing, with the types that they need, and asserts
/// keys and roles.
///
/// Each migration is a transaction of its own, under a lock that a second `migrate` waits for; so are some bronze tables
/// at a time with their watermark rows. Every table is made that can be made, and the report says what keeps the others from
/// it; nothing is left of those. The call can be repeated.
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
    owner::may_make_schemas(client, target, tables).await?;
    make_tables(client, target, tables, &mut report).await?;
    let transaction = begin(client, target).await?;
    match transaction.batch_execute(&audits(target)).await.map_err(refused) {
        // Told with the rest.
        Err(error) if error.kind() == ErrorKind::Contract && !report.refused.is_empty() => {
            report.refuse_audit(&error);
            return Ok(report);
        }
        done => done?,
    }
    transaction.commit().await.map_err(sort)?;
    Ok(report)
}

async fn begin<'a>(client: &'a mut Client, target: &TargetConfig) -> Result<Transaction<'a>> {
    let transaction = client.transaction().await.map_err(sort)?;
    // A second `migrate` waits as long as the first one takes; whoever uses a table is waited for as long as by a load.
    let sql = format!("{}; {}; {}", pinned(Isolation::Write), lock(target), patience(target.lock_timeout));
    transaction.batch_execute(&sql).await.map_err(sort)?;
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
                // The lines behind the first stay what can be pasted.
                Some(hint) => told.with_hint(hint.replacen(BY_A_SUPERUSER, BY_SETUP_OR_A_SUPERUSER, 1)),
                None => told,
            }
        }
        Some(("42501", db)) => Error::new(ErrorKind::Contract, db.message()).with_hint(PRINT_HINT),
        _ => sort(error),
    }
}
