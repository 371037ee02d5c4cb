//! The query of a manifest, taken apart: which relation and columns it reads, which rows, and by which column windows
//! are cut.
//!
//! A query over one relation becomes that relation with columns and a condition, so that it is read like any other: with
//! a lock, with the sweep for late rows, with its partitions known. Any other stays a query. The condition of the window
//! is taken out: the engine cuts windows itself.

mod columns;
mod relations;

use sqlparser::ast::{
    BinaryOperator, Distinct, DollarQuotedString, Expr, GroupByExpr, Query, Select, SetExpr, Statement, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::variables::{as_written, has_window, pieces};
use crate::schema::TableRef;
pub(in crate::config) use columns::folded;
use columns::{Output, outputs};

type Checked<T> = Result<T, String>;

/// What a query reads.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The one relation that it reads, if it is one.
    pub(super) relation: Option<TableRef>,
    /// The query without the condition of its window, otherwise.
    pub(super) query: Option<String>,
    /// The columns of that relation, as bronze calls them; `None`: all.
    pub(super) columns: Option<Vec<String>>,
    /// Those that are no plain columns.
    pub(super) select: BTreeMap<String, String>,
    /// The condition of all rows.
    pub(super) filter: Option<String>,
    /// The column by which windows are cut.
    pub(super) watermark: Option<String>,
    /// Columns of the source and what they are called in bronze, where they are copied as they are.
    copied: Vec<(String, String)>,
    /// Whether all columns are copied as they are.
    all: bool,
}

impl Taken {
    /// What bronze calls the columns that an expression is made of; `None` if it does not get them all.
    pub(super) fn key(&self, expression: &str) -> Checked<Option<Vec<String>>> {
        let expression = expression_of(expression).map_err(|error| format!("is no SQL: {error}"))?;
        // One of the columns may be computed in just this way.
        let text = expression.to_string();
        if let Some((name, _)) = self.select.iter().find(|(_, computed)| **computed == text) {
            return Ok(Some(vec![name.clone()]));
        }
        let mut key = Vec::new();
        for name in columns::names_in(&expression) {
            let copied = self.copied.iter().find(|(own, _)| *own == name).map(|(_, bronze)| bronze.clone());
            let Some(bronze) = copied.or_else(|| self.all.then_some(name)) else { return Ok(None) };
            if !key.contains(&bronze) {
                key.push(bronze);
            }
        }
        Ok((!key.is_empty()).then_some(key))
    }
}

/// Takes a query apart; `filter` stands behind it, as the manifests' own tool puts it there. Names without a schema are
/// of `schema`.
///
/// # Errors
/// What is wrong with the query, as the end of a sentence that begins with it.
pub(super) fn take(text: &str, filter: Option<&str>, schema: &str) -> Checked<Taken> {
    let mut query = parse(text)?;
    if let Some(filter) = filter {
        let filter = behind(filter, selection(&query).is_some())?;
        query = parse(&format!("{}\n{filter}", text.trim_end().trim_end_matches(';')))?;
    }
    let watermark = take_window(&mut query)?;
    if has_window(&query.to_string()) {
        return Err("names the window where none can be cut: it must stand in the WHERE of the query itself, as \
                    `column BETWEEN … AND …` or `column >= …`, joined by AND"
            .to_owned());
    }
    let taken = Taken { watermark, ..Taken::default() };
    match plain(&query, schema) {
        Some(plain) => of_relation(&query, plain, taken),
        None => whole(query, schema, taken),
    }
}

fn parse(text: &str) -> Checked<Query> {
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, text).map_err(|error| format!("is no SQL: {error}"))?;
    match <[Statement; 1]>::try_from(statements) {
        Ok([Statement::Query(query)]) => Ok(spelled_out(*query)),
        Ok(_) => Err("is no SELECT".to_owned()),
        Err(others) => Err(format!("holds {} statements, and must be one", others.len())),
    }
}

