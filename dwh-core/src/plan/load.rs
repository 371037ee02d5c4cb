//! The SQL that loads a CSV into bronze, and the check of the key behind it.

use serde::Serialize;

use crate::chain::Replaced;
use crate::config::{Deletes, Mode, OnConflict, Replace, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Equality, KeysOf, Missing, Stamp, UPLOADED_AT};
use crate::schema::{Column, Drift, TableRef, TableSchema, TypeDef, UniqueKey, definition, named_there, quote_ident};

/// The name of the staging table; temporary, so every session has its own.
pub(super) const STAGE: &str = "pg_temp.dwh_stage";

/// What the server lets a join hand on.
const MAX_JOINED_COLUMNS: usize = 1_600;

/// How a CSV is loaded: the same whether it comes straight from an extract or from the blob store years later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadPlan {
    /// The table's name in the configuration.
    pub table: String,
    /// The bronze table.
    pub target: TableRef,
    /// How it is moved.
    pub mode: Mode,
    /// The columns of the CSV, in order.
    pub columns: Vec<Column>,
    /// The definitions of the types that the columns need, each behind those that it is made of; those of PostgreSQL itself,
    /// and all of a CSV of release 0.1, are not described.
    pub types: Vec<TypeDef>,
    /// The natural key.
    pub key: Vec<String>,
    /// What happens to a row whose key is there already.
    pub on_conflict: OnConflict,
    /// Whether a snapshot of no rows may replace rows.
    pub allow_empty: bool,
    /// How a snapshot takes the place of the rows that are there.
    pub replace: Replace,
    /// What happens to rows that the source has deleted.
    pub deletes: Deletes,
    /// What the CSV stands for, if it holds keys alone: no row comes from it.
    #[serde(skip)]
    pub keys: Option<KeysOf>,
    /// The path of the file that the CSV stands for alone: rows of an older version of it are replaced or removed.
    pub file: Option<String>,
    /// Columns of bronze that it does not bring, although earlier loads did.
    pub missing: Missing,
    /// Columns that bronze lacks and that a run adds to it first; a preview counts as if they were there.
    #[serde(skip)]
    pub waiting: Vec<Column>,
    /// Columns that the source got after the CSV was written: each row that is inserted gets the column's `old_value`.
    #[serde(skip)]
    pub filled: Vec<Column>,
    /// Whether bronze may hold rows of a newer snapshot than the CSV's: then no row that is there is replaced, whatever
    /// stamp it has. Clocks and stamps do not tell which version is newer, the order of the runs does.
    pub older: bool,
    /// The window that the CSV stands for alone: what bronze has there too is overwritten, or removed.
    #[serde(skip)]
    pub replaced: Option<Replaced>,
    /// Windows that newer CSV files stand for alone: rows that lie there and that bronze lacks were removed, and stay so.
    #[serde(skip)]
    pub overruled: Vec<Replaced>,
    /// Other keys by which rows of this CSV or of newer ones were told apart when they were read: a row that bronze has by one
    /// of them, and not by the key of today, is refused.
    #[serde(skip)]
    pub former_keys: Vec<Vec<String>>,
    /// The watermark column, by which those windows are cut.
    #[serde(skip)]
    pub stamp: Option<Stamp>,
    /// Columns that are added to those of the source: they say when and by what a row was read, and rows that differ in
    /// nothing else are the same.
    pub added: Vec<String>,
    /// Whether bronze says in `_loaded_at` when each row was written into it.
    #[serde(skip)]
    pub stamped: bool,
    /// Whether the rows go into a table beside bronze, from which a resync takes them: it has no key, others fill it at the
    /// same time, and the watermark row stays as it is.
    #[serde(skip)]
    pub apart: bool,
}

impl LoadPlan {
    /// The same load with the types that bronze has now: a CSV of years ago may name those of its day, and its text
    /// reads as today's just as well, or the server says where it does not.
    #[must_use]
    pub fn with_types_of(mut self, bronze: &TableSchema) -> Self {
        for column in &mut self.columns {
            if let Some(now) = bronze.column(&column.name) {
                column.clone_from(now);
            }
        }
        self
    }

