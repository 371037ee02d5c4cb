//! Every branch of the rule as a table. The race itself is played in `race.rs`.

mod race;

use super::*;

fn at(us: i64) -> Timestamp {
    Timestamp::from_micros(us)
}

fn utc(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a zone")
}

/// An idle session that waits for its client since 10.
fn idle(pid: i32) -> Backend {
    Backend {
        pid,
        backend_start: Some(at(1)),
        backend_type: Some("client backend".into()),
        state: Some("idle".into()),
        state_change: Some(at(10)),
        wait_event_type: Some("Client".into()),
        ..Backend::default()
    }
}

fn judge(first: Vec<Backend>, second: Vec<Backend>, prepared: &[Prepared]) -> Verdict {
    let (first, second) = (Activity { at: at(100), backends: first }, Activity { at: at(120), backends: second });
    let seen =
        Observation { low: at(5), run_started_at: at(1000), step: Micros(1), first: &first, second: &second, prepared };
    safe_bound(&seen).expect("no future")
}

/// The bound and the name of its rule.
fn bound(first: Backend, second: Backend) -> (i64, &'static str) {
    match judge(vec![first], vec![second], &[]) {
        Verdict::Bound(bound) => (bound.watermark.micros(), name(&bound.rule)),
        Verdict::Hidden { .. } => (0, "hidden"),
    }
}

fn name(rule: &BoundRule) -> &'static str {
    match rule {
        BoundRule::Quiet => "quiet",
        BoundRule::TargetClock => "target clock",
        BoundRule::OpenTransaction(_) => "open",
        BoundRule::ActiveStatement(_) => "active",
        BoundRule::Unpublished(_) => "unpublished",
        BoundRule::PreparedTransaction(_) => "prepared",
        BoundRule::Drained => "drained",
        BoundRule::NotDrained(_) => "not drained",
        BoundRule::SweepOnly => "sweep",
        BoundRule::FixedLag { .. } => "lag",
        BoundRule::Unproven { .. } => "unproven",
        BoundRule::Number => "number",
    }
}

#[test]
fn each_state_of_a_session_sets_its_bound() {
    let quiet = (99, "quiet");
    let busy = || Backend { wait_event_type: None, ..idle(7) };
    let waits = |event: &str| Backend { wait_event_type: Some(event.into()), ..idle(7) };
    let open = Backend { xact_start: Some(at(40)), state: Some("idle in transaction".into()), ..idle(7) };
    assert_eq!(bound(idle(7), open.clone()), (39, "open"), "an open transaction");
    assert_eq!(bound(busy(), open), (39, "open"), "open by the second look is enough");
    let active = Backend { state: Some("active".into()), query_start: Some(at(60)), ..idle(7) };
    assert_eq!(bound(idle(7), active.clone()), (59, "active"), "between message and transaction");
    assert_eq!(
        bound(idle(7), Backend { state: Some("fastpath function call".into()), ..active.clone() }),
        (59, "active")
    );
    let unknown = Backend { query_start: None, ..active.clone() };
    assert_eq!(
        bound(idle(7), unknown.clone()),
        (5, "active"),
        "no query_start: since the session began, never below L"
    );
    assert_eq!(bound(idle(7), Backend { backend_start: None, ..unknown }), (5, "active"));
    let late = Backend { query_start: Some(at(110)), ..active };
    assert_eq!(bound(idle(7), late), quiet, "a clock read after the first look holds nothing");
    for event in ["Client", "Activity", "Extension", "Timeout"] {
        assert_eq!(bound(waits(event), busy()), quiet, "{event}: was waiting after the first clock");
    }
    for event in ["Lock", "LWLock", "IO", "IPC", "BufferPin"] {
        assert_eq!(bound(waits(event), idle(7)), (9, "unpublished"), "{event}");
    }
    assert_eq!(bound(busy(), idle(7)), (9, "unpublished"), "may have read its clock already");
    assert_eq!(bound(busy(), Backend { state_change: Some(at(101)), ..idle(7) }), quiet, "ended a statement since");
    assert_eq!(
        bound(busy(), Backend { state_change: Some(at(100)), ..idle(7) }),
        quiet,
        "not after: but no lower either"
    );
    assert_eq!(bound(busy(), Backend { state_change: None, ..idle(7) }), (5, "unpublished"), "since the session began");
}

