//! The settings of a transaction on which the meaning of text, or the end of a long statement, depends; and the one
//! statement with which every transaction begins.
//!
//! They are set with `set local`, in the message that begins the transaction: behind a pooler, the next transaction may
//! run in another session, and what is set for a session stays there for whoever comes next.

use crate::schema::quote_literal;
use crate::watermark::Micros;

/// Each setting with its value, as `current_setting` shows it.
///
/// Without them a CSV written under `DateStyle` 'SQL, DMY' and read under 'SQL, MDY' turns 3 February into 2 March. The
/// last ones change what a configured expression or query says: numbers and days by locale, `x = NULL`, a part of the
/// rows that an index finds.
const SETTINGS: [(&str, &str); 21] = [
    ("search_path", ""),
    ("datestyle", "ISO, YMD"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    FROM_A_FILE,
    ("bytea_output", "hex"),
    ("extra_float_digits", "3"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("xmloption", "content"),
    ("xmlbinary", "base64"),
    ("array_nulls", "on"),
    ("quote_all_identifiers", "off"),
    ("row_security", "off"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("backslash_quote", "safe_encoding"),
    ("transform_null_equals", "off"),
    ("gin_fuzzy_search_limit", "0"),
    ("client_min_messages", "warning"),
];

/// What a transaction is for. Nothing of it is left to the defaults of role, database or server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what is committed when it begins; may write.
    Write,
    /// The same, and cannot write.
    Look,
    /// All statements see one moment; cannot write.
    Snapshot,
}

impl Isolation {
    const fn sql(self) -> &'static str {
        match self {
            Self::Write => "isolation level read committed, read write, not deferrable",
            Self::Look => "isolation level read committed, read only, not deferrable",
            Self::Snapshot => "isolation level repeatable read, read only, not deferrable",
        }
    }
}

/// `begin`, with everything that the transaction relies on set for it alone. A `lock_timeout` of zero waits for ever.
///
/// With [`Isolation::Snapshot`] there is no query in it: the snapshot is taken by the first one, after what is read was
/// locked. That one must be [`opening_query`].
#[must_use]
pub fn opening(isolation: Isolation, lock_timeout: Micros) -> String {
    let plain = SETTINGS.iter().filter(|(name, _)| *name != FROM_A_FILE.0);
    let mut sql = format!("begin {}; {}{NO_LIMITS}{}", isolation.sql(), set_local(plain), patience(lock_timeout));
    if isolation == Isolation::Look {
        sql.push_str(NOT_COMPILED);
    }
    if isolation != Isolation::Snapshot {
        sql.push_str("; ");
        sql.push_str(&opening_query());
    }
    sql
}

/// Sets what is set only where it differs: the time limit of the whole transaction, which not every version has, and
/// [`FROM_A_FILE`]. The view of all settings would answer the same, and costs the server more than all the rest of a short
/// transaction.
#[must_use]
pub fn opening_query() -> String {
    let (name, value) = FROM_A_FILE;
    format!(
        "select pg_catalog.set_config(name, value, true) from (values ('transaction_timeout', '0'), ('{name}', '{value}')) \
         t(name, value) where pg_catalog.current_setting(name, true) <> value"
    )
}

/// How long the transaction waits for a lock from here on; zero waits for ever.
pub(crate) fn patience(lock_timeout: Micros) -> String {
    // Rounded up: a part of a millisecond must not become "for ever".
    let lock_ms = lock_timeout.0.div_euclid(1000).max(i64::from(lock_timeout.0 > 0));
    format!("set local lock_timeout = {lock_ms}")
}

/// A look at catalogs is a large statement over few rows: compiling it takes half a second, running it a fiftieth of that.
const NOT_COMPILED: &str = "; set local jit = off";

/// The time limits that a role or a database may have and that would end a long statement.
const NO_LIMITS: &str = "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0; ";

/// To set it, the server reads a file: more than half of what a short transaction costs it, and as a rule for the value
/// that is there. So it is set where it differs.
const FROM_A_FILE: (&str, &str) = ("timezone_abbreviations", "Default");

fn set_local<'a>(settings: impl Iterator<Item = &'a (&'a str, &'a str)>) -> String {
    settings.map(|(name, value)| format!("set local {name} = {}; ", quote_literal(value))).collect()
}

/// Those on which the text of a value depends, for a transaction that a person pastes into a session of any settings.
pub(super) fn for_text() -> String {
    let others = [
        "search_path",
        "client_encoding",
        "client_min_messages",
        "row_security",
        "gin_fuzzy_search_limit",
        "quote_all_identifiers",
        "backslash_quote",
        "transform_null_equals",
        "lc_numeric",
        "lc_time",
        "xmlbinary",
    ];
    set_local(SETTINGS.iter().filter(|(name, _)| !others.contains(name)))
}

/// Selects the settings that are not as [`opening`] left them, and the properties of the transaction, as one array of
/// text that is empty when all is well.
#[must_use]
pub fn not_in_force(isolation: Isolation) -> String {
    let wanted = SETTINGS.iter().map(|(name, value)| (*name, if value.is_empty() { "\"\"" } else { value }));
    let level = if isolation == Isolation::Snapshot { "repeatable read" } else { "read committed" };
    let read_only = if isolation == Isolation::Write { "off" } else { "on" };
    let pairs: Vec<String> = wanted
        .chain([("transaction_isolation", level), ("transaction_read_only", read_only)])
        .map(|(name, value)| format!("({}, {})", quote_literal(name), quote_literal(value)))
        .collect();
    format!(
        "array(select s.name from (values {}) s(name, wanted) \
         where pg_catalog.lower(pg_catalog.current_setting(s.name, true)) is distinct from pg_catalog.lower(s.wanted))",
        pairs.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_says_everything_itself_and_leaves_nothing() {
        let sql = opening(Isolation::Snapshot, Micros(1));
        assert!(sql.starts_with("begin isolation level repeatable read, read only, not deferrable; "), "{sql}");
        assert!(sql.ends_with("set local lock_timeout = 1"), "rounded up: {sql}");
        for statement in sql.split("; ").skip(1) {
            assert!(
                statement.starts_with("set local "),
                "a query would take the snapshot before the lock: {statement}"
            );
        }
        let look = opening(Isolation::Look, Micros(1));
        assert!(look.ends_with(&opening_query()), "{look}");
        for (name, _) in SETTINGS {
            let set = format!("set local {name} = ");
            assert!(sql.contains(&set) || (name == FROM_A_FILE.0 && opening_query().contains(name)), "{sql}");
            assert!(not_in_force(Isolation::Look).contains(name), "{name}");
        }
    }
}
