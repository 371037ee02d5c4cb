//! The SQL that reads the source.

use sha2::{Digest, Sha256};

use crate::chain::Part;
use crate::config::{GeometryForm, TableConfig};
use crate::dialect::hex;
use crate::plan::{Plan, PlanColumn, RUN_ID, TASK_INSTANCE, UPLOADED_AT};
use crate::run::RunId;
use crate::schema::{Column, TableRef, TableSchema, TypeName, quote_ident, quote_literal};
use crate::watermark::{Sweep, Timestamp, WatermarkKind};

/// The columns of the CSV: those of the table that are not excluded, with `select` applied, then the additional ones of
/// `select` (a source describes both with the types of their expressions), or exactly those that are configured; then
/// those that are added.
///
/// What the source computes is delivered as a plain value.
pub(super) fn columns(table: &TableConfig, source: &TableSchema) -> Vec<PlanColumn> {
    // No row under a NULL is ever found again, so bronze refuses it, also where the source cannot promise it (a view).
    let keyed = |name: &String| table.mode.is_keyed() && table.key.contains(name);
    let listed: Vec<&Column> = match &table.columns {
        Some(names) => names.iter().filter_map(|name| source.column(name)).collect(),
        None => source.columns.iter().collect(),
    };
    let mut columns: Vec<PlanColumn> = listed
        .into_iter()
        .filter(|column| !table.exclude.contains(&column.name))
        .map(|column| {
            let expression = match table.select.get(&column.name) {
                Some(expression) => format!("({expression}\n)"),
                None => expression(column, table.geometry),
            };
            let not_null = column.not_null || keyed(&column.name);
            let column = Column { not_null, generated: false, ..column.clone() };
            PlanColumn { column, expression }
        })
        .collect();
    columns.extend(table.added().into_iter().map(|name| {
        let (type_name, not_null) = match name {
            UPLOADED_AT => (TypeName::timestamptz(), true),
            RUN_ID => (TypeName::bigint(), false),
            _ => (TypeName::text(), false),
        };
        let column = Column { not_null, ..Column::new(name, type_name) };
        PlanColumn { column, expression: name.to_owned() }
    }));
    columns
}

fn expression(column: &Column, form: GeometryForm) -> String {
    let name = format!("t.{}", quote_ident(&column.name));
    if !column.geometry || form == GeometryForm::Ewkb {
        return name;
    }
    // The functions live in the schema of the type. A domain has a schema of its own that says nothing of theirs: it
    // goes as hex, which bronze reads as well.
    if !matches!(column.type_name.name(), "geometry" | "geography") {
        return name;
    }
    // 30 decimals, not the default 15, which moves 5 to 8 % of points; the text is never longer than it must be.
    let schema = column.type_name.schema().map(|schema| format!("{schema}.")).unwrap_or_default();
    format!("{schema}st_asewkt({name}, 30)")
}

/// `FROM` of every read: the relation or the query, under the alias `t`, and the condition that all its rows meet: as a
/// join with one row of no column it leaves all system columns to be read, and every index to be used.
///
/// The line break ends a comment at the end of the query.
pub(crate) fn from_sql(table: &TableConfig) -> String {
    let from = unfiltered(table);
    match &table.filter {
        Some(filter) => format!("{from} join (select) as dwh_filter on ({filter}\n)"),
        None => from,
    }
}

fn unfiltered(table: &TableConfig) -> String {
    match (&table.query, &table.relation) {
        (Some(query), _) => format!("({}\n) as t", query.trim().trim_end_matches(';')),
        (None, Some(relation)) => format!("{} as t", relation.sql()),
        (None, None) => format!("{} as t", quote_ident(&table.name)),
    }
}

/// Which run reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadBy {
    /// When it began.
    pub(crate) run_started_at: Timestamp,
    /// Its number; `None`: no run of the log.
    pub(crate) run_id: Option<RunId>,
}

