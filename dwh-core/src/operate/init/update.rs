//! A second look at the sources of a configuration: what is new is written behind what it has, of which no byte changes.

use std::collections::{BTreeMap, BTreeSet};

use super::add::{append_to, read, same_as_before};
use super::look::Look;
use super::report::{self, InitChange};
use super::{InitReport, InitRequest, LeftOut, render};
use crate::config::{Config, Environment, SourceConfig, TableConfig};
use crate::error::Result;
use crate::schema::{TableRef, TableSchema};
use crate::source::survey::Survey;

/// What was found of all sources.
#[derive(Default)]
struct Found {
    text: String,
    report: Vec<report::InitTable>,
    left_out: Vec<LeftOut>,
    gone: Vec<InitChange>,
    changed: Vec<InitChange>,
    warnings: Vec<String>,
}

/// Compares the sources with the configuration, and adds a `[[table]]` for each relation that is new.
///
/// # Errors
/// As [`init`](super::init); `Config` if there is no configuration, or a pattern matches nothing at any source.
pub(super) async fn init(request: &InitRequest, environment: &Environment) -> Result<InitReport> {
    let path = &request.output_file;
    let config = Config::load(path, environment.clone())?;
    let before = read(path)?;
    let mut found = Found::default();
    for (name, source) in &config.sources {
        if source.files.is_none() {
            look_at(name, source, &config, request, &mut found).await?;
        }
    }
    let added = if found.text.is_empty() {
        String::new()
    } else {
        let gap = if before.ends_with('\n') { "\n" } else { "\n\n" };
        format!(
            "{gap}# Added by `dwh init --update`: `dwh migrate`, `dwh check`, `dwh run`.\n{}",
            found.text.trim_start()
        )
    };
    let whole = Config::parse(&(before.clone() + &added), path, config.environment.clone())
        .map_err(|error| error.context("the new tables cannot be added as they are"))?;
    same_as_before(&config, &whole)?;
    let written = !request.dry_run && !added.is_empty();
    if written {
        append_to(path, &before, &added)?;
    }
    Ok(InitReport {
        project: config.project.name,
        written,
        files: vec![path.clone()],
        tables: found.report,
        left_out: found.left_out,
        gone: found.gone,
        changed: found.changed,
        updated: true,
        warnings: found.warnings,
        config: request.dry_run.then_some(added),
        grants: None,
    })
}

async fn look_at(
    name: &str,
    source: &SourceConfig,
    config: &Config,
    request: &InitRequest,
    found: &mut Found,
) -> Result<()> {
    let survey = Survey::open(&format!("source `{name}`"), &source.url, &config.environment).await?;
    let server = survey.server().await?;
    let request = InitRequest { target: config.target.url.clone(), ..request.clone() };
    let mut look = Look::new(&request, survey, server);
    look.at_target(&config.environment).await;
    look.warnings.clear();
    let tables: Vec<&TableConfig> = config.tables.iter().filter(|table| table.source == name).collect();
    let known: BTreeMap<&TableRef, &TableConfig> =
        tables.iter().filter_map(|table| Some((table.relation.as_ref()?, *table))).collect();
    let seen = look.at_new(&known.keys().copied().collect()).await?;
    let there: BTreeSet<&TableRef> = seen.relations.iter().collect();
    for (relation, table) in &known {
        if !there.contains(relation) {
            let what = format!("{relation} is not at source `{name}` any more, or was renamed");
            found.gone.push(InitChange { table: table.name.clone(), relation: relation.to_string(), what });
        }
    }
    for schema in &seen.schemas {
        if let Some(table) = known.get(&schema.table) {
            found.changed.extend(lost(table, schema));
        }
    }
    if source.patterns.is_some() {
        if !seen.taken.is_empty() {
            let count = seen.taken.len();
            found.warnings.push(format!(
                "source `{name}` takes its tables by `include`: {count} more were left to `dwh migrate`"
            ));
        }
        return Ok(());
    }
    // The only source need not be named.
    let added = (config.sources.len() > 1).then_some(name);
    for taken in &seen.taken {
        found.text.push_str(&render::table(taken, added));
        found.report.push(report::table(taken));
    }
    found.left_out.extend(seen.left_out);
    Ok(())
}

/// The columns that the configuration names and the relation has no more.
fn lost(table: &TableConfig, schema: &TableSchema) -> Option<InitChange> {
    let has = |name: &str| schema.columns.iter().any(|column| column.name == name);
    let key = table.key.iter().map(|column| ("key", column));
    let named = table.watermark.iter().map(|column| ("watermark", column)).chain(key);
    let lost: Vec<String> =
        named.filter(|(_, column)| !has(column)).map(|(key, column)| format!("`{column}` of `{key}`")).collect();
    (!lost.is_empty()).then(|| InitChange {
        table: table.name.clone(),
        relation: schema.table.to_string(),
        what: format!("it has no column {} any more", lost.join(" and ")),
    })
}
