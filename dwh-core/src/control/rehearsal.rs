//! What a run writes into the control schema, for a run and a table that there are not.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::{Control, Params};
use crate::error::Result;
use crate::run::RunId;

/// No run has it: the sequence is not moved for a rehearsal.
const NO_RUN: RunId = RunId(-1);
/// No table is called so.
const NO_TABLE: &str = "";

impl Control {
    /// Locks, writes and reads as a run does; the caller rolls it back.
    ///
    /// # Errors
    /// Those that a run would meet.
    pub(crate) async fn rehearse(&self, client: &impl GenericClient) -> Result<()> {
        let lock = "select pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
        self.ask(client, lock, &[(&self.lease_name(NO_TABLE), Type::TEXT)]).await?;
        self.take(client, NO_TABLE).await?;
        let insert = format!(
            "insert into {} (run_id, table_name, status, mode, host, engine_version, kind) overriding system value \
             values ($1, $2, 'extracting', 'snapshot', $3, $4, 'run')",
            self.log()
        );
        let version = env!("CARGO_PKG_VERSION");
        let params: Params<'_> =
            &[(&NO_RUN.0, Type::INT8), (&NO_TABLE, Type::TEXT), (&self.host, Type::TEXT), (&version, Type::TEXT)];
        self.ask(client, &insert, params).await?;
        self.proof(client, NO_RUN).await?;
        self.failed(client, NO_RUN, "rehearsal", None).await?;
        self.give(client, NO_TABLE).await
    }
}
