//! What a live database tells of itself and of a table. Pure values.

use std::fmt;

use crate::schema::{RelationKind, TableRef, TableSchema};

/// A relation that may be copied, and what keeps the role from reading it.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    /// Which one.
    pub table: TableRef,
    /// `None` for what rows cannot be read from.
    pub kind: RelationKind,
    /// Whether the role may use the schema.
    pub usage: bool,
    /// Whether row security hides rows from the role.
    pub row_security: bool,
    /// How many columns it has.
    pub columns: i64,
    /// Columns that the role may not read.
    pub unreadable: Vec<String>,
    /// Whether the role may change rows.
    pub writable: bool,
}

/// What a server says of itself and of the role that asks.
#[derive(Debug, Clone)]
pub(crate) struct ServerFacts {
    /// The role.
    pub role: String,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// The database.
    pub database: String,
    /// Zone of a session that sets none, as the server spells it.
    pub timezone: String,
    /// Whether it is a standby: its counters do not see the writes.
    pub standby: bool,
    /// The day since which it counts inserts, updates and deletes; `None`: since it was made.
    pub counted_since: Option<String>,
}

/// How many rows there are, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Counted.
    Exactly(u64),
    /// As the planner has it.
    About(u64),
    /// Counting was given up there.
    MoreThan(u64),
    /// Neither analyzed nor counted in time.
    Unknown,
}

impl Rows {
    /// The number that decisions are made with: what is not known is many.
    pub(crate) const fn at_least(self) -> u64 {
        match self {
            Self::Exactly(rows) | Self::About(rows) => rows,
            Self::MoreThan(rows) => rows + 1,
            Self::Unknown => u64::MAX,
        }
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(rows) => f.write_str(&counted(*rows, "row")),
            Self::About(rows) => write!(f, "about {}", counted(*rows, "row")),
            Self::MoreThan(rows) => write!(f, "more than {}", counted(*rows, "row")),
            Self::Unknown => f.write_str("nobody knows how many rows"),
        }
    }
}

/// `1 row`, `12,345 rows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A number with its thousands set apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What the server counted of a table and its partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Rows inserted.
    pub inserted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Rows deleted.
    pub deleted: u64,
}

impl Counters {
    /// Whether anything was counted at all.
    pub(crate) const fn any(self) -> bool {
        self.inserted > 0 || self.updated > 0 || self.deleted > 0
    }
}

/// A trigger that fires before a row is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trigger {
    /// On insert.
    pub insert: bool,
    /// On update.
    pub update: bool,
    /// Name of its function.
    pub function: String,
    /// The function's text.
    pub body: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// What writes to a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writers {
    /// What was written.
    pub counters: Counters,
    /// Who may stamp rows.
    pub triggers: Vec<Trigger>,
    /// Whether logical replication writes it.
    pub subscribed: bool,
    /// For how many days there are counters; `None`: since the database is there.
    pub counted_days: Option<i64>,
}

/// All that is known of a table before a choice is made.
#[derive(Debug, Clone)]
pub(crate) struct TableFacts {
    /// Columns, keys, kind.
    pub schema: TableSchema,
    /// How many rows.
    pub rows: Rows,
    /// What was written.
    pub counters: Counters,
    /// Who may stamp rows.
    pub triggers: Vec<Trigger>,
    /// Whether logical replication writes it.
    pub subscribed: bool,
    /// Whether most of its rows came in one transaction, as a restore brings them; `false` as well where nobody looked.
    pub bulk: bool,
    /// How many days ago counting began anew; `None`: it never did.
    pub counted_days: Option<i64>,
    /// How many days ago the newest row was stamped, where an index has it.
    pub newest_days: Option<i64>,
}

/// What a look at the values of one column found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Whether there are rows that no window could contain; `None` if the look took too long.
    pub unreachable: Option<bool>,
    /// How many days ago the smallest value lies, where an index has it.
    pub age_days: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::{Rows, grouped};

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(Rows::About(10_000).to_string(), "about 10,000 rows");
        assert_eq!(Rows::Exactly(1).to_string(), "1 row");
    }
}
