//! The fall-back where sessions are hidden: wait until every transaction that is open now has ended. Needs no right,
//! because `pg_locks` shows every role the virtual transaction ids of all.

use std::time::Duration;
use tokio::time::{Instant as Clock, sleep};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::activity::{Scope, WRITERS, prepared};
use super::time::Instant;
use crate::connect::sort;
use crate::error::Result;
use crate::source::BoundRequest;
use crate::watermark::{BoundRule, Micros, SafeBound, Timestamp, Undrained, settle};

/// Between the clock and the list of transactions: a session that has read its clock publishes its transaction
/// meanwhile. One that takes longer is found by the late-row sweep.
const SETTLE: Duration = Duration::from_secs(1);

/// Between two looks at who is left.
const POLL: Duration = Duration::from_millis(100);

pub(super) struct Drain<'a> {
    pub(super) client: &'a Client,
    pub(super) scope: &'a Scope,
    pub(super) request: &'a BoundRequest<'a>,
    pub(super) step: Micros,
    /// The clock before anything was looked at.
    pub(super) at: Timestamp,
    /// Our own sessions, shown unable to write.
    pub(super) harmless: Vec<i32>,
}

impl Drain<'_> {
    /// The bound once all have ended, or what an earlier drain has proved meanwhile.
    pub(super) async fn bound(&self, timeout: Micros) -> Result<SafeBound> {
        let patience = Duration::from_micros(u64::try_from(timeout.0).unwrap_or(0));
        let deadline = Clock::now() + SETTLE + patience;
        sleep(SETTLE).await;
        let mut open = self.open_transactions().await?;
        while !open.is_empty() && Clock::now() < deadline {
            sleep(POLL.min(deadline - Clock::now())).await;
            open = self.still_open(&open).await?;
        }
        if open.is_empty() {
            return self.settled(self.at, BoundRule::Drained).await;
        }
        let server_started_at = self.server_started_at().await?;
        let now = Undrained { at: self.at, server_started_at, transactions: open };
        let (proved, left) = match self.request.undrained {
            None => (self.request.low, now),
            Some(earlier) => {
                let mut left = earlier.clone();
                left.transactions = match earlier.server_started_at == server_started_at {
                    true => self.still_open(&earlier.transactions).await?,
                    // No transaction outlives its server but a prepared one, which is asked for below.
                    false => Vec::new(),
                };
                // The older proof stays until it is done: with always some transaction open, a newer one in its place
                // each time would never be.
                if left.transactions.is_empty() { (earlier.at, now) } else { (self.request.low, left) }
            }
        };
        self.settled(proved, BoundRule::NotDrained(left)).await
    }

    async fn settled(&self, proved: Timestamp, rule: BoundRule) -> Result<SafeBound> {
        let prepared = prepared(self.client, self.scope).await?;
        let BoundRequest { low, run_started_at, .. } = *self.request;
        Ok(settle(proved, rule, low, run_started_at, self.step, &prepared, self.at))
    }

    async fn open_transactions(&self) -> Result<Vec<String>> {
        let sql = format!(
            "select l.virtualxid from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a on a.pid = l.pid \
             where l.locktype = 'virtualxid' and l.mode = 'ExclusiveLock' and l.granted and {WRITERS} \
             and a.pid <> all ($1)"
        );
        let rows = self.client.query_typed(&sql, &[(&self.harmless, Type::INT4_ARRAY)]).await.map_err(sort)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn still_open(&self, transactions: &[String]) -> Result<Vec<String>> {
        let sql = "select l.virtualxid from pg_catalog.pg_locks l where l.locktype = 'virtualxid' \
                   and l.mode = 'ExclusiveLock' and l.granted and l.virtualxid = any ($1)";
        let rows = self.client.query_typed(sql, &[(&transactions, Type::TEXT_ARRAY)]).await.map_err(sort)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn server_started_at(&self) -> Result<Timestamp> {
        let sql = "select pg_catalog.pg_postmaster_start_time()";
        Ok(self.client.query_typed_one(sql, &[]).await.map_err(sort)?.get::<_, Instant>(0).0)
    }
}
