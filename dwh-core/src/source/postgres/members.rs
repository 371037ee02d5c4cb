//! The tables that a relation is read from, by number and file: rows may appear in it by DDL, with stamps and
//! transaction numbers as old as one likes (`attach partition`, `inherit`, a renamed table, a refreshed materialized
//! view). And what of it this database does not write itself.

use serde_json::Value;
use std::collections::BTreeSet;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::lock::not_locked;
use crate::connect::{look, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Member;
use crate::plan::{Plan, from_sql};
use crate::schema::{RelationKind, TableRef};
use crate::watermark::Timestamp;

/// `pg_class` under the transaction's snapshot: a file that is changed after that counts as changed the next time.
const FIELDS: &str = "c.oid, c.relfilenode as file, n.nspname || '.' || c.relname as name, c.relkind = 'f' as foreign_ \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace";

/// A relation with its partitions and children, as far as they have rows of their own.
const TREE: &str = "with recursive tree(oid) as (select c.oid from pg_catalog.pg_class c \
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2 \
     union select i.inhrelid from pg_catalog.pg_inherits i join tree t on t.oid = i.inhparent)";

/// What a relation is read from.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// In the order of their numbers.
    pub(super) tables: Vec<Member>,
    /// Functions that return rows and do not say where they have them from.
    functions: Vec<String>,
    /// Servers and planners' nodes that show nothing of their tables.
    elsewhere: Vec<String>,
    /// Materialized views below a view or a query, which show no transaction numbers of theirs.
    refreshed: Vec<String>,
}

impl Members {
    /// Whether they are told by the planner, which takes several questions.
    pub(super) const fn are_planned(plan: &Plan) -> bool {
        matches!(plan.source.kind, RelationKind::View | RelationKind::Query)
    }

    /// A relation all of whose rows lie in it.
    pub(super) fn alone(own: Member) -> Self {
        Self { tables: vec![own], ..Self::default() }
    }

    /// Looks, in an open transaction.
    pub(super) async fn of(client: &Client, plan: &Plan) -> Result<Self> {
        match Self::are_planned(plan) {
            true => shown(client, plan).await,
            false => {
                let sql = format!(
                    "{TREE} select {FIELDS} join tree on tree.oid = c.oid where c.relkind in ('r', 'f', 'm') \
                     order by c.oid"
                );
                let table = &plan.source.table;
                let names: [(&(dyn ToSql + Sync), Type); 2] = [(&table.schema, Type::TEXT), (&table.name, Type::TEXT)];
                Ok(Self { tables: listed(client, &sql, &names).await?, ..Self::default() })
            }
        }
    }

    /// Why the safe bound proves nothing for these, if so.
    pub(super) fn unseen(&self) -> Option<String> {
        let foreign = self.tables.iter().filter(|member| member.foreign).map(|member| &member.name);
        let foreign: Vec<String> = foreign.chain(&self.elsewhere).cloned().collect();
        let opaque = || format!("{} does not show which tables its rows come from", list(&self.functions));
        // After `refresh … concurrently` they lie in the same file.
        let refreshed = || format!("rows of {} appear when it is refreshed, as old as they are", list(&self.refreshed));
        elsewhere(&foreign)
            .or_else(|| (!self.functions.is_empty()).then(opaque))
            .or_else(|| (!self.refreshed.is_empty()).then(refreshed))
    }
}

/// What is said of tables whose rows another server writes, if there are any.
pub(super) fn elsewhere(foreign: &[String]) -> Option<String> {
    (!foreign.is_empty()).then(|| format!("rows of {} are written on another server", list(foreign)))
}

fn list(names: &[String]) -> String {
    let more = if names.len() > 3 { format!(" and {} more", names.len() - 3) } else { String::new() };
    let named: Vec<String> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
    named.join(", ") + &more
}

