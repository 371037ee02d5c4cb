//! Models, and those of which the newest run failed.

use super::STATUS_RUNS;
use super::judge::WEEK;
use super::report::{Breach, BreachCheck, ModelStatus};
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::run::{RunKind, RunState};
use crate::sink::RunFilter;
use crate::watermark::Timestamp;

impl Pipeline {
    /// Of each model the newest run of the last 7 days that has ended, and what is wrong with it. Those under a prefix are
    /// tries.
    pub(super) async fn judge_models(&self, now: Timestamp) -> Result<(Vec<ModelStatus>, Vec<Breach>)> {
        let (mut told, mut breaches) = (Vec::new(), Vec::new());
        if self.config.models.is_none() {
            return Ok((told, breaches));
        }
        let mut add = |table: Option<String>, message: String, remedy: String| {
            let message = message.replace(['\n', '\t'], " ");
            breaches.push(Breach { check: BreachCheck::Failure, table, message, remedy });
        };
        let models = match self.config.read_models() {
            Ok(models) => models,
            Err(error) => {
                add(None, error.chain(), "dwh models list".to_owned());
                return Ok((told, breaches));
            }
        };
        let week = RunFilter {
            kind: Some(RunKind::Model),
            since: Some(now.minus(WEEK)),
            limit: Some(STATUS_RUNS),
            ..RunFilter::default()
        };
        let runs = self.sink.runs(&week).await?;
        for name in models.0.iter().map(|model| model.name.to_string()) {
            // The newest first.
            let Some(run) = runs.iter().find(|run| run.table_name == name && run.status.is_final()) else { continue };
            if run.status == RunState::Failed && !run.was_interrupted() {
                let why = run.error_message.as_deref().unwrap_or("nothing is known of it");
                // The model is told already.
                let why = why.strip_prefix(&format!("model `{name}`: ")).unwrap_or(why);
                let message = format!("run {} of the model failed, and it was not built since: {why}", run.run_id);
                add(Some(name.clone()), message, format!("dwh runs show {}", run.run_id));
            }
            told.push(ModelStatus { model: name, last_run: run.clone() });
        }
        Ok((told, breaches))
    }
}
