//! [`FileSource`]: files of a folder or a bucket as a [`Source`]. Each is read by a run of its own.

mod decode;
mod geojson;
mod keep;
mod kind;
mod place;
mod problem;
mod read;
mod records;
mod row;
mod sample;
mod schema;
mod shape;
mod sound;
mod write;

use async_trait::async_trait;
use globset::{Glob, GlobSet, GlobSetBuilder};
use std::fmt;
use std::sync::Arc;

use crate::blob::Layout;
use crate::config::{BlobConfig, Config, Environment, FileFormat, FileTable, FilesConfig, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::raw_file::RawFile;
use crate::run::RunId;
use crate::schema::TableSchema;
use crate::source::{BoundRequest, FileTree, ReadRequest, Reading, Source, SourceIdentity};
use crate::watermark::{SafeBound, Timestamp};
use place::Place;
use shape::{Shape, of_files};

pub(crate) use place::folder_of;
pub(crate) use sample::Sample;
pub(crate) use write::FileBody;

/// What is never a file of a table: names that begin with a dot, of folders too (a storage keeps snapshots in one, rsync
/// what it has not finished), and what `dwh files archive` put away.
const HIDDEN: [&str; 4] = ["_archive/**", ".*", "**/.*", "**/.*/**"];

/// Files of a folder or a bucket.
///
/// Nothing is opened before the first call, and nothing is ever changed. A file is read as a stream: memory is bounded by
/// its largest record, unless the whole of it is compared with a JSON Schema.
#[derive(Clone)]
pub struct FileSource {
    name: String,
    url: String,
    place: Place,
    validated: Option<Place>,
    backups: Option<Place>,
    /// Where below the files the blob store lies, if it does, with a slash at the end.
    store: Option<String>,
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSource({} at {})", self.name, self.url)
    }
}

impl FileSource {
    /// The files that `[source.NAME]` names. A bucket is reached as `[blob]` says.
    ///
    /// # Errors
    /// `Config` if the address cannot be used.
    pub fn new(name: &str, files: &FilesConfig, config: &Config) -> Result<Self> {
        let open = |url: &String| open_place(url, &config.blob, &config.environment);
        Ok(Self {
            name: name.to_owned(),
            url: files.url.clone(),
            place: open(&files.url)?,
            validated: files.validated.as_ref().map(open).transpose()?,
            backups: files.backups.as_ref().map(open).transpose()?,
            store: store_below(&files.url, config),
        })
    }

    /// Every file, of whatever table.
    pub(crate) async fn every_file(&self) -> Result<Vec<RawFile>> {
        Ok(self.raw(self.place.list(|_| true).await?))
    }

    /// Those that are not ours: a CSV of the blob store that was read as a raw file would make another one, and so on.
    fn raw(&self, mut files: Vec<RawFile>) -> Vec<RawFile> {
        if let Some(store) = &self.store {
            files.retain(|file| !file.path.starts_with(store));
        }
        files
    }

    /// A look at the first records of a file.
    pub(crate) async fn sample(&self, file: &RawFile, format: FileFormat) -> Result<Sample> {
        sample::sample(&self.place, file, format).await
    }

    /// The database that the files are not: what a watermark row belongs to.
    fn described(&self) -> SourceIdentity {
        SourceIdentity {
            system_identifier: self.url.clone(),
            timeline: 0,
            database: self.name.clone(),
            server_version: "files".to_owned(),
            in_recovery: false,
        }
    }
}

/// Where below the files the blob store lies, or what it has of this project where both are one place.
fn store_below(files: &str, config: &Config) -> Option<String> {
    let store = &config.blob.url;
    let below = match (folder_of(files), folder_of(store)) {
        (Some(files), Some(store)) => store.strip_prefix(files).ok()?.to_str()?.to_owned(),
        _ => store.strip_prefix(files).filter(|rest| rest.is_empty() || rest.starts_with('/'))?.replacen('/', "", 1),
    };
    let layout = Layout { project: config.project.name.clone(), zone: config.project.zone.clone() };
    Some(if below.is_empty() { layout.project_prefix() } else { below + "/" })
}

fn open_place(url: &str, blob: &BlobConfig, environment: &Environment) -> Result<Place> {
    Place::open(&BlobConfig { url: url.to_owned(), ..blob.clone() }, environment)
}