    /// The same load into the table as it is configured now: a CSV says what its columns are, the configuration where they
    /// go, which key tells rows apart, and what happens to a row that is there already.
    #[must_use]
    pub fn as_configured(mut self, table: &TableConfig) -> Self {
        self.target.clone_from(&table.target);
        self.mode = table.mode;
        self.key.clone_from(&table.key);
        self.on_conflict = table.on_conflict;
        self.stamp = Stamp::of(table);
        self.replace = table.replace;
        self.deletes = table.deletes;
        self.added = table.added().into_iter().map(str::to_owned).collect();
        self.stamped = table.loaded_at;
        self
    }

    /// The header line that the CSV must begin with, without its line end.
    #[must_use]
    pub fn header(&self) -> String {
        self.columns.iter().map(|column| crate::dialect::field(&column.name)).collect::<Vec<_>>().join(",")
    }

    /// The statements of the load transaction, in order, for `--dry-run`.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        let mut list = vec![self.create_stage(), self.copy_in()];
        if let Some(keys) = &self.keys {
            let key: Vec<Equality> = self.key.iter().map(|name| Equality::plain(name)).collect();
            list.extend(self.marks().then(|| self.unmark(&key)));
            list.push(self.take_gone(keys, &key));
            return list;
        }
        if self.carries_over() {
            list.push(self.set_values_aside());
        }
        if self.mode == Mode::Snapshot {
            list.extend(self.empty());
        }
        if self.is_appended() {
            let key: Vec<Equality> = self.key.iter().map(|name| Equality::plain(name)).collect();
            list.push(self.drop_known(&key));
        }
        list.push(self.merge());
        // Which operator the key has is only known where bronze is.
        let key: Vec<Equality> = self.key.iter().map(|name| Equality::plain(name)).collect();
        list.extend(self.removes().and_then(|window| self.remove(window, &key).ok()));
        list.extend(self.removes_of_file().map(|path| self.remove_of_file(path, &key)));
        list
    }

    /// Whether a CSV of no rows changes nothing.
    pub(crate) fn adds_rows_alone(&self) -> bool {
        self.mode == Mode::Incremental && self.replaced.is_none() && self.keys.is_none()
    }

    /// Judges bronze against the columns of the CSV.
    ///
    /// # Errors
    /// `NotFound` if there is no such table; `Drift` with every difference; `Contract` without a usable key.
    pub fn check_columns(&self, bronze: Option<&TableSchema>) -> Result<()> {
        let fail = |kind, text: String| Error::new(kind, format!("table `{}`: {text}", self.table));
        let Some(bronze) = bronze else {
            return Err(fail(ErrorKind::NotFound, format!("bronze has no table {}", self.target))
                .with_hint("run `dwh migrate`; it creates the bronze tables of the configuration"));
        };
        let mut found = self.drift(bronze);
        let of_row = |drift: &Drift| matches!(drift, Drift::MissingInSource { .. });
        found.retain(|drift| !self.waits(drift.column()) && (self.keys.is_none() || !of_row(drift)));
        if !found.is_empty() {
            let list: Vec<String> = found.iter().map(ToString::to_string).collect();
            return Err(fail(ErrorKind::Drift, list.join("; ")).with_hint(self.remedies(&found, bronze)));
        }
        self.check_mark(bronze)?;
        self.check_loaded_at(bronze)?;
        // Keys of another day are compared as they are.
        if self.keys.is_some() { Ok(()) } else { self.check_key(bronze) }
    }

    /// The columns with the names that their types have in bronze's database. Of a type that is not described, the schema is
    /// not known to matter.
    pub(super) fn named_in(&self, bronze: &TableSchema) -> Vec<Column> {
        let mut columns = self.columns.clone();
        for column in &mut columns {
            let name = &column.type_name;
            let there = bronze.column(&column.name).map(|other| &other.type_name);
            column.type_name = match there.filter(|other| other.bare() == name.bare()) {
                Some(other) if definition(&self.types, name).is_none() => other.clone(),
                _ => named_there(name, &self.types, &bronze.types),
            };
        }
        columns
    }

    /// The load of a CSV that a person made, whose header names `names`.
    ///
    /// # Errors
    /// `Data` if the header names columns that bronze has not, or leaves out some that it requires.
    pub fn by_hand(table: &TableConfig, bronze: &TableSchema, names: &[String]) -> Result<Self> {
        let fail = |text: String| {
            let there: Vec<&str> = bronze.columns.iter().map(|column| column.name.as_str()).collect();
            Err(Error::new(ErrorKind::Data, text).with_hint(format!(
                "the columns of {} are: {}",
                bronze.table,
                there.join(", ")
            )))
        };
        let mut columns: Vec<Column> = Vec::new();
        for name in names {
            match bronze.column(name) {
                None => return fail(format!("the header names `{name}`, which bronze has not")),
                Some(column) if columns.contains(column) => return fail(format!("the header names `{name}` twice")),
                Some(column) => columns.push(column.clone()),
            }
        }
        let missing: Vec<&str> = bronze
            .columns
            .iter()
            .filter(|c| c.is_required() && !columns.contains(c))
            .map(|c| c.name.as_str())
            .collect();
        if !missing.is_empty() {
            return fail(format!("the header lacks {}", missing.join(", ")));
        }
        let load = Self {
            table: table.name.clone(),
            target: table.target.clone(),
            mode: table.mode,
            columns,
            types: Vec::new(),
            key: table.key.clone(),
            on_conflict: table.on_conflict,
            allow_empty: table.allow_empty,
            replace: table.replace,
            deletes: table.deletes,
            keys: None,
            missing: Missing::default(),
            file: None,
            waiting: Vec::new(),
            filled: Vec::new(),
            // Nobody knows when its rows were read: it may add some, and replaces none.
            older: true,
            replaced: None,
            overruled: Vec::new(),
            former_keys: Vec::new(),
            stamp: None,
            added: table.added().into_iter().map(str::to_owned).collect(),
            stamped: table.loaded_at,
            apart: false,
        };
        load.check_mark(bronze)?;
        load.check_loaded_at(bronze)?;
        load.check_key(bronze).map(|()| load)
    }

    /// Refuses a key that `ON CONFLICT` could not use.
    ///
    /// # Errors
    /// `Contract`, with the statement that makes the key.
    pub fn check_key(&self, bronze: &TableSchema) -> Result<()> {
        if !self.mode.is_keyed() {
            return Ok(());
        }
        if self.is_appended() {
            return self.check_versions(bronze);
        }
        let (why, hint) = match bronze.key_over(&self.key) {
            Some(key) => match &key.unusable {
                None => return Ok(()),
                Some(reason) => (
                    format!("unique index `{}` of {} cannot serve `ON CONFLICT`: {reason}", key.name, bronze.table),
                    format!("in the target: {}", self.mend_key(bronze, Some(key))),
                ),
            },
            None => (
                format!("{} has no PRIMARY KEY or UNIQUE over ({})", bronze.table, self.key.join(", ")),
                format!("in the target: {}", self.mend_key(bronze, None)),
            ),
        };
        Err(Error::new(ErrorKind::Contract, format!("table `{}`: {why}", self.table)).with_hint(hint))
    }

    /// The statements that make a key serve, or put one beside it that does. A table has one primary key at most, and what
    /// is unique already may be it.
    fn mend_key(&self, bronze: &TableSchema, key: Option<&UniqueKey>) -> String {
        let table = bronze.table.sql();
        if bronze.keys.is_empty() {
            return format!("alter table {table} add primary key ({});", self.key_names(""));
        }
        let nullable = bronze.columns.iter().filter(|column| self.key.contains(&column.name) && !column.not_null);
        let mut sql: Vec<String> = nullable
            .map(|column| format!("alter table {table} alter column {} set not null;", quote_ident(&column.name)))
            .collect();
        if key.is_none_or(|key| !key.is_nullable()) {
            sql.push(format!("create unique index on {table} ({});", self.key_names("")));
        }
        sql.join(" ")
    }

    pub(super) fn names(&self, prefix: &str) -> String {
        self.columns.iter().map(|c| format!("{prefix}{}", quote_ident(&c.name))).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn key_names(&self, prefix: &str) -> String {
        self.key.iter().map(|name| format!("{prefix}{}", quote_ident(name))).collect::<Vec<_>>().join(", ")
    }

    /// Creates the staging table with bronze's own types, and no constraints.
    #[must_use]
    pub fn create_stage(&self) -> String {
        let column = |column: &Column| {
            let name = quote_ident(&column.name);
            let waiting = self.waiting.iter().find(|other| other.name == column.name);
            waiting.map_or_else(|| name.clone(), |there| format!("null::{} as {name}", there.type_name))
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        format!(
            "create temporary table dwh_stage on commit drop as select {} from {} with no data",
            columns.join(", "),
            self.target.sql()
        )
    }

    /// `COPY` into the staging table; the header was compared before.
    #[must_use]
    pub fn copy_in(&self) -> String {
        format!("copy {STAGE} ({}) from stdin (format csv, header)", self.names(""))
    }

    /// Empties bronze before a snapshot is put in, statement by statement. A foreign key that can wait for the commit
    /// does: the new rows bring most keys back.
    #[must_use]
    pub fn empty(&self) -> Vec<String> {
        let table = self.target.sql();
        match self.replace {
            Replace::Truncate => vec![format!("truncate {table}")],
            Replace::Delete => vec!["set constraints all deferred".to_owned(), format!("delete from {table}")],
        }
    }

    /// Whether bronze holds exactly the staged rows, in whatever order.
    #[must_use]
    pub fn is_staged(&self) -> String {
        // By their text: not every type has an equality.
        let rows = |from: &str| format!("select row({})::pg_catalog.text from {from}", self.names(""));
        let (stage, bronze) = (rows(STAGE), rows(&self.target.sql()));
        format!("select not exists (({stage} except all {bronze}) union all ({bronze} except all {stage}))")
    }

    /// Whether bronze has any row.
    #[must_use]
    pub fn any_row(&self) -> String {
        format!("select exists (select from {})", self.target.sql())
    }

    /// Moves the staged rows into bronze.
    #[must_use]
    pub fn merge(&self) -> String {
        if self.carries_over() {
            return self.insert_with_kept(STAGE);
        }
        let names = self.names("");
        let (filled, values) = self.filling();
        let mut sql = format!(
            "insert into {} as b ({names}{filled}) overriding system value select {names}{values} from {STAGE}",
            self.target.sql()
        );
        if self.mode.is_keyed() && !self.is_appended() && !self.apart {
            sql.push_str(&format!(" on conflict ({}) ", self.key_names("")));
            sql.push_str(&if self.replaces() { self.do_update() } else { "do nothing".to_owned() });
        }
        sql
    }

    /// Whether a row that differs from the one that is there takes its place.
    #[must_use]
    pub fn replaces(&self) -> bool {
        (self.on_conflict == OnConflict::Update || self.replaced.is_some()) && !self.older && !self.is_appended()
    }

    fn do_update(&self) -> String {
        let changes = |c: &&Column| !self.key.contains(&c.name) || !has_one_image(c);
        let set: Vec<String> =
            self.columns.iter().filter(changes).map(|c| format!("{0} = excluded.{0}", quote_ident(&c.name))).collect();
        if set.is_empty() {
            return "do nothing".to_owned();
        }
        let (new, old) = (self.row("excluded."), self.row("b."));
        format!("do update set {}{} where not {}", set.join(", "), self.and_loaded_at(), identical(&new, &old))
    }

    /// All columns of the source as one value.
    pub(super) fn row(&self, prefix: &str) -> String {
        let own = self.columns.iter().filter(|column| !self.added.contains(&column.name));
        let names: Vec<String> = own.map(|column| format!("{prefix}{}", quote_ident(&column.name))).collect();
        // The cast keeps the parser from comparing column by column.
        format!("row({})::pg_catalog.record", names.join(", "))
    }

    /// Counts the staged rows whose key is in bronze: identical ones, and those that differ.
    #[must_use]
    pub(crate) fn classify(&self, key: &[Equality]) -> String {
        format!(
            "select count(*) filter (where q.same), count(*) filter (where not q.same) from ({}) q",
            self.pairs(key)
        )
    }

    /// Whether each staged row is identical with the row of its key in bronze.
    fn pairs(&self, key: &[Equality]) -> String {
        let on: Vec<String> = key.iter().map(|part| self.key_equals(part)).collect();
        let (on, bronze) = (on.join(" and "), self.target.sql());
        if 2 * self.columns.len() <= MAX_JOINED_COLUMNS {
            let same = identical(&self.row("s."), &self.row("b."));
            return format!("select {same} as same from {STAGE} s join {bronze} b on {on} offset 0");
        }
        // A join hands on no more than so many columns: each side is one value before they meet, at the price of a look
        // into the index for each row.
        format!(
            "select {} as same from {STAGE} s cross join lateral (select {} as image offset 0) n \
             cross join lateral (select {} as image from {bronze} b where {on} offset 0) o",
            identical("n.image", "o.image"),
            self.row("s."),
            self.row("b.")
        )
    }

    /// A key of a unique index with `nulls not distinct` may hold NULLs.
    pub(super) fn key_equals(&self, part: &Equality) -> String {
        self.key_equals_of(part, "b")
    }

    /// The same with the alias of the bronze table.
    pub(super) fn key_equals_of(&self, part: &Equality, alias: &str) -> String {
        let column = quote_ident(&part.column);
        let (new, old) = (format!("s.{column}"), format!("{alias}.{column}"));
        let equal = part.of(&new, &old);
        if self.columns.iter().any(|c| c.name == part.column && c.not_null) {
            equal
        } else {
            format!("({equal} or ({new} is null and {old} is null))")
        }
    }

    /// The columns of the key, in their order.
    #[must_use]
    pub(crate) fn key_columns(&self) -> Vec<&Column> {
        self.key.iter().filter_map(|name| self.columns.iter().find(|column| column.name == *name)).collect()
    }

    /// Counts the keys that the CSV holds more than once.
    #[must_use]
    pub(crate) fn count_doubled(&self, key: &[Equality]) -> String {
        let key: Vec<String> = key.iter().map(|part| part.collated(&quote_ident(&part.column))).collect();
        format!("select count(*) from (select from {STAGE} group by {} having count(*) > 1) d", key.join(", "))
    }

    /// Counts the rows of the copy that an scd CSV holds, were it loaded before.
    #[must_use]
    pub fn count_copy(&self) -> String {
        let column = quote_ident(UPLOADED_AT);
        format!("select count(*) from {} where {column} in (select {column} from {STAGE})", self.target.sql())
    }

    /// Gathers statistics of the staging table, so that the merge is planned for its real size.
    #[must_use]
    pub fn analyze_stage(&self) -> String {
        format!("analyze {STAGE}")
    }
}

/// Whether two rows are identical: their stored bytes, or else their texts, are the same. The bytes are compared first, for
/// that is fast; where they differ and the text does not, as after an extension has changed its format, a CSV cannot tell.
pub(super) fn identical(new: &str, old: &str) -> String {
    format!(
        "({new} operator(pg_catalog.*=) {old} \
         or {new}::pg_catalog.text collate pg_catalog.\"C\" = {old}::pg_catalog.text collate pg_catalog.\"C\")"
    )
}

/// Whether equal values of the column's type are the same to the last byte. Of the others (numeric, citext, floats, text
/// under some collations) a key that is equal may still be written in another way, and then bronze takes the new one.
fn has_one_image(column: &Column) -> bool {
    matches!(column.bare_type(), "smallint" | "integer" | "bigint" | "uuid" | "date" | "boolean")
}
