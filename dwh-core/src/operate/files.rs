//! `files`: what a source of files holds, and where each of them stands; whether they are valid; and the archive.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::files::is_path_glob;
use crate::pipeline::failure::named;
use crate::pipeline::report::one_code;
use crate::pipeline::{ErrorReport, Pipeline};
use crate::plan::Plan;
use crate::raw_file::RawFile;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{RunFilter, RunRecord};
use crate::source::{ReadRequest, Reading};
use crate::watermark::Timestamp;

/// Where a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileState {
    /// This version of it is loaded.
    Loaded,
    /// No version of it is loaded; the next run reads it.
    New,
    /// Another version of it is loaded; the next run reads it.
    Changed,
    /// The last run that read this version failed.
    Failed,
    /// A version of it is loaded, and the file is not there any more.
    Gone,
    /// It is valid: it can be loaded.
    Valid,
    /// It was moved into the archive.
    Archived,
}

impl FileState {
    /// Whether the file does not lie where raw files do.
    pub(crate) const fn is_gone(self) -> bool {
        matches!(self, Self::Gone | Self::Archived)
    }

    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::New => "new",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Valid => "valid",
            Self::Archived => "archived",
        }
    }
}

/// One file of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct FileReport {
    /// The table's name in the configuration.
    pub table: String,
    /// Its path below the source.
    pub path: String,
    /// Where it stands.
    pub state: FileState,
    /// Its size.
    pub bytes: u64,
    /// When it was last written.
    pub modified: Timestamp,
    /// SHA-256 of its bytes, where it was read.
    pub sha256: Option<String>,
    /// The run that read it last.
    pub run_id: Option<RunId>,
    /// Records that were taken.
    pub rows: Option<u64>,
    /// Records that were rejected.
    pub rejected: u64,
    /// Where it was moved to, or would be.
    pub moved_to: Option<String>,
    /// Why it is not valid, or was not loaded.
    pub error: Option<ErrorReport>,
}

impl FileReport {
    fn new(table: &TableConfig, file: &RawFile, state: FileState) -> Self {
        Self {
            table: table.name.clone(),
            path: file.path.clone(),
            state,
            bytes: file.bytes,
            modified: file.modified,
            sha256: file.sha256.clone(),
            run_id: None,
            rows: None,
            rejected: file.rejected,
            moved_to: None,
            error: None,
        }
    }
}

/// What `files` found, or did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct FilesReport {
    /// Whether nothing was moved.
    pub dry_run: bool,
    /// One entry a file.
    pub files: Vec<FileReport>,
    /// Files of a source that no table takes, as `source: path`.
    pub unmatched: Vec<String>,
}

impl FilesReport {
    /// 0 if no file has an error; the one code of all that have; 1 if they differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        one_code(self.files.iter().filter_map(|file| file.error.as_ref()).map(|error| error.exit_code))
    }
}

/// Which files.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct FilesRequest {
    /// Globs over paths below the source; empty: all files.
    pub paths: Vec<String>,
    /// Globs over table names; empty: all tables of files.
    pub tables: Vec<String>,
}

impl FilesRequest {
    /// The files that match, of all tables.
    #[must_use]
    pub fn new(paths: Vec<String>) -> Self {
        Self { paths, tables: Vec::new() }
    }
}

impl Pipeline {
    /// The tables of files that match.
    pub(crate) fn file_tables(&self, globs: &[String]) -> Result<Vec<&TableConfig>> {
        let tables: Vec<&TableConfig> =
            self.config.select(globs)?.into_iter().filter(|table| table.mode == Mode::Files).collect();
        if tables.is_empty() {
            return Err(Error::new(ErrorKind::Config, "no table of the configuration comes out of files")
                .with_hint("write `[source.NAME]` with `files`, and a table with `mode = \"files\"`"));
        }
        Ok(tables)
    }

