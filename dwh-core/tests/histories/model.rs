//! What must be true of bronze, from what the source showed and what was loaded.
//!
//! The source stands still during a call, so what a run saw is what the source showed when its call began. What the model
//! knows of a loaded run is its window: every row that the source showed in it is in bronze from then on, in that version
//! or one that the source showed later.

use std::collections::{BTreeMap, BTreeSet};

use dwh_core::blob::Manifest;
use dwh_core::sink::RunRecord;
use dwh_core::{RunId, RunKind, RunState, Timestamp};

use crate::steps::{Kind, Table};

/// The rows of a table by key: the line, and its stamp.
pub type Seen = BTreeMap<u8, (String, Timestamp)>;

/// By key, the call whose version bronze must have at least.
pub type Floors = BTreeMap<u8, usize>;

/// A run is its number and its beginning: numbers begin anew when the target is restored.
pub type Run = (RunId, Timestamp);

/// What is true of the target; it goes back with it.
#[derive(Debug, Clone, Default)]
pub struct Target {
    pub floors: [Floors; 2],
    /// Of a snapshot, the newest call that was loaded.
    pub whole: [Option<usize>; 2],
    /// Of scd, the copies by their moment.
    pub copies: [BTreeMap<Timestamp, usize>; 2],
    /// Of a table that keeps the first version, that version.
    pub firsts: [BTreeMap<u8, String>; 2],
    /// Whether a person was told of a gap and accepted it: then a good end says nothing of what lies in it.
    pub gap: [bool; 2],
    loaded: BTreeSet<(Table, Run)>,
}

#[derive(Debug)]
pub struct Model {
    pub kinds: [Kind; 2],
    /// What the source showed at each call.
    pub calls: Vec<[Seen; 2]>,
    /// The call in which a run read.
    read_in: BTreeMap<Run, usize>,
    /// Every run that was ever loaded, whatever became of the target since.
    ever_loaded: BTreeSet<Run>,
    pub target: Target,
    /// What was delivered since a person last emptied bronze, whatever became of the target since.
    pub ever: [Floors; 2],
    pub ever_copies: [BTreeMap<Timestamp, usize>; 2],
    /// What all the CSV files hold that were ever loaded.
    pub archive: [Floors; 2],
}

impl Model {
    pub fn new(kinds: [Kind; 2]) -> Self {
        Self {
            kinds,
            calls: Vec::new(),
            read_in: BTreeMap::new(),
            ever_loaded: BTreeSet::new(),
            target: Target::default(),
            ever: Default::default(),
            ever_copies: Default::default(),
            archive: Default::default(),
        }
    }

    /// The present call.
    fn now(&self) -> usize {
        self.calls.len() - 1
    }

    /// The last call in which the source showed this version of a row.
    pub fn last_shown(&self, table: Table, key: u8, line: &str) -> Option<usize> {
        self.calls.iter().rposition(|seen| seen[table].get(&key).is_some_and(|(shown, _)| shown == line))
    }

    /// A person emptied bronze, or made it anew.
    pub fn emptied(&mut self, table: Table) {
        self.forget(table);
        self.ever[table].clear();
        self.ever_copies[table].clear();
    }

    fn forget(&mut self, table: Table) {
        self.target.floors[table].clear();
        self.target.whole[table] = None;
        self.target.copies[table].clear();
        self.target.firsts[table].clear();
    }

    /// The CSV of a run is gone: what the target does not know of either, nobody can know of any more.
    pub fn lost(&mut self, table: Table, manifest: &Manifest) {
        let run = (manifest.run_id, manifest.run_started_at);
        if !self.target.loaded.contains(&(table, run)) {
            self.ever_copies[table].remove(&manifest.run_started_at);
            self.ever[table].clone_from(&self.target.floors[table]);
            self.archive[table].clone_from(&self.target.floors[table]);
        }
    }

    /// A rebuild made the table from the CSV files that are there; `short` if it said that not everything is, or that
    /// something still waits to be loaded. What lies above the watermark, where it stands now, is read again.
    pub fn rebuilt(&mut self, table: Table, short: bool, watermark: Timestamp) {
        self.target.loaded.retain(|(of, _)| *of != table);
        self.target.firsts[table].clear();
        if short {
            self.forget(table);
        }
        let calls = &self.calls;
        let below = |key: &u8, call: &mut usize| calls[*call][table].get(key).is_some_and(|(_, at)| *at <= watermark);
        self.target.floors[table].retain(below);
        self.ever[table].retain(below);
    }

