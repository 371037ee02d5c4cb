//! What to do about drift: statements that run when they are pasted, in any session, and lose nothing.

use crate::config::{Mode, OnConflict};
use crate::plan::convert::{convert, keeps_all, widens};
use crate::plan::session::for_text;
use crate::plan::{LoadPlan, missing_extension_hint};
use crate::schema::{Column, Drift, TableSchema, TypeKind, TypeName, definition, quote_ident, quote_literal};

/// One difference, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cure {
    /// The difference.
    pub drift: Drift,
    /// What must be done before the statements.
    pub first: Option<String>,
    /// The statements, in order; none where only a person can decide.
    pub statements: Vec<String>,
    /// What to say after them.
    pub then: Option<String>,
    /// Whether the statements lose nothing and need no person's word.
    pub safe: bool,
    /// Whether rows that are in bronze get another value there than the source has, as far as can be told.
    pub old_rows_differ: bool,
    pinned: bool,
}

/// What the rows have in a new column that were there before it.
enum OldRows<'a> {
    Null,
    Value(&'a str),
    Unknown,
}

impl OldRows<'_> {
    fn of(column: &Column) -> OldRows<'_> {
        let said = column.default.is_some() || column.identity || column.generated || column.not_null;
        match &column.old_value {
            Some(value) => OldRows::Value(value),
            None if column.number.is_some() && !said => OldRows::Null,
            None => OldRows::Unknown,
        }
    }
}

impl Cure {
    fn of(drift: &Drift, statements: Vec<String>) -> Self {
        Self {
            drift: drift.clone(),
            first: None,
            statements,
            then: None,
            safe: false,
            old_rows_differ: false,
            pinned: false,
        }
    }

    /// The statements as they are pasted: alone where they mean the same in every session, else in a transaction that
    /// says itself what they depend on.
    pub(crate) fn pasted(&self) -> String {
        let sql = self.statements.join(" ");
        if self.pinned { format!("begin; set local search_path = ''; {}{sql} commit;", for_text()) } else { sql }
    }

    /// What to do, line by line.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.first.iter().cloned().collect();
        if !self.statements.is_empty() {
            lines.push(format!("in the target: {}", self.pasted()));
        }
        lines.extend(self.then.clone());
        lines
    }
}

impl LoadPlan {
    /// What mends each difference, in the same order.
    pub(crate) fn cures(&self, found: &[Drift], bronze: &TableSchema) -> Vec<Cure> {
        let columns = self.named_in(bronze);
        let named = |drift: &Drift| columns.iter().find(|column| column.name == *drift.column());
        found.iter().map(|drift| self.cure(drift, named(drift), bronze)).collect()
    }

    /// The column with the name that its type has in the target.
    fn cure(&self, drift: &Drift, column: Option<&Column>, bronze: &TableSchema) -> Cure {
        let there = bronze.column(drift.column());
        if let (Drift::MissingInBronze { .. }, Some(column)) = (drift, column) {
            return self.added(drift, column, bronze);
        }
        match there.map(|there| &there.inherited[..]) {
            None | Some([]) => self.altered(drift, column, bronze),
            Some([home]) => {
                let mut cure = self.altered(drift, column, bronze);
                let first = format!(
                    "`{}` comes from {home}, and is changed there, for all tables that inherit it",
                    drift.column()
                );
                cure.first = Some(cure.first.map_or_else(|| first.clone(), |more| format!("{first}\n{more}")));
                Cure { safe: false, ..cure }
            }
            Some(homes) => Cure {
                then: Some(format!(
                    "`{}` comes from several tables ({}), which only change together: whoever knows them must change it there",
                    drift.column(),
                    homes.join(", ")
                )),
                ..Cure::of(drift, Vec::new())
            },
        }
    }

