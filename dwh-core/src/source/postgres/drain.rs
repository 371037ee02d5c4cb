//! The fall-back where sessions are hidden: wait until each of them was seen without a transaction. Needs no right,
//! because `pg_locks` shows every role the virtual transaction ids of all.

use std::time::Duration;
use tokio::time::{Instant as Clock, sleep};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::activity::{Scope, WRITERS, prepared};
use super::ask::ask_one;
use super::identity::same_process;
use super::time::Instant;
use crate::error::Result;
use crate::source::BoundRequest;
use crate::watermark::{BoundRule, Micros, SafeBound, Server, Timestamp, Undrained, settle};

/// Between the clock and the list of transactions: a session that has read its clock publishes its transaction
/// meanwhile. One that takes longer is found by the late-row sweep.
pub(super) const SETTLE: Duration = Duration::from_secs(1);

/// Between two looks at who is left.
const POLL: Duration = Duration::from_millis(50);

pub(super) struct Drain<'a> {
    pub(super) client: &'a Client,
    pub(super) server: &'a Server,
    pub(super) scope: &'a Scope,
    pub(super) request: &'a BoundRequest<'a>,
    pub(super) step: Micros,
    /// The clock before anything was looked at.
    pub(super) at: Timestamp,
    /// The sessions that could not be seen.
    pub(super) pids: Vec<i32>,
    /// What those set that could.
    pub(super) shown: (Timestamp, BoundRule),
}

impl Drain<'_> {
    /// The bound once all have ended, or what an earlier drain has proved meanwhile.
    pub(super) async fn bound(self, timeout: Micros, settle: Duration) -> Result<SafeBound> {
        let patience = Duration::from_micros(u64::try_from(timeout.0).unwrap_or(0));
        let deadline = Clock::now() + settle + patience;
        sleep(settle).await;
        let open = self.open_transactions().await?;
        let open = self.until_idle(open, deadline).await?;
        if open.is_empty() {
            let (oldest, rule) = self.shown.clone();
            let rule = if oldest < self.at { rule } else { BoundRule::Drained };
            return self.settled(oldest.min(self.at), rule).await;
        }
        let now = Undrained { at: self.at, server_started_at: self.server.started_at, transactions: open };
        let (proved, left) = match self.request.undrained {
            None => (self.request.low, now),
            Some(earlier) => {
                let mut left = earlier.clone();
                left.transactions = match earlier.server_started_at == self.server.started_at {
                    true => self.until_idle(earlier.transactions.clone(), Clock::now()).await?,
                    // No transaction outlives its server but a prepared one, which is asked for below.
                    false => Vec::new(),
                };
                // The older proof stays until it is done: with always some transaction open, a newer one in its place
                // each time would never be.
                if left.transactions.is_empty() { (earlier.at, now) } else { (self.request.low, left) }
            }
        };
        self.settled(proved.min(self.shown.0), BoundRule::NotDrained(left)).await
    }

    async fn settled(&self, proved: Timestamp, rule: BoundRule) -> Result<SafeBound> {
        let (prepared, of) = prepared(self.client, self.scope).await?;
        same_process(self.server, of)?;
        let BoundRequest { low, run_started_at, .. } = *self.request;
        Ok(settle(proved, rule, low, run_started_at, self.step, &prepared, self.at))
    }

    /// Those of `transactions` whose sessions have been in one transaction or another ever since.
    ///
    /// A transaction that is gone proves nothing: the session may have begun the next one in the same message, with the
    /// clock of that message. Twice in a row without any, it waits for its client.
    async fn until_idle(&self, transactions: Vec<String>, deadline: Clock) -> Result<Vec<String>> {
        let mut open = transactions;
        let mut resting: Vec<String> = Vec::new();
        let mut last = false;
        loop {
            let busy = self.still_busy(&open).await?;
            let idle: Vec<String> = open.iter().filter(|one| !busy.contains(one)).cloned().collect();
            open.retain(|one| !resting.contains(one) || busy.contains(one));
            if open.is_empty() || last {
                return Ok(open);
            }
            // One look more, for those that this one found at rest.
            last = Clock::now() >= deadline;
            resting = idle;
            sleep(POLL).await;
        }
    }

    async fn open_transactions(&self) -> Result<Vec<String>> {
        let sql = format!(
            "select array(select l.virtualxid from pg_catalog.pg_locks l \
             join pg_catalog.pg_stat_activity a on a.pid = l.pid \
             where l.locktype = 'virtualxid' and l.mode = 'ExclusiveLock' and l.granted and {WRITERS} \
             and a.pid = any ($1)), pg_catalog.pg_postmaster_start_time()"
        );
        let row = ask_one(self.client, &sql, &[(&self.pids, Type::INT4_ARRAY)]).await?;
        same_process(self.server, row.get::<_, Instant>(1).0)?;
        Ok(row.get(0))
    }

    /// Those whose session is in a transaction now. A virtual transaction's number begins with that of its session's
    /// place, `4/123`; whoever comes to the place later counts as the same session, which waits longer, never shorter.
    async fn still_busy(&self, transactions: &[String]) -> Result<Vec<String>> {
        let sql = "select array(select wanted.id from pg_catalog.unnest($1) as wanted(id) where exists (\
                   select from pg_catalog.pg_locks l where l.locktype = 'virtualxid' and l.mode = 'ExclusiveLock' \
                   and l.granted and pg_catalog.split_part(l.virtualxid, '/', 1) = \
                   pg_catalog.split_part(wanted.id, '/', 1))), pg_catalog.pg_postmaster_start_time()";
        let row = ask_one(self.client, sql, &[(&transactions, Type::TEXT_ARRAY)]).await?;
        same_process(self.server, row.get::<_, Instant>(1).0)?;
        Ok(row.get(0))
    }
}
