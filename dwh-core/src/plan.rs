//! The plan of a table: everything decided before anything moves, and every SQL text of it.

mod added;
mod carried;
mod chunk;
mod compare;
mod convert;
mod ddl;
mod definitions;
mod deletes;
mod design;
mod equality;
mod extract;
mod former_key;
mod load;
mod loaded_at;
mod missing;
mod model;
mod remedy;
mod replace;
mod session;
mod straight;
mod swap;
mod versions;

use serde::Serialize;

use crate::config::{Mode, OnConflict, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Column, RelationKind, TableSchema, TypeDef, needed};
use crate::watermark::WatermarkKind;

pub(crate) use carried::why_uncarried;
pub(crate) use compare::{Compared, Cut, End, Hash, NO_BUCKET, bucket_span};
pub(crate) use ddl::{anonymous, plain_ddl, renamed, type_ddl, unresolved};
pub use ddl::{bronze_ddl, missing_extension_hint};
pub use deletes::KeysOf;
pub(crate) use design::{Design, Remarks, design_file, design_text};
pub(crate) use equality::Equality;
pub(crate) use extract::{Extent, ReadBy, first_number, from_sql};
pub use load::LoadPlan;
pub use missing::Missing;
pub(crate) use model::ModelPlan;
pub(crate) use remedy::Cure;
pub(crate) use replace::EXTRA;
pub use replace::Stamp;
pub use session::{Isolation, opening, opening_query};
pub(crate) use session::{not_in_force, patience};
pub(crate) use straight::{BACK, SAVEPOINT};
pub(crate) use swap::Swap;

pub use crate::config::{DELETED_AT, LOADED_AT, RUN_ID, TASK_INSTANCE, UPLOADED_AT};

/// One column of the CSV: what it is called in bronze, and the expression that delivers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanColumn {
    /// The column as bronze must have it.
    #[serde(flatten)]
    pub column: Column,
    /// SQL over the source row (alias `t`).
    pub expression: String,
}

/// Everything decided about one table before anything moves.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the user wrote.
    pub table: TableConfig,
    /// What the source's catalog says.
    pub source: TableSchema,
    /// The columns of the CSV, in order.
    pub columns: Vec<PlanColumn>,
    /// What the watermark column is; `None` for tables that are read whole.
    pub watermark: Option<WatermarkKind>,
    /// Whether an index makes a range of the watermark column cheap.
    pub watermark_indexed: bool,
    /// Whether the watermark column may be NULL.
    pub watermark_nullable: bool,
    /// Columns that bronze lacks and that a run adds to it first, because the configuration says so and nothing else differs;
    /// with the names that their types have in bronze's database.
    pub waiting: Vec<Column>,
    /// Columns of bronze that loads brought before and that the source has lost.
    pub missing: Missing,
}