    /// What mends a column that bronze has, at the table where it is defined.
    fn altered(&self, drift: &Drift, column: Option<&Column>, bronze: &TableSchema) -> Cure {
        let alter = format!("alter table {}", home(bronze, drift.column()));
        let name = quote_ident(drift.column());
        match (drift, column, bronze.column(drift.column())) {
            (Drift::Type { .. }, Some(column), Some(there)) => self.retyped(drift, column, there, bronze),
            (Drift::Nullability { .. }, ..) => {
                let primary =
                    bronze.keys.iter().find(|key| key.primary && key.columns.contains(&drift.column().to_owned()));
                let mut sql: Vec<String> =
                    primary.iter().map(|key| format!("{alter} drop constraint {};", quote_ident(&key.name))).collect();
                sql.push(format!("{alter} alter column {name} drop not null;"));
                Cure { safe: primary.is_none(), ..Cure::of(drift, sql) }
            }
            (Drift::Computed { .. }, _, Some(there)) if there.is_virtual => self.stored(drift, there, bronze),
            (Drift::Computed { .. }, ..) => Cure {
                then: self.read_again("bronze keeps the values that it computed; where the source has others"),
                ..Cure::of(drift, vec![format!("{alter} alter column {name} drop expression;")])
            },
            (Drift::MissingInSource { column, required }, ..) => {
                Cure { then: Some(about_lost(column, *required, bronze)), ..Cure::of(drift, Vec::new()) }
            }
            _ => Cure::of(drift, Vec::new()),
        }
    }

    fn added(&self, drift: &Drift, column: &Column, bronze: &TableSchema) -> Cure {
        let mut cure = Cure { safe: true, ..Cure::of(drift, self.add_column(&bronze.table, column, None)) };
        cure.first = self.made(&column.type_name, bronze);
        // A snapshot brings all rows anew; the copies of an scd table are from before the column.
        if self.mode != Mode::Incremental {
            return cure;
        }
        if self.added.contains(&column.name) {
            cure.then =
                Some(format!("`{}` is a column that dwh adds: rows that are there have NULL in it", column.name));
            return cure;
        }
        match OldRows::of(column) {
            OldRows::Value(value) => {
                cure.statements = self.add_column(&bronze.table, column, Some(value));
                cure.pinned = !is_plain(&column.type_name);
                cure.then = self.read_again(
                    "rows that are there get the value that the source gave them; where they got another one since",
                );
            }
            OldRows::Null => {
                cure.then = self
                    .read_again("rows that are there have NULL, as the source gave them; where they got a value since");
            }
            OldRows::Unknown => {
                cure.old_rows_differ = true;
                cure.then = Some(format!(
                    "then `{}`: each row at the source may have a value of its own there, and those in bronze have NULL",
                    self.reseed()
                ));
            }
        }
        cure
    }

    /// A virtual column cannot become a plain one: what it computes is stored in another, which takes its name.
    fn stored(&self, drift: &Drift, there: &Column, bronze: &TableSchema) -> Cure {
        let (table, name) = (home(bronze, &there.name), quote_ident(&there.name));
        let names: Vec<&str> = bronze.columns.iter().map(|column| column.name.as_str()).collect();
        let stored = quote_ident(&free(&there.name, &names));
        let statements = vec![
            format!("alter table {table} add column {stored} {};", there.type_name),
            format!("update {table} set {stored} = {name};"),
            format!("alter table {table} drop column {name};"),
            format!("alter table {table} rename column {stored} to {name};"),
        ];
        let then = self.read_again("bronze keeps the values that it computed; where the source has others");
        Cure { then, pinned: true, ..Cure::of(drift, statements) }
    }

    fn retyped(&self, drift: &Drift, column: &Column, there: &Column, bronze: &TableSchema) -> Cure {
        let alter = format!("alter table {}", home(bronze, &column.name));
        let (name, from, to) = (quote_ident(&column.name), &there.type_name, &column.type_name);
        let conversion = convert(&name, from, to).filter(|_| !there.partition_key);
        let Some(conversion) = conversion else { return self.put_aside(drift, column, bronze) };
        let using = conversion.using.map(|using| format!(" using {using}")).unwrap_or_default();
        let mut statements = vec![format!("{alter} alter column {name} type {to}{using};")];
        if there.default.is_some() {
            statements.insert(0, format!("{alter} alter column {name} drop default;"));
        }
        let mut cure = Cure { pinned: conversion.pinned, ..Cure::of(drift, statements) };
        cure.first = self.made(to, bronze);
        if !there.dependents.is_empty() {
            cure.first = Some(held(&column.name, &there.dependents));
        }
        cure.safe = widens(from, to) && there.dependents.is_empty() && there.default.is_none();
        let mut then = Vec::new();
        if keeps_all(to, from) && from.schema().is_none() && self.columns.iter().any(|own| own.name == column.name) {
            then.extend(self.kept(column, from));
        }
        then.extend(
            self.read_again("the source may have converted its rows in another way; where it did")
                .filter(|_| !cure.safe),
        );
        cure.then = (!then.is_empty()).then(|| then.join("\n"));
        cure
    }

