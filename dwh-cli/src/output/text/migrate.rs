//! `migrate` as people read it.

use dwh_core::operate::MigrateReport;

use crate::output::{Paint, Show, human};

impl Show for MigrateReport {
    fn text(&self, _: Paint) -> String {
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
            names.iter().for_each(|name| text.push_str(&format!("{word:<13}  {name}\n")));
        }
        text.push_str(&format!("\n{}\n", summary(self)));
        for refusal in &self.refused {
            let (tables, hint) = (refusal.tables_told(), refusal.hint.replace('\n', "\n  "));
            let word = if refusal.not_asked().is_some() { "NOT LOOKED AT" } else { "CANNOT BE MADE" };
            text.push_str(&format!("\n{word}  {tables}\n  {}\n  hint: {hint}\n", refusal.cause));
        }
        for conflict in &self.conflicts {
            text.push_str(&format!("\nATTENTION  {}\n  {}\n", conflict.message, conflict.hint.replace('\n', "\n  ")));
        }
        let by = if self.dry_run { "would be made" } else { "made" };
        self.designs.iter().for_each(|file| text.push_str(&format!("\nNOTE  {by} by its design: {file}\n")));
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
