//! The decision matrix: what is known of a table → how it is copied, with every reason and every doubt. Pure.
//!
//! | signal | snapshot | incremental |
//! |---|---|---|
//! | rows | fewer than 10,000 | more |
//! | deletes at the source | common | rare |
//! | updates | common, and no column moves with them | rare, or a column moves |
//! | unique key | may be missing | must exist |
//! | time of insertion | may be missing | must exist |

use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};

use super::stamp::{Candidate, Trust, candidates};
use crate::config::{Mode, OnConflict};
use crate::schema::{RelationKind, UniqueKey, quote_ident};
use crate::source::survey::{Reach, ServerFacts, TableFacts, counted, grouped};

/// Below this, copying the whole table each time is the simpler thing.
const SMALL: u64 = 10_000;

/// Above this, copying the whole table each time is worth a doubt.
const LARGE: u64 = 1_000_000;

/// Who counts for less time than this has seen too little to say that rows never change.
const COUNTED_DAYS: i64 = 7;

/// Rows of one CSV that a first load aims at.
const ROWS_PER_FILE: u64 = 1_000_000;

/// How a table is copied, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub mode: Mode,
    pub watermark: Option<Watermark>,
    pub key: Vec<String>,
    pub key_reason: String,
    pub on_conflict: OnConflict,
    /// A larger slice of history than a day, with the reason.
    pub window: Option<(&'static str, String)>,
    pub reasons: Vec<String>,
    pub doubts: Vec<String>,
}

impl Choice {
    /// The same table as a snapshot, because somebody wants it so.
    pub(super) fn copied_whole(mut self) -> Self {
        self.reasons.push("snapshot: it was asked for".to_owned());
        let on_conflict = OnConflict::Nothing;
        Self {
            mode: Mode::Snapshot,
            watermark: None,
            key: Vec::new(),
            window: None,
            doubts: Vec::new(),
            on_conflict,
            ..self
        }
    }
}

/// The chosen column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watermark {
    pub column: String,
    pub reason: String,
    /// Zone of a column that has none; whether nobody but the server's default says so.
    pub zone: Option<(String, bool)>,
}

/// Everything a choice is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub facts: &'a TableFacts,
    pub server: &'a ServerFacts,
    /// What is known of the values of candidates.
    pub reach: &'a BTreeMap<String, Reach>,
    /// Columns that are copied as another type than they have.
    pub cast: &'a BTreeSet<String>,
}

/// The columns whose values are worth a look, the best first.
pub(super) fn worth_a_look(facts: &TableFacts) -> Vec<String> {
    candidates(facts, may_change(facts)).into_iter().map(|candidate| candidate.column).collect()
}

/// Whether the values of its columns can change the choice; a small table is copied whole whatever they are.
pub(super) fn needs_a_look(facts: &TableFacts) -> bool {
    facts.rows.at_least() >= SMALL || facts.schema.kind == RelationKind::Hypertable
}

/// Whether its rows change, or nobody knows: then a column that moves with them is the better watermark.
fn may_change(facts: &TableFacts) -> bool {
    facts.counters.updated > 0 || thin_evidence(facts).is_some()
}

/// Why counters without an update say little: they count a restore as inserts, and nothing of what was before it.
fn thin_evidence(facts: &TableFacts) -> Option<String> {
    let (rows, counters) = (facts.rows.at_least(), facts.counters);
    if counters.updated > 0 || !needs_a_look(facts) {
        None
    } else if !counters.any() {
        Some("nothing was written since counting began".to_owned())
    } else if facts.bulk {
        Some("most rows came in one transaction, as a restore or a first fill brings them".to_owned())
    } else if rows != u64::MAX && counters.inserted < rows / 2 {
        let inserted = grouped(counters.inserted);
        Some(format!("only {inserted} of {} came since counting began", counted(rows, "row")))
    } else {
        young_statistics(facts)
    }
}

/// Why what was counted is younger than the rows; `None` as well where nobody knows when counting began.
fn young_statistics(facts: &TableFacts) -> Option<String> {
    let days = facts.counted_days?;
    let ago = |days: i64| counted(days.unsigned_abs(), "day");
    match facts.newest_days {
        Some(newest) if newest > days => Some(format!(
            "the newest row was stamped {} ago, and counting began {} ago, so a restore or a copy brought what was counted",
            ago(newest),
            ago(days)
        )),
        _ if days < COUNTED_DAYS => Some(format!("the server's statistics were reset {} ago", ago(days))),
        _ => None,
    }
}

