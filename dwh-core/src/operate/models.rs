//! `models`: SELECTs in files become tables and views of the warehouse, each behind those that it reads.

mod build;
mod dbt;
mod decide;
mod probe;
mod report;
mod there;

use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;

use crate::config::{Model, with_prefix};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::failure::interrupted;
use crate::pipeline::{Event, ModelRun, ModelState, Pipeline, RunReport, RunRequest};
use crate::plan::ModelPlan;
use crate::schema::TableRef;

use build::Builder;

pub use report::{ListedModel, ModelList, ModelsReport, ModelsRequest};

impl Pipeline {
    /// The models that match any of the globs, all of them without any, in the order in which they are built, each with its
    /// newest run.
    ///
    /// # Errors
    /// `Config` without `[models]`, with all that is wrong with the files, or if no model matches; `Contract` if the control
    /// schema is missing; `Unreachable`, `Auth`.
    pub async fn list_models(&self, globs: &[String]) -> Result<ModelList> {
        let this = self.expanded().await?;
        let models = this.config.read_models()?;
        let chosen = models.chosen(globs, false, false)?;
        let names: Vec<String> = chosen.iter().map(|model| model.name.to_string()).collect();
        let words: Vec<&str> = names.iter().map(String::as_str).collect();
        let now = this.sink.now().await?;
        let runs = this.sink.recent(&words, now, 1).await?;
        let listed = chosen.iter().zip(runs).map(|(model, runs)| ListedModel::new(model, runs.into_iter().next()));
        Ok(ModelList { models: listed.collect() })
    }

    /// Builds the models that match any of the globs, all of them without any, each behind those that it reads. A model is
    /// built in one transaction together with its row in the run log: readers see it as it was, or as it is. One that fails is
    /// as it was, and stops those that read it, and no other.
    ///
    /// # Errors
    /// `Config` without `[models]`, with all that is wrong with the files, or if no model matches; `Unreachable`, `Auth`. What
    /// went wrong with a model stands in the report.
    pub async fn run_models(&self, request: &ModelsRequest, cancel: &CancellationToken) -> Result<ModelsReport> {
        let this = self.expanded().await?;
        let models = this.config.read_models()?;
        let chosen = models.chosen(&request.models, request.upstream, request.downstream)?;
        let models = this.build_models(&chosen, request, BTreeMap::new(), cancel).await?;
        Ok(ModelsReport { dry_run: request.dry_run, models })
    }

    /// As [`run`](Self::run), and then [`run_models`](Self::run_models) of those that read the tables of the run, directly or
    /// not; without globs of all. Those that read a table that failed are skipped. The files are read before anything moves.
    ///
    /// # Errors
    /// As `run` and `run_models`; `Config` for a preview.
    pub async fn run_with_models(&self, request: &RunRequest, cancel: &CancellationToken) -> Result<RunReport> {
        if request.preview {
            return Err(Error::new(ErrorKind::Config, "a preview keeps no rows, so no model can be built of them")
                .with_hint("leave out the preview, or the models"));
        }
        let this = self.expanded().await?;
        let models = this.config.read_models()?;
        let tables = this.config.select(&request.tables)?;
        let behind = models.behind(tables.iter().map(|table| &table.target));
        let all = request.tables.is_empty();
        let chosen: Vec<&Model> = models.0.iter().filter(|model| all || behind.contains(&model.name)).collect();
        let mut report = self.run(request, cancel).await?;
        let failed: BTreeSet<&str> =
            report.runs.iter().filter(|run| run.error.is_some()).map(|run| run.table.as_str()).collect();
        let failed = tables.iter().filter(|table| failed.contains(table.name.as_str()));
        let stopped = failed.map(|table| (table.target.clone(), format!("table `{}` failed", table.name))).collect();
        let built = this.build_models(&chosen, &ModelsRequest::default(), stopped, cancel).await;
        // What became of the tables is told whatever becomes of the models.
        report.models = built.unwrap_or_else(|error| {
            chosen.iter().map(|model| ModelRun::new(model.name.to_string(), model.kind).failed(&error)).collect()
        });
        Ok(report)
    }

