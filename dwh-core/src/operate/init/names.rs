//! Which relations are meant, and what each is called in the configuration. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::RelationGlob;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::TableRef;

/// The longest name that bronze keeps.
const LONGEST: usize = 63;

/// Which of the relations are meant: those of any pattern, or all of them, without those of `exclude`.
///
/// # Errors
/// `Config` for a pattern that cannot be read or matches nothing: a typo in `exclude` would copy what must not be.
pub(super) fn select(all: &[TableRef], include: &[String], exclude: &[String]) -> Result<Vec<bool>> {
    let patterns = |texts: &[String]| texts.iter().map(|text| RelationGlob::new(text)).collect::<Result<Vec<_>>>();
    let (include, exclude) = (patterns(include)?, patterns(exclude)?);
    if let Some(idle) = include.iter().chain(&exclude).find(|pattern| !all.iter().any(|table| pattern.hits(table))) {
        let schemas: BTreeSet<&str> = all.iter().map(|table| table.schema.as_str()).collect();
        let schemas: Vec<&str> = schemas.into_iter().collect();
        return Err(Error::new(ErrorKind::Config, format!("`{}` matches no table of the source", idle.text))
            .with_hint(format!("write `schema.table` or `schema.*`; the schemas there are: {}", schemas.join(", "))));
    }
    let hit = |patterns: &[RelationGlob], table: &TableRef| patterns.iter().any(|pattern| pattern.hits(table));
    Ok(all.iter().map(|table| (include.is_empty() || hit(&include, table)) && !hit(&exclude, table)).collect())
}

/// Whether one of the patterns means the table.
///
/// # Errors
/// `Config` for a pattern that cannot be read.
pub(super) fn hit(patterns: &[String], table: &TableRef) -> Result<bool> {
    for text in patterns {
        if RelationGlob::new(text)?.hits(table) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A name for each table: its own, or with its schema before it where two have the same.
pub(super) fn names(tables: &[TableRef]) -> Vec<String> {
    let mut same: BTreeMap<&str, usize> = BTreeMap::new();
    tables.iter().for_each(|table| *same.entry(&table.name).or_default() += 1);
    let mut taken: BTreeSet<String> = BTreeSet::new();
    // Those that keep their own name come first, so that no made-up name takes it from them.
    let alone = |table: &TableRef| same.get(table.name.as_str()) == Some(&1) && label(&table.name) == table.name;
    taken.extend(tables.iter().filter(|table| alone(table)).map(|table| table.name.clone()));
    tables
        .iter()
        .map(|table| {
            if alone(table) {
                return table.name.clone();
            }
            let wish = label(&format!("{}_{}", table.schema, table.name));
            let name =
                (1..)
                    .map(|number| {
                        if number == 1 { cut(&wish, LONGEST) } else { format!("{}_{number}", cut(&wish, LONGEST - 5)) }
                    })
                    .find(|name| !taken.contains(name))
                    .unwrap_or(wish);
            taken.insert(name.clone());
            name
        })
        .collect()
}

/// The name as it may stand for a folder.
fn label(name: &str) -> String {
    match name {
        "." | ".." => name.replace('.', "_"),
        _ => name.replace(char::is_control, "_"),
    }
}

fn cut(text: &str, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{names, select};
    use crate::schema::TableRef;

    fn tables(texts: &[&str]) -> Vec<TableRef> {
        texts.iter().filter_map(|text| text.split_once('.')).map(|(schema, name)| TableRef::new(schema, name)).collect()
    }

    #[test]
    fn patterns_choose() {
        let all = tables(&["app.trips", "app.trips_old", "app.users", "audit.log", "audit.trips"]);
        let chosen = |include: &[&str], exclude: &[&str]| {
            let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
            let hits = select(&all, &texts(include), &texts(exclude)).expect("patterns");
            all.iter()
                .zip(hits)
                .filter(|(_, hit)| *hit)
                .map(|(table, _)| table.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(chosen(&[], &["audit.*"]), "app.trips app.trips_old app.users");
        assert_eq!(chosen(&["app.trips*", "audit.log"], &["*_old"]), "app.trips audit.log");
        assert_eq!(chosen(&["trips"], &[]), "app.trips audit.trips");
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_a_mistake() {
        let all = tables(&["app.users"]);
        let error = select(&all, &[], &["app.secret".into()]).expect_err("a typo");
        assert!(error.to_string().contains("app.secret") && error.hint().contains("app"), "{error}");
    }

    #[test]
    fn names_that_collide_get_their_schema() {
        let all = tables(&["app.trips", "audit.trips", "app.users", "x.audit_trips"]);
        assert_eq!(names(&all), ["app_trips", "audit_trips_2", "users", "audit_trips"]);
        let long = "t".repeat(63);
        let all = [TableRef::new("a", &long), TableRef::new("b", &long), TableRef::new("a", "x\ny")];
        let names = names(&all);
        assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
        assert_eq!(names[2], "a_x_y");
    }
}
