//! The columns of a SELECT list, named as PostgreSQL names them.

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, ObjectName, Query, Select, SelectItem, Visit, VisitMut, Visitor, VisitorMut,
    visit_expressions,
};
use std::ops::ControlFlow;

/// Functions that make one row of many: such a list is not read row by row.
const AGGREGATES: [&str; 22] = [
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "max",
    "min",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "stddev",
    "string_agg",
    "sum",
    "variance",
    "xmlagg",
];

/// One item of the list.
pub(super) enum Output {
    /// All columns of the relation.
    All,
    /// A column as it is, under this name.
    Column { column: String, name: String },
    /// An expression over the row, whose alias is `t`.
    Computed { name: String, expression: String },
}

/// The name as the catalog has it: without quotes, letters are small ones.
pub(in crate::config) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The column that an expression is, if it is no more than that.
pub(super) fn column(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(name) => Some(folded(name)),
        Expr::CompoundIdentifier(names) => names.last().map(folded),
        Expr::Nested(inner) => column(inner),
        _ => None,
    }
}

/// The columns that an expression names, in their order.
pub(super) fn names_in(expression: &Expr) -> Vec<String> {
    let mut names = Vec::new();
    let _done: ControlFlow<()> = visit_expressions(expression, |part| {
        if matches!(part, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            names.extend(column(part));
        }
        ControlFlow::Continue(())
    });
    names
}

/// The items of a list that is read row by row; `None` if it is not, or if an item has a name that only the server knows.
pub(super) fn outputs(rows: &Select, aliases: &[String]) -> Option<Vec<Output>> {
    let of = |item: &SelectItem| match item {
        SelectItem::Wildcard(options) if options.to_string().is_empty() => Some(Output::All),
        SelectItem::QualifiedWildcard(_, options) if options.to_string().is_empty() => Some(Output::All),
        SelectItem::ExprWithAlias { expr, alias } => output(expr, folded(alias), aliases),
        SelectItem::UnnamedExpr(expr) => output(expr, name(expr)?, aliases),
        _ => None,
    };
    let filtered = rows.selection.iter().all(is_of_one_row);
    rows.projection.iter().map(of).collect::<Option<Vec<_>>>().filter(|_| filtered)
}

fn output(expression: &Expr, name: String, aliases: &[String]) -> Option<Output> {
    match column(expression) {
        Some(column) => Some(Output::Column { column, name }),
        None if is_of_one_row(expression) => {
            Some(Output::Computed { name, expression: of_row(expression.clone(), aliases).to_string() })
        }
        None => None,
    }
}

/// The plain columns of any list, and what they are called in its result.
pub(super) fn copied(rows: &Select) -> Vec<(String, String)> {
    let of = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { expr, alias } => column(expr).map(|own| (own, folded(alias))),
        SelectItem::UnnamedExpr(expr) => column(expr).map(|own| (own.clone(), own)),
        _ => None,
    };
    rows.projection.iter().filter_map(of).collect()
}

/// What PostgreSQL calls a column without an alias; `None` where that is not certain.
fn name(expression: &Expr) -> Option<String> {
    match called(expression) {
        Called::By(name) => Some(name),
        Called::Case => Some("case".to_owned()),
        Called::Weakly | Called::Unknown => None,
    }
}

/// What an expression gives a name, and whether something around it may give another one.
enum Called {
    /// It has a name, whatever stands around it.
    By(String),
    /// `case`, unless a cast stands around it, which gives the name of its type.
    Case,
    /// Nothing, or the name of a type.
    Weakly,
    Unknown,
}

fn called(expression: &Expr) -> Called {
    match expression {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => column(expression).map_or(Called::Unknown, Called::By),
        Expr::Nested(inner) => called(inner),
        Expr::Function(function) => last(&function.name).map_or(Called::Unknown, Called::By),
        Expr::Cast { expr, .. } => match called(expr) {
            Called::Case => Called::Weakly,
            inner => inner,
        },
        // Of its branches, the last one decides.
        Expr::Case { else_result, .. } => match else_result.as_deref().map(called) {
            None | Some(Called::Case | Called::Weakly) => Called::Case,
            Some(found) => found,
        },
        Expr::BinaryOp { op: BinaryOperator::Overlaps, .. } => Called::Unknown,
        Expr::Value(_) | Expr::TypedString(_) | Expr::UnaryOp { .. } | Expr::BinaryOp { .. } => Called::Weakly,
        _ => Called::Unknown,
    }
}

fn last(name: &ObjectName) -> Option<String> {
    name.0.last().and_then(|part| part.as_ident()).map(folded)
}

/// Whether it is computed from one row alone: not from a query inside, nor from other rows of the result.
fn is_of_one_row(expression: &Expr) -> bool {
    struct OtherRows;
    impl Visitor for OtherRows {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }

        fn pre_visit_expr(&mut self, part: &Expr) -> ControlFlow<()> {
            let Expr::Function(function) = part else { return ControlFlow::Continue(()) };
            let aggregate = last(&function.name).is_some_and(|name| AGGREGATES.contains(&name.as_str()));
            let over = function.over.is_some() || function.filter.is_some() || !function.within_group.is_empty();
            if aggregate || over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    expression.visit(&mut OtherRows).is_continue()
}

/// The expression over the row `t`: `orders.id` and `o.id` become `t.id`.
pub(super) fn of_row(mut expression: Expr, aliases: &[String]) -> Expr {
    struct Rename<'a>(&'a [String]);
    impl VisitorMut for Rename<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, part: &mut Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(names) = part
                && let [first, .., last] = names.as_slice()
                && (self.0.contains(&folded(first)) || names.len() > 2)
            {
                *part = Expr::CompoundIdentifier(vec![Ident::new("t"), last.clone()]);
            }
            ControlFlow::Continue(())
        }
    }
    let _done = VisitMut::visit(&mut expression, &mut Rename(aliases));
    expression
}