/// The same with its strings as they can be printed: the parser's printer takes two quotes in a row, or one behind a backslash, for
/// one that is escaped already, and so `''''''` would become another text.
fn spelled_out<T: VisitMut>(mut tree: T) -> T {
    struct Strings;
    impl VisitorMut for Strings {
        type Break = ();

        fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
            if let Value::SingleQuotedString(text) = &value.value
                && (text.contains("''") || text.contains("\\'"))
            {
                let free = |tag: &String| !text.contains(&format!("${tag}"));
                let tag = (0..).map(|at| format!("text{at}")).find(free);
                value.value = Value::DollarQuotedString(DollarQuotedString { value: text.clone(), tag });
            }
            ControlFlow::Continue(())
        }
    }
    let _done = VisitMut::visit(&mut tree, &mut Strings);
    tree
}

fn expression_of(text: &str) -> Checked<Expr> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).map_err(|error| error.to_string())?;
    let expression = parser.parse_expr().map_err(|error| error.to_string())?;
    match parser.next_token().token {
        Token::EOF => Ok(spelled_out(expression)),
        other => Err(format!("`{other}` is too much")),
    }
}

/// The filter with the word before it that it needs behind this query, whatever it begins with.
fn behind(filter: &str, has_where: bool) -> Checked<String> {
    let pieces = pieces(filter).map_err(|error| format!("is no SQL: {error}"))?;
    let mut pieces = pieces.into_iter().skip_while(|(token, _)| matches!(token, Token::Whitespace(_))).peekable();
    let begins =
        |token: &Token| matches!(token, Token::Word(word) if matches!(word.keyword, Keyword::WHERE | Keyword::AND));
    pieces.next_if(|(token, _)| begins(token));
    let rest: String = pieces.map(|(_, piece)| piece).collect();
    if rest.trim().is_empty() {
        return Err("has a filter that says nothing".to_owned());
    }
    Ok(format!("{} {}", if has_where { "AND" } else { "WHERE" }, rest.trim().trim_end_matches(';')))
}

fn select(query: &Query) -> Option<&Select> {
    match query.body.as_ref() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

fn selection(query: &Query) -> Option<&Expr> {
    select(query)?.selection.as_ref()
}

/// Takes the conditions of the window out of the WHERE, and returns the column that they are about.
fn take_window(query: &mut Query) -> Checked<Option<String>> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(None) };
    let Some(condition) = select.selection.take() else { return Ok(None) };
    let (of_window, others): (Vec<Expr>, Vec<Expr>) =
        conjuncts(condition).into_iter().partition(|part| has_window(&part.to_string()));
    let and = |left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) };
    select.selection = others.into_iter().reduce(and);
    let mut column: Option<String> = None;
    for part in of_window {
        let found = window_column(&part).ok_or_else(|| {
            format!(
                "cuts its window by `{}`, and a window is cut by a plain column, as `column BETWEEN … AND …` or \
                 `column >= …`, joined by AND",
                as_written(&part.to_string())
            )
        })?;
        match &column {
            Some(other) if *other != found => {
                return Err(format!("cuts its window by two columns, `{other}` and `{found}`"));
            }
            _ => column = Some(found),
        }
    }
    Ok(column)
}

/// The parts that an AND joins. An OR inside keeps its parentheses.
fn conjuncts(expression: Expr) -> Vec<Expr> {
    match expression {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => [conjuncts(*left), conjuncts(*right)].concat(),
        Expr::Nested(inner)
            if matches!(*inner, Expr::BinaryOp { op: BinaryOperator::And, .. } | Expr::Between { .. }) =>
        {
            conjuncts(*inner)
        }
        Expr::BinaryOp { op: BinaryOperator::Or, .. } => vec![Expr::Nested(Box::new(expression))],
        other => vec![other],
    }
}

