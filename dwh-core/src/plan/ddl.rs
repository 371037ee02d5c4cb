//! The DDL of a bronze table and of the types that its columns need, from what a source's catalog or a manifest names.

use crate::plan::LoadPlan;
use crate::schema::{TypeDef, TypeKind, TypeName, definition, quote_ident, quote_literal};

/// `create table if not exists` of a bronze table: exact types, not-null, the key.
///
/// A snapshot or scd table gets no key of its own: its rows are replaced or dated as a whole. One that has each version of a
/// row gets an index that finds them.
#[must_use]
pub fn bronze_ddl(load: &LoadPlan) -> String {
    let table = create_table(load, Vec::new());
    let versions = load.is_appended().then(|| anonymous(&load.version_index()));
    let more = load.add_of_bronze().into_iter().map(|(_, sql)| sql);
    versions.into_iter().chain(more).fold(table, |sql, more| format!("{sql}\n{more}"))
}

/// The same for a table that is not there yet, in plain statements, for people who change them.
#[must_use]
pub(crate) fn plain_ddl(load: &LoadPlan) -> String {
    let line = |(name, default): (&str, &str)| {
        let default = if default.is_empty() { String::new() } else { format!(" default {default}") };
        format!("    {} timestamp with time zone{default}", quote_ident(name))
    };
    let table = create_table(load, load.of_bronze().into_iter().map(line).collect());
    match load.is_appended() {
        true => format!("{table}\ncreate index on {} ({});", load.target.sql(), load.version_columns()),
        false => table,
    }
}

fn create_table(load: &LoadPlan, more: Vec<String>) -> String {
    let mut lines: Vec<String> = load
        .columns
        .iter()
        .map(|column| {
            let null = if column.not_null { " not null" } else { "" };
            format!("    {} {}{null}", quote_ident(&column.name), column.type_name)
        })
        .chain(more)
        .collect();
    if load.mode.is_keyed() && !load.is_appended() && !load.apart {
        let key: Vec<String> = load.key.iter().map(|name| quote_ident(name)).collect();
        lines.push(format!("    primary key ({})", key.join(", ")));
    }
    format!("create table if not exists {} (\n{}\n);", load.target.sql(), lines.join(",\n"))
}

/// What to do when the target does not know a type of which a manifest of release 0.1 tells the name alone,
/// without schema and modifiers.
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

/// Makes a type where it is not there, and gives an enum the labels that it lacks, each in its place; `None` for a type
/// that no SQL of ours makes. May be run again.
#[must_use]
pub(crate) fn type_ddl(def: &TypeDef) -> Option<String> {
    let name = def.name.sql();
    let create = match &def.kind {
        TypeKind::Extension { .. } | TypeKind::Base => return None,
        TypeKind::Enum { labels } => format!("create type {name} as enum ({})", literals(labels)),
        TypeKind::Domain { base } => format!("create domain {name} as {base}"),
        TypeKind::Composite { attributes } => {
            let list: Vec<String> =
                attributes.iter().map(|one| format!("{} {}", quote_ident(&one.name), one.type_name)).collect();
            format!("create type {name} as ({})", list.join(", "))
        }
        TypeKind::Range { subtype, multirange, collation, operator_class } => {
            let more =
                [("subtype_opclass", operator_class), ("collation", collation), ("multirange_type_name", multirange)];
            let more: String = more
                .iter()
                .filter_map(|(word, name)| name.as_ref().map(|name| format!(", {word} = {}", name.sql())))
                .collect();
            format!("create type {name} as range (subtype = {subtype}{more})")
        }
    };
    let mut body = format!(
        "begin\n    if pg_catalog.to_regtype({}) is null then\n        {create};\n    end if;\n",
        quote_literal(&name)
    );
    if let TypeKind::Enum { labels } = &def.kind {
        body = labels_ddl(&name, labels, &body);
    }
    Some(anonymous(&(body + "end")))
}

/// A label goes behind the one before it; the first one before what is there.
fn labels_ddl(name: &str, labels: &[String], create: &str) -> String {
    let (text, of) = (quote_literal(name), "enumtypid = kind::pg_catalog.regtype");
    format!(
        "declare\n    kind constant text := {text};\n    labels constant text[] := array[{}]::text[];\n{create}    \
         for i in 1 .. pg_catalog.cardinality(labels) loop\n        \
         if not exists (select from pg_catalog.pg_enum where {of} and enumlabel = labels[i]) then\n            \
         execute pg_catalog.format('alter type %s add value %L', kind, labels[i]) || coalesce(case\n                \
         when i > 1 then pg_catalog.format(' after %L', labels[i - 1])\n                \
         else (select pg_catalog.format(' before %L', enumlabel) from pg_catalog.pg_enum where {of}\n                    \
         order by enumsortorder limit 1) end, '');\n        end if;\n    end loop;\n",
        literals(labels)
    )
}

fn literals(texts: &[String]) -> String {
    texts.iter().map(|text| quote_literal(text)).collect::<Vec<_>>().join(", ")
}

/// An anonymous block. Its body is a string: nothing in it can end the tag.
pub(crate) fn anonymous(body: &str) -> String {
    let mut tag = "$dwh$".to_owned();
    while body.contains(&tag) {
        tag.insert(4, '_');
    }
    format!("do {tag} {body} {tag};\n")
}

/// The load with names of types for a `search_path` that holds the schemas of the extensions: where they live at the
/// target is not known yet.
#[must_use]
pub(crate) fn unresolved(load: &LoadPlan) -> LoadPlan {
    let bare = |name: &TypeName| match definition(&load.types, name).map(|def| &def.kind) {
        Some(TypeKind::Extension { .. }) => name.moved(None),
        Some(_) => name.clone(),
        // A CSV of release 0.1 does not tell whether it is an extension's.
        None => name.moved(None),
    };
    renamed(load, bare)
}

/// The load with other names for the types of its columns, and for what those are made of.
#[must_use]
pub(crate) fn renamed(load: &LoadPlan, name: impl Fn(&TypeName) -> TypeName) -> LoadPlan {
    let mut load = load.clone();
    load.types = load.types.iter().map(|def| def.with_parts(&name)).collect();
    load.columns.iter_mut().for_each(|column| column.type_name = name(&column.type_name));
    load
}
