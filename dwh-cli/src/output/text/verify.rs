//! What `verify` found: a line a table, then the keys that differ.

use dwh_core::config::Mode;
use dwh_core::operate::{BlobsReport, Difference, KeyDifference, TableVerify, VerifyReport};

use super::{SHARED, Told, Tone, plain, runs_table, sharing};
use crate::output::table::Table;
use crate::output::{Paint, Show, human, printable};

impl Show for VerifyReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let columns = [
            "~table",
            "mode/7",
            "up to/4",
            ">windows/6",
            ">source/2",
            ">bronze/2",
            ">missing/1",
            ">extra/1",
            ">different/1",
            ">in flight/3",
            ">time/5",
            "result",
        ];
        let mut table = Table::new(&columns, paint);
        let errors = self.tables.iter().filter_map(|found| Some((found.table.as_str(), found.error.as_ref()?)));
        let shared = sharing(errors);
        let alike = |found: &TableVerify| {
            let more = found.blobs.is_some() || found.repair.is_some();
            match found.error {
                Some(_) => shared.contains(&found.table).then_some(SHARED),
                None => (found.differences() == 0 && found.compared && !more).then_some("equal"),
            }
        };
        let told = Told::of(&self.tables, alike, paint);
        for found in &told.shown {
            table.row([
                plain(&found.table),
                plain(found.mode.as_str()),
                plain(paint.ago(found.range.map_or(found.loaded_at, |range| range.to))),
                plain(human::count(found.windows)),
                plain(human::count(found.rows_source)),
                plain(human::count(found.rows_bronze)),
                bad(found.missing),
                bad(found.extra),
                bad(found.different),
                plain(human::count(found.in_flight)),
                plain(human::seconds(found.seconds)),
                result(found),
            ]);
        }
        let mut text = table.text() + &told.rest();
        self.tables.iter().for_each(|found| details(&mut text, found, paint));
        text
    }
}

fn bad(count: u64) -> (String, Tone) {
    (human::count(count), if count > 0 { Tone::Bad } else { Tone::Plain })
}

fn result(found: &TableVerify) -> (String, Tone) {
    let problems = found.blobs.as_ref().map_or(0, |blobs| blobs.problems_total);
    match found.differences() {
        _ if found.error.is_some() => ("FAILED".to_owned(), Tone::Bad),
        0 if problems > 0 => ("FILES DAMAGED".to_owned(), Tone::Bad),
        0 if !found.compared => ("NOT COMPARED".to_owned(), Tone::Bad),
        0 => ("equal".to_owned(), Tone::Good),
        _ => ("DIFFERENT".to_owned(), Tone::Bad),
    }
}

/// What was repaired, or would be.
fn repaired(text: &mut String, found: &TableVerify, paint: Paint<'_>) {
    let Some(repair) = &found.repair else { return };
    let (missing, extra) = (human::count(repair.missing), human::count(repair.extra));
    let different = human::count(repair.different);
    let name = printable(&found.table);
    text.push_str(&format!("\n{name}: {missing} missing, {extra} extra, {different} different before the repair\n"));
    if repair.dry_run {
        match repair.windows.len() {
            0 => text.push_str("  would run the table\n"),
            count => text.push_str(&format!("  would read {} again:\n", human::many(count, "window"))),
        }
        for window in &repair.windows {
            let to = paint.moment(window.to);
            text.push_str(&format!("  after {} up to {to}\n", super::backfill::from(window, paint)));
        }
    } else if !repair.runs.is_empty() {
        text.push_str(&runs_table(&repair.runs, false, paint));
    }
}

fn details(text: &mut String, found: &TableVerify, paint: Paint<'_>) {
    repaired(text, found, paint);
    if let Some(why) = &found.not_compared {
        text.push_str(&format!("\n{}: nothing was compared: {}\n", printable(&found.table), printable(why)));
    }
    if found.differences() > 0 {
        text.push_str(&format!("\n{}\n", printable(&found.table)));
        found.keys.iter().for_each(|key| text.push_str(&format!("  {}\n", printable(&line(key)))));
        let more = found.differences().saturating_sub(found.keys.len() as u64);
        if more > 0 && found.mode == Mode::Files {
            text.push_str("  which ones is not told here: rows of files are compared by their counts\n");
        } else if more > 0 {
            text.push_str(&format!("  and {} more; `--limit` names them\n", human::count(more)));
        }
        if let (None, Some(at)) = (found.range, found.loaded_at) {
            let at = paint.moment(Some(at));
            text.push_str(&format!("  loaded at {at}: rows deleted at the source since then are extra\n"));
        }
        let repairs = found.remedy.as_ref().is_some_and(|remedy| remedy.contains("--repair"));
        if repairs && found.extra > 0 {
            let extra = human::count(found.extra);
            text.push_str(&format!(
                "  a repair removes what bronze alone has ({extra}), or marks it with `deletes = \"mark\"`\n"
            ));
        }
        if let Some(remedy) = &found.remedy {
            text.push_str(&format!("  to mend it: {}\n", printable(remedy)));
        }
    }
    if let Some(blobs) = &found.blobs {
        files(text, found, blobs);
    }
}

fn line(found: &KeyDifference) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".to_owned()).replace('\n', " ");
    let key: Vec<String> = found.key.iter().map(|(column, text)| format!("{column}={}", value(text))).collect();
    let meaning = match found.difference {
        Difference::Missing => "missing in bronze",
        Difference::Extra => "only in bronze",
        Difference::Different => "other values",
    };
    format!("{:<9}  {}  ({meaning})", found.difference.as_str(), key.join(" "))
}

fn files(text: &mut String, found: &TableVerify, blobs: &BlobsReport) {
    let by_hand = if blobs.by_hand > 0 { format!(", {} made by hand", blobs.by_hand) } else { String::new() };
    text.push_str(&format!(
        "\n{}: {} in processed/ with {} rows in {}{by_hand}; {}\n",
        printable(&found.table),
        human::many(usize::try_from(blobs.files).unwrap_or(usize::MAX), "file"),
        human::count(blobs.rows),
        human::bytes(blobs.bytes),
        human::many(usize::try_from(blobs.problems_total).unwrap_or(usize::MAX), "problem")
    ));
    blobs.problems.iter().for_each(|problem| text.push_str(&format!("  {}\n", printable(problem))));
}
