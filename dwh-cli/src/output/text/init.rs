//! What `init` chose: a line for each table, what was left out, and what comes next.

use dwh_core::operate::{InitChange, InitReport, InitTable};

use super::Told;
use crate::output::fold::fold;
use crate::output::table::{Table, Tone, plain};
use crate::output::{Paint, Show, human, printable};

impl Show for InitReport {
    fn text(&self, paint: Paint<'_>) -> String {
        if self.updated {
            return update(self, paint);
        }
        // Where there is little room, the name says the most of the relation, too.
        let relation = if paint.width().is_some_and(|width| width < 120) { &[][..] } else { &["~relation/3"][..] };
        let columns = [&["~table"], relation, &["mode", "~watermark/1", "~key/2", ">doubts"]].concat();
        let mut table = Table::new(&columns, paint);
        let told =
            Told::of(&self.tables, |choice: &InitTable| choice.doubts.is_empty().then_some("without a doubt"), paint);
        for choice in &told.shown {
            let tone = if choice.doubts.is_empty() { Tone::Plain } else { Tone::Warn };
            let relation = (!relation.is_empty()).then(|| plain(&choice.relation));
            let rest = [
                plain(choice.mode.as_str()),
                plain(choice.watermark.as_deref().unwrap_or("-")),
                plain(if choice.key.is_empty() { "-".to_owned() } else { choice.key.join(", ") }),
                (choice.doubts.len().to_string(), tone),
            ];
            table.row([plain(&choice.name)].into_iter().chain(relation).chain(rest));
        }
        let mut text = table.text() + &told.rest();
        if !self.left_out.is_empty() {
            text.push_str("\nleft out:\n");
        }
        for table in &self.left_out {
            text.push_str(&format!("  {}: {}\n", printable(&table.relation), printable(&table.reason)));
            table.remedy.iter().for_each(|remedy| text.push_str(&format!("    {}\n", printable(remedy))));
        }
        let doubts: usize = self.tables.iter().map(|table| table.doubts.len()).sum();
        text.push_str(&format!("\n{}, {}\n", human::many(self.tables.len(), "table"), human::many(doubts, "doubt")));
        if self.written {
            let files: Vec<String> = self.files.iter().map(|file| format!("`{}`", file.display())).collect();
            let look = match doubts {
                0 => String::new(),
                _ => format!("read what stands under `doubtful` in `{}`, ", self.files[0].display()),
            };
            let next = format!("next: {look}have the grants applied, then `dwh migrate`, `dwh check`, `dwh run`");
            text.push_str(&format!("written: {}\n{}\n", files.join(", "), fold(&next, paint.width(), 2)));
        }
        text
    }
}

/// A second look as a diff: `+` is new, `-` is gone, `~` is not as it was; then what is or would be written.
fn update(report: &InitReport, paint: Paint<'_>) -> String {
    let mut text = String::new();
    for table in &report.tables {
        let doubts = if table.doubts.is_empty() {
            String::new()
        } else {
            format!(", {}", human::many(table.doubts.len(), "doubt"))
        };
        let told = format!("+ {} as `{}`, {}{doubts}", table.relation, table.name, table.mode.as_str());
        text.push_str(&format!("{}\n", paint.good(&printable(&told))));
    }
    let mut changes = |mark: &str, changes: &[InitChange]| {
        for change in changes {
            let told = format!("{mark} table `{}`: {}", change.table, change.what);
            text.push_str(&format!("{}\n", fold(&printable(&told), paint.width(), 2)));
        }
    };
    changes("-", &report.gone);
    changes("~", &report.changed);
    for table in &report.left_out {
        text.push_str(&format!("! {}: {}\n", printable(&table.relation), printable(&table.reason)));
        table.remedy.iter().for_each(|remedy| text.push_str(&format!("    {}\n", printable(remedy))));
    }
    let counts = [(report.tables.len(), "new"), (report.gone.len(), "gone"), (report.changed.len(), "changed")];
    let counts: Vec<String> = counts.iter().map(|(count, word)| format!("{count} {word}")).collect();
    text.push_str(&format!("{}{}\n", if text.is_empty() { "" } else { "\n" }, counts.join(", ")));
    if let Some(added) = report.config.as_deref().filter(|added| !added.is_empty()) {
        text.push_str("would be added:\n");
        added.trim().lines().for_each(|line| {
            text.push_str(format!("+ {}", printable(line)).trim_end());
            text.push('\n');
        });
    }
    if report.written {
        let next = format!("added to `{}`; next: `dwh migrate`, `dwh check`, `dwh run`", report.files[0].display());
        text.push_str(&format!("{}\n", fold(&next, paint.width(), 2)));
    }
    if !report.gone.is_empty() {
        let told = "what is gone stays in the file and in bronze: take its `[[table]]` out when that is right";
        text.push_str(&format!("{}\n", fold(told, paint.width(), 2)));
    }
    text
}
