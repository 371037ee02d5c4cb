//! What is called, and what the tool says then.

use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

use dwh_core::pipeline::{
    BackfillRequest, ErrorReport, Event, Outcome, PruneRequest, RebuildRequest, RecoverReport, RecoverRequest,
    ReplayRequest, ReseedRequest, TableRun,
};
use dwh_core::{Error, LoadParams, Pipeline, RunRequest, Sink, Timestamp};

use crate::mortal::Life;
use crate::steps::{Death, Table, Verb};
use crate::world::{World, name, table_of};

/// A call with all that it needs.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Whether another server, or an older state of it, is the same source.
    Run(Option<Table>, bool),
    Extract(Table),
    Load(LoadParams),
    Backfill(Table, Timestamp, Option<Timestamp>),
    Reseed(Table, bool),
    /// The same in the place of what bronze has.
    Replace(Table, bool),
    /// From, to, and whether gaps are accepted.
    Replay(Table, Option<Timestamp>, Option<Timestamp>, bool),
    /// Whether what is there is put aside, and whether gaps are accepted.
    Rebuild(Option<Table>, bool, bool),
    Prune,
    Recover,
    SetAside(String),
    Migrate(Table),
}

/// How much a word weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The call goes on, or has mended it.
    Note,
    /// The exit code is not 0.
    Error,
}

/// Something that the tool said.
#[derive(Debug, Clone)]
pub struct Word {
    pub table: Option<Table>,
    pub text: String,
    pub hint: String,
    pub weight: Weight,
}

/// What a call said and did.
#[derive(Debug, Default)]
pub struct Told {
    pub words: Vec<Word>,
    /// Tables whose run came to its end.
    pub up_to_date: Vec<Table>,
    /// Whether the process died.
    pub died: bool,
}

impl Told {
    /// Whether anything was said of this table.
    pub fn speaks_of(&self, table: Table) -> bool {
        self.words.iter().any(|word| word.table.is_none_or(|of| of == table))
    }

    /// Whether anything was said of this table but that the target is older than its files.
    pub fn admits(&self, table: Table) -> bool {
        let of = |word: &&Word| word.table.is_none_or(|of| of == table);
        self.words.iter().filter(of).any(|word| !word.text.starts_with("there are files up to run"))
    }

    /// Whether something went wrong with this table.
    pub fn fails(&self, table: Table) -> bool {
        self.words.iter().any(|word| word.weight == Weight::Error && word.table.is_none_or(|of| of == table))
    }

    fn add(&mut self, table: Option<Table>, weight: Weight, text: impl Into<String>, hint: impl Into<String>) {
        let (text, hint) = (text.into(), hint.into());
        // A doubt that only a person can settle.
        let weight = if text.contains("`dwh verify` tells") { Weight::Error } else { weight };
        self.words.push(Word { table, weight, text, hint });
    }

    fn error(&mut self, table: Option<Table>, error: &Error) {
        self.add(table, Weight::Error, error.chain(), error.hint());
    }

    fn report(&mut self, table: Option<Table>, error: &ErrorReport) {
        self.add(table, Weight::Error, error.message.clone(), error.hint.clone());
    }

    fn runs(&mut self, runs: &[TableRun]) {
        for run in runs {
            if let Some(error) = &run.error {
                self.report(table_of(&run.table), error);
            }
        }
    }

    fn recovered(&mut self, report: &RecoverReport) {
        for found in &report.found {
            let table = found.table.as_deref().and_then(table_of);
            let done = matches!(found.outcome, Outcome::Mended | Outcome::Planned);
            let weight = if done { Weight::Note } else { Weight::Error };
            let text = format!("{}: {}", found.state.as_str(), found.message);
            let hint = found.error.as_ref().map(|error| error.hint.clone()).or_else(|| found.hint.clone());
            self.add(table, weight, text, hint.unwrap_or_default());
        }
        for error in &report.errors {
            self.report(table_of(&error.table), &error.error);
        }
    }
}

