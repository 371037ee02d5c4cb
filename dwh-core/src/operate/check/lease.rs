//! The watermark row, another run that is at work, and what earlier runs left.

use std::collections::HashMap;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::about::About;
use super::server::Server;
use super::target;
use super::words::Word;
use crate::blob::Folder;
use crate::config::{TableConfig, TargetConfig};
use crate::control::{Control, IS_LEASE};
use crate::error::{ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::failure::repeated;
use crate::plan::first_number;
use crate::schema::quote_ident;

/// Unfinished runs of a table that are named.
const TOLD: usize = 5;

/// What the control schema and the blob store say of all tables.
pub(super) struct Leases {
    rows: HashMap<String, WatermarkRow>,
    /// The session that holds a table, and since when that is there.
    held: HashMap<String, (i32, Option<String>)>,
    /// Runs that are not final, with their states.
    open: HashMap<String, Vec<(i64, String)>>,
    /// How many CSV files wait.
    waiting: HashMap<String, usize>,
}

/// What is looked at of a watermark row.
struct WatermarkRow {
    /// Who took the table, and when, as it is written.
    written: Option<(String, String)>,
    null: bool,
    future: bool,
}

/// Tells of a table what they say; an error is told of each.
pub(super) fn tell(leases: Option<&Result<Leases>>, config: &TargetConfig, table: &TableConfig, about: &mut About<'_>) {
    match leases {
        Some(Ok(leases)) => leases.check(config, table, about),
        Some(Err(error)) => about.error(Word::Catalog, &repeated(error)),
        None => {}
    }
}

impl Leases {
    /// Asks for them; `None` without a target whose control schema may be looked at.
    pub(super) async fn of(
        pipeline: &Pipeline,
        target: Option<&Server>,
        tables: &[&TableConfig],
    ) -> Option<Result<Self>> {
        let target = target.filter(|target| !target.closed.contains(&pipeline.config().target.control_schema))?;
        Self::ask(pipeline, target, tables).await.transpose()
    }

    /// Asks for them; `None` without a control schema.
    async fn ask(pipeline: &Pipeline, server: &Server, tables: &[&TableConfig]) -> Result<Option<Self>> {
        let config = &pipeline.config().target;
        if !target::has_control(server, config).await? {
            return Ok(None);
        }
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let control = quote_ident(&config.control_schema);
        // A store that does not list has a finding of its own.
        let listed = pipeline.listed_exports().await.unwrap_or_default();
        let waits = |table: &&TableConfig| {
            let keys = listed.get(&pipeline.layout.prefix(Folder::Exports, &table.name));
            (table.name.clone(), keys.map_or(0, |keys| keys.iter().filter(|key| key.is_csv()).count()))
        };
        Ok(Some(Self {
            rows: rows(server, &control, &names).await?,
            held: held(server, &Control::new(&config.control_schema).lease_name(""), &names).await?,
            open: open(server, &control, &names).await?,
            waiting: tables.iter().map(waits).collect(),
        }))
    }

    /// Tells of one of them.
    fn check(&self, config: &TargetConfig, table: &TableConfig, about: &mut About<'_>) {
        let Some(row) = self.rows.get(&table.name) else {
            about.fail(Word::WatermarkRow, ErrorKind::Contract, "it has no watermark row", "dwh migrate");
            return;
        };
        watermark_row(&quote_ident(&config.control_schema), table, row.null, row.future, about);
        match (self.held.get(&table.name), &row.written) {
            (Some((session, since)), written) => {
                let by = match written {
                    Some((host, since)) => format!("{host}, since {since}"),
                    None => format!("session {session} of the target, since {}", since.as_deref().unwrap_or_default()),
                };
                about.warn(
                    Word::Lease,
                    format!("another run works on it: {by}"),
                    "wait for it: `dwh run --wait` does; `dwh runs` shows how far it is",
                );
                // What it has in hand is not left behind.
                return;
            }
            (None, Some((host, since))) => {
                about.ok(Word::Lease, format!("free; {host}, which took it at {since}, has died"));
            }
            (None, None) => about.ok(Word::Lease, "no other run works on it"),
        }
        self.unfinished(table, about);
    }

    /// Runs that ended half-way, and files that wait.
    fn unfinished(&self, table: &TableConfig, about: &mut About<'_>) {
        let open = self.open.get(&table.name).into_iter().flatten().take(TOLD);
        let mut left: Vec<String> = open.map(|(run_id, status)| format!("run {run_id} is `{status}`")).collect();
        match self.waiting.get(&table.name).copied().unwrap_or_default() {
            0 => {}
            1 => left.push("1 file waits in exports/".to_owned()),
            more => left.push(format!("{more} files wait in exports/")),
        }
        if left.is_empty() {
            about.ok(Word::Unfinished, "nothing is left of earlier runs");
        } else {
            about.warn(
                Word::Unfinished,
                left.join(", "),
                "`dwh recover --dry-run` shows what is left and what mends it; the next run begins with it, too",
            );
        }
    }
}

async fn rows(server: &Server, control: &str, names: &[&str]) -> Result<HashMap<String, WatermarkRow>> {
    let sql = format!(
        "select table_name, lease_holder, lease_since::text, last_extracted_at is null, \
         last_extracted_at > pg_catalog.now() and last_extracted_at < {} \
         from {control}.extract_watermarks where table_name = any ($1)",
        first_number()
    );
    let found = server.ask(&sql, &[(&names, Type::TEXT_ARRAY)]).await?;
    let read = |row: &Row| {
        let written = row.get::<_, Option<String>>(1).zip(row.get(2));
        let future = row.get::<_, Option<bool>>(4) == Some(true);
        (row.get(0), WatermarkRow { written, null: row.get(3), future })
    };
    Ok(found.iter().map(read).collect())
}

/// Looked at only: asking for the lock itself would make a run that starts now fail.
async fn held(server: &Server, lock: &str, names: &[&str]) -> Result<HashMap<String, (i32, Option<String>)>> {
    let sql = format!(
        "with l as materialized (select * from pg_catalog.pg_locks where locktype = 'advisory') \
         select w.name, l.pid, a.backend_start::text from pg_catalog.unnest($1) w(name) \
         cross join lateral (select pg_catalog.hashtextextended($2 || w.name, 0) as key) k \
         cross join l left join pg_catalog.pg_stat_activity a on a.pid = l.pid where {IS_LEASE}"
    );
    let found = server.ask(&sql, &[(&names, Type::TEXT_ARRAY), (&lock, Type::TEXT)]).await?;
    Ok(found.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

async fn open(server: &Server, control: &str, names: &[&str]) -> Result<HashMap<String, Vec<(i64, String)>>> {
    let sql = format!(
        "select table_name, run_id, status from {control}.extract_runs where table_name = any ($1) \
         and status not in ('loaded', 'failed') order by run_id"
    );
    let mut open: HashMap<String, Vec<(i64, String)>> = HashMap::new();
    for row in server.ask(&sql, &[(&names, Type::TEXT_ARRAY)]).await? {
        open.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
    }
    Ok(open)
}

fn watermark_row(control: &str, table: &TableConfig, null: bool, future: bool, about: &mut About<'_>) {
    let what = match (null, future) {
        (true, _) => "its watermark is NULL: nothing is extracted",
        (_, true) => "its watermark lies in the future: nothing is extracted",
        _ => {
            about.ok(Word::WatermarkRow, "it has a watermark row");
            return;
        }
    };
    about.fail(
        Word::WatermarkRow,
        ErrorKind::Data,
        what,
        format!(
            "in the target: update {control}.extract_watermarks set last_extracted_at = '2000-01-01T00:00:00Z' where \
             table_name = {};\nor set it to a time before the first row that may be missing: rows that are there \
             already are not doubled",
            crate::schema::quote_literal(&table.name)
        ),
    );
}
