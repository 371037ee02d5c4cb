//! What a change of the source asks of a bronze table.

use tokio_postgres::Client;

use super::{begin, drop_views, make_views, owner, refused, tables, types, views_over};
use crate::catalog;
use crate::config::{Environment, TargetConfig};
use crate::connect::{Connector, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Cure, LoadPlan};
use crate::schema::{Drift, TableSchema};

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
    let retyped = retyped(&cures, &bronze);
    let views = views_over(&tx, load, &retyped).await?;
    for sql in drop_views(&views) {
        tx.batch_execute(&sql).await.map_err(named)?;
    }
    for cure in &cures {
        for statement in &cure.statements {
            // What else was made of a column holds its type, too.
            let told = |error| match &cure.first {
                Some(first) => named(error).with_hint(first),
                None => named(error),
            };
            tx.batch_execute(statement).await.map_err(told)?;
        }
    }
    make_views(&tx, load, &retyped, &views).await?;
    tx.commit().await.map_err(sort)
}

/// The columns that get another type and of which something was made.
fn retyped(cures: &[Cure], bronze: &TableSchema) -> Vec<String> {
    let is_held = |name: &str| bronze.column(name).is_some_and(|column| !column.dependents.is_empty());
    let typed = cures.iter().map(|cure| &cure.drift).filter(|drift| matches!(drift, Drift::Type { .. }));
    typed.map(|drift| drift.column().to_owned()).filter(|name| is_held(name)).collect()
}
