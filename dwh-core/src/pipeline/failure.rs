//! How a run that went wrong is told: the error with its table, the report of it, and the way out.

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::TableRun;
use crate::run::RunState;

/// The report of a run that an error ended.
pub(crate) fn failed(mut run: TableRun, error: &Error) -> TableRun {
    if run.status != RunState::Loaded {
        run.status = RunState::Failed;
    }
    run.error = Some(error.into());
    run
}

/// The error with its table named, if it does not say so already.
pub(crate) fn named(error: Error, table: &str) -> Error {
    let name = format!("table `{table}`");
    if error.to_string().contains(&name) { error } else { error.context(name) }
}

/// The same words once more, where the error itself belongs to somebody else.
pub(crate) fn repeated(error: &Error) -> Error {
    Error::new(error.kind(), error.chain()).with_hint(error.hint())
}

/// The error of a call that was cancelled.
pub(crate) fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "stopped on request")
}

/// What a look gives, unless the call is cancelled first: it may wait for a lock for long. Nothing is left of it but a
/// server that waits until that time is over.
pub(super) async fn or_stopped<T>(cancel: &CancellationToken, look: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = look => done,
        () = cancel.cancelled() => Err(interrupted()),
    }
}

/// The error that stands for one which is in a report already.
pub(super) fn told() -> Error {
    Error::new(ErrorKind::Internal, "its report tells")
}

/// The error of a load with the way out of it: a CSV that is never loaded would keep its table waiting for ever.
pub(super) fn with_way_out(error: Error, run: &TableRun) -> Error {
    use ErrorKind::{Contract, Data, Drift, NotFound, Permission};
    let stuck = run.csv_path.is_some() && matches!(run.status, RunState::Uploaded | RunState::Loading);
    let Some(run_id) =
        run.run_id.filter(|_| stuck && matches!(error.kind(), Data | Contract | Drift | Permission | NotFound))
    else {
        return error;
    };
    let hint = format!("{}\nif this CSV can never be loaded: `dwh recover --set-aside {run_id}`", error.hint());
    error.with_hint(hint)
}
