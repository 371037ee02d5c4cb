//! Whether a table's watermark may be used: it belongs to a project, a source, a relation, a watermark column and a bronze
//! table, and means nothing for any other.

use crate::blob::Manifest;
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{BronzeId, Fate, Origin, Stranger};
use crate::pipeline::Pipeline;
use crate::sink::{BronzeState, TableState};
use crate::source::{Snapshot, SourceIdentity};

/// What speaks against a load on top of a watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// It was read for something else.
    Stranger(Stranger),
    /// Bronze lost what was loaded.
    Bronze(Fate),
}

impl Conflict {
    /// Whether reading everything again is a way out.
    pub(crate) const fn reseed_heals(&self) -> bool {
        !matches!(self, Self::Stranger(Stranger::Project { .. }))
    }

    /// What is wrong, without the table's name, and what to do.
    fn told(&self, table: &TableConfig, state: &TableState) -> (String, String) {
        match self {
            Self::Stranger(stranger) => told_stranger(stranger, table),
            Self::Bronze(fate) => told_fate(*fate, table, state),
        }
    }

    /// What is wrong, without the table's name.
    pub(crate) fn message(&self, table: &TableConfig, state: &TableState) -> String {
        self.told(table, state).0
    }

    /// The refusal.
    pub(crate) fn error(&self, table: &TableConfig, state: &TableState) -> Error {
        let (message, hint) = self.told(table, state);
        Error::new(ErrorKind::Contract, format!("table `{}`: {message}", table.name)).with_hint(hint)
    }
}

fn told_stranger(stranger: &Stranger, table: &TableConfig) -> (String, String) {
    let (name, source) = (&table.name, &table.source);
    let reseed = again(table);
    match stranger {
        Stranger::Project { other } => (
            format!("its rows and its watermark belong to project `{other}`"),
            format!(
                "two projects share neither watermarks nor bronze tables: give this one another `control_schema` and \
                 `bronze_schema` in `[target]`, or the table another `name` and `target`; if the project was only \
                 renamed, set `[project] name` back to `{other}`"
            ),
        ),
        Stranger::Database { before, now } => (
            format!("its rows came from database `{before}`, and source `{source}` is database `{now}`"),
            format!(
                "correct `url` of `[source.{source}]`; or, if the table is to come from there from now on: {reseed}"
            ),
        ),
        Stranger::Server { before, now } if table.files.is_some() => (
            format!("its rows came from the files of {before}, and source `{source}` reads {now}"),
            format!(
                "correct `files` of `[source.{source}]`; or, if the files moved there, or are to come from there from now \
                 on: `dwh run {name} --accept-source`; files that were loaded under the same path are not loaded again"
            ),
        ),
        Stranger::Server { before, now } => (
            format!("its rows came from server {before}, and source `{source}` is server {now}"),
            format!(
                "correct `url` of `[source.{source}]`; if it is the same database on a new server: `dwh run {name} \
                 --accept-source`, which reads `late_window` again; if it is another one, and the table is to come from \
                 there from now on: {reseed}"
            ),
        ),
        Stranger::Relation { before, now } => (
            format!("its watermark belongs to `{}`, and the configuration reads `{}`", short(before), short(now)),
            format!("set it back; or, if the table is to come from there from now on: {reseed}"),
        ),
        Stranger::Watermark { before, now } => {
            let before = before.as_ref().map_or_else(
                || "the table was read whole until now".to_owned(),
                |before| format!("its watermark was read from column `{before}`"),
            );
            (
                format!("{before}, and the configuration names `{now}`: rows below it would never come"),
                format!("set it back; or {reseed}"),
            )
        }
    }
}

fn told_fate(fate: Fate, table: &TableConfig, state: &TableState) -> (String, String) {
    let target = &table.target;
    let before = state.bronze.as_ref().map(|bronze| bronze.table.as_str()).unwrap_or_default();
    let what = match fate {
        Fate::Dropped => format!("{target} is not there any more: it was dropped after its rows were loaded"),
        Fate::MadeAgain => format!("{target} was dropped and made again after its rows were loaded"),
        Fate::Moved => format!("its rows were loaded into {before}, and the configuration names {target}"),
        Fate::RestoredEmpty => format!("the warehouse is another one than before, and {target} is empty in it"),
        _ => format!("{target} was emptied after its rows were loaded"),
    };
    let back = if fate == Fate::Moved { "set `target` back; or " } else { "" };
    let rebuild = format!("`dwh rebuild {} --reset` makes the table anew from its files", table.name);
    let hint = match table.mode {
        Mode::Scd => format!("{back}{rebuild}: copies of the past are nowhere else"),
        _ if fate == Fate::Dropped => format!(
            "{rebuild}; or `dwh migrate {0}` and then `dwh reseed {0}` read everything from the source again",
            table.name
        ),
        _ => format!("{back}`dwh reseed {}` reads everything from the source again; or {rebuild}", table.name),
    };
    (format!("{what}: it lacks rows that will not come again"), hint)
}

