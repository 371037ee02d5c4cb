//! The three verification gates: before the first schedule, after the first run, and after a day of it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::about::About;
use super::words::Word;
use crate::blob::Folder;
use crate::catalog;
use crate::config::{Mode, TableConfig};
use crate::connect::{Connector, look, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::operate::shell::quoted;
use crate::operate::status::{ahead, stamped_ahead};
use crate::operate::{CheckReport, TableStatus, VerifyRequest};
use crate::pipeline::Pipeline;
use crate::run::RunState;
use crate::schema::quote_ident;
use crate::sink::{RunFilter, RunRecord};
use crate::watermark::{Micros, Timestamp};

const DAY: Micros = Micros::seconds(24 * 3600);

/// Runs of a table that the last gate looks back at.
const RUNS: u32 = 2_000;

/// Rows whose geometry is looked at.
const SHAPES: u32 = 100;

/// When a pipeline is looked at, and so what must have happened by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Gate {
    /// Before the first schedule: everything is in place, and one table went all the way.
    Deploy,
    /// After the first run: every table is loaded, bronze is what the source is, and every file is where it belongs.
    FirstRun,
    /// After a day, or two cadences: every table is fresh, nothing failed, rows arrive.
    Steady,
}

impl Gate {
    /// Every gate, in the order in which they are passed.
    pub const ALL: [Self; 3] = [Self::Deploy, Self::FirstRun, Self::Steady];

    /// The word on the command line and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::FirstRun => "first-run",
            Self::Steady => "steady",
        }
    }

    /// The gate of a word.
    ///
    /// # Errors
    /// `Config` for any other word.
    pub fn parse(word: &str) -> Result<Self> {
        let unknown = || Error::new(ErrorKind::Config, format!("`{word}` is no gate"));
        let found = Self::ALL.into_iter().find(|gate| gate.as_str() == word);
        found.ok_or_else(|| unknown().with_hint("the gates are `deploy`, `first-run` and `steady`"))
    }
}

impl Pipeline {
    /// Judges whether a gate is passed, each of its lines a finding; a failure means that it is not.
    ///
    /// `Deploy` is [`Pipeline::check`] with one more line. `FirstRun` reads every row up to the watermark once at each end,
    /// as [`Pipeline::verify`] does; `Steady` reads the run log alone. Only tables that match count, all of them if
    /// `tables` is empty.
    ///
    /// # Errors
    /// `Config` if no table matches. All else is a finding.
    pub async fn gate(&self, gate: Gate, tables: &[String]) -> Result<CheckReport> {
        let (this, known) = self.expanded_if_known().await;
        let chosen = match (this.config.select(tables), known) {
            // Whether there is such a table is not known.
            (Err(_), Err(error)) => return Err(error),
            (chosen, _) => chosen?,
        };
        let mut report = if gate == Gate::Deploy { self.check(tables).await? } else { CheckReport::default() };
        report.gate = Some(gate);
        let passed = match gate {
            Gate::Deploy => self.gate_deploy(&chosen, &mut report).await,
            Gate::FirstRun => self.gate_first_run(&chosen, &mut report).await,
            Gate::Steady => self.gate_steady(&chosen, tables, &mut report).await,
        };
        if let Err(error) = passed {
            // The full check has said the same of the target, and better.
            let known = report.findings.iter().any(|finding| finding.subject == "target" && finding.exit_code > 0);
            if !known {
                About::new("target", &mut report).error(Word::ControlSchema, &error);
            }
        }
        Ok(report)
    }

    /// Runs of a table in a state, the newest first.
    async fn runs_of(&self, table: &TableConfig, states: Vec<RunState>, limit: Option<u32>) -> Result<Vec<RunRecord>> {
        let filter = RunFilter { table: Some(table.name.clone()), states, limit, ..RunFilter::default() };
        self.sink.runs(&filter).await
    }

    async fn gate_deploy(&self, tables: &[&TableConfig], report: &mut CheckReport) -> Result<()> {
        for table in tables {
            if let Some(run) = self.runs_of(table, vec![RunState::Loaded], Some(1)).await?.first() {
                let message = format!("table `{}` went all the way in run {}", table.name, run.run_id);
                About::new("gate", report).ok(Word::ManualRun, message);
                return Ok(());
            }
        }
        let table = tables.first().map_or("TABLE", |table| &table.name);
        About::new("gate", report).fail(
            Word::ManualRun,
            ErrorKind::Contract,
            "no table has gone all the way yet",
            format!("dwh run {}", quoted(table)),
        );
        Ok(())
    }

