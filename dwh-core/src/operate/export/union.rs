//! The columns that all files of an export have: those of every CSV, with the types of the newest. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::columns::{Scalar, Shape, modifiers};
use super::convert::Place;
use super::key::family;
use crate::blob::{BlobKey, Manifest};
use crate::config::{DELETED_AT, Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::run::{RunId, RunKind};
use crate::schema::{Column, TypeName};

/// The columns, in the order of the newest CSV; those that the source has lost come last.
#[derive(Debug)]
pub(super) struct Union {
    /// Name and shape.
    pub(super) columns: Arc<Vec<(String, Shape)>>,
    /// Their types in PostgreSQL.
    pub(super) types: Vec<TypeName>,
    /// The first run that has the column, and what rows have that are older.
    first: BTreeMap<String, (RunId, Option<String>)>,
}

/// What keeps the columns from being exported.
pub(super) enum Refused {
    /// Column, type and reason: as text they can be.
    Columns(Vec<(String, String, String)>),
    /// They cannot be in any way.
    Other(Error),
}

impl Union {
    /// Of CSV files in the order of their runs.
    pub(super) fn of(table: &TableConfig, csvs: &[(BlobKey, Manifest)], as_text: &[String]) -> Result<Self, Refused> {
        let rows = || csvs.iter().map(|(_, manifest)| manifest).filter(|manifest| manifest.kind != RunKind::Keys);
        let mut newest: Vec<(&Column, &Manifest)> = Vec::new();
        for manifest in rows().rev() {
            for column in &manifest.columns {
                match newest.iter().find(|(known, _)| known.name == column.name) {
                    Some((known, _)) => same_values(table, known, column, as_text).map_err(Refused::Other)?,
                    None => newest.push((column, manifest)),
                }
            }
        }
        if let Some(name) = as_text.iter().find(|name| newest.iter().all(|(column, _)| column.name != **name)) {
            let names: Vec<&str> = newest.iter().map(|(column, _)| column.name.as_str()).collect();
            let message = format!("table `{}`: there is no column `{name}`", table.name);
            let hint = format!("its columns are: {}", names.join(", "));
            return Err(Refused::Other(Error::new(ErrorKind::Config, message).with_hint(hint)));
        }
        alike(table, newest.iter().map(|(column, _)| column.name.as_str())).map_err(Refused::Other)?;
        let (mut columns, mut types, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (column, manifest) in newest {
            let text = as_text.contains(&column.name);
            let shape = if text { Ok(Shape::One(Scalar::Text)) } else { Shape::of(column, &manifest.types) };
            match shape {
                Ok(shape) => columns.push((column.name.clone(), shape)),
                Err(reason) => refused.push((column.name.clone(), column.type_name.to_string(), reason.to_owned())),
            }
            types.push(column.type_name.clone());
        }
        if !refused.is_empty() {
            return Err(Refused::Columns(refused));
        }
        // Bronze alone has it.
        if table.marks_deleted() {
            columns.push((DELETED_AT.to_owned(), Shape::One(Scalar::Timestamp { zone: true })));
            types.push(TypeName::timestamptz());
        }
        let mut first = BTreeMap::new();
        for manifest in rows() {
            for column in &manifest.columns {
                let old = column.old_value.clone().filter(|_| table.mode == Mode::Incremental);
                first.entry(column.name.clone()).or_insert((manifest.run_id, old));
            }
        }
        Ok(Self { columns: Arc::new(columns), types, first })
    }

    /// Where the columns of a file come from.
    pub(super) fn places(&self, table: &TableConfig, manifest: &Manifest) -> Vec<Place> {
        let place = |(name, _): &(String, Shape)| {
            if table.marks_deleted() && name == DELETED_AT {
                return Place::Mark;
            }
            if let Some(at) = manifest.columns.iter().position(|column| column.name == *name) {
                return Place::Field(at);
            }
            let old = self.first.get(name).filter(|(first, _)| manifest.run_id < *first);
            Place::Value(old.and_then(|(_, old)| old.clone()))
        };
        self.columns.iter().map(place).collect()
    }
}

/// Refuses names that readers take for one: DuckDB would give the values of the first for both, Spark reads neither.
fn alike<'a>(table: &TableConfig, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    for name in names {
        let Some(other) = known.insert(name.to_lowercase(), name) else { continue };
        let message = format!(
            "table `{}`: columns `{other}` and `{name}` differ by upper and lower case alone, and DuckDB and Spark take \
             them for one",
            table.name
        );
        return Err(Error::new(ErrorKind::Contract, message).with_hint(format!(
            "nothing was written; read {} instead, such as with `copy (select …) to stdout`",
            table.target
        )));
    }
    Ok(())
}

/// Refuses a column of which older texts may be other values in its type of today.
fn same_values(table: &TableConfig, newest: &Column, older: &Column, as_text: &[String]) -> Result<()> {
    let (now, was) = (&newest.type_name, &older.type_name);
    let alike = family(now) == family(was) && !rounds(now, was) && !as_text.contains(&newest.name);
    let same = now.bare() == was.bare() || alike;
    if same {
        return Ok(());
    }
    let message =
        format!("table `{}`: column `{}` was {was} in older CSV files and is {now} now", table.name, newest.name);
    Err(Error::new(ErrorKind::Contract, message).with_hint(format!(
        "what the server made of the older values, the files do not tell; after `dwh resync {}` they do, or read {} instead",
        table.name, table.target
    )))
}

/// Whether the newer type keeps fewer digits of a second: the server has rounded what was there.
fn rounds(now: &TypeName, was: &TypeName) -> bool {
    const ALL: u8 = 6;
    let digits = |name: &TypeName| match name.name() {
        "timestamp" | "time" => modifiers(name).first().and_then(|digits| digits.parse().ok()).unwrap_or(ALL),
        _ => ALL,
    };
    digits(now) < digits(was)
}

#[cfg(test)]
mod tests {
    use super::rounds;

    #[test]
    fn fewer_digits_of_a_second_are_other_values() {
        let rounds = |now: &str, was: &str| rounds(&now.parse().expect("a type"), &was.parse().expect("a type"));
        assert!(rounds("timestamp(3) with time zone", "timestamp with time zone"));
        assert!(rounds("time(0) without time zone", "time(3) without time zone"));
        assert!(!rounds("timestamp with time zone", "timestamp(3) with time zone"));
        assert!(!rounds("numeric(3,1)", "numeric(8,4)"), "its texts are refused one by one");
    }
}
