//! `alert`: what `status` finds is sent to somebody, once by whichever machine looks, and once when it is over.

mod command;
mod mail;
mod message;
mod report;
mod unsent;
mod webhook;

use futures_util::future::join_all;
use gethostname::gethostname;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

use crate::config::{AlertChannel, AlertConfig, AlertOn};
use crate::error::{Error, ErrorKind, Result};
use crate::operate::{Breach, BreachCheck, StatusReport};
use crate::pipeline::Pipeline;
use crate::sink::{AlertDue, AlertLook, AlertThing, DueThing};

use message::Message;
use unsent::Unsent;

pub use report::{AlertReport, AlertRequest, SentAlert, ToldThing};

impl Pipeline {
    /// Looks as [`status`](Self::status) does, and sends to every `[[alert]]` what is due: what it was not told yet, what
    /// goes on and was told as long ago as `repeat` says, and what was told and is over.
    ///
    /// What was sent stands in the sink. It is claimed before it is sent, so that of several machines one sends it; a machine
    /// that dies meanwhile leaves it to the others after some minutes. What could not be sent is due as before.
    ///
    /// # Errors
    /// `Config` without an `[[alert]]`, or if no table matches; as `status`. What went wrong with one alert stands in its
    /// report, without its address, and stops no other.
    pub async fn alert(&self, request: &AlertRequest) -> Result<AlertReport> {
        if self.config.alerts.is_empty() {
            let message = format!("`{}` has no `[[alert]]`, so nobody is told", self.config.path.display());
            return Err(Error::new(ErrorKind::Config, message)
                .with_hint("say whom: `[[alert]]`, `name = \"team\"`, `webhook = \"${WEBHOOK}\"`"));
        }
        let project = &self.config.project.name;
        let alerts = if request.test {
            join_all(self.config.alerts.iter().map(|alert| test(project, alert, request.dry_run))).await
        } else {
            let status = self.status(&request.tables).await?;
            join_all(self.config.alerts.iter().map(|alert| self.send_due(alert, &status, request))).await
        };
        Ok(AlertReport { project: project.clone(), dry_run: request.dry_run, test: request.test, alerts })
    }

    /// As [`alert`](Self::alert) for the tables of a run, if `alert_after_run` says so. Whatever goes wrong is a warning: the
    /// run is what it was.
    pub async fn alert_after_run(&self, tables: &[String]) {
        if !self.config.project.alert_after_run {
            return;
        }
        match self.alert(&AlertRequest::new(tables.to_vec())).await {
            Ok(report) => {
                for error in report.alerts.iter().filter_map(|alert| alert.error.as_ref()) {
                    tracing::warn!("{}", error.message);
                }
            }
            Err(error) => tracing::warn!("alerts were not sent: {}", error.chain()),
        }
    }

    async fn send_due(&self, alert: &AlertConfig, status: &StatusReport, request: &AlertRequest) -> SentAlert {
        let found: Vec<&Breach> = status.breaches.iter().filter(|breach| alert.tells(kind(breach.check))).collect();
        let mut sent = SentAlert::of(alert);
        let done = async {
            let claim = self.sink.claim_alerts(&look(alert, status, &found, request)).await?;
            sent.things = claim.due.iter().map(|due| told(due, &found)).collect();
            if sent.things.is_empty() {
                return Ok(());
            }
            let message = Message::of(&self.config.project.name, &alert.name, &sent.things);
            sent.text = Some(message.text.clone());
            if request.dry_run {
                return Ok(());
            }
            let delivered = send(alert, &message).await;
            sent.sent = delivered.is_ok();
            let settled = self.sink.settle_alerts(&claim, sent.sent).await;
            delivered.and(settled)
        };
        let done: Result<()> = done.await;
        sent.error = done.err().map(|error| (&error).into());
        sent
    }
}

async fn test(project: &str, alert: &AlertConfig, dry_run: bool) -> SentAlert {
    let message = Message::test(project, &alert.name);
    let mut sent = SentAlert { text: Some(message.text.clone()), ..SentAlert::of(alert) };
    if !dry_run {
        let delivered = send(alert, &message).await;
        sent.sent = delivered.is_ok();
        sent.error = delivered.err().map(|error| (&error).into());
    }
    sent
}

