//! What is wanted of roles, schemas and rights, each with the statement that brings it about where it is missing. Pure.

use super::report::{AccessReport, AccessStep, NewLogin};
use crate::config::Secret;

/// One thing that is wanted.
pub(super) struct Change {
    /// What it is, such as ``role `dwh_owner` ``.
    pub(super) what: String,
    /// The statement that brings it about, as it is shown; `None` if it is so already.
    pub(super) sql: Option<String>,
    /// The statement itself, where it holds what is not shown.
    pub(super) hidden: Option<Secret>,
    /// Whether the catalog cannot tell that it is so already.
    pub(super) always: bool,
}

impl Change {
    /// Something that is `there` already, or that `sql` brings about.
    pub(super) fn unless(there: bool, what: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { what: what.into(), sql: (!there).then(|| sql.into()), hidden: None, always: false }
    }

    /// A statement with the verifier of a password, which is not shown.
    pub(super) fn with_password(what: impl Into<String>, sql: &str, verifier: &Secret) -> Self {
        let hidden = Secret::new(format!("{sql} password '{}'", verifier.expose()));
        Self { what: what.into(), sql: Some(format!("{sql} password …")), hidden: Some(hidden), always: false }
    }
}

/// All that is wanted, in its order.
#[derive(Default)]
pub(super) struct Changes {
    /// Roles.
    pub(super) roles: Vec<Change>,
    /// What needs the rights of [`member_of`](Self::member_of).
    pub(super) rest: Vec<Change>,
    /// What comes at the end.
    pub(super) last: Vec<Change>,
    /// Roles whose rights the administrator borrows for this.
    pub(super) member_of: Vec<String>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
    /// A login whose password is made up.
    pub(super) login: Option<NewLogin>,
}

impl Changes {
    fn all(&self) -> impl Iterator<Item = &Change> {
        self.roles.iter().chain(&self.rest).chain(&self.last)
    }

    /// The statements that are still to be run, as they are shown.
    pub(super) fn missing(&self) -> Option<String> {
        let sql = self.all().filter(|change| !change.always).filter_map(|change| change.sql.as_deref());
        let missing: Vec<&str> = sql.collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }

    pub(super) fn report(self, administrator: &str, dry_run: bool) -> AccessReport {
        let step = |change: &Change| AccessStep {
            what: change.what.clone(),
            done: change.sql.is_some() && !dry_run,
            sql: change.sql.clone(),
        };
        AccessReport {
            dry_run,
            administrator: administrator.to_owned(),
            steps: self.all().map(step).collect(),
            notes: self.notes,
            login: self.login,
        }
    }
}