/// What one read covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent<'a> {
    /// Exclusive; `NEG_INFINITY`: from the first row on.
    pub(crate) low: Timestamp,
    /// Inclusive.
    pub(crate) high: Timestamp,
    /// What is read below `low`.
    pub(crate) sweep: Sweep,
    /// Whether the sweep reads rows stamped `-infinity` too, however short it looks back.
    pub(crate) ancient: bool,
    /// Numbers of partitions and children that are read from their beginning.
    pub(crate) whole: &'a [u32],
    /// The part of that, for a run of a resync.
    pub(crate) part: Option<&'a Part>,
}

impl Plan {
    /// `COPY` of the rows between `low` (exclusive) and `high` (inclusive), with the late ones below.
    ///
    /// An order is asked for only where an index gives it: a sort of history would fill the source's disk.
    #[must_use]
    pub fn copy_out(&self, low: Timestamp, high: Timestamp, sweep: Sweep, run_started_at: Timestamp) -> String {
        format!("copy ({}) to stdout (format csv, header)", self.select(low, high, sweep, run_started_at))
    }

    /// The expressions that are read, with the names that they get; `added` has the values of the columns that are added.
    fn select_list(&self, added: impl Fn(&str) -> Option<String>) -> String {
        let list: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let expression = added(&column.expression).unwrap_or_else(|| column.expression.clone());
                format!("{expression} as {}", quote_ident(&column.column.name))
            })
            .collect();
        list.join(", ")
    }

    /// The value of a column that is added.
    fn added_value(&self, expression: &str, by: ReadBy) -> Option<String> {
        match expression {
            UPLOADED_AT => Some(instant(by.run_started_at)),
            RUN_ID => {
                let id = by.run_id.map_or_else(|| "null".to_owned(), |RunId(id)| id.to_string());
                Some(format!("{id}::pg_catalog.int8"))
            }
            TASK_INSTANCE => {
                let name = self.table.task_instance.as_deref().filter(|name| !name.is_empty());
                Some(name.map_or_else(|| "null::text".to_owned(), |name| format!("{}::text", quote_literal(name))))
            }
            _ => None,
        }
    }

    /// SHA-256 of what is read, whatever the rows: rows that were read by another plan may look different.
    #[must_use]
    pub fn sha256(&self) -> String {
        let text = format!("select {} from {}", self.select_list(|_| None), from_sql(&self.table));
        hex(&Sha256::digest(text))
    }

    /// The `SELECT` inside [`Plan::copy_out`].
    #[must_use]
    pub fn select(&self, low: Timestamp, high: Timestamp, sweep: Sweep, run_started_at: Timestamp) -> String {
        let extent = Extent { low, high, sweep, ancient: false, whole: &[], part: None };
        self.select_extent(&extent, ReadBy { run_started_at, run_id: None })
    }

    /// The same with partitions and children that are read from their beginning.
    pub(crate) fn select_extent(&self, extent: &Extent<'_>, by: ReadBy) -> String {
        let list = self.select_list(|expression| self.added_value(expression, by));
        let mut sql = format!("select {list} from {}", from_sql(&self.table));
        if let Some((column, kind)) = self.watermark_sql() {
            let mut conditions = vec![range(&column, kind, extent)];
            conditions.extend(extent.part.map(|part| self.part_sql(part)));
            conditions.retain(|condition| !condition.is_empty());
            if !conditions.is_empty() {
                sql.push_str(" where ");
                sql.push_str(&conditions.join(" and "));
            }
            // The rows of a chunk come by their keys.
            if self.watermark_indexed && extent.part.is_none() {
                sql.push_str(" order by ");
                sql.push_str(&column);
            }
        }
        sql
    }

    /// Whether a window above `low` has a row, where it pays to ask first: a COPY has the server load PostGIS before it looks
    /// for the first geometry, and that takes longer than anything else of a run that finds nothing. An index answers, and
    /// below the window nothing may be read.
    pub(crate) fn any_new(&self, extent: &Extent<'_>) -> Option<String> {
        let (column, kind) = self.watermark_sql()?;
        let window_alone = extent.low.is_finite() && extent.sweep == Sweep::Off && extent.whole.is_empty();
        let prints_geometry = self.columns.iter().any(|column| column.column.geometry);
        let quick = self.watermark_indexed && self.table.filter.is_none() && extent.part.is_none();
        let asked = window_alone && prints_geometry && quick;
        let rows = format!("select from {} where {}", from_sql(&self.table), range(&column, kind, extent));
        asked.then(|| format!("select exists ({rows})"))
    }

    /// A `SELECT` of the same columns, without a type, that has no row.
    pub(crate) fn select_none(&self) -> String {
        let names = self.columns.iter().map(|column| format!("null as {}", quote_ident(&column.column.name)));
        format!("select {} limit 0", names.collect::<Vec<_>>().join(", "))
    }

    /// Counts the rows below the window that are read with it.
    pub(crate) fn count_late(&self, extent: &Extent<'_>) -> Option<String> {
        let (column, kind) = self.watermark_sql()?;
        let late = late(&column, kind, extent)?;
        Some(format!("select count(*) from {} where {late}", from_sql(&self.table)))
    }

    /// Whether the sweep would find a row stamped `-infinity`: it lies before every moment, so no window after the first
    /// reaches it. Asked before, because an OR over the column would cost the rows their order by the index.
    pub(crate) fn any_ancient(&self, sweep: Sweep) -> Option<String> {
        let (column, kind) = self.watermark_sql()?;
        if *kind == WatermarkKind::Number {
            return None;
        }
        let young = match sweep {
            Sweep::Xmin { since, back_to } if back_to.is_finite() => format!(" and {}", young(since)),
            Sweep::LookBack { back_to } if back_to.is_finite() => String::new(),
            _ => return None,
        };
        let from = from_sql(&self.table);
        Some(format!("select exists (select from {from} where {column} = '-infinity'{young})"))
    }

    /// Whether one partition or child, itself, has a row at or below `low`.
    pub(crate) fn any_at_or_below(&self, table: &TableRef, low: Timestamp) -> Option<String> {
        let (column, kind) = self.watermark_sql()?;
        let from = table.sql();
        Some(format!("select exists (select from only {from} as t where {column} <= {})", bound(kind, low)))
    }

    /// The smallest watermark value above `low`, as `timestamptz`.
    #[must_use]
    pub fn earliest(&self, low: Timestamp) -> Option<String> {
        let (column, kind) = self.watermark_sql()?;
        let value = moment(&format!("min({column})"), kind);
        Some(format!("select {value} from {} where {}", from_sql(&self.table), above(&column, kind, low)))
    }

    /// The numbers of [`Self::count_unreachable`] and the value of [`Self::earliest`] in one row. An index on the column
    /// answers each; a table without one is read once for them, not twice.
    pub(crate) fn unreachable_and_earliest(&self, low: Timestamp) -> Option<String> {
        if self.watermark_indexed {
            return Some(format!("select * from ({}) u, ({}) e", self.count_unreachable()?, self.earliest(low)?));
        }
        let (column, kind) = self.watermark_sql()?;
        let value = moment(&format!("min({column}) filter (where {})", above(&column, kind, low)), kind);
        Some(format!(
            "select count(*) filter (where {column} is null), count(*) filter (where {}), {value} from {}",
            endless(&column, kind),
            from_sql(&self.table)
        ))
    }

    /// The largest finite watermark value, as `timestamptz`.
    pub(crate) fn latest(&self) -> Option<String> {
        let (column, kind) = self.watermark_sql()?;
        let value = moment(&format!("max({column})"), kind);
        let ends = if *kind == WatermarkKind::Number { "is not null" } else { "< 'infinity'" };
        Some(format!("select {value} from {} where {column} {ends}", from_sql(&self.table)))
    }

    /// Whether any watermark is NULL, and whether any is plus infinity: an index, or the first such row, answers.
    pub(crate) fn any_unreachable(&self) -> Option<String> {
        let (column, kind) = self.watermark_sql()?;
        let any =
            |condition: &str| format!("exists (select from {} where {column} {condition})", from_sql(&self.table));
        // No number is infinite.
        let endless = if *kind == WatermarkKind::Number { "false".to_owned() } else { any("= 'infinity'") };
        Some(format!("select {}, {endless}", any("is null")))
    }

    /// Counts the rows that no window could contain: watermark NULL or plus infinity.
    #[must_use]
    pub fn count_unreachable(&self) -> Option<String> {
        let (column, kind) = self.watermark_sql()?;
        let endless = endless(&column, kind);
        Some(format!(
            "select count(*) filter (where {column} is null), count(*) filter (where {endless}) \
             from {} where {column} is null or {endless}",
            from_sql(&self.table)
        ))
    }

    fn watermark_sql(&self) -> Option<(String, &WatermarkKind)> {
        let column = self.table.watermark.as_ref()?;
        Some((format!("t.{}", quote_ident(column)), self.watermark.as_ref()?))
    }
}

