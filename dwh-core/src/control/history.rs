//! The run log of many days, summed up by the server: there may be a million runs.

use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Row};

use super::{Control, Params, place, value};
use crate::error::Result;
use crate::record::{DayHistory, History, RunSums, TableHistory};
use crate::schema::TableRef;
use crate::watermark::Timestamp;

/// The columns of [`sums`], over rows of the run log. The rows of a chunk come into bronze with its resync, and count there.
const SUMS: &str = "count(*) filter (where status = 'loaded') as loaded, \
     count(*) filter (where status = 'failed' and error_code is distinct from 'interrupted') as failed, \
     coalesce(sum(rows_loaded) filter (where status = 'loaded' and kind <> 'chunk'), 0)::bigint as rows, \
     coalesce(sum(bytes) filter (where status = 'loaded'), 0)::bigint as bytes, \
     percentile_cont(0.5) within group (order by extract(epoch from run_finished_at - run_started_at)::float8) \
     filter (where status = 'loaded') as median, \
     max(extract(epoch from run_finished_at - run_started_at)::float8) filter (where status = 'loaded') as longest";

/// The bytes of the tables `$1`, in their order, with their partitions and children.
const SIZES: &str = "with recursive root (place, oid) as ( \
     select w.place, pg_catalog.to_regclass(w.name)::oid from pg_catalog.unnest($1) with ordinality w(name, place)), \
     member (place, oid) as (select place, oid from root where oid is not null union \
     select m.place, i.inhrelid from pg_catalog.pg_inherits i join member m on i.inhparent = m.oid) \
     select place, sum(pg_catalog.pg_total_relation_size(oid))::bigint as bytes from member group by place";

impl Control {
    /// The runs that ended since the first of these days, by day and by table, and the sizes of the bronze tables.
    pub(crate) async fn history(
        &self,
        client: &impl GenericClient,
        tables: &[(&str, &TableRef)],
        days: &[Timestamp],
    ) -> Result<History> {
        let log = self.log();
        let mut history = History {
            days: days.iter().map(|begins| DayHistory { begins: *begins, runs: RunSums::default() }).collect(),
            tables: tables.iter().map(|(name, _)| empty(name)).collect(),
        };
        let names: Vec<&str> = tables.iter().map(|(name, _)| *name).collect();
        let since: Params<'_> = &[(&days, Type::TIMESTAMPTZ_ARRAY), (&names, Type::TEXT_ARRAY)];
        let by_day = format!(
            "select pg_catalog.width_bucket(run_finished_at, $1)::bigint as place, {SUMS} from {log} \
             where run_finished_at >= $1[1] and table_name = any ($2) group by 1"
        );
        for row in self.ask(client, &by_day, since).await? {
            if let Some(day) = history.days.get_mut(place(&row)?) {
                day.runs = sums(&row)?;
            }
        }
        let by_table = format!(
            "select w.place, s.* from pg_catalog.unnest($2) with ordinality w(name, place) join \
             (select table_name, {SUMS} from {log} where run_finished_at >= $1[1] group by table_name) s \
             on s.table_name = w.name"
        );
        for row in self.ask(client, &by_table, since).await? {
            if let Some(table) = history.tables.get_mut(place(&row)?) {
                table.runs = sums(&row)?;
            }
        }
        let targets: Vec<String> = tables.iter().map(|(_, target)| target.sql()).collect();
        for row in self.ask(client, SIZES, &[(&targets, Type::TEXT_ARRAY)]).await? {
            if let Some(table) = history.tables.get_mut(place(&row)?) {
                table.bronze_bytes = Some(unsigned(&row, "bytes")?);
            }
        }
        Ok(history)
    }
}

fn empty(table: &str) -> TableHistory {
    TableHistory { table: table.to_owned(), runs: RunSums::default(), bronze_bytes: None }
}

fn unsigned(row: &Row, column: &str) -> Result<u64> {
    Ok(value::<Option<i64>>(row, column)?.and_then(|number| u64::try_from(number).ok()).unwrap_or_default())
}

fn sums(row: &Row) -> Result<RunSums> {
    Ok(RunSums {
        loaded: unsigned(row, "loaded")?,
        failed: unsigned(row, "failed")?,
        rows: unsigned(row, "rows")?,
        bytes: unsigned(row, "bytes")?,
        median_seconds: value(row, "median")?,
        longest_seconds: value(row, "longest")?,
    })
}
