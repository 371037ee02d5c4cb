//! The rules of `[thresholds]` and `[table.thresholds]`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::raw::RawThresholds;
use super::section::{Reader, Section};
use super::{single, value};
use crate::config::Thresholds;
use crate::watermark::Micros;

/// Those of the project, and how full its disks may be.
pub(super) fn general(document: &DeTable<'_>, reader: Reader<'_>, cadence: Micros) -> (Thresholds, f64) {
    let defaults = Thresholds::of_cadence(cadence);
    if !document.contains_key("thresholds") {
        return (defaults, Thresholds::DISK_USED);
    }
    let section = single(document, reader, "thresholds");
    let disk_used = percent(&section, "disk_used", section.raw.disk_used).unwrap_or(Thresholds::DISK_USED);
    (over(&section, &defaults), disk_used)
}

/// Those of each table, in the order of the file.
pub(super) fn of_tables(document: &DeTable<'_>, reader: Reader<'_>, general: &Thresholds) -> Vec<Thresholds> {
    let items = document.get("table").and_then(|tables| tables.get_ref().as_array());
    let own = |item: &Spanned<DeValue<'_>>| {
        let Some((key, value)) = item.get_ref().as_table().and_then(|table| table.get_key_value("thresholds")) else {
            return general.clone();
        };
        let line = reader.problems.line(key.span().start);
        let Some(table) = value.get_ref().as_table() else {
            reader.problems.add(line, "table.thresholds", "must be a section `[table.thresholds]`");
            return general.clone();
        };
        let section: Section<'_, RawThresholds> = Section::read(reader, "table.thresholds", line, table);
        if section.has("disk_used") {
            section.problem("disk_used", "is for the whole project; move it to `[thresholds]`");
        }
        over(&section, general)
    };
    items.into_iter().flat_map(|items| items.iter()).map(own).collect()
}

/// What the section says, and `general` where it says nothing.
fn over(section: &Section<'_, RawThresholds>, general: &Thresholds) -> Thresholds {
    let raw = &section.raw;
    let span = |key, text: &Option<String>| section.checked(key, text.as_deref(), value::positive_duration);
    let thresholds = Thresholds {
        max_lag: span("max_lag", &raw.max_lag).unwrap_or(general.max_lag),
        success_rate: percent(section, "success_rate", raw.success_rate).unwrap_or(general.success_rate),
        max_duration: span("max_duration", &raw.max_duration).or(general.max_duration),
        min_rows_per_day: rows(section, "min_rows_per_day", raw.min_rows_per_day).or(general.min_rows_per_day),
        max_rows_per_day: rows(section, "max_rows_per_day", raw.max_rows_per_day).or(general.max_rows_per_day),
    };
    if let (Some(min), Some(max)) = (thresholds.min_rows_per_day, thresholds.max_rows_per_day)
        && min > max
    {
        let key = if section.has("min_rows_per_day") { "min_rows_per_day" } else { "max_rows_per_day" };
        section.problem(key, &format!("from {min} rows at least to {max} at most, there is no number between"));
    }
    thresholds
}

fn percent(section: &Section<'_, RawThresholds>, key: &str, value: Option<f64>) -> Option<f64> {
    let value = value?;
    if (0.0..=100.0).contains(&value) {
        return Some(value);
    }
    section.problem(key, "must be a percentage from 0 to 100");
    None
}

fn rows(section: &Section<'_, RawThresholds>, key: &str, value: Option<i64>) -> Option<u64> {
    let rows = u64::try_from(value?);
    if rows.is_err() {
        section.problem(key, "must not be negative");
    }
    rows.ok()
}
