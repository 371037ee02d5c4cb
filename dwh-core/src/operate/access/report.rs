//! What was done with roles, schemas and rights.

use serde::{Deserialize, Serialize};

use super::password::NewPassword;

/// One thing that `setup` or a change of users wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct AccessStep {
    /// What it is, such as ``role `dwh_owner` ``.
    pub what: String,
    /// The statement that brought it about, or would; `None` if it was so already. In the place of a password stands `…`.
    pub sql: Option<String>,
    /// Whether it was done now.
    pub done: bool,
}

/// A login whose password nobody gave: it was made up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct NewLogin {
    /// The login.
    pub role: String,
    /// Its password, told here and never again; `None` in a dry run.
    pub password: Option<NewPassword>,
}

/// What `setup`, `add_user` or `remove_user` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct AccessReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The role that did it.
    pub administrator: String,
    /// In the order in which they are done; all of them, or none.
    pub steps: Vec<AccessStep>,
    /// What a person should know, a line each.
    pub notes: Vec<String>,
    /// The login whose password was made up.
    pub login: Option<NewLogin>,
}
