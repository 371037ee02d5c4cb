//! `verify`: source against bronze, by counts and hashes per window, and key by key where those differ.
//!
//! Both sides are read in one snapshot each, bronze first, and cut at the watermark that was read before both: every row
//! at or below it that will ever be visible at the source was visible when bronze was loaded. Nothing is written.

mod blobs;
mod drill;
mod end;
mod files;
mod repair;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::config::{Mode, TableConfig};
use crate::connect::Connector;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Fate;
use crate::operate::shell::quoted;
use crate::pipeline::belongs::Conflict;
use crate::pipeline::describe::finite;
use crate::pipeline::failure::named;
use crate::pipeline::report::one_code;
use crate::pipeline::{CauseReport, ErrorReport, Event, Pipeline, WindowReport};
use crate::plan::{Compared, Cut, End, Hash, Plan};
use crate::schema::TableSchema;
use crate::sink::TableState;
use crate::watermark::{Timestamp, Window};

pub use blobs::BlobsReport;
use drill::Drill;
use end::{Session, Sum};
use repair::windows_of;
pub use repair::{RepairRequest, TableRepair};

/// What `verify` is asked for.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct VerifyRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// Only rows after this moment, in tables with a watermark.
    pub since: Option<Timestamp>,
    /// Only so many of a hundred windows, the same ones each time.
    pub sample_percent: u8,
    /// How many keys, and how many problems of files, are named for each table.
    pub limit: usize,
    /// Read the files in `processed/` too.
    pub blobs: bool,
}

impl VerifyRequest {
    /// All rows of the tables that match are compared.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

impl Default for VerifyRequest {
    fn default() -> Self {
        Self { tables: Vec::new(), since: None, sample_percent: 100, limit: 20, blobs: false }
    }
}

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// The source has it, bronze has not.
    Missing,
    /// Bronze has it, the source has not.
    Extra,
    /// Both have the key, with other values.
    Different,
}

impl Difference {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Different => "different",
        }
    }
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct KeyDifference {
    /// How.
    pub difference: Difference,
    /// Its key by column, as text; `row_md5` alone for a table without a key.
    pub key: BTreeMap<String, Option<String>>,
    /// The window that it was found in, `to` exclusive; `null` for a table that is compared whole.
    pub window: Option<WindowReport>,
}

/// One table of `verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TableVerify {
    /// The table's name in the configuration.
    pub table: String,
    /// How it is moved.
    pub mode: Mode,
    /// Whether rows were compared at all, if only none with none: without that nothing is known, and nothing passed.
    pub compared: bool,
    /// Why nothing was compared, and what to do.
    pub not_compared: Option<String>,
    /// What was compared; `null` for a table that is compared whole, or was not compared.
    pub range: Option<WindowReport>,
    /// When bronze was last loaded: what was deleted at the source since then is found as extra.
    pub loaded_at: Option<Timestamp>,
    /// Windows that hold rows at either end.
    pub windows: u64,
    /// Windows whose counts or hashes differ, rows in flight included.
    pub windows_differing: u64,
    /// Rows compared at the source.
    pub rows_source: u64,
    /// Rows compared in bronze.
    pub rows_bronze: u64,
    /// Rows that the source has and bronze has not.
    pub missing: u64,
    /// Rows that bronze has and the source has not.
    pub extra: u64,
    /// Rows with other values.
    pub different: u64,
    /// Rows that changed at the source since they were loaded; the next run brings them, so they are no difference.
    pub in_flight: u64,
    /// The first keys that differ, as many as were asked for.
    pub keys: Vec<KeyDifference>,
    /// Columns that bronze lacks and that the next run adds (`on_new_column = "add"`): they were not compared.
    #[serde(default)]
    pub columns_waiting: Vec<String>,
    /// The command that mends what differs; `null` if nothing does.
    pub remedy: Option<String>,
    /// What was repaired before these rows were compared, or would be; `null` if nothing differed or it was not asked for.
    pub repair: Option<TableRepair>,
    /// What the files in `processed/` are like, if that was asked for.
    pub blobs: Option<BlobsReport>,
    /// How long it took.
    pub seconds: f64,
    /// What kept it from being compared.
    pub error: Option<ErrorReport>,
}

impl TableVerify {
    /// Rows that differ.
    #[must_use]
    pub const fn differences(&self) -> u64 {
        self.missing + self.extra + self.different
    }

    fn new(table: &TableConfig) -> Self {
        Self {
            table: table.name.clone(),
            mode: table.mode,
            compared: false,
            not_compared: None,
            range: None,
            loaded_at: None,
            windows: 0,
            windows_differing: 0,
            rows_source: 0,
            rows_bronze: 0,
            missing: 0,
            extra: 0,
            different: 0,
            in_flight: 0,
            keys: Vec::new(),
            columns_waiting: Vec::new(),
            remedy: None,
            repair: None,
            blobs: None,
            seconds: 0.0,
            error: None,
        }
    }

    fn exit_code(&self) -> u8 {
        let found = self.differences() > 0 || self.blobs.as_ref().is_some_and(|blobs| blobs.problems_total > 0);
        match &self.error {
            Some(error) => error.exit_code,
            None if found || !self.compared => ErrorKind::Data.row().exit_code,
            None => 0,
        }
    }
}