fn globs(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.as_ref();
        let refused = |error| Error::new(ErrorKind::Config, format!("`{pattern}` is no pattern")).with_source(error);
        let glob = globset::GlobBuilder::new(pattern).literal_separator(true).build().map_err(refused)?;
        set.add(glob);
    }
    set.build().map_err(|error| Error::new(ErrorKind::Config, "the patterns cannot be used").with_source(error))
}

/// Whether a path is left out on purpose.
pub(crate) fn is_ignored(table: &FileTable, path: &str) -> bool {
    globs(HIDDEN.into_iter().map(str::to_owned).chain(table.ignore.iter().cloned())).is_ok_and(|set| set.is_match(path))
}

/// Whether a path is one of the table's.
fn matcher(table: &FileTable) -> Result<impl Fn(&str) -> bool + use<>> {
    let wanted = globs(&table.patterns)?;
    let ignored = globs(HIDDEN.into_iter().map(str::to_owned).chain(table.ignore.iter().cloned()))?;
    Ok(move |path: &str| wanted.is_match(path) && !ignored.is_match(path))
}

#[async_trait]
impl FileTree for FileSource {
    async fn list(&self, table: &TableConfig) -> Result<Vec<RawFile>> {
        let is_one = matcher(of_files(table)?)?;
        let mut files = self.raw(self.place.list(matcher(of_files(table)?)?).await?);
        files.retain(|file| is_one(&file.path));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    async fn all(&self) -> Result<Vec<RawFile>> {
        Ok(self.raw(self.place.list(|_| false).await?))
    }

    async fn sha256(&self, file: &RawFile) -> Result<String> {
        self.place.sha256(file).await
    }

    async fn lacking(&self, files: &[RawFile]) -> Result<Vec<RawFile>> {
        self.without_copy(files).await
    }

    async fn keep(&self, file: &RawFile, run: RunId) -> Result<()> {
        self.copy_accepted(file, run).await
    }

    async fn put_back(&self, path: &str, run: RunId) -> Result<bool> {
        self.copy_back(path, run).await
    }

    fn archive_path(&self, path: &str, year: i16) -> Option<String> {
        Some(keep::archive_path(path, year))
    }

    async fn is_put_away(&self, file: &RawFile, year: i16) -> Result<bool> {
        let there = self.place.stat(&keep::archive_path(&file.path, year)).await?;
        Ok(there.is_some_and(|there| there.bytes == file.bytes))
    }

    async fn put_away(&self, file: &RawFile, year: i16) -> Result<String> {
        self.archive_away(file, year).await
    }
}

#[async_trait]
impl Source for FileSource {
    async fn identity(&self) -> Result<Option<SourceIdentity>> {
        Ok(Some(self.described()))
    }

    async fn describe(&self, table: &TableConfig) -> Result<TableSchema> {
        Shape::of(table)?.described(table)
    }

    async fn earliest(&self, _: &Plan, _: Timestamp) -> Result<Option<Timestamp>> {
        Ok(None)
    }

    async fn bound(&self, request: BoundRequest<'_>) -> Result<SafeBound> {
        let table = &request.plan.table.name;
        Err(Error::new(ErrorKind::Config, format!("table `{table}`: files have no watermark"))
            .with_hint("a table of files has `mode = \"files\"`"))
    }

    fn tree(&self) -> Option<&dyn FileTree> {
        Some(self)
    }

    async fn read(&self, request: ReadRequest<'_>) -> Result<Box<dyn Reading>> {
        let table = &request.plan.table;
        let file = request
            .file
            .ok_or_else(|| Error::new(ErrorKind::Internal, format!("table `{}`: no file was named", table.name)))?;
        let shape = Arc::new(Shape::of(table)?);
        let columns = request.plan.delivered().into_iter().map(|column| column.name).collect();
        let identity = self.described();
        read::open(&self.place, file, shape, columns, identity).await
    }
}

/// A pattern of the command line over paths.
pub(crate) fn is_path_glob(text: &str) -> Result<globset::GlobMatcher> {
    let refused = |error| Error::new(ErrorKind::Config, format!("`{text}` is no pattern")).with_source(error);
    Ok(Glob::new(text).map_err(refused)?.compile_matcher())
}

#[cfg(test)]
mod tests;
