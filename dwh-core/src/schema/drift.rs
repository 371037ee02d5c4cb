//! The difference between the columns that a load brings and those that bronze has. Pure.

use serde::{Deserialize, Serialize};
use std::fmt;

use super::Column;

/// One difference between the columns that an extract delivers and those that bronze has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "drift", rename_all = "snake_case")]
pub enum Drift {
    /// The source has it, bronze has not.
    MissingInBronze {
        /// The column.
        column: String,
        /// Its type at the source.
        source_type: String,
    },
    /// Bronze has it, the source has not.
    MissingInSource {
        /// The column.
        column: String,
        /// Whether bronze refuses NULL there and has no default, so that no row could be loaded.
        required: bool,
    },
    /// Both have it with different types.
    Type {
        /// The column.
        column: String,
        /// Its type at the source.
        source_type: String,
        /// Its type in bronze.
        bronze_type: String,
    },
    /// The source allows NULL, bronze refuses it.
    Nullability {
        /// The column.
        column: String,
    },
    /// Bronze computes it, so that the source's value cannot be written.
    Computed {
        /// The column.
        column: String,
    },
}

impl Drift {
    /// The column that differs.
    #[must_use]
    pub fn column(&self) -> &str {
        match self {
            Self::MissingInBronze { column, .. }
            | Self::MissingInSource { column, .. }
            | Self::Type { column, .. }
            | Self::Nullability { column }
            | Self::Computed { column } => column,
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingInBronze { column, source_type } => {
                write!(f, "column `{column}` ({source_type}) exists in the source but not in bronze")
            }
            Self::MissingInSource { column, .. } => {
                write!(f, "column `{column}` exists in bronze but not in the source")
            }
            Self::Type { column, source_type, bronze_type } => {
                write!(f, "column `{column}` is {source_type} in the source but {bronze_type} in bronze")
            }
            Self::Nullability { column } => {
                write!(f, "column `{column}` may be NULL in the source but not in bronze")
            }
            Self::Computed { column } => {
                write!(f, "column `{column}` is computed in bronze, so the source's value cannot be written")
            }
        }
    }
}

/// What loads have brought into a bronze table so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered<'a> {
    /// Nothing: the table was never loaded.
    Nothing,
    /// It was loaded, and nobody wrote down which columns it got.
    Unknown,
    /// These columns.
    Columns(&'a [String]),
}

impl Delivered<'_> {
    /// Whether loads may have filled this column of bronze.
    ///
    /// Where it is not known: one that could only have come from the source, or from a person who added it without a
    /// default.
    fn filled(self, column: &Column) -> bool {
        match self {
            Self::Nothing => false,
            Self::Unknown => column.default.is_none() && !column.generated && !column.identity,
            Self::Columns(names) => names.contains(&column.name),
        }
    }
}

/// The columns of bronze that loads filled before, and that are not among the delivered ones any more.
#[must_use]
pub fn lost(delivered: &[Column], bronze: &[Column], before: Delivered<'_>) -> Vec<Column> {
    let brought = |column: &Column| delivered.iter().any(|other| other.name == column.name);
    bronze.iter().filter(|column| !brought(column) && before.filled(column)).cloned().collect()
}

/// The differences between what an extract delivers and what bronze has, in the order of the columns.
///
/// Types are known by schema and name: `delivered` names them as bronze's database does. A bronze column that the source lacks counts only when bronze requires a
/// value there; whether another one was [`lost`] depends on what was loaded before.
#[must_use]
pub fn drift(delivered: &[Column], bronze: &[Column]) -> Vec<Drift> {
    let mut found = Vec::new();
    for column in delivered {
        let Some(other) = bronze.iter().find(|other| other.name == column.name) else {
            let (column, source_type) = (column.name.clone(), column.type_name.to_string());
            found.push(Drift::MissingInBronze { column, source_type });
            continue;
        };
        let name = || column.name.clone();
        if other.generated && !column.generated {
            found.push(Drift::Computed { column: name() });
        }
        if other.type_name != column.type_name {
            found.push(Drift::Type {
                column: name(),
                source_type: column.type_name.to_string(),
                bronze_type: other.type_name.to_string(),
            });
        }
        if other.not_null && !column.not_null {
            found.push(Drift::Nullability { column: name() });
        }
    }
    for column in bronze.iter().filter(|column| column.is_required()) {
        if !delivered.iter().any(|other| other.name == column.name) {
            found.push(Drift::MissingInSource { column: column.name.clone(), required: true });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Column {
        Column::new(name, "text".parse().expect("a type"))
    }

    fn names(columns: &[Column]) -> Vec<&str> {
        columns.iter().map(|column| column.name.as_str()).collect()
    }

    #[test]
    fn a_column_is_lost_when_loads_filled_it_and_it_does_not_come_any_more() {
        let bronze = [
            column("id"),
            column("gone"),
            Column { not_null: true, ..column("must") },
            Column { default: Some("'x'".to_owned()), ..column("by_hand") },
            Column { generated: true, ..column("twice") },
            Column { identity: true, ..column("row_no") },
        ];
        let filled = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let now = [column("id")];
        assert!(lost(&now, &bronze, Delivered::Nothing).is_empty(), "the first load loses nothing");
        assert_eq!(names(&lost(&now, &bronze, Delivered::Unknown)), ["gone", "must"]);
        let before = filled(&["id", "gone"]);
        assert_eq!(names(&lost(&now, &bronze, Delivered::Columns(&before))), ["gone"]);
        let before = filled(&["id"]);
        assert!(lost(&now, &bronze, Delivered::Columns(&before)).is_empty(), "a person added the others");
        let before = filled(&["id", "by_hand", "elsewhere"]);
        assert_eq!(names(&lost(&now, &bronze, Delivered::Columns(&before))), ["by_hand"], "a default came later");
        assert!(lost(&bronze, &bronze, Delivered::Unknown).is_empty());
    }

    #[test]
    fn a_computed_column_of_bronze_gets_no_value_of_the_source() {
        let computed = Column { generated: true, ..column("n") };
        assert_eq!(drift(&[column("n")], &[computed]), [Drift::Computed { column: "n".to_owned() }]);
    }

    #[test]
    fn a_column_may_differ_in_more_than_one_way() {
        let narrow = Column { not_null: true, ..Column::new("n", "integer".parse().expect("a type")) };
        let words: Vec<String> = drift(&[column("n")], &[narrow]).iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "column `n` is text in the source but integer in bronze",
                "column `n` may be NULL in the source but not in bronze"
            ]
        );
    }
}
