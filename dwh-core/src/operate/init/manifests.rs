//! A folder of manifests of postgres_pipeline: the configuration that reads them, each choice with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::files::{self, Files};
use super::render::{RETENTION, blob, comment, key, quoted};
use super::{InitReport, InitRequest, InitTable};
use crate::config::{Config, Environment, Mode, Needs, TableConfig, manifest_needs};
use crate::error::{Error, ErrorKind, Result};

/// What `grants.sql` holds: which relations are read, only the databases know.
const GRANTS: &str = "-- Which rights lack at the sources, `dwh check` tells with the grants that give them.\n\
                      -- What the target needs: `dwh migrate --print-sql`.\n";

/// The parts of an address, as `connection_info` and a connection string call them; all but the port must be there.
const PARTS: [(&str, &str); 5] =
    [("host", "host"), ("port", "port"), ("database", "dbname"), ("user", "user"), ("pass", "password")];

/// A database that manifests read.
struct Source {
    name: String,
    database: String,
    url: String,
    reason: String,
    doubts: Vec<String>,
}

/// Looks at the manifests of a folder and writes a configuration that reads them. Connects to nothing.
///
/// # Errors
/// As [`init`](super::init); `NotFound` if there is no manifest; `Config` with file, line and key if one cannot be read.
pub(super) fn init(folder: &Path, request: &InitRequest, environment: &Environment) -> Result<InitReport> {
    let out = Files::beside(&request.output_file);
    if !request.dry_run {
        out.refuse_existing(request)?;
    }
    let (paths, pattern) = manifests(folder, &request.output_file)?;
    let needs = paths.iter().map(|path| Ok((path.as_path(), manifest_needs(path)?))).collect::<Result<Vec<_>>>()?;
    let sources = sources(&needs, request);
    let variables: BTreeSet<&str> =
        needs.iter().flat_map(|(_, needs)| needs.variables.iter().map(String::as_str)).collect();
    let project = request.name.clone().unwrap_or_else(|| stem(folder));
    let head = header(request, &project, &sources) + &section(&pattern, &sources, &variables);
    let names = used(&head);
    let given = |name: &&String| !["DWH_SOURCE_URL", "DWH_TARGET_URL"].contains(&name.as_str());
    let unset: Vec<String> = names
        .iter()
        .filter(given)
        .filter(|name| environment.get(name).is_none())
        .map(|name| format!("`{name}`"))
        .collect();
    let config = read(&head, request, environment, &names).map_err(|error| match unset.is_empty() {
        true => error,
        false => error.with_hint(format!(
            "correct the lines that are named; queries are looked at with `(0)` in the place of a variable that is not set: {}",
            unset.join(", ")
        )),
    })?;
    let text = head + &listed(&config);
    let config = read(&text, request, environment, &names)?;
    let (source, target) = (request.source.expose(), request.target.expose());
    let all = [("DWH_SOURCE_URL", source), ("DWH_TARGET_URL", target)];
    let env = files::env(&all.into_iter().filter(|(name, _)| names.contains(*name)).collect::<Vec<_>>())?;
    if !request.dry_run {
        out.write(&text, &env, GRANTS)?;
    }
    let warnings = if unset.is_empty() {
        Vec::new()
    } else {
        vec![format!("set {} in the environment or in `.env`: no command runs without", unset.join(", "))]
    };
    Ok(InitReport {
        project,
        written: !request.dry_run,
        files: [&out.config, &out.env, &out.grants].map(Clone::clone).to_vec(),
        tables: config.tables.iter().map(told).collect(),
        left_out: Vec::new(),
        gone: Vec::new(),
        changed: Vec::new(),
        updated: false,
        warnings,
        config: request.dry_run.then_some(text),
        grants: request.dry_run.then(|| GRANTS.to_owned()),
    })
}

