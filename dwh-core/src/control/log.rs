//! The run log, `extract_runs`: one row a run, from `extracting` to `loaded` or `failed`.

use tokio_postgres::types::{Json, ToSql, Type};
use tokio_postgres::{GenericClient, Row};

use super::{Control, Params, json, place, value};
use crate::config::Mode;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::BronzeId;
use crate::plan::LoadPlan;
use crate::raw_file::RawFile;
use crate::record::{Accounting, Restore, RunFilter, RunRecord, Upload};
use crate::run::{Route, Routing, RunId, RunKind, RunState};
use crate::watermark::{SafeBound, Timestamp};

const RUN: &str = "run_id, table_name, run_started_at, run_finished_at, status, rows_extracted, rows_loaded, \
     rows_inserted, rows_updated, rows_identical, rows_different, rows_kept_newer, rows_removed, rows_marked, rows_unmarked, rows_late, route, route_reason, csv_path, error_message, error_code, mode, window_low, window_high, watermark, \
     bound, bytes, sha256, attempt, host, engine_version, _task_instance, kind, bronze, plan_sha256, file";

impl Control {
    /// A new row of the run log, `extracting`.
    pub(crate) async fn begin(
        &self,
        client: &impl GenericClient,
        table: &str,
        mode: Mode,
        kind: RunKind,
        task_instance: Option<&str>,
        dated: bool,
    ) -> Result<RunRecord> {
        let log = self.log();
        let started = if dated {
            format!(
                "greatest(pg_catalog.now(), (select run_started_at + interval '1 microsecond' from {log} where table_name = $1 \
                 order by run_id desc limit 1))"
            )
        } else {
            "pg_catalog.now()".to_owned()
        };
        let sql = format!(
            "insert into {log} (table_name, status, mode, host, engine_version, kind, _task_instance, run_started_at) \
             values ($1, 'extracting', $2, $3, $4, $5, $6, {started}) returning {RUN}"
        );
        let (mode, version) = (mode.as_str(), env!("CARGO_PKG_VERSION"));
        let params: Params<'_> = &[
            (&table, Type::TEXT),
            (&mode, Type::TEXT),
            (&self.host, Type::TEXT),
            (&version, Type::TEXT),
            (&kind.as_str(), Type::TEXT),
            (&task_instance, Type::TEXT),
        ];
        let rows = self.ask(client, &sql, params).await?;
        rows.first().map_or_else(|| Err(Error::new(ErrorKind::Internal, "run log: no row came back")), run_record)
    }

    /// A row of a run that the log has lost, under its old number; new runs are numbered above `above`.
    ///
    /// # Errors
    /// `Contract` if the number is taken.
    pub(crate) async fn restore(&self, client: &impl GenericClient, lost: &Restore) -> Result<RunRecord> {
        let sql = format!(
            "insert into {} (run_id, table_name, run_started_at, status, mode, kind, engine_version, csv_path, \
             rows_extracted, rows_late, bytes, sha256, window_low, window_high, watermark, bound, run_finished_at, \
             rows_loaded, rows_inserted, rows_identical, rows_different, rows_updated, rows_kept_newer, host, plan_sha256, file) overriding system value \
             select $1, $2, $3, case when $4 then 'loaded' else 'uploaded' end, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
             $14, $15, $16, case when $4 then pg_catalog.now() end, case when $4 then $9 end, case when $4 then $9 end, \
             case when $4 then 0 end, case when $4 then 0 end, case when $4 then 0 end, case when $4 then 0 end, $17, $18, $19 on conflict (run_id) do nothing returning {RUN}",
            self.log()
        );
        let upload = &lost.upload;
        let low = upload.window.map(|window| window.low).filter(|low| low.is_finite());
        let params: Params<'_> = &[
            (&upload.run_id.0, Type::INT8),
            (&lost.table, Type::TEXT),
            (&lost.run_started_at, Type::TIMESTAMPTZ),
            (&lost.loaded, Type::BOOL),
            (&lost.mode.as_str(), Type::TEXT),
            (&lost.kind.as_str(), Type::TEXT),
            (&lost.engine_version, Type::TEXT),
            (&upload.csv_path, Type::TEXT),
            (&upload.rows.cast_signed(), Type::INT8),
            (&upload.late_rows.cast_signed(), Type::INT8),
            (&upload.bytes.cast_signed(), Type::INT8),
            (&Some(&upload.sha256).filter(|hash| !hash.is_empty()), Type::TEXT),
            (&low, Type::TIMESTAMPTZ),
            (&upload.window.and_then(|window| window.high), Type::TIMESTAMPTZ),
            (&upload.window.map(|window| window.watermark), Type::TIMESTAMPTZ),
            (&upload.bound.as_ref().map(Json), Type::JSONB),
            (&self.host, Type::TEXT),
            (&upload.plan_sha256, Type::TEXT),
            (&upload.file.as_ref().map(Json), Type::JSONB),
        ];
        let rows = self.ask(client, &sql, params).await?;
        self.number_above(client, lost.above, false).await?;
        if let Some(row) = rows.first() {
            return run_record(row);
        }
        let filter = RunFilter { run_id: Some(upload.run_id), ..RunFilter::default() };
        let other = self.runs(client, &filter).await?.pop().map_or_else(String::new, |run| run.table_name);
        Err(Error::new(ErrorKind::Contract, format!("run {} is in the run log already, of table `{other}`", upload.run_id))
            .with_hint("the run log began anew beside older files: rebuild all tables, into an empty control schema or with `dwh rebuild --reset`"))
    }

    /// Moves the sequence of run numbers up to `above` if it is behind, and returns whether it was.
    pub(crate) async fn number_above(&self, client: &impl GenericClient, above: RunId, dry_run: bool) -> Result<bool> {
        let sequence = "(select pg_catalog.pg_get_serial_sequence($2, 'run_id')::pg_catalog.regclass as s) x";
        let behind = format!("select from {sequence} where coalesce(pg_catalog.pg_sequence_last_value(s), 0) < $1");
        let params: Params<'_> = &[(&above.0, Type::INT8), (&self.log(), Type::TEXT)];
        if self.ask(client, &behind, params).await?.is_empty() {
            return Ok(false);
        }
        if !dry_run {
            // A run that begins meanwhile must not draw a number between the look and the step: it waits.
            let lock = format!("lock table {} in share row exclusive mode", self.log());
            client.batch_execute(&lock).await.map_err(|error| self.sort(error))?;
            let raise = format!(
                "select pg_catalog.setval(s, $1) from {sequence} where coalesce(pg_catalog.pg_sequence_last_value(s), 0) < $1"
            );
            self.ask(client, &raise, params).await?;
        }
        Ok(true)
    }

    /// Removes rows of final runs.
    pub(crate) async fn forget(&self, client: &impl GenericClient, runs: &[RunId]) -> Result<u64> {
        let numbers: Vec<i64> = runs.iter().map(|run| run.0).collect();
        let sql = format!(
            "delete from {} where run_id = any ($1) and status in ('loaded', 'failed') returning run_id",
            self.log()
        );
        Ok(self.ask(client, &sql, &[(&numbers, Type::INT8_ARRAY)]).await?.len() as u64)
    }

    /// Moves a run to `next`, setting what `set` says; `$1` and `$2` are taken. `None`, and nothing is changed, if it may
    /// not go there.
    async fn transition(
        &self,
        client: &impl GenericClient,
        run_id: RunId,
        next: RunState,
        set: &str,
        more: Params<'_>,
    ) -> Result<Option<RunRecord>> {
        let before: Vec<&str> =
            RunState::ALL.into_iter().filter(|state| state.may_become(next)).map(RunState::as_str).collect();
        let sql = format!(
            "update {} set status = '{next}', {set} where run_id = $1 and status = any ($2) returning {RUN}",
            self.log()
        );
        let mut params: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&run_id.0, Type::INT8), (&before, Type::TEXT_ARRAY)];
        params.extend_from_slice(more);
        self.ask(client, &sql, &params).await?.first().map(run_record).transpose()
    }

    /// Why a run did not become `next`.
    pub(crate) async fn refusal(&self, client: &impl GenericClient, run_id: RunId, next: RunState) -> Result<Error> {
        let filter = RunFilter { run_id: Some(run_id), ..RunFilter::default() };
        Ok(match self.runs(client, &filter).await?.first() {
            Some(run) => Error::new(
                ErrorKind::Contract,
                format!("run {run_id} of table `{}` is `{}`, it cannot become `{next}`", run.table_name, run.status),
            )
            .with_hint("another process works on this run; `dwh runs` shows where it stands"),
            None => Error::new(ErrorKind::NotFound, format!("run {run_id} is not in the run log"))
                .with_hint("`dwh runs` lists the runs there are"),
        })
    }

    /// The run is about to read a file.
    pub(crate) async fn reads(&self, client: &impl GenericClient, run_id: RunId, file: &RawFile) -> Result<RunRecord> {
        let sql =
            format!("update {} set file = $2 where run_id = $1 and status = 'extracting' returning {RUN}", self.log());
        let params: Params<'_> = &[(&run_id.0, Type::INT8), (&Json(file), Type::JSONB)];
        self.ask(client, &sql, params).await?.first().map_or_else(
            || Err(Error::new(ErrorKind::Contract, format!("run {run_id} is not `extracting`"))),
            run_record,
        )
    }

    /// The CSV is complete.
    pub(crate) async fn uploaded(&self, client: &impl GenericClient, upload: &Upload) -> Result<Option<RunRecord>> {
        let set = "csv_path = $3, rows_extracted = $4, rows_late = $5, bytes = $6, sha256 = $7, window_low = $8, \
             window_high = $9, watermark = $10, bound = $11, plan_sha256 = $12, file = coalesce($13, file)";
        let low = upload.window.map(|window| window.low).filter(|low| low.is_finite());
        let high = upload.window.and_then(|window| window.high);
        let watermark = upload.window.map(|window| window.watermark);
        let more: Params<'_> = &[
            (&upload.csv_path, Type::TEXT),
            (&upload.rows.cast_signed(), Type::INT8),
            (&upload.late_rows.cast_signed(), Type::INT8),
            (&upload.bytes.cast_signed(), Type::INT8),
            (&upload.sha256, Type::TEXT),
            (&low, Type::TIMESTAMPTZ),
            (&high, Type::TIMESTAMPTZ),
            (&watermark, Type::TIMESTAMPTZ),
            (&upload.bound.as_ref().map(Json), Type::JSONB),
            (&upload.plan_sha256, Type::TEXT),
            (&upload.file.as_ref().map(Json), Type::JSONB),
        ];
        self.transition(client, upload.run_id, RunState::Uploaded, set, more).await
    }

    /// The load begins, once more if it failed before. What the manifest says fills what the log has not heard of.
    pub(crate) async fn loading(
        &self,
        client: &impl GenericClient,
        run_id: RunId,
        upload: Option<&Upload>,
    ) -> Result<Option<RunRecord>> {
        let set = "attempt = attempt + (status = 'failed')::int, run_finished_at = null, error_message = null, error_code = null, host = $3, \
             csv_path = coalesce(csv_path, $4), rows_extracted = coalesce(rows_extracted, $5), \
             rows_late = coalesce(rows_late, $6), bytes = coalesce(bytes, $7), sha256 = coalesce(sha256, $8), \
             window_low = case when watermark is null then $9 else window_low end, \
             window_high = case when watermark is null then $10 else window_high end, \
             watermark = coalesce(watermark, $11), bound = coalesce(bound, $12), plan_sha256 = coalesce(plan_sha256, $13), \
             file = coalesce($14, file)";
        let window = upload.and_then(|upload| upload.window);
        let count = |number: fn(&Upload) -> u64| upload.map(|upload| number(upload).cast_signed());
        let more: Params<'_> = &[
            (&self.host, Type::TEXT),
            (&upload.and_then(|upload| upload.csv_path.as_ref()), Type::TEXT),
            (&count(|upload| upload.rows), Type::INT8),
            (&count(|upload| upload.late_rows), Type::INT8),
            (&count(|upload| upload.bytes), Type::INT8),
            (&upload.map(|upload| &upload.sha256).filter(|hash| !hash.is_empty()), Type::TEXT),
            (&window.map(|window| window.low).filter(|low| low.is_finite()), Type::TIMESTAMPTZ),
            (&window.and_then(|window| window.high), Type::TIMESTAMPTZ),
            (&window.map(|window| window.watermark), Type::TIMESTAMPTZ),
            (&upload.and_then(|upload| upload.bound.as_ref()).map(Json), Type::JSONB),
            (&upload.and_then(|upload| upload.plan_sha256.as_ref()), Type::TEXT),
            (&upload.and_then(|upload| upload.file.as_ref()).map(Json), Type::JSONB),
        ];
        self.transition(client, run_id, RunState::Loading, set, more).await
    }

    /// What a run is made for; of one that is not in the log, the ordinary thing, and then it cannot become `loaded`.
    pub(super) async fn kind(&self, client: &impl GenericClient, run_id: RunId) -> Result<RunKind> {
        let sql = format!("select kind from {} where run_id = $1", self.log());
        let rows = self.ask(client, &sql, &[(&run_id.0, Type::INT8)]).await?;
        rows.first().map_or(Ok(RunKind::Run), |row| RunKind::parse(row.get(0)))
    }

    /// Whether its rows should all be new in bronze: those of the run loaded before it were, which was made for the same.
    /// Before the first run of a table there is nothing that they could meet.
    pub(crate) async fn follows_new_rows(
        &self,
        client: &impl GenericClient,
        run_id: RunId,
        before: Option<RunId>,
    ) -> Result<bool> {
        let sql = format!(
            "select coalesce((select p.kind = r.kind and p.rows_inserted = p.rows_extracted from {0} p where p.run_id = $2), \
             $2 is null and r.kind = 'run') from {0} r where r.run_id = $1",
            self.log()
        );
        let params: Params<'_> = &[(&run_id.0, Type::INT8), (&before.map(|run| run.0), Type::INT8)];
        Ok(self.ask(client, &sql, params).await?.first().is_some_and(|row| row.get(0)))
    }

    /// How many rows bronze has of the copy that this run read.
    pub(crate) async fn rows_of_copy(
        &self,
        client: &impl GenericClient,
        load: &LoadPlan,
        run_id: RunId,
    ) -> Result<u64> {
        let sql = load.count_copy_of(&format!("(select run_started_at from {} where run_id = $1)", self.log()));
        let rows = self.ask(client, &sql, &[(&run_id.0, Type::INT8)]).await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).cast_unsigned()))
    }

    /// It went wrong.
    pub(crate) async fn failed(
        &self,
        client: &impl GenericClient,
        run_id: RunId,
        why: &str,
        kind: Option<ErrorKind>,
    ) -> Result<Option<RunRecord>> {
        let set = "run_finished_at = pg_catalog.clock_timestamp(), error_message = $3, error_code = $4";
        let code = kind.map(|kind| kind.row().code);
        let more: Params<'_> = &[(&why, Type::TEXT), (&code, Type::TEXT)];
        self.transition(client, run_id, RunState::Failed, set, more).await
    }

    /// A person took its CSV out of the way.
    pub(crate) async fn set_aside(
        &self,
        client: &impl GenericClient,
        run_id: RunId,
        csv_path: &str,
        why: &str,
    ) -> Result<RunRecord> {
        let sql = format!(
            "update {} set status = 'failed', csv_path = $2, error_message = $3, error_code = null, \
             run_finished_at = coalesce(run_finished_at, pg_catalog.clock_timestamp()) \
             where run_id = $1 and status <> 'loaded' returning {RUN}",
            self.log()
        );
        let params: Params<'_> = &[(&run_id.0, Type::INT8), (&csv_path, Type::TEXT), (&why, Type::TEXT)];
        self.ask(client, &sql, params).await?.first().map_or_else(
            || Err(Error::new(ErrorKind::Contract, format!("run {run_id} is loaded, or not in the run log"))),
            run_record,
        )
    }

    /// Rows and watermark are about to be committed with this word.
    pub(crate) async fn loaded(
        &self,
        client: &impl GenericClient,
        run_id: RunId,
        counts: &Accounting,
        routing: Option<&Routing>,
        bronze: Option<&BronzeId>,
    ) -> Result<RunRecord> {
        let set = "run_finished_at = pg_catalog.clock_timestamp(), rows_extracted = $3, rows_loaded = $4, \
             rows_inserted = $5, rows_identical = $6, rows_different = $7, rows_updated = $8, rows_kept_newer = $9, bronze = $10, \
             rows_removed = $11, route = $12, route_reason = $13, rows_marked = $14, rows_unmarked = $15";
        // NULL where there is nothing to tell: most tables mark none.
        let some = |rows: u64| Some(rows.cast_signed()).filter(|rows| *rows > 0);
        let more: Params<'_> = &[
            (&counts.staged.cast_signed(), Type::INT8),
            (&(counts.inserted + counts.updated).cast_signed(), Type::INT8),
            (&counts.inserted.cast_signed(), Type::INT8),
            (&counts.identical.cast_signed(), Type::INT8),
            (&counts.different.cast_signed(), Type::INT8),
            (&counts.updated.cast_signed(), Type::INT8),
            (&counts.kept_newer.cast_signed(), Type::INT8),
            (&bronze.map(Json), Type::JSONB),
            (&counts.removed.cast_signed(), Type::INT8),
            (&routing.map(|routing| routing.route.as_str()), Type::TEXT),
            (&routing.map(|routing| &routing.reason), Type::TEXT),
            (&some(counts.marked), Type::INT8),
            (&some(counts.unmarked), Type::INT8),
        ];
        match self.transition(client, run_id, RunState::Loaded, set, more).await? {
            Some(run) => Ok(run),
            None => Err(self.refusal(client, run_id, RunState::Loaded).await?),
        }
    }

    /// Where a run stands, once whoever works on it has committed or not.
    pub(crate) async fn proof(&self, client: &impl GenericClient, run_id: RunId) -> Result<Option<RunState>> {
        let sql = format!("select status from {} where run_id = $1 for update", self.log());
        let rows = self.ask(client, &sql, &[(&run_id.0, Type::INT8)]).await?;
        rows.first().map(|row| RunState::parse(row.get(0))).transpose()
    }

    /// Runs of a table that are not final, and the newest one if it is newer than `after`.
    pub(crate) async fn unsettled(
        &self,
        client: &impl GenericClient,
        table: &str,
        after: Option<RunId>,
    ) -> Result<Vec<RunRecord>> {
        let log = self.log();
        // As the indexes of the log have it.
        let sql = format!(
            "select {RUN} from {log} where table_name = $1 and status not in ('loaded', 'failed') union all \
             (select {RUN} from {log} where table_name = $1 and run_id > $2 and status in ('loaded', 'failed') \
             order by run_id desc limit 1)"
        );
        let params: Params<'_> = &[(&table, Type::TEXT), (&after.map(|run| run.0), Type::INT8)];
        self.ask(client, &sql, params).await?.iter().map(run_record).collect()
    }

    /// Of each of these tables its runs that began at `since` or later, at most `limit`, newest first, and its newest one.
    pub(crate) async fn recent(
        &self,
        client: &impl GenericClient,
        tables: &[&str],
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<Vec<RunRecord>>> {
        let log = self.log();
        // Numbers go with time: below the newest run that began before, nothing has to be looked through.
        let sql = format!(
            "select w.place, r.* from pg_catalog.unnest($1) with ordinality w(name, place) cross join lateral ( \
             (select {RUN} from {log} where table_name = w.name order by run_id desc limit 1) union \
             (select {RUN} from {log} where table_name = w.name and run_started_at >= $2 and run_id > coalesce( \
             (select run_id from {log} where run_started_at < $2 order by run_id desc limit 1), 0) \
             order by run_id desc limit $3)) r order by w.place, r.run_id desc"
        );
        let limit = i64::from(limit);
        let params: Params<'_> = &[(&tables, Type::TEXT_ARRAY), (&since, Type::TIMESTAMPTZ), (&limit, Type::INT8)];
        let mut runs = vec![Vec::new(); tables.len()];
        for row in self.ask(client, &sql, params).await? {
            if let Some(of_table) = runs.get_mut(place(&row)?) {
                of_table.push(run_record(&row)?);
            }
        }
        for of_table in &mut runs {
            if of_table.iter().any(|run: &RunRecord| run.run_started_at >= since) {
                of_table.retain(|run| run.run_started_at >= since);
            }
        }
        Ok(runs)
    }

    /// Rows of the run log, newest first.
    pub(crate) async fn runs(&self, client: &impl GenericClient, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        let order = if filter.after.is_some() { "asc" } else { "desc" };
        let sql = format!(
            "select {RUN} from {} where ($1::bigint is null or run_id = $1) \
             and ($2::text is null or table_name = $2) and ($10::text[] = '{{}}' or table_name = any ($10)) \
             and ($3::text[] = '{{}}' or status = any ($3)) and ($5::text is null or kind = $5) \
             and ($6::timestamptz is null or run_started_at >= $6) \
             and ($7::timestamptz is null or run_started_at <= $7) \
             and ($8::bigint is null or run_id < $8) and ($9::bigint is null or run_id > $9) \
             and (not $11::boolean or csv_path is not null) \
             order by run_id {order} limit $4",
            self.log()
        );
        let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
        let params: Params<'_> = &[
            (&filter.run_id.map(|id| id.0), Type::INT8),
            (&filter.table, Type::TEXT),
            (&states, Type::TEXT_ARRAY),
            (&filter.limit.map(i64::from), Type::INT8),
            (&filter.kind.map(RunKind::as_str), Type::TEXT),
            (&filter.since, Type::TIMESTAMPTZ),
            (&filter.until, Type::TIMESTAMPTZ),
            (&filter.before.map(|id| id.0), Type::INT8),
            (&filter.after.map(|id| id.0), Type::INT8),
            (&filter.tables, Type::TEXT_ARRAY),
            (&filter.with_csv, Type::BOOL),
        ];
        self.ask(client, &sql, params).await?.iter().map(run_record).collect()
    }
}

