//! Columns that a run adds to bronze before it loads; what a preview does in place of that; and the values that rows of
//! older CSV files have in columns that came later.

use crate::config::{Mode, OnNewColumn};
use crate::plan::load::STAGE;
use crate::plan::{Cure, Equality, LoadPlan, Plan};
use crate::schema::{Column, Drift, TableRef, TableSchema, quote_ident, quote_literal};

impl Plan {
    /// The columns that a run adds by itself: if the configuration says so and nothing else differs.
    pub(super) fn waiting_for(&self, bronze: &TableSchema) -> Vec<Column> {
        let load = self.load(false);
        let found = load.drift(bronze);
        let new = |drift: &Drift| matches!(drift, Drift::MissingInBronze { .. });
        if self.table.on_new_column != OnNewColumn::Add || !found.iter().all(new) {
            return Vec::new();
        }
        let mut columns = load.named_in(bronze);
        columns.retain(|column| found.iter().any(|drift| drift.column() == column.name));
        columns
    }

    /// The plan without the columns that bronze lacks.
    pub(crate) fn without_waiting(mut self) -> Self {
        let waiting = std::mem::take(&mut self.waiting);
        self.columns.retain(|own| waiting.iter().all(|column| column.name != own.column.name));
        self
    }
}

impl LoadPlan {
    /// Whether bronze lacks the column, and a run adds it first.
    pub(super) fn waits(&self, name: &str) -> bool {
        self.waiting.iter().any(|column| column.name == name)
    }

    fn cures_of_waiting(&self, bronze: &TableSchema) -> Vec<Cure> {
        let mut found = self.drift(bronze);
        found.retain(|drift| self.waits(drift.column()));
        self.cures(&found, bronze)
    }

    /// What a person is told of the columns that a run adds, `added` being how: it "was added" or "is added by the next run".
    pub(crate) fn told_added(&self, bronze: &TableSchema, added: &str) -> Vec<String> {
        let told = |cure: Cure| {
            let then = cure.then.map(|then| format!("{}{then}", if then.starts_with('(') { " " } else { "; " }));
            format!("{}: it {added}{}", cure.drift, then.unwrap_or_default())
        };
        self.cures_of_waiting(bronze).into_iter().map(told).collect()
    }

    /// The statements that add the columns, for a dry run.
    pub(crate) fn added_sql(&self, bronze: &TableSchema) -> Vec<String> {
        self.cures_of_waiting(bronze).into_iter().flat_map(|cure| cure.statements).collect()
    }

    /// Whether the target may lack a type that the columns need, so that it must be made first.
    pub(crate) fn waits_for_types(&self, bronze: &TableSchema) -> bool {
        self.cures_of_waiting(bronze).iter().any(|cure| cure.first.is_some())
    }

    /// The statements that add a column to a table; rows that are there get this value.
    pub(super) fn add_column(&self, table: &TableRef, column: &Column, old_value: Option<&str>) -> Vec<String> {
        let (alter, name) = (format!("alter table {}", table.sql()), quote_ident(&column.name));
        let add = format!("{alter} add column {name} {}", column.type_name);
        match old_value {
            None => vec![format!("{add};")],
            Some(value) => vec![
                format!("{add} default {};", quote_literal(value)),
                format!("{alter} alter column {name} drop default;"),
            ],
        }
    }

    /// The same load into a table of the session's own.
    #[must_use]
    pub(crate) fn beside(&self) -> Self {
        Self { target: TableRef::new("pg_temp", "dwh_beside"), waiting: Vec::new(), ..self.clone() }
    }

    /// Makes that table as bronze is once a run has added what it lacks, with the constraints of bronze; with the rows of bronze
    /// whose keys are staged, if `known` says how keys are compared.
    #[must_use]
    pub(crate) fn create_beside(&self, known: Option<&[Equality]>) -> Vec<String> {
        let beside = self.beside().target;
        let bronze = self.target.sql();
        let like = format!("create temporary table dwh_beside (like {bronze} including all) on commit drop");
        let mut sql = vec![like];
        if let Some(key) = known {
            let there = self.columns.iter().filter(|column| !self.waits(&column.name));
            let names: Vec<String> = there.map(|column| quote_ident(&column.name)).collect();
            let names = names.join(", ");
            let on: Vec<String> = key.iter().map(|part| self.key_equals(part)).collect();
            sql.push(format!(
                "insert into {} ({names}) overriding system value select {names} from {bronze} b \
                 where exists (select from {STAGE} s where {})",
                beside.sql(),
                on.join(" and ")
            ));
        }
        let old_value = |column: &'_ Column| column.old_value.clone().filter(|_| self.mode == Mode::Incremental);
        let add = |column: &Column| self.add_column(&beside, column, old_value(column).as_deref());
        sql.extend(self.waiting.iter().flat_map(add));
        sql
    }

    /// The columns that the CSV lacks and whose value is known, and the values: each begins with a comma.
    pub(super) fn filling(&self) -> (String, String) {
        let (mut names, mut values) = (String::new(), String::new());
        for column in &self.filled {
            let Some(value) = &column.old_value else { continue };
            names.push_str(&format!(", {}", quote_ident(&column.name)));
            values.push_str(&format!(", {}::{}", quote_literal(value), column.type_name));
        }
        (names, values)
    }
}
