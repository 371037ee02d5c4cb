//! What alerts have told: claimed before it is sent, so that of two machines one sends it, and settled afterwards.

use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Row};

use super::{Control, Params, value};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{AlertClaim, AlertDue, AlertLook, AlertThing, DueThing};
use crate::schema::quote_ident;

/// How long a row stays after what it tells of is over, or after nobody looked any more.
const KEPT_DAYS: u32 = 90;

impl Control {
    fn alerts(&self) -> String {
        format!("{}.alerts_sent", quote_ident(&self.schema))
    }

    /// Takes what is due, row by row by compare-and-set: a row that somebody else has taken, or told of meanwhile, or seen in a
    /// newer look, is left to him.
    pub(crate) async fn claim_alerts(&self, client: &impl GenericClient, look: &AlertLook) -> Result<AlertClaim> {
        let id = self.ask(client, "select pg_catalog.gen_random_uuid()::text as id", &[]).await?;
        let id: String =
            value(id.first().ok_or_else(|| Error::new(ErrorKind::Internal, "target: no number came back"))?, "id")?;
        let mut due = self.claim_found(client, look, &id).await?;
        self.saw(client, look).await?;
        due.extend(self.claim_over(client, look, &id).await?);
        Ok(AlertClaim { id, due })
    }

    async fn claim_found(&self, client: &impl GenericClient, look: &AlertLook, id: &str) -> Result<Vec<DueThing>> {
        let (checks, subjects) = keys(&look.found);
        let messages: Vec<&str> = look.found.iter().map(|thing| thing.message.as_str()).collect();
        let (free, newest) = (free(), newest("excluded.seen_at"));
        // Told, but of another cause: it is due as what is new, and its end is told all the same.
        let to_come = to_come("a.sent_at");
        let other = "coalesce(a.sent_at is not null and excluded.check_name = any ($9) \
             and regexp_replace(a.message, '[0-9]+', '#', 'g') <> regexp_replace(excluded.message, '[0-9]+', '#', 'g'), false)";
        // In one order for all: two commands that take the same rows never wait for each other in a circle.
        let sql = format!(
            "insert into {} as a (alert, project, check_name, subject, message, since, seen_at, claim, claimed_at) \
             select $1, $2, f.check_name, f.subject, f.message, $6, $6, $7, pg_catalog.clock_timestamp() \
             from unnest($3, $4, $5) as f(check_name, subject, message) order by 3, 4 \
             on conflict (alert, project, check_name, subject) do update set message = excluded.message, \
                 since = case when a.over_at is null and not {other} then a.since else excluded.since end, \
                 sent_at = case when a.over_at is not null then null when {other} then '-infinity' else a.sent_at end, over_at = null, \
                 seen_at = excluded.seen_at, claim = excluded.claim, claimed_at = excluded.claimed_at \
             where {newest} and {free} and (a.sent_at is null or a.sent_at = '-infinity' or a.over_at is not null or {other} \
                 or ($8 > 0 and (a.sent_at <= pg_catalog.clock_timestamp() - $8 * interval '1 microsecond' or {to_come}))) \
             returning check_name, subject, message, since, case when sent_at is null or sent_at = '-infinity' then 'new' else 'again' end as due",
            self.alerts()
        );
        let params: Params<'_> = &[
            (&look.alert, Type::TEXT),
            (&look.project, Type::TEXT),
            (&checks, Type::TEXT_ARRAY),
            (&subjects, Type::TEXT_ARRAY),
            (&messages, Type::TEXT_ARRAY),
            (&look.at, Type::TIMESTAMPTZ),
            (&id, Type::TEXT),
            (&look.repeat.0, Type::INT8),
            (&look.by_cause, Type::TEXT_ARRAY),
        ];
        self.ask(client, &sql, params).await?.iter().map(due_thing).collect()
    }

    /// What is found goes on, told or not: an older look that did not find it yet must not call it over.
    async fn saw(&self, client: &impl GenericClient, look: &AlertLook) -> Result<()> {
        let (checks, subjects) = keys(&look.found);
        let sql = format!(
            "with seen as (select check_name, subject from {alerts} a where alert = $1 and project = $2 \
                 and (a.seen_at < $5 or {to_come}) and over_at is null \
                 and (check_name, subject) in (select * from unnest($3, $4)) order by 1, 2 for update) \
             update {alerts} a set seen_at = $5 from seen s where a.alert = $1 and a.project = $2 \
                 and (a.check_name, a.subject) = (s.check_name, s.subject) returning a.subject",
            alerts = self.alerts(),
            to_come = to_come("a.seen_at")
        );
        let params: Params<'_> = &[
            (&look.alert, Type::TEXT),
            (&look.project, Type::TEXT),
            (&checks, Type::TEXT_ARRAY),
            (&subjects, Type::TEXT_ARRAY),
            (&look.at, Type::TIMESTAMPTZ),
        ];
        self.ask(client, &sql, params).await.map(drop)
    }

    /// What is over: to be told if it was told before, and else only kept as such.
    async fn claim_over(&self, client: &impl GenericClient, look: &AlertLook, id: &str) -> Result<Vec<DueThing>> {
        let (checks, subjects) = keys(&look.found);
        let (unknown_checks, unknown_subjects): (Vec<String>, Vec<String>) = look.unknown.iter().cloned().unzip();
        let (free, newest) = (free(), newest("$6"));
        let sql = format!(
            "with gone as (select a.check_name, a.subject from {alerts} a where a.alert = $1 and a.project = $2 \
                 and {newest} and a.subject = any ($5) and (a.check_name, a.subject) not in (select * from unnest($9, $10)) and {free} and (a.over_at is null or a.claim is not null) \
                 and (a.check_name, a.subject) not in (select * from unnest($3, $4)) order by 1, 2 for update) \
             update {alerts} a set over_at = $6, seen_at = $6, \
                 claim = case when $8 and a.sent_at is not null then $7 end, \
                 claimed_at = case when $8 and a.sent_at is not null then pg_catalog.clock_timestamp() end \
             from gone g where a.alert = $1 and a.project = $2 and (a.check_name, a.subject) = (g.check_name, g.subject) \
             returning a.check_name, a.subject, a.message, a.since, case when a.claim is not null then 'recovered' end as due",
            alerts = self.alerts()
        );
        let params: Params<'_> = &[
            (&look.alert, Type::TEXT),
            (&look.project, Type::TEXT),
            (&checks, Type::TEXT_ARRAY),
            (&subjects, Type::TEXT_ARRAY),
            (&look.subjects, Type::TEXT_ARRAY),
            (&look.at, Type::TIMESTAMPTZ),
            (&id, Type::TEXT),
            (&look.recovered, Type::BOOL),
            (&unknown_checks, Type::TEXT_ARRAY),
            (&unknown_subjects, Type::TEXT_ARRAY),
        ];
        let rows = self.ask(client, &sql, params).await?;
        let told = rows.iter().filter(|row| row.try_get::<_, Option<&str>>("due").is_ok_and(|due| due.is_some()));
        told.map(due_thing).collect()
    }

    /// Ends a claim that nobody has taken over.
    pub(crate) async fn settle_alerts(&self, client: &impl GenericClient, id: &str, sent: bool) -> Result<()> {
        let set = if sent {
            "sent_at = case when over_at is null then pg_catalog.clock_timestamp() else sent_at end"
        } else {
            // It is to be told still that it is over.
            "over_at = null"
        };
        let sql = format!(
            "update {} set {set}, claim = null, claimed_at = null where claim = $1 returning subject",
            self.alerts()
        );
        self.ask(client, &sql, &[(&id, Type::TEXT)]).await.map(drop)
    }

    /// Removes rows of what has long been over, or is looked at by nobody, and tells how many; `dry_run` only tells.
    pub(crate) async fn expire_alerts(&self, client: &impl GenericClient, dry_run: bool) -> Result<u64> {
        let old = format!("where coalesce(over_at, seen_at) < pg_catalog.now() - interval '{KEPT_DAYS} days'");
        let sql = if dry_run {
            format!("select subject from {} {old}", self.alerts())
        } else {
            format!("delete from {} {old} returning subject", self.alerts())
        };
        Ok(self.ask(client, &sql, &[]).await?.len() as u64)
    }
}

