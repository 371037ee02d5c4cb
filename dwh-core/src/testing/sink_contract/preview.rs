//! A preview counts what a commit does afterwards, and changes nothing.

use super::{contract_load, csv, kind, load_as, load_rows, state};
use crate::config::{Mode, OnConflict};
use crate::error::{ErrorKind, Result};
use crate::plan::LoadPlan;
use crate::run::RunKind;
use crate::schema::Column;
use crate::sink::{Accounting, RunFilter, Sink, StageRequest};

async fn previewed(sink: &dyn Sink, load: &LoadPlan, rows: &[&str]) -> Result<Accounting> {
    let lease = sink.lease(&load.table, true).await.expect("lease");
    let counted = sink.stage(StageRequest::new(load, csv(load, rows))).await.expect("staged").preview().await;
    lease.release().await.expect("release");
    counted
}

/// The same preview twice, with the proof that nothing was changed; then the load, which ends as it was told.
async fn told_and_done(sink: &dyn Sink, load: &LoadPlan, rows: &[&str]) {
    let known = async || {
        let runs = sink.runs(&RunFilter::default()).await.expect("runs");
        (state(sink, &load.table).await, runs, sink.bronze_id(&load.target).await.expect("bronze"))
    };
    let before = known().await;
    let told = previewed(sink, load, rows).await.expect("counted");
    assert_eq!(previewed(sink, load, rows).await.expect("counted again"), told, "bronze is as it was");
    assert_eq!(known().await, before, "watermark, run log and bronze table are as they were");
    assert_eq!(load_rows(sink, load, rows).await.expect("loaded"), told, "{:?}", load.mode);
}

/// In every mode. A sink without previews says so, and is asked no more.
pub(super) async fn a_preview_tells(sink: &dyn Sink) {
    let nothing = contract_load(Mode::Incremental);
    if let Err(error) = previewed(sink, &nothing, &[]).await {
        assert_eq!(error.kind(), ErrorKind::Contract, "{error}");
        return;
    }
    let update = LoadPlan { on_conflict: OnConflict::Update, ..nothing.clone() };
    let there = ["70,a,2026-05-01 00:00:00+00", "71,b,2026-05-01 00:00:00+00"];
    let other = ["70,a,2026-05-01 00:00:00+00", "71,c,2026-05-01 00:00:00+00", "72,d,2026-05-02 00:00:00+00"];
    for rows in [&there[..], &other, &[]] {
        told_and_done(sink, &nothing, rows).await;
    }
    told_and_done(sink, &update, &other).await;
    let snapshot = contract_load(Mode::Snapshot);
    for rows in [&there[..], &other, &other] {
        told_and_done(sink, &snapshot, rows).await;
    }
    assert_eq!(kind(previewed(sink, &snapshot, &[]).await), ErrorKind::Data, "as the load would be refused");
    let same = load_as(sink, &snapshot, RunKind::Replay, &other).await.expect("replayed");
    assert_eq!(same.identical, 3, "the rows have stayed");
    let dated = contract_load(Mode::Scd);
    let copy = ["1,a,2026-01-01 00:00:00+00,2026-05-01 00:00:00+00"];
    told_and_done(sink, &dated, &copy).await;
    told_and_done(sink, &dated, &copy).await;
    a_waiting_column(sink, &update).await;
}

/// A column that a run adds first is counted as if it were there. It stays, so this comes last.
async fn a_waiting_column(sink: &dyn Sink, load: &LoadPlan) {
    let old_value = Some("old".to_owned());
    let added = Column { old_value, number: Some(4), ..Column::new("added", "text".parse().expect("a type")) };
    let mut load = load.clone();
    load.columns.push(added.clone());
    let before = sink.describe(&load.target).await.expect("described");
    let rows =
        ["70,a,2026-05-01 00:00:00+00,old", "71,c,2026-05-01 00:00:00+00,new", "73,e,2026-05-03 00:00:00+00,new"];
    let waiting = LoadPlan { waiting: vec![added], ..load.clone() };
    let told = previewed(sink, &waiting, &rows).await.expect("counted");
    assert_eq!((told.inserted, told.updated, told.identical), (1, 1, 1), "{told:?}");
    assert_eq!(sink.describe(&load.target).await.expect("described"), before, "no column was added");
    match sink.add_columns(&load).await {
        Ok(()) => assert_eq!(load_rows(sink, &load, &rows).await.expect("loaded"), told),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Contract, "{error}"),
    }
}