/// The request of a step; `None` if there is nothing to do it with.
pub async fn request(world: &World, verb: Verb) -> Option<Request> {
    let ago = |seconds: u8| world.clock.minus(dwh_core::watermark::Micros::seconds(seconds.into()));
    Some(match verb {
        Verb::Run(table) => Request::Run(table, false),
        Verb::Extract(table) => Request::Extract(table),
        Verb::Load(table, at) => {
            let waiting = world.manifests("exports", table).await;
            let manifest = waiting.get(usize::from(at) % waiting.len().max(1))?;
            Request::Load(LoadParams {
                table: name(table),
                csv_path: manifest.csv.to_string(),
                run_id: Some(manifest.run_id),
                run_started_at: Some(manifest.run_started_at),
                more: false,
            })
        }
        Verb::Backfill(table, from, to) => Request::Backfill(table, ago(from), Some(ago(to))),
        Verb::Reseed(table, anew) => Request::Reseed(table, anew),
        Verb::Replace(table, anew) => Request::Replace(table, anew),
        Verb::Replay(table, gaps) => Request::Replay(table, None, None, gaps),
        Verb::ReplayRange(table, from, to) => Request::Replay(table, Some(ago(from)), Some(ago(to)), false),
        Verb::Rebuild(table, gaps) => Request::Rebuild(table, true, gaps),
        Verb::Prune => Request::Prune,
        Verb::Recover => Request::Recover,
        Verb::SetAside(table, at) => {
            let waiting = world.manifests("exports", table).await;
            Request::SetAside(waiting.get(usize::from(at) % waiting.len().max(1))?.run_id.to_string())
        }
    })
}

impl World {
    /// Does it in a process of its own, which may die.
    pub async fn perform(&mut self, request: &Request, death: Option<Death>) -> Told {
        if let Request::Migrate(table) = request {
            self.migrate(*table).await;
            return Told::default();
        }
        let life = Life::new(death);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        let pipeline = self.pipeline(&life).with_observer(Arc::new(move |event| {
            if let Event::Warning { table, message } = event {
                ears.lock().expect("no panic").push((table.clone(), message.clone()));
            }
        }));
        let mut told = Told::default();
        let done = tokio::select! {
            biased;
            () = life.over() => false,
            () = call(&pipeline, request, &mut told) => true,
        };
        if !done {
            told = Told { died: true, ..Told::default() };
        }
        drop(pipeline);
        self.wait_for_leases().await;
        for (table, message) in heard.lock().expect("no panic").drain(..) {
            told.add(table_of(&table), Weight::Note, message, "");
        }
        self.words.extend(told.words.iter().cloned());
        told
    }

    /// The tasks of a dead process end at their next step.
    async fn wait_for_leases(&self) {
        while self.sink.overview().await.expect("a look").tables.values().any(|table| table.holder.is_some()) {
            tokio::task::yield_now().await;
        }
    }
}

fn globs(table: Option<Table>) -> Vec<String> {
    table.map(name).into_iter().collect()
}

