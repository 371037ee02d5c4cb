//! The watermark rows, `extract_watermarks`: one row a table.

use futures_util::future::try_join_all;
use futures_util::try_join;
use tokio_postgres::types::{Json, Type};
use tokio_postgres::{GenericClient, Row};

use super::{Control, Params, json, value};
use crate::config::Mode;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{BronzeId, Fate, Member, Origin};
use crate::plan::LoadPlan;
use crate::record::{Accounting, Commit, RunRecord, TableState, Upload};
use crate::run::{Routing, RunId, RunKind};
use crate::watermark::{Timestamp, Undrained};

/// The columns of a watermark row that make up a [`TableState`].
pub(super) const STATE: &str = "last_extracted_at, last_loaded_at, last_run_id, snapshot_xmin, read_high, \
     source_system_identifier, source_timeline, source_clock, undrained, origin, bronze, delivered, relations, newest_run_id";

/// A watermark row, held until the transaction ends.
pub(crate) struct Held {
    /// What the run is made for.
    pub(crate) kind: RunKind,
    state: TableState,
    /// The bronze table that is there.
    bronze: Option<BronzeId>,
}

impl Held {
    /// The newest run whose rows are in bronze.
    pub(crate) const fn newest(&self) -> Option<RunId> {
        self.state.newest_run_id
    }

    /// Whether the row names from now on the bronze table that is there.
    fn takes_it(&self, commit: &Commit) -> bool {
        commit.becomes.is_some() || commit.whole || self.state.bronze.is_none() || self.state.bronze == self.bronze
    }
}

/// What a run brought to bronze.
#[derive(Clone, Copy)]
pub(crate) enum Brought<'a> {
    /// Rows, counted, and the route that they took.
    Rows(&'a Accounting, Option<&'a Routing>),
    /// It found none, and has no CSV.
    Nothing(&'a Upload),
}

impl Control {
    /// The watermark row, as it is.
    ///
    /// # Errors
    /// `Contract` if there is none; `Data` if its watermark is NULL.
    pub(crate) async fn state(&self, client: &impl GenericClient, table: &str) -> Result<TableState> {
        let sql = format!("select {STATE} from {} where table_name = $1", self.watermarks());
        let rows = self.ask(client, &sql, &[(&table, Type::TEXT)]).await?;
        let state = rows.first().map(table_state).transpose()?.ok_or_else(|| no_row(table))?;
        if state.last_extracted_at.is_none() {
            return Err(Error::new(ErrorKind::Data, format!("table `{table}`: the watermark is NULL")).with_hint(format!(
                "in the target: update {} set last_extracted_at = '2000-01-01T00:00:00Z' where table_name = {};\nthe next \
                 run reads everything again, rows that are there already are not doubled",
                self.watermarks(),
                crate::schema::quote_literal(table)
            )));
        }
        Ok(state)
    }

    /// Writes down for people who works on the table.
    pub(crate) async fn take(&self, client: &impl GenericClient, table: &str) -> Result<()> {
        let sql = format!(
            "update {} set lease_holder = $2, lease_since = pg_catalog.clock_timestamp() where table_name = $1",
            self.watermarks()
        );
        self.ask(client, &sql, &[(&table, Type::TEXT), (&self.host, Type::TEXT)]).await.map(drop)
    }

    /// Takes that back, unless somebody else has written since.
    pub(crate) async fn give(&self, client: &impl GenericClient, table: &str) -> Result<()> {
        let sql = format!(
            "update {} set lease_holder = null, lease_since = null where table_name = $1 and lease_holder = $2",
            self.watermarks()
        );
        self.ask(client, &sql, &[(&table, Type::TEXT), (&self.host, Type::TEXT)]).await.map(drop)
    }

    /// Who works on the table, and since when, as far as is written.
    pub(crate) async fn holder(&self, client: &impl GenericClient, table: &str) -> Result<Option<(String, Timestamp)>> {
        let sql = format!(
            "select lease_holder, lease_since from {} where table_name = $1 and lease_holder is not null \
             and lease_since is not null",
            self.watermarks()
        );
        let rows = self.ask(client, &sql, &[(&table, Type::TEXT)]).await?;
        Ok(rows.first().map(|row| (row.get(0), row.get(1))))
    }

