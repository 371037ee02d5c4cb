//! Rows in memory: read from a CSV, and merged into a table.

use std::collections::{BTreeMap, BTreeSet};

use super::MemoryRow;
use super::replace::{Windows, place};
use crate::config::{FILE, Mode, OnConflict};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{LoadPlan, UPLOADED_AT};
use crate::run::RunKind;
use crate::schema::Column;
use crate::sink::Accounting;

fn data(load: &LoadPlan, text: String) -> Error {
    Error::new(ErrorKind::Data, format!("table `{}`: {text}", load.table))
}

/// The rows of a CSV in the order of the table's columns; a column that the CSV lacks is NULL, or has the value that rows of
/// its age have.
pub(super) fn read(load: &LoadPlan, columns: &[Column], csv: &[u8]) -> Result<Vec<MemoryRow>> {
    let text =
        std::str::from_utf8(csv).map_err(|error| data(load, "the CSV is not UTF-8".into()).with_source(error))?;
    let header = load.header();
    let body = text
        .strip_prefix(header.as_str())
        .and_then(|rest| if rest.is_empty() { Some(rest) } else { rest.strip_prefix('\n') })
        .ok_or_else(|| data(load, format!("the CSV does not begin with the header `{header}`")))?;
    let mut rows = Vec::new();
    for (number, fields) in split(body).into_iter().enumerate() {
        if fields.len() != load.columns.len() {
            return Err(data(load, format!("row {} of the CSV has {} fields", number + 1, fields.len())));
        }
        let mut by_name: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for (column, field) in load.columns.iter().zip(fields) {
            let whole = matches!(column.bare_type(), "bigint" | "integer" | "smallint");
            if field.as_ref().is_some_and(|value| whole && value.parse::<i64>().is_err()) {
                return Err(data(load, format!("column `{}`: not a whole number in row {}", column.name, number + 1)));
            }
            by_name.insert(&column.name, field);
        }
        let filled = |name: &str| load.filled.iter().find(|column| column.name == name)?.old_value.clone();
        let value = |name: &str| by_name.remove(name).unwrap_or_else(|| filled(name));
        rows.push(columns.iter().map(|column| column.name.as_str()).map(value).collect());
    }
    Ok(rows)
}

/// The fields of each line: unquoted and empty is NULL, quoted and empty is the empty string.
fn split(text: &str) -> Vec<MemoryRow> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut was_quoted) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            ',' | '\n' if !quoted => {
                let value = std::mem::take(&mut field);
                row.push((was_quoted || !value.is_empty()).then_some(value));
                was_quoted = false;
                if char == '\n' {
                    rows.push(std::mem::take(&mut row));
                }
            }
            other => field.push(other),
        }
    }
    if was_quoted || !field.is_empty() || !row.is_empty() {
        // The last line may lack its end.
        row.push((was_quoted || !field.is_empty()).then_some(field));
        rows.push(row);
    }
    rows
}

/// Moves staged rows into a table and accounts for each.
pub(super) fn merge(
    load: &LoadPlan,
    columns: &[Column],
    rows: &mut Vec<MemoryRow>,
    staged: &[MemoryRow],
    kind: RunKind,
) -> Result<Accounting> {
    let mut counts = Accounting { staged: staged.len() as u64, ..Accounting::default() };
    match load.mode {
        Mode::Snapshot if (load.older || kind == RunKind::Replay) && same(rows, staged) => {
            counts.identical = counts.staged;
        }
        Mode::Snapshot if load.older => counts.kept_newer = counts.staged,
        Mode::Snapshot => {
            if staged.is_empty() && !rows.is_empty() && !load.allow_empty {
                return Err(data(load, "a snapshot of no rows would replace rows".into()));
            }
            *rows = with_kept(load, columns, rows, staged)?;
            counts.inserted = counts.staged;
        }
        Mode::Scd => {
            let at = place(load, columns, UPLOADED_AT)?;
            let copies: BTreeSet<_> = staged.iter().map(|row| &row[at]).collect();
            match rows.iter().filter(|row| copies.contains(&row[at])).count() {
                0 => {
                    rows.extend_from_slice(staged);
                    counts.inserted = counts.staged;
                }
                there if there == staged.len() => counts.identical = counts.staged,
                there => return Err(data(load, format!("{there} rows of this copy are there already"))),
            }
        }
        Mode::Incremental if load.is_appended() => counts = versions(load, columns, rows, staged)?,
        Mode::Incremental => counts = windows(load, columns, rows, staged)?,
        Mode::Files => {
            counts = keyed(load, columns, rows, staged)?;
            counts.removed = remove_of_file(load, columns, rows, staged)?;
        }
    }
    Ok(counts)
}