    /// Every file of the tables that match, and where it stands; files that no table takes.
    ///
    /// # Errors
    /// `Config` if nothing matches; whatever keeps a folder or the run log from being read.
    pub async fn list_files(&self, request: &FilesRequest) -> Result<FilesReport> {
        let wanted = Wanted::new(&request.paths)?;
        let known = self.known_states().await;
        let (mut report, mut taken) = (FilesReport::default(), BTreeMap::<String, BTreeSet<String>>::new());
        for table in self.file_tables(&request.tables)? {
            let state = known.get(&table.name).cloned().unwrap_or_default();
            let listed = self.tree(table)?.list(table).await.map_err(|error| named(error, &table.name))?;
            taken.entry(table.source.clone()).or_default().extend(listed.iter().map(|file| file.path.clone()));
            let pending = self.pending_files(table, &state).await.map_err(|error| named(error, &table.name))?;
            let pending: BTreeSet<&str> = pending.iter().map(|file| file.path.as_str()).collect();
            let done = self.done_files(table, &state).await?;
            let (last, loads) = self.last_runs(table).await?;
            for file in listed.iter().filter(|file| wanted.takes(&file.path)) {
                let run = last.get(&file.path);
                let failed = run.filter(|run| run.status == RunState::Failed && read_this(run, file));
                let (state, shown) = match (pending.contains(file.path.as_str()), done.get(&file.path)) {
                    (false, Some((read, ..))) => (FileState::Loaded, read),
                    _ if failed.is_some() => (FileState::Failed, file),
                    (_, Some(_)) => (FileState::Changed, file),
                    (_, None) => (FileState::New, file),
                };
                let mut told = FileReport::new(table, shown, state);
                // What is loaded stays so, though a later run that read it again has failed.
                let told_of = match state {
                    FileState::Loaded => done.get(&file.path).and_then(|(_, run_id, _)| loads.get(run_id)),
                    _ => run,
                };
                told.run_id = told_of.map(|run| run.run_id);
                told.rows = told_of.and_then(rows_of);
                told.error = failed.map(of_log);
                report.files.push(told);
            }
            let there: BTreeSet<&str> = listed.iter().map(|file| file.path.as_str()).collect();
            for (file, run_id, _) in done.values().filter(|(file, ..)| !there.contains(file.path.as_str())) {
                if wanted.takes(&file.path) {
                    let mut gone = FileReport::new(table, file, FileState::Gone);
                    (gone.run_id, gone.rows) = (Some(*run_id), loads.get(run_id).and_then(rows_of));
                    if let Some(to) = self.archived_at(table, file).await? {
                        (gone.state, gone.moved_to) = (FileState::Archived, Some(to));
                    }
                    report.files.push(gone);
                }
            }
        }
        report.unmatched = self.unmatched(&taken).await?;
        Ok(report)
    }

