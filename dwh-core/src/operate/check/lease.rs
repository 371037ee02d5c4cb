//! The watermark row, another run that is at work, and what earlier runs left.

use tokio_postgres::types::{ToSql, Type};

use super::about::About;
use super::server::Server;
use super::target;
use super::words::Word;
use crate::blob::Folder;
use crate::config::TableConfig;
use crate::control::{Control, IS_LEASE};
use crate::error::{ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::plan::first_number;
use crate::schema::quote_ident;

pub(super) async fn check(
    pipeline: &Pipeline,
    server: &Server,
    table: &TableConfig,
    about: &mut About<'_>,
) -> Result<()> {
    let config = &pipeline.config().target;
    if !target::has_control(server, config).await? {
        return Ok(());
    }
    let control = quote_ident(&config.control_schema);
    let name: [(&(dyn ToSql + Sync), Type); 1] = [(&table.name, Type::TEXT)];
    let sql = format!(
        "select lease_holder, lease_since::text, last_extracted_at is null, last_extracted_at > pg_catalog.now() \
         and last_extracted_at < {} from {control}.extract_watermarks where table_name = $1",
        first_number()
    );
    let rows = server.ask(&sql, &name).await?;
    let Some(row) = rows.first() else {
        about.fail(Word::WatermarkRow, ErrorKind::Contract, "it has no watermark row", "dwh migrate");
        return Ok(());
    };
    watermark_row(&control, table, row.get(2), row.get::<_, Option<bool>>(3) == Some(true), about);
    let written: Option<(String, String)> = row.get::<_, Option<String>>(0).zip(row.get(1));
    let lock = Control::new(&config.control_schema).lease_name(&table.name);
    // Looked at only: asking for the lock itself would make a run that starts now fail.
    let sql = format!(
        "select l.pid, a.backend_start::text from (select pg_catalog.hashtextextended($1, 0) as key) k \
         cross join pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid where {IS_LEASE}"
    );
    let holder = server.ask(&sql, &[(&lock, Type::TEXT)]).await?;
    match (holder.first(), written) {
        (Some(held), written) => {
            let by = written.map(|(host, since)| format!("{host}, since {since}")).unwrap_or_else(|| {
                let since: Option<String> = held.get(1);
                format!("session {} of the target, since {}", held.get::<_, i32>(0), since.unwrap_or_default())
            });
            about.warn(
                Word::Lease,
                format!("another run works on it: {by}"),
                "wait for it: `dwh run --wait` does; `dwh runs` shows how far it is",
            );
            // What it has in hand is not left behind.
            return Ok(());
        }
        (None, Some((host, since))) => {
            about.ok(Word::Lease, format!("free; {host}, which took it at {since}, has died"));
        }
        (None, None) => about.ok(Word::Lease, "no other run works on it"),
    }
    unfinished(pipeline, server, &control, table, about).await
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

/// Runs that ended half-way, and files that wait.
async fn unfinished(
    pipeline: &Pipeline,
    server: &Server,
    control: &str,
    table: &TableConfig,
    about: &mut About<'_>,
) -> Result<()> {
    let sql = format!(
        "select run_id, status from {control}.extract_runs where table_name = $1 \
         and status in ('extracting', 'uploaded', 'loading') order by run_id limit 5"
    );
    let rows = server.ask(&sql, &[(&table.name, Type::TEXT)]).await?;
    let mut left: Vec<String> =
        rows.iter().map(|row| format!("run {} is `{}`", row.get::<_, i64>(0), row.get::<_, &str>(1))).collect();
    // A store that does not list has a finding of its own.
    let waiting = pipeline.keys(table, Folder::Exports).await.unwrap_or_default();
    match waiting.iter().filter(|key| key.is_csv()).count() {
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
    Ok(())
}
