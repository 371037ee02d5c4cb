//! What keeps a role from reading a table whole, each with the grant that helps.

use std::collections::BTreeMap;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::config::{Mode, TableConfig};
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Column, TableRef, TableSchema, quote_ident};

/// Of the relations `$1` (schemas), `$2` (names), by their place in the list.
const RIGHTS: &str = "select w.place, pg_catalog.has_schema_privilege(n.oid, 'usage') as usage, \
     pg_catalog.row_security_active(c.oid) as row_security, current_user::text as role, \
     array(select a.attname::text from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 \
     and not a.attisdropped and not pg_catalog.has_column_privilege(c.oid, a.attnum, 'select')) as unreadable \
     from unnest($1, $2) with ordinality w(schema, name, place) join pg_catalog.pg_namespace n on n.nspname = w.schema \
     join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name order by w.place";

/// What the role may do with each of these relations, by their place in the list.
pub(super) async fn rights(client: &Client, relations: &[&TableRef]) -> Result<BTreeMap<usize, Row>> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        relations.iter().map(|relation| (relation.schema.as_str(), relation.name.as_str())).unzip();
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let rows = client.query_typed(RIGHTS, &values).await.map_err(sort)?;
    let placed = |row: Row| Some((usize::try_from(row.get::<_, i64>("place") - 1).ok()?, row));
    Ok(rows.into_iter().filter_map(placed).collect())
}

/// Refuses a relation that the role cannot read, or of which row security would show it a part.
pub(super) fn check(row: &Row, table: &TableConfig, schema: &TableSchema) -> Result<()> {
    let relation = &schema.table;
    let role: String = row.get("role");
    let to = quote_ident(&role);
    let fail = |text: String| Error::new(ErrorKind::Permission, format!("table `{}`: {text}", table.name));
    let (mut missing, mut grants) = (Vec::new(), Vec::new());
    if !row.get::<_, bool>("usage") {
        missing.push(format!("usage of schema `{}`", relation.schema));
        grants.push(format!("grant usage on schema {} to {to};", quote_ident(&relation.schema)));
    }
    let unreadable: Vec<String> = row.get("unreadable");
    let needed = || schema.columns.iter().filter(|column| is_read(table, column));
    let unread: Vec<&str> =
        needed().map(|column| column.name.as_str()).filter(|name| unreadable.iter().any(|u| u == name)).collect();
    if !unread.is_empty() && unreadable.len() == schema.columns.len() {
        missing.push(format!("select on {relation}"));
        grants.push(format!("grant select on {} to {to};", relation.sql()));
    } else if !unread.is_empty() {
        let quoted: Vec<String> = unread.iter().map(|name| quote_ident(name)).collect();
        missing.push(format!("select on the columns `{}` of {relation}", unread.join("`, `")));
        grants.push(format!("grant select ({}) on {} to {to};", quoted.join(", "), relation.sql()));
    }
    if !missing.is_empty() {
        return Err(fail(format!("role `{role}` lacks {}", missing.join(" and ")))
            .with_hint(format!("in the source: {}", grants.join(" "))));
    }
    if row.get("row_security") {
        return Err(fail(format!("row security hides rows of {relation} from role `{role}`")).with_hint(format!(
            "in the source: alter role {to} bypassrls; -- a part of a table is never copied as the whole"
        )));
    }
    Ok(())
}

/// Whether the column's own value is read.
fn is_read(table: &TableConfig, column: &Column) -> bool {
    let watermark = table.mode == Mode::Incremental && table.watermark.as_ref() == Some(&column.name);
    let delivered = !table.exclude.contains(&column.name) && !table.select.contains_key(&column.name);
    watermark || delivered
}

/// The error for a relation that is not there, with the names that look like it.
pub(super) async fn missing(client: &Client, table: &TableConfig, relation: &TableRef) -> Result<Error> {
    let rows = client
        .query_typed(
            "select n.nspname::text as schema, c.relname::text as name from pg_catalog.pg_class c \
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm', 'f') \
             and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%' order by 1, 2 limit 10000",
            &[],
        )
        .await
        .map_err(sort)?;
    let mut similar: Vec<(usize, String)> = rows
        .iter()
        .map(|row| TableRef::new(row.get::<_, String>("schema"), row.get::<_, String>("name")))
        .filter_map(|other| Some((likeness(relation, &other)?, other.to_string())))
        .collect();
    similar.sort();
    let names: Vec<String> = similar.into_iter().take(5).map(|(_, name)| format!("`{name}`")).collect();
    let hint = if names.is_empty() {
        "check schema and name, and that this is the right database; names are spelled as the catalog has them".into()
    } else {
        format!("there is {}; names are spelled as the catalog has them", names.join(", "))
    };
    Ok(Error::new(ErrorKind::NotFound, format!("table `{}`: {relation} is not there", table.name)).with_hint(hint))
}

/// How far a name is from the one that was meant; `None` if it looks like another thing.
fn likeness(wanted: &TableRef, other: &TableRef) -> Option<usize> {
    let (a, b) = (wanted.name.to_lowercase(), other.name.to_lowercase());
    let apart = edits(&a, &b);
    let near = apart <= 2 && apart < a.chars().count();
    let inside = a.len() >= 4 && b.len() >= 4 && (a.contains(&b) || b.contains(&a));
    (near || inside).then_some(apart + usize::from(wanted.schema != other.schema))
}

/// Insertions, deletions and replacements that make one word of the other.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let replaced = corner + usize::from(letter != *other);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{edits, likeness};
    use crate::schema::TableRef;

    #[test]
    fn edits_are_counted() {
        for (a, b, apart) in [("", "", 0), ("trip", "trips", 1), ("trips", "tirps", 2), ("abc", "", 3)] {
            assert_eq!(edits(a, b), apart, "{a} {b}");
        }
    }

    #[test]
    fn only_similar_names_are_offered() {
        let wanted = TableRef::new("app", "trip");
        let of = |schema: &str, name: &str| likeness(&wanted, &TableRef::new(schema, name));
        assert_eq!(of("app", "Trips"), Some(1));
        assert_eq!(of("old", "trip"), Some(1));
        assert_eq!(of("app", "vehicles"), None);
    }
}
