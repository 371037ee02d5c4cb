//! Raw files, and where they stand.

use dwh_core::operate::{FileState, FilesReport};
use dwh_core::pipeline::RestoreReport;

use super::{plain, runs_table};
use crate::output::table::{Table, Tone};
use crate::output::{Paint, Show, human, printable};

impl Show for FilesReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut table = Table::new(
            &["~table", "~file", ">size/3", "written/2", ">run/4", ">rows/1", ">rejected/1", "state"],
            paint,
        );
        for file in &self.files {
            let tone = match file.state {
                FileState::Failed => Tone::Bad,
                FileState::Loaded | FileState::Valid | FileState::Archived => Tone::Good,
                _ => Tone::Warn,
            };
            let place = file.moved_to.as_ref().map_or_else(|| file.path.clone(), |to| format!("{} -> {to}", file.path));
            table.row([
                plain(&file.table),
                plain(place),
                plain(human::bytes(file.bytes)),
                plain(paint.ago(Some(file.modified))),
                plain(file.run_id.map_or_else(|| "-".to_owned(), |run| run.to_string())),
                plain(file.rows.map_or_else(|| "-".to_owned(), human::count)),
                plain(human::count(file.rejected)),
                (file.state.as_str().to_owned(), tone),
            ]);
        }
        let mut text = if self.files.is_empty() { "no file\n".to_owned() } else { table.text() };
        if !self.unmatched.is_empty() {
            text.push_str("\nno table takes:\n");
            self.unmatched.iter().for_each(|file| text.push_str(&format!("  {}\n", printable(file))));
        }
        text
    }
}

impl Show for RestoreReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let (word, bronze) = match &self.run {
            Some(run) if run.error.is_some() => ("is not", "would have"),
            Some(_) => ("is", "has"),
            None => ("would be", "has"),
        };
        let mut text = format!(
            "file `{}` of table `{}`: run {} {word} undone, bronze {bronze} the version of run {}\n",
            printable(&self.path),
            printable(&self.table),
            self.undone,
            self.restored
        );
        if let Some(run) = &self.run {
            let copy = if self.copy_restored {
                "is the version before again"
            } else {
                "was not changed: there is no backup of it"
            };
            text.push_str(&format!("the validated copy {copy}\n\n"));
            text.push_str(&runs_table(std::slice::from_ref(run), false, paint));
        }
        text
    }
}
