//! Bronze tables with what they need: schemas, types, watermark rows.

use std::collections::BTreeSet;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};

use super::design::{design_of, fits};
use super::types::{self, Prepared};
use super::{AddedLabel, MigrateReport, begin, refused};
use crate::config::{Mode, TargetConfig};
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Design, LoadPlan, anonymous, bronze_ddl};
use crate::schema::{TableRef, quote_ident, quote_literal};

/// Tables that are made in one transaction: each one holds some locks until its end, and a server as it is shipped has
/// room for 6,400 in all.
const TABLES_AT_ONCE: usize = 50;

/// Makes all that can be made. What keeps a table from being made stands in the report.
pub(super) async fn make_tables(
    client: &mut Client,
    target: &TargetConfig,
    tables: &[LoadPlan],
    report: &mut MigrateReport,
) -> Result<()> {
    for some in tables.chunks(TABLES_AT_ONCE) {
        make_some(client, target, some, report).await?;
    }
    Ok(())
}

async fn make_some(
    client: &mut Client,
    target: &TargetConfig,
    tables: &[LoadPlan],
    report: &mut MigrateReport,
) -> Result<()> {
    let mut transaction = begin(client, target).await?;
    let others = schemas_of(target, tables);
    let sql = others.iter().map(|name| table_schema(target, name)).collect::<String>();
    transaction.batch_execute(&sql).await.map_err(refused)?;
    let mut made = Vec::new();
    for load in tables {
        if make_table(&mut transaction, target, load, report).await? {
            made.push(load);
        }
    }
    transaction.batch_execute(&seeds(target, made)).await.map_err(refused)?;
    transaction.commit().await.map_err(sort)
}

/// Whether the table is there in the end. Otherwise nothing of it is left.
async fn make_table(
    transaction: &mut Transaction<'_>,
    target: &TargetConfig,
    load: &LoadPlan,
    report: &mut MigrateReport,
) -> Result<bool> {
    let present = is_there(&*transaction, &load.target).await?;
    let prepared = types::look_at(&*transaction, target, load, present).await?;
    let Some(resolved) = prepared.load.as_ref().filter(|_| prepared.causes.is_empty()) else {
        prepared.causes.into_iter().for_each(|cause| report.refuse(&load.table, cause));
        return Ok(false);
    };
    let design = match design_of(&target.designs, &load.target) {
        Ok(design) => design.filter(|_| !present),
        // What is there needs none.
        Err(_) if present => None,
        Err(error) => {
            report.refuse_for(&load.table, &error);
            return Ok(false);
        }
    };
    let mut sql = types_sql(target, &prepared);
    let added = if present { lacks_of_bronze(&*transaction, load).await? } else { Vec::new() };
    if present {
        sql.extend(added.iter().map(|(_, sql)| sql.as_str()));
    } else {
        sql.push_str(&design.as_ref().map_or_else(|| bronze_ddl(resolved), Design::sql));
    }
    sql.push_str("\nreset role;\n");
    let savepoint = transaction.savepoint("dwh_table").await.map_err(sort)?;
    let made = match (savepoint.batch_execute(&sql).await.map_err(refused), &design) {
        (Ok(()), Some(design)) => fits(&savepoint, resolved, design).await,
        (Err(error), Some(design)) => Err(design.explain(&error)),
        (made, None) => made,
    };
    match made {
        Ok(()) => savepoint.commit().await.map_err(sort)?,
        Err(error) if is_of_the_table(&error) => {
            savepoint.rollback().await.map_err(sort)?;
            report.refuse_for(&load.table, &error);
            return Ok(false);
        }
        Err(error) => return Err(error.context(format!("table `{}`", load.table))),
    }
    note(report, load, &prepared, present);
    report.designs.extend(design.map(|design| design.file));
    report.note_of_bronze(load, added);
    Ok(true)
}

/// Whether another table may still be made after this error.
fn is_of_the_table(error: &Error) -> bool {
    let passing = [ErrorKind::Unreachable, ErrorKind::Auth, ErrorKind::Busy, ErrorKind::Locked, ErrorKind::Interrupted];
    !passing.contains(&error.kind())
}

/// What was made, or would be, once for all tables.
pub(super) fn note(report: &mut MigrateReport, load: &LoadPlan, prepared: &Prepared, present: bool) {
    for name in prepared.made.iter().map(ToString::to_string) {
        if !report.types_created.contains(&name) {
            report.types_created.push(name);
        }
    }
    for (name, labels) in &prepared.labels {
        for label in labels {
            let added = AddedLabel { type_name: name.to_string(), label: label.clone() };
            if !report.labels_added.contains(&added) {
                report.labels_added.push(added);
            }
        }
    }
    let tables = if present { &mut report.tables_present } else { &mut report.tables_created };
    tables.push(load.target.to_string());
}

