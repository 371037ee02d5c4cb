//! `plan`.

use dwh_core::operate::PlanRequest;
use dwh_core::{Pipeline, operate};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::{Plans, PlansReport};

/// What the next run of each matching table would do, and what else there is to do; nothing is moved or written.
pub fn plan(engine: Pipeline, request: PlanRequest) -> Call {
    Call::or_drop(async move { engine.plan(&request).await }, answer)
}

fn answer(py: Python<'_>, plans: Vec<operate::PlanReport>) -> PyResult<Py<PyAny>> {
    let failures = plans.iter().filter_map(|plan| plan.error.clone()).collect();
    conclude(py, PlansReport(Plans { plans }), failures)
}