    /// Files of sources whose tables were all looked at, that none of these takes.
    async fn unmatched(&self, taken: &BTreeMap<String, BTreeSet<String>>) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for (source, taken) in taken {
            let Some(table) = self.config.tables.iter().find(|table| table.source == *source) else { continue };
            let ignored = |path: &str| {
                let tables = self.config.tables.iter().filter(|table| table.source == *source);
                tables.filter_map(|table| table.files.as_deref()).any(|files| crate::files::is_ignored(files, path))
            };
            let all = self.tree(table)?.all().await?;
            let free = all.iter().filter(|file| !taken.contains(&file.path) && !ignored(&file.path));
            found.extend(free.map(|file| format!("{source}: {}", file.path)));
        }
        found.sort();
        Ok(found)
    }

    /// Where the archive has a file that is gone, if it has it.
    async fn archived_at(&self, table: &TableConfig, file: &RawFile) -> Result<Option<String>> {
        let (tree, Some(date)) = (self.tree(table)?, file.date()) else { return Ok(None) };
        let is_there = tree.is_put_away(file, date.year()).await.map_err(|error| named(error, &table.name))?;
        Ok(tree.archive_path(&file.path, date.year()).filter(|_| is_there))
    }

    /// The newest run of each path, whatever became of it; and all that loaded a file, by number.
    async fn last_runs(
        &self,
        table: &TableConfig,
    ) -> Result<(BTreeMap<String, RunRecord>, BTreeMap<RunId, RunRecord>)> {
        let filter = RunFilter { table: Some(table.name.clone()), kind: Some(RunKind::File), ..RunFilter::default() };
        let (mut last, mut loads) = (BTreeMap::new(), BTreeMap::new());
        for run in self.sink.runs(&filter).await? {
            let Some(path) = run.file.as_ref().map(|file| file.path.clone()) else { continue };
            if run.status == RunState::Loaded {
                loads.insert(run.run_id, run.clone());
            }
            last.entry(path).or_insert(run);
        }
        Ok((last, loads))
    }

    /// Reads the files that match to their ends and says which could be loaded; nothing is written. The target is not
    /// asked.
    ///
    /// # Errors
    /// `Config` if nothing matches. What is wrong with a file, or with the JSON Schema of its table, stands in its report. If a
    /// table that shows no file cannot be validated: what is wrong with it, and with all others.
    pub async fn validate_files(&self, request: &FilesRequest) -> Result<FilesReport> {
        let wanted = Wanted::new(&request.paths)?;
        let mut report = FilesReport { dry_run: true, ..FilesReport::default() };
        let (mut unusable, mut untold) = (Vec::<Error>::new(), false);
        for table in self.file_tables(&request.tables)? {
            let before = report.files.len();
            let read = async {
                let (source, mut listed) = (self.source(table)?, self.tree(table)?.list(table).await?);
                listed.retain(|file| wanted.takes(&file.path));
                let planned = source.describe(table).await.and_then(|columns| Plan::new(table, columns)).map(Arc::new);
                for file in &listed {
                    report.files.push(match &planned {
                        Ok(plan) => self.validate_file(plan, file).await,
                        Err(error) => {
                            FileReport { error: Some(error.into()), ..FileReport::new(table, file, FileState::Failed) }
                        }
                    });
                }
                planned.map(drop)
            };
            if let Err(error) = read.await {
                unusable.push(named(error, &table.name));
                untold |= report.files.len() == before;
            }
        }
        match unusable.first().filter(|_| untold) {
            Some(first) => {
                let (messages, hints): (Vec<String>, Vec<&str>) =
                    unusable.iter().map(|error| (error.to_string(), error.hint())).unzip();
                Err(Error::new(first.kind(), messages.join("; ")).with_hint(hints.join("\n")))
            }
            None if report.files.is_empty() => Err(wanted.nothing()),
            None => Ok(report),
        }
    }

    async fn validate_file(&self, plan: &Arc<Plan>, file: &RawFile) -> FileReport {
        let mut told = FileReport::new(&plan.table, file, FileState::Valid);
        let mut counter = crate::dialect::RowCounter::default();
        let read = async {
            let request = ReadRequest { file: Some(file), ..ReadRequest::whole(plan, Timestamp::now()) };
            let mut reading: Box<dyn Reading> = self.source(&plan.table)?.read(request).await?;
            while let Some(piece) = reading.next().await? {
                counter.push(&piece);
            }
            Ok::<_, Error>(reading.file())
        };
        match read.await {
            Ok(read) => {
                told.sha256 = read.as_ref().and_then(|file| file.sha256.clone());
                told.rejected = read.map_or(0, |file| file.rejected);
                told.rows = Some(counter.rows());
            }
            Err(error) => {
                told.state = FileState::Failed;
                told.error = Some((&error).into());
            }
        }
        told
    }

    /// Moves files whose date lies before `before`, and of which this version is loaded, into `_archive/<year>/` below
    /// their source, each with a line in `ARCHIVE_LOG.txt`. The date of a file is the first one that its path names, or
    /// else when it was last written.
    ///
    /// # Errors
    /// `Config` if no table comes out of files. What kept a file from being moved stands in its report.
    pub async fn archive_files(&self, before: &str, request: &FilesRequest, dry_run: bool) -> Result<FilesReport> {
        let before: jiff::civil::Date = before.parse().map_err(|_| {
            Error::new(ErrorKind::Config, format!("`{}` is no date", before.escape_debug()))
                .with_hint("write a day such as `2024-01-01`: files that are older than it are moved")
        })?;
        let asked = self.file_tables(&request.tables)?;
        // Other tables may take a file too, and it is theirs as well.
        let listed = self.list_files(&FilesRequest { tables: Vec::new(), ..request.clone() }).await?.files;
        let mut report = FilesReport { dry_run, ..FilesReport::default() };
        let mut moved: BTreeMap<(&str, String), String> = BTreeMap::new();
        for table in asked {
            let own = listed.iter().filter(|file| file.table == table.name && !file.state.is_gone());
            for mut told in own.cloned() {
                let file = RawFile {
                    sha256: told.sha256.clone(),
                    ..RawFile::listed(told.path.clone(), told.bytes, told.modified, None)
                };
                let Some(date) = file.date().filter(|date| *date < before) else { continue };
                told.error = None;
                let place = (table.source.as_str(), told.path.clone());
                let archived = match moved.get(&place) {
                    Some(to) => Ok(to.clone()),
                    None => match self.must_be_loaded(table, &told, &listed) {
                        Err(error) => Err(error),
                        Ok(()) if dry_run => {
                            told.moved_to = self.tree(table)?.archive_path(&told.path, date.year());
                            report.files.push(told);
                            continue;
                        }
                        Ok(()) => self.put_away(table, &file, date.year()).await,
                    },
                };
                match archived {
                    Ok(to) => {
                        moved.insert(place, to.clone());
                        (told.state, told.moved_to) = (FileState::Archived, Some(to));
                    }
                    Err(error) => told.error = Some((&error).into()),
                }
                report.files.push(told);
            }
        }
        Ok(report)
    }

    /// Refuses a file of which some table that takes it has not loaded this version.
    fn must_be_loaded(&self, table: &TableConfig, told: &FileReport, listed: &[FileReport]) -> Result<()> {
        let same_source =
            |other: &FileReport| self.config.table(&other.table).is_ok_and(|other| other.source == table.source);
        // A table that takes it no more, and loaded it once, calls it gone.
        let lacks = |state: FileState| state != FileState::Loaded && !state.is_gone();
        let waits = |other: &&FileReport| other.path == told.path && lacks(other.state) && same_source(other);
        // What the table itself lacks goes first.
        let first = Some(told).filter(waits).or_else(|| listed.iter().find(waits));
        let Some(other) = first else { return Ok(()) };
        let whose = if other.table == told.table { String::new() } else { format!(" for table `{}`", other.table) };
        let text = format!("file `{}` is {}{whose}, so it stays", told.path, other.state.as_str());
        Err(Error::new(ErrorKind::Contract, text)
            .with_hint("`dwh run` loads it; an archive of files that nobody loaded would hide them"))
    }

    async fn put_away(&self, table: &TableConfig, file: &RawFile, year: i16) -> Result<String> {
        let tree = self.tree(table)?;
        let now = tree.list(table).await?.into_iter().find(|now| now.path == file.path);
        let now = now.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("file `{}` is gone", file.path)))?;
        // It took a while to look at all of them, and another version may have come since.
        if !file.looks_like(&now) && file.sha256.as_deref() != Some(tree.sha256(&now).await?.as_str()) {
            let text = format!("file `{}` changed since it was listed, so it stays", file.path);
            return Err(Error::new(ErrorKind::Contract, text)
                .with_hint("`dwh run` loads the version that is there now; then call this again"));
        }
        tree.put_away(&RawFile { sha256: file.sha256.clone(), ..now }, year).await
    }
}

