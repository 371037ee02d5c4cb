//! The SQL that puts the rows of a table beside bronze in the place of those of bronze.

use crate::plan::extract::instant;
use crate::plan::loaded_at::NOW;
use crate::plan::{DELETED_AT, LOADED_AT, LoadPlan, anonymous};
use crate::schema::{Column, Drift, TableSchema, ViewDef, drift, quote_ident, quote_literal};

/// The table that holds what bronze has in columns that the rows do not bring.
const KEPT: &str = "pg_temp.dwh_kept";

/// The table that holds rows of bronze whose keys the rows lack, where such rows stay.
const STAY: &str = "pg_temp.dwh_stay";

/// The statements, in their order.
#[derive(Debug, Default)]
pub(crate) struct Swap {
    /// What empties bronze.
    pub(crate) before: Vec<String>,
    /// What changes its columns.
    pub(crate) shape: Vec<String>,
    /// What puts the rows in.
    pub(crate) fill: Vec<String>,
    /// Columns that get another type.
    pub(crate) retyped: Vec<String>,
    /// What counts the rows that get a mark.
    pub(crate) marked: Option<String>,
}

impl Swap {
    pub(crate) fn of(load: &LoadPlan, bronze: &TableSchema, apart: &TableSchema) -> Self {
        let found = drift(&apart.columns, &bronze.columns);
        let is_typed = |drift: &&Drift| matches!(drift, Drift::Type { .. });
        let retyped = found.iter().filter(is_typed).map(|drift| drift.column().to_owned()).collect();
        if load.is_appended() {
            let shape = found.iter().flat_map(|drift| load.converted(drift, bronze, apart)).collect();
            return Self { shape, retyped, ..Self::default() };
        }
        let kept = load.kept_beside(bronze, apart);
        let mut before: Vec<String> = Vec::new();
        if !kept.is_empty() {
            before.push(load.keep(&kept, bronze, apart));
            before.push(format!("analyze {KEPT}"));
        }
        let fill = load.fill_from(&kept, apart);
        let Some([aside, marked, back]) = load.stay_marked(bronze, apart) else {
            before.extend(load.empty());
            let shape = found.iter().flat_map(|drift| load.reshaped(drift, bronze, apart)).collect();
            return Self { before, shape, fill, retyped, marked: None };
        };
        before.push(aside);
        before.extend(load.empty());
        before.push(back);
        let shape = found.iter().flat_map(|drift| load.converted(drift, bronze, apart)).collect();
        Self { before, shape, fill, retyped, marked: Some(marked) }
    }
}

impl LoadPlan {
    /// Takes bronze for the swap alone: readers wait for it, and it for them.
    pub(crate) fn lock_to_swap(&self) -> String {
        format!("lock table {} in access exclusive mode", self.target.sql())
    }

    pub(crate) fn count_rows(&self) -> String {
        format!("select count(*) from {}", self.target.sql())
    }

    /// Makes a staging table of the rows beside bronze.
    pub(crate) fn stage_from(&self, apart: &TableSchema) -> String {
        let names = self.names("");
        format!("create temporary table dwh_stage on commit drop as select {names} from {}", apart.table.sql())
    }

