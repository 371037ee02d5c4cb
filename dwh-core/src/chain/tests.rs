use super::*;
use crate::watermark::Micros;
use jiff::tz::TimeZone;
use std::collections::BTreeSet;

fn at(hour: i64) -> Timestamp {
    Timestamp::SEED.plus(Micros::seconds(hour * 3600))
}

fn identity(run_id: i64) -> RunIdentity {
    RunIdentity { run_id: RunId(run_id), run_started_at: at(run_id * 1000), sha256: Some(format!("{run_id:064}")) }
}

fn link(run_id: i64, reads: Reads) -> Link {
    Link {
        run: identity(run_id),
        kind: RunKind::Run,
        reads,
        late: false,
        sweeps_from: None,
        csv: true,
        before: None,
        traced: true,
    }
}

/// An ordinary run over hours; `low` of 0: from the first row on.
fn window(run_id: i64, low: i64, high: i64) -> Link {
    let low = if low == 0 { Timestamp::NEG_INFINITY } else { at(low) };
    link(run_id, Reads::Window(Window { low, high: Some(at(high)), watermark: at(high) }))
}

fn backfill(run_id: i64, low: i64, high: i64) -> Link {
    Link { kind: RunKind::Backfill, ..window(run_id, low, high) }
}

fn standing(watermark: i64, last: i64) -> Standing {
    Standing { watermark: at(watermark), last: Some(RunId(last)), newest: Some(RunId(last)), ..NOTHING }
}

const NOTHING: Standing =
    Standing { watermark: Timestamp::NEG_INFINITY, read_high: None, snapshot_xmin: None, last: None, newest: None };

#[test]
fn two_runs_of_one_number_are_not_one_run() {
    let run = identity(7);
    assert_eq!(run.differs(&run), None);
    assert_eq!(run.differs(&identity(8)), Some("run number"));
    assert_eq!(run.differs(&RunIdentity { run_started_at: at(1), ..run.clone() }), Some("start"));
    assert_eq!(run.differs(&RunIdentity { sha256: Some("0".into()), ..run.clone() }), Some("sha256"));
    assert_eq!(run.differs(&RunIdentity { sha256: None, ..run.clone() }), None, "not known yet");
}

#[test]
fn a_window_continues_or_stands_beside() {
    let cases = [
        ("the first one", NOTHING, window(1, 0, 5), Place::Continues { older: false, watermark: at(5) }),
        ("the next one", standing(5, 1), window(2, 5, 9), Place::Continues { older: false, watermark: at(9) }),
        ("one that overlaps", standing(5, 1), window(2, 3, 9), Place::Continues { older: false, watermark: at(9) }),
        (
            "the bound did not move",
            standing(5, 1),
            window(2, 5, 5),
            Place::Continues { older: false, watermark: at(5) },
        ),
        ("something is missing before it", standing(5, 1), window(3, 7, 9), Place::Beside { older: false }),
        (
            "its sweep begins where the last snapshot stood",
            Standing { snapshot_xmin: Some(10), ..standing(5, 1) },
            Link { sweeps_from: Some(10), ..window(2, 5, 9) },
            Place::Continues { older: false, watermark: at(9) },
        ),
        (
            "its sweep begins after the last snapshot",
            Standing { snapshot_xmin: Some(10), ..standing(5, 1) },
            Link { sweeps_from: Some(11), ..window(2, 5, 9) },
            Place::Beside { older: false },
        ),
        ("it ends below the watermark", standing(5, 1), window(2, 3, 4), Place::Beside { older: false }),
        ("a newer one was loaded", standing(5, 3), window(2, 3, 9), Place::Beside { older: true }),
        ("a backfill", standing(5, 1), backfill(2, 1, 4), Place::Beside { older: false }),
        ("a backfill that was overtaken", standing(9, 3), backfill(2, 1, 4), Place::Beside { older: true }),
    ];
    for (name, state, link, place) in cases {
        assert_eq!(state.place(&link), place, "{name}");
    }
    let after_backfill = Standing { newest: Some(RunId(4)), ..standing(5, 1) };
    assert_eq!(after_backfill.place(&window(3, 5, 9)), Place::Continues { older: true, watermark: at(9) });
    let held = Window { low: at(5), high: Some(at(9)), watermark: Timestamp::NEG_INFINITY };
    let place = standing(5, 1).place(&link(2, Reads::Window(held)));
    assert_eq!(place, Place::Continues { older: false, watermark: at(5) }, "nothing is proven, nothing goes back");
}

