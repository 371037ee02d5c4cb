//! Types that bear one name at both ends and are made of something else.

use crate::error::{Error, ErrorKind, Result};
use crate::plan::{LoadPlan, renamed};
use crate::schema::{TableSchema, TypeKind, named_there};

impl LoadPlan {
    /// Refuses types whose definition is another one in bronze's database. The server would take their text: attributes of a
    /// composite are read by their places, and what lies under a domain may round. A label that an enum lacks it refuses itself.
    ///
    /// # Errors
    /// `Drift`, with both definitions of each.
    pub(crate) fn check_definitions(&self, bronze: &TableSchema) -> Result<()> {
        if self.types.is_empty() {
            return Ok(());
        }
        let wanted = renamed(self, |name| named_there(name, &self.types, &bronze.types)).types;
        let made = |kind: &TypeKind| {
            matches!(kind, TypeKind::Composite { .. } | TypeKind::Domain { .. } | TypeKind::Range { .. })
        };
        let differ = wanted.iter().filter(|def| made(&def.kind)).filter_map(|def| {
            let there = bronze.types.iter().find(|other| other.name == def.name)?;
            let same = def.kind.is_same(&there.kind);
            (!same).then(|| format!("type `{}` is {} in the source but {} in bronze", def.name, def.kind, there.kind))
        });
        let differ: Vec<String> = differ.collect();
        if differ.is_empty() {
            return Ok(());
        }
        let text = format!("table `{}`: {}", self.table, differ.join("; "));
        Err(Error::new(ErrorKind::Drift, text).with_hint(format!(
            "nothing was loaded, for the values would be read as others; in the target, make the type what it is in the source \
             (`alter type`; or rename it away, `dwh migrate`, and give the column the new one); then `{}`: what bronze has was \
             read by the definition of before",
            self.reseed()
        )))
    }
}
