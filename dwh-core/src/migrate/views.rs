//! Views over a table of which columns get another type: they go before, and are made again as they were.

use tokio_postgres::{Error as DriverError, GenericClient};

use crate::catalog;
use crate::config::Mode;
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LoadPlan;
use crate::schema::ViewDef;

/// The views over bronze that hold the types of these columns, each behind those that it is made of.
///
/// # Errors
/// `Contract` if one of them cannot be made again as it was.
pub(crate) async fn views_over(
    client: &impl GenericClient,
    load: &LoadPlan,
    retyped: &[String],
) -> Result<Vec<ViewDef>> {
    if retyped.is_empty() {
        return Ok(Vec::new());
    }
    let found = catalog::views(client, &load.target).await?;
    let stuck: Vec<&str> = found.iter().filter_map(|view| view.stuck.as_deref()).collect();
    if stuck.is_empty() { Ok(found) } else { Err(holds_type(load, retyped, &stuck.join(", "))) }
}

/// What drops them, in an order that goes.
pub(crate) fn drop_views(views: &[ViewDef]) -> impl Iterator<Item = String> {
    views.iter().rev().map(ViewDef::drop_sql)
}

/// Makes them again.
///
/// # Errors
/// `Contract`, with the name of the first one that does not go with the new types.
pub(crate) async fn make_views(
    client: &impl GenericClient,
    load: &LoadPlan,
    retyped: &[String],
    views: &[ViewDef],
) -> Result<()> {
    for view in views {
        for sql in view.make_sql() {
            client.execute_typed(&sql, &[]).await.map_err(|error| not_made(load, view, retyped, error))?;
        }
    }
    Ok(())
}

fn holds_type(load: &LoadPlan, retyped: &[String], what: &str) -> Error {
    let (table, columns) = (&load.table, retyped.join("`, `"));
    let goes_on = if load.mode == Mode::Incremental { ", which goes on where it stands," } else { "" };
    Error::new(ErrorKind::Contract, format!("table `{table}`: the type of `{columns}` changes, and {what} holds it"))
        .with_hint(format!(
            "nothing was changed; drop it in the target, run `dwh resync {table}`{goes_on} and make it again (a model by `dwh models run`)"
        ))
}

/// A view that does not go with the new types.
fn not_made(load: &LoadPlan, view: &ViewDef, retyped: &[String], error: DriverError) -> Error {
    let told = holds_type(load, retyped, &format!("view `{}`", view.view));
    match sort(error) {
        lost if lost.kind() == ErrorKind::Unreachable => lost,
        cause => told.with_source(cause),
    }
}