#[test]
fn copies_of_the_whole_are_in_the_order_of_their_runs_whatever_a_clock_says() {
    let newest = Standing { watermark: at(9_000_000), ..standing(0, 4) };
    let place = newest.place(&link(5, Reads::Whole));
    assert_eq!(
        place,
        Place::Continues { older: false, watermark: at(9_000_000) },
        "the clock went back, the run is newer"
    );
    assert_eq!(newest.place(&link(3, Reads::Whole)), Place::Superseded);
    assert_eq!(newest.place(&link(3, Reads::Copy)), Place::Beside { older: true }, "history is history");
    assert_eq!(newest.place(&link(5, Reads::Unknown)), Place::Beside { older: false }, "a person's file moves nothing");
}

#[test]
fn an_archive_with_a_hole_is_crossed_and_not_stopped_by_it() {
    let state = standing(5, 1);
    assert_eq!(state.place_across_gap(&window(3, 7, 9)), Place::Continues { older: false, watermark: at(9) });
    assert_eq!(state.place_across_gap(&window(3, 2, 4)), Place::Beside { older: false });
}

fn after(link: Link, csv: &Link, empty: Option<(i64, i64, i64)>) -> Link {
    let empty = empty.map(|(run_id, low, high)| EmptyRun {
        run_id: RunId(run_id),
        run_started_at: at(run_id),
        window: Window { low: at(low), high: Some(at(high)), watermark: at(high) },
    });
    Link { before: Some(Before { csv: Some(csv.named()), empty }), ..link }
}

#[test]
fn a_run_that_found_nothing_is_told_from_a_csv_that_was_lost() {
    let one = window(1, 0, 5);
    let lost_one = window(2, 5, 7);
    let behind_empty = after(window(3, 7, 9), &one, Some((2, 5, 7)));
    let behind_lost = after(window(3, 7, 9), &lost_one, None);
    assert_eq!(gaps([&one, &behind_empty]), []);
    assert_eq!(lost(&[one.clone(), behind_empty], &[]), []);
    let gap = Gap { from: at(5), to: at(7), before: RunId(3), proven: true };
    assert_eq!(gaps([&one, &behind_lost]), [gap]);
    let told = lost(&[one.clone(), behind_lost.clone()], &[]);
    assert_eq!(told, [Lost { csv: lost_one.named(), oldest: false }]);
    // Release 0.1 left no trace of runs that found nothing.
    let untraced = Link { traced: false, ..window(3, 7, 9) };
    assert_eq!(gaps([&one, &untraced]), [Gap { proven: false, ..gap }]);
    assert_eq!(lost(&[one.clone(), untraced.clone()], &[]), []);
    assert_eq!(lost(&[one, untraced], std::slice::from_ref(&lost_one)), told, "the log knows it");
    assert!(lost(&[behind_lost], &[])[0].oldest, "nothing that is there is older");
}

