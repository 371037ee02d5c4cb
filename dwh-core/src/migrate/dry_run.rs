//! What `migrate` would do, found out without writing: every look is a transaction that is read-only at the server.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::{
    MigrateReport, as_owner, audit_keys, audit_roles, is_applied, is_there, loads, no_type, not_applied, owner, pinned,
    refused, render, search_path,
};
use crate::catalog;
use crate::config::{Environment, TargetConfig};
use crate::connect::{Connector, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Isolation, LoadPlan, Plan};

/// The server's word for a write in a read-only transaction.
const WOULD_WRITE: &str = "25006";

/// What [`migrate`](super::migrate()) would apply and create; nothing is written.
///
/// A migration that is missing is begun in a read-only transaction: it looks first whether all is prepared for it, and the
/// server stops it where it would write. Types, keys and roles are looked at as far as what they belong to is there.
///
/// # Errors
/// Those of [`migrate`](super::migrate()) that can be told before anything is written.
pub async fn dry_run(target: &TargetConfig, environment: &Environment, plans: &[Plan]) -> Result<MigrateReport> {
    let tables = loads(plans);
    let mut client = Connector::to_target(target, environment)?.connect().await?;
    let looked = look(&mut client, target, &tables).await;
    owner::explained(&client, target, &tables, looked).await
}

async fn look(client: &mut Client, target: &TargetConfig, tables: &[LoadPlan]) -> Result<MigrateReport> {
    let mut report = MigrateReport { dry_run: true, ..MigrateReport::default() };
    for migration in render(target) {
        let tx = read_only(client).await?;
        if is_applied(&tx, target, &migration).await? {
            report.present.push(migration.name.to_owned());
            continue;
        }
        if let Err(error) = tx.batch_execute(&migration.sql).await
            && error.code().is_none_or(|code| code.code() != WOULD_WRITE)
        {
            return Err(not_applied(&migration, error));
        }
        report.applied.push(migration.name.to_owned());
    }
    let prepared = report.applied.is_empty();
    if !prepared && let Some(error) = owner::foreign(client, target, tables).await? {
        return Err(error);
    }
    let tx = read_only(client).await?;
    if prepared {
        tx.batch_execute(&audit_roles(target)).await.map_err(refused)?;
        tx.batch_execute(&as_owner(target, tables)).await.map_err(refused)?;
    } else {
        tx.batch_execute(&search_path(target, tables)).await.map_err(refused)?;
    }
    let mut keyless = Vec::new();
    for load in tables {
        keyless.extend(look_at(&tx, load, &mut report).await?);
    }
    // It would miss the tables that are only about to be made.
    if prepared && report.tables_created.is_empty() {
        tx.batch_execute(&format!("reset role;\n{}", audit_keys(target))).await.map_err(refused)?;
    }
    if keyless.is_empty() { Ok(report) } else { Err(no_keys(&keyless)) }
}

/// A transaction that cannot write; it is never committed.
async fn read_only(client: &mut Client) -> Result<Transaction<'_>> {
    let tx = client.transaction().await.map_err(sort)?;
    tx.batch_execute(&pinned(Isolation::Look)).await.map_err(sort)?;
    Ok(tx)
}

/// Notes whether a table is there, and returns what is wrong with its key.
async fn look_at(tx: &Transaction<'_>, load: &LoadPlan, report: &mut MigrateReport) -> Result<Option<Error>> {
    if !is_there(tx, &load.target).await? {
        for column in &load.columns {
            let known = "select pg_catalog.to_regtype($1) is not null";
            let row = tx.query_typed_one(known, &[(&column.bare_type(), Type::TEXT)]).await.map_err(sort)?;
            if !row.get::<_, bool>(0) {
                return Err(no_type(load, &column.type_name));
            }
        }
        report.tables_created.push(load.target.to_string());
        return Ok(None);
    }
    report.tables_present.push(load.target.to_string());
    let bronze = catalog::describe(tx, &load.target).await?;
    Ok(bronze.and_then(|bronze| load.check_key(&bronze).err()))
}

/// What the audit says once it knows the tables: those that are new in the configuration it does not know yet.
fn no_keys(tables: &[Error]) -> Error {
    let problems: String = tables.iter().map(|error| format!("\n  - {error}")).collect();
    let remedies: Vec<&str> = tables.iter().map(|error| error.hint().trim_start_matches("in the target: ")).collect();
    Error::new(ErrorKind::Contract, format!("keys are missing in bronze:{problems}"))
        .with_hint(format!("in the target:\n{}", remedies.join("\n")))
}
