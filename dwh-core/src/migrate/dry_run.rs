//! What `migrate` would do, found out without writing: every look is a transaction that is read-only at the server.

use tokio_postgres::{Client, Transaction};

use super::design::design_of;
use super::tables::{is_there, lacks_of_bronze, note};
use super::{
    MigrateReport, audit_keys, audit_roles, is_applied, loads, look_at, not_applied, owner, pinned, refused, render,
};
use crate::catalog;
use crate::config::{Environment, TargetConfig};
use crate::connect::{Connector, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Isolation, LoadPlan, Plan};
use crate::schema::quote_ident;

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
    owner::may_make_schemas(client, target, tables).await?;
    let tx = read_only(client).await?;
    if prepared {
        tx.batch_execute(&audit_roles(target)).await.map_err(refused)?;
        let owner = quote_ident(&target.owner_role);
        tx.batch_execute(&format!("set local role {owner}; reset role")).await.map_err(refused)?;
    }
    let mut keyless = Vec::new();
    for load in tables {
        keyless.extend(table(&tx, target, load, &mut report).await?);
    }
    // It would miss the tables that are only about to be made.
    if prepared && report.tables_created.is_empty() && report.refused.is_empty() {
        tx.batch_execute(&audit_keys(target)).await.map_err(refused)?;
    }
    match keyless.is_empty() {
        true => Ok(report),
        false if report.refused.is_empty() => Err(no_keys(&keyless)),
        false => {
            report.refuse_audit(&no_keys(&keyless));
            Ok(report)
        }
    }
}

/// A transaction that cannot write; it is never committed.
async fn read_only(client: &mut Client) -> Result<Transaction<'_>> {
    let tx = client.transaction().await.map_err(sort)?;
    tx.batch_execute(&pinned(Isolation::Look)).await.map_err(sort)?;
    Ok(tx)
}

/// Notes what is there of a table and what keeps it from being made, and returns what is wrong with its key.
async fn table(
    tx: &Transaction<'_>,
    target: &TargetConfig,
    load: &LoadPlan,
    report: &mut MigrateReport,
) -> Result<Option<Error>> {
    let present = is_there(tx, &load.target).await?;
    let prepared = look_at(tx, target, load, present).await?;
    if !prepared.causes.is_empty() {
        prepared.causes.into_iter().for_each(|cause| report.refuse(&load.table, cause));
        return Ok(None);
    }
    if !present {
        match design_of(&target.designs, &load.target) {
            Ok(design) => report.designs.extend(design.map(|design| design.file)),
            Err(error) => {
                report.refuse_for(&load.table, &error);
                return Ok(None);
            }
        }
    }
    note(report, load, &prepared, present);
    if present {
        report.note_of_bronze(load, lacks_of_bronze(tx, load).await?);
    }
    if !present {
        return Ok(None);
    }
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