#[test]
fn what_was_lost_is_not_missed_once_its_window_was_read_again() {
    let (one, two) = (window(1, 0, 5), window(2, 5, 7));
    let three = after(window(3, 7, 9), &two, None);
    let archive = |extra: Link| vec![one.clone(), three.clone(), extra];
    assert_eq!(lost(&archive(backfill(4, 4, 8)), &[]), []);
    assert_eq!(gaps(&archive(backfill(4, 4, 8))), []);
    assert_eq!(lost(&archive(backfill(4, 4, 6)), &[]).len(), 1, "only a part of it");
    // Rows from anywhere below came with it.
    let late = after(window(3, 7, 9), &Link { late: true, ..two.clone() }, None);
    assert_eq!(lost(&[one.clone(), late.clone(), backfill(4, 4, 8)], &[]).len(), 1);
    assert_eq!(lost(&[one.clone(), late, backfill(4, 0, 8)], &[]), [], "a reseed has them");
    // It had read beyond its watermark, up to 8. From the watermark on, a run that found nothing read again.
    let beyond = link(2, Reads::Window(Window { low: at(5), high: Some(at(8)), watermark: at(7) }));
    let behind = |empty| vec![one.clone(), after(window(4, 9, 11), &beyond, empty), backfill(5, 5, 7)];
    assert_eq!(lost(&behind(Some((3, 7, 9))), &[]), []);
    assert_eq!(lost(&behind(None), &[]).len(), 1, "nobody read from 7 to 8 again");
    assert_eq!(lost(&behind(Some((1, 7, 9))), &[]).len(), 1, "only before it");
    // Another run of the same number.
    let other = Link { run: RunIdentity { run_started_at: at(1), ..two.run }, ..backfill(2, 1, 2) };
    assert_eq!(lost(&archive(other), &[]).len(), 1);
}

#[test]
fn a_dated_copy_is_missed_and_a_replaced_snapshot_is_not() {
    let of = |run_id, reads| after(link(run_id, reads), &link(run_id - 1, reads), None);
    assert_eq!(lost(&[link(1, Reads::Copy), of(3, Reads::Copy)], &[]).len(), 1);
    let (old, new) = (link(1, Reads::Whole), link(3, Reads::Whole));
    assert_eq!(lost(&[old.clone(), of(3, Reads::Whole)], &[link(2, Reads::Whole)]), []);
    assert_eq!(
        lost(&[old], std::slice::from_ref(&new)),
        [Lost { csv: new.named(), oldest: false }],
        "the newest is missed"
    );
}

#[test]
fn gaps_lie_between_the_first_and_the_last_window_of_ordinary_runs() {
    let gap = |from, to, before| Gap { from: at(from), to: at(to), before: RunId(before), proven: true };
    assert_eq!(gaps(&[]), []);
    assert_eq!(gaps(&[window(2, 5, 9), window(1, 0, 5)]), [], "the order of the runs does not matter");
    assert_eq!(gaps(&[window(1, 0, 5), window(2, 7, 9)]), [gap(5, 7, 2)]);
    assert_eq!(gaps(&[backfill(1, 1, 2), window(2, 7, 9)]), [], "a backfill of older history begins no chain");
    assert_eq!(gaps(&[window(1, 0, 5), window(2, 7, 9), backfill(3, 4, 8)]), [], "a backfill fills");
    assert_eq!(gaps(&[link(1, Reads::Whole), link(2, Reads::Copy)]), []);
    assert_eq!(joins(&window(1, 0, 5), &window(2, 5, 9), &[]), Some(true));
    assert_eq!(joins(&window(1, 0, 5), &window(2, 6, 9), &[]), Some(false));
    assert_eq!(joins(&window(1, 0, 5), &window(2, 6, 9), &[backfill(3, 5, 6)]), Some(true), "read later");
    let resync = Link { kind: RunKind::Resync, ..window(2, 0, 6) };
    assert_eq!(joins(&window(1, 0, 5), &window(3, 6, 9), std::slice::from_ref(&resync)), Some(true), "read anew");
    assert_eq!(joins(&resync, &window(3, 6, 9), &[]), Some(true));
    assert_eq!(joins(&resync, &window(3, 7, 9), &[]), Some(false));
    assert_eq!(joins(&window(1, 0, 5), &backfill(2, 6, 9), &[]), None);
}

