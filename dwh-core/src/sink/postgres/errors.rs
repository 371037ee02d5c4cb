//! Errors of the driver, as they are told.

use crate::connect::sort;
use crate::error::Error;
use crate::plan::LoadPlan;

/// A driver's error with the table's name, and with what to do about a lock.
pub(super) fn named(load: &LoadPlan, error: tokio_postgres::Error) -> Error {
    let locked = error.code().is_some_and(|code| code.code() == "55P03");
    let error = sort(error).context(format!("table `{}`, bronze {}", load.table, load.target));
    if locked {
        error.with_hint(
            "another session holds a lock on the bronze table; run it again, or raise `lock_timeout` in `[target]`",
        )
    } else {
        error
    }
}