/// Why the safe bound proves nothing for a table, if so; for a look that is no run.
pub(crate) async fn unseen(client: &Client, plan: &Plan) -> Result<Option<String>> {
    look(client, async { Ok(Members::of(client, plan).await?.unseen()) }).await
}

async fn listed(client: &Client, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Member>> {
    let rows = client.query_typed(sql, values).await.map_err(sort)?;
    let member = |row: &tokio_postgres::Row| Member {
        oid: row.get("oid"),
        file: row.get("file"),
        name: row.get("name"),
        foreign: row.get("foreign_"),
    };
    Ok(rows.iter().map(member).collect())
}

/// What a view or a query shows, as the planner sees it: views in views, functions that it can look into, and children
/// are resolved there.
async fn shown(client: &Client, plan: &Plan) -> Result<Members> {
    let sql = format!("explain (verbose, costs off, format json) select * from {}", from_sql(&plan.table));
    let answer = client.simple_query(&sql).await.map_err(|error| not_locked(&plan.table, error))?;
    let text: String = answer
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    let tree: Value = serde_json::from_str(&text).map_err(|error| {
        Error::new(ErrorKind::Internal, "the server's plan of the query cannot be read").with_source(error)
    })?;
    let mut found = Nodes::default();
    found.walk(&tree);
    let (schemas, names): (Vec<&str>, Vec<&str>) = found.tables.iter().map(|(s, n)| (s.as_str(), n.as_str())).unzip();
    let sql = format!(
        "select {FIELDS} join pg_catalog.unnest($1, $2) as wanted(schema, name) \
         on n.nspname = wanted.schema and c.relname = wanted.name order by c.oid"
    );
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let sql = sql.replace("pg_catalog.unnest", "unnest");
    let tables = listed(client, &sql, &values).await?;
    let functions = opaque(client, &found.functions).await?;
    let refreshed = listed(client, &sql.replace(" order by", " and c.relkind = 'm' order by"), &values).await?;
    let refreshed = refreshed.into_iter().map(|member| member.name).collect();
    Ok(Members { tables, functions, elsewhere: found.elsewhere.into_iter().collect(), refreshed })
}

/// Those functions that may read tables: an immutable one may not.
async fn opaque(client: &Client, functions: &BTreeSet<(String, String)>) -> Result<Vec<String>> {
    let (schemas, names): (Vec<&str>, Vec<&str>) = functions.iter().map(|(s, n)| (s.as_str(), n.as_str())).unzip();
    let sql = "select distinct n.nspname || '.' || p.proname from pg_catalog.pg_proc p \
               join pg_catalog.pg_namespace n on n.oid = p.pronamespace join unnest($1, $2) as wanted(schema, name) \
               on n.nspname = wanted.schema and p.proname = wanted.name where p.provolatile <> 'i' order by 1";
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let rows = client.query_typed(sql, &values).await.map_err(sort)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What the nodes of a plan read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Nodes {
    tables: BTreeSet<(String, String)>,
    functions: BTreeSet<(String, String)>,
    elsewhere: BTreeSet<String>,
}

impl Nodes {
    fn walk(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(fields) => {
                self.node(fields);
                fields.values().for_each(|field| self.walk(field));
            }
            _ => {}
        }
    }

    fn node(&mut self, fields: &serde_json::Map<String, Value>) {
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let (schema, relation, function) = (text("Schema"), text("Relation Name"), text("Function Name"));
        if !relation.is_empty() {
            self.tables.insert((schema.to_owned(), relation.to_owned()));
        }
        if !function.is_empty() && schema != "pg_catalog" {
            self.functions.insert((schema.to_owned(), function.to_owned()));
        }
        match text("Node Type") {
            // A join or an aggregate that the other server does: several tables, or none, are named in a text.
            "Foreign Scan" if relation.is_empty() => {
                self.elsewhere.insert(text("Relations").to_owned());
            }
            "Custom Scan" if text("Custom Plan Provider").starts_with("Citus") => {
                self.elsewhere.insert(text("Custom Plan Provider").to_owned());
            }
            "ProjectSet" => {
                let output = fields.get("Output").and_then(Value::as_array);
                output.into_iter().flatten().filter_map(Value::as_str).for_each(|text| self.called(text));
            }
            _ => {}
        }
    }

    /// The functions that an expression calls by schema and name; those of `pg_catalog` stand without a schema.
    fn called(&mut self, expression: &str) {
        for (at, _) in expression.match_indices('(') {
            let head = &expression[..at];
            let start = head.rfind([' ', '(', ',']).map_or(0, |place| place + 1);
            if let Some((schema, name)) = head[start..].split_once('.') {
                let plain = |word: &str| word.trim_matches('"').to_owned();
                self.functions.insert((plain(schema), plain(name)));
            }
        }
    }
}

/// Those of `members` that have a row at or below `low`, or of which that cannot be told: only they must be read whole. A
/// partition that was made for new rows is most of the time not among them.
pub(super) async fn reaching_below(
    client: &Client,
    plan: &Plan,
    members: Vec<Member>,
    low: Timestamp,
) -> Result<Vec<Member>> {
    let mut reaching = Vec::new();
    for member in members {
        let sql = "select n.nspname::text, c.relname::text, pg_catalog.has_table_privilege(c.oid, 'select') \
                   and pg_catalog.has_schema_privilege(n.oid, 'usage') and c.relkind <> 'f' \
                   and not pg_catalog.row_security_active(c.oid) from pg_catalog.pg_class c \
                   join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = $1";
        let row = client.query_typed_one(sql, &[(&member.oid, Type::OID)]).await.map_err(sort)?;
        let table = TableRef::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let below = match plan.any_at_or_below(&table, low).filter(|_| row.get(2)) {
            Some(sql) => client.query_typed_one(&sql, &[]).await.map_err(sort)?.get(0),
            None => true,
        };
        if below {
            reaching.push(member);
        }
    }
    Ok(reaching)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_shows_what_is_read() {
        let plan = json!([{"Plan": {"Node Type": "Append", "Plans": [
            {"Node Type": "Seq Scan", "Schema": "app", "Relation Name": "a"},
            {"Node Type": "Nested Loop", "Plans": [
                {"Node Type": "Foreign Scan", "Schema": "app", "Relation Name": "f"},
                {"Node Type": "Foreign Scan", "Relations": "(app.x) INNER JOIN (app.y)"},
                {"Node Type": "Function Scan", "Schema": "pg_catalog", "Function Name": "generate_series"},
                {"Node Type": "Function Scan", "Schema": "app", "Function Name": "rows"}]},
            {"Node Type": "ProjectSet", "Output": ["app.more(f(1), \"b c\".\"D\"(2))", "upper(x)"]}]}}]);
        let mut found = Nodes::default();
        found.walk(&plan);
        let set = |pairs: &[(&str, &str)]| -> BTreeSet<(String, String)> {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        assert_eq!(found.tables, set(&[("app", "a"), ("app", "f")]));
        assert!(found.functions.contains(&("app".into(), "rows".into())), "{found:?}");
        assert!(found.functions.contains(&("app".into(), "more".into())), "{found:?}");
        assert_eq!(found.elsewhere.len(), 1);
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        let member = |name: &str, foreign| Member { oid: 1, file: 1, name: name.to_owned(), foreign };
        let mut members = Members { tables: vec![member("app.a", false)], ..Members::default() };
        assert_eq!(members.unseen(), None);
        members.refreshed.push("app.m".to_owned());
        assert!(members.unseen().expect("refreshed").contains("`app.m` appear when it is refreshed"));
        members.functions.push("app.rows".to_owned());
        assert!(members.unseen().expect("hidden").contains("`app.rows` does not show"));
        members.tables.push(member("app.f", true));
        assert_eq!(members.unseen().expect("foreign"), "rows of `app.f` are written on another server");
    }
}