#[test]
fn runs_that_go_on_above_a_held_watermark_leave_no_gap() {
    let held = |run_id, low, high, watermark| {
        link(run_id, Reads::Window(Window { low: at(low), high: Some(at(high)), watermark: at(watermark) }))
    };
    let chain = [window(1, 0, 5), held(2, 5, 9, 6), held(3, 9, 12, 6), held(4, 12, 15, 6), held(5, 15, 20, 18)];
    assert_eq!(gaps(&chain), []);
    assert_eq!(joins(&chain[1], &chain[2], &[]), Some(true));
    let lacking = [chain[0].clone(), chain[1].clone(), chain[3].clone(), chain[4].clone()];
    assert_eq!(gaps(&lacking), [Gap { from: at(6), to: at(12), before: RunId(4), proven: true }]);
    assert_eq!(
        chain[2].named().span,
        Some(Span { low: at(9), end: at(12) }),
        "all that it read is missed if it is lost"
    );
}

#[test]
fn a_csv_that_the_log_names_is_missed_unless_retention_took_it() {
    let log = [window(1, 0, 5), window(2, 5, 7), window(3, 7, 9), window(4, 9, 11)];
    let there = |runs: &[i64]| -> BTreeSet<RunId> { runs.iter().copied().map(RunId).collect() };
    let lifted = |runs: &[i64], pruned: bool| missing(&log, &there(runs), |_| pruned);
    assert_eq!(lifted(&[1, 2, 3, 4], false), []);
    assert_eq!(lifted(&[1, 2, 4], true), [RunId(3)]);
    assert_eq!(lifted(&[3, 4], true), [], "the oldest go first");
    assert_eq!(lifted(&[3, 4], false), [RunId(1), RunId(2)], "nothing was pruned");
    assert_eq!(lifted(&[], true), [RunId(4)], "never the newest");
    let empty = [Link { csv: false, ..window(1, 0, 5) }, Link { kind: RunKind::Replay, ..window(2, 0, 5) }];
    assert_eq!(missing(&empty, &there(&[]), |_| false), []);
}

#[test]
fn the_newest_ordinary_csv_is_needed_and_what_follows_it() {
    let run = |run_id, kind| (RunId(run_id), kind);
    assert_eq!(needed_from([]), None);
    let mixed = [run(1, RunKind::Run), run(2, RunKind::Run), run(3, RunKind::Backfill), run(4, RunKind::Reseed)];
    assert_eq!(needed_from(mixed), Some(RunId(2)));
    assert_eq!(needed_from([run(3, RunKind::Backfill), run(4, RunKind::Backfill)]), Some(RunId(4)));
}

#[test]
fn a_part_is_never_taken_for_the_whole() {
    let part = Reads::Window(Window { low: at(1), high: None, watermark: at(2) });
    for (today, csv, serve) in [
        (part, part, true),
        (part, Reads::Whole, true),
        (part, Reads::Copy, false),
        (Reads::Whole, Reads::Whole, true),
        (Reads::Whole, part, false),
        (Reads::Whole, Reads::Copy, false),
        (Reads::Copy, Reads::Copy, true),
        (Reads::Copy, Reads::Whole, false),
        (Reads::Copy, part, false),
    ] {
        assert_eq!(serves(today, csv), serve, "{today:?} {csv:?}");
    }
}

#[test]
fn csvs_meet_a_range_by_their_window_and_those_without_one_by_their_run() {
    let two = window(2, 5, 7);
    assert!(two.meets(None, None) && two.meets(Some(at(7)), None) && two.meets(None, Some(at(6))));
    assert!(!two.meets(Some(at(8)), None) && !two.meets(None, Some(at(5))));
    assert!(Link { late: true, ..two }.meets(None, Some(at(1))), "late rows lie anywhere below");
    let copy = link(2, Reads::Copy);
    assert!(copy.meets(Some(at(2000)), Some(at(2000))) && !copy.meets(Some(at(2001)), None));
}