#[test]
fn a_session_is_known_by_pid_and_start() {
    let reused = Backend { backend_start: Some(at(105)), ..idle(7) };
    assert_eq!(bound(Backend { wait_event_type: None, ..idle(7) }, reused), (99, "quiet"), "another session, same pid");
    assert_eq!(
        bound(Backend { wait_event_type: None, ..idle(8) }, idle(7)),
        (99, "quiet"),
        "appeared after the first look"
    );
}

#[test]
fn hidden_sessions_are_never_taken_for_idle_ones() {
    for hidden in
        [Backend { backend_type: None, state: None, ..idle(7) }, Backend { state: Some("disabled".into()), ..idle(7) }]
    {
        let verdict = Verdict::Hidden { pids: vec![7], shown: (at(100), BoundRule::Quiet) };
        assert_eq!(judge(vec![], vec![idle(6), hidden.clone()], &[]), verdict);
        let own = Backend { harmless: true, ..hidden };
        assert!(matches!(judge(vec![], vec![own], &[]), Verdict::Bound(b) if b.rule == BoundRule::Quiet));
    }
    let ours = Backend { harmless: true, xact_start: Some(at(40)), ..idle(7) };
    assert_eq!(bound(idle(7), ours), (99, "quiet"), "our own readers hold nothing");
}

#[test]
fn the_oldest_of_many_holds_and_is_named() {
    let open = |pid, since| Backend {
        xact_start: Some(at(since)),
        user: Some("etl".into()),
        application: Some("loader".into()),
        ..idle(pid)
    };
    let Verdict::Bound(bound) = judge(vec![], vec![open(1, 70), open(2, 30), open(3, 50)], &[]) else { panic!() };
    assert_eq!(bound.watermark, at(29));
    assert_eq!(
        bound.rule.to_string(),
        format!("open transaction of pid 2, user etl, application loader, since {}", at(30))
    );
    assert_eq!(bound.source_clock, at(100));
}

#[test]
fn settling_rounds_down_and_never_goes_back() {
    let prepared =
        [Prepared { gid: "g2".into(), prepared_at: at(9) }, Prepared { gid: "g1".into(), prepared_at: at(8) }];
    let settle = |oldest, rule, low, started, step, prepared: &[Prepared]| {
        let bound = settle(at(oldest), rule, at(low), at(started), Micros(step), prepared, at(100));
        (bound.watermark.micros(), name(&bound.rule))
    };
    assert_eq!(settle(100, BoundRule::Quiet, 5, 1000, 1, &[]), (99, "quiet"));
    assert_eq!(settle(100, BoundRule::Quiet, 5, 1000, 60, &[]), (40, "quiet"), "step of the column");
    assert_eq!(settle(100, BoundRule::Quiet, 5, 50, 1, &[]), (50, "target clock"));
    assert_eq!(settle(100, BoundRule::Quiet, 5, 99, 1, &[]), (99, "quiet"), "as far as the source's own clock");
    assert_eq!(settle(100, BoundRule::Drained, 5, 50, 1, &[]), (50, "drained"));
    assert_eq!(settle(100, BoundRule::Quiet, 99, 50, 1, &[]), (99, "target clock"), "never back");
    assert_eq!(settle(30, BoundRule::Drained, 60, 1000, 1, &[]), (60, "drained"), "never back");
    assert_eq!(settle(100, BoundRule::Quiet, 5, 1000, 1, &prepared), (5, "prepared"));
    let bound = super::settle(at(100), BoundRule::Quiet, at(5), at(1000), Micros(1), &prepared, at(100));
    assert_eq!(bound.rule, BoundRule::PreparedTransaction(prepared[1].clone()), "the oldest is named");
    let none = super::settle(at(3), BoundRule::Quiet, Timestamp::NEG_INFINITY, at(9), Micros(1), &prepared, at(3));
    assert_eq!(none.watermark, Timestamp::NEG_INFINITY, "nothing extracted, nothing proved");
}

