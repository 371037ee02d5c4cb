//! What can happen in a history: to the source, to the target, to the store, to the configuration, and what is called.

use proptest::prelude::*;
use std::fmt;

/// How a table is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Incremental, a row may change.
    Update,
    /// Incremental, the first version of a row stays.
    Nothing,
    Snapshot,
    Scd,
}

/// A table by its place in the configuration.
pub type Table = usize;

/// A history: the tables of the project, and what happens.
#[derive(Debug, Clone)]
pub struct History {
    pub kinds: [Kind; 2],
    pub steps: Vec<Step>,
}

/// Who stamps a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The server, in a transaction of one statement.
    Now,
    /// The application, with a time so many seconds ago.
    Earlier(u8),
    /// The application, with `-infinity`.
    Ever,
    /// The server, in the open transaction of this slot: the stamp is its start.
    Open(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Run(Option<Table>),
    Extract(Table),
    /// Loads one of the CSV files that wait, in whatever order.
    Load(Table, u8),
    /// From and to, in seconds ago.
    Backfill(Table, u8, u8),
    /// Anew from the first window on, or where an earlier call stood.
    Reseed(Table, bool),
    /// A reseed in the place of what bronze has; anew or not, as above.
    Replace(Table, bool),
    /// With the gaps that there are, or not at all if there are some.
    Replay(Table, bool),
    /// From and to, in seconds ago.
    ReplayRange(Table, u8, u8),
    Rebuild(Option<Table>, bool),
    Prune,
    Recover,
    /// Takes one of the CSV files that wait out of the way.
    SetAside(Table, u8),
}

/// The process dies at this call of blob store, sink or source, before or after it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    pub call: u8,
    pub done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Pass(u8),
    /// Inserts the row with this key, or updates it.
    Put(Table, u8, By),
    Delete(Table, u8, By),
    /// Puts every key, with more than a window between two of them.
    Spread(Table),
    Begin(usize),
    Commit(usize),
    RollBack(usize),
    /// Writes a row into a table that stands beside it.
    Fill(Table, u8),
    /// That table becomes a partition.
    Attach(Table),
    /// That table changes its name with it.
    Swap(Table),
    /// `truncate`, and then a row.
    Refill(Table, u8),
    BackUpSource,
    RestoreSource,
    BackUpTarget,
    RestoreTarget,
    /// The bronze table is dropped and made again.
    MakeBronzeAnew(Table),
    TruncateBronze(Table),
    ChangeKey(Table),
    /// The row with this key gets another code, as long as the code is not the configured key.
    Recode(Table, u8),
    /// A CSV of `processed/` is gone, and the manifest with it or not.
    LoseCsv(Table, u8, bool),
    Call(Verb, Option<Death>),
}

/// One table more than the other, so that things meet there too.
fn table() -> impl Strategy<Value = Table> {
    prop_oneof![3 => Just(0), 1 => Just(1)]
}

/// Few keys, so that things meet.
pub const KEYS: u8 = 4;

fn key() -> impl Strategy<Value = u8> {
    0..KEYS
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![
        8 => Just(By::Now),
        2 => (1..90_u8).prop_map(By::Earlier),
        1 => Just(By::Ever),
        6 => (0..2_usize).prop_map(By::Open),
    ]
}

fn ago() -> impl Strategy<Value = u8> {
    0..=120_u8
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        6 => prop::option::of(table()).prop_map(Verb::Run),
        4 => table().prop_map(Verb::Extract),
        4 => (table(), 0..3_u8).prop_map(|(table, at)| Verb::Load(table, at)),
        1 => (table(), ago(), ago()).prop_map(|(table, from, to)| Verb::Backfill(table, from, to)),
        3 => (table(), prop::bool::weighted(0.2)).prop_map(|(table, anew)| Verb::Reseed(table, anew)),
        4 => (table(), any::<bool>()).prop_map(|(table, gaps)| Verb::Replay(table, gaps)),
        1 => (table(), ago(), ago()).prop_map(|(table, from, to)| Verb::ReplayRange(table, from, to)),
        3 => (prop::option::of(table()), any::<bool>()).prop_map(|(table, gaps)| Verb::Rebuild(table, gaps)),
        1 => Just(Verb::Prune),
        1 => Just(Verb::Recover),
        1 => (table(), 0..3_u8).prop_map(|(table, at)| Verb::SetAside(table, at)),
    ]
}

