//! What a table must have: a watermark that can be trusted, a key behind `ON CONFLICT`, and the same columns at both ends.

use super::about::About;
use super::server::Server;
use super::space::Size;
use super::together::Together;
use super::words::Word;
use super::{bronze, design, lease, rehearsal, watermark};
use crate::config::{Mode, TableConfig};
use crate::connect::look;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::belongs::Conflict;
use crate::pipeline::round::Known;
use crate::plan::Plan;
use crate::schema::{RelationKind, TableSchema, UniqueKey, quote_ident, quote_literal};
use crate::sink::{BronzeState, TableState};
use crate::source::SourceIdentity;
use crate::source::survey::counted;
use crate::watermark::Micros;

/// More files than this for a first load are a mistake in `window`.
const MANY_FILES: i64 = 10_000;

/// Looks at a table at both ends; without a target, at its source alone. Returns how large its CSV may be.
pub(super) async fn check(
    pipeline: &Pipeline,
    table: &TableConfig,
    together: &Together,
    server: &Server,
    target: Option<&Server>,
    about: &mut About<'_>,
) -> Result<Option<Size>> {
    let known = pipeline.catalogs(table).await?;
    let (source, ends) = match known {
        Some(Known { identity, schema, bronze, .. }) => (Ok(schema), Some((identity, bronze))),
        None => (pipeline.source(table)?.describe(table).await, None),
    };
    let plan = match source {
        Ok(source) => Plan::new(table, source).map_err(|error| (Word::Configuration, error)),
        Err(error) => Err((Word::Source, error)),
    };
    let plan = match plan {
        Ok(plan) => plan,
        Err((word, error)) => {
            about.error(word, &error);
            return Ok(None);
        }
    };
    let rows = u64::try_from(plan.source.row_estimate).unwrap_or(0);
    about.ok(Word::Source, format!("{}, about {}", counted(plan.columns.len() as u64, "column"), counted(rows, "row")));
    let writers = together.writers.get(&table.source);
    let writers = table.relation.as_ref().and_then(|relation| writers?.get(relation));
    let config = pipeline.config().sources.get(&table.source);
    let config =
        config.ok_or_else(|| Error::new(ErrorKind::Config, format!("there is no source `{}`", table.source)))?;
    let history = watermark::check(&plan, writers, server, config, about).await?;
    source_key(&plan, about);
    window(&plan, history, about);
    rehearsal::read(&plan, server, about).await;
    if let Some(target) = target {
        let (identity, bronze) = match ends {
            Some(ends) => ends,
            // On a connection that is there: another one may be refused, and that is told already.
            None => {
                let client = &target.survey.client;
                let bronze = look(client, crate::catalog::describe(client, &table.target)).await?;
                (pipeline.source(table)?.identity().await?, bronze)
            }
        };
        at_target(pipeline, &plan, (identity.as_ref(), bronze), together, target, about).await?;
    }
    size(&plan, history, server).await
}

async fn at_target(
    pipeline: &Pipeline,
    plan: &Plan,
    (identity, bronze): (Option<&SourceIdentity>, Option<TableSchema>),
    together: &Together,
    target: &Server,
    about: &mut About<'_>,
) -> Result<()> {
    let (table, config) = (&plan.table, &pipeline.config().target);
    let open = |schema: &str| !target.closed.contains(schema);
    let state = together.states.get(&table.name);
    if let Some(state) = state.filter(|_| open(&config.control_schema) && open(&table.target.schema)) {
        let bronze = together.bronze.get(&table.target).cloned();
        match belongs(pipeline, table, state, (identity, bronze), about).await {
            // The right is named below, with its grant.
            Err(error) if error.kind() == ErrorKind::Permission => {}
            looked => looked?,
        }
    }
    design::check(plan, config, bronze.is_some(), target, about).await?;
    bronze::check(plan, state, bronze, config, target, about).await?;
    lease::tell(together.leases.as_ref(), config, table, about);
    Ok(())
}

/// Whether the watermark is of this project, source, relation, column and bronze table.
async fn belongs(
    pipeline: &Pipeline,
    table: &TableConfig,
    state: &TableState,
    (identity, bronze): (Option<&SourceIdentity>, Option<BronzeState>),
    about: &mut About<'_>,
) -> Result<()> {
    let found = pipeline.conflict_with(table, state, identity, bronze).await?;
    match &found {
        Some(conflict) => about.error(conflict_word(conflict), &conflict.error(table, state)),
        None if state.last_run_id.is_some() => about.ok(Word::Origin, "its watermark was read for this table"),
        None => {}
    }
    Ok(())
}