#[test]
fn a_watermark_in_the_future_is_an_error() {
    assert!(refuse_future(at(100), at(100)).is_ok());
    let error = refuse_future(at(101), at(100)).expect_err("future");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.hint().contains("last_extracted_at"));
    assert!(refuse_future(Timestamp::INFINITY, at(100)).is_err());
}

#[test]
fn the_step_covers_the_rounding_of_the_column() {
    let step = |precision| WatermarkKind::TimestampTz { precision }.step().0;
    assert_eq!([step(6), step(3), step(0), step(9)], [1, 1_000, 1_000_000, 1]);
    assert_eq!(WatermarkKind::Date { zone: TimeZone::UTC }.step(), Micros::seconds(25 * 3600));
}

#[test]
fn the_repeated_hour_holds_a_column_without_zone() {
    let berlin = || WatermarkKind::Timestamp { precision: 6, zone: zone("Europe/Berlin") };
    // 2026-10-25: clocks go from 03:00 summer time (01:00 UTC) back to 02:00. 00:00Z to 02:00Z is 02:00 to 03:00, twice.
    let held = utc("2026-10-24T23:59:59.999999Z");
    for (bound, expected) in [
        ("2026-10-24T23:59:59.999999Z", None),
        ("2026-10-25T00:00:00Z", Some(held)),
        ("2026-10-25T00:30:00Z", Some(held)),
        ("2026-10-25T00:59:59.999999Z", Some(held)),
        ("2026-10-25T01:00:00Z", Some(held)),
        ("2026-10-25T01:30:00Z", Some(held)),
        ("2026-10-25T01:59:59.999999Z", Some(held)),
        ("2026-10-25T02:00:00Z", None),
        ("2026-03-29T00:59:59Z", None),
        ("2026-03-29T01:00:00Z", None),
        ("2026-07-01T12:00:00Z", None),
    ] {
        let bound = utc(bound);
        assert_eq!(hold_repeated_hour(bound, &berlin()), expected.unwrap_or(bound), "{bound}");
    }
    let inside = utc("2026-10-25T01:30:00Z");
    assert_eq!(hold_repeated_hour(inside, &WatermarkKind::TimestampTz { precision: 6 }), inside);
    assert_eq!(hold_repeated_hour(inside, &WatermarkKind::Timestamp { precision: 6, zone: TimeZone::UTC }), inside);
    let nairobi = WatermarkKind::Timestamp { precision: 6, zone: zone("Africa/Nairobi") };
    assert_eq!(hold_repeated_hour(inside, &nairobi), inside);
    let rounded = WatermarkKind::Timestamp { precision: 0, zone: zone("Europe/Berlin") };
    assert_eq!(hold_repeated_hour(inside, &rounded), utc("2026-10-24T23:59:59Z"));
    let date = WatermarkKind::Date { zone: zone("Europe/Berlin") };
    assert_eq!(hold_repeated_hour(inside, &date), utc("2026-10-25T00:00:00Z").minus(Micros::seconds(25 * 3600)));
    for infinite in [Timestamp::NEG_INFINITY, Timestamp::INFINITY] {
        assert_eq!(hold_repeated_hour(infinite, &berlin()), infinite);
    }
    // Half an hour only, on Lord Howe Island: 2026-04-05 02:00 (15:00Z the day before) goes back to 01:30.
    let howe = WatermarkKind::Timestamp { precision: 6, zone: zone("Australia/Lord_Howe") };
    let start = utc("2026-04-04T14:30:00Z");
    assert_eq!(hold_repeated_hour(utc("2026-04-04T15:10:00Z"), &howe), start.minus(Micros(1)));
    assert_eq!(hold_repeated_hour(utc("2026-04-04T15:30:00Z"), &howe), utc("2026-04-04T15:30:00Z"));
}

