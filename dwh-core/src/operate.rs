//! What looks at a warehouse, tells of it and prepares it; none of it moves a row itself: `repair` lets the pipeline do it.
//!
//! `plan`, `runs` and `status` ask the three traits. `check`, `verify`, `init` and `migrate` look into catalogs that no trait
//! describes: they are PostgreSQL's, and dial the servers of the configuration.

mod adapt;
mod alert;
mod check;
#[cfg(feature = "export")]
mod export;
mod files;
mod init;
mod inspect;
mod maintain;
mod patterns;
#[cfg(feature = "report")]
mod report;
mod runs;
mod schedule;
mod shell;
mod status;
mod tap;
mod verify;

pub use alert::{AlertReport, AlertRequest, SentAlert, ToldThing};
pub use check::{CheckReport, Finding, Gate, Severity};
#[cfg(feature = "export")]
pub use export::{ExportReport, ExportRequest, ExportedColumn, ExportedFile};
pub use files::{FileReport, FileState, FilesReport, FilesRequest};
pub use init::{InitReport, InitRequest, InitTable, LeftOut, init};
pub use inspect::{
    AddedLabel, MigrateConflict, MigrateDrift, MigrateRefusal, MigrateReport, MigrateRequest, PlanReport,
};
pub use maintain::{MaintainAction, MaintainReport, MaintainRequest, MaintainStep};
#[cfg(feature = "report")]
pub use report::{REPORT_DAYS, WarehouseReport};
pub use runs::{CsvPlace, CsvReport, ManifestReport, NeighbourReport, RunDetails};
pub use schedule::{ScheduleFile, ScheduleReport, ScheduleRequest, Scheduler, schedule};
pub use status::{
    Breach, BreachCheck, DiskStatus, DiskUse, RunningRun, StatusReport, StoreStatus, TableStatus, WaitingCsvs,
};
pub use tap::{LoadType, TapReport, TapRequest};
pub use verify::{
    BlobsReport, Difference, KeyDifference, RepairRequest, TableRepair, TableVerify, VerifyReport, VerifyRequest,
};
