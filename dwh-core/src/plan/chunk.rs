//! The SQL that cuts a table into chunks by its key, and that reads one of them.

use crate::chain::{KeyRange, Part};
use crate::config::OnConflict;
use crate::plan::extract::from_sql;
use crate::plan::{LoadPlan, Missing, Plan, PlanColumn};
use crate::schema::{Column, Drift, RowKey, TableSchema, quote_literal};

/// Types whose operators are PostgreSQL's own and whose order is that of every index over them.
const ORDERED: [&str; 9] =
    ["smallint", "integer", "bigint", "numeric", "uuid", "date", "text", "character varying", "character"];

impl Plan {
    /// The columns of the key, in its order.
    fn key_parts(&self) -> impl Iterator<Item = &PlanColumn> {
        self.table.key.iter().filter_map(|name| self.columns.iter().find(|own| own.column.name == *name))
    }

    /// Whether the table can be cut by its key: each column is one of the source itself, never NULL, and of a type whose
    /// order is the same wherever it is asked for.
    fn can_be_cut(&self) -> bool {
        let usable = |name: &String| {
            let there = self.source.column(name).filter(|column| column.not_null);
            !self.table.select.contains_key(name) && there.is_some_and(is_ordered)
        };
        !self.table.key.is_empty() && self.table.key.iter().all(usable)
    }

    /// The last key of each chunk of so many rows, the last chunk left out; `None` if the table can only be read in one.
    pub(crate) fn cuts(&self, rows: u64) -> Option<String> {
        if !self.can_be_cut() {
            return None;
        }
        let texts: Vec<String> = self.key_parts().map(|own| format!("{}::text", own.expression)).collect();
        Some(format!(
            "select c.key from (select array[{}]::text[] as key, \
             pg_catalog.row_number() over (order by {}) as place from {}) c where c.place % {rows} = 0 order by c.place",
            texts.join(", "),
            self.key_sql(),
            from_sql(&self.table)
        ))
    }

    /// Whether bronze can only be brought to what the source has by reading all rows again: its columns differ in more than
    /// that some only came, or only went. Where some came and some went, one may have another name.
    pub(crate) fn must_resync(&self, bronze: &TableSchema) -> bool {
        let load = self.load(false);
        let (new, others): (Vec<Drift>, Vec<Drift>) =
            load.drift(bronze).into_iter().partition(|drift| matches!(drift, Drift::MissingInBronze { .. }));
        let only_went = |drift: &Drift| matches!(drift, Drift::MissingInSource { required: false, .. });
        let Missing { refused, kept, emptied, .. } = &self.missing;
        let went = [refused, kept, emptied].into_iter().any(|columns| !columns.is_empty());
        let old_rows_differ = || load.cures(&new, bronze).iter().any(|cure| cure.old_rows_differ);
        !others.iter().all(only_went) || (!new.is_empty() && (went || old_rows_differ()))
    }

    fn key_sql(&self) -> String {
        self.key_parts().map(|own| own.expression.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The condition of the rows of a part; empty for all of them.
    pub(super) fn part_sql(&self, part: &Part) -> String {
        let KeyRange { low, high } = match part {
            Part::Cuts(_) => return "false".to_owned(),
            Part::Chunk(chunk) => &chunk.keys,
        };
        let key = self.key_sql();
        let ends = |end: &RowKey| {
            let values = self.key_parts().zip(end).map(|(own, value)| {
                format!("{}::{}", quote_literal(value.as_deref().unwrap_or_default()), own.column.type_name)
            });
            values.collect::<Vec<_>>().join(", ")
        };
        let low = low.as_ref().map(|low| format!("({key}) > ({})", ends(low)));
        let high = high.as_ref().map(|high| format!("({key}) <= ({})", ends(high)));
        low.into_iter().chain(high).collect::<Vec<_>>().join(" and ")
    }
}

fn is_ordered(column: &Column) -> bool {
    let name = column.bare_type();
    let name = name.split_once('(').map_or(name, |(name, _)| name);
    ORDERED.contains(&name) || name.starts_with("timestamp")
}

impl LoadPlan {
    /// The same load into the table beside bronze in which a resync gathers its chunks.
    #[must_use]
    pub(crate) fn apart(self) -> Self {
        Self {
            target: self.target.beside("__temp"),
            key: Vec::new(),
            on_conflict: OnConflict::Nothing,
            missing: Missing::default(),
            waiting: Vec::new(),
            filled: Vec::new(),
            replaced: None,
            overruled: Vec::new(),
            former_keys: Vec::new(),
            older: false,
            apart: true,
            ..self
        }
    }
}
