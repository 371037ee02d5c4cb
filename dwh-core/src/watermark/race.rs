//! Writers and a reader, step by step in every order that chance finds: the proof of `DESIGN.md`, played.
//!
//! A writer's steps stand in the order of the server's code: it reads its clock, publishes `active` with `query_start`,
//! publishes `xact_start`, writes, becomes visible, clears `xact_start`, goes idle. The reader's steps come in the right
//! order or in one that is known to lose; the wrong ones must be seen to lose here, or the play proves nothing.

use super::*;
use proptest::prelude::*;

/// A small generator of its own, so that a failing seed replays the play.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    /// Waits for its client.
    Waiting,
    /// A message is there, nothing read or published.
    Awake,
    /// c: the clock is read, nothing published. The dark window.
    Clock,
    /// q: `active`, `query_start` published.
    Active,
    /// a: `xact_start` published; writes, perhaps sits idle in transaction.
    Open,
    /// e: visible, `xact_start` still there. Or g: prepared.
    Ended,
    /// f: `xact_start` cleared, still `active`: another transaction of the same message may follow.
    Cleared,
}

struct Session {
    shown: Backend,
    phase: Phase,
    /// s: `now()` of its transaction.
    s: i64,
    /// Its row, once written.
    row: Option<usize>,
}

#[derive(Clone, Copy)]
struct Row {
    stamp: i64,
    visible: bool,
    aborted: bool,
}

/// A prepared transaction, and whether it is visible already, just before it leaves the list.
struct TwoPhase {
    row: usize,
    at: i64,
    visible: bool,
}

#[derive(Default)]
struct World {
    now: i64,
    sessions: Vec<Session>,
    rows: Vec<Row>,
    prepared: Vec<TwoPhase>,
}

impl World {
    fn connect(&mut self) {
        let pid = i32::try_from(self.sessions.len()).expect("few") + 1;
        // Published before it reads its first message, and not waiting for it yet.
        let shown = Backend { backend_start: Some(at(self.now)), state_change: Some(at(self.now)), ..idle(pid) };
        let shown = Backend { wait_event_type: None, ..shown };
        self.sessions.push(Session { shown, phase: Phase::Awake, s: 0, row: None });
    }

    /// One step of anybody but the reader.
    fn step(&mut self, dice: &mut Dice) {
        // The clock may stand still between two steps, but never goes back.
        self.now += i64::try_from(dice.below(3)).expect("small");
        match dice.below(12) {
            0 if self.sessions.len() < 6 => self.connect(),
            1 if !self.prepared.is_empty() => self.commit_prepared(dice),
            _ if self.sessions.is_empty() => self.connect(),
            _ => {
                let who = usize::try_from(dice.below(self.sessions.len() as u64)).expect("index");
                self.advance(who, dice);
            }
        }
    }

    fn commit_prepared(&mut self, dice: &mut Dice) {
        let which = usize::try_from(dice.below(self.prepared.len() as u64)).expect("index");
        if self.prepared[which].visible {
            self.prepared.remove(which);
        } else {
            self.prepared[which].visible = true;
            self.rows[self.prepared[which].row].visible = true;
        }
    }

    fn advance(&mut self, who: usize, dice: &mut Dice) {
        let (now, chance) = (self.now, dice.below(4));
        let session = &mut self.sessions[who];
        let next = match session.phase {
            Phase::Waiting => {
                session.shown.wait_event_type = None;
                Phase::Awake
            }
            Phase::Awake => {
                session.s = now;
                Phase::Clock
            }
            Phase::Clock => {
                session.shown.state = Some("active".into());
                session.shown.query_start = Some(at(session.s));
                session.shown.state_change = Some(at(now));
                Phase::Active
            }
            Phase::Active => {
                session.shown.xact_start = Some(at(session.s));
                session.row = None;
                Phase::Open
            }
            Phase::Open => self.work(who, chance),
            Phase::Ended => {
                session.shown.xact_start = None;
                Phase::Cleared
            }
            // The next transaction of one message, or `COMMIT AND CHAIN`: the same clock again.
            Phase::Cleared if chance == 0 => Phase::Active,
            Phase::Cleared => {
                session.shown.state = Some("idle".into());
                session.shown.state_change = Some(at(now));
                if chance == 1 {
                    // The next message is there already: no wait in between.
                    Phase::Awake
                } else {
                    session.shown.wait_event_type = Some("Client".into());
                    Phase::Waiting
                }
            }
        };
        self.sessions[who].phase = next;
    }

    /// Inside the transaction: write, sit idle, commit, abort or prepare.
    fn work(&mut self, who: usize, chance: u64) -> Phase {
        let session = &mut self.sessions[who];
        let Some(row) = session.row else {
            if chance == 0 && self.now % 7 == 0 {
                // `track_activities` is switched off before a transaction and on in the middle of it.
                let session = &mut self.sessions[who];
                session.shown.xact_start = None;
                session.shown.query_start = Some(at(self.now));
                session.shown.state = Some("idle in transaction".into());
                session.shown.state_change = Some(at(self.now));
                session.shown.wait_event_type = Some("Client".into());
                return Phase::Open;
            }
            if chance == 0 {
                // The first write may come late.
                session.shown.state = Some("idle in transaction".into());
                session.shown.state_change = Some(at(self.now));
                session.shown.wait_event_type = Some("Client".into());
                return Phase::Open;
            }
            session.shown.state = Some("active".into());
            session.shown.wait_event_type = None;
            session.row = Some(self.rows.len());
            self.rows.push(Row { stamp: session.s, visible: false, aborted: false });
            return Phase::Open;
        };
        match chance {
            0 => self.prepared.push(TwoPhase { row, at: self.now, visible: false }),
            1 if self.now % 5 == 0 => self.rows[row].aborted = true,
            1 => return Phase::Open,
            _ => self.rows[row].visible = true,
        }
        Phase::Ended
    }