    /// The word in the configuration that keeps bronze's type, which holds every value of the source's.
    fn kept(&self, column: &Column, bronze_type: &TypeName) -> Option<String> {
        let value = format!("t.{}", quote_ident(&column.name));
        let conversion = convert(&value, &column.type_name, bronze_type)?;
        let expression = match conversion.using {
            Some(using) if using.ends_with(bronze_type.as_str()) => using,
            Some(using) => format!("({using})::{bronze_type}"),
            None => format!("{value}::{bronze_type}"),
        };
        let key = |text: &str| serde_json::Value::from(text).to_string();
        Some(format!(
            "or keep the type of bronze, under the table in dwh.toml: select = {{ {} = {} }}",
            key(&column.name),
            key(&expression)
        ))
    }

    /// No value of the old type is one of the new: both are kept, side by side.
    fn put_aside(&self, drift: &Drift, column: &Column, bronze: &TableSchema) -> Cure {
        let (table, kind) = (home(bronze, &column.name), &column.type_name);
        let mut cure = Cure::of(drift, Vec::new());
        let divides = bronze.column(&column.name).is_some_and(|there| there.partition_key);
        if divides || bronze.keys.iter().any(|key| key.columns.contains(&column.name)) {
            let table = bronze.table.sql();
            let why = match divides {
                true => {
                    "bronze is partitioned by it, and its type never changes (to have the new table partitioned, too, make it \
                         by hand in place of `dwh migrate`)"
                }
                false => "it is a key, and no old value has a new one",
            };
            let aside = free(&bronze.table.name, &[]);
            cure.statements = vec![format!("alter table {table} rename to {};", quote_ident(&aside))];
            let shell = word(&self.table);
            cure.then = Some(format!(
                "then `dwh migrate {shell}` and `dwh reseed {shell}`: {why}; what bronze had stays in `{aside}`"
            ));
            return cure;
        }
        let names: Vec<&str> = bronze.columns.iter().map(|column| column.name.as_str()).collect();
        let (name, aside) = (quote_ident(&column.name), free(&column.name, &names));
        let old = quote_ident(&aside);
        cure.statements = vec![
            format!("alter table {table} rename column {name} to {old};"),
            format!("alter table {table} alter column {old} drop not null;"),
            format!("alter table {table} add column {name} {kind};"),
        ];
        cure.first = self.made(&column.type_name, bronze);
        cure.old_rows_differ = self.mode == Mode::Incremental;
        cure.then = Some(match self.mode {
            Mode::Incremental => format!(
                "then `{}`, which fills the new column: no old value has one of the new type; what bronze had stays in `{aside}`",
                self.reseed()
            ),
            Mode::Snapshot => format!(
                "no old value has one of the new type; the next run fills the column, and `{aside}` is empty then"
            ),
            Mode::Scd => format!("no old value has one of the new type; what bronze had stays in `{aside}`"),
            Mode::Files => format!(
                "then `dwh files reprocess '**' --table {}`, which fills the new column; what bronze had stays in `{aside}`",
                word(&self.table)
            ),
        });
        cure
    }

    /// How a type is made that the target may lack.
    fn made(&self, name: &TypeName, bronze: &TableSchema) -> Option<String> {
        name.schema()?;
        let parts = bronze.columns.iter().map(|column| &column.type_name);
        if definition(&bronze.types, name).is_some() || parts.into_iter().any(|other| other.object() == name.object()) {
            return None;
        }
        let made = match definition(&self.types, name).map(|def| &def.kind) {
            Some(TypeKind::Extension { extension }) => {
                format!("in the target, as a superuser: create extension if not exists {};", quote_ident(extension))
            }
            Some(TypeKind::Base) | None => missing_extension_hint(name.name()),
            Some(_) => format!("`dwh migrate {}` makes it", word(&self.table)),
        };
        Some(format!("if the target has no type `{name}`: {made}"))
    }