fn again(table: &TableConfig) -> String {
    match table.mode {
        Mode::Scd => format!("`dwh run {} --accept-source` appends copies of it", table.name),
        _ => format!("`dwh reseed {}` reads everything from there again; rows that bronze has stay", table.name),
    }
}

/// The beginning of a query, or the relation.
fn short(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &words[..at]),
        None => words,
    }
}

/// The relation of a table, or the text of its query.
pub(super) fn relation_of(table: &TableConfig) -> String {
    match (&table.relation, &table.query) {
        (Some(relation), _) => relation.to_string(),
        (None, query) => query.clone().unwrap_or_default(),
    }
}

/// Whether the state was read from the server of the snapshot.
pub(super) fn same_server(state: &TableState, snapshot: &Snapshot) -> bool {
    state.system_identifier.as_deref().zip(state.timeline) == Some(snapshot.identity.history())
}

/// Whether the snapshot was taken before the one that the state was read in.
pub(super) fn is_behind(state: &TableState, snapshot: &Snapshot) -> bool {
    same_server(state, snapshot) && state.snapshot_xmin.is_some_and(|loaded| snapshot.xmin < loaded)
}

/// Refuses to read all of a table from a standby that is behind the server which was read last: what bronze has is newer. Of
/// windows none is lost by it, and what lies behind is read again.
pub(super) fn refuse_behind(table: &TableConfig, state: &TableState, snapshot: &Snapshot) -> Result<()> {
    let whole = matches!(table.mode, Mode::Snapshot | Mode::Scd);
    if !(whole && snapshot.identity.in_recovery && is_behind(state, snapshot)) {
        return Ok(());
    }
    let (name, source) = (&table.name, &table.source);
    let text = format!("table `{name}`: the standby of source `{source}` is behind the server that was read last");
    Err(Error::new(ErrorKind::Busy, text).with_hint(
        "nothing was read, for bronze has newer rows; run it again once the standby has caught up, or read from another server",
    ))
}

/// What a CSV was read for; `None` for one of release 0.1, and one that came from no database.
pub(super) fn origin_of(manifest: &Manifest) -> Option<Origin> {
    let snapshot = manifest.snapshot.as_ref()?;
    Some(Origin {
        project: manifest.project.clone(),
        system_identifier: snapshot.identity.system_identifier.clone(),
        database: snapshot.identity.database.clone(),
        relation: manifest.relation.clone()?,
        watermark: manifest.watermark_column.clone().filter(|_| manifest.mode == Mode::Incremental),
    })
}

/// The bronze table that must still be there; `None` where nothing depends on it. A snapshot brings every row by itself.
pub(crate) fn looks_at_bronze<'a>(table: &TableConfig, state: &'a TableState) -> Option<&'a BronzeId> {
    state.bronze.as_ref().filter(|_| table.mode != Mode::Snapshot && state.last_run_id.is_some())
}

impl Pipeline {
    /// What the configuration reads a table for, and the source, once that is known.
    fn origin(&self, table: &TableConfig, identity: Option<&SourceIdentity>) -> Origin {
        let text = |of: fn(&SourceIdentity) -> &String| identity.map(of).cloned().unwrap_or_default();
        Origin {
            project: self.config.project.name.clone(),
            system_identifier: text(|identity| &identity.system_identifier),
            database: text(|identity| &identity.database),
            relation: relation_of(table),
            watermark: table.watermark.clone().filter(|_| table.mode == Mode::Incremental),
        }
    }

    /// What speaks against the use of a watermark for this origin.
    fn stranger(&self, table: &TableConfig, state: &TableState, now: &Origin) -> Option<Conflict> {
        let found = state.origin.as_ref()?.refuses(now)?;
        let accepted = match &found {
            Stranger::Server { .. } => self.accept_source,
            // Nothing below a watermark can be missed where everything is read.
            Stranger::Database { .. } => self.accept_source && table.mode != Mode::Incremental,
            _ => false,
        };
        (!accepted).then_some(Conflict::Stranger(found))
    }