fn run_record(row: &Row) -> Result<RunRecord> {
    let mode = value::<Option<&str>>(row, "mode")?.and_then(Mode::parse);
    Ok(RunRecord {
        run_id: RunId(value(row, "run_id")?),
        table_name: value(row, "table_name")?,
        kind: RunKind::parse(value(row, "kind")?)?,
        run_started_at: value(row, "run_started_at")?,
        run_finished_at: value(row, "run_finished_at")?,
        status: RunState::parse(value(row, "status")?)?,
        rows_extracted: value(row, "rows_extracted")?,
        rows_loaded: value(row, "rows_loaded")?,
        rows_inserted: value(row, "rows_inserted")?,
        rows_updated: value(row, "rows_updated")?,
        rows_identical: value(row, "rows_identical")?,
        rows_different: value(row, "rows_different")?,
        rows_kept_newer: value(row, "rows_kept_newer")?,
        rows_removed: value(row, "rows_removed")?,
        rows_marked: value(row, "rows_marked")?,
        rows_unmarked: value(row, "rows_unmarked")?,
        rows_late: value(row, "rows_late")?,
        route: value::<Option<&str>>(row, "route")?.map(Route::parse).transpose()?,
        route_reason: value(row, "route_reason")?,
        csv_path: value(row, "csv_path")?,
        error_message: value(row, "error_message")?,
        error_code: value(row, "error_code")?,
        mode,
        window_low: value(row, "window_low")?,
        window_high: value(row, "window_high")?,
        watermark: value(row, "watermark")?,
        bound: json::<SafeBound>(row, "bound")?,
        bytes: value(row, "bytes")?,
        sha256: value(row, "sha256")?,
        attempt: value(row, "attempt")?,
        host: value(row, "host")?,
        engine_version: value(row, "engine_version")?,
        task_instance: value(row, "_task_instance")?,
        file: json::<RawFile>(row, "file")?,
        bronze: json::<BronzeId>(row, "bronze")?,
        plan_sha256: value(row, "plan_sha256")?,
    })
}
