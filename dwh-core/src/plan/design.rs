//! The design of a bronze table: a file of SQL that makes it, in the place of the DDL that follows from the source. Pure.

use sqlparser::tokenizer::Token;
use std::path::{Path, PathBuf};

use crate::config::pieces;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{LoadPlan, plain_ddl};
use crate::schema::{TableRef, quote_ident, quote_literal};

/// Words with which a statement begins that would end the transaction of `migrate`, or change its role or settings.
const REFUSED: [&str; 14] = [
    "abort",
    "begin",
    "commit",
    "copy",
    "discard",
    "end",
    "prepare",
    "release",
    "reset",
    "rollback",
    "savepoint",
    "set",
    "start",
    "vacuum",
];

/// What the source says of a relation beyond its columns and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Remarks {
    /// Its comment.
    pub(crate) comment: Option<String>,
    /// Comments of columns.
    pub(crate) columns: Vec<(String, String)>,
    /// Indexes but those of keys: whether unique, and the definition from `USING` on.
    pub(crate) indexes: Vec<(bool, String)>,
}

/// A design that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Design {
    /// The file, as it is told.
    pub(crate) file: String,
    sql: String,
    statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
struct Statement {
    /// What it is about.
    kind: Kind,
    /// The text with the tables that the design makes put into the schema of temporary ones.
    scratch: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `create table` and `create index`, `alter table`, `comment`: what says how a table is.
    Shape,
    /// Anything else.
    Other,
}

/// The file of a table's design below a folder.
pub(crate) fn design_file(folder: &Path, table: &TableRef) -> PathBuf {
    let safe = |(at, letter): (usize, char)| match letter {
        // Neither a hidden file nor a way up.
        '.' if at == 0 => "%2E".to_owned(),
        '/' | '\\' | '%' => format!("%{:02X}", u32::from(letter)),
        letter if letter.is_control() => format!("%{:02X}", u32::from(letter)),
        letter => letter.to_string(),
    };
    let segment = |name: &str| name.char_indices().map(safe).collect::<String>();
    folder.join(segment(&table.schema)).join(format!("{}.sql", segment(&table.name)))
}

/// The design that makes the table as `migrate` would without one.
pub(crate) fn design_text(load: &LoadPlan, from: &str, owner: &str, remarks: &Remarks) -> String {
    let table = load.target.sql();
    let mut text = format!(
        "-- {}, from {}; written by `dwh design pull`.\n\
         -- `dwh migrate` makes the table from this file where it is not there yet: change it as you like. The columns that are\n\
         -- copied must stay, and so must the key. The statements run as role {}, in one transaction, with no search path:\n\
         -- write each name with its schema.\n{}\n",
        in_comment(&load.target.to_string()),
        in_comment(from),
        in_comment(&quote_ident(owner)),
        plain_ddl(load)
    );
    if let Some(comment) = &remarks.comment {
        text.push_str(&format!("comment on table {table} is {};\n", quote_literal(comment)));
    }
    for (name, comment) in &remarks.columns {
        if load.columns.iter().any(|column| column.name == *name) {
            let column = format!("{table}.{}", quote_ident(name));
            text.push_str(&format!("comment on column {column} is {};\n", quote_literal(comment)));
        }
    }
    if !remarks.indexes.is_empty() {
        text.push_str(
            "\n-- Indexes of the source, as proposals: each one slows loads down. A unique one may stop them.\n",
        );
        for (unique, definition) in &remarks.indexes {
            let unique = if *unique { "unique " } else { "" };
            text.push_str(&format!("-- create {unique}index on {} {};\n", in_comment(&table), in_comment(definition)));
        }
    }
    text
}

