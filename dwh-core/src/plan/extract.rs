//! The SQL that reads the source.

use crate::config::{GeometryForm, Mode, TableConfig};
use crate::plan::{Plan, PlanColumn, UPLOADED_AT};
use crate::schema::{Column, TableSchema, TypeName, quote_ident, quote_literal};
use crate::watermark::{Sweep, Timestamp, WatermarkKind};

/// The columns of the CSV: those of the table that are not excluded, with `select` applied, then the additional ones of
/// `select` (a source describes both with the types of their expressions), then `_uploaded_at` for scd tables.
///
/// What the source computes is delivered as a plain value.
pub(super) fn columns(table: &TableConfig, source: &TableSchema) -> Vec<PlanColumn> {
    // No row under a NULL is ever found again, so bronze refuses it, also where the source cannot promise it (a view).
    let keyed = |name: &String| table.mode == Mode::Incremental && table.key.contains(name);
    let mut columns: Vec<PlanColumn> = source
        .columns
        .iter()
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
    if table.mode == Mode::Scd {
        let column = Column {
            name: UPLOADED_AT.to_owned(),
            type_name: TypeName::timestamptz(),
            not_null: true,
            generated: false,
            identity: false,
            geometry: false,
            default: None,
        };
        columns.push(PlanColumn { column, expression: UPLOADED_AT.to_owned() });
    }
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

/// `FROM` of every read: the relation or the query, under the alias `t`.
///
/// The line break ends a comment at the end of the query.
pub(crate) fn from_sql(table: &TableConfig) -> String {
    match (&table.query, &table.relation) {
        (Some(query), _) => format!("({}\n) as t", query.trim().trim_end_matches(';')),
        (None, Some(relation)) => format!("{} as t", relation.sql()),
        (None, None) => format!("{} as t", quote_ident(&table.name)),
    }
}

impl Plan {
    /// `COPY` of the rows between `low` (exclusive) and `high` (inclusive), with the late ones below.
    ///
    /// An order is asked for only where an index gives it: a sort of history would fill the source's disk.
    #[must_use]
    pub fn copy_out(&self, low: Timestamp, high: Timestamp, sweep: Sweep, run_started_at: Timestamp) -> String {
        format!("copy ({}) to stdout (format csv, header)", self.select(low, high, sweep, run_started_at))
    }

    /// The `SELECT` inside [`Plan::copy_out`].
    #[must_use]
    pub fn select(&self, low: Timestamp, high: Timestamp, sweep: Sweep, run_started_at: Timestamp) -> String {
        let list: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let expression =
                    if column.expression == UPLOADED_AT { instant(run_started_at) } else { column.expression.clone() };
                format!("{expression} as {}", quote_ident(&column.column.name))
            })
            .collect();
        let mut sql = format!("select {} from {}", list.join(", "), from_sql(&self.table));
        if let Some((column, kind)) = self.watermark_sql() {
            let conditions = range(&column, kind, low, high, sweep);
            if !conditions.is_empty() {
                sql.push_str(" where ");
                sql.push_str(&conditions);
            }
            if self.watermark_indexed {
                sql.push_str(" order by ");
                sql.push_str(&column);
            }
        }
        sql
    }

    /// Counts the rows below `low` that the sweep would deliver.
    #[must_use]
    pub fn count_late(&self, low: Timestamp, sweep: Sweep) -> Option<String> {
        let (column, kind) = self.watermark_sql()?;
        let late = late(&column, kind, low, sweep)?;
        Some(format!("select count(*) from {} where {late}", from_sql(&self.table)))
    }

    /// The smallest watermark value above `low`, as `timestamptz`.
    #[must_use]
    pub fn earliest(&self, low: Timestamp) -> Option<String> {
        let (column, kind) = self.watermark_sql()?;
        let value = moment(&format!("min({column})"), kind);
        let above = if low.is_finite() {
            format!("{column} > {}", bound(kind, low))
        } else {
            format!("{column} > '-infinity'")
        };
        Some(format!("select {value} from {} where {above}", from_sql(&self.table)))
    }

    /// The largest finite watermark value, as `timestamptz`.
    pub(crate) fn latest(&self) -> Option<String> {
        let (column, kind) = self.watermark_sql()?;
        let value = moment(&format!("max({column})"), kind);
        Some(format!("select {value} from {} where {column} < 'infinity'", from_sql(&self.table)))
    }

    /// Whether any watermark is NULL, and whether any is plus infinity: an index, or the first such row, answers.
    pub(crate) fn any_unreachable(&self) -> Option<String> {
        let (column, _) = self.watermark_sql()?;
        let any =
            |condition: &str| format!("exists (select from {} where {column} {condition})", from_sql(&self.table));
        Some(format!("select {}, {}", any("is null"), any("= 'infinity'")))
    }

    /// Counts the rows that no window could contain: watermark NULL or plus infinity.
    #[must_use]
    pub fn count_unreachable(&self) -> Option<String> {
        let (column, _) = self.watermark_sql()?;
        Some(format!(
            "select count(*) filter (where {column} is null), count(*) filter (where {column} = 'infinity') \
             from {} where {column} is null or {column} = 'infinity'",
            from_sql(&self.table)
        ))
    }

    fn watermark_sql(&self) -> Option<(String, &WatermarkKind)> {
        let column = self.table.watermark.as_ref()?;
        Some((format!("t.{}", quote_ident(column)), self.watermark.as_ref()?))
    }
}