#[test]
fn names_are_read_as_they_are_written_and_nothing_else_is() {
    let zone = TimeZone::get("Africa/Nairobi").expect("zone");
    let began: Timestamp = "2026-04-24T11:00:59Z".parse().expect("time");
    for (how, text) in [
        (Compression::None, "20260424_1400_EAT_7.csv"),
        (Compression::Gzip, "20260424_1400_EAT_7.csv.gz"),
        (Compression::Zstd, "20260424_1400_EAT_7.csv.zst"),
    ] {
        let name = CsvName::of(RunId(7), began, &zone, how);
        assert_eq!(name.to_string(), text);
        assert_eq!(CsvName::parse(text), Some(name));
    }
    assert_eq!(CsvName::parse_manifest("20260424_1400_EAT_7.manifest.json").expect("ours").run_id, RunId(7));
    for text in [
        "trips_20260424.csv",
        "20260424.csv",
        "7.20260424_1400_EAT_7.csv",
        "20260424_1400_EAT.csv",
        "20260424_1400_EAT_07.csv",
        "20260424_1400_EAT_+7.csv",
        "20260424_1400_EAT_0.csv",
        "20260424_1400_EAT_-7.csv",
        "20260424_1400_EAT_7.csv.csv",
        "20260424_1400_EAT_7.CSV",
        "20260424_1400_EAT_7",
        "20261324_1400_EAT_7.csv",
        "20260431_1400_EAT_7.csv",
        "20260424_2500_EAT_7.csv",
        "20260424_1400__7.csv",
        "2026_1400_EAT_7.csv",
        "20260424_1400_E-T_7.csv",
        "20260424_1400_EAT_7_8.csv",
        "20260424_1400_EAT_99999999999999999999.csv",
        "20260424_1400_EAT_7.manifest.json",
        "",
    ] {
        assert_eq!(CsvName::parse(text), None, "{text}");
    }
    assert_eq!(CsvName::not_before(began), "20260422");
    assert_eq!(CsvName::not_before(Timestamp::NEG_INFINITY), "");
    let never = CsvName::of(RunId(1), Timestamp::NEG_INFINITY, &zone, Compression::None);
    assert_eq!(CsvName::parse(&never.to_string()), Some(never));
}

fn day(text: &str) -> Timestamp {
    format!("2026-09-{text}:00:00Z").parse().expect("a moment")
}

fn range(low: Timestamp) -> Range {
    Range { kind: RunKind::Backfill, low, end: day("30T00"), window: Micros::seconds(24 * 3600) }
}

fn piece(low: Timestamp, high: Timestamp, end: Timestamp) -> Piece {
    Piece { run_id: RunId(1), kind: RunKind::Backfill, low, high, end, stands: true }
}

#[test]
fn windows_end_on_a_grid_and_jump_over_gaps() {
    let range = range(day("01T06"));
    assert_eq!(range.next(Some(day("01T07"))), day("02T06"));
    assert_eq!(range.next(Some(day("02T06"))), day("02T06"), "the end belongs to the window");
    assert_eq!(range.next(Some(day("10T00"))), day("10T06"), "nine empty days cost nothing");
    assert_eq!(range.next(Some(day("29T12"))), day("30T00"), "never beyond the range");
    assert_eq!(range.next(None), day("30T00"));
    let all = Range { window: Micros::ZERO, ..range };
    assert_eq!(all.next(Some(day("01T07"))), day("30T00"));
    let history = Range { low: Timestamp::NEG_INFINITY, ..range };
    assert_eq!(history.next(Some(day("01T07"))), day("02T00"));
    let before = "1999-12-31T12:00:00Z".parse().expect("a moment");
    assert_eq!(history.next(Some(before)), Timestamp::SEED);
}