    /// Columns of bronze whose values stay: those that the rows do not bring, unless the configuration says that they are
    /// NULL from now on.
    fn kept_beside<'a>(&self, bronze: &'a TableSchema, apart: &TableSchema) -> Vec<&'a Column> {
        let emptied = |column: &Column| self.missing.emptied.iter().any(|other| other.name == column.name);
        // What is at the source has no mark, and is written now.
        let is_ours = |column: &Column| self.of_bronze().iter().any(|(name, _)| *name == column.name);
        let stays = |column: &&Column| {
            !is_ours(column) && !column.generated && apart.column(&column.name).is_none() && !emptied(column)
        };
        let keyed = self.key.iter().all(|name| bronze.column(name).is_some());
        bronze.columns.iter().filter(stays).filter(|_| keyed).collect()
    }

    /// The columns of the key of a row of bronze, as they are from now on.
    fn key_from_now_on(&self, bronze: &TableSchema, apart: &TableSchema) -> Vec<String> {
        let own = |name: &String| {
            let (column, now) = (quote_ident(name), apart.column(name).map(|column| &column.type_name));
            match now.filter(|now| bronze.column(name).is_some_and(|before| before.type_name != **now)) {
                Some(now) => format!("b.{column}::text::{now}"),
                None => format!("b.{column}"),
            }
        };
        self.key.iter().map(own).collect()
    }

    /// Where a row that is gone at the source stays with a mark: what sets the rows aside whose keys the table beside bronze
    /// lacks, what counts those that have no mark yet, and what puts them back into bronze with one.
    fn stay_marked(&self, bronze: &TableSchema, apart: &TableSchema) -> Option<[String; 3]> {
        let at = instant(self.replaced.as_ref().filter(|_| self.marks())?.at);
        if bronze.column(DELETED_AT).is_none() || self.key.iter().any(|name| bronze.column(name).is_none()) {
            return None;
        }
        let names = bronze.columns.iter().filter(|column| !column.generated).map(|column| quote_ident(&column.name));
        let (names, mark): (Vec<String>, String) = (names.collect(), quote_ident(DELETED_AT));
        let loaded = quote_ident(LOADED_AT);
        let values = names.iter().map(|name| match name {
            name if *name == mark => format!("coalesce({mark}, {at})"),
            name if self.stamped && *name == loaded => format!("case when {mark} is null then {NOW} else {name} end"),
            name => name.clone(),
        });
        let (names, values) = (names.join(", "), values.collect::<Vec<_>>().join(", "));
        let (into, from) = (self.target.sql(), apart.table.sql());
        let key = self.key_from_now_on(bronze, apart).join(", ");
        Some([
            format!(
                "create temporary table dwh_stay on commit drop as select {names} from {into} b where not exists (select from \
                 {from} s where {} = row({key})::pg_catalog.record)",
                self.record("s.")
            ),
            format!("select count(*) from {STAY} where {mark} is null"),
            format!("insert into {into} ({names}) overriding system value select {values} from {STAY}"),
        ])
    }

    /// The key as a record, which compares every type that has an order.
    fn record(&self, prefix: &str) -> String {
        format!("row({})::pg_catalog.record", self.key_names(prefix))
    }

    /// Sets their values aside, by the key as it is from now on.
    fn keep(&self, kept: &[&Column], bronze: &TableSchema, apart: &TableSchema) -> String {
        let key = self.key_from_now_on(bronze, apart).into_iter().zip(&self.key);
        let key = key.map(|(value, name)| format!("{value} as {}", quote_ident(name)));
        let names: Vec<String> = key.chain(kept.iter().map(|column| quote_ident(&column.name))).collect();
        let (names, from) = (names.join(", "), self.target.sql());
        format!("create temporary table dwh_kept on commit drop as select {names} from {from} b")
    }

    /// Puts the rows in; those that bronze had, with what it kept of them.
    fn fill_from(&self, kept: &[&Column], apart: &TableSchema) -> Vec<String> {
        let (into, from, names) = (self.target.sql(), apart.table.sql(), self.names(""));
        let all =
            format!("insert into {into} ({names}) overriding system value select {} from {from} s", self.names("s."));
        if kept.is_empty() {
            return vec![all];
        }
        let list = |prefix: &str| {
            kept.iter().map(|column| format!("{prefix}{}", quote_ident(&column.name))).collect::<Vec<_>>().join(", ")
        };
        let same = format!("{} = {}", self.record("s."), self.record("k."));
        let (new, old) = (list(""), list("k."));
        vec![
            format!(
                "insert into {into} ({names}, {new}) overriding system value select {}, {old} from {from} s join {KEPT} k on {same}",
                self.names("s.")
            ),
            // A column of bronze alone has its default in a row that is new.
            format!("{all} where not exists (select from {KEPT} k where {same})"),
        ]
    }

    /// What brings a column of a table without rows to what the rows bring.
    fn reshaped(&self, drift: &Drift, bronze: &TableSchema, apart: &TableSchema) -> Vec<String> {
        let alter = format!("alter table {}", self.target.sql());
        let column = quote_ident(drift.column());
        let change = format!("{alter} alter column {column}");
        let type_name = apart.column(drift.column()).map(|column| column.type_name.to_string()).unwrap_or_default();
        match drift {
            Drift::MissingInBronze { .. } => vec![format!("{alter} add column {column} {type_name}")],
            Drift::MissingInSource { .. } | Drift::Nullability { .. } => vec![format!("{change} drop not null")],
            Drift::Computed { .. } => vec![format!("{change} drop expression")],
            Drift::Type { .. } => {
                let default = bronze.column(drift.column()).is_some_and(|column| column.default.is_some());
                let drop = default.then(|| format!("{change} drop default"));
                drop.into_iter().chain([format!("{change} type {type_name} using null::{type_name}")]).collect()
            }
        }
    }

    /// The same for a table whose rows stay.
    fn converted(&self, drift: &Drift, bronze: &TableSchema, apart: &TableSchema) -> Vec<String> {
        match drift {
            Drift::Type { .. } => {
                self.cures(std::slice::from_ref(drift), bronze).into_iter().flat_map(|cure| cure.statements).collect()
            }
            _ => self.reshaped(drift, bronze, apart),
        }
    }
}

