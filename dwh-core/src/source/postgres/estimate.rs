//! How much there is to read, as the planner takes it from its statistics: no row is read.

use serde_json::Value;
use tokio_postgres::types::Json;

use super::PgSource;
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
    let rows = source.ask_about(plan, &explain).await?;
    let Some(Json(told)) = rows.first().map(|row| row.get::<_, Json<Value>>(0)) else { return Ok(None) };
    let number = |name: &str| told.pointer(&format!("/0/Plan/{name}")).and_then(Value::as_f64);
    let both = number("Plan Rows").zip(number("Plan Width"));
    Ok(both.map(|(rows, width)| Estimate { rows: rows as u64, bytes: (rows * width) as u64 }))
}
