//! What stands between a load and its rows: drift, the key, missing types and rights, row security, triggers, rules, and
//! constraints that the source does not have.

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::about::About;
use super::rehearsal;
use super::server::Server;
use super::types;
use super::words::Word;
use crate::config::{Mode, OnSchemaChange, TargetConfig};
use crate::error::{ErrorKind, Result};
use crate::plan::{Plan, UPLOADED_AT};
use crate::schema::{Delivered, TableSchema, quote_ident};
use crate::sink::TableState;

/// Rights and what acts on rows, of one table.
const OBSTACLES: &str = "select array(select r.one from pg_catalog.unnest($3) as r(one) \
         where not pg_catalog.has_table_privilege(c.oid, r.one)), \
     pg_catalog.row_security_active(c.oid), \
     array(select tgname::text from pg_catalog.pg_trigger \
         where tgrelid = c.oid and not tgisinternal and tgenabled in ('O', 'A') order by 1), \
     array(select rulename::text from pg_catalog.pg_rewrite \
         where ev_class = c.oid and rulename <> '_RETURN' and ev_enabled in ('O', 'A') order by 1), \
     pg_catalog.pg_get_userbyid(c.relowner)::text, pg_catalog.pg_has_role(c.relowner, 'usage') \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     where n.nspname = $1 and c.relname = $2";

/// Checks and foreign keys of a table, and foreign keys that lead to it (`r`), with the table that has them.
const CONSTRAINTS: &str = "select k.conname::text, case when k.confrelid = c.oid and k.conrelid <> c.oid then 'r' \
     else k.contype::text end, pg_catalog.format('%I.%I', o.nspname, t.relname) \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     join pg_catalog.pg_constraint k on (k.conrelid = c.oid and k.contype in ('c', 'f')) \
         or (k.confrelid = c.oid and k.contype = 'f') \
     join pg_catalog.pg_class t on t.oid = k.conrelid join pg_catalog.pg_namespace o on o.oid = t.relnamespace \
     where n.nspname = $1 and c.relname = $2 order by 1";

/// Unique indexes and exclusion constraints: name, columns (none for expressions), and what removes it.
const UNIQUES: &str = "select x.relname::text, case when 0 = any (i.indkey::int2[]) or i.indisexclusion then '{}' else \
     array(select a.attname::text from pg_catalog.unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) u(number) \
         join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.number) end, \
     case when k.oid is null then pg_catalog.format('drop index %I.%I;', n.nspname, x.relname) \
         else pg_catalog.format('alter table %I.%I drop constraint %I;', n.nspname, c.relname, k.conname) end \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     join pg_catalog.pg_index i on i.indrelid = c.oid and (i.indisunique or i.indisexclusion) \
     join pg_catalog.pg_class x on x.oid = i.indexrelid \
     left join pg_catalog.pg_constraint k on k.conindid = i.indexrelid and k.conrelid = c.oid and k.contype in ('p', 'u', 'x') \
     where n.nspname = $1 and c.relname = $2 order by 1";

pub(super) async fn check(
    plan: &Plan,
    state: Option<&TableState>,
    bronze: Option<TableSchema>,
    target: &TargetConfig,
    server: &Server,
    about: &mut About<'_>,
) -> Result<()> {
    let before = state.map_or(Delivered::Nothing, TableState::delivered);
    let plan = &plan.clone().fitted(bronze.as_ref(), before);
    columns(plan, about);
    let can_be_made = types::check(plan, target, bronze.is_some(), server, about).await?;
    if let Some(there) = &bronze {
        for told in plan.load(false).told_added(there, "is added by the next run") {
            about.warn(Word::Drift, told, "`on_new_column = \"stop\"` of the table leaves it to you");
        }
    }
    // What types are made of was looked at above.
    match plan.load(false).check_columns(bronze.as_ref()) {
        // `dwh migrate` would not help yet.
        Err(error) if error.kind() == ErrorKind::NotFound && !can_be_made => {}
        Err(error) if error.kind() == ErrorKind::Drift && plan.table.on_schema_change == OnSchemaChange::Resync => {
            let told = format!("{error}: the next run follows it");
            about.warn(Word::Drift, told, "`on_schema_change = \"stop\"` of the table leaves it to you");
            return Ok(());
        }
        Ok(()) if plan.waiting.is_empty() => about.ok(Word::Bronze, format!("{} fits", plan.table.target)),
        Ok(()) => {}
        Err(error) => {
            let word = match error.kind() {
                ErrorKind::Drift => Word::Drift,
                ErrorKind::Contract => Word::Key,
                _ => Word::Bronze,
            };
            about.error(word, &error);
        }
    }
    let Some(bronze) = bronze else { return Ok(()) };
    obstacles(server, target, plan, &bronze, about).await?;
    uniques(plan, &bronze, server, about).await?;
    constraints(plan, &bronze, server, about).await?;
    // A type that is only about to be made has no column yet.
    if !about.has_failed() && !plan.load(false).waits_for_types(&bronze) {
        rehearsal::load(plan, server, about).await;
    }
    Ok(())
}

/// Columns that one end has and the other has not, of which a run makes no error.
fn columns(plan: &Plan, about: &mut About<'_>) {
    for column in &plan.missing.kept {
        about.ok(Word::Drift, format!("the source has lost column `{}`, and bronze keeps its values", column.name));
    }
    if let Some(message) = plan.missing.warning(&plan.table) {
        about.warn(
            Word::Drift,
            message,
            "to keep the values that bronze has: `on_missing_column = \"keep\"` of the table, and take them out of `exclude`; to keep none: drop the columns in bronze (this deletes what bronze has in them)",
        );
    }
}

