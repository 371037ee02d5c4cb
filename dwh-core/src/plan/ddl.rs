//! The DDL of a bronze table, from the columns that a source's catalog or a manifest names.

use crate::config::Mode;
use crate::plan::LoadPlan;
use crate::schema::{Column, quote_ident};

/// `create table if not exists` of a bronze table: exact types, not-null, the key.
///
/// A snapshot or scd table gets no key of its own: its rows are replaced or dated as a whole.
#[must_use]
pub fn bronze_ddl(load: &LoadPlan) -> String {
    let mut lines: Vec<String> = load
        .columns
        .iter()
        .map(|column| {
            let null = if column.not_null { " not null" } else { "" };
            format!("    {} {}{null}", quote_ident(&column.name), target_type(column))
        })
        .collect();
    if load.mode == Mode::Incremental {
        let key: Vec<String> = load.key.iter().map(|name| quote_ident(name)).collect();
        lines.push(format!("    primary key ({})", key.join(", ")));
    }
    format!("create table if not exists {} (\n{}\n);", load.target.sql(), lines.join(",\n"))
}

/// The type as the target is asked for it: without the schema when it belongs to an extension or to `public`, so that
/// the target's own `search_path` (which `migrate` sets to the extensions' schemas) finds it.
fn target_type(column: &Column) -> &str {
    column.bare_type()
}

/// What to do when the target does not know a type, named without schema and modifiers.
#[must_use]
pub fn missing_extension_hint(name: &str) -> String {
    let extension = match name {
        "geometry" | "geography" | "box2d" | "box3d" => Some("postgis"),
        "raster" => Some("postgis_raster"),
        "hstore" => Some("hstore"),
        "citext" => Some("citext"),
        "ltree" | "lquery" | "ltxtquery" => Some("ltree"),
        "cube" => Some("cube"),
        "isbn" | "isbn13" | "issn" | "issn13" | "ean13" | "upc" => Some("isn"),
        "vector" | "halfvec" | "sparsevec" => Some("vector"),
        _ => None,
    };
    match extension {
        Some(extension) => format!("in the target, as a superuser: create extension if not exists {extension};"),
        None => format!("create the type `{name}` in the target as it is in the source, then run `dwh migrate` again"),
    }
}