    /// What is told of rows that may have changed at the source where no run sees it.
    fn read_again(&self, when: &str) -> Option<String> {
        (self.mode == Mode::Incremental).then(|| {
            format!("({when}: `dwh verify {}` tells, and `{}` reads them again)", word(&self.table), self.reseed())
        })
    }

    /// The command that reads every row again and overwrites what bronze has.
    pub(crate) fn reseed(&self) -> String {
        let replace = if self.on_conflict == OnConflict::Nothing { "--replace " } else { "" };
        format!("dwh reseed {replace}{}", word(&self.table))
    }

    /// Everything that there is to do about these differences, line by line.
    pub(crate) fn remedies(&self, found: &[Drift], bronze: &TableSchema) -> String {
        let asked = |name: &String| found.iter().any(|drift| drift.column() == name);
        let names = self.missing.renamed.iter().filter(|(old, new)| asked(old) || asked(new));
        let mut lines: Vec<String> = names.map(|(old, new)| renamed(old, new, bronze)).collect();
        if !lines.is_empty() {
            lines.push("if it is not:".to_owned());
        }
        let (sql, words): (Vec<Cure>, Vec<Cure>) =
            self.cures(found, bronze).into_iter().partition(|cure| !cure.statements.is_empty());
        sql.iter().for_each(|cure| lines.extend(cure.lines()));
        if !sql.is_empty() {
            lines.push(self.otherwise().to_owned());
        }
        words.iter().for_each(|cure| lines.extend(cure.lines()));
        lines.join("\n")
    }
}

impl LoadPlan {
    const fn otherwise(&self) -> &'static str {
        match self.mode {
            Mode::Files => "or let `[table.columns]` name no other columns and types than bronze has",
            _ => "or map the column in `[table.select]`, or `exclude` it",
        }
    }
}

/// The table at which a column of bronze is changed: where it comes from, if it is inherited.
fn home(bronze: &TableSchema, column: &str) -> String {
    match bronze.column(column).map(|there| &there.inherited[..]) {
        Some([home]) => home.clone(),
        _ => bronze.table.sql(),
    }
}

/// Types whose literal is read in the same way under all settings.
fn is_plain(name: &TypeName) -> bool {
    name.schema().is_none()
        && !matches!(name.name(), "money" | "interval" | "xml" | "time")
        && !name.bare().ends_with("[]")
}

fn renamed(old: &str, new: &str, bronze: &TableSchema) -> String {
    format!(
        "if `{new}` is `{old}` under a new name (it stands in its place, and has its type):\nin the target: alter table {} \
         rename column {} to {};",
        home(bronze, old),
        quote_ident(old),
        quote_ident(new)
    )
}

/// The server refuses another type for a column that something else was made of.
fn held(column: &str, dependents: &[String]) -> String {
    let mut words = Vec::new();
    let is_view = |what: &String| ["view ", "materialized view "].iter().any(|word| what.starts_with(word));
    let by_models = if dependents.iter().any(is_view) { " (a model by `dwh models run`)" } else { "" };
    for dependent in dependents {
        let view = dependent.strip_prefix("view ").or_else(|| dependent.strip_prefix("materialized view "));
        words.push(match view {
            Some(name) => {
                let literal = quote_literal(name);
                format!("{dependent} (keep what this prints: select pg_catalog.pg_get_viewdef({literal}::pg_catalog.regclass);)")
            }
            None => dependent.clone(),
        });
    }
    format!(
        "first drop what was made of `{column}`, for the server keeps its type as long as it is there, and make it again \
         afterwards{by_models}: {}",
        words.join(", ")
    )
}

fn about_lost(column: &str, required: bool, bronze: &TableSchema) -> String {
    let (table, name) = (home(bronze, column), quote_ident(column));
    let required = if required {
        format!("\nand in the target: alter table {table} alter column {name} drop not null;")
    } else {
        String::new()
    };
    let drop = if bronze.column(column).is_some_and(|there| there.partition_key) {
        "\n(it cannot be dropped: bronze is partitioned by it)".to_owned()
    } else {
        format!("\nor in the target: alter table {table} drop column {name}; -- (this deletes what bronze has in it)")
    };
    format!(
        "`{column}`: say `on_missing_column = \"keep\"` of the table (bronze keeps its values, in a snapshot by `key`; new \
         rows have none), or `\"null\"` (a snapshot then loses its values){required}{drop}"
    )
}

