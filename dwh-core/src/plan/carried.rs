//! Types whose values mean nothing in another database. Pure.

use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::PlanColumn;
use crate::schema::{Column, TypeDef, TypeName, needed, quote_ident};

/// Their text names an object or a role of the source: another one at the target, or none.
const NAMES: [&str; 12] = [
    "aclitem",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
];

/// No server reads their text back, or no table may have them.
const UNREADABLE: [&str; 12] = [
    "anyarray",
    "cstring",
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_ddl_command",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
    "record",
    "void",
];

/// Refuses columns of types that cannot be carried, alone or inside another type, all at once.
///
/// # Errors
/// `Contract`, with the lines for `dwh.toml` that copy them as text.
pub(super) fn refuse_uncarried(table: &TableConfig, columns: &[PlanColumn], types: &[TypeDef]) -> Result<()> {
    let (mut problems, mut remedies) = (Vec::new(), Vec::new());
    for column in columns.iter().map(|column| &column.column) {
        let Some(why) = why_uncarried(column, types) else { continue };
        problems.push(format!("column `{}` {why}", column.name));
        let name = quote_ident(&column.name);
        remedies.push(format!("{} = {}", toml(&column.name), toml(&format!("t.{name}::text"))));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Contract, format!("table `{}`: {}", table.name, problems.join("; "))).with_hint(format!(
        "copy the text, in `dwh.toml` below the table:\n[table.select]\n{}\nor `exclude` the column",
        remedies.join("\n")
    )))
}

/// Why a column cannot be carried, as the end of a sentence that begins with the column; `None` if it can.
pub(crate) fn why_uncarried(column: &Column, types: &[TypeDef]) -> Option<String> {
    let parts = needed([&column.type_name], types);
    let mut inside = parts.iter().flat_map(TypeDef::parts).chain([&column.type_name]);
    let (inner, why) = inside.find_map(|name| Some((name, uncarried(name)?)))?;
    let holds = if *inner == column.type_name { String::new() } else { format!(", which holds `{inner}`") };
    Some(format!("is `{}`{holds}: {why}", column.type_name))
}

fn uncarried(name: &TypeName) -> Option<&'static str> {
    if name.schema().is_some() {
        return None;
    }
    if NAMES.contains(&name.name()) {
        return Some("its text names an object of the source, which is another one at the target, or none");
    }
    UNREADABLE.contains(&name.name()).then_some("no table can be loaded with it")
}

/// A string as TOML writes it: JSON's way is one of TOML's.
fn toml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