    /// Builds these in their order; those that come after something in `stopped` are skipped, with what is said there.
    async fn build_models(
        &self,
        chosen: &[&Model],
        request: &ModelsRequest,
        mut stopped: BTreeMap<TableRef, String>,
        cancel: &CancellationToken,
    ) -> Result<Vec<ModelRun>> {
        let mut runs = Vec::with_capacity(chosen.len());
        if chosen.is_empty() {
            return Ok(runs);
        }
        let built: BTreeSet<&TableRef> = chosen.iter().map(|model| &model.name).collect();
        let plans: Vec<ModelPlan<'_>> = chosen
            .iter()
            .map(|model| self.plan_model(model, &built, request.prefix.as_deref()))
            .collect::<Result<_>>()?;
        let builder = Builder::connect(self, request).await?;
        let (of, is_told) = (chosen.len(), !request.dry_run);
        for (number, (model, plan)) in (1..).zip(chosen.iter().zip(&plans)) {
            if is_told {
                (self.observer)(&Event::ModelStarted { model: plan.name.to_string(), number, of });
            }
            let mut run = ModelRun::new(plan.name.to_string(), plan.kind);
            run.reads = model.reads.iter().map(ToString::to_string).collect();
            let cause = model.reads.iter().chain(&model.after).find_map(|name| stopped.get(name));
            let run = match cause {
                _ if cancel.is_cancelled() => run.failed(&interrupted()),
                Some(cause) => run.skipped(cause.clone()),
                None => builder.run(plan, run, is_fresh(model, &built), cancel).await,
            };
            let cause = match run.status {
                ModelState::Failed => Some(format!("model `{}` failed", run.model)),
                ModelState::Skipped => run.because.clone(),
                _ => None,
            };
            if is_told {
                (self.observer)(&Event::ModelFinished { run: Box::new(run.clone()), number, of });
            }
            stopped.extend(cause.map(|cause| (model.name.clone(), cause)));
            runs.push(run);
        }
        Ok(runs)
    }

    /// What is built of a model. Under a prefix it reads the models that the same call builds there, and all else where it is.
    fn plan_model<'a>(
        &self,
        model: &'a Model,
        built: &BTreeSet<&TableRef>,
        prefix: Option<&str>,
    ) -> Result<ModelPlan<'a>> {
        let mut plan = ModelPlan {
            name: model.name.clone(),
            kind: model.kind,
            key: &model.key,
            indexes: &model.indexes,
            query: model.query.clone(),
        };
        let Some(prefix) = prefix else { return Ok(plan) };
        let refuse = |why: String| Error::new(ErrorKind::Config, why).with_hint("give another prefix, such as `wip`");
        if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(refuse(format!("prefix `{}`: must be letters, digits and `_`", prefix.escape_debug())));
        }
        plan.name.schema = format!("{prefix}_{}", model.name.schema);
        if plan.name.schema.len() > 63 {
            return Err(refuse(format!(
                "schema `{}` is longer than the 63 bytes that PostgreSQL keeps",
                plan.name.schema
            )));
        }
        if let Some(taken) = self.config.holds(&plan.name) {
            return Err(refuse(format!("model `{}` is {taken}", plan.name)));
        }
        let reads: BTreeSet<&TableRef> = model.reads.iter().filter(|name| built.contains(name)).collect();
        plan.query = with_prefix(&model.query, &reads, prefix).map_err(|why| {
            Error::new(ErrorKind::Config, format!("model `{}`: {why}", model.name))
                .with_hint("write schema and name in the SELECT, or build it without a prefix")
        })?;
        Ok(plan)
    }
}

/// Whether it reads what the same call builds.
fn is_fresh(model: &Model, built: &BTreeSet<&TableRef>) -> bool {
    model.reads.iter().chain(&model.after).any(|name| built.contains(name))
}