fn death() -> impl Strategy<Value = Option<Death>> {
    // A run has some 25 calls, one of many windows more.
    let death = (prop_oneof![0..25_u8, 0..100_u8], any::<bool>()).prop_map(|(call, done)| Death { call, done });
    prop::option::weighted(0.25, death)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40_u8).prop_map(Step::Pass),
        10 => (table(), key(), by()).prop_map(|(table, key, by)| Step::Put(table, key, by)),
        3 => (table(), key(), by()).prop_map(|(table, key, by)| Step::Delete(table, key, by)),
        5 => table().prop_map(Step::Spread),
        3 => (0..2_usize).prop_map(Step::Begin),
        3 => (0..2_usize).prop_map(Step::Commit),
        1 => (0..2_usize).prop_map(Step::RollBack),
        2 => (table(), key()).prop_map(|(table, key)| Step::Fill(table, key)),
        1 => table().prop_map(Step::Attach),
        1 => table().prop_map(Step::Swap),
        1 => (table(), key()).prop_map(|(table, key)| Step::Refill(table, key)),
        1 => Just(Step::BackUpSource),
        1 => Just(Step::RestoreSource),
        2 => Just(Step::BackUpTarget),
        2 => Just(Step::RestoreTarget),
        2 => table().prop_map(Step::MakeBronzeAnew),
        3 => table().prop_map(Step::TruncateBronze),
        1 => table().prop_map(Step::ChangeKey),
        1 => (table(), key()).prop_map(|(table, key)| Step::Recode(table, key)),
        3 => (table(), 0..4_u8, any::<bool>()).prop_map(|(table, at, both)| Step::LoseCsv(table, at, both)),
        16 => (verb(), death()).prop_map(|(verb, death)| Step::Call(verb, death)),
    ]
}

/// How a history begins: with nothing, or where things that seldom meet have met.
fn beginning() -> impl Strategy<Value = Vec<Step>> {
    let call = |verb| Step::Call(verb, None);
    let loaded = move || vec![Step::Spread(0), call(Verb::Run(None))];
    let cut_off = (20..90_u8, any::<bool>()).prop_map(move |(at, done)| {
        let cut_off = Step::Call(Verb::Reseed(0, false), Some(Death { call: at, done }));
        [loaded(), vec![cut_off]].concat()
    });
    let waiting = vec![call(Verb::Extract(0)), Step::Put(0, 0, By::Now), call(Verb::Extract(0))];
    let restored = vec![call(Verb::Run(None)), Step::BackUpTarget, Step::Spread(0), call(Verb::Extract(0))];
    let lost =
        (0..2_u8, 0..8_u8, any::<bool>(), prop::option::of(any::<bool>())).prop_map(move |(runs, at, gone, verb)| {
            let mut steps = vec![Step::Spread(0)];
            steps.extend((0..runs).map(|_| call(Verb::Run(None))));
            steps.extend([Step::BackUpTarget, Step::Put(0, 0, By::Now), call(Verb::Run(None))]);
            steps.extend(gone.then_some(Step::Delete(0, 0, By::Now)));
            steps.extend([Step::LoseCsv(0, at, false), Step::RestoreTarget]);
            steps.extend(verb.map(|gaps| call(Verb::Replay(0, gaps))));
            steps
        });
    let recoded = vec![
        Step::Put(0, 0, By::Now),
        call(Verb::Extract(0)),
        Step::Recode(0, 0),
        call(Verb::Extract(0)),
        call(Verb::Load(0, 1)),
        Step::ChangeKey(0),
    ];
    let killed = (5..30_u8, any::<bool>()).prop_map(move |(at, done)| {
        let run = Step::Call(Verb::Run(Some(0)), Some(Death { call: at, done }));
        [loaded(), vec![Step::Put(0, 0, By::Now), run, call(Verb::Rebuild(Some(0), false))]].concat()
    });
    let alone = any::<bool>().prop_map(move |replace| {
        let again = if replace { Verb::Replace(0, true) } else { Verb::Reseed(0, true) };
        let (row, rebuild) = (Step::Put(0, 0, By::Earlier(20)), call(Verb::Rebuild(Some(0), false)));
        vec![call(Verb::Run(None)), Step::Pass(30), row, call(again), rebuild]
    });
    prop_oneof![
        8 => Just(Vec::new()),
        2 => Just(loaded()),
        2 => cut_off,
        1 => Just(waiting),
        1 => Just([restored, vec![call(Verb::Extract(0)), Step::RestoreTarget]].concat()),
        2 => lost,
        1 => Just(recoded),
        1 => killed,
        1 => alone,
    ]
}

pub fn history() -> impl Strategy<Value = History> {
    let kind = || prop_oneof![4 => Just(Kind::Update), 2 => Just(Kind::Nothing), 2 => Just(Kind::Snapshot), 1 => Just(Kind::Scd)];
    ([kind(), kind()], beginning(), prop::collection::vec(step(), 4..40)).prop_map(|(kinds, beginning, steps)| {
        let steps = steps.into_iter().enumerate().map(|(at, step)| step.replacing_at(at));
        History { kinds, steps: beginning.into_iter().chain(steps).collect() }
    })
}