fn names(bronze: &TableSchema) -> [(&(dyn ToSql + Sync), Type); 2] {
    [(&bronze.table.schema, Type::TEXT), (&bronze.table.name, Type::TEXT)]
}

async fn obstacles(
    server: &Server,
    target: &TargetConfig,
    plan: &Plan,
    bronze: &TableSchema,
    about: &mut About<'_>,
) -> Result<()> {
    let rights: &[&str] = match plan.table.mode {
        Mode::Snapshot => &["select", "insert", "truncate"],
        Mode::Incremental => &["select", "insert", "update"],
        Mode::Scd => &["select", "insert"],
        Mode::Files => &["select", "insert", "update", "delete"],
    };
    let [schema, relation] = names(bronze);
    let row = server.ask_one(OBSTACLES, &[schema, relation, (&rights, Type::TEXT_ARRAY)]).await?;
    let name = bronze.table.sql();
    let missing: Vec<String> = row.get(0);
    if !missing.is_empty() {
        let (missing, role) = (missing.join(", "), quote_ident(&server.grantee(target).await?));
        about.fail(
            Word::Rights,
            ErrorKind::Permission,
            format!("`{}` may not load {}: it lacks {missing}", server.role, bronze.table),
            format!("in the target: grant {missing} on {name} to {role};"),
        );
    }
    if !plan.waiting.is_empty() && !row.get::<_, bool>(5) {
        let owner: &str = row.get(4);
        about.fail(
            Word::Rights,
            ErrorKind::Permission,
            format!("`{}` may not add columns to {}, which belongs to `{owner}`", server.role, bronze.table),
            format!("in the target: alter table {name} owner to {};", quote_ident(&target.owner_role)),
        );
    }
    if row.get(1) {
        about.fail(
            Word::RowSecurity,
            ErrorKind::Permission,
            format!("row security of {} would hide rows from the load", bronze.table),
            format!("in the target: alter table {name} disable row level security;"),
        );
    }
    let (triggers, rules): (Vec<String>, Vec<String>) = (row.get(2), row.get(3));
    for (word, names) in [(Word::Trigger, triggers), (Word::Rule, rules)] {
        for found in names {
            let what = word.as_str();
            about.warn(
                word,
                format!(
                    "{what} `{found}` of {} may drop rows, and then the load is rolled back, or change their values, which \
                     `dwh verify` finds and a load does not",
                    bronze.table
                ),
                format!("in the target: drop {what} {} on {name};", quote_ident(&found)),
            );
        }
    }
    Ok(())
}

/// A unique index beside the key refuses rows that the source holds: `ON CONFLICT` knows of one index only.
async fn uniques(plan: &Plan, bronze: &TableSchema, server: &Server, about: &mut About<'_>) -> Result<()> {
    for row in server.ask(UNIQUES, &names(bronze)).await? {
        let columns: Vec<String> = row.get(1);
        let Some(message) = clash(plan, bronze, &row, &columns) else { continue };
        let remedy = format!("in the target: {}", row.get::<_, &str>(2));
        if plan.table.mode == Mode::Scd || plan.table.is_appended() {
            about.fail(Word::OtherUnique, ErrorKind::Contract, message, remedy);
        } else {
            about.warn(Word::OtherUnique, message, remedy);
        }
    }
    Ok(())
}

fn clash(plan: &Plan, bronze: &TableSchema, row: &Row, columns: &[String]) -> Option<String> {
    let index = format!("`{}` of {}", row.get::<_, &str>(0), bronze.table);
    let has = |name: &str| columns.iter().any(|column| column == name);
    match plan.table.mode {
        Mode::Incremental if plan.table.is_appended() => (!has(UPLOADED_AT))
            .then(|| format!("{index} lets in no second version of a row: it does not hold `{UPLOADED_AT}`")),
        // What holds the whole key cannot be violated by rows of different keys.
        Mode::Incremental | Mode::Files if !columns.is_empty() && plan.table.key.iter().all(|name| has(name)) => None,
        Mode::Incremental | Mode::Files => Some(format!(
            "{index} is a second rule of uniqueness: a row with a new key and an old value there stops every load"
        )),
        Mode::Scd if has(UPLOADED_AT) => None,
        Mode::Scd => Some(format!("{index} lets in no second copy: it does not hold `{UPLOADED_AT}`")),
        Mode::Snapshot => {
            let kept =
                plan.source.keys.iter().any(|key| {
                    !key.columns.is_empty() && key.tells_apart() && key.columns.iter().all(|name| has(name))
                });
            (!kept).then(|| format!("{index} refuses rows that the source does not keep apart"))
        }
    }
}

async fn constraints(plan: &Plan, bronze: &TableSchema, server: &Server, about: &mut About<'_>) -> Result<()> {
    for row in server.ask(CONSTRAINTS, &names(bronze)).await? {
        let (name, kind, table): (String, &str, &str) = (row.get(0), row.get(1), row.get(2));
        let remedy = format!("in the target: alter table {table} drop constraint {};", quote_ident(&name));
        let snapshot = plan.table.mode == Mode::Snapshot;
        match kind {
            "r" if snapshot => about.fail(
                Word::Constraint,
                ErrorKind::Contract,
                format!("foreign key `{name}` of {table} leads here, so the table cannot be emptied for a new copy"),
                remedy,
            ),
            // Rows of an incremental table stay.
            "r" => {}
            "f" => about.warn(
                Word::Constraint,
                format!("foreign key `{name}` refuses rows that come before those they point to"),
                remedy,
            ),
            _ => about.warn(Word::Constraint, format!("check `{name}` may refuse rows that the source has"), remedy),
        }
    }
    Ok(())
}
