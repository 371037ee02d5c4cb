//! `maintain`: what a warehouse wants done from time to time, step by step; one that fails stops no other.

mod refresh;
mod report;
mod vacuum;

use std::time::Instant;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::config::TableConfig;
use crate::connect::{Connector, sort};
use crate::control::Control;
use crate::error::Result;
use crate::pipeline::failure::interrupted;
use crate::pipeline::{Pipeline, PruneRequest};
use crate::plan::{Isolation, opening};
use crate::source::survey::counted;

pub use report::{MaintainAction, MaintainReport, MaintainRequest, MaintainStep};

impl Pipeline {
    /// Does what the target wants done from time to time: `vacuum (analyze)` of the bronze tables that were loaded since the
    /// last one, and of watermarks and run log; materialized views in the schemas of bronze, those that others read first;
    /// [`prune`](Self::prune), if there is a `[retention]`; old rows of what alerts have sent. With globs only the tables
    /// that match, and the materialized views that read them.
    ///
    /// May be called at any time, beside runs; nothing of it is lost when it is cut off.
    ///
    /// # Errors
    /// `Config` if no table matches; `Unreachable`, `Auth`. What went wrong with a step stands in the report.
    pub async fn maintain(&self, request: &MaintainRequest, cancel: &CancellationToken) -> Result<MaintainReport> {
        let chosen = self.tables(&request.tables).await?;
        let chosen: Vec<&TableConfig> = chosen.iter().collect();
        let client = Connector::to_target(&self.config.target, &self.config.environment)?.connect().await?;
        let mut report = MaintainReport { dry_run: request.dry_run, steps: Vec::new() };
        for mut step in self.wanted(&client, &chosen, request).await? {
            if cancel.is_cancelled() {
                return Err(interrupted());
            }
            if let (Some(view), Some(warning)) = (&step.object, &step.warning) {
                self.warn(view, warning);
            }
            let began = Instant::now();
            let done = self.step(&client, &mut step, request, cancel).await;
            step.done = done.is_ok() && !request.dry_run;
            step.error = done.err().map(|error| (&error).into());
            step.seconds = began.elapsed().as_secs_f64();
            report.steps.push(step);
        }
        Ok(report)
    }

    /// The steps, in their order.
    async fn wanted(
        &self,
        client: &Client,
        chosen: &[&TableConfig],
        request: &MaintainRequest,
    ) -> Result<Vec<MaintainStep>> {
        let mut targets: Vec<String> = chosen.iter().map(|table| table.target.sql()).collect();
        targets.sort();
        targets.dedup();
        let mut schemas: Vec<&str> = chosen.iter().map(|table| table.target.schema.as_str()).collect();
        schemas.push(&self.config.target.bronze_schema);
        let all = request.tables.is_empty();
        let views = refresh::wanted(client, &targets, &schemas, all).await?;
        targets.extend(self.control().tables());
        let mut steps = vacuum::wanted(client, &targets).await?;
        steps.extend(views);
        if self.config.retention.is_some() {
            steps.push(MaintainStep::new(MaintainAction::Prune, None, "what `[retention]` lets go"));
        }
        if all {
            steps.push(MaintainStep::new(MaintainAction::Alerts, None, "what alerts told long ago"));
        }
        Ok(steps)
    }

    async fn step(
        &self,
        client: &Client,
        step: &mut MaintainStep,
        request: &MaintainRequest,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let object = step.object.clone().unwrap_or_default();
        match step.action {
            MaintainAction::Vacuum | MaintainAction::Refresh if request.dry_run => Ok(()),
            MaintainAction::Vacuum => vacuum::vacuum(client, &object).await,
            MaintainAction::Refresh => self.within(client, refresh::refresh(client, &object, step.concurrently)).await,
            MaintainAction::Prune => {
                let mut prune = PruneRequest::new(request.tables.clone());
                prune.dry_run = request.dry_run;
                let pruned = self.prune(&prune, cancel).await?;
                let (files, _, runs) = pruned.totals();
                step.about =
                    format!("{} and {} of the run log, by `[retention]`", counted(files, "file"), counted(runs, "row"));
                step.failed_with(pruned.tables.iter().filter_map(|table| table.error.clone()))
            }
            MaintainAction::Alerts => {
                let control = self.control();
                let rows = self.within(client, control.expire_alerts(client, request.dry_run)).await?;
                step.about = format!("{} of what alerts told long ago", counted(rows, "row"));
                Ok(())
            }
        }
    }

    fn control(&self) -> Control {
        Control::new(&self.config.target.control_schema)
    }

    /// What `work` gives, in a transaction that waits for locks as a load does.
    pub(super) async fn within<T>(&self, client: &Client, work: impl Future<Output = Result<T>>) -> Result<T> {
        client.batch_execute(&opening(Isolation::Write, self.config.target.lock_timeout)).await.map_err(sort)?;
        let done = work.await;
        let end = if done.is_ok() { "commit" } else { "rollback" };
        let ended = client.batch_execute(end).await.map_err(sort);
        done.and_then(|done| ended.map(|()| done))
    }
}
