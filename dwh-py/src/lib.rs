//! The native module `dwh._dwh`: the verbs of the engine for Python, a file each.
//!
//! Every verb is: unwrap the arguments → a [`Call`](call::Call), which runs without the GIL → wrap the report. It is made
//! by waiting for it (`runtime`) or by a coroutine (`pending`). No decision is taken here.

mod alert;
mod backfill;
mod call;
mod check;
mod convert;
mod deletes;
mod designs;
mod engine;
mod error;
mod exit;
mod export;
mod extract;
mod files;
mod given;
mod load;
mod looks;
mod maintain;
mod migrate;
mod models;
mod moment;
mod pending;
mod per_process;
mod pipeline;
mod plan;
mod prune;
mod rebuild;
mod recover;
mod replay;
mod report;
mod reseed;
mod resync;
mod run;
mod run_details;
mod runs;
mod runtime;
mod set_aside;
mod status;
mod tables;
mod tap;
mod told;
mod verify;

use pyo3::prelude::*;

// Free-threaded Python gets the GIL back: `PerProcess` relies on it when the process forks.
#[pymodule(gil_used = true)]
fn _dwh(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<pipeline::AsyncPipeline>()?;
    module.add_class::<pipeline::Pipeline>()?;
    module.add_class::<report::AlertReport>()?;
    module.add_class::<report::BackfillReport>()?;
    module.add_class::<report::CheckReport>()?;
    module.add_class::<report::DeletesReport>()?;
    module.add_class::<report::DesignReport>()?;
    module.add_class::<report::ExportReport>()?;
    module.add_class::<report::FilesReport>()?;
    module.add_class::<report::LoadParams>()?;
    module.add_class::<report::LoadPlanReport>()?;
    module.add_class::<report::MaintainReport>()?;
    module.add_class::<report::MigrateReport>()?;
    module.add_class::<report::ModelList>()?;
    module.add_class::<report::ModelsReport>()?;
    module.add_class::<report::PlanReport>()?;
    module.add_class::<report::PlansReport>()?;
    module.add_class::<report::PruneReport>()?;
    module.add_class::<report::RebuildReport>()?;
    module.add_class::<report::RecoverReport>()?;
    module.add_class::<report::ReplayReport>()?;
    module.add_class::<report::RestoreReport>()?;
    module.add_class::<report::RunDetails>()?;
    module.add_class::<report::RunRecord>()?;
    module.add_class::<report::ReseedReport>()?;
    module.add_class::<report::ResyncReport>()?;
    module.add_class::<report::RunReport>()?;
    module.add_class::<report::RunsReport>()?;
    module.add_class::<report::StatusReport>()?;
    module.add_class::<report::TableRun>()?;
    module.add_class::<report::TapReport>()?;
    module.add_class::<report::VerifyReport>()?;
    told::install();
    exit::register(module)?;
    error::add_classes(module)
}
