//! One more source, written behind what a configuration has.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::files::{self, Files};
use super::render::{self, comment, key, quoted};
use super::{InitReport, InitRequest, look, report};
use crate::config::{Config, Environment};
use crate::connect::Connector;
use crate::error::{Error, ErrorKind, Result};
use crate::source::survey::Survey;

/// Looks at a source and adds it to the configuration, its address to `.env`, and its grants beside them.
///
/// # Errors
/// As [`init`](super::init); `Config` if there is no configuration, or it has a source of that name.
pub(super) async fn init(name: &str, request: &InitRequest, environment: &Environment) -> Result<InitReport> {
    let path = &request.output_file;
    let (config, out) = place(name, request, environment)?;
    let before = read(path)?;
    let variable = variable(name);
    let env = address(&variable, request, &config)?;
    let with_target = InitRequest { target: config.target.url.clone(), ..request.clone() };
    let survey = Survey::open(&format!("source `{name}`"), &request.source, environment).await?;
    let server = survey.server().await?;
    let mut look = look::Look::new(&with_target, survey, server);
    look.at_target(&config.environment).await;
    let (taken, left_out) = look.at_tables().await?;
    let header = format!(
        "{}[source.{}]\nurl = \"${{{variable}}}\"\nschema = {}  # of its bronze tables\n",
        render::source_remarks(&look.server, &look.warnings),
        key(name),
        quoted(name)
    );
    let tables: String = taken.iter().map(|taken| render::table(taken, Some(name))).collect();
    let added = format!(
        "{}{}{header}{tables}{}",
        if before.ends_with('\n') { "\n" } else { "\n\n" },
        comment(
            "",
            &format!("Source `{name}`, added by `dwh init`: `dwh migrate`, `dwh check`, `dwh run '{name}.*'`.")
        ),
        render::left_out(&left_out)
    );
    let read_back = Config::parse(
        &(before.clone() + &added),
        path,
        config.environment.clone().with(&variable, request.source.expose()),
    );
    let whole = read_back.map_err(|error| error.context("the source cannot be added as it is"))?;
    same_as_before(&config, &whole)?;
    let target = Connector::to_target(&config.target, &config.environment)?;
    let grants = look.grants(&target, &config.target, &taken);
    if !request.dry_run {
        write(&out, (&before, &added), &env, &grants)?;
    }
    let names = whole.tables.iter().filter(|table| table.source == name).map(|table| table.name.clone());
    let mut tables: Vec<_> = taken.iter().map(report::table).collect();
    tables.iter_mut().zip(names).for_each(|(told, name)| told.name = name);
    Ok(InitReport {
        project: config.project.name,
        written: !request.dry_run,
        files: vec![out.config, out.env, out.grants],
        tables,
        left_out,
        gone: Vec::new(),
        changed: Vec::new(),
        updated: false,
        warnings: look.warnings,
        config: request.dry_run.then_some(added),
        grants: request.dry_run.then_some(grants),
    })
}

/// The configuration that the source is added to, and the files that are written.
///
/// # Errors
/// `Config` if there is no configuration, it has a source of that name, or the file of its grants is in the way.
pub(super) fn place(name: &str, request: &InitRequest, environment: &Environment) -> Result<(Config, Files)> {
    let path = &request.output_file;
    let config = Config::load(path, environment.clone())?;
    if config.sources.contains_key(name) {
        return Err(Error::new(ErrorKind::Config, format!("`{}` has a source `{name}` already", path.display()))
            .with_hint("take another name with `--add`"));
    }
    let out = Files { grants: path.with_file_name(grants_file(name)), ..Files::beside(path) };
    if !request.dry_run {
        refuse_existing(&out.grants)?;
    }
    Ok((config, out))
}

pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Config, format!("`{}` cannot be read", path.display())).with_source(error)
    })
}

/// The variable that holds the address.
fn variable(name: &str) -> String {
    let word: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("DWH_SOURCE_URL_{word}")
}

fn grants_file(name: &str) -> String {
    let word: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("grants-{word}.sql")
}

/// The line for `.env`; none where the variable has this value already.
fn address(variable: &str, request: &InitRequest, config: &Config) -> Result<String> {
    match config.environment.get(variable) {
        None => files::env_line(variable, request.source.expose()),
        Some(known) if known == request.source.expose() => Ok(String::new()),
        Some(_) => Err(Error::new(ErrorKind::Config, format!("variable `{variable}` has another address already"))
            .with_hint("take it out of the environment and of `.env`, or take another name with `--add`")),
    }
}

fn refuse_existing(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, format!("`{}` is there already, and nothing was written", path.display()))
        .with_hint("move it away, or look only, with `--dry-run`"))
}

/// Whatever was configured before must be what it was.
pub(super) fn same_as_before(before: &Config, after: &Config) -> Result<()> {
    let what = |config: &Config| -> Vec<_> {
        let tables = config.tables.iter().take(before.tables.len());
        tables.map(|table| (table.name.clone(), table.source.clone(), table.target.clone())).collect()
    };
    if what(before) == what(after) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, "with one more source the tables that are there would be others")
        .with_hint("write `source` under each `[[table]]`, then call it again"))
}

/// Appends to the configuration, if it is still what was read.
pub(super) fn append_to(path: &Path, before: &str, added: &str) -> Result<()> {
    unchanged(path, before)?;
    append(path, added).map_err(|error| {
        Error::new(ErrorKind::Config, format!("`{}` cannot be written: {error}", path.display()))
            .with_hint("nothing was left behind; it must be a file of yours")
    })
}

fn unchanged(path: &Path, before: &str) -> Result<()> {
    if read(path)? == before {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, format!("`{}` was changed meanwhile", path.display()))
        .with_hint("nothing was written; call it again"))
}

/// Appends to both files and writes the third; what was done is taken back when a later one fails.
fn write(out: &Files, (before, added): (&str, &str), env: &str, grants: &str) -> Result<()> {
    unchanged(&out.config, before)?;
    let had_env = out.env.exists();
    let length = out.env.metadata().map(|known| known.len()).unwrap_or_default();
    let undo_env = || {
        let undone = if had_env { cut(&out.env, length) } else { fs::remove_file(&out.env) };
        if let Err(error) = undone {
            tracing::warn!(%error, "`.env` keeps the new address");
        }
    };
    let fail = |path: &Path, error: std::io::Error| {
        Error::new(ErrorKind::Config, format!("`{}` cannot be written: {error}", path.display()))
            .with_hint("nothing was left behind; it must be a file of yours")
    };
    if !env.is_empty() {
        append(&out.env, env).map_err(|error| fail(&out.env, error))?;
    }
    let written = files::create(&out.grants, grants, false).map_err(|error| fail(&out.grants, error));
    let written = written.and_then(|()| {
        append(&out.config, added).map_err(|error| {
            drop(fs::remove_file(&out.grants));
            fail(&out.config, error)
        })
    });
    if written.is_err() && !env.is_empty() {
        undo_env();
    }
    written
}

/// Behind the last line of a file; a new one is private. All of it, or nothing.
fn append(path: &Path, text: &str) -> std::io::Result<()> {
    let before = fs::read(path).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(error),
    })?;
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    let line_end = if before.is_empty() || before.ends_with(b"\n") || text.starts_with('\n') { "" } else { "\n" };
    let written = file.write_all(format!("{line_end}{text}").as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // The error of the write is the one to tell.
        drop(file.set_len(before.len() as u64));
    }
    written
}

fn cut(path: &Path, length: u64) -> std::io::Result<()> {
    File::options().write(true).open(path)?.set_len(length)
}