/// A text in a comment: a line break in it would end the comment.
fn in_comment(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

impl Design {
    /// Reads a design.
    ///
    /// # Errors
    /// `Config` if it is no SQL, does not make the table, or would end the transaction that it runs in.
    pub(crate) fn parse(file: &Path, sql: String, table: &TableRef) -> Result<Self> {
        let file = file.display().to_string();
        let wrong = |what: String, hint: &str| {
            Error::new(ErrorKind::Config, format!("design `{file}` {what}")).with_hint(hint.to_owned())
        };
        let tokens = pieces(&sql).map_err(|error| {
            wrong(format!("is no SQL: {error}"), "correct the file, or delete it and pull it again")
        })?;
        let statements: Vec<&[(Token, &str)]> = tokens
            .split(|(token, _)| *token == Token::SemiColon)
            .filter(|statement| words(statement).next().is_some())
            .collect();
        for statement in &statements {
            if let Some(word) = words(statement).next().filter(|word| REFUSED.contains(&word.as_str())) {
                return Err(wrong(
                    format!("has a statement that begins with `{word}`"),
                    "take it out: all statements run in one transaction of `dwh migrate`, with its role and settings",
                ));
            }
        }
        let made: Vec<TableRef> = statements.iter().filter_map(|statement| made_by(statement)).collect();
        if !made.contains(table) {
            return Err(wrong(
                format!("does not make {table}"),
                "write `create table` with schema and name, or delete the file: then the source says how the table is",
            ));
        }
        if let Some(other) = statements.iter().find_map(|statement| refers_to(statement, &made)) {
            return Err(wrong(
                format!("has a foreign key to {other}, which it does not make"),
                "take it out: tables are loaded in no order, and a row that comes before the one it refers to would stop its load",
            ));
        }
        let indexes: Vec<TableRef> = statements.iter().filter_map(|statement| index_of(statement)).collect();
        let made = [made, indexes].concat();
        let statements = statements.iter().map(|statement| Statement::of(statement, &made)).collect();
        Ok(Self { file, sql, statements })
    }

    /// All of it, to be run as it is, with an end to its last statement.
    pub(crate) fn sql(&self) -> String {
        format!("{}\n;\n", self.sql.trim_end())
    }

    /// The statements that say how the tables are, each of them making or changing a temporary one: they change nothing
    /// else, and leave out what they might.
    pub(crate) fn in_scratch(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().filter(|one| one.kind == Kind::Shape).map(|one| one.scratch.as_str())
    }

    /// The same error, which says that this design is what is wrong.
    pub(crate) fn explain(&self, error: &Error) -> Error {
        let told = error.to_string();
        // The table is named by whoever tells it.
        let told =
            told.split_once("`: ").filter(|(before, _)| before.starts_with("table `")).map_or(&*told, |(_, what)| what);
        let kind = match error.kind() {
            kind @ (ErrorKind::Unreachable | ErrorKind::Auth | ErrorKind::Busy | ErrorKind::Locked) => kind,
            ErrorKind::Drift | ErrorKind::Contract => ErrorKind::Contract,
            _ => ErrorKind::Config,
        };
        Error::new(kind, format!("design `{}`: {told}", self.file)).with_hint(
            "correct the file so that it has the columns and the key that are copied, or delete it and run `dwh design pull`",
        )
    }
}

impl Statement {
    fn of(tokens: &[(Token, &str)], made: &[TableRef]) -> Self {
        let first: Vec<String> = words(tokens).take(3).collect();
        let first: Vec<&str> = first.iter().map(String::as_str).collect();
        // What it is about comes first; of anything else not even a lock is taken.
        let own = (0..tokens.len()).find_map(|at| name(&tokens[at..])).is_some_and(|(first, _)| made.contains(&first));
        let kind = match first[..] {
            _ if !own || sets_logged(tokens) => Kind::Other,
            ["alter", "table", ..] | ["comment", "on", ..] | ["create", "table" | "index", ..] => Kind::Shape,
            ["create", "unique", "index"] | ["create", "unlogged", "table"] => Kind::Shape,
            _ => Kind::Other,
        };
        let mut scratch = String::new();
        let mut at = 0;
        while let Some((token, piece)) = tokens.get(at) {
            let named = name(&tokens[at..]).filter(|(table, _)| made.contains(table));
            if let Some((table, length)) = named {
                scratch.push_str(&format!("pg_temp.{} ", quote_ident(&table.name)));
                at += length;
                continue;
            }
            // A temporary table has no log anyway, and the server refuses the word.
            let says_it = is_word(token, "unlogged") && significant(&tokens[..at]).next_back().is_some_and(is_create);
            if !says_it {
                scratch.push_str(piece);
            }
            at += 1;
        }
        Self { kind, scratch }
    }
}

fn significant<'a>(tokens: &'a [(Token, &str)]) -> impl DoubleEndedIterator<Item = &'a Token> {
    tokens.iter().map(|(token, _)| token).filter(|token| !matches!(token, Token::Whitespace(_)))
}