/// Records of a file that a run took.
fn rows_of(run: &RunRecord) -> Option<u64> {
    run.rows_extracted.and_then(|rows| u64::try_from(rows).ok())
}

/// Whether a run read, or tried to read, the file as it is now.
fn read_this(run: &RunRecord, file: &RawFile) -> bool {
    run.file.as_ref().is_some_and(|read| read.looks_like(file))
}

/// What the run log says of a run that failed.
fn of_log(run: &RunRecord) -> ErrorReport {
    let code = run.error_code.clone().unwrap_or_else(|| ErrorKind::Interrupted.row().code.to_owned());
    let message = run.error_message.clone().unwrap_or_default();
    ErrorReport::new(code, message, format!("`dwh runs show {}` tells the rest", run.run_id), 0)
}

/// The files that a person named.
struct Wanted {
    globs: Vec<globset::GlobMatcher>,
    words: String,
}

impl Wanted {
    fn new(paths: &[String]) -> Result<Self> {
        let globs = paths.iter().map(|path| is_path_glob(path)).collect::<Result<_>>()?;
        Ok(Self { globs, words: paths.join(" ") })
    }

    fn takes(&self, path: &str) -> bool {
        self.globs.is_empty() || self.globs.iter().any(|glob| glob.is_match(path))
    }

    fn nothing(&self) -> Error {
        Error::new(ErrorKind::NotFound, format!("no file of a table matches `{}`", self.words))
            .with_hint("`dwh files list` shows every file; a pattern is over the path below the source")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};
    use std::fs;

    #[tokio::test]
    async fn what_came_since_the_files_were_listed_is_not_put_away() {
        let folder = tempfile::tempdir().expect("folder");
        let text = format!(
            "[project]\nname = \"p\"\n[source.raw]\nfiles = \"file://{}\"\n[target]\nurl = \"postgresql://u@localhost/x\"\n\
             [blob]\nurl = \"file:///nowhere\"\n[[table]]\nname = \"notes\"\nfiles = \"*.jsonl\"\nmode = \"files\"\n\
             [table.columns]\nid = {{ type = \"bigint\" }}\n",
            folder.path().display()
        );
        let config = Config::parse(&text, "dwh.toml".as_ref(), Environment::default()).expect("a configuration");
        let pipeline = Pipeline::from_config(config).expect("a pipeline");
        let table = &pipeline.config.tables[0];
        let (tree, path) = (pipeline.tree(table).expect("a tree"), folder.path().join("a.jsonl"));
        let written = async |text: &str, at: u64| {
            fs::write(&path, text).expect("file");
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at);
            fs::File::options().write(true).open(&path).expect("file").set_modified(at).expect("a time");
            let file = tree.list(table).await.expect("files").remove(0);
            RawFile { sha256: Some(tree.sha256(&file).await.expect("a hash")), ..file }
        };
        let loaded = written("{\"id\": 1}\n", 1_700_000_000).await;
        written("{\"id\": 2}\n", 1_700_000_001).await;
        let error = pipeline.put_away(table, &loaded, 2023).await.expect_err("another version");
        assert_eq!(error.kind(), ErrorKind::Contract);
        assert!(error.to_string().contains("`a.jsonl` changed since it was listed") && path.exists(), "{error}");
        // The same bytes under another time are the same version.
        written("{\"id\": 1}\n", 1_700_000_002).await;
        assert_eq!(pipeline.put_away(table, &loaded, 2023).await.expect("moved"), "_archive/2023/a.jsonl");
        assert!(!path.exists());
    }
}
