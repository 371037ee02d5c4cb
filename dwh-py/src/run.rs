//! `Pipeline.run`.

use dwh_core::RunRequest;
use dwh_core::pipeline::ErrorReport;
use pyo3::prelude::*;

use crate::error;
use crate::pipeline::Pipeline;
use crate::report::RunReport;
use crate::runtime::block_on;

/// Extract, load and archive the tables that match; all of them if none is named.
pub fn run(
    pipeline: &Pipeline,
    py: Python<'_>,
    tables: Option<Vec<String>>,
    jobs: Option<usize>,
    wait: bool,
    allow_empty: bool,
) -> PyResult<RunReport> {
    let engine = pipeline.engine(py)?;
    let request = RunRequest { tables: tables.unwrap_or_default(), jobs, wait, allow_empty };
    let report = block_on(py, |cancel| async move { engine.run(&request, &cancel).await })?;
    let Some(failure) = failure(&report) else { return Ok(RunReport(report)) };
    let exception = error::raise_report(py, &failure);
    exception.value(py).setattr("report", Bound::new(py, RunReport(report))?)?;
    Err(exception)
}

/// All failures as one: of their kind if they share it, else of none.
fn failure(report: &dwh_core::RunReport) -> Option<ErrorReport> {
    let failed = || report.runs.iter().filter_map(|run| Some((&run.table, run.error.as_ref()?)));
    let (_, first) = failed().next()?;
    if failed().count() == 1 {
        return Some(first.clone());
    }
    let same = failed().all(|(_, error)| error.code == first.code);
    let lines: Vec<String> = failed().map(|(table, error)| format!("{table}: {}", error.message)).collect();
    Some(ErrorReport {
        code: if same { first.code.clone() } else { "several".to_owned() },
        message: format!("{} runs failed\n{}", lines.len(), lines.join("\n")),
        hint: if same { first.hint.clone() } else { "each run in `report` has its own hint".to_owned() },
        exit_code: report.exit_code(),
    })
}