    async fn gate_first_run(&self, tables: &[&TableConfig], report: &mut CheckReport) -> Result<()> {
        for table in tables {
            let loaded = self.runs_of(table, vec![RunState::Loaded], None).await?;
            let mut about = About::table(&table.name, report);
            let Some(newest) = loaded.first() else {
                about.fail(
                    Word::LoadedRun,
                    ErrorKind::Contract,
                    "it was never loaded",
                    format!("dwh run {}", quoted(&table.name)),
                );
                continue;
            };
            about.ok(Word::LoadedRun, format!("run {} is loaded", newest.run_id));
            self.parity(table, &mut about).await;
            let looked = self.shapes(table, &mut about).await;
            about.unless(Word::Geometry, looked);
            let looked = self.files(table, &loaded, &mut about).await;
            about.unless(Word::Exports, looked);
        }
        Ok(())
    }

    /// Counts and contents at both ends, rows in flight apart.
    async fn parity(&self, table: &TableConfig, about: &mut About<'_>) {
        let mut request = VerifyRequest { limit: 0, ..VerifyRequest::default() };
        // By its name as it is, whatever the letters in it would mean in a pattern.
        request.tables = vec![table.name.clone()];
        let compared = self.verify(&request).await;
        let found = match &compared {
            Ok(report) => report.tables.iter().find(|found| found.table == table.name),
            Err(error) => return about.error(Word::RowCount, error),
        };
        let Some(found) = found else { return };
        let remedy = format!("dwh verify {} names the keys, and docs/verify.md what mends each", quoted(&table.name));
        if let Some(error) = &found.error {
            return about.fail(Word::RowCount, ErrorKind::Data, error.message.clone(), error.hint.clone());
        }
        if let Some(why) = &found.not_compared {
            return about.fail(Word::RowCount, ErrorKind::Data, "nothing was compared", why.clone());
        }
        let counts = format!("{} rows in the source, {} in bronze", found.rows_source, found.rows_bronze);
        let in_flight = match found.in_flight {
            0 => String::new(),
            rows => format!(", {rows} in flight"),
        };
        if found.differences() == 0 {
            about.ok(Word::RowCount, format!("{counts}{in_flight}, all alike"));
        } else {
            let (missing, extra, different) = (found.missing, found.extra, found.different);
            let message = format!("{counts}{in_flight}: {missing} missing, {extra} extra, {different} different");
            about.fail(Word::RowCount, ErrorKind::Data, message, remedy);
        }
    }

    /// That bronze holds the source's geometry is a part of the comparison; here it is looked at for itself.
    async fn shapes(&self, table: &TableConfig, about: &mut About<'_>) -> Result<()> {
        let Some(bronze) = self.sink.describe(&table.target).await? else { return Ok(()) };
        let target = Connector::to_target(&self.config.target, &self.config.environment)?.connect().await?;
        for column in bronze.columns.iter().filter(|column| column.geometry) {
            let (name, relation) = (quote_ident(&column.name), bronze.table.sql());
            // The functions live in the schema of the type; `geography` has no test of its own.
            let schema = look(&target, catalog::schema_of_extension(&target, "postgis")).await?;
            let Some(schema) = schema else { continue };
            let schema = quote_ident(&schema);
            let sql = format!(
                "select count(*), count(*) filter (where {schema}.st_isvalid(g::{schema}.geometry)) from \
                 (select {name} as g from {relation} where {name} is not null limit {SHAPES}) s"
            );
            let row = look(&target, async { target.query_typed_one(&sql, &[]).await.map_err(sort) }).await?;
            let (seen, valid): (i64, i64) = (row.get(0), row.get(1));
            let message = format!("{valid} of {seen} geometries of `{}` that were looked at are valid", column.name);
            if valid == seen {
                about.ok(Word::Geometry, message);
            } else {
                about.warn(
                    Word::Geometry,
                    message,
                    format!("in the source, if its own are valid there `dwh verify` tells: select * from {} where not st_isvalid({name});",
                        table.relation.as_ref().map_or_else(|| relation.clone(), crate::schema::TableRef::sql)),
                );
            }
        }
        Ok(())
    }

