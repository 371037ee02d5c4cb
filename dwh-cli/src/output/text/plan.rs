//! What `run --dry-run` and `extract --dry-run` say: for each table what would be read, where it would go, and every statement.

use dwh_core::RunKind;
use dwh_core::config::Mode;
use dwh_core::operate::{PlanReport, WorkUnit};
use dwh_core::pipeline::WindowReport;
use serde::Serialize;

use super::{Table, Told, Tone, plain, sharing};
use crate::output::fold::fold;
use crate::output::{Paint, Show, human, printable};

/// The plans of a dry run.
#[derive(Debug, Serialize)]
pub struct Plans {
    /// One a table.
    pub plans: Vec<PlanReport>,
    /// Whether people are told every statement.
    #[serde(skip)]
    pub sql: bool,
}

impl Show for Plans {
    fn text(&self, paint: Paint<'_>) -> String {
        if self.sql {
            return self.plans.iter().map(|plan| one(plan, paint)).collect::<Vec<_>>().join("\n");
        }
        let columns = ["~table", "mode/3", ">about rows", ">bytes/2", ">windows", "reads/1", "status"];
        let mut table = Table::new(&columns, paint);
        let errors = self.plans.iter().filter_map(|plan| Some((plan.table.as_str(), plan.error.as_ref()?)));
        let shared = sharing(errors);
        let alike = |plan: &PlanReport| {
            let whole = plan.window.is_none() && plan.mode != Mode::Incremental && plan.first.is_none();
            match plan.error {
                Some(_) => shared.contains(&plan.table).then_some("would fail for a reason that many share"),
                None => whole.then_some("would be read whole"),
            }
        };
        let told = Told::of(&self.plans, alike, paint);
        for plan in &told.shown {
            table.row([
                plain(&plan.table),
                plain(plan.mode.as_str()),
                plain(run(plan).and_then(|run| run.estimated_rows).map_or_else(|| "?".to_owned(), human::count)),
                plain(run(plan).and_then(|run| run.estimated_bytes).map_or_else(|| "?".to_owned(), human::bytes)),
                plain(windows(plan)),
                plain(reads(plan, paint)),
                match (&plan.error, &plan.first) {
                    (Some(_), _) => ("WOULD FAIL".to_owned(), Tone::Bad),
                    (None, Some(_)) => ("changes first".to_owned(), Tone::Warn),
                    (None, None) => ("would run".to_owned(), Tone::Good),
                },
            ]);
        }
        let mut text = table.text() + &told.rest();
        for (plan, first) in self.plans.iter().filter_map(|plan| Some((plan, plan.first.as_ref()?))) {
            text.push_str(&fold(&format!("{}: {}\n", printable(&plan.table), printable(first)), paint.width(), 2));
        }
        text.push_str(&held(&self.plans, paint));
        text + &sums(&self.plans, paint)
    }
}

/// What the next run of the table does.
fn run(plan: &PlanReport) -> Option<&WorkUnit> {
    plan.units.iter().find(|unit| unit.kind == RunKind::Run)
}

fn rows(plan: &PlanReport) -> Option<u64> {
    run(plan)?.estimated_rows
}

/// In how many windows, each a run of its own.
fn windows(plan: &PlanReport) -> String {
    let Some(unit) = run(plan).filter(|unit| !unit.windows.is_empty()) else { return "-".to_owned() };
    let more = if unit.more_windows { "+" } else { "" };
    format!("{}{more}", human::count(unit.windows.len() as u64))
}

/// Whole, or from where to where.
fn reads(plan: &PlanReport, paint: Paint<'_>) -> String {
    match (&plan.window, plan.mode) {
        (Some(window), _) => {
            let from = window.from.map_or_else(|| "the first row".to_owned(), |at| paint.ago(Some(at)));
            format!("from {from}")
        }
        (None, Mode::Incremental) => "-".to_owned(),
        (None, Mode::Files) => "new files".to_owned(),
        (None, _) => "the whole table".to_owned(),
    }
}

/// What holds watermarks, each once with its tables; that nobody is writing holds none.
fn held(plans: &[PlanReport], paint: Paint<'_>) -> String {
    let mut bounds: Vec<(&str, Vec<&str>)> = Vec::new();
    for plan in plans {
        let Some(bound) = plan.bound.as_deref().filter(|bound| !bound.starts_with("quiet")) else { continue };
        match bounds.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, tables)) => tables.push(&plan.table),
            None => bounds.push((bound, vec![&plan.table])),
        }
    }
    let line = |(bound, tables): &(&str, Vec<&str>)| {
        let told = format!("bound  {}; it holds {}", printable(bound), printable(&human::tables(tables)));
        format!("{}\n", fold(&told, paint.width(), 7))
    };
    bounds.iter().map(line).collect()
}

/// The last line: what all of it comes to, as far as it is known.
fn sums(plans: &[PlanReport], paint: Paint<'_>) -> String {
    let failed = plans.iter().filter(|plan| plan.error.is_some()).count();
    let unknown = plans.iter().filter(|plan| rows(plan).is_none() && plan.error.is_none()).count();
    let sum = |number: fn(&PlanReport) -> Option<u64>| plans.iter().filter_map(number).sum::<u64>();
    let mut line = format!(
        "\n{}, about {}, {}",
        human::many(plans.len(), "table"),
        human::rows(sum(rows)),
        human::bytes(sum(|plan| run(plan)?.estimated_bytes))
    );
    if unknown > 0 {
        line.push_str(&format!(", and {} of which nobody knows", human::many(unknown, "table")));
    }
    if failed > 0 {
        line.push_str(&format!(", {} would fail", human::many(failed, "table")));
    }
    line.push_str("; nothing was done (`--sql` shows each statement)\n");
    fold(&line, paint.width(), 2)
}

fn one(plan: &PlanReport, paint: Paint<'_>) -> String {
    let mut text = format!("table `{}`, {}\n", printable(&plan.table), plan.mode.as_str());
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<10}  {}\n", printable(value)));
    line("source", &plan.source);
    line("target", &plan.target);
    if let Some(window) = &plan.window {
        line("window", &window_text(window, paint));
    }
    if let Some(watermark) = plan.watermark {
        line("watermark", &paint.moment(Some(watermark)));
    }
    if let Some(bound) = &plan.bound {
        line("bound", bound);
    }
    line("blobs", &plan.blob_prefix);
    if let Some(first) = &plan.first {
        line("first", first);
    }
    if let Some(error) = &plan.error {
        line(&paint.bad("would fail"), &error.message);
    }
    statements(&mut text, "extract", std::slice::from_ref(&plan.extract_sql));
    statements(&mut text, "load, in one transaction", &plan.load_sql);
    text
}

pub fn window_text(window: &WindowReport, paint: Paint<'_>) -> String {
    let from =
        window.from.map_or_else(|| "from the first row".to_owned(), |at| format!("after {}", paint.moment(Some(at))));
    let to = window.to.map_or_else(|| "to the newest".to_owned(), |at| format!("up to {}", paint.moment(Some(at))));
    format!("{from} {to}")
}

pub(super) fn statements(text: &mut String, title: &str, statements: &[String]) {
    let statements: Vec<&str> = statements.iter().map(|sql| sql.trim()).filter(|sql| !sql.is_empty()).collect();
    if statements.is_empty() {
        return;
    }
    text.push_str(&format!("  {title}:\n"));
    for sql in statements {
        let sql = format!("{};", sql.trim_end_matches(';'));
        sql.lines().for_each(|line| text.push_str(&format!("    {}\n", printable(line))));
    }
}