    /// Holds the watermark row until the transaction ends, so that loads of one table come one by one.
    ///
    /// # Errors
    /// `Locked` if it is not as the load expects it.
    pub(crate) async fn hold(
        &self,
        client: &impl GenericClient,
        load: &LoadPlan,
        run_id: RunId,
        expected: &TableState,
    ) -> Result<Held> {
        self.may_identify(client).await?;
        // Polled, and so sent, in this order: the row is held before the rest is looked at.
        let (row, bronze) = try_join!(self.lock_state(client, load, run_id, ""), self.bronze_id(client, &load.target))?;
        let (state, kind) = row.ok_or_else(|| no_row(&load.table))?;
        let state = unmoved(&load.table, state, expected)?;
        self.refuse_lost(client, load, Held { kind, state, bronze }).await
    }

    /// Refuses a load that would follow rows which are gone. Bronze is looked at before a run begins; somebody may have emptied
    /// it, or made it anew, between two of its windows, and the row would name what is there now.
    async fn refuse_lost(&self, client: &impl GenericClient, load: &LoadPlan, held: Held) -> Result<Held> {
        let follows = matches!(held.kind, RunKind::Run | RunKind::File)
            && load.mode != Mode::Snapshot
            && held.state.last_run_id.is_some();
        let both = held.state.bronze.as_ref().zip(held.bronze.as_ref());
        let Some((then, now)) = both.filter(|(then, now)| follows && then != now) else { return Ok(held) };
        let fate = then.fate(now, self.is_empty(client, &load.target).await?);
        if !fate.lost_rows() {
            return Ok(held);
        }
        let what = match fate {
            Fate::Emptied | Fate::RestoredEmpty => "was emptied",
            _ => "is another table than before",
        };
        let (table, target) = (&load.table, &load.target);
        Err(Error::new(
            ErrorKind::Contract,
            format!("table `{table}`: {target} {what}: rows that were loaded are gone"),
        )
        .with_hint(format!("nothing was loaded by this run; `dwh check {table}` tells the ways back")))
    }

    /// The same without waiting: `None` if another transaction holds the row.
    ///
    /// # Errors
    /// As [`Control::hold`].
    pub(crate) async fn try_hold(
        &self,
        client: &impl GenericClient,
        load: &LoadPlan,
        run_id: RunId,
        expected: &TableState,
    ) -> Result<Option<Held>> {
        let Some((state, kind)) = self.lock_state(client, load, run_id, "skip locked").await? else { return Ok(None) };
        let state = unmoved(&load.table, state, expected)?;
        let bronze = self.bronze_id(client, &load.target).await?;
        self.refuse_lost(client, load, Held { kind, state, bronze }).await.map(Some)
    }