/// A table that was read up to the start of 2020, with a bound and a clock.
fn progress(bound: Timestamp) -> Progress {
    Progress {
        low: utc("2020-01-01T00:00:00Z"),
        read_high: None,
        bound,
        now: bound.max(utc("2026-10-01T00:00:00Z")),
        window: Micros::ZERO,
        late_window: Micros::seconds(86_400),
        mode: BoundMode::Overlap,
        since: None,
        look_back: false,
        any_age: false,
        call: Call::First,
    }
}

#[test]
fn windows_jump_over_empty_years_and_end_at_the_bound() {
    let month = Micros::seconds(30 * 86_400);
    let bound = utc("2026-10-01T00:00:00Z");
    let next = |low, earliest, window, mode| Progress { low, window, mode, ..progress(bound) }.next_window(earliest);
    let first = next(Timestamp::NEG_INFINITY, Some(utc("2020-01-01T00:00:00Z")), month, BoundMode::Overlap);
    let end = utc("2020-01-31T00:00:00Z");
    assert_eq!(first, Window { low: Timestamp::NEG_INFINITY, high: Some(end), watermark: end });
    assert!(!first.is_last(bound));
    let low = utc("2020-01-31T00:00:00Z");
    let jumped = next(low, Some(utc("2024-01-01T00:00:00Z")), month, BoundMode::Hold);
    assert_eq!((jumped.low, jumped.watermark), (low, utc("2024-01-31T00:00:00Z")));
    for (mode, high) in [(BoundMode::Overlap, None), (BoundMode::Hold, Some(bound))] {
        for earliest in [None, Some(utc("2026-09-20T00:00:00Z")), Some(Timestamp::NEG_INFINITY)] {
            let last = next(low, earliest.map(|e| e.max(bound.minus(month))), month, mode);
            assert_eq!(last, Window { low, high, watermark: bound });
            assert!(last.is_last(bound));
        }
    }
    // A row above the bound, in a window that would end above it.
    let above = next(low, Some(bound.plus(Micros::seconds(5))), month, BoundMode::Hold);
    assert_eq!(above, Window { low, high: Some(bound), watermark: bound });
}

#[test]
fn timestamps_keep_every_microsecond() {
    for text in ["2026-10-01T00:00:00.000001Z", "1999-12-31T23:59:59.999999Z", "-infinity", "infinity"] {
        assert_eq!(utc(text).to_string(), text);
        assert_eq!(Timestamp::from_pg_micros(utc(text).pg_micros()), utc(text));
    }
    assert_eq!(Timestamp::SEED.to_string(), "2000-01-01T00:00:00.000000Z");
    assert!("yesterday".parse::<Timestamp>().is_err());
}

#[test]
fn a_busy_session_without_the_start_of_its_transaction_is_hidden() {
    let state = |state: &str| Backend { state: Some(state.into()), query_start: Some(at(60)), ..idle(7) };
    let open_at = |since| Backend { xact_start: Some(at(since)), ..state("active") };
    let open = open_at(40);
    for (name, first, second, expected) in [
        ("in the middle of a transaction", idle(7), state("idle in transaction"), "hidden"),
        ("the same, failed", idle(7), state("idle in transaction (aborted)"), "hidden"),
        ("active at both looks", state("active"), state("active"), "hidden"),
        ("was not tracked", state("disabled"), state("active"), "hidden"),
        ("was idle: between message and transaction", idle(7), state("active"), "active"),
        (
            "was idle, and may have read its clock",
            Backend { wait_event_type: None, ..idle(7) },
            state("active"),
            "hidden",
        ),
        ("its transaction was shown", open.clone(), state("active"), "active"),
        ("appeared after the first look", idle(8), state("idle in transaction"), "quiet"),
        ("has a start", state("disabled"), open, "open"),
    ] {
        assert_eq!(bound(first, second).1, expected, "{name}");
    }
    assert_eq!(bound(open_at(40), state("active")).0, 39, "the transaction of the first look may be open still");
    // The others set what they set, whatever becomes of the hidden one.
    let other = Backend { xact_start: Some(at(30)), ..idle(6) };
    let Verdict::Hidden { pids, shown } = judge(vec![idle(7)], vec![other, state("idle in transaction")], &[]) else {
        panic!("hidden")
    };
    assert_eq!((pids, shown.0, name(&shown.1)), (vec![7], at(30), "open"));
}

