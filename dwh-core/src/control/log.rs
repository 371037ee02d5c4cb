//! What is written into the run log, `extract_runs`: one row a run, from `extracting` to `loaded` or `failed`.

use tokio_postgres::GenericClient;
use tokio_postgres::types::{Json, ToSql, Type};

use super::runs::{RUN, run_record};
use super::{Control, Params};
use crate::config::Mode;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::BronzeId;
use crate::raw_file::RawFile;
use crate::record::{Accounting, Restore, RunFilter, RunRecord, Upload};
use crate::run::{Routing, RunId, RunKind, RunState};

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
        self.transition_by(client, run_id, (next, next), set, more).await
    }

    /// The same from where it may become `by`: the states between that and `next` are passed in the same moment.
    async fn transition_by(
        &self,
        client: &impl GenericClient,
        run_id: RunId,
        (by, next): (RunState, RunState),
        set: &str,
        more: Params<'_>,
    ) -> Result<Option<RunRecord>> {
        let before: Vec<&str> =
            RunState::ALL.into_iter().filter(|state| state.may_become(by)).map(RunState::as_str).collect();
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
        self.upload(client, upload, RunState::Uploaded, "", &[]).await
    }

    /// No row was found: there is no CSV, and nothing to load. The watermark is about to be committed with this word.
    pub(crate) async fn loaded_nothing(
        &self,
        client: &impl GenericClient,
        upload: &Upload,
        bronze: Option<&BronzeId>,
    ) -> Result<RunRecord> {
        let set = ", run_finished_at = pg_catalog.clock_timestamp(), rows_loaded = 0, rows_inserted = 0, rows_identical = 0, \
             rows_different = 0, rows_updated = 0, rows_kept_newer = 0, rows_removed = 0, bronze = $14";
        match self.upload(client, upload, RunState::Loaded, set, &[(&bronze.map(Json), Type::JSONB)]).await? {
            Some(run) => Ok(run),
            None => Err(self.refusal(client, upload.run_id, RunState::Uploaded).await?),
        }
    }

    /// Writes down what was uploaded; with no row of it to load, the run may become `loaded` in the same moment.
    async fn upload(
        &self,
        client: &impl GenericClient,
        upload: &Upload,
        next: RunState,
        also: &str,
        more: Params<'_>,
    ) -> Result<Option<RunRecord>> {
        let set = format!(
            "csv_path = $3, rows_extracted = $4, rows_late = $5, bytes = $6, sha256 = $7, window_low = $8, \
             window_high = $9, watermark = $10, bound = $11, plan_sha256 = $12, file = coalesce($13, file){also}"
        );
        let low = upload.window.map(|window| window.low).filter(|low| low.is_finite());
        let high = upload.window.and_then(|window| window.high);
        let watermark = upload.window.map(|window| window.watermark);
        let (rows, late_rows, bytes) =
            (upload.rows.cast_signed(), upload.late_rows.cast_signed(), upload.bytes.cast_signed());
        let (bound, file) = (upload.bound.as_ref().map(Json), upload.file.as_ref().map(Json));
        let mut values: Vec<(&(dyn ToSql + Sync), Type)> = vec![
            (&upload.csv_path, Type::TEXT),
            (&rows, Type::INT8),
            (&late_rows, Type::INT8),
            (&bytes, Type::INT8),
            (&upload.sha256, Type::TEXT),
            (&low, Type::TIMESTAMPTZ),
            (&high, Type::TIMESTAMPTZ),
            (&watermark, Type::TIMESTAMPTZ),
            (&bound, Type::JSONB),
            (&upload.plan_sha256, Type::TEXT),
            (&file, Type::JSONB),
        ];
        values.extend_from_slice(more);
        self.transition_by(client, upload.run_id, (RunState::Uploaded, next), &set, &values).await
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
}