/// The column that a condition of the window is about.
fn window_column(part: &Expr) -> Option<String> {
    use BinaryOperator::{Gt, GtEq, Lt, LtEq};
    let of_window = |expression: &Expr| has_window(&expression.to_string());
    match part {
        Expr::Between { expr, negated: false, low, high } if of_window(low) || of_window(high) => columns::column(expr),
        Expr::BinaryOp { left, op: Gt | GtEq | Lt | LtEq, right } => match (of_window(left), of_window(right)) {
            (false, true) => columns::column(left),
            (true, false) => columns::column(right),
            _ => None,
        },
        Expr::Nested(inner) => window_column(inner),
        _ => None,
    }
}

/// A query that reads one relation row by row.
struct Plain {
    relation: TableRef,
    /// Names by which its columns may be called.
    aliases: Vec<String>,
    outputs: Vec<Output>,
}

fn plain(query: &Query, schema: &str) -> Option<Plain> {
    let rows = select(query)?;
    let grouped = !matches!(&rows.group_by, GroupByExpr::Expressions(by, more) if by.is_empty() && more.is_empty());
    let limited = query.with.is_some() || query.limit_clause.is_some() || query.fetch.is_some();
    let reshaped = rows.having.is_some() || rows.qualify.is_some() || rows.into.is_some();
    let distinct = matches!(&rows.distinct, Some(Distinct::Distinct | Distinct::On(_)));
    if grouped || limited || reshaped || distinct {
        return None;
    }
    let (relation, aliases) = relations::only(&rows.from, schema)?;
    let outputs = outputs(rows, &aliases)?;
    Some(Plain { relation, aliases, outputs })
}

fn of_relation(query: &Query, plain: Plain, taken: Taken) -> Checked<Taken> {
    let filter = selection(query).map(|condition| columns::of_row(condition.clone(), &plain.aliases).to_string());
    let mut taken = Taken { relation: Some(plain.relation), filter, ..taken };
    let mut names: Vec<String> = Vec::new();
    for output in plain.outputs {
        let (name, expression) = match output {
            Output::All => {
                taken.all = true;
                continue;
            }
            Output::Column { column, name } => {
                let expression = (column != name).then(|| format!("t.{}", crate::schema::quote_ident(&column)));
                taken.copied.push((column, name.clone()));
                (name, expression)
            }
            Output::Computed { name, expression } => (name, Some(expression)),
        };
        if names.contains(&name) {
            return Err(format!("has two columns `{name}`"));
        }
        taken.select.extend(expression.map(|expression| (name.clone(), expression)));
        names.push(name);
    }
    if let Some(watermark) = taken.watermark.as_ref().filter(|column| taken.select.contains_key(*column)) {
        return Err(format!(
            "computes `{watermark}`, by which its window is cut: windows are cut by the column as it is, so give the \
             expression a name of its own"
        ));
    }
    taken.columns = (!taken.all).then_some(names);
    Ok(taken)
}

/// A query that stays one.
fn whole(mut query: Query, schema: &str, mut taken: Taken) -> Checked<Taken> {
    let outputs = select(&query).map(columns::copied).unwrap_or_default();
    let twice = (0..outputs.len()).find(|at| outputs[..*at].iter().any(|(_, name)| *name == outputs[*at].1));
    if let Some((_, name)) = twice.map(|at| &outputs[at]) {
        return Err(format!("has two columns `{name}`"));
    }
    relations::qualify(&mut query, schema);
    if let Some(watermark) = &taken.watermark {
        let found = outputs.iter().find(|(own, _)| own == watermark).map(|(_, bronze)| bronze.clone());
        // Windows are cut over its result.
        taken.watermark = Some(found.ok_or_else(|| {
            format!("cuts its window by `{watermark}`, which is none of its columns: add it to the SELECT list")
        })?);
    }
    // What bronze calls a column is all that is known of it outside.
    taken.copied = outputs.into_iter().map(|(_, bronze)| (bronze.clone(), bronze)).collect();
    taken.query = Some(query.to_string());
    Ok(taken)
}

#[cfg(test)]
mod tests;