/// How the table is copied.
pub(super) fn choose(known: &Known<'_>) -> Choice {
    let facts = known.facts;
    let mut doubts = Vec::new();
    let key = usable_key(known);
    let watermark = usable_watermark(known, &mut doubts);
    let (mode, reason) = match (key, &watermark) {
        _ if !needs_a_look(facts) => (Mode::Snapshot, format!("fewer than {} rows are copied whole", grouped(SMALL))),
        (None, _) => (Mode::Snapshot, no_key(known)),
        (Some(_), None) => (Mode::Snapshot, "no column says when the database took a row".to_owned()),
        (Some(_), Some(candidate)) => weigh(facts, candidate),
    };
    let mut choice = Choice {
        mode,
        watermark: None,
        key: Vec::new(),
        key_reason: String::new(),
        on_conflict: OnConflict::Nothing,
        window: None,
        reasons: vec![seen(known), format!("{}: {reason}", mode.as_str())],
        doubts: Vec::new(),
    };
    match (mode, key, watermark) {
        (Mode::Incremental, Some(key), Some(candidate)) => {
            choice.doubts = doubts;
            fill(&mut choice, known, key, &candidate);
        }
        _ => doubt_snapshot(&mut choice, facts, doubts),
    }
    if known.server.standby {
        choice.doubts.push("a standby does not count updates and deletes: look at the primary's".to_owned());
    } else if !facts.counters.any() && facts.rows.at_least() > 0 {
        choice.doubts.push("nothing was written since counting began: updates and deletes are not known".to_owned());
    } else if let Some(why) = thin_evidence(facts).filter(|_| mode == Mode::Incremental) {
        let then = match choice.on_conflict {
            OnConflict::Update => "so `on_conflict = \"update\"` was taken; rows that are deleted stay in bronze",
            OnConflict::Nothing | OnConflict::Append => {
                "and no column moves with them: if rows change or go, take mode \"snapshot\", or bronze keeps them as they \
                 were first"
            }
        };
        choice.doubts.push(format!("{why}, so 0 updates say little, {then}"));
    }
    choice
}

/// More than a hundredth of the rows.
fn is_common(count: u64, facts: &TableFacts) -> bool {
    let base = match facts.rows.at_least() {
        u64::MAX => facts.counters.inserted,
        rows => rows.max(facts.counters.inserted),
    };
    count.saturating_mul(100) > base.max(1)
}

fn weigh(facts: &TableFacts, candidate: &Candidate) -> (Mode, String) {
    let history = facts.schema.kind == RelationKind::Hypertable;
    let counters = facts.counters;
    if is_common(counters.deleted, facts) && !history {
        (Mode::Snapshot, format!("{} seen, and no watermark sees a delete", counted(counters.deleted, "delete")))
    } else if is_common(counters.updated, facts) && !candidate.moves {
        (Mode::Snapshot, format!("{} seen, and no column moves with them", counted(counters.updated, "update")))
    } else if history {
        (Mode::Incremental, "a hypertable is history".to_owned())
    } else if candidate.moves {
        (Mode::Incremental, "large, with a key and a column that moves when a row changes".to_owned())
    } else {
        (Mode::Incremental, "large, appended to, with a key and a time of insertion".to_owned())
    }
}

fn fill(choice: &mut Choice, known: &Known<'_>, key: &UniqueKey, candidate: &Candidate) {
    let counters = known.facts.counters;
    choice.key.clone_from(&key.columns);
    choice.key_reason = if key.primary { "primary key".to_owned() } else { format!("unique index `{}`", key.name) };
    choice.on_conflict = if candidate.moves { OnConflict::Update } else { OnConflict::Nothing };
    choice.watermark = Some(Watermark {
        column: candidate.column.clone(),
        reason: if candidate.stamped_by.is_empty() { "by its name".to_owned() } else { candidate.stamped_by.clone() },
        zone: zone(candidate, known.server),
    });
    doubt_watermark(choice, known, candidate);
    if counters.updated > 0 && !candidate.moves {
        choice.doubts.push(format!(
            "{} seen, and no column moves with them: bronze keeps the rows as they were first",
            counted(counters.updated, "update")
        ));
    }
    if counters.deleted > 0 {
        choice.doubts.push(format!(
            "{} seen: such rows stay in bronze; take mode \"snapshot\" if they must go",
            counted(counters.deleted, "delete")
        ));
    }
    if known.facts.subscribed {
        choice.doubts.push(
            "logical replication writes this table with the publisher's times: better copy from the publisher"
                .to_owned(),
        );
    }
    choice.window = window(known, &candidate.column);
}

