//! The looks at a primary, in the one order that loses nothing.

use std::time::Duration;
use tokio_postgres::Client;

use super::activity::{Look, Scope, look, prepared};
use super::drain::{self, Drain};
use super::identity::same_process;
use crate::error::Result;
use crate::schema::TableRef;
use crate::source::BoundRequest;
use crate::watermark::{Micros, Observation, SafeBound, Server, Verdict, safe_bound};

/// Between the two looks. Any length is right; a little lets busy sessions show themselves.
const PAUSE: Duration = Duration::from_millis(10);

/// How a primary is looked at.
pub(super) struct Looks<'a> {
    pub(super) client: &'a Client,
    /// The server that every look must come from.
    pub(super) server: &'a Server,
    pub(super) function: Option<&'a TableRef>,
    pub(super) drain_timeout: Micros,
    pub(super) step: Micros,
}

impl Looks<'_> {
    /// First look, pause, second look, prepared transactions: each a transaction of its own, in this order and no other.
    /// A transaction that turns from open to prepared in between is seen by the second look, because that comes first.
    pub(super) async fn bound(&self, request: &BoundRequest<'_>) -> Result<SafeBound> {
        let Self { client, server, function, step, .. } = *self;
        let scope = Scope::of(client, request.plan).await?;
        let (first, second) = sessions(client, function, server).await?;
        let (prepared, of) = prepared(client, &scope).await?;
        same_process(server, of)?;
        let seen = |look: &Look| look.seen(scope.role_cannot_write);
        let (first, second) = (seen(&first), seen(&second));
        let BoundRequest { low, run_started_at, .. } = *request;
        let seen = Observation { low, run_started_at, step, first: &first, second: &second, prepared: &prepared };
        match safe_bound(&seen)? {
            Verdict::Bound(bound) => Ok(bound),
            Verdict::Hidden { pids, shown } => {
                tracing::info!(table = request.plan.table.name, ?pids, "sessions are hidden, draining");
                let drain = Drain { client, server, scope: &scope, request, step, at: first.at, pids, shown };
                drain.bound(self.drain_timeout, drain::SETTLE).await
            }
        }
    }
}

/// The two looks at the sessions, both of this server.
pub(super) async fn sessions(client: &Client, function: Option<&TableRef>, server: &Server) -> Result<(Look, Look)> {
    let first = look(client, function).await?;
    same_process(server, first.server)?;
    tokio::time::sleep(PAUSE).await;
    let second = look(client, function).await?;
    same_process(server, second.server)?;
    Ok((first, second))
}