#[test]
fn an_interrupted_range_goes_on_and_a_finished_one_begins_anew() {
    let (low, end) = (day("01T00"), day("30T00"));
    let range = range(low);
    assert_eq!(range.resume(&[]), (low, 0));
    let two = [piece(day("02T00"), day("05T00"), end), piece(low, day("02T00"), end)];
    assert_eq!(range.resume(&two), (day("05T00"), 2));
    let gap = [piece(day("03T00"), day("05T00"), end), two[1]];
    assert_eq!(range.resume(&gap), (day("02T00"), 1), "what lies beyond a gap is read again");
    let finished = [piece(day("05T00"), end, end), two[0], two[1]];
    assert_eq!(range.resume(&finished), (low, 0));
    let again = [&[piece(low, day("02T00"), end)], &finished[..]].concat();
    assert_eq!(range.resume(&again), (day("02T00"), 1), "only the newest call counts");
    assert_eq!(range.resume(&[piece(low, day("02T00"), day("20T00"))]), (low, 0), "another range");
    assert_eq!(range.resume(&[Piece { kind: RunKind::Reseed, ..two[1] }]), (low, 0), "another verb");
}

#[test]
fn windows_that_others_load_meanwhile_are_not_read_again() {
    let (low, end) = (day("01T00"), day("30T00"));
    let range = range(low);
    let by = |run, piece| Piece { run_id: RunId(run), ..piece };
    let first = by(5, piece(low, day("02T00"), end));
    let rest = [by(7, piece(day("02T00"), end, end)), first];
    let goes_on = |since| range.goes_on(&rest, Some(RunId(since)));
    assert_eq!(goes_on(9), (low, 0), "it came to its end before the call");
    assert_eq!(goes_on(4), (end, 2), "others came to its end while the call waited");
    assert_eq!(goes_on(6), (end, 2), "it was cut off before the call, and others went on");
    assert_eq!(range.goes_on(&[first], Some(RunId(9))), (day("02T00"), 1), "it was cut off before the call");
    assert_eq!(range.shared(low, &rest, Some(RunId(6))), (low, 0), "nobody has read the first window since");
    assert_eq!(range.shared(day("02T00"), &rest, Some(RunId(6))), (end, 1));
    let gone = rest.map(|piece| Piece { stands: false, ..piece });
    assert_eq!(range.goes_on(&gone, Some(RunId(4))), (low, 0), "into another table");
    assert_eq!(unfinished(RunKind::Backfill, &rest), None);
    assert_eq!(unfinished(RunKind::Backfill, &[first]), Some((low, end)));
    assert_eq!(unfinished(RunKind::Reseed, &[first]), None);
}

#[test]
fn windows_that_went_into_another_table_or_were_read_by_another_plan_are_read_again() {
    let (low, end) = (day("01T00"), day("30T00"));
    let range = range(low);
    let (first, second) = (piece(low, day("02T00"), end), piece(day("02T00"), day("05T00"), end));
    let gone = |piece| Piece { stands: false, ..piece };
    assert_eq!(range.resume(&[gone(second), gone(first)]), (low, 0), "all before the truncate");
    assert_eq!(range.resume(&[second, gone(first)]), (low, 0), "the first before it");
    assert_eq!(range.resume(&[gone(second), first]), (low, 0), "another plan may have replaced the rows of the first");
    let other = Piece { end: day("20T00"), stands: false, ..first };
    assert_eq!(range.resume(&[other, second, first]), (low, 0), "whatever range it was for");
    assert_eq!(unfinished_end(RunKind::Backfill, low, day("30T00"), &[gone(first)]), None);
}

