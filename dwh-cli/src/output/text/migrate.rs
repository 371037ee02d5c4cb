//! `migrate` as people read it.

use dwh_core::operate::MigrateReport;

use crate::output::fold::fold;
use crate::output::{Paint, Show, human, printable};

/// More names of one kind than this are not all shown on a screen.
const MANY: usize = 20;

/// How many are shown of them.
const FIRST: usize = 5;

impl Show for MigrateReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut text = String::new();
        let (apply, create) = if self.dry_run { ("would apply", "would create") } else { ("applied", "created") };
        let add = if self.dry_run { "would add" } else { "added" };
        let found = if self.dry_run { "would take" } else { "taken" };
        let types: Vec<String> = self.types_created.iter().map(|name| format!("type {name}")).collect();
        let label = |added: &dwh_core::operate::AddedLabel| format!("label `{}` of {}", added.label, added.type_name);
        let labels: Vec<String> = self.labels_added.iter().map(label).collect();
        let parts = [
            (apply, &self.applied),
            ("there already", &self.present),
            (create, &types),
            (add, &labels),
            (found, &self.tables_found),
            (create, &self.tables_created),
            ("there already", &self.tables_present),
        ];
        for (word, names) in parts {
            // A screen has no room for hundreds of names that nobody reads.
            let shown = paint.width().map_or(names.len(), |_| if names.len() > MANY { FIRST } else { names.len() });
            names.iter().take(shown).for_each(|name| text.push_str(&format!("{word:<13}  {}\n", printable(name))));
            if names.len() > shown {
                text.push_str(&format!("{word:<13}  … and {} more\n", human::count((names.len() - shown) as u64)));
            }
        }
        text.push_str(&format!("\n{}\n", summary(self)));
        for refusal in &self.refused {
            let (tables, hint) = (refusal.tables_told(), refusal.hint.replace('\n', "\n  "));
            let word = if refusal.not_asked().is_some() { "NOT LOOKED AT" } else { "CANNOT BE MADE" };
            let cause = fold(&format!("  {}", refusal.cause), paint.width(), 2);
            text.push_str(&format!("\n{}  {tables}\n{cause}\n  hint: {hint}\n", paint.bad(word)));
        }
        for conflict in &self.conflicts {
            let message = fold(&conflict.message, paint.width().map(|width| width.saturating_sub(11)), 2);
            let hint = conflict.hint.replace('\n', "\n  ");
            text.push_str(&format!("\n{}  {message}\n  {hint}\n", paint.bad("ATTENTION")));
        }
        let by = if self.dry_run { "would be made" } else { "made" };
        if let Some(first) = self.designs.first() {
            let told = match self.designs.len() {
                1 => format!("NOTE  {by} by its design: {first}"),
                many => {
                    let first = self.designs.iter().take(FIRST).cloned().collect::<Vec<_>>().join(", ");
                    let more = many.saturating_sub(FIRST);
                    let more =
                        if more == 0 { String::new() } else { format!(" and {} more", human::count(more as u64)) };
                    format!("NOTE  {} {by} by their designs: {first}{more}", human::many(many, "table"))
                }
            };
            text.push_str(&format!("\n{}\n", fold(&printable(&told), paint.width(), 6)));
        }
        self.notes.iter().for_each(|note| text.push_str(&format!("\nNOTE  {note}\n")));
        let changed = if self.dry_run { "would change" } else { "changed" };
        for (word, drifts) in [(changed, &self.drift_applied), ("LEFT", &self.drift_left)] {
            for drift in drifts {
                let remedy = drift.remedy.replace('\n', "\n  ");
                text.push_str(&format!("\n{word}  table `{}`: {}\n  {remedy}\n", drift.table, drift.message));
            }
        }
        text
    }
}

fn summary(report: &MigrateReport) -> String {
    let to_be = if report.dry_run { "to be " } else { "" };
    let applied = human::many(report.applied.len(), "migration");
    let mut parts = vec![format!("{applied} {to_be}applied")];
    if !report.types_created.is_empty() {
        parts.push(format!("{} {to_be}created", human::many(report.types_created.len(), "type")));
    }
    parts.push(format!("{} {to_be}created", human::many(report.tables_created.len(), "table")));
    parts.join(", ")
}