#[test]
fn a_held_watermark_does_not_stop_the_reading() {
    let day = Micros::seconds(86_400);
    let (low, high, now) = (utc("2026-01-01T00:00:00Z"), utc("2026-02-01T00:00:00Z"), utc("2026-10-01T00:00:00Z"));
    let none = Timestamp::NEG_INFINITY;
    let held = Progress { low, read_high: Some(high), bound: low, now, window: day, ..progress(low) };
    let by_xmin = Progress { since: Some(9), ..held };
    let next = Progress { call: Call::Next, ..held };
    let only = Progress { call: Call::Only, ..held };
    let fresh = Progress { low: none, read_high: None, bound: none, ..held };
    let loaded = Progress { low: none, bound: none, ..by_xmin };
    let soon = |begin: Timestamp| Some(begin.plus(Micros(5)));
    for (name, progress, begin, earliest, end) in [
        ("goes on where it was", by_xmin, high, soon(high), Some(high.plus(Micros(5)).plus(day))),
        ("so does a single call", Progress { call: Call::Only, ..by_xmin }, high, None, None),
        ("begins again at L", held, low, soon(low), Some(low.plus(Micros(5)).plus(day))),
        ("the next piece goes on", next, high, soon(high), Some(high.plus(Micros(5)).plus(day))),
        ("a single call reads all", only, low, soon(low), None),
        ("no more rows", by_xmin, high, None, None),
        ("the last piece", by_xmin, high, Some(now.minus(Micros(1))), None),
        ("without a window", Progress { window: Micros::ZERO, ..by_xmin }, high, soon(high), None),
        ("the first load", fresh, none, Some(low), Some(low.plus(day))),
        ("the first load goes on", loaded, high, soon(high), Some(high.plus(Micros(5)).plus(day))),
    ] {
        assert!(progress.is_held(), "{name}");
        assert_eq!(progress.begin(), begin, "{name}");
        let window = progress.next_window(earliest);
        assert_eq!(window, Window { low: begin, high: end, watermark: progress.low }, "{name}");
        assert_eq!(window.is_last(progress.bound), end.is_none(), "{name}");
    }
    let hold = Progress { mode: BoundMode::Hold, ..by_xmin };
    assert_eq!(
        hold.next_window(soon(low)),
        Window { low, high: Some(low), watermark: low },
        "hold reads nothing above"
    );
    assert!(hold.next_window(None).is_last(low));
    let free = Progress { bound: low.plus(Micros(1)), ..by_xmin };
    assert_eq!(free.begin(), low, "a bound that moves proves everything above L anew");
}

#[test]
fn what_lies_below_a_window_is_swept_as_far_as_it_must() {
    let day = Micros::seconds(86_400);
    let table = Progress { read_high: None, ..progress(utc("2026-10-01T00:00:00Z")) };
    let (low, all) = (table.low, Timestamp::NEG_INFINITY);
    let back_to = low.minus(day);
    let xmin = Progress { since: Some(9), ..table };
    let off = Micros::ZERO;
    let held = Progress { bound: low, read_high: Some(low.plus(day)), ..xmin };
    for (name, progress, clock_went_back, expected) in [
        ("by number", xmin, false, Sweep::Xmin { since: 9, back_to }),
        (
            "no look-back: what is stamped -infinity",
            Progress { late_window: off, ..xmin },
            false,
            Sweep::Xmin { since: 9, back_to: low },
        ),
        ("a clock that went back", xmin, true, Sweep::Xmin { since: 9, back_to: all }),
        ("rows of any age", Progress { any_age: true, ..xmin }, false, Sweep::Xmin { since: 9, back_to: all }),
        ("nothing else finds them", Progress { look_back: true, ..table }, false, Sweep::LookBack { back_to }),
        ("the bound alone", table, false, Sweep::LookBack { back_to: low }),
        ("the bound alone, after a clock", table, true, Sweep::LookBack { back_to: all }),
        ("a held one, below L and above", held, false, Sweep::Xmin { since: 9, back_to }),
        (
            "the window before has read it",
            Progress { look_back: true, call: Call::Next, ..table },
            false,
            Sweep::LookBack { back_to: low },
        ),
    ] {
        assert_eq!(progress.sweep(progress.begin(), clock_went_back), expected, "{name}");
    }
    assert_eq!(Progress { low: all, ..xmin }.sweep(all, true), Sweep::Off, "nothing lies below nothing");
}

