//! One model, built in one transaction: the relation, its key, its indexes, and its row in the run log.

use futures_util::try_join;
use sha2::{Digest, Sha256};
use std::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;

use super::ModelsRequest;
use super::decide::{Decided, decide, refuse_held};
use super::probe::Probe;
use super::there::{There, look_at};
use crate::catalog::{self, LockWanted, held_by, holders, is_lock_timeout};
use crate::config::ModelKind;
use crate::connect::{Connector, look, rolled_back, sort};
use crate::control::Control;
use crate::dialect::hex;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::BronzeId;
use crate::migrate::table_schema;
use crate::pipeline::failure::interrupted;
use crate::pipeline::{ModelRun, ModelState, ModelStep, Pipeline};
use crate::plan::{Isolation, ModelPlan, opening};
use crate::run::RunId;
use crate::schema::{TableRef, ViewDef, quote_ident, quote_literal};

/// Before a view is replaced that may have other columns.
const SAVEPOINT: &str = "savepoint dwh_view";
const BACK: &str = "rollback to savepoint dwh_view";

/// Before what is there goes, with the views over it.
const WHOLE: &str = "savepoint dwh_whole";
const WHOLE_AGAIN: &str = "rollback to savepoint dwh_whole";

/// Builds models one after the other.
pub(super) struct Builder<'a> {
    pipeline: &'a Pipeline,
    request: &'a ModelsRequest,
    control: Control,
    connector: Connector,
    /// Where they are built.
    work: Client,
    /// Where the run log is told, whatever becomes of the transaction.
    log: Client,
}

impl<'a> Builder<'a> {
    pub(super) async fn connect(pipeline: &'a Pipeline, request: &'a ModelsRequest) -> Result<Self> {
        let target = &pipeline.config.target;
        let connector = Connector::to_target(target, &pipeline.config.environment)?;
        let (work, log) = try_join!(connector.connect(), connector.connect())?;
        Ok(Self { pipeline, request, control: Control::new(&target.control_schema), connector, work, log })
    }

    /// Builds one, or tells how it would be built; `fresh` says that it reads what the same call builds.
    pub(super) async fn run(
        &self,
        plan: &ModelPlan<'_>,
        mut run: ModelRun,
        fresh: bool,
        cancel: &CancellationToken,
    ) -> ModelRun {
        let began = Instant::now();
        let done = tokio::select! {
            done = self.build(plan, &mut run, fresh) => done,
            () = cancel.cancelled() => Err(interrupted()),
        };
        let run = match done {
            Ok(()) => run,
            Err(error) => {
                let error = self.undo(plan, error.context(format!("model `{}`", plan.name)), &run).await;
                run.failed(&error)
            }
        };
        ModelRun { seconds: began.elapsed().as_secs_f64(), ..run }
    }

    async fn build(&self, plan: &ModelPlan<'_>, run: &mut ModelRun, fresh: bool) -> Result<()> {
        let sha256 = hex(&Sha256::digest(plan.portrait().as_bytes()));
        if self.request.dry_run {
            let settings = ModelPlan::settings(&self.pipeline.config.target.bronze_schema);
            let asked = async {
                self.command(&settings).await?;
                self.decide(plan, &sha256, fresh).await
            };
            let decided = rolled_back(&self.work, Isolation::Write, asked).await?;
            (run.step, run.because) = (Some(decided.step), decided.because);
            return Ok(());
        }
        self.open().await?;
        self.hold(plan).await?;
        let run_id = self.begin_run(plan).await?;
        run.run_id = Some(run_id);
        let decided = self.decide(plan, &sha256, false).await?;
        (run.step, run.because) = (Some(decided.step), decided.because);
        self.become_owner(&plan.name.schema).await?;
        let rows = self.make(plan, decided.there.as_ref(), decided.step, run).await?;
        self.command("reset role").await?;
        let relation = self.control.bronze_id(&self.work, &plan.name).await?;
        self.control.model_loaded(&self.work, run_id, rows, &sha256, relation.as_ref()).await?;
        self.command("commit").await?;
        run.status = ModelState::Built;
        run.rows = (plan.kind != ModelKind::View).then_some(rows);
        Ok(())
    }

    /// Opens the transaction.
    async fn open(&self) -> Result<()> {
        let target = &self.pipeline.config.target;
        let opening = opening(Isolation::Write, target.lock_timeout);
        self.command(&format!("{opening}; {}", ModelPlan::settings(&target.bronze_schema))).await
    }