/// A name for what is put aside, which nothing has yet.
fn free(name: &str, taken: &[&str]) -> String {
    // A name has 63 bytes.
    let stem: String = name
        .chars()
        .scan(0, |bytes, letter| {
            *bytes += letter.len_utf8();
            (*bytes <= 50).then_some(letter)
        })
        .collect();
    let first = format!("{stem}_before");
    if !taken.contains(&first.as_str()) {
        return first;
    }
    (2..).map(|number| format!("{stem}_before_{number}")).find(|name| !taken.contains(&name.as_str())).unwrap_or(first)
}

/// A name as one word of a command.
fn word(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
    if plain { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Missing;
    use crate::plan::Plan;
    use crate::plan::tests::{column as required, schema, table};

    fn column(name: &str, kind: &str) -> Column {
        Column::new(name, kind.parse().expect("a type"))
    }

    fn told(source: Vec<Column>, there: Vec<Column>, missing: Missing) -> String {
        let ends = || vec![required("id", "bigint"), required("at", "timestamp with time zone")];
        let mut load = Plan::new(&table(), schema([ends(), source].concat())).expect("a plan").load(false);
        load.missing = missing;
        let bronze = schema([ends(), there].concat());
        load.remedies(&load.drift(&bronze), &bronze)
    }

    #[test]
    fn no_remedy_deletes_without_saying_so() {
        let must = Column { not_null: true, ..column("must", "text") };
        let missing = Missing { refused: vec![column("gone", "text"), must.clone()], ..Missing::default() };
        let told = told(Vec::new(), vec![column("gone", "text"), must], missing);
        assert_eq!(told.matches("on_missing_column = \"keep\"").count(), 2, "{told}");
        let drops: Vec<&str> = told.lines().filter(|line| line.contains("drop column")).collect();
        assert_eq!(drops.len(), 2, "{told}");
        assert!(drops.iter().all(|line| line.ends_with("-- (this deletes what bronze has in it)")), "{told}");
        assert_eq!(told.matches("drop not null").count(), 1, "{told}");
    }

    #[test]
    fn a_plain_statement_stands_alone_and_a_type_that_may_lack_says_how_it_is_made() {
        let plain = Column { number: Some(3), ..column("n", "integer") };
        let told_plain = told(vec![plain], Vec::new(), Missing::default());
        let sql = "in the target: alter table \"public\".\"Trips\" add column \"n\" integer;";
        assert_eq!(told_plain.lines().next(), Some(sql));
        let mood = told(vec![column("m", "app.mood")], Vec::new(), Missing::default());
        assert!(mood.starts_with("if the target has no type `app.mood`: "), "{mood}");
        assert!(mood.contains("add column \"m\" app.mood;"), "{mood}");
    }

    #[test]
    fn a_virtual_column_is_replaced_and_one_that_is_inherited_changes_where_it_comes_from() {
        let there = Column { generated: true, is_virtual: true, ..column("n", "integer") };
        let told_virtual = told(vec![column("n", "integer")], vec![there], Missing::default());
        let sql = told_virtual.lines().find(|line| line.starts_with("in the target: ")).expect("a statement");
        assert!(!sql.contains("drop expression") && sql.starts_with("in the target: begin; "), "{sql}");
        assert!(sql.contains("set \"n_before\" = \"n\";"), "{sql}");
        assert!(sql.contains("rename column \"n_before\" to \"n\";"), "{sql}");
        let from = |homes: &[&str]| {
            let inherited = homes.iter().map(ToString::to_string).collect();
            let there = Column { inherited, ..column("n", "integer") };
            told(vec![column("n", "bigint")], vec![there], Missing::default())
        };
        let one = from(&["app.above"]);
        assert!(one.contains("in the target: alter table app.above alter column \"n\" type bigint;"), "{one}");
        let two = from(&["app.above", "app.beside"]);
        assert!(!two.contains("alter table") && two.contains("app.above, app.beside"), "{two}");
    }

    #[test]
    fn a_name_for_what_is_put_aside_is_free_and_short() {
        assert_eq!(free("n", &["n"]), "n_before");
        assert_eq!(free("n", &["n", "n_before"]), "n_before_2");
        assert!(free(&"\u{fc}".repeat(31), &[]).len() <= 63);
    }
}