impl Plan {
    /// The plan of `table` over what its source's catalog says.
    ///
    /// # Errors
    /// `Contract` or `Config` if a configured column is missing, the watermark column cannot serve, or the key is not
    /// there.
    pub fn new(table: &TableConfig, source: TableSchema) -> Result<Self> {
        let fail = |kind: ErrorKind, text: String, hint: String| {
            Error::new(kind, format!("table `{}`: {text}", table.name)).with_hint(hint)
        };
        for name in &table.exclude {
            if source.column(name).is_none() {
                return Err(fail(
                    ErrorKind::Config,
                    format!("`exclude` names `{name}`, which is no column of {}", source.table),
                    names_hint(&source),
                ));
            }
        }
        let of_metadata = table.added().into_iter().chain(table.loaded_at.then_some(LOADED_AT));
        if let Some(name) = of_metadata.into_iter().find(|name| is_copied(table, &source, name)) {
            let hint = match table.mode {
                Mode::Files => "take it out of `metadata`, or give the column another name in `[table.columns]`",
                _ => "leave it out with `exclude`, or give it another name in `select`",
            };
            return Err(fail(
                ErrorKind::Contract,
                format!("{} has a column `{name}`, which is the name of one that dwh adds", source.table),
                hint.into(),
            ));
        }
        if table.marks_deleted() && is_copied(table, &source, DELETED_AT) {
            return Err(fail(
                ErrorKind::Contract,
                format!("{} has a column `{DELETED_AT}`, which is the name of the mark of deleted rows", source.table),
                "leave it out with `exclude`, give it another name in `select`, or say `deletes = \"remove\"`".into(),
            ));
        }
        if let Some(name) = table.columns.iter().flatten().find(|name| source.column(name).is_none()) {
            let (text, hint) = (format!("column `{name}` is not in {}", source.table), names_hint(&source));
            return Err(fail(ErrorKind::Config, text, hint));
        }
        let columns = extract::columns(table, &source);
        if columns.is_empty() {
            return Err(fail(
                ErrorKind::Config,
                "no column is left to copy".into(),
                "take some out of `exclude`".into(),
            ));
        }
        for name in &table.key {
            if !columns.iter().any(|column| column.column.name == *name) {
                let (what, hint) = match source.column(name) {
                    Some(_) => ("`exclude` leaves out", "take it out of `exclude`, or name other columns".to_owned()),
                    None => ("is not there", names_hint(&source)),
                };
                return Err(fail(ErrorKind::Config, format!("`key` names `{name}`, which {what}"), hint));
            }
        }
        carried::refuse_uncarried(table, &columns, &source.types)?;
        let mut plan = Self {
            table: table.clone(),
            source,
            columns,
            watermark: None,
            watermark_indexed: false,
            watermark_nullable: false,
            waiting: Vec::new(),
            missing: Missing::default(),
        };
        if table.mode == Mode::Incremental {
            plan.set_watermark()?;
        }
        Ok(plan)
    }

    fn set_watermark(&mut self) -> Result<()> {
        let name = self.watermark_column()?.to_owned();
        let column = self.source.column(&name).ok_or_else(|| {
            self.fail(ErrorKind::Config, format!("watermark column `{name}` is not in {}", self.source.table))
                .with_hint(names_hint(&self.source))
        })?;
        self.watermark = Some(self.watermark_kind(column)?);
        self.watermark_nullable = !column.not_null;
        self.watermark_indexed = self.source.indexed.contains(&name);
        Ok(())
    }

    /// The watermark column's name.
    ///
    /// # Errors
    /// `Config` if none is configured.
    pub fn watermark_column(&self) -> Result<&str> {
        self.table.watermark.as_deref().ok_or_else(|| {
            self.fail(ErrorKind::Config, "mode `incremental` needs a `watermark` column".to_owned())
                .with_hint("name the column that holds the time of insertion into the source, such as `recorded_at`")
        })
    }

    fn watermark_kind(&self, column: &Column) -> Result<WatermarkKind> {
        let type_name = column.bare_type();
        let precision = type_name
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .and_then(|(digits, _)| digits.parse().ok())
            .unwrap_or(6);
        let zoned = |make: fn(jiff::tz::TimeZone, u8) -> WatermarkKind| {
            self.table.watermark_zone.clone().map(|zone| make(zone, precision)).ok_or_else(|| {
                self.fail(
                    ErrorKind::Config,
                    format!("watermark column `{}` is `{type_name}`, which has no time zone", column.name),
                )
                .with_hint("say `watermark_timezone = \"…\"`, the zone in which the writers' sessions run (`show timezone` there)")
            })
        };
        match type_name {
            t if t.starts_with("timestamp") && t.ends_with("with time zone") => {
                Ok(WatermarkKind::TimestampTz { precision })
            }
            t if t.starts_with("timestamp") => zoned(|zone, precision| WatermarkKind::Timestamp { precision, zone }),
            "date" => zoned(|zone, _| WatermarkKind::Date { zone }),
            "smallint" | "integer" | "bigint" if self.source.kind.has_xmin() && self.table.late_window.0 > 0 => {
                Ok(WatermarkKind::Number)
            }
            "smallint" | "integer" | "bigint" => Err(self
                .fail(
                    ErrorKind::Contract,
                    format!(
                        "watermark column `{}` is a number, and numbers are committed out of order: without the transactions \
                         that wrote the rows, or with `late_window = \"0\"`, some would be lost",
                        column.name
                    ),
                )
                .with_hint("read a table itself, not a view or a query over it; or take a column of type timestamptz")),
            other => Err(self
                .fail(ErrorKind::Config, format!("watermark column `{}` is `{other}`, not a time", column.name))
                .with_hint(
                    "take a column of type timestamptz, timestamp or date, or a whole number that only grows; or use mode \
                     `snapshot`",
                )),
        }
    }