proptest::proptest! {
    /// Runs after each other while the bound stands: each row is read by a piece, or its version is young.
    #[test]
    fn held_pieces_leave_no_gap(
        steps in proptest::collection::vec((1..40_i64, 0..3_usize), 1..12), window in 0..30_i64, by_xmin: bool,
    ) {
        let low = at(0);
        let (mut read_to, mut now, mut call) = (low, 1_i64, Call::First);
        for (length, next) in steps {
            let held = Progress {
                low, read_high: Some(read_to), bound: low, now: at(now), window: Micros(window),
                since: by_xmin.then_some(1), call, ..progress(low)
            };
            let begin = held.begin();
            let piece = held.next_window(Some(begin.plus(Micros(1))));
            proptest::prop_assert!(begin <= read_to, "a gap");
            proptest::prop_assert_eq!(piece.watermark, low);
            match held.sweep(begin, false) {
                Sweep::Xmin { back_to, .. } | Sweep::LookBack { back_to } => proptest::prop_assert!(back_to <= begin),
                Sweep::Off => proptest::prop_assert!(false, "not swept"),
            }
            let end = piece.high.unwrap_or(at(now));
            proptest::prop_assert!(end > begin || piece.high.is_none(), "no step");
            read_to = if begin == low { end } else { end.max(read_to) };
            now += length;
            call = if piece.is_last(low) { [Call::First, Call::Only, Call::First][next] } else { Call::Next };
        }
    }
}

#[test]
fn values_of_release_0_1_0_are_still_read() {
    for text in [r#"{"sweep":"off"}"#, r#"{"sweep":"xmin","since":9,"back_to":"-infinity"}"#] {
        let sweep: Sweep = serde_json::from_str(text).expect(text);
        assert_eq!(serde_json::to_string(&sweep).expect("json"), text);
    }
    let text =
        r#"{"watermark":"2026-01-01T00:00:00.000000Z","rule":"quiet","source_clock":"2026-01-01T00:00:00.000001Z"}"#;
    let bound: SafeBound = serde_json::from_str(text).expect("a bound");
    assert_eq!((bound.server.as_ref(), serde_json::to_string(&bound).expect("json").as_str()), (None, text));
    let bound = bound.unproven("rows of `app.f` are written on another server".to_owned());
    assert!(!bound.rule.is_proven());
    let again: SafeBound = serde_json::from_str(&serde_json::to_string(&bound).expect("json")).expect("read back");
    assert_eq!(again, bound);
    assert_eq!(bound.rule.to_string(), "unproven: rows of `app.f` are written on another server; here: quiet");
}

#[test]
fn numbers_have_their_place_behind_all_moments() {
    for number in [-7, 0, 1, 42, i64::from(u32::MAX), 8_000_000_000_000_000_000] {
        let place = Timestamp::of_number(number);
        assert_eq!((place.number(), place.to_string()), (Some(number), format!("#{number}")));
        assert_eq!(place.to_string().parse::<Timestamp>().expect("a number"), place);
        assert!(place > "9999-12-30T00:00:00Z".parse().expect("a moment") && place < Timestamp::INFINITY);
    }
    for moment in [Timestamp::NEG_INFINITY, Timestamp::SEED, Timestamp::INFINITY] {
        assert_eq!(moment.number(), None);
    }
    assert!("#x".parse::<Timestamp>().is_err());
}