/// The columns that bronze alone has and that a table lacks, each with what adds it.
pub(super) async fn lacks_of_bronze(tx: &Transaction<'_>, load: &LoadPlan) -> Result<Vec<(&'static str, String)>> {
    let there = "select exists (select from pg_catalog.pg_attribute where attrelid = pg_catalog.to_regclass($1) \
                 and attname = $2 and not attisdropped)";
    let mut lacking = Vec::new();
    for (name, add) in load.add_of_bronze() {
        let names: [(&(dyn ToSql + Sync), Type); 2] = [(&load.target.sql(), Type::TEXT), (&name, Type::TEXT)];
        let is_there: bool = tx.query_typed_one(there, &names).await.map_err(sort)?.get(0);
        lacking.extend((!is_there).then_some((name, add)));
    }
    Ok(lacking)
}

pub(super) async fn is_there(tx: &Transaction<'_>, table: &TableRef) -> Result<bool> {
    let there = "select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                 where n.nspname = $1 and c.relname = $2)";
    let names: [(&(dyn ToSql + Sync), Type); 2] = [(&table.schema, Type::TEXT), (&table.name, Type::TEXT)];
    Ok(tx.query_typed_one(there, &names).await.map_err(sort)?.get(0))
}

/// Schemas of bronze tables that do not lie in the bronze schema.
pub(super) fn schemas_of<'a>(target: &TargetConfig, tables: &'a [LoadPlan]) -> BTreeSet<&'a str> {
    tables.iter().map(|load| load.target.schema.as_str()).filter(|name| *name != target.bronze_schema).collect()
}

/// Makes a schema for bronze tables.
pub(crate) fn table_schema(target: &TargetConfig, name: &str) -> String {
    let (schema, owner, reader) =
        (quote_ident(name), quote_ident(&target.owner_role), quote_ident(&target.reader_role));
    schema_unless_there(target, name)
        + &format!("alter default privileges for role {owner} in schema {schema} grant select on tables to {reader};\n")
}

/// Makes a schema that the reader may use.
pub(super) fn schema_unless_there(target: &TargetConfig, name: &str) -> String {
    let (schema, text) = (quote_ident(name), quote_literal(name));
    let (owner, reader) = (quote_ident(&target.owner_role), quote_ident(&target.reader_role));
    anonymous(&format!(
        "begin\n    if not exists (select from pg_catalog.pg_namespace where nspname = {text}) then\n        \
         create schema {schema} authorization {owner};\n    end if;\nend"
    )) + &format!("grant usage on schema {schema} to {reader};\n")
}

/// Makes the types that a table needs: the connection's own role makes schemas, and then becomes the owner.
pub(super) fn types_sql(target: &TargetConfig, prepared: &Prepared) -> String {
    let schemas = prepared.schemas.iter().map(|name| schema_unless_there(target, name));
    let grants = prepared.grants.iter().map(|grant| format!("{grant}\n"));
    let role = format!("set local role {};\n", quote_ident(&target.owner_role));
    schemas.chain(grants).chain([role]).chain(prepared.sql.iter().cloned()).collect()
}

/// One watermark row and one contract a table.
pub(super) fn seeds<'a>(target: &TargetConfig, tables: impl IntoIterator<Item = &'a LoadPlan>) -> String {
    let control = quote_ident(&target.control_schema);
    tables
        .into_iter()
        .map(|load| {
            let name = quote_literal(&load.table);
            // The audit of keys: where each version of a row stays, as in dated copies, no key must be unique.
            let mode = if load.is_appended() { Mode::Scd } else { load.mode };
            let key: Vec<String> = load.key.iter().map(|column| quote_literal(column)).collect();
            format!(
                "insert into {control}.extract_watermarks (table_name) values ({name}) on conflict (table_name) do nothing;\n\
                 insert into {control}.table_contracts (table_name, target_schema, target_table, mode, key_columns)\n    \
                 values ({name}, {}, {}, '{}', array[{}]::text[])\n    \
                 on conflict (table_name) do update set target_schema = excluded.target_schema,\n    \
                 target_table = excluded.target_table, mode = excluded.mode, key_columns = excluded.key_columns;\n",
                quote_literal(&load.target.schema),
                quote_literal(&load.target.name),
                mode.as_str(),
                key.join(", ")
            )
        })
        .collect()
}