    fn fail(&self, kind: ErrorKind, text: String) -> Error {
        Error::new(kind, format!("table `{}`: {text}", self.table.name))
    }

    /// The columns as bronze must have them.
    #[must_use]
    pub fn delivered(&self) -> Vec<Column> {
        self.columns.iter().map(|column| column.column.clone()).collect()
    }

    /// The definitions of the types that the columns need, each behind those that it is made of.
    #[must_use]
    pub fn types(&self) -> Vec<TypeDef> {
        needed(self.columns.iter().map(|column| &column.column.type_name), &self.source.types)
    }

    /// Judges bronze against what will be delivered: columns, types and what they are made of, and the key behind
    /// `ON CONFLICT`. A column that a run adds first is no difference.
    ///
    /// # Errors
    /// `NotFound` if bronze has no such table; `Drift` with every difference and the statement that mends it;
    /// `Contract` if no usable unique key backs the configured one.
    pub fn check_bronze(&self, bronze: Option<&TableSchema>) -> Result<()> {
        let load = self.load(false);
        load.check_columns(bronze)?;
        bronze.map_or(Ok(()), |bronze| load.check_definitions(bronze))
    }

    /// Whether the late-row sweep can be done: rows have `xmin`, and it is switched on.
    #[must_use]
    pub fn can_sweep(&self) -> bool {
        self.watermark.is_some() && self.table.late_window.0 > 0 && self.source.kind.has_xmin()
    }

    /// How the CSV of this plan is loaded. `older`: bronze may hold rows of a newer snapshot.
    #[must_use]
    pub fn load(&self, older: bool) -> LoadPlan {
        LoadPlan {
            table: self.table.name.clone(),
            target: self.table.target.clone(),
            mode: self.table.mode,
            columns: self.delivered(),
            types: self.types(),
            key: self.table.key.clone(),
            on_conflict: self.table.on_conflict,
            allow_empty: self.table.allow_empty,
            replace: self.table.replace,
            deletes: self.table.deletes,
            keys: None,
            missing: self.missing.clone(),
            file: None,
            waiting: self.waiting.clone(),
            filled: Vec::new(),
            older,
            replaced: None,
            overruled: Vec::new(),
            former_keys: Vec::new(),
            stamp: Stamp::of(&self.table),
            added: self.table.added().into_iter().map(str::to_owned).collect(),
            stamped: self.table.loaded_at,
            apart: false,
        }
    }

    /// Whether the source is read whole and cannot be locked or swept as a table.
    #[must_use]
    pub fn is_query(&self) -> bool {
        self.source.kind == RelationKind::Query
    }

    /// Whether newer rows replace older ones.
    #[must_use]
    pub fn updates(&self) -> bool {
        self.table.on_conflict == OnConflict::Update
    }
}

/// Whether a column of the source goes into bronze under this name.
fn is_copied(table: &TableConfig, source: &TableSchema, name: &str) -> bool {
    let wanted = |name: &str| table.columns.as_ref().is_none_or(|columns| columns.iter().any(|column| column == name));
    source.column(name).is_some() && wanted(name) && !table.exclude.iter().any(|column| column == name)
}

fn names_hint(source: &TableSchema) -> String {
    let names: Vec<&str> = source.columns.iter().map(|column| column.name.as_str()).collect();
    format!("its columns are: {}", names.join(", "))
}

#[cfg(test)]
mod tests;
