//! Runs of models: what was built, from which SELECT, and as which relation.

use tokio_postgres::GenericClient;
use tokio_postgres::types::{Json, Type};

use super::{Control, Params, json, value};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::BronzeId;
use crate::run::RunId;

/// What the last run of a model left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MadeModel {
    /// The hash of what it was made of.
    pub(crate) sha256: Option<String>,
    /// The relation.
    pub(crate) relation: Option<BronzeId>,
}

impl Control {
    /// A new row of the run log, `loading`. An older one of this model that is open is `failed`: whoever calls holds the
    /// model, so nobody works on it. Its process died, which nobody wanted: it is not told as `interrupted`.
    pub(crate) async fn begin_model(
        &self,
        client: &impl GenericClient,
        model: &str,
        task_instance: Option<&str>,
    ) -> Result<RunId> {
        let left = format!(
            "update {} set status = 'failed', run_finished_at = pg_catalog.clock_timestamp(), error_code = null, \
             error_message = 'the command ended before the model was built' \
             where table_name = $1 and kind = 'model' and status not in ('loaded', 'failed') returning run_id",
            self.log()
        );
        self.ask(client, &left, &[(&model, Type::TEXT)]).await?;
        let sql = format!(
            "insert into {} (table_name, status, host, engine_version, kind, _task_instance) \
             values ($1, 'loading', $2, $3, 'model', $4) returning run_id",
            self.log()
        );
        let params: Params<'_> = &[
            (&model, Type::TEXT),
            (&self.host, Type::TEXT),
            (&env!("CARGO_PKG_VERSION"), Type::TEXT),
            (&task_instance, Type::TEXT),
        ];
        let rows = self.ask(client, &sql, params).await?;
        let row = rows.first().ok_or_else(|| Error::new(ErrorKind::Internal, "run log: no row came back"))?;
        Ok(RunId(value(row, "run_id")?))
    }

    /// The model is about to be committed with this word.
    pub(crate) async fn model_loaded(
        &self,
        client: &impl GenericClient,
        run_id: RunId,
        rows: u64,
        sha256: &str,
        relation: Option<&BronzeId>,
    ) -> Result<()> {
        let sql = format!(
            "update {} set status = 'loaded', run_finished_at = pg_catalog.clock_timestamp(), rows_extracted = $2, \
             rows_loaded = $2, rows_inserted = $2, rows_updated = 0, rows_identical = 0, rows_different = 0, \
             rows_kept_newer = 0, plan_sha256 = $3, bronze = $4 where run_id = $1 and status = 'loading' returning run_id",
            self.log()
        );
        let params: Params<'_> = &[
            (&run_id.0, Type::INT8),
            (&rows.cast_signed(), Type::INT8),
            (&sha256, Type::TEXT),
            (&relation.map(Json), Type::JSONB),
        ];
        match self.ask(client, &sql, params).await?.is_empty() {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Locked, format!("run {run_id} is not `loading` any more"))
                .with_hint("nothing was changed; run it again")),
        }
    }

    /// What a run made is another relation now, made again behind what it reads. One that no run made is let be.
    pub(crate) async fn model_made_again(
        &self,
        client: &impl GenericClient,
        before: &BronzeId,
        after: &BronzeId,
    ) -> Result<()> {
        let sql = format!(
            "update {log} set bronze = $3 where bronze - 'file' = $2::jsonb - 'file' and run_id = (select max(run_id) from {log} \
             where table_name = $1 and kind = 'model' and status = 'loaded')",
            log = self.log()
        );
        // A refresh gives a materialized view other files.
        self.ask(client, &sql, &[(&after.table, Type::TEXT), (&Json(before), Type::JSONB), (&Json(after), Type::JSONB)])
            .await
            .map(drop)
    }

    /// What the last run left that built this model.
    pub(crate) async fn model_made(&self, client: &impl GenericClient, model: &str) -> Result<Option<MadeModel>> {
        let sql = format!(
            "select plan_sha256, bronze from {} where table_name = $1 and kind = 'model' and status = 'loaded' \
             order by run_id desc limit 1",
            self.log()
        );
        let rows = self.ask(client, &sql, &[(&model, Type::TEXT)]).await?;
        let made = |row: &tokio_postgres::Row| {
            Ok(MadeModel { sha256: value(row, "plan_sha256")?, relation: json::<BronzeId>(row, "bronze")? })
        };
        rows.first().map(made).transpose()
    }
}