const fn conflict_word(conflict: &Conflict) -> Word {
    match conflict {
        Conflict::Stranger(_) => Word::Origin,
        Conflict::Bronze(_) => Word::BronzeTable,
    }
}

/// Two source rows of one key would become one row in bronze.
fn source_key(plan: &Plan, about: &mut About<'_>) {
    let key = &plan.table.key;
    let is_table = matches!(plan.source.kind, RelationKind::Table | RelationKind::Partitioned);
    if plan.table.mode != Mode::Incremental || !is_table {
        return;
    }
    let list = key.join(", ");
    // Rows that a part of the key tells apart are told apart by the whole; what is deferred holds once it is committed.
    let unique = plan.source.keys.iter().find(|unique| {
        !unique.columns.is_empty() && unique.columns.iter().all(|column| key.contains(column)) && unique.tells_apart()
    });
    if let Some(unique) = unique {
        let by = if unique.columns.len() < key.len() {
            format!(", by ({})", unique.columns.join(", "))
        } else {
            String::new()
        };
        about.ok(Word::SourceKey, format!("the source keeps ({list}) unique{by}"));
        return;
    }
    let there = plan.source.key_over(key).filter(|unique| unique.unusable.is_some());
    let why = there.map(|unique| {
        format!(" (its index `{}` does not: {})", unique.name, unique.unusable.as_deref().unwrap_or_default())
    });
    let relation = plan.source.table.sql();
    let nullable = |name: &&String| plan.source.column(name).is_some_and(|column| !column.not_null);
    let mut sql: Vec<String> = key
        .iter()
        .filter(nullable)
        .map(|name| format!("alter table {relation} alter column {} set not null;", quote_ident(name)))
        .collect();
    if !there.is_some_and(UniqueKey::is_nullable) {
        let concurrently = if plan.source.kind == RelationKind::Table { " concurrently" } else { "" };
        sql.push(format!("create unique index{concurrently} on {relation} ({});", quoted(key)));
    }
    about.warn(
        Word::SourceKey,
        format!(
            "the source does not keep ({list}) unique{}: rows that share it become one in bronze",
            why.unwrap_or_default()
        ),
        format!("in the source: {}", sql.join(" ")),
    );
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| quote_ident(name)).collect::<Vec<_>>().join(", ")
}

/// History is cut into windows, each a file.
fn window(plan: &Plan, history: Option<Micros>, about: &mut About<'_>) {
    let Some(history) = history.filter(|_| plan.table.window.0 > 0) else { return };
    let files = history.0.max(0) / plan.table.window.0 + 1;
    if files > MANY_FILES {
        about.warn(
            Word::Window,
            format!("a first load of its history takes up to {files} files, at a window of {} each", plan.table.window),
            format!(
                "say `window = \"{}d\"` of the table, or longer",
                history.0 / 1_000 / Micros::seconds(86_400).0 + 1
            ),
        );
    } else {
        let windows = if files == 1 { "one window".to_owned() } else { format!("up to {files} windows") };
        about.ok(Word::Window, format!("its history is {windows} of {}", plan.table.window));
    }
}

/// The most that one CSV may hold: the pages of the table, or of a window's share of its history, twice, since text is
/// longer than what the server stores, and is stored compressed.
async fn size(plan: &Plan, history: Option<Micros>, server: &Server) -> Result<Option<Size>> {
    if !plan.source.kind.has_xmin() {
        return Ok(None);
    }
    let sql = format!(
        "with recursive family(oid) as (select {}::pg_catalog.regclass::oid union select i.inhrelid \
         from pg_catalog.pg_inherits i join family f on f.oid = i.inhparent) \
         select sum(pg_catalog.pg_table_size(c.oid))::bigint from family f join pg_catalog.pg_class c using (oid) \
         where c.relkind in ('r', 'm')",
        quote_literal(&plan.source.table.sql())
    );
    let Some(bytes) = server.survey.look(&sql).await?.and_then(|row| row.get::<_, Option<i64>>(0)) else {
        return Ok(None);
    };
    let share = match history {
        Some(history) if plan.table.window.0 > 0 && history.0 > plan.table.window.0 => {
            plan.table.window.0 as f64 / history.0 as f64
        }
        _ => 1.0,
    };
    let (table, at_once) = (plan.table.name.clone(), if share < 1.0 { 2 } else { 1 });
    Ok(Some(Size { table, bytes: (bytes as f64 * share * 2.0) as u64, at_once }))
}
