use super::*;
use crate::run::RunId;

fn at(day: &str) -> Timestamp {
    format!("2026-09-{day}:00:00Z").parse().expect("a moment")
}

fn range(low: Timestamp) -> Range {
    Range { kind: RunKind::Backfill, low, end: at("30T00"), window: Micros::seconds(24 * 3600) }
}

fn loaded(run_id: i64, low: Timestamp, high: Timestamp, end: Timestamp) -> RunRecord {
    let json = serde_json::json!({
        "run_id": RunId(run_id), "table_name": "t", "kind": "backfill", "run_started_at": high, "status": "loaded",
        "window_low": finite(low), "window_high": high, "watermark": end, "attempt": 1
    });
    serde_json::from_value(json).expect("a record")
}

#[test]
fn windows_end_on_a_grid_and_jump_over_gaps() {
    let range = range(at("01T06"));
    assert_eq!(range.next(Some(at("01T07"))), at("02T06"));
    assert_eq!(range.next(Some(at("02T06"))), at("02T06"), "the end belongs to the window");
    assert_eq!(range.next(Some(at("10T00"))), at("10T06"), "nine empty days cost nothing");
    assert_eq!(range.next(Some(at("29T12"))), at("30T00"), "never beyond the range");
    assert_eq!(range.next(None), at("30T00"));
    let all = Range { window: Micros::ZERO, ..range };
    assert_eq!(all.next(Some(at("01T07"))), at("30T00"));
    let history = Range { low: Timestamp::NEG_INFINITY, ..range };
    assert_eq!(history.next(Some(at("01T07"))), at("02T00"));
    let before = "1999-12-31T12:00:00Z".parse().expect("a moment");
    assert_eq!(history.next(Some(before)), Timestamp::SEED);
}

#[test]
fn an_interrupted_range_goes_on_and_a_finished_one_begins_anew() {
    let (low, end) = (at("01T00"), at("30T00"));
    let range = range(low);
    assert_eq!(range.resume(&[]), (low, 0));
    let two = [loaded(8, at("02T00"), at("05T00"), end), loaded(7, low, at("02T00"), end)];
    assert_eq!(range.resume(&two), (at("05T00"), 2));
    let gap = [loaded(8, at("03T00"), at("05T00"), end), loaded(7, low, at("02T00"), end)];
    assert_eq!(range.resume(&gap), (at("02T00"), 1), "what lies beyond a gap is read again");
    let finished = [loaded(9, at("05T00"), end, end), two[0].clone(), two[1].clone()];
    assert_eq!(range.resume(&finished), (low, 0));
    let again = [vec![loaded(10, low, at("02T00"), end)], finished.to_vec()].concat();
    assert_eq!(range.resume(&again), (at("02T00"), 1), "only the newest call counts");
    let other = [loaded(7, low, at("02T00"), at("20T00"))];
    assert_eq!(range.resume(&other), (low, 0), "another range");
}

#[test]
fn the_end_of_an_open_range_is_kept_until_it_is_reached() {
    let (low, end, now) = (at("01T00"), at("20T00"), at("30T00"));
    let begun = [loaded(7, low, at("02T00"), end)];
    assert_eq!(unfinished_end(low, now, &begun), Some(end));
    assert_eq!(unfinished_end(at("01T06"), now, &begun), None, "another beginning");
    assert_eq!(unfinished_end(low, at("10T00"), &begun), None, "the watermark was set back");
    let done = [loaded(8, at("02T00"), end, end), begun[0].clone()];
    assert_eq!(unfinished_end(low, now, &done), None);
}