fn doubt_watermark(choice: &mut Choice, known: &Known<'_>, candidate: &Candidate) {
    let (name, table) = (quote_ident(&candidate.column), known.facts.schema.table.sql());
    match candidate.trust {
        Trust::Name => choice.doubts.push(format!(
            "nothing in the database stamps {name}: if writers put in earlier times, only the late-row sweep finds such \
             rows; `alter table {table} alter column {name} set default now();`"
        )),
        Trust::StampedReported => choice.doubts.push(format!(
            "{name} has a default, but sounds like a time that a device or a person reports: a writer that fills it \
             itself breaks the watermark"
        )),
        Trust::Default | Trust::Trigger => {}
    }
    if candidate.moves && !candidate.kept {
        choice.doubts.push(format!("no trigger moves {name}: every UPDATE must set it, or its change is not copied"));
    }
    match known.reach.get(&candidate.column).and_then(|reach| reach.unreachable) {
        None => {
            choice.doubts.push(format!("looking for NULL and infinity in {name} took too long; a run refuses them"))
        }
        Some(_) if !candidate.not_null => choice.doubts.push(format!(
            "{name} may be NULL, and a run refuses such rows; `alter table {table} alter column {name} set not null;`"
        )),
        Some(_) => {}
    }
    if !candidate.indexed {
        choice.doubts.push(format!(
            "no index leads with {name}, so each run reads the whole table; `create index concurrently on {table} ({name});`"
        ));
    }
    if choice.watermark.as_ref().is_some_and(|watermark| matches!(watermark.zone, Some((_, true)))) {
        choice.doubts.push(format!(
            "{name} has no time zone; the one below is what `show timezone` says to a session that sets none"
        ));
    }
}

fn doubt_snapshot(choice: &mut Choice, facts: &TableFacts, doubts: Vec<String>) {
    let rows = facts.rows.at_least();
    if rows >= SMALL {
        // Why no column served matters only where the table is worth a watermark.
        choice.doubts = doubts;
    }
    if rows >= LARGE {
        choice.doubts.push(format!("{} are copied by every run", facts.rows));
    }
    if rows == 0 {
        choice.doubts.push("there are no rows yet: look again when there are, it may become history".to_owned());
    }
}

/// The primary key, else the first unique index that refuses NULL everywhere, whose columns are copied as they are.
fn usable_key<'a>(known: &Known<'a>) -> Option<&'a UniqueKey> {
    known.facts.schema.keys.iter().find(|key| {
        let fine = |name: &String| {
            let column = known.facts.schema.column(name);
            column.is_some_and(|column| column.not_null && !column.generated) && !known.cast.contains(name)
        };
        key.unusable.is_none() && !key.columns.is_empty() && key.columns.iter().all(fine)
    })
}

fn no_key(known: &Known<'_>) -> String {
    match known.facts.schema.keys.first() {
        None => "no primary key and no unique index".to_owned(),
        Some(key) => {
            let why = key.unusable.as_deref().unwrap_or("a column of it is not copied as it is, or may be NULL");
            format!("no key that can serve: of `{}`, {why}", key.name)
        }
    }
}

/// The best candidate whose values all lie in some window, and whose zone is known.
fn usable_watermark(known: &Known<'_>, doubts: &mut Vec<String>) -> Option<Candidate> {
    candidates(known.facts, may_change(known.facts)).into_iter().find(|candidate| {
        let reach = known.reach.get(&candidate.column).copied().unwrap_or_default();
        if reach.unreachable == Some(true) {
            doubts.push(format!("`{}` was no watermark: it is NULL or infinity in some rows", candidate.column));
            return false;
        }
        let zoned = candidate.form == 0 || zone(candidate, known.server).is_some();
        if !zoned {
            doubts.push(format!(
                "`{}` was no watermark: it has no time zone, and the server's `{}` is no IANA name",
                candidate.column, known.server.timezone
            ));
        }
        zoned
    })
}

fn zone(candidate: &Candidate, server: &ServerFacts) -> Option<(String, bool)> {
    match candidate {
        Candidate { form: 0, .. } => None,
        Candidate { utc: true, .. } => Some(("UTC".to_owned(), false)),
        _ => TimeZone::get(&server.timezone).ok().map(|_| (server.timezone.clone(), true)),
    }
}

/// A slice of history that makes files of a sensible size; a day where days are full, or where nobody knows.
fn window(known: &Known<'_>, column: &str) -> Option<(&'static str, String)> {
    let days = known.reach.get(column).and_then(|reach| reach.age_days).and_then(|days| u64::try_from(days).ok())?;
    let rows = known.facts.rows.at_least();
    if rows == u64::MAX || days < 2 {
        return None;
    }
    let per_day = rows / days;
    let reason = format!("about {} rows a day, {} days back", grouped(per_day), grouped(days));
    match ROWS_PER_FILE / per_day.max(1) {
        0..7 => None,
        7..30 => Some(("7d", reason)),
        _ => Some(("30d", reason)),
    }
}

fn seen(known: &Known<'_>) -> String {
    let counters = known.facts.counters;
    let since = known.server.counted_since.as_ref().map(|day| format!(" since {day}")).unwrap_or_default();
    format!(
        "{}; seen{since}: {}, {}, {}",
        known.facts.rows,
        counted(counters.inserted, "insert"),
        counted(counters.updated, "update"),
        counted(counters.deleted, "delete")
    )
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