/// The manifests of a folder, and the pattern for them in a configuration that lies there.
fn manifests(folder: &Path, config: &Path) -> Result<(Vec<PathBuf>, String)> {
    let none = |what: &str| {
        Error::new(ErrorKind::NotFound, format!("`{}` {what}", folder.display()))
            .with_hint("name the folder of the manifests with `--manifests`")
    };
    let whole = folder.canonicalize().map_err(|error| none("is no folder that can be read").with_source(error))?;
    let entries =
        std::fs::read_dir(&whole).map_err(|error| none("is no folder that can be read").with_source(error))?;
    let is = |path: &Path, end: &str| path.is_file() && path.extension().is_some_and(|found| found == end);
    let all: Vec<PathBuf> = entries.filter_map(std::result::Result::ok).map(|entry| entry.path()).collect();
    let ends: Vec<&str> = ["yaml", "yml"].into_iter().filter(|end| all.iter().any(|path| is(path, end))).collect();
    let mut found: Vec<PathBuf> = all.into_iter().filter(|path| ends.iter().any(|end| is(path, end))).collect();
    found.sort();
    let pattern = match ends[..] {
        [] => return Err(none("holds no manifest: no name in it ends in `.yaml` or `.yml`")),
        [end] => format!("*.{end}"),
        _ => "*.{yaml,yml}".to_owned(),
    };
    let base = config.parent().filter(|base| !base.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let below = base.canonicalize().ok().and_then(|base| whole.strip_prefix(base).ok().map(Path::to_owned));
    Ok((found, below.unwrap_or(whole).join(pattern).display().to_string()))
}

/// One source for each database that a manifest names.
fn sources(needs: &[(&Path, Needs)], request: &InitRequest) -> Vec<Source> {
    let mut databases: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (database, types) in needs.iter().flat_map(|(_, needs)| &needs.databases) {
        databases.entry(database).or_default().extend(types.iter().map(String::as_str));
    }
    let only = databases.len() == 1 && !request.source.expose().is_empty();
    let short = |database: &str| {
        let lower = database.to_ascii_lowercase();
        let word: String = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        word.strip_suffix("_db").unwrap_or(&word).to_owned()
    };
    let is_clear = |name: &str| databases.keys().filter(|other| short(other) == name).count() == 1;
    let source = |(database, types): (&&str, &BTreeSet<&str>)| {
        let name = Some(short(database)).filter(|name| is_clear(name));
        let (url, reason) = match needs.iter().find_map(|(path, needs)| address(database, path, needs)) {
            _ if only => ("${DWH_SOURCE_URL}".to_owned(), "stands in `.env` beside this file".to_owned()),
            Some(found) => found,
            None => (format!("${{{database}_URL}}"), "no `connection_info` tells where it is".to_owned()),
        };
        let doubts = types.iter().filter(|_| types.len() > 1).map(|kind| {
            format!("is `database_type: {kind}` a database of its own? Then it is a source of its own, and `source` below needs `\"{database}:{kind}\"`")
        });
        let doubts = doubts.collect();
        Source {
            name: name.unwrap_or_else(|| database.to_string()),
            database: database.to_string(),
            url,
            reason,
            doubts,
        }
    };
    databases.iter().map(source).collect()
}

/// The address of a database by the variables that its manifest names.
fn address(database: &str, path: &Path, needs: &Needs) -> Option<(String, String)> {
    if !needs.databases.contains_key(database) {
        return None;
    }
    let is_name = |text: &&String| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let part = |(theirs, ours): &(&str, &str)| {
        let variable = needs.connection.get(*theirs).filter(is_name)?;
        Some(format!("{ours}='${{{variable}}}'"))
    };
    let parts: Vec<String> = PARTS.iter().filter_map(part).collect();
    let is_there = |part: &str| needs.connection.get(part).is_some_and(|name| is_name(&name));
    let whole = PARTS.iter().all(|(theirs, _)| *theirs == "port" || is_there(theirs));
    whole.then(|| {
        (
            parts.join(" "),
            format!(
                "the variables that `connection_info` of `{}` names; in them, `'` is `\\'` and `\\` is `\\\\`",
                file_name(path)
            ),
        )
    })
}

fn header(request: &InitRequest, project: &str, sources: &[Source]) -> String {
    let mut text = format!(
        "# Written by `dwh init` from the manifests that it found. Read it once: every choice has its reason, and `doubtful`\n\
         # marks what nobody could know from outside. `dwh migrate`, `dwh check`, `dwh run`.\n\n\
         [project]\nname = {}  # first folder of every blob\ntimezone = {}  # stamps the names of CSV files\n\
         cadence = \"6h\"  # how often it runs; a table is fresh while it is younger than twice this\n",
        quoted(project),
        quoted(&request.timezone),
    );
    for source in sources {
        text.push('\n');
        source.doubts.iter().for_each(|doubt| text.push_str(&comment("doubtful: ", doubt)));
        let url = toml::Value::String(source.url.clone());
        text.push_str(&format!("[source.{}]\nurl = {url}  {}", key(&source.name), comment("", &source.reason)));
    }
    text.push_str(&format!("\n[target]\nurl = \"${{DWH_TARGET_URL}}\"\n\n{}{RETENTION}", blob(&request.blob)));
    text
}

fn section(pattern: &str, sources: &[Source], variables: &BTreeSet<&str>) -> String {
    let map = |pairs: Vec<(String, String)>| {
        let pair = |(name, value): (String, String)| format!("{} = {}", key(&name), toml::Value::String(value));
        pairs.into_iter().map(pair).collect::<Vec<_>>().join(", ")
    };
    let of_sources = sources.iter().map(|source| (source.database.clone(), source.name.clone())).collect();
    let mut text = format!(
        "\n[[manifest]]\npath = {}\nsource = {{ {} }}  # import_db = one of the sources\n",
        quoted(pattern),
        map(of_sources)
    );
    if !variables.is_empty() {
        let values = variables.iter().map(|name| ((*name).to_owned(), format!("${{{name}}}"))).collect();
        text.push_str(&format!("variables = {{ {} }}  # of the environment, as the queries call them\n", map(values)));
    }
    text.push_str(
        "watermark_timezone = \"UTC\"  # in which the column of a window is read that has no zone itself\n\
         on_conflict = \"append\"  # each version of a row is kept; \"update\" keeps the newest\n",
    );
    text
}

/// The tables, each with its reasons: a manifest decides how they are read.
fn listed(config: &Config) -> String {
    let mut text = format!("\n# Its {} tables:\n", config.tables.len());
    for table in &config.tables {
        let told = told(table);
        let place = table.manifest.as_ref().map_or_else(String::new, |place| file_name(&place.path));
        text.push_str(&comment(
            "",
            &format!("- {} of `{place}`: {}; {}", told.name, told.mode.as_str(), told.reasons.join("; ")),
        ));
        told.doubts.iter().for_each(|doubt| text.push_str(&comment("  doubtful: ", doubt)));
    }
    text
}

fn told(table: &TableConfig) -> InitTable {
    let mut reasons = vec![match &table.watermark {
        Some(column) if table.key == [column.as_str()] => format!("read by its key `{column}`, as the file says"),
        Some(column) => format!("its query has a window over `{column}`"),
        None => "its query has no window, so each run adds a dated copy".to_owned(),
    }];
    if !table.key.is_empty() {
        reasons.push(format!("key ({})", table.key.join(", ")));
    }
    if table.task_instance.is_some() {
        reasons.push("`advanced_metadata` adds `_task_instance`".to_owned());
    }
    let unproven = table.mode == Mode::Incremental && table.relation.is_none();
    let doubts = if unproven {
        vec!["it reads no single relation, so rows that appear late are not told by their transactions".to_owned()]
    } else {
        Vec::new()
    };
    InitTable {
        name: table.name.clone(),
        relation: table.relation.as_ref().map_or_else(|| "a query".to_owned(), ToString::to_string),
        mode: table.mode,
        watermark: table.watermark.clone(),
        key: table.key.clone(),
        on_conflict: table.on_conflict,
        reasons,
        doubts,
    }
}

/// The names of the variables in a text.
fn used(text: &str) -> BTreeSet<String> {
    let ends = text.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
    ends.map(|(name, _)| name.to_owned()).collect()
}

/// The configuration as a command would read it; a variable that is not set has some value here.
fn read(text: &str, request: &InitRequest, environment: &Environment, names: &BTreeSet<String>) -> Result<Config> {
    let value = |name: &String| (name.clone(), environment.get(name).unwrap_or("(0)").to_owned());
    Config::parse(text, &request.output_file, names.iter().map(value).collect())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn stem(folder: &Path) -> String {
    let name = folder.canonicalize().ok().and_then(|folder| Some(folder.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| "manifests".to_owned())
}
