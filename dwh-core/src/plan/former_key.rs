//! Rows of a CSV that are new by the key of today, and versions of rows that bronze has by a key that held once.

use super::load::STAGE;
use crate::error::{Error, ErrorKind};
use crate::plan::{Equality, LoadPlan};
use crate::schema::Column;

impl LoadPlan {
    /// Former keys whose columns the CSV has, so that bronze can be asked by them.
    pub(crate) fn usable_former_keys(&self) -> impl Iterator<Item = (&Vec<String>, Vec<&Column>)> {
        self.former_keys.iter().filter_map(|key| {
            let columns: Option<Vec<&Column>> =
                key.iter().map(|name| self.columns.iter().find(|column| column.name == *name)).collect();
            Some((key, columns?))
        })
    }

    /// Counts the staged rows that bronze has by the key `former` and not by the key `today`.
    #[must_use]
    pub(crate) fn count_known_formerly(&self, today: &[Equality], former: &[Equality]) -> String {
        let bronze = self.target.sql();
        let (today, former) = (self.same_key(today), self.same_key(former));
        format!(
            "select count(*) from {STAGE} s where not exists (select from {bronze} b where {today}) \
             and exists (select from {bronze} b where {former})"
        )
    }

    /// The refusal of a CSV with such rows: put in, an older version would stand beside a newer one; left out, a row
    /// might be lost.
    #[must_use]
    pub(crate) fn known_formerly(&self, former: &[String], rows: u64) -> Error {
        let (today, former) = (self.key.join(", "), former.join(", "));
        Error::new(
            ErrorKind::Contract,
            format!(
                "table `{}`: by its key ({today}), {rows} rows of the CSV are not in {}; by ({former}), which was its key when \
                 they or newer ones were read, they are",
                self.table, self.target
            ),
        )
        .with_hint(format!(
            "nothing was changed: nobody can tell whether they are rows of their own or other versions of rows that are there; \
             set `key` back to ({former}) to load them as versions"
        ))
    }
}
