//! Which database this is, and which server shows it.

use futures_util::join;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::time::Instant;
use crate::connect::sort;
use crate::error::Result;
use crate::source::SourceIdentity;
use crate::watermark::{Server, Timestamp};

const CLUSTER: &str = "select s.system_identifier::text as system_identifier, c.timeline_id::int8 as timeline \
     from pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c";

const DATABASE: &str = "select pg_catalog.current_database()::text as database, \
     pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) as version, \
     pg_catalog.pg_is_in_recovery() as in_recovery, pg_catalog.pg_postmaster_start_time() as started_at, \
     pg_catalog.statement_timestamp() as at";

/// Who answered, and when.
pub(super) struct Answered {
    pub(super) server: Server,
    /// The server's clock when the question arrived.
    pub(super) at: Timestamp,
    version: String,
}

impl Answered {
    /// What the snapshot says of its database.
    pub(super) fn identity(&self) -> SourceIdentity {
        let server = self.server.clone();
        SourceIdentity {
            system_identifier: server.system_identifier,
            timeline: server.timeline,
            database: server.database,
            server_version: self.version.clone(),
            in_recovery: server.in_recovery,
        }
    }
}

/// The database behind a connection that is in a transaction; in one with a snapshot, after that was taken.
///
/// Every role may read the cluster's own number and timeline, except on some managed services: there they are empty
/// and zero, and a restore of such a server is told from its clock alone.
pub(super) async fn identify(client: &Client) -> Result<Answered> {
    // A refusal ends the transaction as far as the savepoint. Polled, and so sent, in this order.
    let (saved, cluster, database) = join!(
        client.batch_execute("savepoint cluster"),
        client.query_typed_one(CLUSTER, &[]),
        client.query_typed_one(DATABASE, &[])
    );
    saved.map_err(sort)?;
    let (cluster, database) = match cluster {
        Ok(row) => (Some(row), database.map_err(sort)?),
        Err(error)
            if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
                || error.code() == Some(&SqlState::UNDEFINED_FUNCTION) =>
        {
            client.batch_execute("rollback to savepoint cluster").await.map_err(sort)?;
            (None, client.query_typed_one(DATABASE, &[]).await.map_err(sort)?)
        }
        Err(error) => return Err(sort(error)),
    };
    let server = Server {
        system_identifier: cluster.as_ref().map(|row| row.get("system_identifier")).unwrap_or_default(),
        timeline: cluster.as_ref().map(|row| row.get("timeline")).unwrap_or_default(),
        database: database.get("database"),
        in_recovery: database.get("in_recovery"),
        started_at: database.get::<_, Instant>("started_at").0,
    };
    Ok(Answered { server, at: database.get::<_, Instant>("at").0, version: database.get("version") })
}

/// Refuses an answer of another server process than `server`.
pub(super) fn same_process(server: &Server, started_at: Timestamp) -> Result<()> {
    server.must_be(&Server { started_at, ..server.clone() })
}
