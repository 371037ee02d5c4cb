//! Set-ups that are broken in one way each: the finding that tells, and its remedy applied.

use dwh_core::operate::{Finding, MigrateRequest, Severity};
use dwh_core::testing::TestDb;

use super::{TABLE, check, pipeline, problems, sound};

/// What breaks the source, what breaks the target, and the one finding that tells: severity, subject, check, words.
type Case = (&'static str, &'static str, Severity, &'static str, &'static str, &'static str);

const CASES: [Case; 36] = [
    ("grant insert on app.trips to app_ro", "", Severity::Failure, "source app", "read_only", "may write to app.trips"),
    (
        "grant update (note) on app.trips to app_ro",
        "",
        Severity::Failure,
        "source app",
        "read_only",
        "may write to app.trips",
    ),
    ("revoke select on app.trips from app_ro", "", Severity::Failure, "table `trips`", "source", "lacks select"),
    (
        "alter table app.trips alter recorded_at drop not null; alter table app.trips add check (recorded_at is not null)",
        "alter table bronze.trips alter recorded_at drop not null",
        Severity::Warning,
        "table `trips`",
        "watermark_null",
        "`recorded_at` may be NULL",
    ),
    (
        "drop index app.trips_recorded_at_idx",
        "",
        Severity::Warning,
        "table `trips`",
        "watermark_index",
        "no index leads with `recorded_at`",
    ),
    (
        "alter table app.trips alter recorded_at drop default",
        "",
        Severity::Warning,
        "table `trips`",
        "watermark_default",
        "no `default now()`",
    ),
    (
        "alter table app.trips alter recorded_at type timestamptz(3)",
        "alter table bronze.trips alter recorded_at type timestamptz(3)",
        Severity::Warning,
        "table `trips`",
        "watermark_precision",
        "rounded",
    ),
    (
        "alter table app.trips drop constraint trips_pkey; create index on app.trips (id)",
        "",
        Severity::Warning,
        "table `trips`",
        "source_key",
        "does not keep (id) unique",
    ),
    ("alter table app.trips add speed int", "", Severity::Failure, "table `trips`", "drift", "`speed`"),
    (
        "",
        "alter table bronze.trips drop constraint trips_pkey",
        Severity::Failure,
        "table `trips`",
        "key",
        "no PRIMARY KEY or UNIQUE",
    ),
    ("", "drop table bronze.trips", Severity::Failure, "table `trips`", "bronze", "bronze has no table"),
    (
        "",
        "grant insert on bronze.trips to grafana_ro",
        Severity::Failure,
        "target",
        "reader",
        "may write to bronze.trips",
    ),
    (
        "",
        "delete from dwh_control.schema_migrations where name like '%views%'",
        Severity::Failure,
        "target",
        "control_schema",
        "observability_views",
    ),
    (
        "",
        "delete from dwh_control.extract_watermarks",
        Severity::Failure,
        "table `trips`",
        "watermark_row",
        "no watermark row",
    ),
    (
        "",
        "alter table bronze.trips enable row level security, force row level security",
        Severity::Failure,
        "table `trips`",
        "row_security",
        "would hide rows",
    ),
    (
        "",
        "create function f() returns trigger language plpgsql as 'begin return null; end'; \
          create trigger dropper before insert on bronze.trips for each row execute function f()",
        Severity::Warning,
        "table `trips`",
        "trigger",
        "`dropper`",
    ),
    (
        "",
        "alter table bronze.trips owner to postgres; revoke all on bronze.trips from dwh_owner",
        Severity::Failure,
        "table `trips`",
        "rights",
        "may not load bronze.trips",
    ),
    ("grant insert on app.trips to public", "", Severity::Failure, "source app", "read_only", "may write to app.trips"),
    (
        "revoke select on app.trips from app_ro; grant select (id, note) on app.trips to app_ro",
        "",
        Severity::Failure,
        "table `trips`",
        "source",
        "select on the columns `recorded_at`",
    ),
    (
        "revoke usage on schema app from app_ro",
        "",
        Severity::Failure,
        "table `trips`",
        "source",
        "usage of schema `app`",
    ),
    (
        "revoke select on app.trips from app_ro; grant select (id, note, recorded_at) on app.trips to app_ro",
        "",
        Severity::Warning,
        "table `trips`",
        "sweep",
        "not its transaction numbers",
    ),
    (
        "alter table app.trips drop constraint trips_pkey; create unique index on app.trips (id) where id > 0",
        "",
        Severity::Warning,
        "table `trips`",
        "source_key",
        "it is partial",
    ),
    (
        "alter table app.trips drop constraint trips_pkey, alter id drop not null, add unique (id)",
        "",
        Severity::Warning,
        "table `trips`",
        "source_key",
        "`id` may be NULL",
    ),
    (
        "insert into app.trips values (1, 'x', 'infinity')",
        "",
        Severity::Failure,
        "table `trips`",
        "watermark_rows",
        "`recorded_at` is infinity in some rows",
    ),
    (
        "do $$ begin execute format('alter database %I set track_activities = off', current_database()); end $$",
        "",
        Severity::Warning,
        "source app",
        "activity",
        "`track_activities` is off",
    ),
    (
        "",
        "alter table bronze.trips drop constraint trips_pkey, add unique (id) deferrable",
        Severity::Failure,
        "table `trips`",
        "key",
        "it is deferrable",
    ),
    (
        "",
        "alter table bronze.trips drop constraint trips_pkey; create unique index on bronze.trips (id) where id > 0",
        Severity::Failure,
        "table `trips`",
        "key",
        "it is partial",
    ),
    (
        "",
        "alter table bronze.trips drop constraint trips_pkey, alter id drop not null, add unique (id)",
        Severity::Failure,
        "table `trips`",
        "key",
        "`id` may be NULL",
    ),
    (
        "",
        "alter table bronze.trips alter id type int",
        Severity::Failure,
        "table `trips`",
        "drift",
        "`id` is bigint in the source but integer in bronze",
    ),
    (
        "",
        "create unique index on bronze.trips (note)",
        Severity::Warning,
        "table `trips`",
        "other_unique",
        "`trips_note_idx` of bronze.trips is a second rule of uniqueness",
    ),
    (
        "",
        "alter table bronze.trips add constraint ex exclude using btree (note with =)",
        Severity::Warning,
        "table `trips`",
        "other_unique",
        "`ex` of bronze.trips",
    ),
    (
        "",
        "alter table bronze.trips add constraint odd check (id % 2 = 1)",
        Severity::Warning,
        "table `trips`",
        "constraint",
        "check `odd`",
    ),
    (
        "",
        "create table public.devices (id bigint primary key); \
         alter table bronze.trips add constraint of_device foreign key (id) references public.devices",
        Severity::Warning,
        "table `trips`",
        "constraint",
        "foreign key `of_device`",
    ),
    (
        "",
        "create rule keep as on delete to bronze.trips do instead nothing",
        Severity::Warning,
        "table `trips`",
        "rule",
        "rule `keep`",
    ),
    (
        "",
        "do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$",
        Severity::Failure,
        "target",
        "writable",
        "`dwh_loader` only reads there",
    ),
    (
        "",
        "update dwh_control.extract_watermarks set last_extracted_at = now() + interval '1 day'",
        Severity::Failure,
        "table `trips`",
        "watermark_row",
        "lies in the future",
    ),
];

/// Flaws of the source, with the remedies that mend them.
#[tokio::test]
async fn each_flaw_of_a_source_is_found_alone_and_its_remedy_mends_it() {
    each(|case| case.1.is_empty()).await;
}

/// Flaws of the target alone.
#[tokio::test]
async fn each_flaw_of_a_target_is_found_alone_and_its_remedy_mends_it() {
    each(|case| case.0.is_empty()).await;
}

/// Flaws that both ends share.
#[tokio::test]
async fn each_flaw_of_both_ends_is_found_alone_and_its_remedy_mends_it() {
    each(|case| !case.0.is_empty() && !case.1.is_empty()).await;
}

async fn each(wanted: impl Fn(&Case) -> bool) {
    for case in CASES.into_iter().filter(wanted) {
        flaw(case).await;
    }
}

async fn flaw(case: Case) {
    let (source, target) = (case.0, case.1);
    let db = sound("check_flaw").await;
    let finding = broken(&db, case).await;
    apply(&db, finding.remedy.as_deref().expect("remedy")).await;
    // What was mended at one end may have to be followed at the other.
    for finding in problems(&check(&db).await) {
        let follows = ["drift", "sweep"].contains(&finding.check.as_str());
        assert!(follows, "the remedy does not mend it: {finding:?}");
        apply(&db, finding.remedy.as_deref().expect("remedy")).await;
    }
    let report = check(&db).await;
    assert!(problems(&report).is_empty(), "{source}{target} is not mended: {:#?}", problems(&report));
}

/// Breaks it, and returns the only finding that is not well.
async fn broken(db: &TestDb, (source, target, severity, subject, word, words): Case) -> Finding {
    db.src(source).await;
    db.tgt(target).await;
    let report = check(db).await;
    let found = problems(&report);
    assert_eq!(found.len(), 1, "{source}{target}: {found:#?}");
    let finding = found[0];
    assert_eq!(
        (finding.severity, finding.subject.as_str(), finding.check.as_str()),
        (severity, subject, word),
        "{finding:?}"
    );
    assert!(finding.message.contains(words), "{finding:?}");
    assert_eq!(report.exit_code() != 0, severity == Severity::Failure, "{finding:?}");
    finding.clone()
}

/// Does what a remedy says, as an administrator.
async fn apply(db: &TestDb, remedy: &str) {
    // What comes after the statements is another way to mend it.
    let first = remedy.split("\nor ").next().and_then(|text| text.split("\n(").next()).expect("text");
    match (first.strip_prefix("in the source: "), first.strip_prefix("in the target: ")) {
        (Some(sql), _) => {
            for statement in sql.split_inclusive(';') {
                db.src(statement).await;
            }
        }
        (_, Some(sql)) => db.tgt(sql).await,
        _ => {
            assert!(remedy.contains("dwh migrate"), "{remedy}");
            pipeline(&db.config(TABLE)).migrate(&MigrateRequest::default()).await.expect("migrate");
        }
    }
}

/// As [`Case`], with what mends it at the source and at the target, where the remedy is no SQL.
type ByHand = (Case, &'static str, &'static str);

const BY_HAND: [ByHand; 4] = [
    (
        (
            "insert into app.trips values (1, 'x', now() + interval '2 hours')",
            "",
            Severity::Warning,
            "table `trips`",
            "watermark_future",
            "ahead of the source's clock",
        ),
        "delete from app.trips",
        "",
    ),
    (
        (
            "create subscription check_flaw connection 'dbname=x' publication p \
             with (connect = false, enabled = false, create_slot = false, slot_name = none); \
             insert into pg_subscription_rel select oid, 'app.trips'::regclass, 'r', null from pg_subscription",
            "",
            Severity::Warning,
            "table `trips`",
            "subscription",
            "stamps of the publisher",
        ),
        "drop subscription check_flaw",
        "",
    ),
    (
        (
            "",
            "update dwh_control.schema_migrations set checksum = checksum || 'x' where name like '%views%'",
            Severity::Failure,
            "target",
            "control_schema",
            "with other contents",
        ),
        "",
        "update dwh_control.schema_migrations set checksum = rtrim(checksum, 'x')",
    ),
    (
        (
            "",
            "insert into dwh_control.extract_runs (table_name, status) values ('trips', 'extracting')",
            Severity::Warning,
            "table `trips`",
            "unfinished",
            "is `extracting`",
        ),
        "",
        "delete from dwh_control.extract_runs",
    ),
];

#[tokio::test]
async fn each_flaw_that_no_sql_mends_is_found_alone() {
    for (case, source, target) in BY_HAND {
        let db = sound("check_by_hand").await;
        let finding = broken(&db, case).await;
        assert!(finding.remedy.as_ref().is_some_and(|remedy| !remedy.starts_with("in the ")), "{finding:?}");
        db.src(source).await;
        db.tgt(target).await;
        let report = check(&db).await;
        assert!(problems(&report).is_empty(), "{case:?} is not mended: {:#?}", problems(&report));
    }
}
