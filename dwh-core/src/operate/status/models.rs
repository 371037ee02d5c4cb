//! Models, and those of which the newest run failed.

use super::judge::WEEK;
use super::report::{Breach, BreachCheck, ModelStatus};
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::run::{RunKind, RunState};
use crate::sink::RunRecord;
use crate::watermark::Timestamp;

/// How many runs of a model are looked at: so many may one after the other have been stopped by somebody.
const RUNS: u32 = 100;

impl Pipeline {
    /// Of each model the newest run of the last 7 days that has ended and that nobody stopped, and what is wrong with it.
    /// Those under a prefix are tries.
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
        let names: Vec<String> = models.0.iter().map(|model| model.name.to_string()).collect();
        let words: Vec<&str> = names.iter().map(String::as_str).collect();
        let since = now.minus(WEEK);
        let runs = self.sink.recent(&words, since, RUNS).await?;
        // What somebody stopped mends nothing, and is no failure.
        let counts = |run: &&RunRecord| {
            run.kind == RunKind::Model && run.run_started_at >= since && run.status.is_final() && !run.was_interrupted()
        };
        for (name, runs) in names.into_iter().zip(&runs) {
            // The newest first.
            let Some(run) = runs.iter().find(counts) else { continue };
            if run.status == RunState::Failed {
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
