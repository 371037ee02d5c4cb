//! The end of a run that found no row: one short transaction.

use futures_util::join;

use super::PgSink;
use super::pool::{Tx, beginning, not_begun};
use super::stage::end;
use crate::control::Brought;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Isolation, LoadPlan};
use crate::sink::{Accounting, Commit, Committed, Upload};

/// The run log and the watermark, as a load without a row leaves them. No staging table is made, for nothing comes from it.
pub(super) async fn load_nothing(
    sink: &PgSink,
    load: &LoadPlan,
    upload: &Upload,
    commit: &Commit,
) -> Result<Committed> {
    if upload.rows != 0 || commit.rows.is_some_and(|rows| rows != 0) {
        return Err(Error::new(ErrorKind::Internal, format!("table `{}`: rows would be left out", load.table)));
    }
    let tx = Tx::on(&sink.pool).await?;
    let committed = match settle(sink, &tx, load, upload, commit).await {
        Ok(committed) => committed,
        Err(error) => {
            // Which rolls back, and whoever is asked for next waits for no lock of ours.
            drop(tx);
            return Err(sink.naming_holders(Some(load), error).await);
        }
    };
    end(sink, load, tx, commit.run_id, committed).await
}

async fn settle(sink: &PgSink, tx: &Tx, load: &LoadPlan, upload: &Upload, commit: &Commit) -> Result<Committed> {
    let (client, control) = (tx.client()?, &sink.control);
    let beginning = beginning(Isolation::Write, sink.lock_timeout);
    // Polled, and so sent, in this order, and one answer is waited for.
    let (begun, held) =
        join!(client.batch_execute(&beginning), control.hold(client, load, commit.run_id, &commit.expected));
    begun.map_err(not_begun)?;
    let state = control.settle(client, load, commit, held?, Brought::Nothing(upload)).await?;
    Ok(Committed { counts: Accounting::default(), routing: None, state })
}