/// What `verify` found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct VerifyReport {
    /// One entry a table.
    pub tables: Vec<TableVerify>,
    /// Why tables failed: each cause once, with the tables that it touched.
    #[serde(default)]
    pub causes: Vec<CauseReport>,
}

impl VerifyReport {
    /// 0 if all is equal; 4 if anything differs, or was not compared; 1 if tables could not be compared for different reasons.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        one_code(self.tables.iter().map(TableVerify::exit_code).filter(|code| *code > 0))
    }
}

impl Pipeline {
    /// Compares source and bronze up to the watermark, for the tables that match.
    ///
    /// Rows that are still on their way are no difference. Nothing is locked against a run.
    ///
    /// # Errors
    /// `Config` if no table matches, or none of its windows would be compared. What kept a single table from being
    /// compared stands in its report.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<VerifyReport> {
        if !(1..=100).contains(&request.sample_percent) {
            let given = format!("a sample of {} percent cannot be taken", request.sample_percent);
            return Err(Error::new(ErrorKind::Config, given).with_hint("ask for 1 to 100 percent"));
        }
        let tables = self.tables(&request.tables).await?;
        (self.observer)(&Event::TablesChosen { tables: tables.len() });
        let looks: Vec<_> = tables.iter().map(|table| self.verify_table(table, request)).collect();
        // Side by side, as many as may load at the same time: each has a session at both ends.
        let tables: Vec<TableVerify> =
            stream::iter(looks).buffered(self.config.target.connections.max(1)).collect().await;
        let causes = CauseReport::among(tables.iter().map(|one| (&one.table, &one.error)));
        Ok(VerifyReport { tables, causes })
    }

    async fn verify_table(&self, table: &TableConfig, request: &VerifyRequest) -> TableVerify {
        (self.observer)(&Event::TableStarted { table: table.name.clone() });
        let started = Instant::now();
        let mut found = TableVerify::new(table);
        let done = async {
            self.compare(table, request, &mut found).await?;
            self.look_at_files(table, request, &mut found).await
        };
        if let Err(error) = done.await {
            found.error = Some((&named(error, &table.name)).into());
        }
        found.seconds = started.elapsed().as_secs_f64();
        (self.observer)(&Event::TableFinished { table: table.name.clone() });
        found
    }

    async fn look_at_files(&self, table: &TableConfig, request: &VerifyRequest, found: &mut TableVerify) -> Result<()> {
        if request.blobs {
            found.blobs = Some(self.verify_blobs(table, request.limit).await?);
        }
        Ok(())
    }

    /// Returns the windows that differ.
    async fn compare(
        &self,
        table: &TableConfig,
        request: &VerifyRequest,
        found: &mut TableVerify,
    ) -> Result<Vec<Window>> {
        if table.mode == Mode::Files {
            return self.compare_files(table, found).await.map(|()| Vec::new());
        }
        let (source, target) = self.sessions(table).await?;
        // Before both snapshots: what is loaded meanwhile lies above it.
        let state = target.state(&self.config.target.control_schema).await?;
        let conflict = self.conflict(table, &state, None).await?;
        if let Some(found @ (Conflict::Stranger(_) | Conflict::Bronze(Fate::Dropped))) = &conflict {
            return Err(found.error(table, &state));
        }
        let (plan, bronze) = self.fit(table, &state).await?;
        plan.check_bronze(bronze.as_ref())?;
        let bronze =
            bronze.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("bronze has no table {}", table.target)))?;
        found.loaded_at = state.last_loaded_at;
        let cut = (table.mode == Mode::Incremental).then(|| Cut {
            low: request.since.unwrap_or(Timestamp::NEG_INFINITY),
            high: state.low(),
            sample_percent: request.sample_percent,
        });
        if let Some(why) = nothing_to_compare(table, &state, cut) {
            found.not_compared = Some(why);
            return Ok(Vec::new());
        }
        self.tell_waiting(&plan, &bronze, "is not compared, and the next run adds it");
        found.columns_waiting = plan.waiting.iter().map(|column| column.name.clone()).collect();
        let plan = plan.without_waiting();
        let key = key_of(&plan);
        found.range = cut.map(|cut| WindowReport { from: finite(cut.low), to: Some(cut.high) });
        let lost = conflict.is_some();
        let pair = Pair { plan: &plan, bronze: &bronze, key: &key, cut, lost, source, target };
        let differing = pair.compare(self, &state, request.limit, found).await?;
        found.compared = true;
        if found.differences() > 0 {
            found.remedy = Some(remedy(table, lost));
        }
        Ok(cut.map(|cut| windows_of(&plan, cut, &differing)).unwrap_or_default())
    }

    async fn sessions(&self, table: &TableConfig) -> Result<(Session, Session)> {
        let environment = &self.config.environment;
        let source = self.config.sources.get(&table.source).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("there is no source `{}`", table.source))
                .with_hint("add `[source.NAME]`, or name one that is there")
        })?;
        let source =
            Connector::patient(&format!("source `{}`", table.source), &source.url, environment, source.idle_timeout)?;
        let target = Connector::to_target(&self.config.target, environment)?;
        futures_util::try_join!(Session::open(&source, &table.name), Session::open(&target, &table.name))
    }
}