/// Sends a message by the way of the alert. No error holds an address.
async fn send(alert: &AlertConfig, message: &Message<'_>) -> Result<()> {
    let limit = Duration::from_micros(alert.timeout.0.unsigned_abs());
    let way = async {
        match &alert.channel {
            AlertChannel::Webhook(address) => webhook::post(address, message).await,
            AlertChannel::Mail { smtp, from, to } => mail::send(smtp, from, to, message).await,
            AlertChannel::Command(words) => command::run(words, message).await.map_err(Unsent::from),
        }
    };
    let Unsent { why, hint } = match timeout(limit, way).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(unsent)) => unsent,
        Err(_) => format!("nothing came of it within {}", alert.timeout).into(),
    };
    let told = format!("alert `{}`: not sent by `{}`: {why}", alert.name, alert.channel.as_str());
    Err(Error::new(ErrorKind::Unreachable, told)
        .with_hint(format!("{hint}; then try it with `dwh alert --test`; what is due is sent by the next `dwh alert`")))
}

/// What kind of thing a check tells of.
const fn kind(check: BreachCheck) -> AlertOn {
    match check {
        BreachCheck::Failure | BreachCheck::CutOff | BreachCheck::Conflict | BreachCheck::Store => AlertOn::Failure,
        _ => AlertOn::Breach,
    }
}

/// Disks and the way to the blob store are those of this machine: another one sees others.
fn subject(table: Option<&str>) -> String {
    table.map_or_else(|| format!("machine {}", gethostname().to_string_lossy()), |table| format!("table {table}"))
}

fn look(alert: &AlertConfig, status: &StatusReport, found: &[&Breach], request: &AlertRequest) -> AlertLook {
    let mut things: BTreeMap<(&str, String), String> = BTreeMap::new();
    for breach in found {
        let said = things.entry((breach.check.as_str(), subject(breach.table.as_deref()))).or_default();
        // Two disks of one machine.
        let and = if said.is_empty() { "" } else { "; " };
        said.push_str(&format!("{and}{}", breach.message));
    }
    let thing = |((check, subject), message): ((&str, String), String)| AlertThing {
        check: check.to_owned(),
        subject,
        message,
    };
    let models = status.models.iter().map(|model| model.model.as_str());
    let subjects = status.tables.iter().map(|table| table.table.as_str()).chain(models);
    let subjects = subjects.map(|table| subject(Some(table))).chain([subject(None)]);
    AlertLook {
        alert: alert.name.clone(),
        project: status.project.clone(),
        at: status.now,
        found: things.into_iter().map(thing).collect(),
        subjects: subjects.collect(),
        unknown: unknown(status, request.tables.is_empty()),
        by_cause: [BreachCheck::Failure, BreachCheck::Conflict, BreachCheck::Store]
            .map(|check| check.as_str().to_owned())
            .to_vec(),
        repeat: alert.repeat,
        recovered: alert.tells(AlertOn::Recovered),
        dry_run: request.dry_run,
    }
}

/// What is not over only because nothing is seen of it; `all`: of no table in particular.
fn unknown(status: &StatusReport, all: bool) -> Vec<(String, String)> {
    let mut unknown = Vec::new();
    // Files of models, and sources of which no table is known, are not looked for where tables are named.
    if !all {
        unknown.extend(
            [BreachCheck::Failure, BreachCheck::NeverLoaded].map(|check| (check.as_str().to_owned(), subject(None))),
        );
    }
    for table in &status.tables {
        let mut add = |check: BreachCheck| unknown.push((check.as_str().to_owned(), subject(Some(&table.table))));
        // Which files wait is not known of a store that does not answer.
        if status.store.error.is_some() {
            add(BreachCheck::Waiting);
        }
        // A failure is looked for in the last 24 hours; without a load since then it grew old, and is not mended.
        if table.loads_last_24h == 0 {
            add(BreachCheck::Failure);
            add(BreachCheck::SuccessRate);
        }
    }
    unknown
}

fn told(due: &DueThing, found: &[&Breach]) -> ToldThing {
    let thing = &due.thing;
    let is =
        |breach: &&&Breach| breach.check.as_str() == thing.check && subject(breach.table.as_deref()) == thing.subject;
    let remedy = found.iter().find(is).filter(|_| due.due != AlertDue::Recovered);
    ToldThing {
        due: due.due,
        check: thing.check.clone(),
        subject: thing.subject.clone(),
        message: thing.message.clone(),
        remedy: remedy.map(|breach| breach.remedy.clone()),
        since: due.since,
    }
}
