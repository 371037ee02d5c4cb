//! One cause that several tables share, told once.

use serde::{Deserialize, Serialize};

use crate::pipeline::ErrorReport;

/// What went wrong, with the tables that it touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct CauseReport {
    /// The error; it names its table if it touched only one.
    pub cause: ErrorReport,
    /// The tables, in the order in which they were told.
    pub tables: Vec<String>,
}

impl CauseReport {
    /// The causes among these tables or runs, of which some went well.
    pub fn among<'a>(all: impl IntoIterator<Item = (&'a String, &'a Option<ErrorReport>)>) -> Vec<Self> {
        Self::of(all.into_iter().filter_map(|(table, error)| Some((table.as_str(), error.as_ref()?))))
    }

    /// The causes of these errors, the first table's first.
    pub fn of<'a>(errors: impl IntoIterator<Item = (&'a str, &'a ErrorReport)>) -> Vec<Self> {
        let mut causes: Vec<(String, Self)> = Vec::new();
        for (table, error) in errors {
            let bare = error.message.strip_prefix(&format!("table `{table}`: ")).unwrap_or(&error.message);
            match causes.iter_mut().find(|(known, first)| known == bare && first.cause.hint == error.hint) {
                Some((_, known)) if known.tables.iter().any(|known| known == table) => {}
                Some((_, known)) => known.tables.push(table.to_owned()),
                None => {
                    causes.push((bare.to_owned(), Self { cause: error.clone(), tables: vec![table.to_owned()] }));
                }
            }
        }
        let told = |(bare, mut one): (String, Self)| {
            if one.tables.len() > 1 {
                one.cause.message = bare;
            }
            one
        };
        causes.into_iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::CauseReport;
    use crate::pipeline::ErrorReport;

    #[test]
    fn one_cause_has_all_its_tables() {
        let error = |message: &str| ErrorReport::new("unreachable", message, "start it", 3);
        let errors = [
            ("a", error("table `a`: source is down")),
            ("b", error("table `b`: source is down")),
            ("b", error("table `b`: source is down")),
            ("c", error("table `c`: another")),
        ];
        let causes = CauseReport::of(errors.iter().map(|(table, error)| (*table, error)));
        let told: Vec<_> = causes.iter().map(|one| (one.cause.message.as_str(), one.tables.join(" "))).collect();
        assert_eq!(told, [("source is down", "a b".to_owned()), ("table `c`: another", "c".to_owned())]);
    }
}