/// The new rows of a snapshot, with the old values of the columns that bronze keeps.
fn with_kept(load: &LoadPlan, columns: &[Column], old: &[MemoryRow], new: &[MemoryRow]) -> Result<Vec<MemoryRow>> {
    if !load.carries_over() {
        return Ok(new.to_vec());
    }
    let key: Vec<usize> = load.key.iter().map(|name| place(load, columns, name)).collect::<Result<_>>()?;
    let kept: Vec<usize> =
        load.missing.kept.iter().map(|column| place(load, columns, &column.name)).collect::<Result<_>>()?;
    let of = |row: &MemoryRow| -> MemoryRow { key.iter().map(|at| row[*at].clone()).collect() };
    let by_key: BTreeMap<MemoryRow, &MemoryRow> = old.iter().map(|row| (of(row), row)).collect();
    if by_key.len() < old.len() {
        return Err(data(load, "bronze has keys more than once, so the values that it keeps belong to no row".into()));
    }
    let filled = new.iter().map(|row| {
        let mut row = row.clone();
        if let Some(old) = by_key.get(&of(&row)) {
            kept.iter().for_each(|at| row[*at].clone_from(&old[*at]));
        }
        row
    });
    Ok(filled.collect())
}

/// Whether both hold the same rows, in whatever order.
fn same(rows: &[MemoryRow], staged: &[MemoryRow]) -> bool {
    let sorted = |rows: &[MemoryRow]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    sorted(rows) == sorted(staged)
}

/// Rows that newer CSV files have removed are left out, and what the CSV stands for alone is all that is left.
fn windows(load: &LoadPlan, columns: &[Column], rows: &mut Vec<MemoryRow>, staged: &[MemoryRow]) -> Result<Accounting> {
    if load.overruled.is_empty() && load.removes().is_none() {
        refuse_known_formerly(load, columns, rows, staged)?;
        return keyed(load, columns, rows, staged);
    }
    let windows = Windows::of(load, columns)?;
    let mut wanted = staged.to_vec();
    for window in &load.overruled {
        let gone = windows.extra(window, &wanted, rows);
        windows.remove(&mut wanted, &gone);
    }
    refuse_known_formerly(load, columns, rows, &wanted)?;
    let mut counts = keyed(load, columns, rows, &wanted)?;
    counts.staged = staged.len() as u64;
    counts.kept_newer += (staged.len() - wanted.len()) as u64;
    if let Some(window) = load.removes() {
        let extra = windows.extra(window, rows, &wanted);
        counts.removed = windows.remove(rows, &extra);
    }
    Ok(counts)
}

/// Removes what there is of the file that the CSV stands for, and the CSV has not.
fn remove_of_file(load: &LoadPlan, columns: &[Column], rows: &mut Vec<MemoryRow>, staged: &[MemoryRow]) -> Result<u64> {
    let Some(path) = load.removes_of_file() else { return Ok(0) };
    let (file, before) = (place(load, columns, FILE)?, rows.len());
    let key: Vec<usize> = load.key.iter().map(|name| place(load, columns, name)).collect::<Result<_>>()?;
    let of = |row: &MemoryRow| -> MemoryRow { key.iter().map(|at| row[*at].clone()).collect() };
    let there: BTreeSet<MemoryRow> = staged.iter().map(of).collect();
    rows.retain(|row| row[file].as_deref() != Some(path) || there.contains(&of(row)));
    Ok((before - rows.len()) as u64)
}