/// The condition of rows above `low`; none of a watermark that no window reaches.
fn above(column: &str, kind: &WatermarkKind, low: Timestamp) -> String {
    if low.is_finite() {
        format!("{column} > {}", bound(kind, low))
    } else if *kind == WatermarkKind::Number {
        format!("{column} is not null")
    } else {
        format!("{column} > '-infinity'")
    }
}

/// The condition of rows whose watermark is plus infinity; no number is.
fn endless(column: &str, kind: &WatermarkKind) -> String {
    if *kind == WatermarkKind::Number { "false".to_owned() } else { format!("{column} = 'infinity'") }
}

/// The condition of one window and what is read below it; empty when nothing bounds it.
fn range(column: &str, kind: &WatermarkKind, extent: &Extent<'_>) -> String {
    let mut parts = Vec::new();
    if extent.high != Timestamp::INFINITY {
        parts.push(format!("{column} <= {}", bound(kind, extent.high)));
    }
    if extent.low.is_finite() {
        let above = format!("{column} > {}", bound(kind, extent.low));
        let mut rows = match extent.sweep {
            Sweep::Off => vec![above],
            Sweep::LookBack { back_to } => since(column, kind, back_to, extent.ancient),
            // The end of the look-back is said again outside the OR, where an index can use it.
            Sweep::Xmin { since: number, back_to } => {
                let mut rows = since(column, kind, back_to, extent.ancient);
                rows.push(format!("({above} or {})", young(number)));
                rows
            }
        };
        if !extent.whole.is_empty() && !rows.is_empty() {
            rows = vec![format!("({} or {})", rows.join(" and "), among(extent.whole))];
        }
        parts.extend(rows);
    }
    parts.join(" and ")
}

