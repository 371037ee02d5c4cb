//! What an error of PostgreSQL means, by its SQLSTATE: one table of kinds and hints, which the reference page prints.

use super::ErrorKind;
use super::ErrorKind::{Auth, Busy, Config, Contract, Data, Internal, NotFound, Permission, Unreachable};

/// One row of the table of SQLSTATEs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct SqlState {
    /// Five characters, or the two of a class: then it stands for those of the class that have no row of their own.
    pub code: &'static str,
    /// What else must be known for the row to count.
    pub when: When,
    /// What it means, a few words.
    pub meaning: &'static str,
    /// What kind of error it is; exit code and retry follow from it.
    pub kind: ErrorKind,
    /// What to do; empty where the kind's hint is as good.
    pub hint: &'static str,
}

/// What must be known beside the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub enum When {
    /// Nothing.
    Always,
    /// The message has these words. Only of messages that a server never translates.
    Says(&'static str),
    /// A COPY names the column whose value was read: the type refused it.
    InColumn,
}

/// Of an error that no row knows: an SQLSTATE of somebody's own.
const OF_THEIR_OWN: SqlState = any(
    "any other",
    "An SQLSTATE that a function, a trigger or an extension made up.",
    Contract,
    "a function, a trigger or an extension of that server raised it: whoever wrote it knows what it wants",
);

const fn any(code: &'static str, meaning: &'static str, kind: ErrorKind, hint: &'static str) -> SqlState {
    SqlState { code, when: When::Always, meaning, kind, hint }
}

const fn says(
    code: &'static str,
    words: &'static str,
    meaning: &'static str,
    kind: ErrorKind,
    hint: &'static str,
) -> SqlState {
    SqlState { code, when: When::Says(words), meaning, kind, hint }
}

/// Code of the database's owner ran into it, not a statement of ours alone.
const THEIR_CODE: &str = "a function, trigger, rule or view of that server ran into it: mend it there, or leave the column out with `exclude`";
const AGAIN: &str = "run it again; nothing was lost or loaded twice";
const POOLER: &str = "a pooler is in between that does not know prepared statements: set `max_prepared_statements` there \
     (PgBouncer 1.21 or later), or connect to the server itself";
const A_VALUE: &str = "a value of the source is none for the type of its bronze column; nothing was loaded. Widen the \
     column in bronze, or change the value in `[table.select]`";
const THEIR_TEXT: &str = "the type of that column cannot read the text that it wrote itself; nothing was loaded. If it is a geometry, \
     say `geometry = \"ewkb\"` of the table, which copies the bytes; otherwise change the value in `[table.select]`";
const SERVER_LOG: &str =
    "that server cannot read or write its own files: its log says which; have it mended, then run it again";
const DROPPED: &str = "a table or type was dropped or made anew while it was read: run it again; `dwh check` tells what is \
     not there any more";
const LIMIT: &str = "a limit of PostgreSQL that no setting lifts: leave the column out with `exclude`, or cut the value in \
     `[table.select]`";
const CORRUPT: &str = "that server says that its own data is damaged: have its administrator look with `pg_amcheck`, and \
     restore what is lost";