    /// Every loaded file lies in `processed/`, and none in `exports/`.
    async fn files(&self, table: &TableConfig, loaded: &[RunRecord], about: &mut About<'_>) -> Result<()> {
        let waiting = self.keys(table, Folder::Exports).await?;
        match waiting.iter().filter(|key| key.is_csv()).count() {
            0 => about.ok(Word::Exports, "exports/ is empty"),
            files => about.fail(
                Word::Exports,
                ErrorKind::Data,
                format!("{files} CSV in exports/, where only what is not loaded yet belongs"),
                "dwh recover",
            ),
        }
        let kept = self.keys(table, Folder::Processed).await?;
        let names: BTreeSet<&str> = kept.iter().map(crate::blob::BlobKey::file_name).collect();
        let name_of =
            |run: &RunRecord| -> Option<String> { Some(run.csv_path.as_deref()?.rsplit('/').next()?.to_owned()) };
        let oldest = loaded.iter().filter(|run| name_of(run).is_some_and(|name| names.contains(name.as_str())));
        let oldest = oldest.map(|run| run.run_id).min();
        // What retention has removed is older than all that is left.
        let pruned = |run: &RunRecord| {
            let keeps_all = self.config.retention.as_ref().is_none_or(|retention| retention.processed.is_none());
            !keeps_all && oldest.is_none_or(|oldest| run.run_id < oldest)
        };
        let missing: Vec<String> = loaded
            .iter()
            .filter(|run| !pruned(run))
            .filter_map(|run| Some((run, name_of(run)?)))
            .filter(|(_, name)| !names.contains(name.as_str()))
            .map(|(run, _)| run.run_id.to_string())
            .collect();
        if missing.is_empty() {
            about.ok(
                Word::Processed,
                format!(
                    "{} files in processed/, none is missing",
                    names.iter().filter(|name| name.contains(".csv") && !name.ends_with(".json")).count()
                ),
            );
        } else {
            about.fail(
                Word::Processed,
                ErrorKind::Data,
                format!("processed/ lacks the CSV of run {}", missing.join(", ")),
                "dwh recover --dry-run tells where they are",
            );
        }
        Ok(())
    }

    async fn gate_steady(&self, tables: &[&TableConfig], globs: &[String], report: &mut CheckReport) -> Result<()> {
        let status = self.status(globs).await?;
        let now = status.now;
        for (table, status) in tables.iter().zip(&status.tables) {
            let runs = self.runs_of(table, vec![RunState::Loaded], Some(RUNS)).await?;
            let mut about = About::table(&table.name, report);
            self.history(&runs, now, &mut about);
            fresh(status, &mut about);
            match status.failures_last_24h {
                0 => about.ok(Word::RecentFailures, "no run failed in the last 24 h"),
                runs => about.fail(
                    Word::RecentFailures,
                    ErrorKind::Data,
                    format!("{runs} runs failed in the last 24 h and were not loaded since"),
                    format!("dwh runs --table {} --failed", quoted(&table.name)),
                ),
            }
            growth(table, status, &mut about);
        }
        Ok(())
    }

    /// Before that, nothing could have been late.
    fn history(&self, runs: &[RunRecord], now: Timestamp, about: &mut About<'_>) {
        let enough = Micros(DAY.0.min(self.config.project.cadence.0.saturating_mul(2)));
        let since = runs.last().map(|run| run.run_started_at);
        let early = |message: String, remedy: String, about: &mut About<'_>| {
            about.fail(Word::History, ErrorKind::Data, message, remedy);
        };
        match since.map(|since| now.since(since)) {
            Some(length) if length >= enough => about.ok(Word::History, format!("loaded for {length}")),
            Some(length) => early(
                format!("loaded for {length}: too early to tell"),
                format!("come back when its schedule has run for {enough}"),
                about,
            ),
            None => early("never loaded: too early to tell".into(), "dwh run, and a schedule for it".into(), about),
        }
    }
}

fn fresh(status: &TableStatus, about: &mut About<'_>) {
    let said = match status.lag_seconds {
        Some(_) if let Some(ahead) = ahead(status) => stamped_ahead(ahead),
        Some(lag) => {
            let (lag, limit) = (Micros::from_seconds(lag), Micros::from_seconds(status.max_lag_seconds));
            format!("last loaded {lag} ago; fresh is less than {limit}")
        }
        None => "never loaded".to_owned(),
    };
    if status.fresh {
        about.ok(Word::Fresh, said);
    } else {
        let remedy =
            format!("dwh run {}; then see that the schedule runs: `dwh runs --table {0}`", quoted(&status.table));
        about.fail(Word::Fresh, ErrorKind::Data, said, remedy);
    }
}

/// Rows of the last day, against what is expected. Tables that are read whole do not grow by what they load.
fn growth(table: &TableConfig, status: &TableStatus, about: &mut About<'_>) {
    let rows = status.rows_last_24h;
    let limits = (table.thresholds.min_rows_per_day, table.thresholds.max_rows_per_day);
    let said = format!("{rows} rows were loaded in the last 24 h");
    let remedy = format!("see whether the source has them: dwh verify {}", quoted(&table.name));
    match limits {
        (Some(least), _) if rows < least => {
            about.fail(Word::Growth, ErrorKind::Data, format!("{said}, at least {least} are expected"), remedy);
        }
        (_, Some(most)) if rows > most => {
            about.fail(Word::Growth, ErrorKind::Data, format!("{said}, at most {most} are expected"), remedy);
        }
        (None, _) if rows == 0 && table.mode == Mode::Incremental => about.warn(Word::Growth, said, remedy),
        _ => about.ok(Word::Growth, said),
    }
}