/// The condition of the rows at or below the window that are read with it.
fn late(column: &str, kind: &WatermarkKind, extent: &Extent<'_>) -> Option<String> {
    if !extent.low.is_finite() {
        return None;
    }
    let swept = match extent.sweep {
        Sweep::Off => None,
        Sweep::Xmin { since: number, back_to } => {
            let mut rows = since(column, kind, back_to, extent.ancient);
            rows.push(young(number));
            Some(rows.join(" and "))
        }
        Sweep::LookBack { back_to } => {
            let rows = since(column, kind, back_to, extent.ancient);
            Some(if rows.is_empty() { "true".to_owned() } else { rows.join(" and ") })
        }
    };
    let rows = match (swept, extent.whole) {
        (None, []) => return None,
        (Some(swept), []) => swept,
        (None, whole) => among(whole),
        (Some(swept), whole) => format!("({swept} or {})", among(whole)),
    };
    Some(format!("{column} <= {} and {rows}", bound(kind, extent.low)))
}

/// The condition of rows after `back_to`; with `ancient`, and of those stamped `-infinity`.
fn since(column: &str, kind: &WatermarkKind, back_to: Timestamp, ancient: bool) -> Vec<String> {
    let after = || format!("{column} > {}", bound(kind, back_to));
    match (back_to.is_finite(), ancient) {
        (false, _) => Vec::new(),
        (true, false) => vec![after()],
        (true, true) => vec![format!("({} or {column} = '-infinity')", after())],
    }
}

