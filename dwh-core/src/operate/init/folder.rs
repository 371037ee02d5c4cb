//! A folder of files: the tables that its files look like, each choice with its reason.

use std::collections::BTreeMap;
use std::path::Path;

use super::files::{self, Files};
use super::render::{RETENTION, blob, comment, key, quoted};
use super::{InitReport, InitRequest, InitTable, LeftOut, parse};
use crate::config::{Environment, FileFormat, Mode, OnConflict};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{FileSource, Sample};
use crate::raw_file::RawFile;

/// What `grants.sql` holds where the source is no database.
const NO_GRANTS: &str = "-- A source of files needs no grants. What the target needs: `dwh migrate --print-sql`.\n";

/// Files that make up a table.
struct Group {
    name: String,
    pattern: String,
    files: Vec<RawFile>,
    format: FileFormat,
}

/// Looks at the folder or bucket `url` and writes a configuration for its files.
///
/// # Errors
/// As [`init`](super::init); `NotFound` if there is no folder, or no file in it.
pub(super) async fn init(url: &str, request: &InitRequest, environment: &Environment) -> Result<InitReport> {
    let files = Files::beside(&request.output_file);
    if !request.dry_run {
        files.refuse_existing(request)?;
    }
    let env = files::env(&[("DWH_TARGET_URL", request.target.expose())])?;
    let project = request.name.clone().unwrap_or_else(|| stem(url));
    let header = header(url, request, &project);
    let config = parse(&header, request)?;
    let config = crate::config::Config { environment: environment.clone(), ..config };
    let raw = config.sources.get("raw").and_then(|source| source.files.as_ref());
    let raw = raw.ok_or_else(|| Error::new(ErrorKind::Internal, "the source that was written is none"))?;
    let source = FileSource::new("raw", raw, &config)?;
    let (groups, left_out) = grouped(source.every_file().await?);
    if groups.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("`{url}` holds no JSON, JSON Lines, CSV or GeoJSON file"))
            .with_hint("name the folder above the files with `--files`"));
    }
    let (mut text, mut tables, mut warnings) = (header, Vec::new(), Vec::new());
    for group in &groups {
        // The newest says best what is to come.
        let newest = group.files.iter().max_by_key(|file| file.modified);
        let Some(newest) = newest else { continue };
        match source.sample(newest, group.format).await {
            Ok(sample) => {
                let (lines, told) = table(group, newest, &sample);
                text.push_str(&lines);
                tables.push(told);
            }
            Err(error) => warnings.push(format!("files `{}` were left out: {error}", group.pattern)),
        }
    }
    text.push_str(&super::render::left_out(&left_out));
    parse(&text, request).map_err(|error| {
        Error::new(ErrorKind::Internal, "the configuration that was made cannot be read back").with_source(error)
    })?;
    if !request.dry_run {
        files.write(&text, &env, NO_GRANTS)?;
    }
    Ok(InitReport {
        project,
        written: !request.dry_run,
        files: [&files.config, &files.env, &files.grants].map(Clone::clone).to_vec(),
        tables,
        left_out,
        gone: Vec::new(),
        changed: Vec::new(),
        updated: false,
        warnings,
        config: request.dry_run.then_some(text),
        grants: request.dry_run.then(|| NO_GRANTS.to_owned()),
    })
}

fn stem(url: &str) -> String {
    let name = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.is_empty() { "files".to_owned() } else { name.to_owned() }
}

fn header(url: &str, request: &InitRequest, project: &str) -> String {
    format!(
        "# Written by `dwh init` from the files that it found. Read it once: every choice has its reason, and `doubtful` marks\n\
         # what nobody could know from outside. It runs as it is: `dwh migrate`, `dwh check`, `dwh run`.\n\n\
         [project]\nname = {}  # first folder of every blob\ntimezone = {}  # stamps the names of CSV files\n\
         cadence = \"24h\"  # how often it runs; a table is fresh while it is younger than twice this\n\n\
         [source.raw]\nfiles = {}  # only read\n\
         # validated = \"file:///…\"  # where files that were loaded are copied to\n\
         # backups = \"file:///…\"  # where what such a copy overwrites is kept\n\n\
         # The address stands in `.env` beside this file, or in the environment.\n\
         [target]\nurl = \"${{DWH_TARGET_URL}}\"\n\n{}{RETENTION}",
        quoted(project),
        quoted(&request.timezone),
        quoted(url),
        blob(&request.blob)
    )
}