    /// A person was told that not everything is there, and what is gone is in no file either.
    pub fn told_short(&mut self, table: Table) {
        self.ever[table].clone_from(&self.target.floors[table]);
        self.archive[table].clone_from(&self.target.floors[table]);
        self.ever_copies[table].clone_from(&self.target.copies[table]);
    }

    /// A whole replay said that everything that was ever loaded is there again.
    pub fn replayed(&mut self, table: Table) {
        for (key, call) in self.archive[table].clone() {
            raise(&mut self.target.floors[table], key, call);
        }
    }

    /// A reseed came to its end: what was delivered once, and is as it was then, is there up to the watermark. What was
    /// written since may lie in a window that an earlier call had read already; the next run brings it.
    pub fn reseeded(&mut self, table: Table, watermark: Timestamp) {
        let now = self.now();
        for (key, call) in self.archive[table].clone() {
            let (then, now) = (self.calls[call][table].get(&key), self.calls[now][table].get(&key));
            if then == now && now.is_some_and(|(_, at)| *at <= watermark) {
                raise(&mut self.target.floors[table], key, call);
            }
        }
    }

    /// Everything that the source shows is in bronze: a run of the table said so.
    pub fn up_to_date(&mut self, table: Table) {
        if self.target.gap[table] {
            return;
        }
        let now = self.now();
        for key in self.calls[now][table].keys().copied().collect::<Vec<_>>() {
            self.delivered(table, key, now);
        }
        if self.kinds[table] == Kind::Snapshot {
            self.target.whole[table] = Some(now);
        }
    }

    fn delivered(&mut self, table: Table, key: u8, call: usize) {
        raise(&mut self.target.floors[table], key, call);
        raise(&mut self.ever[table], key, call);
        raise(&mut self.archive[table], key, call);
    }

    /// Learns from the run log after a call.
    pub fn learn(&mut self, records: &[(Table, RunRecord)], rebuilds: bool) {
        let now = self.now();
        for (table, record) in records.iter().filter(|(_, record)| record.kind != RunKind::Replay) {
            let run = run_of(record);
            if !rebuilds {
                self.read_in.entry(run).or_insert(now);
            }
            if record.status == RunState::Loaded && self.target.loaded.insert((*table, run)) {
                self.ever_loaded.insert(run);
                if let Some(call) = self.read_in.get(&run).copied() {
                    self.loaded(*table, record, call);
                }
            }
        }
    }

    fn loaded(&mut self, table: Table, record: &RunRecord, call: usize) {
        match self.kinds[table] {
            Kind::Update | Kind::Nothing => {
                let (low, high) = (record.window_low, record.window_high);
                let inside = |at: Timestamp| low.is_none_or(|low| at > low) && high.is_some_and(|high| at <= high);
                let seen = self.calls[call][table].clone();
                if record.kind == RunKind::Repair {
                    self.replaced(table, &seen, inside);
                }
                for (key, _) in seen.into_iter().filter(|(_, (_, at))| inside(*at)) {
                    self.delivered(table, key, call);
                }
            }
            // One that came too late replaced nothing.
            Kind::Snapshot if record.rows_kept_newer > Some(0) => {}
            Kind::Snapshot => self.target.whole[table] = self.target.whole[table].max(Some(call)),
            Kind::Scd => {
                self.target.copies[table].insert(record.run_started_at, call);
                self.ever_copies[table].insert(record.run_started_at, call);
            }
        }
    }

    /// A window was put in the place of what bronze had: rows of it that the source has no more may be gone, and what came
    /// first does not stay.
    fn replaced(&mut self, table: Table, seen: &Seen, inside: impl Fn(Timestamp) -> bool) {
        for floors in [&mut self.target.floors[table], &mut self.ever[table], &mut self.archive[table]] {
            floors.retain(|key, _| seen.contains_key(key));
        }
        self.target.firsts[table].retain(|key, _| seen.contains_key(key));
        for (key, (line, _)) in seen.iter().filter(|(_, (_, at))| inside(*at)) {
            self.target.firsts[table].insert(*key, line.clone());
        }
    }

    /// The copy that a run of this moment delivered.
    pub fn copy_of(&self, at: Timestamp) -> Option<usize> {
        self.read_in.iter().find(|((_, started_at), _)| *started_at == at).map(|(_, call)| *call)
    }

    /// Whether the run of this CSV was ever loaded.
    pub fn was_loaded(&self, manifest: &Manifest) -> bool {
        self.ever_loaded.contains(&(manifest.run_id, manifest.run_started_at))
    }
}

fn raise(floors: &mut Floors, key: u8, call: usize) {
    let floor = floors.entry(key).or_insert(call);
    *floor = call.max(*floor);
}

fn run_of(record: &RunRecord) -> Run {
    (record.run_id, record.run_started_at)
}