    fn activity(&self) -> Activity {
        Activity { at: at(self.now), backends: self.sessions.iter().map(|s| s.shown.clone()).collect() }
    }

    fn in_prepared_list(&self) -> Vec<Prepared> {
        let named = |p: &TwoPhase| Prepared { gid: p.row.to_string(), prepared_at: at(p.at) };
        self.prepared.iter().map(named).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    /// u0 R0 R1 P S.
    Right,
    /// S u0 R0 R1 P: also what one statement, or looks inside the snapshot's transaction, come to.
    SnapshotFirst,
    /// R0 R1 P u0 S.
    ClockAfterActivity,
    /// P u0 R0 R1 S.
    PreparedFirst,
    /// u0 R1 P S: one look only.
    OnePass,
    /// Both looks are the same frozen copy, as inside one transaction.
    FrozenCopy,
}

/// One run against a moving world: the bound, and which rows its snapshot sees.
fn run(world: &mut World, dice: &mut Dice, order: Order, low: Timestamp) -> (Timestamp, Vec<bool>) {
    let go = |world: &mut World, dice: &mut Dice| (0..dice.below(12)).for_each(|_| world.step(dice));
    let see = |world: &World| world.rows.iter().map(|row| row.visible).collect::<Vec<_>>();
    let early = see(world);
    let early_prepared = world.in_prepared_list();
    go(world, dice);
    let clock = world.now;
    go(world, dice);
    let mut first = world.activity();
    first.at = at(clock);
    go(world, dice);
    let mut second = world.activity();
    let frozen = second.clone();
    go(world, dice);
    let mut prepared = world.in_prepared_list();
    go(world, dice);
    let mut snapshot = see(world);
    match order {
        Order::Right => {}
        Order::SnapshotFirst => snapshot = early,
        Order::ClockAfterActivity => first.at = at(world.now),
        Order::PreparedFirst => prepared = early_prepared,
        Order::OnePass => first.backends.clear(),
        Order::FrozenCopy => {
            // The copy is from before the clock that is taken with the statement of the second look.
            second = first.clone();
            first.at = frozen.at;
            second.at = frozen.at;
        }
    }
    let seen = Observation {
        low,
        run_started_at: Timestamp::INFINITY,
        step: Micros(1),
        first: &first,
        second: &second,
        prepared: &prepared,
    };
    let bound = match safe_bound(&seen).expect("no future") {
        Verdict::Bound(bound) => bound.watermark,
        // The source would drain; the watermark stays where it is.
        Verdict::Hidden { .. } => low,
    };
    (bound, snapshot)
}

/// Plays some runs after each other, each from the watermark of the one before; counts the rows that no run reads.
fn losses(seed: u64, order: Order) -> usize {
    let (mut world, mut dice) = (World { now: 1_000, ..World::default() }, Dice(seed));
    let mut low = Timestamp::NEG_INFINITY;
    let mut read: Vec<bool> = Vec::new();
    let mut unread_below = Vec::new();
    for _ in 0..8 {
        (0..dice.below(30)).for_each(|_| world.step(&mut dice));
        let (bound, snapshot) = run(&mut world, &mut dice, order, low);
        assert!(bound >= low, "the watermark never goes back");
        read.resize(world.rows.len(), false);
        for (row, visible) in snapshot.iter().enumerate() {
            read[row] |= *visible && at(world.rows[row].stamp) > low;
        }
        low = bound;
        unread_below = (0..world.rows.len()).filter(|row| at(world.rows[*row].stamp) <= low && !read[*row]).collect();
        if order == Order::Right {
            let open: Vec<_> = unread_below.iter().filter(|row| !world.rows[**row].aborted).collect();
            assert!(open.is_empty(), "seed {seed}: rows {open:?} lie at or below {low:?} and were not read");
        }
    }
    unread_below.iter().filter(|row| !world.rows[**row].aborted).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_right_order_loses_nothing(seed in any::<u64>()) {
        prop_assert_eq!(losses(seed, Order::Right), 0);
    }
}

#[test]
fn the_wrong_orders_are_seen_to_lose() {
    for order in
        [Order::SnapshotFirst, Order::ClockAfterActivity, Order::PreparedFirst, Order::OnePass, Order::FrozenCopy]
    {
        let lost: usize = (0..3_000).map(|seed| losses(seed, order)).sum();
        assert!(lost > 0, "{order:?} lost nothing: the play cannot see losses");
    }
}

#[test]
fn the_right_order_moves_on() {
    // A rule that never moved would lose nothing either.
    let (mut world, mut dice) = (World { now: 1_000, ..World::default() }, Dice(1));
    let mut low = Timestamp::NEG_INFINITY;
    let mut moves = 0;
    for _ in 0..400 {
        (0..20).for_each(|_| world.step(&mut dice));
        let (bound, _) = run(&mut world, &mut dice, Order::Right, low);
        moves += usize::from(bound > low);
        low = bound;
    }
    assert!(moves > 10, "moved in {moves} of 400 runs");
}
