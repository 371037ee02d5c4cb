//! What a table makes of a record: its columns, and where their values stand.

use std::collections::BTreeSet;

use super::kind::Kind;
use super::schema::JsonSchema;
use crate::config::{FILE, FieldFrom, FileColumn, FileFormat, FileTable, RECORD, TableConfig, Validate};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Column, ObjectName, RelationKind, TableRef, TableSchema, TypeDef, TypeKind, TypeName};

/// What `[[table]]` says of files.
pub(super) fn of_files(table: &TableConfig) -> Result<&FileTable> {
    table.files.as_deref().ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("table `{}`: its source is one of files", table.name))
            .with_hint("write `files` and `mode = \"files\"` under the table")
    })
}

/// A column, and where its value stands.
pub(super) struct ColumnShape {
    pub name: String,
    pub from: Option<FieldFrom>,
    pub type_name: TypeName,
    pub kind: Kind,
    pub required: bool,
}

/// What a table makes of a record.
pub(super) struct Shape {
    pub table: FileTable,
    pub columns: Vec<ColumnShape>,
    pub schema: Option<JsonSchema>,
    /// Whether a file without records may take the place of one with them.
    pub allow_empty: bool,
}

impl Shape {
    /// The shape of a table, its JSON Schema read.
    ///
    /// # Errors
    /// `Config` if the JSON Schema cannot be used, or a column has no type.
    pub(super) fn of(table: &TableConfig) -> Result<Self> {
        let files = of_files(table)?;
        let schema = files.json_schema.as_deref().map(JsonSchema::load).transpose();
        let schema = schema.map_err(|error| error.context(format!("table `{}`", table.name)))?;
        let fail = |text: String, hint: &str| {
            Error::new(ErrorKind::Config, format!("table `{}`: {text}", table.name)).with_hint(hint)
        };
        let configured = match (&files.columns[..], &schema) {
            ([], Some(schema)) if files.validate == Validate::Record => {
                let column = |name: &str| FileColumn { name: name.to_owned(), from: None, type_name: None };
                schema.names().map(column).collect()
            }
            (columns, _) => columns.to_vec(),
        };
        if configured.is_empty() {
            return Err(fail(
                "its JSON Schema names no properties of a record".to_owned(),
                "write its columns under `[table.columns]`",
            ));
        }
        let own = |name: &String| ![FILE, RECORD].contains(&name.as_str());
        let needed: BTreeSet<&String> =
            files.required.iter().chain(table.key.iter().filter(|name| own(name))).collect();
        for name in &needed {
            if !configured.iter().any(|column| column.name == **name) {
                return Err(fail(
                    format!("`key` or `required` names `{name}`, which is no column"),
                    "name columns of `[table.columns]`, or properties of the JSON Schema",
                ));
            }
        }
        let mut columns = Vec::new();
        for column in configured {
            let type_name = column.type_name.clone().or_else(|| schema.as_ref()?.type_of(&property(&column)?));
            let Some(type_name) = type_name else {
                return Err(fail(
                    format!("the JSON Schema says no type of column `{}`", column.name),
                    "write its type under `[table.columns]`",
                ));
            };
            columns.push(ColumnShape {
                required: needed.contains(&column.name),
                kind: Kind::of(&type_name),
                type_name: described(type_name),
                name: column.name,
                from: column.from,
            });
        }
        Ok(Self { table: files.clone(), columns, schema, allow_empty: table.allow_empty })
    }

    /// The columns as a catalog would tell them.
    pub(super) fn described(&self, table: &TableConfig) -> Result<TableSchema> {
        let text: TypeName = "text".parse()?;
        let own = self.columns.iter().map(|shape| Column {
            not_null: shape.required,
            geometry: matches!(shape.kind, Kind::Geometry { .. }),
            ..Column::new(&shape.name, shape.type_name.clone())
        });
        let added = [FILE, RECORD].map(|name| Column { not_null: true, ..Column::new(name, text.clone()) });
        let columns: Vec<Column> = own.chain(added).collect();
        let names = columns.iter().filter(|column| column.geometry).filter_map(|column| column.type_name.object());
        let names: BTreeSet<ObjectName> = names.collect();
        let kind = || TypeKind::Extension { extension: "postgis".to_owned() };
        Ok(TableSchema {
            table: TableRef::new(&table.source, &table.name),
            kind: RelationKind::Query,
            columns,
            keys: Vec::new(),
            indexed: Vec::new(),
            row_estimate: -1,
            types: names.into_iter().map(|name| TypeDef { name, kind: kind() }).collect(),
        })
    }

    /// How the records of a file stand in it.
    ///
    /// # Errors
    /// `Config` if neither the configuration nor its name says so.
    pub(super) fn format(&self, path: &str) -> Result<FileFormat> {
        self.table.format.or_else(|| FileFormat::of_name(path)).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("file `{path}`: its name does not say its format"))
                .with_hint("write `format = \"json\"` (or jsonl, csv, geojson) under the table")
        })
    }
}

/// The property of the record that a column is.
fn property(column: &FileColumn) -> Option<String> {
    match &column.from {
        None => Some(column.name.clone()),
        Some(FieldFrom::Field(from)) => match segments(from, FileFormat::Json)[..] {
            [ref one] => Some(one.clone()),
            _ => None,
        },
        Some(FieldFrom::Point { .. }) => None,
    }
}

/// The steps from a record to a value.
pub(super) fn segments(from: &str, format: FileFormat) -> Vec<String> {
    let unescaped = |step: &str| step.replace("~1", "/").replace("~0", "~");
    match (from.strip_prefix('/'), format) {
        (Some(pointer), _) => pointer.split('/').map(unescaped).collect(),
        (None, FileFormat::Geojson) => vec!["properties".to_owned(), from.to_owned()],
        (None, _) => vec![from.to_owned()],
    }
}

/// A type of PostGIS with the schema under which it is described: it is the same wherever the extension lives.
fn described(name: TypeName) -> TypeName {
    let spatial = matches!(name.name(), "geometry" | "geography") && name.schema().is_none();
    if spatial { name.moved(Some("public")) } else { name }
}