/// That nobody is telling of the row `a` at this moment.
fn free() -> String {
    let expires = AlertClaim::EXPIRES.0;
    let to_come = to_come("a.claimed_at");
    format!(
        "(a.claim is null or a.claimed_at < pg_catalog.clock_timestamp() - {expires} * interval '1 microsecond' or {to_come})"
    )
}

/// That nobody has seen the row `a` in a look newer than `at`.
fn newest(at: &str) -> String {
    format!("(a.seen_at <= {at} or {})", to_come("a.seen_at"))
}

/// That a moment was stamped before the server's clock was set back: waiting for it could take years.
fn to_come(stamp: &str) -> String {
    let expires = AlertClaim::EXPIRES.0;
    format!("{stamp} > pg_catalog.clock_timestamp() + {expires} * interval '1 microsecond'")
}

fn keys(things: &[AlertThing]) -> (Vec<&str>, Vec<&str>) {
    things.iter().map(|thing| (thing.check.as_str(), thing.subject.as_str())).unzip()
}

fn due_thing(row: &Row) -> Result<DueThing> {
    let due = match value::<&str>(row, "due")? {
        "new" => AlertDue::New,
        "again" => AlertDue::Again,
        _ => AlertDue::Recovered,
    };
    let thing = AlertThing {
        check: value(row, "check_name")?,
        subject: value(row, "subject")?,
        message: value(row, "message")?,
    };
    Ok(DueThing { due, thing, since: value(row, "since")? })
}