impl SqlState {
    /// Every row; of two that fit, the first one counts.
    pub const ALL: &[Self] = &[
        any("03", "A statement was not complete.", Internal, ""),
        any("08", "The connection broke.", Unreachable, ""),
        any("09", "A trigger failed.", Contract, THEIR_CODE),
        any(
            "0A",
            "The server does not do that with such an object.",
            Contract,
            "the object is of a kind that this cannot be done with, such as a table that a foreign key leads to, which cannot \
             be emptied: `dwh check` names what stands in the way, with the statement that removes it",
        ),
        any("0B", "A transaction cannot begin.", Contract, THEIR_CODE),
        any("0F", "A large object is not as it should be.", Contract, THEIR_CODE),
        any("0L", "The role may not grant that.", Permission, "have the owner of the object, or a superuser, grant it"),
        any(
            "0P",
            "There is no such role.",
            Contract,
            "`dwh migrate` makes the roles of `[target]`; `dwh check` names the missing one",
        ),
        any("0Z", "A diagnostics statement is wrong.", Contract, THEIR_CODE),
        any("10", "An XQuery failed.", Data, THEIR_CODE),
        any("20", "A CASE has no branch for a value.", Contract, THEIR_CODE),
        any(
            "21",
            "A subquery gave more than one row.",
            Data,
            "an expression in `[table.select]`, a query or a view gives several rows where one is meant: correct it",
        ),
        any(
            "22021",
            "Bytes are no text in the encoding.",
            Data,
            "text of the source is no UTF-8 (its database is SQL_ASCII, or a program wrote other bytes): mend those rows at \
             the source, or leave the column out with `exclude`",
        ),
        any(
            "22P05",
            "A character does not exist in the other encoding.",
            Data,
            "one of the two databases is not in UTF8: leave the column out with `exclude`, or take a database in UTF8",
        ),
        any("22", "A value is none for its type.", Data, A_VALUE),
        any(
            "23502",
            "A column of bronze is NOT NULL, and the row has NULL.",
            Data,
            "the source has NULL where bronze allows none; nothing was loaded. In the target, `alter table TABLE alter column \
             COLUMN drop not null` with the names of the message",
        ),
        any(
            "23503",
            "A foreign key refuses the row.",
            Data,
            "rows arrive in bronze before those that they point to: drop the foreign key; `dwh check` prints the statement",
        ),
        any(
            "23505",
            "A unique index refuses the row.",
            Contract,
            "a unique index of the bronze table other than the configured key refuses a row; `dwh check` prints the statement \
             that drops it",
        ),
        any(
            "23",
            "A constraint of bronze refuses the row.",
            Data,
            "the source has rows that the constraint of the message refuses: drop it in bronze; `dwh check` prints the statement",
        ),
        any("24", "A cursor is in the wrong state.", Contract, THEIR_CODE),
        any(
            "25006",
            "The server, or the transaction, only reads.",
            Permission,
            "the server is a standby, or only looks were meant: connect to the primary",
        ),
        any("25P03", "The session was idle in its transaction for too long.", Unreachable, AGAIN),
        any("25P04", "The transaction took too long.", Unreachable, AGAIN),
        any(
            "25",
            "A statement does not fit the state of the transaction.",
            Contract,
            "a pooler in statement mode takes transactions apart: have it work in mode `transaction` or `session`; without a \
             pooler, a function or trigger ended the transaction",
        ),
        any("26", "A prepared statement is not there.", Contract, POOLER),
        any("27", "A trigger changed a row that was being changed.", Contract, THEIR_CODE),
        any("28", "The login is refused.", Auth, ""),
        any(
            "2B",
            "Something depends on a grant or an object.",
            Contract,
            "drop or change first what depends on it, as the message says",
        ),
        any("2D", "A function or procedure ended the transaction.", Contract, THEIR_CODE),
        any("2F", "A function in SQL failed.", Contract, THEIR_CODE),
        any("34", "There is no such cursor.", Contract, THEIR_CODE),
        any("38", "A function in another language failed.", Contract, THEIR_CODE),
        any("39", "A function in another language was called wrongly.", Contract, THEIR_CODE),
        any("3B", "There is no such savepoint.", Contract, THEIR_CODE),
        any("3D", "There is no such database.", NotFound, ""),
        any("3F", "There is no such schema.", NotFound, ""),
        any(
            "40002",
            "A constraint refused the transaction at its end.",
            Data,
            "`dwh check` names the constraints of bronze that the source does not have",
        ),
        any("40", "The transaction lost against another one.", Busy, AGAIN),
        any("42501", "The role lacks a right.", Permission, ""),
        any(
            "42601",
            "A statement is not SQL.",
            Config,
            "correct the expression of `[table.select]`, or `query`, that the message quotes from",
        ),
        any("42703", "There is no such column.", NotFound, ""),
        any("42704", "There is no such type, role or object.", NotFound, ""),
        any("42883", "There is no such function or operator.", NotFound, ""),
        any("42P01", "There is no such table.", NotFound, ""),
        any("42P05", "A prepared statement is there already.", Contract, POOLER),
        any("42", "A statement does not fit the objects that it names.", Contract, ""),
        any(
            "44",
            "A view refuses the row.",
            Data,
            "the target of a table is the table itself, not a view with `check option`",
        ),
        any(
            "53100",
            "The server's disk is full.",
            Busy,
            "the server's disk is full: free some space there, then run it again",
        ),
        any(
            "53200",
            "The server has no memory left.",
            Busy,
            "run it again with fewer tables at a time (`connections` in `[target]`), or give that server more memory",
        ),
        any(
            "53300",
            "All connections of the server are taken.",
            Busy,
            "all connections of the server are taken: run it again later, or lower `connections`",
        ),
        any("53", "The server has no resources left.", Busy, ""),
        any("54", "A row, value or statement is over a limit of PostgreSQL.", Data, LIMIT),
        any("55006", "The object is in use.", Busy, AGAIN),
        any(
            "55P03",
            "A lock could not be had in time.",
            Busy,
            "another session holds the lock: run it again afterwards, or set a longer `lock_timeout` there",
        ),
        any("55", "The object is not in the state that this needs.", Contract, ""),
        any("57014", "The statement was cancelled.", Busy, AGAIN),
        any("57P01", "An administrator ended the session.", Unreachable, AGAIN),
        any("57P02", "The server crashed.", Unreachable, AGAIN),
        any("57P03", "The server is starting or stopping.", Busy, AGAIN),
        any("57P04", "The database was dropped.", NotFound, ""),
        any("57P05", "The session was idle for too long.", Unreachable, AGAIN),
        any("57", "Somebody interfered.", Busy, AGAIN),
        any(
            "58P01",
            "The server has no such file.",
            NotFound,
            "a file of that server is not there, such as the one behind a foreign table or the library of an extension: put it \
             there, or leave the table out",
        ),
        any("58", "The server's system failed.", Busy, SERVER_LOG),
        any("72", "The snapshot is too old.", Busy, AGAIN),
        any("F0", "The server's configuration file is wrong.", Contract, SERVER_LOG),
        any("HV001", "A foreign server's wrapper has no memory left.", Busy, AGAIN),
        any(
            "HV00N",
            "A foreign server does not answer.",
            Unreachable,
            "the server behind a foreign table does not answer: see that it is up, then run it again",
        ),
        any("HV00P", "A foreign server has no such schema.", NotFound, ""),
        any("HV00Q", "A foreign server has no such schema.", NotFound, ""),
        any("HV00R", "A foreign server has no such table.", NotFound, ""),
        any(
            "HV",
            "A foreign table cannot be read.",
            Contract,
            "the foreign table of the message cannot be read there: `select` from it in psql says more; mend its options, or \
             leave the table out",
        ),
        any("P0001", "A function or trigger raised an error of its own.", Contract, THEIR_CODE),
        any("P0", "A function in PL/pgSQL failed.", Contract, THEIR_CODE),
        says("XX000", "invalid memory alloc request size", "A value is longer than 1 GB as text.", Data, LIMIT),
        says(
            "XX000",
            "Cannot find SRID",
            "The database does not know a coordinate system.",
            Contract,
            "copy the row of that SRID from `spatial_ref_sys` of the source into the one of the target, or map the column in \
             `[table.select]`",
        ),
        says("XX000", "could not open relation with OID", "A table was dropped meanwhile.", NotFound, DROPPED),
        says("XX000", "cache lookup failed for", "An object was dropped meanwhile.", NotFound, DROPPED),
        says("XX000", "tuple concurrently", "Another session changed the same object.", Busy, AGAIN),
        SqlState {
            code: "XX000",
            when: When::InColumn,
            meaning: "A type of an extension refuses a value, such as PostGIS its own text of infinite coordinates.",
            kind: Data,
            hint: THEIR_TEXT,
        },
        any("XX001", "The server's data is damaged.", Data, CORRUPT),
        any(
            "XX002",
            "An index of the server is damaged.",
            Data,
            "that server says that an index is damaged: `reindex` it there",
        ),
        any("XX", "A defect of the server or of an extension.", Internal, ""),
        OF_THEIR_OWN,
    ];

