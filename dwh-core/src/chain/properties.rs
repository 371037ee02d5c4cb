//! What must hold whatever the history was.

use proptest::prelude::*;

use super::*;
use crate::watermark::Micros;

fn at(step: i64) -> Timestamp {
    Timestamp::SEED.plus(Micros::seconds(step))
}

fn link(run_id: i64, kind: RunKind, low: i64, high: i64) -> Link {
    let window = Window { low: at(low), high: Some(at(high)), watermark: at(high) };
    let run = RunIdentity { run_id: RunId(run_id), run_started_at: at(run_id), sha256: None };
    Link {
        run,
        kind,
        reads: Reads::Window(window),
        late: false,
        sweeps_from: None,
        csv: true,
        before: None,
        traced: true,
    }
}

/// Where a table stands once this CSV is loaded.
fn after(state: &Standing, link: &Link, place: Place) -> Standing {
    let newest = if place.older() { state.newest } else { state.newest.max(Some(link.run_id())) };
    match (place, link.reads) {
        (Place::Continues { watermark, .. }, Reads::Window(window)) => {
            Standing { watermark, read_high: window.high, last: Some(link.run_id()), newest, ..*state }
        }
        _ => Standing { newest, ..*state },
    }
}

/// A table's life: each step is the length of an ordinary window (0: the bound did not move) and whether it found rows.
fn life(steps: &[(i64, bool)]) -> Vec<Link> {
    let (mut low, mut links): (i64, Vec<Link>) = (0, Vec::new());
    let mut empty: Option<EmptyRun> = None;
    for (number, (length, rows)) in (1..).zip(steps) {
        let mut next = link(number, RunKind::Run, low, low + length);
        let Reads::Window(window) = next.reads else { continue };
        low += length;
        if *rows {
            let csv = links.last().map(Link::named);
            next.before = Some(Before { csv, empty: empty.take() });
            links.push(next);
        } else {
            let from = empty.map_or(window.low, |empty| empty.window.low);
            let run_started_at = next.run.run_started_at;
            empty = Some(EmptyRun { run_id: RunId(number), run_started_at, window: Window { low: from, ..window } });
        }
    }
    links
}

fn steps() -> impl Strategy<Value = Vec<(i64, bool)>> {
    prop::collection::vec((0_i64..5, any::<bool>()), 1..30)
}

