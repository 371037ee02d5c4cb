//! One server during a comparison: a connection with one snapshot.

use futures_util::{SinkExt, TryStreamExt};
use std::collections::BTreeMap;
use std::pin::pin;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::blob::Body;
use crate::catalog::equality;
use crate::connect::{Connector, sort};
use crate::control::Control;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Compared, Hash, Isolation, LoadPlan, Plan, opening, opening_query};
use crate::schema::TableRef;
use crate::sink::TableState;
use crate::watermark::Micros;

/// Rows that are fetched at once.
const FETCH_ROWS: usize = 2_000;

/// The cursor over the bucket that is looked at.
const CURSOR: &str = "dwh_verify";

/// Whether row versions at the source can be compared with the snapshot `$1`, read from server `$2` on timeline `$3`, by
/// number: same server, same history, half the circle at most, and a role that may read them.
const COMPARABLE: &str = "select (select system_identifier::text from pg_catalog.pg_control_system()) = $2 \
     and (select timeline_id from pg_catalog.pg_control_checkpoint()) = $3 \
     and pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8 - $1 between 0 and 2147483647 \
     and pg_catalog.has_column_privilege($4, 'xmin', 'select')";

/// What a bucket holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) rows: u64,
    hashes: String,
}

/// A row as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) key_hash: String,
    pub(super) row_hash: String,
    pub(super) key: Vec<Option<String>>,
    pub(super) young: bool,
}

/// Where a key was found that the other end lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Beyond the watermark.
    Above,
    /// Among the rows that are compared.
    Compared,
    /// Among those that are not: another sample, or before `since`.
    Outside,
}

/// A key that was found, and how it is written there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) is: Found,
    pub(super) key: Vec<Option<String>>,
}

/// A connection in a transaction that only reads and sees one moment.
pub(super) struct Session {
    client: Client,
    name: String,
}

impl Session {
    pub(super) async fn open(connector: &Connector, table: &str) -> Result<Self> {
        Ok(Self { client: connector.connect().await?, name: table.to_owned() })
    }

    fn failed(&self, error: tokio_postgres::Error) -> Error {
        sort(error).context(format!("table `{}`", self.name))
    }

    /// The watermark row as it is now, before any snapshot.
    pub(super) async fn state(&self, control_schema: &str) -> Result<TableState> {
        self.execute(&opening(Isolation::Look, Micros::ZERO)).await?;
        let state = Control::new(control_schema).state(&self.client, &self.name).await?;
        self.execute("commit").await?;
        Ok(state)
    }

