//! What `schedule` prints: each file under its place, in a form that can be pasted or piped as it is.

use dwh_core::operate::ScheduleReport;

use crate::output::{Paint, Show};

impl Show for ScheduleReport {
    fn text(&self, _: Paint<'_>) -> String {
        let files: Vec<String> = self.files.iter().map(|file| format!("# {}\n{}", file.path, file.text)).collect();
        files.join("\n")
    }
}
