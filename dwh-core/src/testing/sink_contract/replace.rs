//! A CSV that stands for its window alone.

use super::{begun, contract_load, counted, csv, load_as, state};
use crate::chain::Replaced;
use crate::config::{Mode, OnConflict};
use crate::plan::LoadPlan;
use crate::run::RunKind;
use crate::schema::RowKey;
use crate::sink::{Accounting, Commit, Sink, StageRequest};
use crate::watermark::Timestamp;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

fn key(id: &str) -> RowKey {
    vec![Some(id.to_owned())]
}

/// Rows of the window are overwritten, and what bronze has beside them is removed, but for what is spared.
pub(super) async fn a_window_is_replaced(sink: &dyn Sink) {
    let load = contract_load(Mode::Incremental);
    let rows = [
        "40,before,2027-01-31 00:00:00+00",
        "41,same,2027-02-01 00:00:00+00",
        "42,old,2027-02-02 00:00:00+00",
        "43,gone,2027-02-03 00:00:00+00",
        "44,moved,2027-02-04 00:00:00+00",
        "45,after,2027-02-05 00:00:00+00",
    ];
    load_as(sink, &load, RunKind::Run, &rows).await.expect("loaded");
    let (low, high) = (at("2027-01-31T00:00:00Z"), at("2027-02-04T00:00:00Z"));
    let window = Replaced { low, high, key: load.key.clone(), spares: Vec::new(), at: Some(high) };
    for on_conflict in [OnConflict::Nothing, OnConflict::Update] {
        let replacing = LoadPlan { on_conflict, ..load.clone() }.replacing(Some(window.clone()));
        let now = ["41,same,2027-02-01 00:00:00+00", "42,new,2027-02-02 00:00:00+00", "46,more,2027-02-01 00:00:00+00"];
        let run_id = begun(sink, &load, RunKind::Repair).await;
        let mut staged = sink.stage(StageRequest::new(&replacing, csv(&replacing, &now))).await.expect("staged");
        let mut extra = staged.extra().await.expect("extra");
        extra.sort();
        assert_eq!(extra, [key("43"), key("44")], "what bronze alone has in the window");
        assert_eq!(staged.extra().await.expect("the end"), Vec::<RowKey>::new());
        staged.spare(&[key("44")]);
        let commit = Commit::of(run_id, Some(3), state(sink, &load.table).await);
        let counts = staged.commit(commit).await.expect("committed").counts;
        assert_eq!(counts, Accounting { removed: 1, ..counted(3, 1, 1, 1, 0) });
        // An older one only adds: it removes nothing, and brings nothing back that a newer one removed.
        let older = LoadPlan {
            older: true,
            overruled: vec![Replaced { spares: vec![key("44")], ..window.clone() }],
            ..load.clone()
        };
        let counts = load_as(sink, &older, RunKind::Replay, &rows).await.expect("older");
        assert_eq!(counts, Accounting { kept_newer: 1, ..counted(6, 0, 0, 4, 1) }, "43 stays away");
        let older = LoadPlan { older: true, ..replacing.clone() };
        let counts = load_as(sink, &older, RunKind::Replay, &["46,more,2027-02-01 00:00:00+00"]).await.expect("older");
        assert_eq!((counts.identical, counts.removed), (1, 0));
        // As it was.
        let all = LoadPlan { on_conflict: OnConflict::Nothing, ..load.clone() }.replacing(Some(window.clone()));
        let back: Vec<&str> = rows[1..5].to_vec();
        let counts = load_as(sink, &all, RunKind::Repair, &back).await.expect("back");
        assert_eq!(counts, Accounting { removed: 1, ..counted(4, 1, 1, 2, 0) });
    }
    // Of no rows: everything in it goes, also what has no time.
    let whole = Replaced { low: Timestamp::NEG_INFINITY, high: at("2027-03-01T00:00:00Z"), ..window };
    let counts = load_as(sink, &load.clone().replacing(Some(whole)), RunKind::Repair, &[]).await.expect("emptied");
    assert!(counts.removed >= 6 && counts.staged == 0, "{counts:?}");
    assert_eq!(state(sink, &load.table).await.bronze, None, "a table whose last row was removed has none to lose");
}
