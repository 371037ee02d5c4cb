//! How much there is to read, as the planner takes it from its statistics: no row is read.

use serde_json::Value;
use tokio_postgres::types::Json;

use super::PgSource;
use super::lock::not_locked;
use crate::error::Result;
use crate::plan::Plan;
use crate::source::{Estimate, Sweep};
use crate::watermark::Timestamp;

pub(super) async fn estimate(
    source: &PgSource,
    plan: &Plan,
    low: Timestamp,
    high: Timestamp,
) -> Result<Option<Estimate>> {
    let select = plan.select(low, high, Sweep::Off, Timestamp::SEED);
    let explain = format!("explain (format json) {select}");
    let client = source.pool.take().await?;
    let about = |error| not_locked(&plan.table, error);
    let begin = source.begin();
    // Polled, and so sent, in this order.
    let ((), row, ()) = futures_util::try_join!(
        client.batch_execute(&begin),
        client.query_typed_one(&explain, &[]),
        client.batch_execute("commit")
    )
    .map_err(about)?;
    client.give_back();
    let Json(told) = row.get::<_, Json<Value>>(0);
    let number = |name: &str| told.pointer(&format!("/0/Plan/{name}")).and_then(Value::as_f64);
    let both = number("Plan Rows").zip(number("Plan Width"));
    Ok(both.map(|(rows, width)| Estimate { rows: rows as u64, bytes: (rows * width) as u64 }))
}
