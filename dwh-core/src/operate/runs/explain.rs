//! What the columns of the run log mean, in sentences. Pure.

use super::{CsvPlace, CsvReport};
use crate::run::{RunKind, RunState};
use crate::sink::{Overview, RunRecord};
use crate::watermark::{BoundRule, Holder, SafeBound, Timestamp};

/// What held the bound, and what moved the watermark no further if it was not the bound.
pub(super) fn bound(bound: &SafeBound, watermark: Option<Timestamp>) -> String {
    let rule = rule(&bound.rule);
    match watermark {
        Some(at) if at < bound.watermark => {
            format!("the length of `window` ended it; the source could be read up to {}: {rule}", bound.watermark)
        }
        _ => format!("the source could be read up to {}: {rule}", bound.watermark),
    }
}

fn rule(rule: &BoundRule) -> String {
    match rule {
        BoundRule::Quiet => "nobody was writing, so up to the moment of the reading".to_owned(),
        BoundRule::TargetClock => "nobody was writing, so up to the start of the run".to_owned(),
        BoundRule::OpenTransaction(holder) => format!("a transaction of {} was still open", who(holder)),
        BoundRule::ActiveStatement(holder) => {
            format!("a statement of {} was active, and its transaction not published yet", who(holder))
        }
        BoundRule::Unpublished(holder) => {
            format!("the session of {} may have read its clock without having shown a transaction", who(holder))
        }
        BoundRule::PreparedTransaction(prepared) => format!(
            "prepared transaction `{}` of {} may have written the table, so the watermark stayed",
            prepared.gid, prepared.prepared_at
        ),
        BoundRule::Drained => "sessions were hidden, and every transaction that was open has ended since".to_owned(),
        BoundRule::NotDrained(open) => format!(
            "sessions were hidden, and {} transactions did not end in time, so the watermark stayed at what was proven",
            open.transactions.len()
        ),
        BoundRule::SweepOnly => {
            "a standby whose primary cannot be asked, so the watermark stayed and the sweep delivers".to_owned()
        }
        BoundRule::Number => {
            "the largest number that was visible; rows below it that appear later are told by the transactions that wrote them"
                .to_owned()
        }
        BoundRule::FixedLag { lag } => format!("a fixed lag of {lag}, which proves nothing"),
        BoundRule::Unproven { reason, here } => {
            format!("{}; but {reason}, so nothing proves that no row appears late", self::rule(here))
        }
    }
}

fn who(holder: &Holder) -> String {
    let mut text = format!("pid {}", holder.pid);
    if let Some(user) = &holder.user {
        text.push_str(&format!(", user {user}"));
    }
    if let Some(application) = holder.application.as_deref().filter(|name| !name.is_empty()) {
        text.push_str(&format!(", application {application}"));
    }
    text + &format!(", since {},", holder.since)
}

/// What there is to do about a run; `later`: a run of its kind that was loaded after it.
pub(super) fn advice(run: &RunRecord, csv: &CsvReport, later: bool, overview: &Overview) -> Option<String> {
    let table = &run.table_name;
    let known = overview.tables.get(table);
    let of_resync = matches!(run.kind, RunKind::Resync | RunKind::Chunk);
    match run.status {
        RunState::Failed | RunState::Uploaded if of_resync && !later => {
            Some(format!("bronze is as it was; `dwh resync {table}`, or the next `dwh run`, goes on with the resync"))
        }
        RunState::Failed if csv.place == CsvPlace::Exports && csv.complete => {
            Some("its CSV is complete: `dwh recover` loads it".to_owned())
        }
        RunState::Failed if later => Some("nothing: a later run was loaded".to_owned()),
        RunState::Failed => Some(match run.kind {
            RunKind::Run => "when the cause is mended, the next `dwh run` reads its rows again".to_owned(),
            RunKind::Model => format!("when the cause is mended, `dwh models run {table}` makes it"),
            RunKind::Keys => "when the cause is mended, `dwh deletes` reads the keys again".to_owned(),
            kind => format!("when the cause is mended, make the same `dwh {kind}` again"),
        }),
        RunState::Loaded if matches!(csv.place, CsvPlace::Exports | CsvPlace::Both) => {
            Some("its rows are loaded; `dwh recover` moves its CSV to `processed/`".to_owned())
        }
        RunState::Loaded => None,
        RunState::Uploaded => {
            Some("its CSV waits for its load: `dwh load`, the next `dwh run` or `dwh recover`".to_owned())
        }
        RunState::Extracting | RunState::Loading => match known?.holder.as_ref() {
            Some(holder) => Some(format!("nothing: {} has held the table since {}", holder.host, holder.since)),
            None => Some("nobody works on it any more: the next `dwh run`, or `dwh recover`, settles it".to_owned()),
        },
    }
}
