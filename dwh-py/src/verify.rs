//! `verify`.

use dwh_core::Pipeline;
use dwh_core::operate::{self, RepairRequest, TableVerify, VerifyRequest};
use dwh_core::pipeline::ErrorReport;
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::error;
use crate::report::VerifyReport;

/// Compare source and bronze.
pub fn verify(engine: Pipeline, request: VerifyRequest) -> Call {
    Call::or_drop(async move { engine.verify(&request).await }, answer)
}

/// The same, and repair what differs.
pub fn repair(engine: Pipeline, request: RepairRequest) -> Call {
    Call::new(|cancel| async move { engine.repair(&request, &cancel).await }, answer)
}

fn answer(py: Python<'_>, report: operate::VerifyReport) -> PyResult<Py<PyAny>> {
    let failures = report.tables.iter().filter_map(failure).collect();
    conclude(py, VerifyReport(report), failures)
}

/// What is wrong with a table: the counts alone, since keys are values of rows.
pub fn failure(table: &TableVerify) -> Option<ErrorReport> {
    if table.error.is_some() {
        return table.error.clone();
    }
    if let Some(why) = &table.not_compared {
        return Some(error::found("data", format!("table `{}`: nothing was compared", table.table), why.clone()));
    }
    let problems = table.blobs.as_ref().map_or(0, |blobs| blobs.problems_total);
    if table.differences() == 0 && problems == 0 {
        return None;
    }
    let TableVerify { table, missing, extra, different, remedy, .. } = table;
    let mut message = format!("table `{table}`: {missing} rows missing, {extra} extra, {different} different");
    if problems > 0 {
        message.push_str(&format!(", {problems} problems of files"));
    }
    let hint = match &remedy {
        Some(remedy) => format!("`report` names the keys; `{remedy}` mends them"),
        None => "`report` names the problems".to_owned(),
    };
    Some(error::found("data", message, hint))
}
