//! What a change of the source asks of a bronze table.

use tokio_postgres::Client;

use super::{begin, owner, refused, tables, types};
use crate::catalog;
use crate::config::{Environment, TargetConfig};
use crate::connect::{Connector, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Cure, LoadPlan};

/// Which differences are to be mended.
type Wanted<'a> = &'a (dyn Fn(&Cure) -> bool + Send + Sync);

/// Mends those differences of one table that `wanted` names: all of them or none.
///
/// # Errors
/// `NotFound` if bronze has no such table; `Contract` if the role may not alter it, or the target lacks a type.
pub(crate) async fn adapt(
    target: &TargetConfig,
    environment: &Environment,
    load: &LoadPlan,
    wanted: Wanted<'_>,
) -> Result<()> {
    let mut client = Connector::to_target(target, environment)?.connect().await?;
    let done = alter(&mut client, target, load, wanted).await;
    owner::explained(&client, target, std::slice::from_ref(load), done).await
}

async fn alter(client: &mut Client, target: &TargetConfig, load: &LoadPlan, wanted: Wanted<'_>) -> Result<()> {
    let tx = begin(client, target).await?;
    let bronze = catalog::describe(&tx, &load.target).await?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("table `{}`: bronze has no table {}", load.table, load.target))
            .with_hint("run `dwh migrate`; it creates the bronze tables of the configuration")
    })?;
    let prepared = types::look_at(&tx, target, load, true).await?;
    if let Some(cause) = prepared.causes.first() {
        let error = Error::new(ErrorKind::Contract, format!("table `{}`: {}", load.table, cause.cause));
        return Err(error.with_hint(&cause.hint));
    }
    let cures: Vec<Cure> = load.cures(&load.drift(&bronze), &bronze).into_iter().filter(wanted).collect();
    let named = |error| refused(error).context(format!("table `{}`", load.table));
    tx.batch_execute(&tables::types_sql(target, &prepared)).await.map_err(named)?;
    for statement in cures.iter().flat_map(|cure| &cure.statements) {
        tx.batch_execute(statement).await.map_err(named)?;
    }
    tx.commit().await.map_err(sort)
}