/// Files of one folder at the top and one format belong together.
fn grouped(all: Vec<RawFile>) -> (Vec<Group>, Vec<LeftOut>) {
    let mut groups: BTreeMap<(String, FileFormat), Vec<RawFile>> = BTreeMap::new();
    let mut left_out = Vec::new();
    for file in all {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let hidden = name.starts_with(['_', '.']) || file.path.starts_with("_archive/");
        match FileFormat::of_name(&file.path).filter(|_| !hidden) {
            Some(format) => {
                let top = file.path.split_once('/').map_or("", |(top, _)| top).to_owned();
                groups.entry((top, format)).or_default().push(file);
            }
            None => left_out.push(LeftOut {
                relation: file.path.clone(),
                reason: if hidden { "a name that begins so is no record" } else { "its name says no format" }
                    .to_owned(),
                remedy: None,
            }),
        }
    }
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    let made = groups.into_iter().map(|((top, format), files)| {
        let below =
            |glob: &str| if top.is_empty() { glob.to_owned() } else { format!("{}/{glob}", globset::escape(&top)) };
        let end = Path::new(&files[0].path).extension().and_then(|end| end.to_str()).unwrap_or_default();
        let base = if top.is_empty() { "files" } else { &top };
        let mut name: String =
            base.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let count = names.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            name = format!("{name}_{}", format.as_str());
        }
        Group { pattern: below(&format!("**/[!_]*.{end}")), name, files, format }
    });
    (made.collect(), left_out)
}

fn table(group: &Group, newest: &RawFile, sample: &Sample) -> (String, InitTable) {
    let count = group.files.len();
    let reasons = vec![format!(
        "{count} {} of this kind; columns and types are those of {} records of `{}`",
        if count == 1 { "file" } else { "files" },
        sample.records,
        newest.path
    )];
    let mut doubts = vec!["a JSON Schema, in `json_schema`, says better what is valid".to_owned()];
    let mut text = String::from("\n[[table]]\n");
    if let Some(name) = sample.unique.iter().find(|name| *name == "id" || name.ends_with("_id")) {
        doubts.push(format!(
            "`{name}` is another one in each record: with `key = [\"{name}\"]` a row is found again by it"
        ));
    }
    reasons.iter().for_each(|reason| text.push_str(&comment("", reason)));
    doubts.iter().for_each(|doubt| text.push_str(&comment("doubtful: ", doubt)));
    text.push_str(&format!(
        "name = {}\nsource = \"raw\"\nfiles = {}\nmode = \"files\"\n",
        quoted(&group.name),
        quoted(&group.pattern)
    ));
    if !sample.pointer.is_empty() {
        text.push_str(&format!("records = {}\n", quoted(&sample.pointer)));
    }
    text.push_str("[table.columns]\n");
    for (name, seen) in &sample.members {
        let (type_name, why) = match Sample::type_of(seen) {
            Some(type_name) => (type_name, String::new()),
            None => ("text", "  # doubtful: null in every record".to_owned()),
        };
        text.push_str(&format!("{} = {{ type = \"{type_name}\" }}{why}\n", key(name)));
    }
    if sample.features && !sample.members.iter().any(|(name, _)| name == "geometry") {
        text.push_str(
            "geometry = { type = \"geometry(Geometry,4326)\" }  # the feature's own; the target needs PostGIS\n",
        );
    }
    let told = InitTable {
        name: group.name.clone(),
        relation: group.pattern.clone(),
        mode: Mode::Files,
        watermark: None,
        key: Vec::new(),
        on_conflict: OnConflict::Update,
        reasons,
        doubts,
    };
    (text, told)
}
