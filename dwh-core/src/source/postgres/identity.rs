//! Which database this is.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use crate::connect::sort;
use crate::error::Result;
use crate::source::SourceIdentity;

const CLUSTER: &str = "select s.system_identifier::text as system_identifier, c.timeline_id::int8 as timeline \
     from pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c";

const DATABASE: &str = "select pg_catalog.current_database()::text as database, \
     pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) as version, \
     pg_catalog.pg_is_in_recovery() as in_recovery";

/// The identity of the database behind a connection that is in no transaction.
///
/// Every role may read the cluster's own number and timeline, except on some managed services: there they are empty
/// and zero, and a restore of such a server is told from its clock alone.
pub(super) async fn identity(client: &Client) -> Result<SourceIdentity> {
    let cluster = match client.query_typed_one(CLUSTER, &[]).await {
        Ok(row) => Some(row),
        Err(error)
            if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
                || error.code() == Some(&SqlState::UNDEFINED_FUNCTION) =>
        {
            None
        }
        Err(error) => return Err(sort(error)),
    };
    let database = client.query_typed_one(DATABASE, &[]).await.map_err(sort)?;
    Ok(identity_of(cluster.as_ref(), &database))
}

fn identity_of(cluster: Option<&Row>, database: &Row) -> SourceIdentity {
    SourceIdentity {
        system_identifier: cluster.map(|row| row.get("system_identifier")).unwrap_or_default(),
        timeline: cluster.map(|row| row.get("timeline")).unwrap_or_default(),
        database: database.get("database"),
        server_version: database.get("version"),
        in_recovery: database.get("in_recovery"),
    }
}
