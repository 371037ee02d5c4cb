//! Models, and what became of them.

use dwh_core::operate::{ModelList, ModelsReport};
use dwh_core::pipeline::{ModelRun, ModelState, ModelStep};

use super::{logged, plain};
use crate::output::table::{Table, Tone};
use crate::output::{Paint, Show, human};

impl Show for ModelsReport {
    fn text(&self, paint: Paint<'_>) -> String {
        models_table(&self.models, paint)
    }
}

/// A line a model.
pub(super) fn models_table(models: &[ModelRun], paint: Paint<'_>) -> String {
    if models.is_empty() {
        return "no models\n".to_owned();
    }
    let mut table =
        Table::new(&["~model", "kind/4", ">run/5", "step/3", ">rows/1", ">time/2", "status", "~why"], paint);
    for model in models {
        let tone = match model.status {
            ModelState::Built => Tone::Good,
            ModelState::Skipped => Tone::Warn,
            ModelState::Failed => Tone::Bad,
            _ => Tone::Plain,
        };
        let status = if tone == Tone::Bad { "FAILED" } else { model.status.as_str() };
        table.row([
            plain(&model.model),
            plain(model.kind.as_str()),
            plain(model.run_id.map_or_else(|| "-".to_owned(), |id| id.to_string())),
            plain(model.step.map_or("-", ModelStep::as_str)),
            plain(model.rows.map_or_else(|| "-".to_owned(), human::count)),
            plain(human::seconds(model.seconds)),
            (status.to_owned(), tone),
            plain(model.because.as_deref().unwrap_or_default()),
        ]);
    }
    format!("{}\n{}\n", table.text(), summary(models))
}

/// `5 models: 3 built, 1 FAILED, 1 skipped, 4.2 s`.
fn summary(models: &[ModelRun]) -> String {
    let count = |status| models.iter().filter(|model| model.status == status).count();
    let states = [
        (ModelState::Planned, "to be built"),
        (ModelState::Built, "built"),
        (ModelState::Failed, "FAILED"),
        (ModelState::Skipped, "skipped"),
    ];
    let states = states.into_iter().map(|(status, word)| (count(status), word)).filter(|(count, _)| *count > 0);
    let states: Vec<String> = states.map(|(count, word)| format!("{count} {word}")).collect();
    let seconds = models.iter().map(|model| model.seconds).sum();
    format!("{}: {}, {}", human::many(models.len(), "model"), states.join(", "), human::seconds(seconds))
}

impl Show for ModelList {
    fn text(&self, paint: Paint<'_>) -> String {
        if self.models.is_empty() {
            return "no models\n".to_owned();
        }
        let mut table = Table::new(&["~model", "kind/3", "last run/2", "status", ">rows/1", "~reads/4"], paint);
        for model in &self.models {
            let run = model.last_run.as_ref();
            let rows = run.and_then(|run| run.rows_loaded).and_then(|rows| u64::try_from(rows).ok());
            table.row([
                plain(&model.model),
                plain(model.kind.as_str()),
                plain(paint.ago(run.map(|run| run.run_started_at))),
                run.map_or_else(|| plain("never built"), logged),
                plain(rows.map_or_else(|| "-".to_owned(), human::count)),
                plain(model.reads.join(", ")),
            ]);
        }
        table.text()
    }
}
