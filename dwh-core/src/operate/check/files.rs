//! What a run of files depends on: the folder, the JSON Schemas, room for copies, and files that no table takes, or two.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;

use super::about::About;
use super::lease::Leases;
use super::server::Server;
use super::words::Word;
use super::{bronze, lease};
use crate::config::{FilesConfig, Mode, TableConfig};
use crate::disk::{Space, is_writable, space};
use crate::error::{Error, ErrorKind, Result};
use crate::files::folder_of;
use crate::operate::{CheckReport, FileState, FilesRequest};
use crate::pipeline::Pipeline;
use crate::plan::Plan;
use crate::sink::TableState;
use crate::watermark::Timestamp;

/// A disk is better not fuller than this.
const FULL_PERCENT: f64 = 80.0;
/// How long files that wait are read.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many files are named.
const NAMED: usize = 5;

/// Looks at a source of files.
pub(super) async fn check(pipeline: &Pipeline, name: &str, files: &FilesConfig, report: &mut CheckReport) {
    let mut about = About::new(format!("source {name}"), report);
    let tables: Vec<&TableConfig> = pipeline.config().tables.iter().filter(|table| table.source == name).collect();
    let looked = matched(pipeline, &tables, &mut about).await;
    about.unless(Word::Files, looked);
    for (what, url) in [("validated", &files.validated), ("backups", &files.backups)] {
        if let Some(folder) = url.as_deref().and_then(folder_of) {
            keeps(what, folder, &mut about).await;
        }
    }
}

/// Every file belongs to one table.
async fn matched(pipeline: &Pipeline, tables: &[&TableConfig], about: &mut About<'_>) -> Result<()> {
    let Some(first) = tables.first() else {
        about.warn(Word::Files, "no table takes its files", "write a `[[table]]` with `files` and `mode = \"files\"`");
        return Ok(());
    };
    let mut owners: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for table in tables {
        for file in pipeline.tree(table)?.list(table).await? {
            owners.entry(file.path).or_default().push(&table.name);
        }
    }
    let all = pipeline.tree(first)?.all().await?;
    let newest = all.iter().map(|file| file.modified).max();
    let newest = newest
        .map_or_else(String::new, |at| format!(", the newest written {} ago, at {at}", Timestamp::now().since(at)));
    about.ok(Word::Files, format!("{}{newest}", counted(all.len())));
    let twice: Vec<String> = owners
        .iter()
        .filter(|(_, tables)| tables.len() > 1)
        .map(|(path, tables)| format!("`{path}` ({})", tables.join(", ")))
        .collect();
    if !twice.is_empty() {
        about.warn(
            Word::StrayFiles,
            format!("two tables take {}", shortened(&twice)),
            "narrow `files` of one of them, or add the files to its `ignore`, unless both tables are meant to hold them",
        );
    }
    let ignored = |path: &str| {
        tables.iter().filter_map(|table| table.files.as_deref()).any(|files| crate::files::is_ignored(files, path))
    };
    let free: Vec<String> = all
        .iter()
        .filter(|file| !owners.contains_key(&file.path) && !ignored(&file.path))
        .map(|file| format!("`{}`", file.path))
        .collect();
    if free.is_empty() {
        about.ok(Word::StrayFiles, "every file belongs to a table, or is ignored");
    } else {
        about.warn(
            Word::StrayFiles,
            format!("no table takes {}", shortened(&free)),
            "widen `files` of a table, or name them in its `ignore`",
        );
    }
    Ok(())
}

fn counted(files: usize) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}

fn shortened(names: &[String]) -> String {
    let more = if names.len() > NAMED { format!(" and {} more", names.len() - NAMED) } else { String::new() };
    names[..names.len().min(NAMED)].join(", ") + &more
}

/// Whether copies can be written into a folder, which is made by the first of them.
async fn keeps(what: &str, folder: PathBuf, about: &mut About<'_>) {
    let asked = tokio::task::spawn_blocking(move || (space(&folder), is_writable(&folder), folder)).await;
    let stopped = |error| Error::new(ErrorKind::Internal, "free space was not looked at").with_source(error);
    match asked.map_err(stopped) {
        Ok((space, writable, folder)) => {
            if !writable {
                about.fail(
                    Word::Write,
                    ErrorKind::Permission,
                    format!("`{}`, the folder of `{what}`, may not be written", folder.display()),
                    "let the user who runs dwh write there, or name another folder",
                );
            }
            let looked = space.map(|space| room(what, space, about));
            about.unless(Word::Space, looked);
        }
        Err(error) => about.error(Word::Space, &error),
    }
}