async fn call(pipeline: &Pipeline, request: &Request, told: &mut Told) {
    let cancel = CancellationToken::new();
    match request {
        Request::Run(table, accept_source) => {
            let (tables, accept_source) = (globs(*table), *accept_source);
            let asked = RunRequest { tables, jobs: Some(1), accept_source, ..RunRequest::default() };
            match pipeline.run(&asked, &cancel).await {
                Ok(report) => {
                    told.runs(&report.runs);
                    let fine = |of: &Table| report.runs.iter().all(|run| run.table != name(*of) || run.error.is_none());
                    let asked = (0..2).filter(|of| table.is_none_or(|table| table == *of));
                    told.up_to_date = asked.filter(fine).collect();
                }
                Err(error) => told.error(*table, &error),
            }
        }
        Request::Extract(table) => {
            if let Err(error) = pipeline.extract(&name(*table), false, &cancel).await {
                told.error(Some(*table), &error);
            }
        }
        Request::Load(params) => {
            if let Err(error) = pipeline.load(params, false, false, &cancel).await {
                told.error(table_of(&params.table), &error);
            }
        }
        Request::Backfill(table, from, to) => {
            let (from, to, table) = (*from, *to, name(*table));
            let asked =
                BackfillRequest { table, from, to, wait: false, restart: false, since_run: None, dry_run: false };
            read_again(pipeline.backfill(&asked, &cancel).await, &asked.table, told);
        }
        Request::Reseed(table, restart) => {
            let asked = ReseedRequest { restart: *restart, ..ReseedRequest::new(vec![name(*table)]) };
            reseeded(pipeline.reseed(&asked, &cancel).await, &name(*table), told);
        }
        Request::Replace(table, restart) => {
            let (replace, allow_empty, restart) = (true, true, *restart);
            let asked = ReseedRequest { replace, allow_empty, restart, ..ReseedRequest::new(vec![name(*table)]) };
            reseeded(pipeline.reseed(&asked, &cancel).await, &name(*table), told);
        }
        Request::Replay(table, from, to, accept_gaps) => {
            let (from, to, accept_gaps) = (*from, *to, *accept_gaps);
            let asked = ReplayRequest { from, to, accept_gaps, ..ReplayRequest::new(name(*table)) };
            match pipeline.replay(&asked, &cancel).await {
                Ok(report) => {
                    report.gaps.iter().for_each(|gap| told.add(Some(*table), Weight::Note, &gap.message, ""));
                    told.runs(&report.runs);
                }
                Err(error) => told.error(Some(*table), &error),
            }
        }
        Request::Rebuild(table, reset, accept_gaps) => {
            let (reset, accept_gaps) = (*reset, *accept_gaps);
            let asked = RebuildRequest { reset, accept_gaps, ..RebuildRequest::new(globs(*table)) };
            rebuild(pipeline, &asked, *table, told).await;
        }
        Request::Prune => match pipeline.prune(&PruneRequest::default(), &cancel).await {
            Ok(report) => {
                for table in &report.tables {
                    table.error.iter().for_each(|error| told.report(table_of(&table.table), error));
                }
            }
            Err(error) => told.error(None, &error),
        },
        Request::Recover => match pipeline.recover(&RecoverRequest::default(), &cancel).await {
            Ok(report) => told.recovered(&report),
            Err(error) => told.error(None, &error),
        },
        Request::SetAside(what) => match pipeline.set_aside(what, false).await {
            Ok(report) => told.recovered(&report),
            Err(error) => told.error(None, &error),
        },
        Request::Migrate(_) => {}
    }
}

async fn rebuild(pipeline: &Pipeline, asked: &RebuildRequest, table: Option<Table>, told: &mut Told) {
    match pipeline.rebuild(asked, &CancellationToken::new()).await {
        Ok(report) => {
            for rebuilt in &report.tables {
                let of = table_of(&rebuilt.table);
                let gaps = rebuilt.gaps.iter().map(|gap| &gap.message);
                rebuilt.notes.iter().chain(gaps).for_each(|note| told.add(of, Weight::Note, note, ""));
                rebuilt.error.iter().for_each(|error| told.report(of, error));
            }
        }
        Err(error) => told.error(table, &error),
    }
}

fn reseeded(done: dwh_core::Result<dwh_core::pipeline::ReseedReport>, table: &str, told: &mut Told) {
    match done {
        Ok(report) => report.tables.iter().for_each(|report| told.runs(&report.runs)),
        Err(error) => told.error(table_of(table), &error),
    }
}

fn read_again(done: dwh_core::Result<dwh_core::pipeline::BackfillReport>, table: &str, told: &mut Told) {
    match done {
        Ok(report) => told.runs(&report.runs),
        Err(error) => told.error(table_of(table), &error),
    }
}
