//! The SQL that cuts a table into chunks by its key, and that reads one of them.

use crate::chain::{KeyRange, Part};
use crate::config::{Mode, OnConflict};
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
    /// that some only came, or only went. Where some came and some went, one may have another name. A manifest asks for a full
    /// sync where a column came, too: whoever filled it may have moved no stamp.
    pub(crate) fn must_resync(&self, bronze: &TableSchema) -> bool {
        let load = self.load(false);
        let (new, others): (Vec<Drift>, Vec<Drift>) =
            load.drift(bronze).into_iter().partition(|drift| matches!(drift, Drift::MissingInBronze { .. }));
        let only_went = |drift: &Drift| matches!(drift, Drift::MissingInSource { required: false, .. });
        let Missing { refused, kept, emptied, .. } = &self.missing;
        let went = [refused, kept, emptied].into_iter().any(|columns| !columns.is_empty());
        let old_rows_differ = || load.cures(&new, bronze).iter().any(|cure| cure.old_rows_differ);
        let full_sync = self.table.manifest.is_some() && self.table.mode == Mode::Incremental;
        !others.iter().all(only_went) || (!new.is_empty() && (full_sync || went || old_rows_differ()))
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
            stamped: false,
            apart: true,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{Chunk, RunIdentity};
    use crate::config::TableConfig;
    use crate::plan::tests::{column, schema, table};
    use crate::run::RunId;
    use crate::watermark::Timestamp;

    fn plan(id: &str, change: fn(&mut Column)) -> Plan {
        let mut key = column("id", id);
        change(&mut key);
        let table = TableConfig { key: vec!["id".to_owned(), "part".to_owned()], ..table() };
        let columns = vec![key, column("part", "text"), column("at", "timestamp with time zone")];
        Plan::new(&table, schema(columns)).expect("a plan")
    }

    fn chunk(low: Option<[&str; 2]>, high: Option<[&str; 2]>) -> Part {
        let key = |key: [&str; 2]| key.map(|text| Some(text.to_owned())).to_vec();
        let resync = RunIdentity { run_id: RunId(1), run_started_at: Timestamp::SEED, sha256: None };
        Part::Chunk(Chunk { resync, number: 1, keys: KeyRange { low: low.map(key), high: high.map(key) } })
    }

    #[test]
    fn a_table_is_cut_by_a_key_whose_order_is_one_everywhere() {
        for (id, cut) in [("bigint", true), ("numeric(9,2)", true), ("uuid", true), ("double precision", false)] {
            assert_eq!(plan(id, |_| ()).cuts(10).is_some(), cut, "{id}");
        }
        assert_eq!(
            plan("bigint", |key| key.not_null = false).cuts(10),
            None,
            "a row without a key would be in no chunk"
        );
        let sql = plan("bigint", |_| ()).cuts(10).expect("cuts");
        assert!(sql.contains("order by t.\"id\", t.\"part\"") && sql.contains("% 10 = 0"), "{sql}");
    }

    #[test]
    fn a_chunk_begins_behind_the_one_before() {
        let plan = plan("bigint", |_| ());
        let key = "(t.\"id\", t.\"part\")";
        let (low, high) = (Some(["7", "it's"]), Some(["9", "b"]));
        let above = format!("{key} > ('7'::bigint, 'it''s'::text)");
        let to = format!("{key} <= ('9'::bigint, 'b'::text)");
        assert_eq!(plan.part_sql(&chunk(low, high)), format!("{above} and {to}"));
        assert_eq!(plan.part_sql(&chunk(low, None)), above);
        assert_eq!(plan.part_sql(&chunk(None, None)), "");
        assert_eq!(plan.part_sql(&Part::Cuts(Vec::new())), "false");
    }

    #[test]
    fn only_what_came_or_only_what_went_needs_no_rows() {
        let plan = plan("bigint", |_| ());
        let bronze = |columns: Vec<Column>| schema(columns);
        let own = plan.delivered();
        let must = |plan: &Plan, columns: Vec<Column>| plan.must_resync(&bronze(columns));
        assert!(!must(&plan, own.clone()));
        let without: Vec<Column> = own.iter().filter(|column| column.name != "part").cloned().collect();
        let nullable = |plan: &Plan| {
            let mut plan = plan.clone();
            plan.columns.iter_mut().for_each(|own| {
                own.column.not_null = own.column.name == "id";
                own.column.number = Some(1);
            });
            plan
        };
        assert!(!must(&nullable(&plan), without.iter().map(|c| Column { not_null: false, ..c.clone() }).collect()));
        assert!(must(&plan, without.clone()), "who knows what old rows have in a column that is never NULL");
        let mut lost = nullable(&plan);
        lost.missing.kept.push(column("old", "text"));
        assert!(!must(&lost, nullable(&plan).delivered()), "it only went");
        assert!(must(&lost, without), "one of another name");
        let mut other = own;
        other[1] = column("part", "integer");
        assert!(must(&plan, other), "another type");
    }
}