/// The command that mends what differs; where bronze `lost` all that was loaded, it is read anew.
fn remedy(table: &TableConfig, lost: bool) -> String {
    let verb = match table.mode {
        Mode::Incremental if lost => "reseed",
        Mode::Incremental => "verify --repair",
        Mode::Scd if lost => "rebuild --reset",
        Mode::Files if lost => "reseed",
        Mode::Files => return format!("dwh files reprocess '**' --table {}", quoted(&table.name)),
        Mode::Snapshot | Mode::Scd => "run",
    };
    format!("dwh {verb} {}", quoted(&table.name))
}

/// Why there is no row that both ends must have.
fn nothing_to_compare(table: &TableConfig, state: &TableState, cut: Option<Cut>) -> Option<String> {
    let name = quoted(&table.name);
    if state.last_loaded_at.is_none() {
        return Some(format!("it was never loaded: `dwh run {name}`"));
    }
    if state.low() == Timestamp::NEG_INFINITY {
        return Some(format!(
            "it is loaded, but its watermark is not set yet, so nobody knows which rows bronze must have: `dwh check {name}` \
             tells what holds the bound, and docs/safe-bound.md what to do"
        ));
    }
    cut.filter(|cut| cut.low >= cut.high).map(|cut| {
        format!(
            "the watermark is {}, and only rows after {} were asked for: take an earlier `--since`",
            cut.high, cut.low
        )
    })
}

/// What tells the rows apart: the configured key, or one of the source's own; empty if there is none.
fn key_of(plan: &Plan) -> Vec<String> {
    if !plan.table.key.is_empty() {
        return plan.table.key.clone();
    }
    let copied = |name: &String| plan.columns.iter().any(|column| column.column.name == *name);
    let usable = plan.source.keys.iter().find(|key| key.unusable.is_none() && key.columns.iter().all(copied));
    usable.map(|key| key.columns.clone()).unwrap_or_default()
}

/// Both ends of a table.
struct Pair<'a> {
    plan: &'a Plan,
    bronze: &'a TableSchema,
    key: &'a [String],
    cut: Option<Cut>,
    /// Bronze lost all that was loaded.
    lost: bool,
    source: Session,
    target: Session,
}

impl Pair<'_> {
    async fn compare(
        self,
        pipeline: &Pipeline,
        state: &TableState,
        limit: usize,
        found: &mut TableVerify,
    ) -> Result<BTreeSet<i64>> {
        let (plan, config) = (self.plan, pipeline.config());
        let lock_of = |end| Compared::new(end, plan, self.bronze, self.key, self.cut, None).map(|table| table.lock());
        // Bronze first: a row that left its window at the source in between is found above the watermark there.
        self.target.begin(lock_of(End::Bronze)?, config.target.lock_timeout).await?;
        let patience = config.sources.get(&plan.table.source).map_or(config.target.lock_timeout, |s| s.lock_timeout);
        self.source.begin(lock_of(End::Source)?, patience).await?;
        // A table that lost its rows is not loaded by the next run, so that none of them is on its way.
        let since = if self.lost { None } else { self.source.comparable_since(plan, state).await? };
        let (ours, theirs) = futures_util::try_join!(self.source.probe(), self.target.probe())?;
        let hash = Hash::of_both(ours, theirs);
        let mut cut = self.cut;
        let (at_source, in_bronze, ours, theirs) = loop {
            let at_source = Compared::new(End::Source, plan, self.bronze, self.key, cut, since)?;
            let in_bronze = Compared::new(End::Bronze, plan, self.bronze, self.key, cut, None)?;
            let (ours, theirs) =
                futures_util::try_join!(self.source.buckets(&at_source, hash), self.target.buckets(&in_bronze, hash))?;
            match &mut cut {
                // A table of few windows, none of which is in the sample: an equal of nothing would be no answer.
                Some(cut) if cut.sample_percent < 100 && ours.is_empty() && theirs.is_empty() => {
                    cut.sample_percent = 100
                }
                _ => break (at_source, in_bronze, ours, theirs),
            }
        };
        let buckets: BTreeSet<i64> = ours.keys().chain(theirs.keys()).copied().collect();
        let total = |sums: &BTreeMap<i64, Sum>| sums.values().map(|sum| sum.rows).sum();
        (found.rows_source, found.rows_bronze) = (total(&ours), total(&theirs));
        found.windows = buckets.len() as u64;
        let (pair, differing) = (&self, BTreeSet::new());
        let mut drill = Drill { pair, at_source: &at_source, in_bronze: &in_bronze, limit, found, differing };
        for bucket in buckets.into_iter().filter(|bucket| ours.get(bucket) != theirs.get(bucket)) {
            drill.found.windows_differing += 1;
            drill.bucket(bucket).await?;
        }
        let differing = drill.differing;
        self.source.end().await?;
        self.target.end().await?;
        Ok(differing)
    }
}
