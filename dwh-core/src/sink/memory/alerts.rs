//! What alerts have told, in memory.

use std::collections::BTreeMap;

use crate::sink::{AlertClaim, AlertDue, AlertLook, AlertThing, DueThing};
use crate::watermark::Timestamp;

/// Alert, project, check, subject.
type Key = (String, String, String, String);

#[derive(Debug, Clone)]
struct Row {
    message: String,
    since: Timestamp,
    seen_at: Timestamp,
    sent_at: Option<Timestamp>,
    /// Its cause changed since.
    untold: bool,
    over_at: Option<Timestamp>,
    claim: Option<(String, Timestamp)>,
}

impl Row {
    fn is_free(&self, now: Timestamp) -> bool {
        self.claim.as_ref().is_none_or(|(_, at)| now.since(*at) > AlertClaim::EXPIRES)
    }

    fn due(&self, key: &Key, due: AlertDue) -> DueThing {
        let (check, subject) = (key.2.clone(), key.3.clone());
        DueThing { due, thing: AlertThing { check, subject, message: self.message.clone() }, since: self.since }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Alerts {
    rows: BTreeMap<Key, Row>,
    claims: u64,
}

impl Alerts {
    pub(super) fn claim(&mut self, look: &AlertLook, now: Timestamp) -> AlertClaim {
        self.claims += 1;
        let id = self.claims.to_string();
        let key =
            |thing: &AlertThing| (look.alert.clone(), look.project.clone(), thing.check.clone(), thing.subject.clone());
        let found: BTreeMap<Key, &AlertThing> = look.found.iter().map(|thing| (key(thing), thing)).collect();
        let mut due = Vec::new();
        for (key, thing) in &found {
            due.extend(self.found(key, thing, look, &id, now));
        }
        for (key, row) in &mut self.rows {
            let of_look = key.0 == look.alert
                && key.1 == look.project
                && look.subjects.contains(&key.3)
                && !look.unknown.contains(&(key.2.clone(), key.3.clone()));
            let open = row.over_at.is_none() || row.claim.is_some();
            if !of_look || found.contains_key(key) || row.seen_at > look.at || !open || !row.is_free(now) {
                continue;
            }
            (row.over_at, row.seen_at) = (Some(look.at), look.at);
            row.claim = (look.recovered && row.sent_at.is_some()).then(|| (id.clone(), now));
            due.extend(row.claim.is_some().then(|| row.due(key, AlertDue::Recovered)));
        }
        AlertClaim { id, due }
    }

    fn found(&mut self, key: &Key, thing: &AlertThing, look: &AlertLook, id: &str, now: Timestamp) -> Option<DueThing> {
        let row = self.rows.entry(key.clone()).or_insert_with(|| Row {
            message: String::new(),
            since: look.at,
            seen_at: look.at,
            sent_at: None,
            untold: false,
            over_at: None,
            claim: None,
        });
        if row.seen_at > look.at {
            return None;
        }
        let is_other = row.sent_at.is_some()
            && row.over_at.is_none()
            && look.by_cause.contains(&thing.check)
            && without_numbers(&row.message) != without_numbers(&thing.message);
        let again = look.repeat.0 > 0 && row.sent_at.is_some_and(|at| now.since(at) >= look.repeat);
        let due = row.sent_at.is_none() || row.untold || row.over_at.is_some() || is_other || again;
        if !row.is_free(now) || !due {
            if row.over_at.is_none() {
                row.seen_at = look.at;
            }
            return None;
        }
        if row.over_at.take().is_some() {
            (row.since, row.sent_at, row.untold) = (look.at, None, false);
        } else if is_other {
            (row.since, row.untold) = (look.at, true);
        }
        row.message.clone_from(&thing.message);
        (row.seen_at, row.claim) = (look.at, Some((id.to_owned(), now)));
        Some(row.due(key, if row.sent_at.is_none() || row.untold { AlertDue::New } else { AlertDue::Again }))
    }

    pub(super) fn settle(&mut self, claim: &AlertClaim, sent: bool, now: Timestamp) {
        let own = |row: &&mut Row| row.claim.as_ref().is_some_and(|(id, _)| *id == claim.id);
        for row in self.rows.values_mut().filter(own) {
            row.claim = None;
            match (sent, row.over_at) {
                (true, None) => (row.sent_at, row.untold) = (Some(now), false),
                (true, Some(_)) => {}
                (false, _) => row.over_at = None,
            }
        }
    }
}

/// A cause: each row of digits as one sign.
fn without_numbers(message: &str) -> String {
    let mut bare = String::new();
    for c in message.chars() {
        match c {
            '0'..='9' if bare.ends_with('#') => {}
            '0'..='9' => bare.push('#'),
            other => bare.push(other),
        }
    }
    bare
}
