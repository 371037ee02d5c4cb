//! What looks at a warehouse, tells of it and prepares it; none of it moves a row itself: `repair` lets the pipeline do it.
//!
//! `plan`, `runs` and `status` ask the three traits. `check`, `verify`, `init` and `migrate` look into catalogs that no trait
//! describes: they are PostgreSQL's, and dial the servers of the configuration.

mod access;
mod adapt;
mod alert;
mod check;
mod design;
#[cfg(feature = "export")]
mod export;
mod files;
mod init;
mod inspect;
mod maintain;
mod models;
mod patterns;
mod plan;
#[cfg(feature = "report")]
mod report;
mod runs;
mod schedule;
mod shell;
mod status;
mod tap;
mod verify;

pub use access::{
    AccessReport, AccessStep, AddUserRequest, NewLogin, NewPassword, RemoveUserRequest, SetupRequest, UserGroup,
};
pub use alert::{AlertReport, AlertRequest, SentAlert, ToldThing};
pub use check::{CheckReport, Finding, Gate, Severity};
pub use design::{DesignReport, DesignRequest, DesignState, TableDesign};
#[cfg(feature = "export")]
pub use export::{ExportReport, ExportRequest, ExportedColumn, ExportedFile};
pub use files::{FileReport, FileState, FilesReport, FilesRequest};
pub use init::{InitChange, InitReport, InitRequest, InitTable, LeftOut, init};
pub use inspect::{AddedLabel, MigrateConflict, MigrateDrift, MigrateRefusal, MigrateReport, MigrateRequest};
pub use maintain::{MaintainAction, MaintainReport, MaintainRequest, MaintainStep};
pub use models::{ListedModel, ModelList, ModelsReport, ModelsRequest};
pub use plan::{PlanReport, PlanRequest, WorkUnit};
#[cfg(feature = "report")]
pub use report::{REPORT_DAYS, WarehouseReport};
pub use runs::{CsvPlace, CsvReport, ManifestReport, NeighbourReport, RunDetails};
pub use schedule::{ScheduleFile, ScheduleReport, ScheduleRequest, Scheduler, schedule};
pub use status::{
    Breach, BreachCause, BreachCheck, DiskStatus, DiskUse, ModelStatus, RunningRun, StatusReport, StoreStatus,
    TableStatus, WaitingCsvs,
};
pub use tap::{LoadType, TapReport, TapRequest};
pub use verify::{
    BlobsReport, Difference, KeyDifference, RepairRequest, TableRepair, TableVerify, VerifyReport, VerifyRequest,
};
