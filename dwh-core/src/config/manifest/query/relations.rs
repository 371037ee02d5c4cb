//! The relations of a query: names without a schema get one, since the engine reads with an empty `search_path`.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Query, TableFactor, TableWithJoins, VisitMut, VisitorMut};
use std::ops::ControlFlow;

use super::columns::folded;
use crate::schema::TableRef;

/// The one relation of a FROM, and the names by which its columns may be called; `None` if it is anything else.
pub(super) fn only(from: &[TableWithJoins], schema: &str) -> Option<(TableRef, Vec<String>)> {
    let [TableWithJoins { relation, joins }] = from else { return None };
    let TableFactor::Table { name, alias, args: None, sample: None, with_ordinality: false, .. } = relation else {
        return None;
    };
    if !joins.is_empty() || alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
        return None;
    }
    let parts: Vec<String> = name.0.iter().map(|part| part.as_ident().map(folded)).collect::<Option<_>>()?;
    let relation = match parts.as_slice() {
        [name] => TableRef::new(schema, name),
        [.., schema, name] => TableRef::new(schema, name),
        [] => return None,
    };
    let called = alias.as_ref().map_or_else(|| relation.name.clone(), |alias| folded(&alias.name));
    Some((relation, vec![called]))
}

/// Puts the schema before each relation that has none, and that is no part of the query itself.
pub(super) fn qualify(query: &mut Query, schema: &str) {
    struct Qualify<'a> {
        schema: &'a str,
        own: Vec<String>,
    }
    impl VisitorMut for Qualify<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            let tables = query.with.iter().flat_map(|with| with.cte_tables.iter());
            self.own.extend(tables.map(|table| folded(&table.alias.name)));
            ControlFlow::Continue(())
        }

        fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
            // A function is found in `pg_catalog` only.
            if let TableFactor::Table { name: ObjectName(parts), args: None, .. } = table
                && let [ObjectNamePart::Identifier(name)] = parts.as_slice()
                && !self.own.contains(&folded(name))
            {
                parts.insert(0, ObjectNamePart::Identifier(Ident::with_quote('"', self.schema)));
            }
            ControlFlow::Continue(())
        }
    }
    let _done = query.visit(&mut Qualify { schema, own: Vec::new() });
}
