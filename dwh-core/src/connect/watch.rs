//! What is done when a server says nothing: it is asked, over another connection, whether it still works for us.

use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::errors::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::peer::Peer;

/// Opens another connection to the same place.
pub(super) type Dial = Arc<dyn Fn() -> BoxFuture<'static, Result<Client>> + Send + Sync>;

/// One connection, as it is watched. A long statement, or one that waits for a lock, is as silent as a cable that was
/// cut: only the server can tell them apart.
pub(super) struct Watch {
    pub(super) peer: Arc<Peer>,
    /// What goes before every error.
    pub(super) end: String,
    /// The same, and the address.
    pub(super) place: String,
    pub(super) dial: Dial,
    /// What the session says that its process is; 0 before it was asked.
    pub(super) pid: AtomicI32,
}

/// What the server does with our session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It works on our statement, or waits for something that is not us.
    Works,
    /// It waits for our next word, or for us to take its own.
    WaitsForUs,
    /// There is no such session.
    Gone,
}

impl Seen {
    const fn told(self) -> &'static str {
        match self {
            Self::Works => "it works on what it was asked",
            Self::WaitsForUs => "it waits for our next word",
            Self::Gone => "its session of this connection is gone",
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.peer.closed();
    }
}

impl Watch {
    /// The watch of a connection that begins.
    pub(super) fn new(peer: Arc<Peer>, end: &str, address: &str, dial: Dial) -> Self {
        peer.opened();
        let place = format!("{end}: {address}");
        Self { peer, end: end.to_owned(), place, dial, pid: AtomicI32::new(0) }
    }

    /// `None` while the server works; else why the connection must be given up.
    pub(super) async fn look(self: Arc<Self>, wire_pid: Option<i32>, since: Instant) -> Option<Error> {
        let silent = || format!("{} sent nothing for {} s", self.place, since.elapsed().as_secs());
        if let Err(known) = self.peer.ask() {
            return Some(known);
        }
        tracing::debug!("{}; it is asked over another connection", silent());
        let seen = tokio::time::timeout(self.peer.probe(), async {
            let client = (self.dial)().await?;
            let seen = self.session(&client, wire_pid).await?;
            Ok::<_, Error>((client, seen))
        });
        let lost = match seen.await {
            Ok(Ok((_, Seen::Works))) => {
                self.peer.heard();
                tracing::info!("{}; it is there, and works on what it was asked", silent());
                return None;
            }
            Ok(Ok((client, seen))) => {
                self.peer.heard();
                tracing::debug!("{}; {}, and is looked at once more", silent(), seen.told());
                self.look_again(&client, wire_pid).await?
            }
            Ok(Err(error)) if error.kind() != ErrorKind::Unreachable => {
                self.peer.heard();
                // It answers, if only with a refusal: too many connections, a changed password.
                tracing::info!("{}; it is there, and does not tell what it does: {error}", silent());
                return None;
            }
            Ok(Err(_)) | Err(_) => {
                let error = Error::new(ErrorKind::Unreachable, format!("{}, and answers nobody else", silent()));
                tracing::debug!("{error}");
                let pooled = self.pid.load(Ordering::Relaxed) != 0 && self.known(wire_pid).is_none();
                let hint = format!("{HINT}{}", if pooled || self.peer.open() > 1 { POOLER } else { "" });
                return Some(self.peer.silent(error.with_hint(hint)));
            }
        };
        let cut = format!("{}, and {}: the connection was cut", silent(), lost.told());
        tracing::debug!("{cut}");
        let error = Error::new(ErrorKind::Unreachable, cut);
        Some(self.peer.lost(error.with_hint(HINT_CUT)))
    }

    /// What was said between the two looks would have arrived: the connection is dead, and so must the session be, with
    /// its locks. `None` if it works after all.
    async fn look_again(&self, client: &Client, wire_pid: Option<i32>) -> Option<Seen> {
        tokio::time::sleep((self.peer.idle() / 8).min(Duration::from_secs(5))).await;
        let again = tokio::time::timeout(self.peer.probe(), self.session(client, wire_pid)).await;
        // No answer now: it is asked anew after the next silence.
        let seen = again.ok()?.ok().filter(|seen| *seen != Seen::Works)?;
        if let Some(pid) = self.known(wire_pid) {
            let end = format!(
                "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity \
                 where pid = {pid} and usename = session_user and wait_event_type = 'Client'"
            );
            if let Ok(Err(error)) = tokio::time::timeout(self.peer.probe(), client.simple_query(&end)).await {
                tracing::debug!(error = %sort(error), "the cut session cannot be ended; it ends by itself");
            }
        }
        Some(seen)
    }

    /// The process of our session, if no pooler hides it: then the number that came at the login is not the server's.
    fn known(&self, wire_pid: Option<i32>) -> Option<i32> {
        wire_pid.filter(|pid| *pid == self.pid.load(Ordering::Relaxed))
    }

    /// Any session of ours that works may be the hidden one: rather wait too long than end a load that goes on.
    async fn session(&self, client: &Client, wire_pid: Option<i32>) -> Result<Seen> {
        let mine = match self.known(wire_pid) {
            Some(pid) => format!("pid = {pid} and usename = session_user"),
            None => "pid <> pg_catalog.pg_backend_pid() and usename = session_user \
                     and datname = pg_catalog.current_database() \
                     and application_name = pg_catalog.current_setting('application_name')"
                .to_owned(),
        };
        let sql = format!(
            "select count(*), count(*) filter (where wait_event_type is distinct from 'Client') \
             from pg_catalog.pg_stat_activity where {mine}"
        );
        let row = last_row(&client.simple_query(&sql).await.map_err(sort)?);
        Ok(match row.as_deref() {
            Some([all, _]) if all == "0" => Seen::Gone,
            Some([_, working]) if working == "0" => Seen::WaitsForUs,
            _ => Seen::Works,
        })
    }
}

/// The texts of the last row of an answer.
pub(super) fn last_row(answer: &[SimpleQueryMessage]) -> Option<Vec<String>> {
    let row = answer.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })?;
    Some((0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
}

const HINT: &str = "see whether it is up and reachable from here, then run it again; `idle_timeout` says how long it may be \
                    silent";
/// Said where other connections of ours are open, or a pooler was met.
pub(super) const POOLER: &str = "\nif a pooler is in between, it may have no session left for this connection: its pool \
                                 (`default_pool_size` of PgBouncer) must have room for all connections of a run at once, on \
                                 the target two for each table of `[target] connections` and one more";
const HINT_CUT: &str = "something on the way drops connections (a firewall, a pooler, NAT): run it again, and look there if \
                        it comes back; `idle_timeout` says how long a server may be silent";
