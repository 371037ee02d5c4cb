//! The verbs, a file each: arguments → one call of the engine → print.
//!
//! A new verb is a variant of [`Command`], a file here, a line in [`dispatch`], and a [`Show`](crate::output::Show) for
//! its report.

mod access;
mod alert;
mod ask;
mod backfill;
mod check;
mod completions;
mod config;
mod deletes;
mod design;
mod export;
mod extract;
mod files;
mod init;
mod load;
mod maintain;
mod man;
mod migrate;
mod models;
mod password;
mod plan;
mod prune;
mod rebuild;
mod recover;
mod replay;
mod report;
mod reseed;
mod resync;
mod run;
mod runs;
mod schedule;
mod status;
mod tap;
mod verify;

use dwh_core::{Error, ErrorKind, Pipeline, Result};
use std::future::Future;
use std::sync::OnceLock;
use tokio_util::sync::CancellationToken;

use crate::args::Command;
use crate::exit::Exit;
use crate::output::Printer;
use crate::settings::Settings;

/// What every verb works with.
#[derive(Debug)]
pub struct Context {
    /// The resolved options.
    pub settings: Settings,
    /// Where it prints.
    pub printer: Printer,
    /// Cancelled by the first Ctrl-C.
    pub cancel: CancellationToken,
    /// What the command ends with once a signal has asked it to stop.
    pub signal: OnceLock<Exit>,
}

impl Context {
    /// The engine, telling the printer what happens.
    pub fn pipeline(&self) -> Result<Pipeline> {
        let config = self.settings.load_config()?;
        self.printer.tell_times_in(&config.project.zone);
        Ok(Pipeline::from_config(config)?.with_observer(self.printer.observer()))
    }

    /// Gives `work` up at the first Ctrl-C: for what does not listen for it itself, and leaves nothing half done.
    pub async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            ended = work => ended,
            () = self.cancel.cancelled() => Err(Error::new(ErrorKind::Interrupted, "the command was interrupted")),
        }
    }
}

/// Runs the verb.
pub async fn dispatch(command: Command, context: &Context) -> Result<Exit> {
    match command {
        Command::Init(args) => init::init(args, context).await,
        Command::Setup(args) => access::setup(args, context).await,
        Command::User(command) => access::user(command, context).await,
        Command::Check(args) => check::check(&args, context).await,
        Command::Migrate(args) => migrate::migrate(args, context).await,
        Command::Design(command) => design::design(command, context).await,
        Command::Run(args) => run::run(args, context).await,
        Command::Plan(args) => plan::plan(args, context).await,
        Command::Extract(args) => extract::extract(&args, context).await,
        Command::Load(args) => load::load(args, context).await,
        Command::Status(args) => status::status(&args, context).await,
        Command::Alert(args) => alert::alert(args, context).await,
        Command::Report(args) => report::report(args, context).await,
        Command::Runs(args) => runs::runs(args, context).await,
        Command::Verify(args) => verify::verify(args, context).await,
        Command::Backfill(args) => backfill::backfill(args, context).await,
        Command::Reseed(args) => reseed::reseed(args, context).await,
        Command::Resync(args) => resync::resync(args, context).await,
        Command::Deletes(args) => deletes::deletes(args, context).await,
        Command::Tap(args) => tap::tap(args, context).await,
        Command::Recover(args) => recover::recover(args, context).await,
        Command::Replay(args) => replay::replay(args, context).await,
        Command::Rebuild(args) => rebuild::rebuild(args, context).await,
        Command::Maintain(args) => maintain::maintain(args, context).await,
        Command::Prune(args) => prune::prune(args, context).await,
        Command::Export(args) => export::export(args, context).await,
        Command::Files(command) => files::files(command, context).await,
        Command::Models(command) => models::models(command, context).await,
        Command::Schedule(args) => schedule::schedule(&args, context),
        Command::Config(args) => config::config(&args, context),
        Command::Completions(args) => completions::completions(&args, context),
        Command::Man => man::man(context),
    }
}