    /// Holds the model until the transaction ends: nobody else builds it.
    async fn hold(&self, plan: &ModelPlan<'_>) -> Result<()> {
        let name = self.control.lease_name(&format!("model {}", plan.name));
        let lock = "select pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
        let held = self.work.query_typed_one(lock, &[(&name, Type::TEXT)]).await.map_err(sort)?;
        if held.get(0) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Locked, "another command builds it")
            .with_hint("wait until that has ended: `dwh runs --kind model` shows it; then run it again"))
    }

    async fn begin_run(&self, plan: &ModelPlan<'_>) -> Result<RunId> {
        let (name, task) = (plan.name.to_string(), self.pipeline.config.environment.get("DWH_TASK_INSTANCE"));
        self.pipeline.within(&self.log, self.control.begin_model(&self.log, &name, task)).await
    }

    /// What is there, and how the model takes its place.
    async fn decide(&self, plan: &ModelPlan<'_>, sha256: &str, fresh: bool) -> Result<Decided> {
        let Some(there) = look_at(&self.work, &plan.name).await? else {
            return Ok(Decided::new(None, ModelStep::Create));
        };
        let made = self.control.model_made(&self.work, &plan.name.to_string()).await?;
        let now = self.control.bronze_id(&self.work, &plan.name).await?;
        let relation = made.as_ref().and_then(|made| made.relation.as_ref());
        let ours = relation.zip(now.as_ref()).is_some_and(|(made, now)| is_same(there.kind, made, now));
        if !ours {
            self.refuse_others(plan, there.kind).await?;
        }
        let unchanged = ours && made.and_then(|made| made.sha256).as_deref() == Some(sha256);
        match Probe::of(&self.work, plan, &self.pipeline.config.target.owner_role).await {
            Ok(probe) => decide(plan, there, unchanged, &probe),
            // What it reads may be as its SELECT wants it once the models before it are built.
            Err(error) if fresh && error.kind() != ErrorKind::Unreachable => Ok(Decided {
                because: Some("as far as can be told before what it reads is built".to_owned()),
                ..Decided::new(Some(there), ModelStep::Swap)
            }),
            Err(error) => Err(error),
        }
    }

    /// What no run of the model made stays, unless a person says so; what another project made stays in any case.
    async fn refuse_others(&self, plan: &ModelPlan<'_>, kind: ModelKind) -> Result<()> {
        let (name, word) = (&plan.name, kind.as_str());
        let refused = |what: String, hint: String| {
            let hint = format!("nothing was changed; {hint}");
            Err(Error::new(ErrorKind::Contract, format!("there is a {word} {name} {what}")).with_hint(hint))
        };
        let project = &self.pipeline.config.project.name;
        let usable = project.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let beside = match &self.request.prefix {
            None if usable => {
                format!("build beside it, `dwh models run -p {project}`, or give the model another schema")
            }
            None => "build beside it, `dwh models run -p PREFIX`, or give the model another schema".to_owned(),
            Some(_) => "take another prefix".to_owned(),
        };
        let mut unknown = Vec::new();
        for other in self.control.others(&self.work).await? {
            let Some(control) = other.control else {
                unknown.push(format!("`{}`", other.schema));
                continue;
            };
            let made = control.model_made(&self.work, &name.to_string()).await?.and_then(|made| made.relation);
            let now = control.bronze_id(&self.work, name).await?;
            if made.zip(now).is_some_and(|(made, now)| is_same(kind, &made, &now)) {
                let project = match control.project(&self.work).await? {
                    Some(project) => format!("project `{project}` (control schema `{}`)", other.schema),
                    None => format!("another project (control schema `{}`)", other.schema),
                };
                return refused(format!("that {project} made"), format!("it is that project's: {beside}"));
            }
        }
        match unknown.is_empty() {
            _ if self.request.replace => Ok(()),
            true => refused(
                "that no run of it made".to_owned(),
                format!("rename what is there, or let the model take its place: `dwh models run {name} --replace`"),
            ),
            false => refused(
                "that no run of it made".to_owned(),
                format!(
                    "it may be another project's, whose control schema ({}) may not be read from here: {beside}",
                    unknown.join(", ")
                ),
            ),
        }
    }

    /// Makes the schema if it is not there, and becomes the role that owns what is built.
    async fn become_owner(&self, schema: &str) -> Result<()> {
        let target = &self.pipeline.config.target;
        let there = "select exists (select from pg_catalog.pg_namespace where nspname = $1)";
        let there = self.work.query_typed_one(there, &[(&schema, Type::TEXT)]).await.map_err(sort)?;
        if !there.get::<_, bool>(0) {
            self.command(&table_schema(target, schema)).await?;
        }
        self.command(&format!("set local role {}", quote_ident(&target.owner_role))).await
    }

    /// Builds it, and tells its rows.
    async fn make(
        &self,
        plan: &ModelPlan<'_>,
        there: Option<&There>,
        step: ModelStep,
        run: &mut ModelRun,
    ) -> Result<u64> {
        let Some(there) = there else {
            let rows = self.fill(plan, &plan.name).await?;
            self.execute(&plan.readable(&self.pipeline.config.target.reader_role)).await?;
            return Ok(rows);
        };
        match step {
            ModelStep::Refresh => {
                self.execute(&plan.refresh(there.concurrently)).await?;
                let row = self.work.query_typed_one(&plan.count(), &[]).await.map_err(sort)?;
                Ok(row.get::<_, i64>(0).cast_unsigned())
            }
            ModelStep::Replace => {
                self.command(SAVEPOINT).await?;
                match self.work.execute_typed(&plan.replace_view(), &[]).await {
                    Ok(_) => Ok(0),
                    // It has other columns than before.
                    Err(error) if code(&error) == Some("42P16") => {
                        self.command(BACK).await?;
                        run.step = Some(ModelStep::Swap);
                        self.swap(plan, there, run).await
                    }
                    Err(error) => Err(sort(error)),
                }
            }
            ModelStep::Refill => self.refill(plan).await,
            _ => self.swap(plan, there, run).await,
        }
    }

    /// Makes the relation under a name, with its key and its indexes, and tells its rows.
    async fn fill(&self, plan: &ModelPlan<'_>, relation: &TableRef) -> Result<u64> {
        let rows = self.execute(&plan.create(relation)).await?;
        if let Some(sql) = plan.key(relation) {
            self.work.execute_typed(&sql, &[]).await.map_err(|error| not_a_key(plan, error))?;
        }
        for sql in plan.indexes(relation).iter().chain(&plan.analyze(relation)) {
            self.execute(sql).await?;
        }
        Ok(rows)
    }

    /// Builds it beside what is there, and puts it in its place, with grants, comments and the views over it.
    async fn swap(&self, plan: &ModelPlan<'_>, there: &There, run: &mut ModelRun) -> Result<u64> {
        let rows = self.fill(plan, &plan.beside()).await?;
        // While it was built, more may have come.
        let views = catalog::views(&self.work, &plan.name).await?;
        refuse_held(plan, there, &views)?;
        let filled: Vec<&TableRef> = views.iter().filter(|v| v.filled.is_some()).map(|v| &v.view).collect();
        let before = self.relations(&filled).await?;
        self.command(WHOLE).await?;
        self.execute(&plan.carry_over()).await?;
        for view in views.iter().rev() {
            self.execute(&view.drop_sql()).await?;
        }
        self.execute(&plan.drop_old(there.kind)).await?;
        for sql in plan.rename() {
            self.execute(&sql).await?;
        }
        for view in &views {
            self.make_again(view).await?;
        }
        run.step = Some(ModelStep::Swap);
        let after = self.relations(&filled).await?;
        if !after.is_empty() {
            self.command("reset role").await?;
        }
        for (before, after) in before.iter().zip(&after) {
            self.control.model_made_again(&self.work, before, after).await?;
        }
        Ok(rows)
    }

    /// Which relations these are.
    async fn relations(&self, names: &[&TableRef]) -> Result<Vec<BronzeId>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let owner = format!("set local role {}", quote_ident(&self.pipeline.config.target.owner_role));
        self.command("reset role").await?;
        let ids = self.control.bronze_ids(&self.work, names).await?;
        self.command(&owner).await?;
        Ok(ids.into_iter().flatten().collect())
    }

    async fn make_again(&self, view: &ViewDef) -> Result<()> {
        for sql in view.make_sql() {
            if let Err(error) = self.work.execute_typed(&sql, &[]).await {
                return Err(match sort(error) {
                    lost if lost.kind() == ErrorKind::Unreachable => lost,
                    cause => self.does_not_go(view, cause).await,
                });
            }
        }
        Ok(())
    }

    /// The error of a view that cannot be made again, with the statements that drop it and what is made of it.
    async fn does_not_go(&self, view: &ViewDef, cause: Error) -> Error {
        let over = async {
            self.command(WHOLE_AGAIN).await?;
            catalog::views(&self.work, &view.view).await
        };
        let over: Vec<ViewDef> = over.await.unwrap_or_default();
        let drops: Vec<String> = over.iter().rev().chain([view]).map(ViewDef::drop_sql).collect();
        let them = if over.is_empty() { "the view" } else { "these views" };
        let (name, word) = (&view.view, view.word());
        Error::new(ErrorKind::Contract, format!("{word} `{name}` reads it, and does not go with what it is now"))
            .with_hint(format!(
                "nothing was changed; in the target: {}; then run it again, and make {them} again: `dwh models run` does, for \
                 models (of any other keep what this prints: select pg_catalog.pg_get_viewdef({}::pg_catalog.regclass);)",
                drops.join("; "),
                quote_literal(&name.sql())
            ))
            .with_source(cause)
    }

    /// Puts the rows into the table that is there, which stays with all that holds on to it.
    async fn refill(&self, plan: &ModelPlan<'_>) -> Result<u64> {
        let rows = self.fill(plan, &plan.beside()).await?;
        let [empty, fill, remove] = plan.refill();
        self.refuse_hidden(plan).await?;
        self.execute(&empty).await?;
        if self.holds(&plan.any_row()).await? {
            let text = format!("{} keeps rows that were deleted: they would stand beside the new ones", plan.name);
            return Err(Error::new(ErrorKind::Data, text).with_hint(format!(
                "nothing was changed; look for a trigger or a rule on {} that lets no row be deleted",
                plan.name
            )));
        }
        let filled = self.execute(&fill).await?;
        if filled != rows {
            let text = format!("{rows} rows were built, and {} took {filled}", plan.name);
            return Err(Error::new(ErrorKind::Data, text).with_hint(format!(
                "nothing was changed; look for a trigger or a rule on {} that drops rows",
                plan.name
            )));
        }
        self.execute(&remove).await?;
        if let Some(sql) = plan.analyze(&plan.name) {
            self.execute(&sql).await?;
        }
        Ok(rows)
    }

    /// What row security hides cannot be deleted. The server refuses as well, as if a right were missing.
    async fn refuse_hidden(&self, plan: &ModelPlan<'_>) -> Result<()> {
        if !self.holds(&plan.hides_rows()).await? {
            return Ok(());
        }
        let (name, owner) = (&plan.name, &self.pipeline.config.target.owner_role);
        let text =
            format!("row level security of {name} is forced on its owner `{owner}`, whom it hides old rows from");
        Err(Error::new(ErrorKind::Contract, text).with_hint(format!(
            "nothing was changed; in the target: alter table {} no force row level security; (others stay under its policies)",
            name.sql()
        )))
    }

    /// What a question says that is answered by yes or no.
    async fn holds(&self, sql: &str) -> Result<bool> {
        let row = self.work.query_typed_one(sql, &[]).await.map_err(sort)?;
        Ok(row.get(0))
    }

    /// Ends the transaction, and tells the run log; the error comes back with who holds a lock that was not granted.
    async fn undo(&self, plan: &ModelPlan<'_>, error: Error, run: &ModelRun) -> Error {
        let rolled_back = self.roll_back(&error).await;
        let (error, looked) = match is_lock_timeout(&error) {
            true => match look(&self.work, holders(&self.work, Some(&[plan.name.sql()]), LockWanted::Alone)).await {
                Ok(found) => (held_by(error, &found, "in the target"), Ok(())),
                Err(second) => (error, Err(second)),
            },
            false => (error, Ok(())),
        };
        let told = match run.run_id {
            Some(run_id) => {
                let why = error.chain();
                let failed = self.control.failed(&self.log, run_id, &why, Some(error.kind()));
                self.pipeline.within(&self.log, failed).await.map(drop)
            }
            None => Ok(()),
        };
        for second in [rolled_back, looked, told].into_iter().filter_map(Result::err) {
            self.pipeline.warn(&run.model, &format!("after it failed, the target did not answer: {second}"));
        }
        error
    }

    async fn roll_back(&self, error: &Error) -> Result<()> {
        if error.kind() == ErrorKind::Interrupted {
            self.connector.cancel(&self.work.cancel_token()).await?;
        }
        self.command("rollback").await
    }

    /// One statement, and how many rows it brought.
    async fn execute(&self, sql: &str) -> Result<u64> {
        self.work.execute_typed(sql, &[]).await.map_err(sort)
    }

    /// Statements of ours.
    async fn command(&self, sql: &str) -> Result<()> {
        self.work.batch_execute(sql).await.map_err(sort)
    }
}

fn code(error: &tokio_postgres::Error) -> Option<&str> {
    error.code().map(tokio_postgres::error::SqlState::code)
}

/// Whether what is there is what a run made. A view is made again whenever a table below it is, and keeps no more than its
/// name and that it has no rows of its own.
fn is_same(kind: ModelKind, made: &BronzeId, now: &BronzeId) -> bool {
    let own = match kind {
        ModelKind::View => made.file == now.file,
        ModelKind::Table | ModelKind::MaterializedView => made.oid == now.oid,
    };
    own && (made.control, &made.warehouse) == (now.control, &now.warehouse)
}

/// Rows that have the same key, or none.
fn not_a_key(plan: &ModelPlan<'_>, error: tokio_postgres::Error) -> Error {
    let what = match code(&error) {
        Some("23505") => "is not unique",
        Some("23502") => "is null in some rows",
        _ => return sort(error),
    };
    let key = plan.key.join("`, `");
    Error::new(ErrorKind::Data, format!("its key `{key}` {what}"))
        .with_hint("nothing was changed; correct the SELECT, or its line `-- key:`")
}
