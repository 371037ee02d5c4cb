//! The SELECT of a model: the relations that it reads, and the same SELECT over schemas with a prefix.

use sqlparser::ast::{Query, SetExpr, Statement, TableFactor, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::config::manifest::{folded, pieces};
use crate::schema::{TableRef, quote_ident};

type Checked<T> = Result<T, String>;

/// What a SELECT is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// The text, without a `;` at its end.
    pub(super) text: String,
    /// Schema, if it is written, and name of each relation.
    pub(super) reads: BTreeSet<(Option<String>, String)>,
}

/// Reads it. With `told`, the file says itself after which models it comes, and SQL that is not understood here is taken as
/// it stands.
///
/// # Errors
/// What is wrong, as the end of a sentence that begins with the file.
pub(super) fn take(text: &str, told: bool) -> Checked<Taken> {
    let text = one_statement(text)?;
    let statement = match Parser::parse_sql(&PostgreSqlDialect {}, &text) {
        Ok(mut statements) => statements.pop(),
        Err(_) if told => return Ok(Taken { text, ..Taken::default() }),
        Err(error) => {
            return Err(format!(
                "cannot be read ({error}); where PostgreSQL takes it, name the models that it reads in `-- after: a.b, c.d` \
                 (none: `-- after:`), and it is taken as it stands"
            ));
        }
    };
    let Some(Statement::Query(query)) = statement else { return Err("is no SELECT".to_owned()) };
    let mut found = Reads::default();
    let _done = query.visit(&mut found);
    if let Some(wrong) = found.wrong {
        return Err(wrong);
    }
    let is_own = |(schema, name): &(Option<String>, String)| schema.is_none() && found.own.contains(name);
    Ok(Taken { text, reads: found.reads.into_iter().filter(|read| !is_own(read)).collect() })
}

/// The line of which a message of the parser speaks; the last one if something is missing at the end.
pub(super) fn line_of(text: &str, message: &str) -> usize {
    let told = message.split_once(" at Line: ").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
    told.unwrap_or_else(|| if message.contains("found: EOF") { text.lines().count().max(1) } else { 1 })
}

/// The text up to its last `;`, which may be there once, and at the end.
fn one_statement(text: &str) -> Checked<String> {
    let pieces = pieces(text).map_err(|error| format!("is no SQL: {error}"))?;
    let says = |(token, _): &(Token, &str)| !matches!(token, Token::Whitespace(_) | Token::SemiColon | Token::EOF);
    let end = pieces.iter().rposition(says).map_or(0, |last| last + 1);
    let (statement, rest) = pieces.split_at(end);
    let ends = |pieces: &[(Token, &str)]| pieces.iter().filter(|(token, _)| *token == Token::SemiColon).count();
    match (statement.is_empty(), ends(statement), ends(rest)) {
        (true, ..) => Err("has no SELECT".to_owned()),
        (false, 0, 0 | 1) => Ok(statement.iter().map(|(_, piece)| *piece).collect()),
        _ => Err("holds several statements, and must be one SELECT".to_owned()),
    }
}

/// The relations of a query, those that it makes itself, and what no model may do.
#[derive(Default)]
struct Reads {
    reads: BTreeSet<(Option<String>, String)>,
    own: BTreeSet<String>,
    wrong: Option<String>,
}

impl Visitor for Reads {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| with.cte_tables.iter());
        self.own.extend(tables.map(|table| folded(&table.alias.name)));
        self.judge(&query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        // With arguments it is a function.
        let TableFactor::Table { name: relation, args: None, .. } = table else { return ControlFlow::Continue(()) };
        let parts: Option<Vec<String>> = relation.0.iter().map(|part| part.as_ident().map(folded)).collect();
        let read = match parts.as_deref() {
            Some([name]) => Some((None, name.clone())),
            Some([schema, name]) => Some((Some(schema.clone()), name.clone())),
            _ => None,
        };
        match read {
            Some(read) => {
                self.reads.insert(read);
            }
            None => self.wrong = Some(format!("reads `{relation}`: write schema and name, without a database")),
        }
        ControlFlow::Continue(())
    }
}

impl Reads {
    fn judge(&mut self, body: &SetExpr) {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                self.judge(left);
                self.judge(right);
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                self.wrong = Some("changes rows, and must be a SELECT".to_owned());
            }
            SetExpr::Table(_) => self.wrong = Some("has `table …`: write `select * from …`".to_owned()),
            _ => {}
        }
    }
}

/// The SELECT with the schema of each of these relations under the prefix, wherever it stands before its name.
///
/// # Errors
/// The relation that is not found in the text.
pub(crate) fn with_prefix(text: &str, relations: &BTreeSet<&TableRef>, prefix: &str) -> Checked<String> {
    let pieces = pieces(text).map_err(|error| format!("is no SQL: {error}"))?;
    let words: Vec<(usize, &Token)> = pieces
        .iter()
        .enumerate()
        .filter(|(_, (token, _))| !matches!(token, Token::Whitespace(_)))
        .map(|(at, (token, _))| (at, token))
        .collect();
    let mut changed: Vec<(usize, String)> = Vec::new();
    let mut missing = relations.clone();
    for (place, window) in words.windows(3).enumerate() {
        let [(at, Token::Word(schema)), (_, Token::Period), (_, Token::Word(name))] = window else { continue };
        let is_part = place > 0 && matches!(words[place - 1].1, Token::Period);
        let word = |word: &sqlparser::tokenizer::Word| match word.quote_style {
            Some(_) => word.value.clone(),
            None => word.value.to_lowercase(),
        };
        let found = TableRef::new(word(schema), word(name));
        if !is_part && relations.contains(&found) {
            changed.push((*at, quote_ident(&format!("{prefix}_{}", found.schema))));
            missing.remove(&found);
        }
    }
    if let Some(missing) = missing.first() {
        return Err(format!("`{missing}` is not found in the SELECT, and so cannot be read under the prefix"));
    }
    let mut out = String::with_capacity(text.len());
    for (at, (_, piece)) in pieces.iter().enumerate() {
        match changed.iter().find(|(place, _)| *place == at) {
            Some((_, schema)) => out.push_str(schema),
            None => out.push_str(piece),
        }
    }
    Ok(out)
}