fn is_create(token: &Token) -> bool {
    is_word(token, "create")
}

/// Whether it is `alter table … set logged` or `unlogged`, which no temporary table can be told.
fn sets_logged(tokens: &[(Token, &str)]) -> bool {
    let all: Vec<&Token> = significant(tokens).collect();
    let set = |two: &[&Token]| is_word(two[0], "set") && (is_word(two[1], "logged") || is_word(two[1], "unlogged"));
    all.windows(2).any(set)
}

/// A table, other than those that are `made`, to which a foreign key points.
fn refers_to(tokens: &[(Token, &str)], made: &[TableRef]) -> Option<TableRef> {
    let rest: Vec<(Token, &str)> = without_blanks(tokens);
    let follows = |at: usize| is_word(&rest[at].0, "references").then(|| name(&rest[at + 1..])).flatten();
    (0..rest.len()).filter_map(follows).map(|(table, _)| table).find(|table| !made.contains(table))
}

fn without_blanks<'a>(tokens: &[(Token, &'a str)]) -> Vec<(Token, &'a str)> {
    tokens.iter().filter(|(token, _)| !matches!(token, Token::Whitespace(_))).cloned().collect()
}

/// The index that a statement makes, in the schema of its table, if it is one that does and gives it a name.
fn index_of(tokens: &[(Token, &str)]) -> Option<TableRef> {
    let mut rest = Words(without_blanks(tokens));
    if !rest.take("create") {
        return None;
    }
    rest.take("unique");
    if !rest.take("index") {
        return None;
    }
    rest.take("concurrently");
    rest.take_if_not_exists();
    let index = part(&rest.0.first()?.0).filter(|_| !is_word(&rest.0[0].0, "on"))?;
    rest.0.remove(0);
    if !rest.take("on") {
        return None;
    }
    rest.take("only");
    name(&rest.0).map(|(table, _)| TableRef::new(table.schema, index))
}

/// What is left of a statement.
struct Words<'a>(Vec<(Token, &'a str)>);

impl Words<'_> {
    /// Takes this word, if it comes next.
    fn take(&mut self, wanted: &str) -> bool {
        let found = self.0.first().is_some_and(|(token, _)| is_word(token, wanted));
        if found {
            self.0.remove(0);
        }
        found
    }

    fn take_if_not_exists(&mut self) {
        if self.take("if") {
            self.take("not");
            self.take("exists");
        }
    }
}

/// The words of a statement, in lower case, up to the first that is quoted.
fn words(tokens: &[(Token, &str)]) -> impl Iterator<Item = String> {
    significant(tokens).map_while(|token| match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_lowercase()),
        _ => None,
    })
}

fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// A name, as the catalog spells it.
fn part(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style == Some('"') => Some(word.value.clone()),
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_lowercase()),
        _ => None,
    }
}

/// The table with which these tokens begin, and how many they are.
fn name(tokens: &[(Token, &str)]) -> Option<(TableRef, usize)> {
    match tokens {
        [(schema, _), (Token::Period, _), (table, _), ..] => Some((TableRef::new(part(schema)?, part(table)?), 3)),
        _ => None,
    }
}

