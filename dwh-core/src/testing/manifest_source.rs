//! A source for the tables of manifests: relations with the columns that their queries name, of plausible types, and rows.

use sqlparser::ast::{Expr, visit_expressions};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::config::{Config, TableConfig};
use crate::schema::{TableRef, quote_ident, quote_literal};

/// Rows of each relation.
const ROWS: u32 = 40;

/// The SQL that makes it: a relation for each that a table of a manifest reads, with its rows spread over the days before
/// `2026-01-11`, readable for `role`. Relations of the server itself are there already.
///
/// # Panics
/// If an expression is no SQL, or a table reads no relation.
#[must_use]
pub fn manifest_source(config: &Config, role: &str) -> String {
    let mut relations: BTreeMap<&TableRef, Vec<String>> = BTreeMap::new();
    let mut keys: BTreeSet<(&TableRef, &String)> = BTreeSet::new();
    for table in config.tables.iter().filter(|table| table.manifest.is_some()) {
        let relation = table.relation.as_ref().expect("reads one relation");
        if relation.schema == "information_schema" || relation.schema == "pg_catalog" {
            continue;
        }
        keys.extend(table.key.iter().map(|name| (relation, name)));
        let columns = relations.entry(relation).or_default();
        for name in named(table) {
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
    }
    let role = quote_ident(role);
    let tables = relations.iter().map(|(relation, columns)| {
        let sql = relation.sql();
        let list: Vec<String> = columns.iter().map(|name| format!("{} {}", quote_ident(name), type_of(name))).collect();
        let values: Vec<String> = columns.iter().map(|name| value(name, keys.contains(&(*relation, name)))).collect();
        format!(
            "create table {sql} ({});\ninsert into {sql} select {} from generate_series(1, {ROWS}) i;\n\
             grant select on {sql} to {role};\n",
            list.join(", "),
            values.join(", ")
        )
    });
    tables.collect()
}

/// The columns of the relation that a table reads.
fn named(table: &TableConfig) -> Vec<String> {
    let plain = table.columns.iter().flatten().filter(|name| !table.select.contains_key(*name)).cloned();
    let mut names: Vec<String> = plain.chain(table.watermark.clone()).collect();
    for text in table.select.values().chain(&table.filter) {
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).expect("SQL");
        let expression = parser.parse_expr().expect("an expression");
        let _done: ControlFlow<()> = visit_expressions(&expression, |part| {
            match part {
                Expr::Identifier(name) => names.push(name.value.clone()),
                Expr::CompoundIdentifier(parts) => names.extend(parts.last().map(|name| name.value.clone())),
                _ => {}
            }
            ControlFlow::Continue(())
        });
    }
    names
}

fn type_of(name: &str) -> &'static str {
    match name {
        "id" => "bigint primary key",
        _ if name.ends_with("_at") => "timestamp",
        _ if name.ends_with("_date") || name.ends_with("_on") || name == "date" => "date",
        _ if name.ends_with("_id") || name.ends_with("_count") || name.ends_with("_ms") || name == "quantity" => {
            "bigint"
        }
        _ if name.starts_with("percentage_") || name.ends_with("_average") => "double precision",
        _ if name.ends_with("_enabled") || name.starts_with("is_") || name == "trial" => "boolean",
        "counts" | "license_add_ons" | "request_data" => "jsonb",
        _ => "text",
    }
}

/// A value that differs from row to row, and is NULL in some; that of a key is another one in each row, and never NULL.
fn value(name: &str, is_key: bool) -> String {
    let of_row = match type_of(name) {
        "bigint primary key" => return "i".to_owned(),
        "bigint" if is_key => return "i".to_owned(),
        // By which windows are cut: never NULL.
        "timestamp" if name == "updated_at" || name == "created_at" => {
            return "timestamp '2026-01-01' + i * interval '6 hours'".to_owned();
        }
        "timestamp" => "timestamp '2262-01-01' + (i - 20) * interval '1 year'",
        "date" => "date '2026-01-01' + i",
        "bigint" => "i % 7 + 1",
        "double precision" => "i / 3.0",
        "boolean" => "i % 2 = 0",
        "jsonb" => "jsonb_build_object('a', i)",
        _ => "",
    };
    let text = format!("{} || i || E' \\t\"é'", quote_literal(name));
    let of_row = if of_row.is_empty() { text } else { of_row.to_owned() };
    if is_key { of_row } else { format!("case when i % 5 > 0 then {of_row} end") }
}