/// Refuses rows that are new by the key of today, and versions of rows that are there by one that held once.
fn refuse_known_formerly(load: &LoadPlan, columns: &[Column], rows: &[MemoryRow], staged: &[MemoryRow]) -> Result<()> {
    let keys = |key: &[String], of: &[MemoryRow]| -> Result<Vec<MemoryRow>> {
        let places: Vec<usize> = key.iter().map(|name| place(load, columns, name)).collect::<Result<_>>()?;
        Ok(of.iter().map(|row| places.iter().map(|at| row[*at].clone()).collect()).collect())
    };
    for (former, _) in load.usable_former_keys() {
        let there: BTreeSet<MemoryRow> = keys(&load.key, rows)?.into_iter().collect();
        let formerly: BTreeSet<MemoryRow> = keys(former, rows)?.into_iter().collect();
        let staged = keys(&load.key, staged)?.into_iter().zip(keys(former, staged)?);
        let known = staged.filter(|(today, then)| !there.contains(today) && formerly.contains(then)).count();
        if known > 0 {
            return Err(load.known_formerly(former, known as u64));
        }
    }
    Ok(())
}

fn keyed(load: &LoadPlan, columns: &[Column], rows: &mut Vec<MemoryRow>, staged: &[MemoryRow]) -> Result<Accounting> {
    let mut counts = Accounting { staged: staged.len() as u64, ..Accounting::default() };
    let key: Vec<usize> = load.key.iter().map(|name| place(load, columns, name)).collect::<Result<_>>()?;
    let of = |row: &MemoryRow| -> MemoryRow { key.iter().map(|at| row[*at].clone()).collect() };
    let mut places: BTreeMap<MemoryRow, usize> = rows.iter().enumerate().map(|(at, row)| (of(row), at)).collect();
    let mut seen = BTreeSet::new();
    for row in staged {
        if !seen.insert(of(row)) {
            return Err(data(load, "the CSV has a key more than once".into()));
        }
        let Some(at) = places.get(&of(row)).copied() else {
            places.insert(of(row), rows.len());
            rows.push(row.clone());
            counts.inserted += 1;
            continue;
        };
        if is_same(load, columns, &rows[at], row) {
            counts.identical += 1;
            continue;
        }
        match load.on_conflict {
            _ if load.replaces() => {
                rows[at].clone_from(row);
                counts.updated += 1;
            }
            OnConflict::Update => counts.kept_newer += 1,
            OnConflict::Nothing | OnConflict::Append => counts.different += 1,
        }
    }
    Ok(counts)
}

/// Whether two rows differ in nothing that came from the source.
fn is_same(load: &LoadPlan, columns: &[Column], one: &MemoryRow, other: &MemoryRow) -> bool {
    let own = columns.iter().map(|column| !load.added.contains(&column.name));
    one.iter().zip(other).zip(own).all(|((one, other), own)| !own || one == other)
}

/// Adds the versions that bronze has not: neither from this very CSV nor, unchanged, as the newest before it. Stamps are
/// texts of one form, so they have the order of their moments.
fn versions(
    load: &LoadPlan,
    columns: &[Column],
    rows: &mut Vec<MemoryRow>,
    staged: &[MemoryRow],
) -> Result<Accounting> {
    let at = place(load, columns, UPLOADED_AT)?;
    let key: Vec<usize> = load.key.iter().map(|name| place(load, columns, name)).collect::<Result<_>>()?;
    let of_key = |one: &MemoryRow, other: &MemoryRow| key.iter().all(|at| one[*at] == other[*at]);
    let known = |row: &&MemoryRow| {
        let before = rows.iter().filter(|old| of_key(old, row) && old[at] < row[at]);
        let newest = before.map(|old| &old[at]).max();
        let mut there = rows.iter().filter(|old| of_key(old, row) && (old[at] == row[at] || Some(&old[at]) == newest));
        there.any(|old| is_same(load, columns, old, row))
    };
    let (same, new): (Vec<&MemoryRow>, Vec<&MemoryRow>) = staged.iter().partition(known);
    let (identical, inserted) = (same.len() as u64, new.len() as u64);
    let new: Vec<MemoryRow> = new.into_iter().cloned().collect();
    rows.extend(new);
    Ok(Accounting { staged: staged.len() as u64, inserted, identical, ..Accounting::default() })
}