/// The table that a statement makes, if it is one that does.
fn made_by(tokens: &[(Token, &str)]) -> Option<TableRef> {
    let mut rest = Words(without_blanks(tokens));
    if !rest.take("create") {
        return None;
    }
    rest.take("unlogged");
    if !rest.take("table") {
        return None;
    }
    rest.take_if_not_exists();
    name(&rest.0).map(|(table, _)| table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> TableRef {
        TableRef::new("bronze", "orders")
    }

    fn parse(sql: &str) -> Result<Design> {
        Design::parse(Path::new("designs/bronze/orders.sql"), sql.to_owned(), &orders())
    }

    #[test]
    fn a_table_and_its_partitions_are_moved_and_nothing_else() {
        let design = parse(
            "-- bronze.orders; a comment\n\
             create unlogged table if not exists \"bronze\".orders (id bigint primary key, mood bronze.mood, note text default 'bronze.orders;')\n\
             partition by range (id);\n\
             CREATE TABLE Bronze.\"orders_1\" partition of bronze.orders for values from (1) to (2);\n\
             create index on bronze.orders (note);\n\
             select pg_notify('a', 'bronze.orders');\n\
             comment on column bronze.orders.id is $$it;s$$",
        )
        .expect("a design");
        let scratch: Vec<String> =
            design.in_scratch().map(|sql| sql.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(scratch.len(), 4, "{scratch:#?}");
        assert!(scratch[0].contains("table if not exists pg_temp.\"orders\" (id bigint"), "{scratch:#?}");
        assert!(scratch[0].contains("mood bronze.mood") && scratch[0].contains("'bronze.orders;'"), "{scratch:#?}");
        assert!(scratch[1].contains("pg_temp.\"orders_1\" partition of pg_temp.\"orders\" for"), "{scratch:#?}");
        assert_eq!(scratch[2], "create index on pg_temp.\"orders\" (note)");
        assert!(scratch[3].starts_with("comment on column pg_temp.\"orders\" .id is $$it;s$$"), "{scratch:#?}");
        assert!(design.sql().ends_with("$$it;s$$\n;\n"));
    }

    #[test]
    fn a_trial_touches_no_table_that_is_there() {
        let design = parse(
            "create table bronze.orders (id bigint primary key, unlogged text, parent bigint references bronze.orders (id));\n\
             create index orders_note on bronze.orders (unlogged);\n\
             comment on index bronze.orders_note is 'x';\n\
             alter table bronze.other add column a int;\n\
             comment on table bronze.other is 'bronze.orders';\n\
             create index on bronze.other (a);\n\
             alter table bronze.other add constraint f check (bronze.orders is null);\n\
             alter table bronze.orders set unlogged",
        )
        .expect("a design");
        let scratch: Vec<&str> = design.in_scratch().collect();
        assert_eq!(scratch.len(), 3, "{scratch:#?}");
        assert!(scratch[0].contains("unlogged text, parent bigint references pg_temp.\"orders\""), "{scratch:#?}");
        assert!(scratch[2].contains("comment on index pg_temp.\"orders_note\""), "{scratch:#?}");
    }

    #[test]
    fn what_would_end_the_transaction_and_what_makes_another_table_is_refused() {
        let table = "create table bronze.orders (id int);";
        for (sql, word) in [
            (format!("{table} commit"), "`commit`"),
            (format!("begin; {table}"), "`begin`"),
            (format!("{table} Set role postgres"), "`set`"),
            ("create table bronze.other (id int)".to_owned(), "does not make bronze.orders"),
            ("create table orders (id int)".to_owned(), "does not make bronze.orders"),
            ("create table bronze.orders (note text default 'open)".to_owned(), "is no SQL"),
            (
                format!("{table} alter table bronze.orders add foreign key (id) references b.other (id)"),
                "foreign key to b.other",
            ),
            (String::new(), "does not make"),
        ] {
            let error = parse(&sql).expect_err(&sql);
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(word), "{sql}: {error}");
        }
        parse(table).expect("good");
    }

    #[test]
    fn names_stay_below_the_folder() {
        let file =
            |schema: &str, name: &str| design_file(Path::new("d"), &TableRef::new(schema, name)).display().to_string();
        assert_eq!(file("bronze", "Ärger 1"), "d/bronze/Ärger 1.sql");
        assert_eq!(file("..", "a/b"), "d/%2E./a%2Fb.sql");
    }
}