    /// The row of an error: its code, its message, and whether a COPY named the column whose value it read.
    #[must_use]
    pub fn of(code: &str, message: &str, in_column: bool) -> &'static Self {
        let class = code.get(..2).unwrap_or_default();
        let fits = |row: &&Self| match row.when {
            When::Always => true,
            When::Says(words) => message.contains(words),
            When::InColumn => in_column,
        };
        // A code has more to say than its class.
        let by = |wanted: &str| Self::ALL.iter().filter(fits).find(|row| row.code == wanted);
        by(code).or_else(|| by(class)).unwrap_or(&OF_THEIR_OWN)
    }

    /// What to do.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        if self.hint.is_empty() { self.kind.row().hint } else { self.hint }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ErrorKind;
    use super::{OF_THEIR_OWN, SqlState, When};
    use std::collections::BTreeSet;

    /// The classes of `errcodes.txt` of PostgreSQL 18 that are errors.
    const CLASSES: &str = "03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 \
         55 57 58 72 F0 HV P0 XX";

    #[test]
    fn every_class_of_the_server_has_a_row() {
        let classes: BTreeSet<&str> = CLASSES.split_whitespace().collect();
        let told: BTreeSet<&str> = SqlState::ALL.iter().map(|row| row.code).filter(|code| code.len() == 2).collect();
        assert_eq!(told, classes);
        for row in SqlState::ALL.iter().filter(|row| **row != OF_THEIR_OWN) {
            assert!(row.code.len() == 2 || row.code.len() == 5 && classes.contains(&row.code[..2]), "{row:?}");
            let twin = SqlState::ALL.iter().filter(|other| (other.code, other.when) == (row.code, row.when)).count();
            assert_eq!(twin, 1, "{row:?} stands twice");
        }
    }

    #[test]
    fn only_what_nobody_expects_ends_with_one() {
        for row in SqlState::ALL {
            let internal = row.kind == ErrorKind::Internal;
            assert_eq!(internal, row.kind.row().exit_code == 1, "{row:?}");
            assert_eq!(internal, matches!(row.code, "03" | "XX"), "{row:?}");
            assert!(internal || !row.advice().contains("report it"), "{row:?}");
        }
    }

    #[test]
    fn a_code_counts_before_its_class_and_words_before_both() {
        let kind = |code, message, in_column| SqlState::of(code, message, in_column).kind;
        assert_eq!(kind("40P01", "", false), ErrorKind::Busy);
        assert_eq!(kind("57P04", "", false), ErrorKind::NotFound);
        assert_eq!(kind("57P06", "", false), ErrorKind::Busy);
        assert_eq!(kind("XX000", "invalid memory alloc request size 1258291203", false), ErrorKind::Data);
        assert_eq!(kind("XX000", "parse error", true), ErrorKind::Data);
        assert_eq!(kind("XX000", "parse error", false), ErrorKind::Internal);
        assert_eq!(SqlState::of("KA001", "", false), &OF_THEIR_OWN);
        assert_eq!(SqlState::of("", "", false), &OF_THEIR_OWN);
        assert_eq!(SqlState::of("XX000", "", false).when, When::Always);
    }
}