impl Step {
    /// Every other reseed puts what it reads in the place of what bronze has, and half of those begin anew.
    fn replacing_at(self, at: usize) -> Self {
        match self {
            Self::Call(Verb::Reseed(table, _), death) if at % 2 == 1 => {
                Self::Call(Verb::Replace(table, at % 4 == 1), death)
            }
            other => other,
        }
    }

    /// Whether evidence or rows are taken away behind the tool's back, so that it may have to call a person.
    pub fn disturbs(self) -> bool {
        use Step::{LoseCsv, MakeBronzeAnew, RestoreSource, RestoreTarget, TruncateBronze};
        matches!(self, RestoreSource | RestoreTarget | MakeBronzeAnew(_) | TruncateBronze(_) | LoseCsv(..))
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Ever => f.write_str("stamped -infinity"),
            Self::Earlier(seconds) => write!(f, "stamped {seconds} s ago"),
            Self::Open(slot) => write!(f, "in transaction {slot}"),
        }
    }
}

fn accepting(gaps: bool) -> &'static str {
    if gaps { " --accept-gaps" } else { "" }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |table: &Option<Table>| table.map_or_else(|| "all".to_owned(), |table| format!("t{table}"));
        match self {
            Self::Run(table) => write!(f, "run {}", all(table)),
            Self::Extract(table) => write!(f, "extract t{table}"),
            Self::Load(table, at) => write!(f, "load t{table}, waiting CSV {at}"),
            Self::Backfill(table, from, to) => write!(f, "backfill t{table} from {from} s ago to {to} s ago"),
            Self::Reseed(table, anew) => write!(f, "reseed t{table}{}", if *anew { " --restart" } else { "" }),
            Self::Replace(table, anew) => {
                write!(f, "reseed t{table} --replace --allow-empty{}", if *anew { " --restart" } else { "" })
            }
            Self::Replay(table, gaps) => write!(f, "replay t{table}{}", accepting(*gaps)),
            Self::ReplayRange(table, from, to) => write!(f, "replay t{table} from {from} s ago to {to} s ago"),
            Self::Rebuild(table, gaps) => write!(f, "rebuild {} --reset{}", all(table), accepting(*gaps)),
            Self::Prune => f.write_str("prune"),
            Self::Recover => f.write_str("recover"),
            Self::SetAside(table, at) => write!(f, "set aside waiting CSV {at} of t{table}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass(seconds) => write!(f, "{seconds} s pass"),
            Self::Put(table, key, by) => write!(f, "t{table}: put key {key}, {by}"),
            Self::Delete(table, key, by) => write!(f, "t{table}: delete key {key}, {by}"),
            Self::Spread(table) => write!(f, "t{table}: every key is put, with more than a window between two of them"),
            Self::Begin(slot) => write!(f, "transaction {slot} begins"),
            Self::Commit(slot) => write!(f, "transaction {slot} commits"),
            Self::RollBack(slot) => write!(f, "transaction {slot} rolls back"),
            Self::Fill(table, key) => write!(f, "t{table}: a row is written into the table beside it, key {key}"),
            Self::Attach(table) => write!(f, "t{table}: the table beside it is attached as a partition"),
            Self::Swap(table) => write!(f, "t{table}: the table beside it changes names with it"),
            Self::Refill(table, key) => write!(f, "t{table}: truncated at the source, then key {key} is put"),
            Self::BackUpSource => f.write_str("the source is backed up"),
            Self::RestoreSource => f.write_str("the source is restored"),
            Self::BackUpTarget => f.write_str("the target is backed up"),
            Self::RestoreTarget => f.write_str("the target is restored"),
            Self::MakeBronzeAnew(table) => write!(f, "t{table}: bronze is dropped and made again"),
            Self::TruncateBronze(table) => write!(f, "t{table}: bronze is truncated"),
            Self::Recode(table, key) => write!(f, "t{table}: key {key} gets another code"),
            Self::ChangeKey(table) => write!(f, "t{table}: the configured key is another one"),
            Self::LoseCsv(table, at, true) => write!(f, "t{table}: CSV {at} of processed/ is lost, with its manifest"),
            Self::LoseCsv(table, at, false) => {
                write!(f, "t{table}: CSV {at} of processed/ is lost, its manifest stays")
            }
            Self::Call(verb, None) => write!(f, "dwh {verb}"),
            Self::Call(verb, Some(Death { call, done })) => {
                let when = if *done { "after" } else { "before" };
                write!(f, "dwh {verb}, killed {when} call {call}")
            }
        }
    }
}
