//! What `init` chose: a line for each table, what was left out, and what comes next.

use dwh_core::operate::InitReport;

use crate::output::table::{Table, Tone, plain};
use crate::output::{Paint, Show, human, printable};

impl Show for InitReport {
    fn text(&self, paint: Paint) -> String {
        let mut table = Table::new(&["table", "relation", "mode", "watermark", "key", ">doubts"], paint);
        for choice in &self.tables {
            let tone = if choice.doubts.is_empty() { Tone::Plain } else { Tone::Warn };
            table.row([
                plain(&choice.name),
                plain(&choice.relation),
                plain(choice.mode.as_str()),
                plain(choice.watermark.as_deref().unwrap_or("-")),
                plain(if choice.key.is_empty() { "-".to_owned() } else { choice.key.join(", ") }),
                (choice.doubts.len().to_string(), tone),
            ]);
        }
        let mut text = table.text();
        if !self.left_out.is_empty() {
            text.push_str("\nleft out:\n");
        }
        for table in &self.left_out {
            text.push_str(&format!("  {}: {}\n", printable(&table.relation), printable(&table.reason)));
            table.remedy.iter().for_each(|remedy| text.push_str(&format!("    {}\n", printable(remedy))));
        }
        let doubts = self.tables.iter().map(|table| table.doubts.len()).sum();
        text.push_str(&format!("\n{}, {}\n", human::many(self.tables.len(), "table"), human::many(doubts, "doubt")));
        if self.written {
            let files: Vec<String> = self.files.iter().map(|file| format!("`{}`", file.display())).collect();
            text.push_str(&format!(
                "written: {}\nnext: read what is doubtful, have the grants applied, then `dwh migrate`, `dwh check`, `dwh run`\n",
                files.join(", ")
            ));
        }
        text
    }
}