proptest! {
    #[test]
    fn a_whole_archive_has_no_gap_and_nothing_is_lost(steps in steps()) {
        let links = life(&steps);
        prop_assert_eq!(gaps(&links), vec![]);
        prop_assert_eq!(lost(&links, &[]), vec![]);
    }

    #[test]
    fn a_csv_that_is_taken_away_is_missed_unless_it_is_the_newest(steps in steps(), pick in any::<prop::sample::Index>()) {
        let mut links = life(&steps);
        prop_assume!(links.len() > 1);
        let gone = links.remove(pick.index(links.len() - 1));
        let told = lost(&links, &[]);
        // One whose window is empty of time is covered by the others.
        let span = gone.span().expect("a window");
        if span.low < span.end {
            prop_assert_eq!(told.len(), 1);
            prop_assert_eq!(&told[0].csv.run, &gone.run);
        }
    }

    #[test]
    fn the_watermark_never_goes_back_and_is_reached_without_a_hole(
        order in prop::collection::vec((0_i64..8, 0_i64..8, 0_i64..4), 0..40),
    ) {
        let mut state = Standing { watermark: at(0), read_high: None, snapshot_xmin: None, last: None, newest: None };
        let mut read = vec![Span { low: Timestamp::NEG_INFINITY, end: at(0) }];
        for (run_id, low, length) in order {
            let next = link(run_id + 1, RunKind::Run, low, low + length);
            let place = state.place(&next);
            let after = after(&state, &next, place);
            prop_assert!(after.watermark >= state.watermark);
            prop_assert!(after.newest >= state.newest);
            prop_assert_eq!(after.watermark != state.watermark, place.moves() && after.watermark > state.watermark);
            // A CSV that is not the newest replaces nothing.
            prop_assert_eq!(place.older(), state.newest.max(state.last) > Some(next.run_id()));
            read.extend(next.span());
            let below = Span { low: Timestamp::NEG_INFINITY, end: after.watermark };
            let whole = super::cover::covers(read.clone(), below);
            prop_assert!(whole, "a hole below {}", after.watermark);
            state = after;
        }
    }

    #[test]
    fn gaps_and_windows_together_leave_nothing_out(windows in prop::collection::vec((0_i64..60, 1_i64..10), 1..20)) {
        let links: Vec<Link> =
            (1..).zip(&windows).map(|(run, (low, length))| link(run, RunKind::Run, *low, low + length)).collect();
        let found = gaps(&links);
        let mut spans: Vec<Span> = links.iter().filter_map(Link::span).collect();
        let first = spans.iter().map(|span| span.low).min().expect("one");
        let end = spans.iter().map(|span| span.end).max().expect("one");
        for gap in &found {
            prop_assert!(gap.from < gap.to);
            prop_assert!(spans.iter().all(|span| span.end <= gap.from || span.low >= gap.to), "a gap that was read");
        }
        spans.extend(found.iter().map(|gap| Span { low: gap.from, end: gap.to }));
        let whole = super::cover::covers(spans, Span { low: first, end });
        prop_assert!(whole, "something is neither read nor a gap");
    }

    #[test]
    fn a_range_that_is_cut_off_anywhere_is_read_in_full(
        rows in prop::collection::btree_set(1_i64..400, 0..30),
        window in 0_i64..90,
        cuts in prop::collection::vec(0_usize..6, 0..6),
        lost_at in prop::option::of(0_usize..6),
    ) {
        let range = Range { kind: RunKind::Reseed, low: Timestamp::NEG_INFINITY, end: at(400), window: Micros::seconds(window) };
        let mut pieces: Vec<Piece> = Vec::new();
        let mut bronze = std::collections::BTreeSet::new();
        let mut calls: Vec<usize> = cuts;
        calls.push(usize::MAX);
        for (call, limit) in calls.into_iter().enumerate() {
            if Some(call) == lost_at {
                // Bronze is truncated: nothing of before stands.
                bronze.clear();
                pieces.iter_mut().for_each(|piece| piece.stands = false);
            }
            let (mut low, _) = range.resume(&pieces);
            let mut done = 0;
            while low < range.end && done < limit {
                let above: Vec<i64> = rows.iter().copied().filter(|row| at(*row) > low).collect();
                let high = range.next(above.first().copied().map(at));
                bronze.extend(above.into_iter().filter(|row| at(*row) <= high));
                pieces.insert(0, Piece { run_id: RunId(1), kind: range.kind, low, high, end: range.end, stands: true });
                (low, done) = (high, done + 1);
            }
            if low >= range.end {
                prop_assert_eq!(&bronze, &rows, "call {} came to the end", call);
            }
        }
    }

    #[test]
    fn names_come_back_as_they_were(
        run_id in 1_i64..i64::MAX, micros in 0_i64..7_000_000_000_000_000,
        zone in prop::sample::select(vec!["UTC", "Africa/Nairobi", "Asia/Dubai", "America/Sao_Paulo", "Asia/Kathmandu", "Europe/Berlin"]),
        how in prop::sample::select(Compression::ALL.to_vec()),
    ) {
        let zone = jiff::tz::TimeZone::get(zone).expect("zone");
        let name = CsvName::of(RunId(run_id), Timestamp::from_micros(micros), &zone, how);
        prop_assert_eq!(CsvName::parse(&name.to_string()), Some(name));
    }

    #[test]
    fn any_text_is_read_without_a_panic_and_only_in_one_way(text in "\\PC{0,40}|[0-9]{8}_[0-9]{4}_[A-Z]{3}_[0-9]{1,20}\\.csv(\\.gz)?") {
        if let Some(name) = CsvName::parse(&text) {
            prop_assert_eq!(name.to_string(), text);
        }
    }
}