    /// The watermark row, locked, and what the run is made for; `None` if there is none, or `wait` says not to wait for it.
    /// A run that is not in the log is taken for the ordinary thing, and then it cannot become `loaded`.
    ///
    /// The chunks of a resync leave the row as it is, so several may be loaded at a time.
    async fn lock_state(
        &self,
        client: &impl GenericClient,
        load: &LoadPlan,
        run_id: RunId,
        wait: &str,
    ) -> Result<Option<(TableState, RunKind)>> {
        let how = if load.apart { "share" } else { "update" };
        let sql = format!(
            "select {STATE}, (select kind from {} where run_id = $2) as kind from {} where table_name = $1 for {how} {wait}",
            self.log(),
            self.watermarks()
        );
        let rows = self.ask(client, &sql, &[(&load.table, Type::TEXT), (&run_id.0, Type::INT8)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let kind = value::<Option<&str>>(row, "kind")?.map_or(Ok(RunKind::Run), RunKind::parse)?;
        Ok(Some((table_state(row)?, kind)))
    }

    /// Rows are merged: the run becomes `loaded`, and the watermark row what the load makes of it.
    pub(crate) async fn settle(
        &self,
        client: &impl GenericClient,
        load: &LoadPlan,
        commit: &Commit,
        held: Held,
        brought: Brought<'_>,
    ) -> Result<TableState> {
        let none = Accounting::default();
        let counts = match brought {
            Brought::Rows(counts, _) => counts,
            Brought::Nothing(_) => &none,
        };
        let own = commit.of_run(counts).ok_or_else(|| not_new(load))?;
        let brought = match brought {
            Brought::Rows(_, routing) => Brought::Rows(&own, routing),
            nothing @ Brought::Nothing(_) => nothing,
        };
        let bronze = match load.mode {
            Mode::Incremental if counts.staged == 0 && counts.removed == 0 => held.bronze.clone(),
            // Afterwards: a truncate gives the table another file.
            _ => self.bronze_id(client, &load.target).await?,
        };
        if load.apart {
            self.ended(client, commit.run_id, brought, bronze.as_ref()).await?;
            return Ok(held.state);
        }
        let emptied = counts.removed > 0 && self.is_empty(client, &load.target).await?;
        let takes_it = held.takes_it(commit);
        let brings_rows = counts.staged > 0 && held.kind != RunKind::Keys;
        let old = held.state;
        let is_newest = !load.older && held.kind != RunKind::Replay && !old.is_newer_than(commit.run_id);
        let newest = commit.newest.unwrap_or(commit.run_id);
        let moves = commit.becomes.is_some();
        let new = commit.becomes.clone().unwrap_or_else(|| old.clone());
        let state = TableState {
            last_extracted_at: new.last_extracted_at.or(old.last_extracted_at),
            last_run_id: if moves { Some(commit.run_id) } else { old.last_run_id },
            newest_run_id: if is_newest { Some(newest) } else { old.newest_run_id },
            // A table that never got a row, or whose last one was removed, has none to lose.
            bronze: match takes_it && (old.bronze.is_some() || brings_rows) {
                true if emptied => None,
                true => bronze.clone(),
                false => old.bronze,
            },
            relations: commit.relations.clone().or(new.relations),
            ..new
        };
        let rows = (own.inserted + own.updated).cast_signed();
        self.ended_together(client, commit, brought, bronze.as_ref()).await?;
        // Polled, and so sent, in this order.
        let (_, state) = try_join!(
            self.ended(client, commit.run_id, brought, bronze.as_ref()),
            self.write(client, &load.table, &state, moves.then_some(rows))
        )?;
        Ok(state)
    }

    /// The run becomes `loaded`.
    async fn ended(
        &self,
        client: &impl GenericClient,
        run_id: RunId,
        brought: Brought<'_>,
        bronze: Option<&BronzeId>,
    ) -> Result<RunRecord> {
        match brought {
            Brought::Rows(counts, routing) => self.loaded(client, run_id, counts, routing, bronze).await,
            Brought::Nothing(upload) => self.loaded_nothing(client, upload, bronze).await,
        }
    }

    /// The other runs of the commit become `loaded`. All are sent before an answer is waited for.
    async fn ended_together(
        &self,
        client: &impl GenericClient,
        commit: &Commit,
        brought: Brought<'_>,
        bronze: Option<&BronzeId>,
    ) -> Result<()> {
        let Brought::Rows(_, routing) = brought else { return Ok(()) };
        let ended = commit.together.iter().map(|(run_id, rows)| async move {
            self.loaded(client, *run_id, &Accounting::of_new(*rows), routing, bronze).await
        });
        try_join_all(ended).await.map(drop)
    }

    /// Sets the watermark row back to the seed.
    pub(crate) async fn begin_anew(
        &self,
        client: &impl GenericClient,
        table: &str,
        expected: &TableState,
    ) -> Result<TableState> {
        let sql = format!("select {STATE} from {} where table_name = $1 for update", self.watermarks());
        let row = self.ask(client, &sql, &[(&table, Type::TEXT)]).await?;
        let state = row.first().map(table_state).transpose()?.ok_or_else(|| no_row(table))?;
        let state = unmoved(table, state, expected)?;
        let seed = TableState {
            last_extracted_at: Some(Timestamp::SEED),
            newest_run_id: state.newest_run_id,
            ..TableState::default()
        };
        self.write(client, table, &seed, None).await
    }

    /// Writes the row and returns it; `rows` that were loaded are loaded now.
    async fn write(
        &self,
        client: &impl GenericClient,
        table: &str,
        state: &TableState,
        rows: Option<i64>,
    ) -> Result<TableState> {
        let sql = format!(
            "update {} set last_extracted_at = $2, last_run_id = $3, snapshot_xmin = $4, read_high = $5, \
             source_system_identifier = $6, source_timeline = $7, source_clock = $8, undrained = $9, origin = $10, \
             bronze = $11, delivered = $12, relations = $13, newest_run_id = $14, \
             rows_loaded_last_run = coalesce($15, rows_loaded_last_run), \
             last_loaded_at = case when $15 is null then last_loaded_at else pg_catalog.clock_timestamp() end \
             where table_name = $1 returning {STATE}",
            self.watermarks()
        );
        let params: Params<'_> = &[
            (&table, Type::TEXT),
            (&state.last_extracted_at, Type::TIMESTAMPTZ),
            (&state.last_run_id.map(|id| id.0), Type::INT8),
            (&state.snapshot_xmin.map(u64::cast_signed), Type::INT8),
            (&state.read_high, Type::TIMESTAMPTZ),
            (&state.system_identifier, Type::TEXT),
            (&state.timeline, Type::INT8),
            (&state.source_clock, Type::TIMESTAMPTZ),
            (&state.undrained.as_ref().map(Json), Type::JSONB),
            (&state.origin.as_ref().map(Json), Type::JSONB),
            (&state.bronze.as_ref().map(Json), Type::JSONB),
            (&state.columns.as_ref().map(Json), Type::JSONB),
            (&state.relations.as_ref().map(Json), Type::JSONB),
            (&state.newest_run_id.map(|id| id.0), Type::INT8),
            (&rows, Type::INT8),
        ];
        self.ask(client, &sql, params).await?.first().map_or_else(|| Err(no_row(table)), table_state)
    }
}

/// The row, if it still is where it was.
fn unmoved(table: &str, state: TableState, expected: &TableState) -> Result<TableState> {
    let place = |state: &TableState| (state.last_extracted_at, state.last_run_id, state.newest_run_id);
    if place(&state) == place(expected) {
        return Ok(state);
    }
    let by = match state.newest_run_id.max(state.last_run_id) {
        Some(run) if Some(run) != expected.newest_run_id.max(expected.last_run_id) => format!("run {run}"),
        _ => "by hand".to_owned(),
    };
    Err(Error::new(ErrorKind::Locked, format!("table `{table}`: the watermark moved meanwhile ({by})"))
        .with_hint("nothing was loaded by this run; run it again, it goes on from the new watermark"))
}

fn not_new(load: &LoadPlan) -> Error {
    let (table, target) = (&load.table, &load.target);
    Error::new(ErrorKind::Data, format!("table `{table}`: of runs that are loaded together {target} had rows already"))
        .with_hint("nothing was changed; load their CSV files one by one")
}

fn no_row(table: &str) -> Error {
    Error::new(ErrorKind::Contract, format!("table `{table}` has no row in `extract_watermarks`"))
        .with_hint("run `dwh migrate`; it makes one for each table of the configuration")
}

/// A row of [`STATE`].
pub(super) fn table_state(row: &Row) -> Result<TableState> {
    Ok(TableState {
        last_extracted_at: value(row, "last_extracted_at")?,
        last_loaded_at: value(row, "last_loaded_at")?,
        last_run_id: value::<Option<i64>>(row, "last_run_id")?.map(RunId),
        snapshot_xmin: value::<Option<i64>>(row, "snapshot_xmin")?.map(i64::cast_unsigned),
        read_high: value(row, "read_high")?,
        system_identifier: value(row, "source_system_identifier")?,
        timeline: value(row, "source_timeline")?,
        source_clock: value(row, "source_clock")?,
        undrained: json::<Undrained>(row, "undrained")?,
        origin: json::<Origin>(row, "origin")?,
        bronze: json::<BronzeId>(row, "bronze")?,
        columns: json::<Vec<String>>(row, "delivered")?,
        relations: json::<Vec<Member>>(row, "relations")?,
        newest_run_id: value::<Option<i64>>(row, "newest_run_id")?.map(RunId),
    })
}