impl ViewDef {
    pub(crate) fn drop_sql(&self) -> String {
        format!("drop {} {}", self.word(), self.view.sql())
    }

    /// What SQL calls it.
    pub(crate) const fn word(&self) -> &'static str {
        if self.filled.is_some() { "materialized view" } else { "view" }
    }

    /// Binds a view to what the names in it mean now; rights and comments stay.
    pub(crate) fn replace_sql(&self) -> String {
        let options = self.options.as_ref().map_or_else(String::new, |options| format!(" with ({options})"));
        let query = self.definition.trim().trim_end_matches(';');
        format!("create or replace view {}{options} as {query};", self.view.sql())
    }

    /// Makes the view again as it was, with its owner, its grants and its comments, a materialized one with its indexes.
    pub(crate) fn make_sql(&self) -> Vec<String> {
        let view = self.view.sql();
        let options = self.options.as_ref().map_or_else(String::new, |options| format!(" with ({options})"));
        let word = self.word();
        let mut sql = match &self.filled {
            None => vec![format!("create view {view}{options} as {}", self.definition)],
            Some(filled) => {
                let query = self.definition.trim_end().trim_end_matches(';');
                let data = if filled.populated { "" } else { " with no data" };
                let mut sql = vec![format!("create materialized view {view}{options} as {query}{data}")];
                sql.extend(filled.indexes.iter().cloned());
                sql.extend(filled.populated.then(|| format!("analyze {view}")));
                sql
            }
        };
        sql.push(format!("alter {word} {view} owner to {}", quote_ident(&self.owner)));
        // What default privileges have granted was not granted before.
        sql.push(anonymous(&format!(
            "declare other text;\nbegin\n    for other in select distinct case when a.grantee = 0 then 'public' else \
             pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end from pg_catalog.pg_class c, \
             pg_catalog.aclexplode(c.relacl) a where c.oid = {}::pg_catalog.regclass and a.grantee <> c.relowner loop\n        \
             execute 'revoke all on ' || {} || ' from ' || other;\n    end loop;\nend",
            quote_literal(&view),
            quote_literal(&view)
        )));
        sql.extend(self.grants.iter().map(|grant| format!("grant {grant}")));
        sql.extend(self.comment.iter().map(|text| format!("comment on {word} {view} is {}", quote_literal(text))));
        sql.extend(self.column_comments.iter().map(|(column, text)| {
            format!("comment on column {view}.{} is {}", quote_ident(column), quote_literal(text))
        }));
        sql
    }
}