    /// Begins the transaction, lock first, and takes its snapshot. A table that the role may not lock is read unlocked.
    pub(super) async fn begin(&self, lock: Option<String>, lock_timeout: Micros) -> Result<()> {
        let begin = opening(Isolation::Snapshot, lock_timeout);
        self.execute(&begin).await?;
        if let Some(lock) = lock
            && let Err(error) = self.client.batch_execute(&lock).await
        {
            if error.code() != Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) {
                return Err(self.failed(error));
            }
            self.execute("rollback").await?;
            self.execute(&begin).await?;
        }
        self.execute(&opening_query()).await
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| self.failed(error))
    }

    async fn query(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>> {
        self.client.query_typed(sql, params).await.map_err(|error| self.failed(error))
    }

    /// The number from which on row versions of the source are younger than what was loaded last, if that can be told.
    pub(super) async fn comparable_since(&self, plan: &Plan, state: &TableState) -> Result<Option<u64>> {
        let (Some(since), Some(server), Some(timeline)) =
            (state.snapshot_xmin, &state.system_identifier, state.timeline)
        else {
            return Ok(None);
        };
        if !plan.source.kind.has_xmin() {
            return Ok(None);
        }
        let (number, name) = (since.cast_signed(), plan.source.table.sql());
        let params: [(&(dyn ToSql + Sync), Type); 4] =
            [(&number, Type::INT8), (server, Type::TEXT), (&timeline, Type::INT8), (&name, Type::TEXT)];
        let rows = self.query(COMPARABLE, &params).await?;
        Ok(rows.first().and_then(|row| row.get::<_, Option<bool>>(0)).filter(|same| *same).map(|_| since))
    }

    /// What this server's own hash makes of some texts.
    pub(super) async fn probe(&self) -> Result<Option<i64>> {
        Ok(self.query(Hash::PROBE, &[]).await?.first().and_then(|row| row.get(0)))
    }

    /// Every bucket with its count and the sum of its hashes.
    pub(super) async fn buckets(&self, table: &Compared<'_>, hash: Hash) -> Result<BTreeMap<i64, Sum>> {
        let rows = self.query(&table.buckets(hash), &[]).await?;
        let sum = |row: &Row| Sum { rows: row.get::<_, i64>(1).cast_unsigned(), hashes: row.get(2) };
        Ok(rows.iter().map(|row| (row.get(0), sum(row))).collect())
    }

    /// Begins to read the rows of a bucket.
    pub(super) async fn rows_of(&self, table: &Compared<'_>, bucket: i64) -> Result<Rows<'_>> {
        self.execute(&table.declare(CURSOR, bucket)).await?;
        Ok(Rows { session: self, buffer: Vec::new(), ended: false })
    }

    /// Where the rows of these keys are; `None` for a key that is not there at all.
    pub(super) async fn find(&self, table: &Compared<'_>, keys: &[Vec<Option<String>>]) -> Result<Vec<Option<Place>>> {
        let (relation, columns) = table.keyed();
        let equality = equality(&self.client, relation, &columns).await?;
        let width = keys.first().map_or(0, Vec::len);
        let columns: Vec<Vec<Option<&str>>> =
            (0..width).map(|at| keys.iter().map(|key| key[at].as_deref()).collect()).collect();
        let params: Vec<(&(dyn ToSql + Sync), Type)> =
            columns.iter().map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
        let mut found = vec![None; keys.len()];
        for row in self.query(&table.find(&equality), &params).await? {
            let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
            let Some(slot) = found.get_mut(place) else {
                return Err(Error::new(ErrorKind::Internal, "a key was found that was not asked for"));
            };
            let is = match (row.get(1), row.get(2)) {
                (true, _) => Found::Above,
                (_, true) => Found::Compared,
                _ => Found::Outside,
            };
            *slot = Some(Place { is, key: row.get(3) });
        }
        Ok(found)
    }

    /// How many rows a table has.
    pub(super) async fn count(&self, table: &TableRef) -> Result<u64> {
        self.execute(&opening(Isolation::Look, Micros::ZERO)).await?;
        let rows = self.query(&format!("select count(*) from {}", table.sql()), &[]).await?;
        self.execute("commit").await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).cast_unsigned()))
    }

    /// How many keys some CSV files have and bronze lacks, each counted once. Nothing of it stays.
    pub(super) async fn keys_lost<'a>(&self, csvs: impl Iterator<Item = (&'a LoadPlan, &'a dyn Body)>) -> Result<u64> {
        self.execute(&opening(Isolation::Write, Micros::ZERO)).await?;
        let mut count = None;
        for (load, csv) in csvs {
            let key = equality(&self.client, Some(&load.target), &load.key_columns()).await?;
            if count.is_none() {
                self.execute(&load.create_lost()).await?;
            }
            self.execute(&load.create_stage()).await?;
            let copy = self.client.copy_in(&load.copy_in()).await.map_err(|error| self.failed(error))?;
            let (mut copy, mut csv) = (pin!(copy), csv.open());
            while let Some(piece) = csv.try_next().await? {
                copy.feed(piece).await.map_err(|error| self.failed(error))?;
            }
            copy.finish().await.map_err(|error| self.failed(error))?;
            self.execute(&load.note_lost(&key)).await?;
            count = Some(load.count_lost(&key));
        }
        let rows = match &count {
            Some(count) => self.query(count, &[]).await?,
            None => Vec::new(),
        };
        self.execute("rollback").await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).cast_unsigned()))
    }

    /// Ends the transaction.
    pub(super) async fn end(self) -> Result<()> {
        self.execute("commit").await
    }
}

/// The rows of a bucket, in the order of their keys' hashes, some at a time.
pub(super) struct Rows<'a> {
    session: &'a Session,
    /// The next one last.
    buffer: Vec<Seen>,
    ended: bool,
}

impl Rows<'_> {
    /// The next row, without taking it.
    pub(super) async fn peek(&mut self) -> Result<Option<&Seen>> {
        if self.buffer.is_empty() && !self.ended {
            let rows = self.session.query(&format!("fetch forward {FETCH_ROWS} from {CURSOR}"), &[]).await?;
            self.ended = rows.len() < FETCH_ROWS;
            let seen =
                |row: &Row| Seen { key_hash: row.get(0), row_hash: row.get(1), key: row.get(2), young: row.get(3) };
            self.buffer = rows.iter().rev().map(seen).collect();
        }
        Ok(self.buffer.last())
    }

    /// Takes the row that `peek` showed.
    pub(super) fn take(&mut self) -> Option<Seen> {
        self.buffer.pop()
    }

    /// Closes the cursor.
    pub(super) async fn close(self) -> Result<()> {
        self.session.execute(&format!("close {CURSOR}")).await
    }
}
