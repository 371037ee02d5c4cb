//! `init`: looks at a live source and writes a configuration in which every choice stands with its reason.

mod add;
mod choose;
mod files;
mod folder;
mod grants;
mod look;
mod manifests;
mod names;
mod render;
mod report;
mod stamp;
mod update;

pub(super) use look::copyable;

use std::path::PathBuf;

use crate::config::{Config, Environment, Secret};
use crate::connect::Connector;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::TableRef;
use crate::source::survey::Survey;
use choose::Choice;
use files::Files;

pub(super) use stamp::{NOW, sets_now};

pub use report::{InitChange, InitReport, InitTable, LeftOut};

/// The role that `grants.sql` makes where the one that was used may do too much.
const READER: &str = "dwh_reader";

/// The login that `grants.sql` makes where the one that was used may do too much.
const LOADER: &str = "dwh_loader";

/// What `init` is asked for.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct InitRequest {
    /// Connection string of the source; not used where `files` is set, nor where `manifests` name several databases.
    pub source: Secret,
    /// Address of a folder or bucket of files, which is the source instead of a database.
    pub files: Option<String>,
    /// Folder of manifests of postgres_pipeline, which name the databases and the tables.
    pub manifests: Option<PathBuf>,
    /// Name of a source that is added to the configuration that is there.
    pub add: Option<String>,
    /// Whether the configuration is there, and gets a `[[table]]` for each relation that is new at its sources.
    pub update: bool,
    /// Connection string of the target; it need not answer.
    pub target: Secret,
    /// Address of the blob store: `file:///folder` or `s3://bucket[/prefix]`.
    pub blob: String,
    /// Patterns over `schema.table`; empty: all tables.
    pub tables: Vec<String>,
    /// Patterns of tables that are left out.
    pub exclude: Vec<String>,
    /// Patterns of tables that are copied whole, whatever was seen of them.
    pub snapshot: Vec<String>,
    /// Name of the project; `None`: the source's database.
    pub name: Option<String>,
    /// IANA name of the zone in which CSV files are stamped.
    pub timezone: String,
    /// Where the configuration goes; `.env` and `grants.sql` go beside it.
    pub output_file: PathBuf,
    /// Only look.
    pub dry_run: bool,
}

impl InitRequest {
    /// A look at all tables of `source`, for a configuration in `output_file`; CSV files are stamped in UTC.
    #[must_use]
    pub fn new(source: Secret, target: Secret, blob: impl Into<String>, output_file: impl Into<PathBuf>) -> Self {
        Self {
            source,
            files: None,
            manifests: None,
            add: None,
            update: false,
            target,
            blob: blob.into(),
            tables: Vec::new(),
            exclude: Vec::new(),
            snapshot: Vec::new(),
            name: None,
            timezone: "UTC".to_owned(),
            output_file: output_file.into(),
            dry_run: false,
        }
    }

    /// Says no where [`init`] would, because a file that it writes is there already. Connects to nothing and needs no
    /// address that is not known yet: whoever asks a person asks here first.
    ///
    /// # Errors
    /// `Config` if something is in the way; with `add`, too, if there is no configuration or it has a source of that name.
    pub fn refuse_existing(&self, environment: &Environment) -> Result<()> {
        if let Some(name) = self.add.as_ref().filter(|_| !self.update && !self.writes_alone()) {
            return add::place(name, self, environment).map(drop);
        }
        if self.update && !self.writes_alone() {
            return Ok(());
        }
        self.place().refuse_existing(self)
    }

    /// Whether the source is no database, for which there is nothing to add to.
    const fn writes_alone(&self) -> bool {
        self.files.is_some() || self.manifests.is_some()
    }

    /// Where the files of a new project go.
    fn place(&self) -> Files {
        let files = Files::beside(&self.output_file);
        if self.writes_alone() { files } else { files.knowing(&self.addresses()) }
    }

    fn addresses(&self) -> [(&'static str, &str); 2] {
        [("DWH_SOURCE_URL", self.source.expose()), ("DWH_TARGET_URL", self.target.expose())]
    }
}

/// A table that is copied.
struct Taken {
    name: String,
    table: TableRef,
    choice: Choice,
    /// Columns that no other database can hold as they are, with the reason: their text is copied.
    casts: Vec<(String, String)>,
    /// Extensions whose types the columns need.
    extensions: Vec<String>,
    /// Whether the columns need types that somebody made in schema `public`.
    public_types: bool,
}

/// Looks at the source and writes `dwh.toml`, a private `.env` with both addresses, and `grants.sql`.
///
/// Reads catalogs, counters, and a bounded piece of the tables; changes nothing in either database. Of the three files
/// all are written or none, and none that is there already is touched.
///
/// With `add` the source is written behind what the configuration has, of which no byte changes, and the grants go into a
/// file of their own. With `update` the tables that are new at its sources are written there, and nothing else is.
///
/// # Errors
/// `Config` if a file is there already, a pattern matches nothing, or an argument cannot be used; `Permission` if no
/// table can be read; `Unreachable`, `Auth` of the source. A target that does not answer is a warning.
pub async fn init(request: &InitRequest, environment: &Environment) -> Result<InitReport> {
    if let Some(url) = &request.files {
        return folder::init(url, request, environment).await;
    }
    if let Some(manifests) = &request.manifests {
        return manifests::init(manifests, request, environment);
    }
    if request.update {
        return update::init(request, environment).await;
    }
    if let Some(name) = &request.add {
        return add::init(name, request, environment).await;
    }
    let files = request.place();
    if !request.dry_run {
        files.refuse_existing(request)?;
    }
    let env = files::env(&request.addresses())?;
    let target = Connector::new("target", &request.target, environment)?;
    let survey = Survey::open("source", &request.source, environment).await?;
    let server = survey.server().await?;
    let project = request.name.clone().unwrap_or_else(|| server.database.clone());
    let header = render::header(request, &project, environment);
    parse(&header, request).map_err(|error| {
        error.with_hint("correct `--name`, `--timezone` or `--blob`: they go into the file as they are")
    })?;
    let mut look = look::Look::new(request, survey, server);
    look.at_target(environment).await;
    let (taken, left_out) = look.at_tables().await?;
    let remarks = render::source_remarks(&look.server, &look.warnings);
    let tables: String = taken.iter().map(|taken| render::table(taken, None)).collect();
    let text = format!("{remarks}{header}{tables}{}", render::left_out(&left_out));
    // Whatever the catalogs held, the file must run as it is.
    let config = parse(&text, request).map_err(|error| {
        Error::new(ErrorKind::Internal, "the configuration that was made cannot be read back").with_source(error)
    })?;
    let grants = look.grants(&target, &config.target, &taken);
    if !request.dry_run {
        files.write(&text, &env, &grants)?;
    }
    Ok(InitReport {
        project,
        written: !request.dry_run,
        files: files.written(),
        tables: taken.iter().map(report::table).collect(),
        left_out,
        gone: Vec::new(),
        changed: Vec::new(),
        updated: false,
        warnings: look.warnings,
        config: request.dry_run.then_some(text),
        grants: request.dry_run.then_some(grants),
    })
}

/// The configuration of a text, as a command would read it.
fn parse(text: &str, request: &InitRequest) -> Result<Config> {
    let values = [("DWH_SOURCE_URL", &request.source), ("DWH_TARGET_URL", &request.target)];
    let environment = values.into_iter().map(|(name, url)| (name, url.expose())).collect();
    Config::parse(text, &request.output_file, environment)
}