fn room(what: &str, space: Space, about: &mut About<'_>) {
    if space.used_percent() > FULL_PERCENT {
        about.warn(
            Word::Space,
            format!("the disk of `{what}` has less than 20 % free"),
            "give it a larger disk, or move old files away: `dwh files archive`",
        );
    } else {
        about.ok(Word::Space, format!("the disk of `{what}` has room"));
    }
}

/// Looks at the tables of files.
pub(super) async fn tables(
    pipeline: &Pipeline,
    tables: &[&TableConfig],
    target: Option<&Server>,
    report: &mut CheckReport,
) {
    let tables: Vec<&TableConfig> = tables.iter().filter(|table| table.mode == Mode::Files).copied().collect();
    if tables.is_empty() {
        return;
    }
    let known = pipeline.known_states().await;
    let leases = Leases::of(pipeline, target, &tables).await;
    for table in tables {
        let mut about = About::table(&table.name, report);
        let looked = self::table(pipeline, table, known.get(&table.name), target, &mut about).await;
        about.unless(Word::Files, looked);
        lease::tell(leases.as_ref(), &pipeline.config().target, table, &mut about);
    }
}

async fn table(
    pipeline: &Pipeline,
    table: &TableConfig,
    state: Option<&TableState>,
    target: Option<&Server>,
    about: &mut About<'_>,
) -> Result<()> {
    let described = match pipeline.source(table)?.describe(table).await {
        Ok(described) => described,
        Err(error) => {
            about.error(Word::JsonSchema, &error);
            return Ok(());
        }
    };
    let plan = match Plan::new(table, described) {
        Ok(plan) => plan,
        Err(error) => {
            about.error(Word::Configuration, &error);
            return Ok(());
        }
    };
    about.ok(Word::JsonSchema, format!("{} columns", plan.columns.len()));
    waiting(pipeline, table, state.is_some(), about).await?;
    let Some(target) = target else { return Ok(()) };
    let there = pipeline.sink.describe(&table.target).await?;
    bronze::check(&plan, state, there, &pipeline.config().target, target, about).await
}

/// Reads files that a run would read, as many as it can in a short while.
async fn waiting(pipeline: &Pipeline, table: &TableConfig, known: bool, about: &mut About<'_>) -> Result<()> {
    let paths = if known {
        let request = FilesRequest { tables: vec![table.name.clone()], ..FilesRequest::default() };
        let listed = pipeline.list_files(&request).await?.files.into_iter();
        listed.filter(|file| file.state != FileState::Loaded && !file.state.is_gone()).map(|file| file.path).collect()
    } else {
        let files = pipeline.tree(table)?.list(table).await?.into_iter();
        files.map(|file| file.path).collect::<Vec<_>>()
    };
    let mut bad = Vec::new();
    let read = timeout(PATIENCE, async {
        for path in &paths {
            let request = FilesRequest { paths: vec![globset::escape(path)], tables: vec![table.name.clone()] };
            let told = pipeline.validate_files(&request).await?;
            bad.extend(told.files.into_iter().filter_map(|file| file.error));
        }
        Ok::<_, Error>(())
    });
    // What is left is told by the run.
    read.await.unwrap_or(Ok(()))?;
    for error in bad.iter().take(NAMED) {
        about.warn(Word::Files, &error.message, &error.hint);
    }
    let rest = if bad.is_empty() { String::new() } else { format!(", {} not valid", bad.len()) };
    about.ok(Word::Files, format!("{} to be read by the next run{rest}", counted(paths.len())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::room;
    use crate::disk::Space;
    use crate::operate::check::about::About;
    use crate::operate::{CheckReport, Severity};

    #[test]
    fn a_disk_of_copies_is_better_not_fuller_than_four_fifths() {
        for (free_bytes, severity) in [(20, Severity::Ok), (19, Severity::Warning)] {
            let mut report = CheckReport::default();
            room("validated", Space { free_bytes, total_bytes: 100 }, &mut About::new("source raw", &mut report));
            let found = report.findings.pop().expect("a finding");
            assert_eq!((found.severity, found.check.as_str()), (severity, "space"), "{found:?}");
            assert!(found.message.contains("`validated`"), "{found:?}");
        }
    }
}