/// The condition of one window and its sweep; empty when nothing bounds it.
fn range(column: &str, kind: &WatermarkKind, low: Timestamp, high: Timestamp, sweep: Sweep) -> String {
    let mut parts = Vec::new();
    if high != Timestamp::INFINITY {
        parts.push(format!("{column} <= {}", bound(kind, high)));
    }
    if low.is_finite() {
        let above = format!("{column} > {}", bound(kind, low));
        match sweep {
            Sweep::Off => parts.push(above),
            Sweep::LookBack { back_to } if back_to.is_finite() => {
                parts.push(format!("{column} > {}", bound(kind, back_to)));
            }
            Sweep::LookBack { .. } => {}
            Sweep::Xmin { since, back_to } => {
                // Said again outside the OR, where an index can use it.
                if back_to.is_finite() {
                    parts.push(format!("{column} > {}", bound(kind, back_to)));
                }
                parts.push(format!("({above} or {})", young(since)));
            }
        }
    }
    parts.join(" and ")
}

/// The condition of the rows at or below `low` that the sweep delivers.
fn late(column: &str, kind: &WatermarkKind, low: Timestamp, sweep: Sweep) -> Option<String> {
    if !low.is_finite() {
        return None;
    }
    let (back_to, young) = match sweep {
        Sweep::Off => return None,
        Sweep::Xmin { since, back_to } => (back_to, Some(young(since))),
        Sweep::LookBack { back_to } => (back_to, None),
    };
    let mut parts = vec![format!("{column} <= {}", bound(kind, low))];
    if back_to.is_finite() {
        parts.push(format!("{column} > {}", bound(kind, back_to)));
    }
    parts.extend(young);
    Some(parts.join(" and "))
}

/// Row versions that transactions at or above `since` wrote.
///
/// Both ages are taken from the same counter in the same transaction, so it cancels out; an age counted from the
/// snapshot's own `xmax` would miss rows when transactions began between the two.
pub(super) fn young(since: u64) -> String {
    // The three lowest numbers are no ordinary transactions.
    let low_half = (since & 0xffff_ffff).max(3);
    format!("pg_catalog.age(t.xmin) <= pg_catalog.age('{low_half}'::pg_catalog.xid)")
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
    }
}

fn zone_sql(zone: &jiff::tz::TimeZone) -> String {
    quote_literal(zone.iana_name().unwrap_or("UTC"))
}

/// A moment in the watermark column's own type, so that an index on the bare column serves.
pub(super) fn bound(kind: &WatermarkKind, at: Timestamp) -> String {
    match kind.zone() {
        None => instant(at),
        Some(zone) => format!("({} at time zone {})", instant(at), zone_sql(zone)),
    }
}
