//! What `plan` says: a line for each unit of work, then the commands that do them.

use dwh_core::config::Mode;
use dwh_core::operate::{PlanReport, WorkUnit};
use serde::Serialize;

use crate::output::table::{Table, Tone, plain};
use crate::output::{Paint, Show, human, printable};

/// The work that there is, a plan a table.
#[derive(Debug, Serialize)]
pub struct Work {
    /// One a table.
    pub plans: Vec<PlanReport>,
}

impl Show for Work {
    fn text(&self, paint: Paint<'_>) -> String {
        let held = self.plans.iter().any(|plan| plan.holder.is_some());
        let columns = ["~table", "work/3", "left", ">rows", ">size/1", "held by/2"];
        let mut table = Table::new(&columns[..columns.len() - usize::from(!held)], paint);
        for plan in &self.plans {
            for line in lines(plan) {
                let holder = plan.holder.as_ref().map_or_else(|| "-".to_owned(), |holder| holder.host.clone());
                table.row(line.into_iter().chain(held.then(|| plain(holder))));
            }
        }
        let mut text = table.text();
        let commands = self.plans.iter().flat_map(|plan| &plan.units).map(|unit| &unit.command);
        for (at, command) in commands.enumerate() {
            text.push_str(if at == 0 { "\n" } else { "" });
            text.push_str(&format!("{}\n", printable(command)));
        }
        text
    }
}

fn lines(plan: &PlanReport) -> Vec<Vec<(String, Tone)>> {
    let about = |number: Option<u64>, shown: fn(u64) -> String| {
        plain(number.map_or_else(|| "-".to_owned(), |number| format!("~{}", shown(number))))
    };
    let line = |unit: &WorkUnit| {
        vec![
            plain(&plan.table),
            plain(unit.kind.as_str()),
            plain(left(plan, unit)),
            about(unit.estimated_rows, human::count),
            about(unit.estimated_bytes, human::bytes),
        ]
    };
    let mut lines: Vec<_> = plan.units.iter().map(line).collect();
    if plan.error.is_some() {
        let cannot = ("cannot be planned".to_owned(), Tone::Bad);
        lines.push(vec![plain(&plan.table), plain("-"), cannot, plain("-"), plain("-")]);
    }
    lines
}

fn left(plan: &PlanReport, unit: &WorkUnit) -> String {
    let of = |left: usize, noun: &str| match unit.done {
        0 => human::many(left, noun),
        done => format!("{left} of {}", human::many(left + done as usize, noun)),
    };
    match (unit.chunks, unit.files, &plan.first) {
        (Some(chunks), _, _) => of(chunks as usize, "chunk"),
        (_, Some(files), _) => of(files as usize, "file"),
        (_, _, Some(_)) => "as the source changed".to_owned(),
        _ if plan.mode != Mode::Incremental => "the whole table".to_owned(),
        _ if unit.more_windows => format!("{} windows or more", human::count(unit.windows.len() as u64)),
        _ => of(unit.windows.len(), "window"),
    }
}
