//! What a run does at both ends, done without a row and rolled back: whatever keeps a run from it is met here first.

use super::about::About;
use super::rights;
use super::server::Server;
use super::words::Word;
use crate::catalog::equality;
use crate::config::{Mode, TargetConfig};
use crate::connect::{rolled_back, sort};
use crate::control::Control;
use crate::error::{ErrorKind, Result};
use crate::plan::{Isolation, Plan};
use crate::watermark::{Sweep, Timestamp};

/// Writes into the control schema.
pub(super) async fn control(server: &Server, target: &TargetConfig, about: &mut About<'_>) {
    let client = &server.survey.client;
    let tried = rolled_back(client, Isolation::Write, Control::new(&target.control_schema).rehearse(client)).await;
    tell(tried, "a run's rows of the control schema were written, and rolled back", server, about).await;
}

/// Locks and reads the source; no row is asked for.
pub(super) async fn read(plan: &Plan, server: &Server, about: &mut About<'_>) {
    let client = &server.survey.client;
    let statement = plan.select(Timestamp::NEG_INFINITY, Timestamp::SEED, Sweep::Off, Timestamp::SEED);
    let execute = async |sql: String| client.batch_execute(&sql).await.map_err(sort);
    let probe = format!("({statement}) limit 0");
    let tried = rolled_back(client, Isolation::Snapshot, async {
        // Without the right to all columns a run locks in another way.
        if plan.source.kind.can_lock() && server.may_lock(&plan.source.table).await? {
            execute(format!("lock table {} in access share mode", plan.source.table.sql())).await?;
        }
        execute(probe).await
    })
    .await;
    tell(tried, "it was locked and read, without a row", server, about).await;
}

/// Stages and merges. What would empty the table, or read it whole, is left out: rights on it are looked up.
pub(super) async fn load(plan: &Plan, server: &Server, about: &mut About<'_>) {
    let client = &server.survey.client;
    let load = plan.load(false);
    let mut statements = vec![load.create_stage()];
    let into = if load.waiting.is_empty() {
        load.clone()
    } else {
        // To add columns for a try would lock out readers.
        statements.extend(load.create_beside(None));
        load.beside()
    };
    if !load.carries_over() {
        statements.push(into.merge());
    }
    let tried = rolled_back(client, Isolation::Write, async {
        for sql in &statements {
            client.batch_execute(sql).await.map_err(sort)?;
        }
        if load.mode == Mode::Incremental {
            let key = equality(client, Some(&into.target), &into.key_columns()).await?;
            client.batch_execute(&format!("explain {}", into.classify(&key))).await.map_err(sort)?;
        }
        Ok(())
    })
    .await;
    tell(tried, "a load without a row was made, and rolled back", server, about).await;
}

async fn tell(tried: Result<()>, done: &str, server: &Server, about: &mut About<'_>) {
    let error = match tried {
        Ok(()) => return about.ok(Word::Rehearsal, done),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::Busy | ErrorKind::Locked => {
            about.ok(Word::Rehearsal, format!("not tried, somebody else holds it: {error}"));
        }
        ErrorKind::Permission => {
            let grants = rights::of_functions(server, &error.to_string(), about).await.unwrap_or_default();
            let error = if grants.is_empty() { error } else { error.with_hint(grants) };
            about.error(Word::Rehearsal, &error.context("tried and rolled back"));
        }
        _ => about.error(Word::Rehearsal, &error.context("tried and rolled back")),
    }
}
