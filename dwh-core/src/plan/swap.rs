//! The SQL that puts the rows of a table beside bronze in the place of those of bronze.

use crate::plan::{DELETED_AT, LoadPlan, anonymous};
use crate::schema::{Column, Drift, TableSchema, ViewDef, drift, quote_ident, quote_literal};

/// The table that holds what bronze has in columns that the rows do not bring.
const KEPT: &str = "pg_temp.dwh_kept";

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
        before.extend(load.empty());
        let shape = found.iter().flat_map(|drift| load.reshaped(drift, bronze, apart)).collect();
        Self { before, shape, fill: load.fill_from(&kept, apart), retyped }
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
        // What is at the source has no mark.
        let is_mark = |column: &Column| self.marks() && column.name == DELETED_AT;
        let stays = |column: &&Column| {
            !is_mark(column) && !column.generated && apart.column(&column.name).is_none() && !emptied(column)
        };
        let keyed = self.key.iter().all(|name| bronze.column(name).is_some());
        bronze.columns.iter().filter(stays).filter(|_| keyed).collect()
    }

    /// Sets their values aside, by the key as it is from now on.
    fn keep(&self, kept: &[&Column], bronze: &TableSchema, apart: &TableSchema) -> String {
        let own = |name: &String| {
            let (column, now) = (quote_ident(name), apart.column(name).map(|column| &column.type_name));
            match now.filter(|now| bronze.column(name).is_some_and(|before| before.type_name != **now)) {
                Some(now) => format!("{column}::text::{now} as {column}"),
                None => column,
            }
        };
        let key = self.key.iter().map(own);
        let names: Vec<String> = key.chain(kept.iter().map(|column| quote_ident(&column.name))).collect();
        let (names, from) = (names.join(", "), self.target.sql());
        format!("create temporary table dwh_kept on commit drop as select {names} from {from}")
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
        // As records, which compare every type that has an order.
        let record = |prefix: &str| format!("row({})::pg_catalog.record", self.key_names(prefix));
        let same = format!("{} = {}", record("s."), record("k."));
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
        format!("drop view {}", self.view.sql())
    }

    /// Makes the view again as it was, with its owner, its grants and its comments.
    pub(crate) fn make_sql(&self) -> Vec<String> {
        let view = self.view.sql();
        let options = self.options.as_ref().map_or_else(String::new, |options| format!(" with ({options})"));
        let mut sql = vec![format!("create view {view}{options} as {}", self.definition)];
        sql.push(format!("alter view {view} owner to {}", quote_ident(&self.owner)));
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
        sql.extend(self.comment.iter().map(|text| format!("comment on view {view} is {}", quote_literal(text))));
        sql.extend(self.column_comments.iter().map(|(column, text)| {
            format!("comment on column {view}.{} is {}", quote_ident(column), quote_literal(text))
        }));
        sql
    }
}