/// The condition of rows of some partitions and children.
fn among(tables: &[u32]) -> String {
    let numbers: Vec<String> = tables.iter().map(u32::to_string).collect();
    format!("t.tableoid = any ('{{{}}}'::pg_catalog.oid[])", numbers.join(","))
}

/// Row versions that transactions at or above `since` wrote.
///
/// Both ages are taken from the same counter in the same transaction, so it cancels out; an age counted from the
/// snapshot's own `xmax` would miss rows when transactions began between the two. The limit's is asked once, not for every
/// row: a quarter of the time of a sweep that finds nothing.
pub(super) fn young(since: u64) -> String {
    // The three lowest numbers are no ordinary transactions.
    let low_half = (since & 0xffff_ffff).max(3);
    format!("pg_catalog.age(t.xmin) <= (select pg_catalog.age('{low_half}'::pg_catalog.xid))")
}

/// A moment as a `timestamptz` literal.
pub(super) fn instant(at: Timestamp) -> String {
    let text = at.to_string();
    if at.is_finite() && at.in_zone(&jiff::tz::TimeZone::UTC).is_none() {
        // After the year 9999.
        return format!("('epoch'::pg_catalog.timestamptz + '{} microseconds'::pg_catalog.interval)", at.micros());
    }
    // PostgreSQL has no year 0 and no sign: 0000 is 1 BC, -000001 is 2 BC.
    let before_christ = match text.strip_prefix('-').unwrap_or(&text).split_once('-') {
        Some((year, rest)) if at.is_finite() && (text.starts_with('-') || year == "0000") => {
            year.parse::<u32>().ok().map(|year| format!("{:04}-{rest} BC", year + 1))
        }
        _ => None,
    };
    format!("'{}'::pg_catalog.timestamptz", before_christ.unwrap_or(text))
}

/// An expression over the watermark column as `timestamptz`.
fn moment(expression: &str, kind: &WatermarkKind) -> String {
    match kind {
        WatermarkKind::TimestampTz { .. } => expression.to_owned(),
        WatermarkKind::Timestamp { zone, .. } => format!("{expression} at time zone {}", zone_sql(zone)),
        WatermarkKind::Date { zone } => format!("{expression}::timestamp at time zone {}", zone_sql(zone)),
        WatermarkKind::Number => {
            format!("{} + {expression} * '1 microsecond'::pg_catalog.interval", instant(Timestamp::of_number(0)))
        }
    }
}

/// The moment from which on watermarks are numbers.
pub(crate) fn first_number() -> String {
    instant(Timestamp::BEFORE_NUMBERS)
}

/// The number of a watermark, as SQL has it; before all of them, and after.
pub(super) fn number(at: Timestamp) -> String {
    match at.number() {
        Some(number) => format!("'{number}'::bigint"),
        None if at > Timestamp::of_number(0) => format!("{}::bigint", i64::MAX),
        None => format!("'{}'::bigint", i64::MIN),
    }
}

pub(super) fn zone_sql(zone: &jiff::tz::TimeZone) -> String {
    quote_literal(zone.iana_name().unwrap_or("UTC"))
}

/// A moment in the watermark column's own type, so that an index on the bare column serves.
pub(super) fn bound(kind: &WatermarkKind, at: Timestamp) -> String {
    if *kind == WatermarkKind::Number {
        return number(at);
    }
    match kind.zone() {
        None => instant(at),
        Some(zone) => format!("({} at time zone {})", instant(at), zone_sql(zone)),
    }
}
