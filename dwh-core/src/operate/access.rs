//! `setup` and users: roles, schemas and rights in the target, as an administrator. What is there is looked at first; what
//! is missing becomes statements, which run in one transaction, or not at all.

mod admin;
mod change;
mod password;
mod remove;
mod report;
mod setup;
mod user;

use crate::connect::look;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use admin::Admin;
use change::Changes;

pub use password::NewPassword;
pub use remove::RemoveUserRequest;
pub use report::{AccessReport, AccessStep, NewLogin};
pub use setup::SetupRequest;
pub use user::{AddUserRequest, UserGroup};

/// What an administrator is asked for.
#[derive(Clone, Copy)]
enum Task<'a> {
    SetUp(&'a SetupRequest),
    Add(&'a AddUserRequest),
    Remove(&'a RemoveUserRequest),
}

impl Task<'_> {
    const fn dry_run(self) -> bool {
        match self {
            Self::SetUp(request) => request.dry_run,
            Self::Add(request) => request.dry_run,
            Self::Remove(request) => request.dry_run,
        }
    }
}

impl Pipeline {
    /// Makes what `migrate` and runs need of an administrator: the owner and the reader role, the login of `[target] url`,
    /// their rights on the database, and the schemas of control, bronze and each source. Logs in by `[target] admin_url`.
    ///
    /// All of it in one transaction, or nothing. May be called again: what is there stays as it is, and a login keeps its
    /// password unless another one is given.
    ///
    /// # Errors
    /// `Config` without `admin_url`, or if it is the login of `url` or of another database; `Permission` if the
    /// administrator may not make all of it; `Unreachable`, `Auth`.
    pub async fn setup(&self, request: &SetupRequest) -> Result<AccessReport> {
        self.as_admin(Task::SetUp(request)).await
    }

    /// Makes a login in one of the two groups, and with `schema` a schema of its own. May be called again, as
    /// [`setup`](Self::setup).
    ///
    /// # Errors
    /// As [`setup`](Self::setup), and `Config` for a name that is no user's; `Contract` if the group is not there, or the
    /// schema is another one's.
    pub async fn add_user(&self, request: &AddUserRequest) -> Result<AccessReport> {
        self.as_admin(Task::Add(request)).await
    }

    /// Removes a user. What it owns keeps it from being removed, and is named, unless `reassign` gives it to the owner role.
    ///
    /// # Errors
    /// As [`setup`](Self::setup), and `NotFound` if there is none; `Contract` if it owns something, here or in another
    /// database of the server.
    pub async fn remove_user(&self, request: &RemoveUserRequest) -> Result<AccessReport> {
        self.as_admin(Task::Remove(request)).await
    }

    async fn as_admin(&self, task: Task<'_>) -> Result<AccessReport> {
        let admin = Admin::log_in(&self.config).await?;
        let dry_run = task.dry_run();
        let changes = if dry_run {
            look(&admin.client, self.changes(&admin, task)).await?
        } else {
            self.within(&admin.client, self.change(&admin, task)).await?
        };
        Ok(changes.report(&admin.role, dry_run))
    }

    /// What is wanted, and what of it is missing.
    async fn changes(&self, admin: &Admin, task: Task<'_>) -> Result<Changes> {
        match task {
            Task::SetUp(request) => setup::changes(&self.config, admin, request).await,
            Task::Add(request) => user::changes(&self.config, admin, request).await,
            Task::Remove(request) => remove::changes(&self.config, admin, request).await,
        }
    }

    async fn change(&self, admin: &Admin, task: Task<'_>) -> Result<Changes> {
        let changes = self.changes(admin, task).await?;
        admin.apply(&changes).await?;
        // The server answers a grant that it does not make with a warning alone.
        if !matches!(task, Task::Remove(_))
            && let Some(missing) = self.changes(admin, task).await?.missing()
        {
            return Err(Error::new(ErrorKind::Permission, format!("`{}` may not: {missing}", admin.role)).with_hint(
                "name a superuser in `[target] admin_url`, or the owner of the database; nothing was changed",
            ));
        }
        Ok(changes)
    }
}
