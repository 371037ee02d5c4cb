//! What is read from the run log.

use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Row};

use super::{Control, Params, json, place, value};
use crate::config::Mode;
use crate::error::Result;
use crate::identity::BronzeId;
use crate::plan::LoadPlan;
use crate::raw_file::RawFile;
use crate::record::{RunFilter, RunRecord};
use crate::run::{Route, RunId, RunKind, RunState};
use crate::watermark::{SafeBound, Timestamp};

pub(super) const RUN: &str = "run_id, table_name, run_started_at, run_finished_at, status, rows_extracted, rows_loaded, \
     rows_inserted, rows_updated, rows_identical, rows_different, rows_kept_newer, rows_removed, rows_marked, rows_unmarked, rows_late, route, route_reason, csv_path, error_message, error_code, mode, window_low, window_high, watermark, \
     bound, bytes, sha256, attempt, host, engine_version, _task_instance, kind, bronze, plan_sha256, file";

impl Control {
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

    /// The newest run of a table, 0 if it has none, where all of its runs are final.
    pub(crate) async fn settled(&self, client: &impl GenericClient, table: &str) -> Result<Option<RunId>> {
        let log = self.log();
        // As the indexes of the log have it.
        let sql = format!(
            "select coalesce((select run_id from {log} where table_name = $1 order by run_id desc limit 1), 0) \
             where not exists (select from {log} where table_name = $1 and status not in ('loaded', 'failed'))"
        );
        let rows = self.ask(client, &sql, &[(&table, Type::TEXT)]).await?;
        Ok(rows.first().map(|row| RunId(row.get(0))))
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

/// One row of it.
pub(super) fn run_record(row: &Row) -> Result<RunRecord> {
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
