//! What the verbs return: objects whose attributes are the keys of the JSON that the command prints.

use pyo3::exceptions::{PyAttributeError, PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyType};
use serde::{Deserialize, Serialize};

use crate::convert::{to_json, to_python};

macro_rules! reports {
    ($($name:ident of $value:ty, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[pyclass(frozen, module = "dwh")]
        pub struct $name(pub $value);

        #[pymethods]
        impl $name {
            /// From the JSON that the command prints; pickles are made of it.
            #[new]
            pub fn new(json: &str) -> PyResult<Self> {
                serde_json::from_str(json).map(Self).map_err(|error| PyValueError::new_err(error.to_string()))
            }

            fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, (String,))> {
                Ok((slf.get_type(), (to_json(&slf.get().0)?,)))
            }

            /// Plain dicts, lists, strings and numbers, as JSON has them.
            fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                to_python(py, &self.0)
            }

            /// Only asked for what is no attribute of the class.
            fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
                let dict = to_python(py, &self.0)?.cast_into::<PyDict>()?;
                let unknown = || PyAttributeError::new_err(format!("{} has no `{name}`", stringify!($name)));
                dict.get_item(name)?.ok_or_else(unknown)
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                Ok(format!("{}({})", stringify!($name), to_python(py, &self.0)?.repr()?))
            }

            /// By what `to_dict` shows: a pickle carries nothing else.
            fn __eq__(&self, other: &Self) -> PyResult<bool> {
                Ok(to_json(&self.0)? == to_json(&other.0)?)
            }
        }
    )*};
}

reports! {
    AlertReport of dwh_core::operate::AlertReport, "What `alert` sent, or would send.";
    BackfillReport of dwh_core::pipeline::BackfillReport, "What `backfill` did, or would do.";
    CheckReport of dwh_core::operate::CheckReport, "What `check` found.";
    DeletesReport of dwh_core::pipeline::DeletesReport, "What `deletes` found, and did.";
    DesignReport of dwh_core::operate::DesignReport, "Table designs, and how they stand.";
    ExportReport of dwh_core::operate::ExportReport, "What `export` wrote, or would write.";
    FilesReport of dwh_core::operate::FilesReport, "Raw files, and where they stand.";
    LoadParams of dwh_core::LoadParams, "What `load` takes, and `extract` returns.";
    LoadPlanReport of dwh_core::pipeline::LoadPlanReport, "What `load` would do with a CSV.";
    MaintainReport of dwh_core::operate::MaintainReport, "What `maintain` did, or would do.";
    MigrateReport of dwh_core::operate::MigrateReport, "What `migrate` did, or would do.";
    ModelList of dwh_core::operate::ModelList, "The models, in the order in which they are built.";
    ModelsReport of dwh_core::operate::ModelsReport, "What `run_models` did, or would do.";
    PlanReport of dwh_core::operate::PlanReport, "What the next run or extract of a table would do.";
    PlansReport of Plans, "What the next runs or extracts would do, a plan a table.";
    PruneReport of dwh_core::pipeline::PruneReport, "What `prune` removed, or would remove.";
    RebuildReport of dwh_core::pipeline::RebuildReport, "What `rebuild` did, or would do.";
    RecoverReport of dwh_core::pipeline::RecoverReport, "What `recover` found and did.";
    ReplayReport of dwh_core::pipeline::ReplayReport, "What `replay` did, or would do.";
    ReseedReport of dwh_core::pipeline::ReseedReport, "What `reseed` did, or would do.";
    ResyncReport of dwh_core::pipeline::ResyncReport, "What `resync` did, or would do.";
    RestoreReport of dwh_core::pipeline::RestoreReport, "What `restore_file` put back.";
    RunDetails of dwh_core::operate::RunDetails, "All that is known of one run.";
    RunRecord of dwh_core::sink::RunRecord, "A row of the run log.";
    RunReport of dwh_core::RunReport, "What `run` did.";
    RunsReport of Runs, "Rows of the run log, the newest first.";
    StatusReport of dwh_core::operate::StatusReport, "Whether all is well, and what needs attention.";
    TableRun of dwh_core::pipeline::TableRun, "One run of one table.";
    TapReport of dwh_core::operate::TapReport, "What `tap` did with the tables of a manifest.";
    VerifyReport of dwh_core::operate::VerifyReport, "What `verify` found.";
}

#[pymethods]
impl LoadParams {
    /// Whether there is more to extract once this is loaded; in the JSON it stands only where it is so.
    #[getter]
    fn more(&self) -> bool {
        self.0.more
    }
}

/// What `runs` returns, as the command prints it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Runs {
    /// The newest first.
    pub runs: Vec<dwh_core::sink::RunRecord>,
}

/// What `plan` returns, as the command prints it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Plans {
    /// One a table.
    pub plans: Vec<dwh_core::operate::PlanReport>,
}

/// Goes through the rows of a report as through a list.
macro_rules! rows {
    ($($name:ident.$rows:ident: $row:ident;)*) => {$(
        #[pymethods]
        impl $name {
            fn __len__(&self) -> usize {
                self.0.$rows.len()
            }

            fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
                PyList::new(py, self.0.$rows.iter().cloned().map($row))?.try_iter()
            }

            fn __getitem__(&self, place: isize) -> PyResult<$row> {
                let from_the_end = if place < 0 { self.0.$rows.len() } else { 0 };
                let at = from_the_end.checked_add_signed(place);
                let row = at.and_then(|at| self.0.$rows.get(at)).cloned();
                row.map($row).ok_or_else(|| PyIndexError::new_err(format!("there is no row {place}")))
            }
        }
    )*};
}

rows! {
    PlansReport.plans: PlanReport;
    RunsReport.runs: RunRecord;
}
