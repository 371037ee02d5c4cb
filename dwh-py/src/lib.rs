//! The native module `dwh._dwh`: the verbs of the engine for Python, a file each.
//!
//! Every verb is: unwrap the arguments → let go of the GIL and run → wrap the report. No decision is taken here.

mod check;
mod convert;
mod error;
mod extract;
mod load;
mod migrate;
mod pipeline;
mod plan;
mod report;
mod run;
mod runtime;
mod status;

use pyo3::prelude::*;

// Free-threaded Python gets the GIL back: `PerProcess` relies on it when the process forks.
#[pymodule(gil_used = true)]
fn _dwh(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<pipeline::Pipeline>()?;
    module.add_class::<report::CheckReport>()?;
    module.add_class::<report::LoadParams>()?;
    module.add_class::<report::MigrateReport>()?;
    module.add_class::<report::PlanReport>()?;
    module.add_class::<report::RunReport>()?;
    module.add_class::<report::StatusReport>()?;
    module.add_class::<report::TableRun>()?;
    error::add_classes(module)
}
