//! The columns that dwh adds to those of a source.

use super::{Mode, TableConfig};

/// The column that says when the run began that read a row.
pub const UPLOADED_AT: &str = "_uploaded_at";

/// The column that says which run of an orchestrator read a row.
pub const TASK_INSTANCE: &str = "_task_instance";

/// The column that says which run read a row.
pub const RUN_ID: &str = "_run_id";

/// The column of bronze that says when a row was written into it.
pub const LOADED_AT: &str = "_loaded_at";

/// The column that says when a row was found to be gone at the source.
pub const DELETED_AT: &str = "_deleted_at";

impl TableConfig {
    /// The columns that bronze alone has: no CSV brings them.
    #[must_use]
    pub fn of_bronze(&self) -> Vec<&'static str> {
        let both = [(self.marks_deleted(), DELETED_AT), (self.loaded_at, LOADED_AT)];
        both.into_iter().filter_map(|(there, name)| there.then_some(name)).collect()
    }

    /// Whether each row says in `_uploaded_at` when the run began that read it.
    #[must_use]
    pub fn is_dated(&self) -> bool {
        self.uploaded_at || self.mode == Mode::Scd || self.is_appended()
    }

    /// The columns that are added to those of the source, in their order.
    #[must_use]
    pub fn added(&self) -> Vec<&'static str> {
        let all =
            [(self.is_dated(), UPLOADED_AT), (self.task_instance.is_some(), TASK_INSTANCE), (self.run_id, RUN_ID)];
        all.into_iter().filter_map(|(there, name)| there.then_some(name)).collect()
    }
}