    /// What speaks against a load on top of this watermark; the source is compared as far as `identity` is known.
    ///
    /// The first load of a table has nothing to lose, and a row of release 0.1 says nothing: both are taken as they are.
    pub(crate) async fn conflict(
        &self,
        table: &TableConfig,
        state: &TableState,
        identity: Option<&SourceIdentity>,
    ) -> Result<Option<Conflict>> {
        self.conflict_with(table, state, identity, None).await
    }

    /// The same where it may be known already which table bronze is.
    pub(crate) async fn conflict_with(
        &self,
        table: &TableConfig,
        state: &TableState,
        identity: Option<&SourceIdentity>,
        known: Option<BronzeState>,
    ) -> Result<Option<Conflict>> {
        if let Some(found) = self.stranger(table, state, &self.origin(table, identity)) {
            return Ok(Some(found));
        }
        let Some(then) = looks_at_bronze(table, state) else { return Ok(None) };
        let now = match known {
            Some(known) => Some(known),
            None => self.sink.bronze_id(&table.target).await?,
        };
        let Some(now) = now else {
            // Not every sink can tell which table it is.
            let dropped = self.sink.describe(&table.target).await?.is_none();
            return Ok(dropped.then_some(Conflict::Bronze(Fate::Dropped)));
        };
        let fate = then.fate(&now.id, now.empty);
        match fate {
            Fate::Rewritten => self.warn(
                &table.name,
                &format!("the rows of {} were rewritten since the last load; `dwh verify` tells whether any are gone", table.target),
            ),
            Fate::Restored => self.warn(
                &table.name,
                "the warehouse is another one than at the last load, or was restored; `dwh verify` tells whether rows are gone",
            ),
            _ => {}
        }
        Ok(fate.lost_rows().then_some(Conflict::Bronze(fate)))
    }

    /// Whether another project loaded the table.
    pub(crate) fn owned_by_another(&self, table: &TableConfig, state: &TableState) -> Option<Conflict> {
        let found = self.stranger(table, state, &self.origin(table, None));
        found.filter(|found| matches!(found, Conflict::Stranger(Stranger::Project { .. })))
    }

    /// Refuses a table whose watermark cannot be used.
    pub(crate) async fn judge(&self, table: &TableConfig, state: &TableState) -> Result<()> {
        match self.conflict(table, state, None).await? {
            Some(found) => Err(found.error(table, state)),
            None => Ok(()),
        }
    }

    /// The same of a table that was looked at with others a moment ago. Whoever loaded it since has written into the watermark
    /// row which table it is, so only a table that is the one of that row is believed.
    pub(super) async fn judge_ahead(&self, table: &TableConfig, state: &TableState) -> Result<()> {
        let same = |now: &BronzeState| state.bronze.as_ref() == Some(&now.id) && !now.empty;
        let known = self.bronze_ahead(table).await.filter(same);
        match self.conflict_with(table, state, None, known).await? {
            Some(found) => Err(found.error(table, state)),
            None => Ok(()),
        }
    }

    /// Refuses a source that the rows of a table did not come from.
    pub(super) fn judge_source(
        &self,
        table: &TableConfig,
        state: &TableState,
        identity: &SourceIdentity,
    ) -> Result<()> {
        match self.stranger(table, state, &self.origin(table, Some(identity))) {
            Some(found) => Err(found.error(table, state)),
            None => Ok(()),
        }
    }

    /// Refuses a complete CSV that was read for something else than what the watermark, or the configuration, says.
    pub(super) async fn judge_csv(&self, table: &TableConfig, state: &TableState, manifest: &Manifest) -> Result<()> {
        self.judge(table, state).await?;
        let Some(read_for) = origin_of(manifest) else { return Ok(()) };
        if let Some(stranger) = read_for.refuses(&self.origin(table, None)) {
            let (message, _) = told_stranger(&stranger, table);
            let text = format!("table `{}`: `{}` was read for something else: {message}", table.name, manifest.csv);
            return Err(Error::new(ErrorKind::Contract, text).with_hint(format!(
                "set the configuration back and load it; or take it out of the way with `dwh recover --set-aside {}`, and \
                 `dwh reseed {}` reads everything as it is configured now",
                manifest.run_id, table.name
            )));
        }
        match self.stranger(table, state, &read_for) {
            Some(found) => Err(found.error(table, state)),
            None => Ok(()),
        }
    }
}