#[test]
fn the_end_of_an_open_range_is_kept_until_it_is_reached() {
    let (low, end, now) = (day("01T00"), day("20T00"), day("30T00"));
    let open = |low, limit, pieces: &[Piece]| unfinished_end(RunKind::Backfill, low, limit, pieces);
    let begun = [piece(low, day("02T00"), end)];
    assert_eq!(open(low, now, &begun), Some(end));
    assert_eq!(open(day("01T06"), now, &begun), None, "another beginning");
    assert_eq!(open(low, day("10T00"), &begun), None, "the watermark was set back");
    let done = [piece(day("02T00"), end, end), begun[0]];
    assert_eq!(open(low, now, &done), None);
}

fn repair(run_id: i64, low: i64, high: i64) -> Link {
    Link { kind: RunKind::Repair, ..window(run_id, low, high) }
}

#[test]
fn a_repair_stands_for_its_window_and_moves_nothing() {
    assert_eq!(repair(4, 2, 5).replaces(), Some(Span { low: at(2), end: at(5) }));
    assert_eq!(backfill(4, 2, 5).replaces(), None);
    assert_eq!(standing(9, 3).place(&repair(4, 2, 5)), Place::Beside { older: false });
    assert_eq!(standing(9, 5).place(&repair(4, 2, 5)), Place::Beside { older: true }, "a newer run was loaded");
    assert_eq!(standing(9, 5).place_again(&repair(4, 2, 5)), Place::Beside { older: true });
    assert!(gaps([&window(1, 0, 2), &repair(4, 2, 5), &window(5, 5, 9)]).is_empty(), "it covers what it read");
}

#[test]
fn an_older_csv_is_overruled_by_newer_repairs_alone() {
    let links = [window(1, 0, 9), repair(2, 0, 3), backfill(3, 0, 9), repair(4, 2, 5), window(5, 9, 10)];
    let by = |run| overruling(RunId(run), &links).map(|link| link.run_id().0).collect::<Vec<_>>();
    assert_eq!((by(1), by(2), by(3), by(4), by(5)), (vec![2, 4], vec![4], vec![4], vec![], vec![]));
}

#[test]
fn a_replay_begins_with_what_decides() {
    let links = [window(1, 0, 9), repair(2, 0, 3), backfill(3, 0, 9), repair(4, 2, 5), window(5, 9, 10)];
    let order = |newest_wins| replay_order(&links, newest_wins).iter().map(|run| run.0).collect::<Vec<_>>();
    assert_eq!(order(true), [5, 4, 3, 2, 1]);
    assert_eq!(order(false), [4, 2, 1, 3, 5], "what was overwritten first, then what came first");
}

#[test]
fn a_stretch_without_rows_is_a_window_of_a_repair() {
    let range =
        |kind| Range { kind, low: Timestamp::NEG_INFINITY, end: day("20T12"), window: Micros::seconds(24 * 3600) };
    let (repair, reseed) = (range(RunKind::Repair), range(RunKind::Reseed));
    let ever = Timestamp::NEG_INFINITY;
    let cases = [
        ("before the first row", ever, Some(day("03T05")), day("03T00"), day("04T00")),
        ("the next cell", day("03T00"), Some(day("03T05")), day("04T00"), day("04T00")),
        ("a stretch", day("04T00"), Some(day("09T05")), day("09T00"), day("10T00")),
        ("a row at the very end of a cell", day("04T00"), Some(day("09T00")), day("08T00"), day("09T00")),
        ("to the end", day("10T00"), None, day("20T12"), day("20T12")),
        ("a row beyond the end", day("10T00"), Some(day("25T00")), day("20T12"), day("20T12")),
        ("a row at the end", day("10T00"), Some(day("20T12")), day("20T00"), day("20T12")),
        ("the last cell", day("20T00"), Some(day("20T12")), day("20T12"), day("20T12")),
    ];
    for (what, from, earliest, repaired, read) in cases {
        assert_eq!(repair.next_after(from, earliest), repaired, "{what}");
        assert_eq!(reseed.next_after(from, earliest), read, "{what}");
    }
}
