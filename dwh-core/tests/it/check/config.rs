//! What the configuration asks for, and what a sound database makes of it.

use dwh_core::Pipeline;
use dwh_core::operate::{CheckReport, Finding, MigrateRequest, Severity};
use dwh_core::testing::TestDb;

use super::{TABLE, check, pipeline, problems, sound, walk};

fn find<'a>(report: &'a CheckReport, word: &str) -> &'a Finding {
    report.findings.iter().find(|finding| finding.check == word).unwrap_or_else(|| panic!("no {word}: {report:#?}"))
}

/// SQL for both ends, lines of the table, and the finding: severity, word, words.
type Case = (&'static str, &'static str, &'static str, Severity, &'static str, &'static str);

const RELATION: &str = "relation = \"app.trips\"";

const CASES: [Case; 12] = [
    ("", "", "fixed_lag = \"5m\"", Severity::Warning, "bound", "by the look for late rows alone"),
    ("", "", "fixed_lag = \"5m\"\nlate_window = \"0\"", Severity::Failure, "bound", "by nothing"),
    ("", "", "late_window = \"0\"", Severity::Ok, "sweep", "the safe bound alone"),
    (
        "insert into app.trips values (1, 'x', '2000-01-02'), (2, 'y', now())",
        "",
        "window = \"1m\"",
        Severity::Warning,
        "window",
        "files, at a window of 1 min 0 s each",
    ),
    (
        "alter table app.trips alter recorded_at type timestamp using recorded_at at time zone 'UTC'",
        "alter table bronze.trips alter recorded_at type timestamp using recorded_at at time zone 'UTC'",
        "",
        Severity::Failure,
        "configuration",
        "has no time zone",
    ),
    (
        "alter table app.trips alter recorded_at type timestamp using recorded_at at time zone 'UTC'",
        "alter table bronze.trips alter recorded_at type timestamp using recorded_at at time zone 'UTC'",
        "watermark_timezone = \"Asia/Tokyo\"",
        Severity::Warning,
        "watermark_timezone",
        "sessions at the source run in",
    ),
    (
        "alter table app.trips alter recorded_at type timestamp using recorded_at at time zone 'UTC'",
        "alter table bronze.trips alter recorded_at type timestamp using recorded_at at time zone 'UTC'",
        "watermark_timezone = \"UTC\"",
        Severity::Ok,
        "watermark_timezone",
        "`recorded_at` is read in UTC",
    ),
    (
        "do $$ begin execute format('alter database %I set timezone = %L', current_database(), 'Europe/Berlin'); end $$; \
         alter table app.trips alter recorded_at type timestamp using recorded_at at time zone 'UTC'",
        "alter table bronze.trips alter recorded_at type timestamp using recorded_at at time zone 'UTC'",
        "watermark_timezone = \"Europe/Berlin\"",
        Severity::Warning,
        "watermark_timezone",
        "clocks of Europe/Berlin go back on",
    ),
    // A part of the key that is unique tells its rows apart, and so does a constraint that is deferred.
    (
        "alter table app.trips alter note set not null",
        "alter table bronze.trips drop constraint trips_pkey, add primary key (id, note)",
        "key = [\"id\", \"note\"]",
        Severity::Ok,
        "source_key",
        "unique, by (id)",
    ),
    (
        "alter table app.trips drop constraint trips_pkey, add unique (id) deferrable",
        "",
        "",
        Severity::Ok,
        "source_key",
        "keeps (id) unique",
    ),
    // A trigger stamps as well as a default does.
    (
        "alter table app.trips alter recorded_at drop default; create function app.stamp() returns trigger \
         language plpgsql as 'begin new.recorded_at := now(); return new; end'; \
         create trigger stamp before insert on app.trips for each row execute function app.stamp()",
        "",
        "",
        Severity::Ok,
        "watermark",
        "indexed and never NULL",
    ),
    (
        "do $$ begin execute format('alter role app_ro in database %I set statement_timeout = %L', current_database(), '30s'); end $$",
        "",
        "",
        Severity::Ok,
        "timeouts",
        "none that would",
    ),
];

#[tokio::test]
async fn what_the_configuration_asks_for_is_judged() {
    for (source, target, lines, severity, word, words) in CASES {
        let db = sound("check_config").await;
        db.src(source).await;
        db.tgt(target).await;
        let key = "key = [\"id\"]\n";
        let table = if lines.starts_with("key") { TABLE.replace(key, "") } else { TABLE.to_owned() };
        let report = pipeline(&db.config(&format!("{table}{lines}\n"))).check(&[]).await.expect("tables");
        let finding = find(&report, word);
        assert_eq!(finding.severity, severity, "{lines}: {finding:?}");
        assert!(finding.message.contains(words), "{lines}: {finding:?}");
        let others: Vec<_> = problems(&report).into_iter().filter(|other| other.check != word).collect();
        assert!(others.is_empty(), "{lines}: {others:#?}");
        // What goes on in the clusters' roles and databases ends with the database.
        if word == "timeouts" {
            let source = report.findings.iter().find(|f| f.subject == "source app" && f.check == word).expect("source");
            assert!(source.message.contains("`statement_timeout = 30000ms` of the role, switched off"), "{source:?}");
        }
    }
}

#[tokio::test]
async fn the_autumn_hour_is_mended_by_a_zone() {
    let db = sound("check_autumn").await;
    let to = "alter recorded_at type timestamp using recorded_at at time zone 'UTC'";
    db.src(&format!("do $$ begin execute format('alter database %I set timezone = %L', current_database(), 'Europe/Berlin'); end $$; alter table app.trips {to}")).await;
    db.tgt(&format!("alter table bronze.trips {to}")).await;
    let text = db.config(&format!("{TABLE}watermark_timezone = \"Europe/Berlin\"\n"));
    let report = pipeline(&text).check(&[]).await.expect("tables");
    db.src(find(&report, "watermark_timezone").remedy.as_ref().expect("remedy").trim_start_matches("in the source: "))
        .await;
    let report = pipeline(&text).check(&[]).await.expect("tables");
    let found = problems(&report);
    assert_eq!(found.iter().map(|finding| finding.check.as_str()).collect::<Vec<_>>(), ["drift"], "{found:#?}");
}

#[tokio::test]
async fn a_view_is_told_to_have_no_late_rows() {
    let db = sound("check_view").await;
    db.src("create view app.v_trips as select * from app.trips").await;
    let report =
        pipeline(&db.config(&TABLE.replace(RELATION, "relation = \"app.v_trips\""))).check(&[]).await.expect("tables");
    let found = find(&report, "sweep");
    assert_eq!(found.severity, Severity::Warning);
    assert!(found.message.contains("app.v_trips, which is no table"), "{found:?}");
    let query = TABLE.replace(RELATION, "query = \"select * from app.trips\"");
    let report = pipeline(&db.config(&query)).check(&[]).await.expect("tables");
    assert!(find(&report, "sweep").message.contains("rows of a query"), "{report:#?}");
}

#[tokio::test]
async fn null_watermarks_are_told_and_mended() {
    let db = sound("check_null").await;
    db.src("alter table app.trips alter recorded_at drop not null; insert into app.trips values (1, 'x', null)").await;
    db.tgt("alter table bronze.trips alter recorded_at drop not null").await;
    let report = check(&db).await;
    let words: Vec<&str> = problems(&report).iter().map(|finding| finding.check.as_str()).collect();
    assert_eq!(words, ["watermark_null", "watermark_rows"]);
    assert_eq!(report.exit_code(), 4);
    let remedy = find(&report, "watermark_rows").remedy.clone().expect("remedy");
    db.src(remedy.trim_start_matches("in the source: ")).await;
    assert!(problems(&check(&db).await).is_empty());
}

#[tokio::test]
async fn row_security_at_the_source_is_told_and_mended() {
    let db = sound("check_rls").await;
    db.src(
        "create role check_rls login password 'it''s 50% @ /home'; grant usage on schema app to check_rls; \
         grant select on app.trips to check_rls; grant pg_read_all_stats to check_rls; \
         alter table app.trips enable row level security",
    )
    .await;
    let text = db.config(TABLE).replace("app_ro:", "check_rls:");
    let report = pipeline(&text).check(&[]).await.expect("tables");
    let found = problems(&report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].check.as_str(), found[0].severity), ("source", Severity::Failure));
    db.src(found[0].remedy.as_ref().expect("remedy").trim_start_matches("in the source: ")).await;
    assert!(problems(&pipeline(&text).check(&[]).await.expect("tables")).is_empty());
    db.src("drop owned by check_rls; drop role check_rls").await;
}

#[tokio::test]
async fn types_that_the_target_lacks_are_told_before_migrate_fails() {
    let db = sound("check_types").await;
    db.src(
        "create extension hstore; create type app.mood as enum ('ok'); \
         create table app.odd (id int primary key, h public.hstore, moods app.mood[], m app.mood)",
    )
    .await;
    let table = "[[table]]\nname = \"odd\"\nrelation = \"app.odd\"\nmode = \"snapshot\"\n";
    let text = db.config(table);
    let report = pipeline(&text).check(&[]).await.expect("tables");
    let told: Vec<_> = report.findings.iter().filter(|finding| finding.check == "type").collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].message.contains("`hstore`"), "{told:#?}");
    assert_eq!(
        told[0].remedy.as_deref(),
        Some("in the target, as a superuser: create extension if not exists \"hstore\";")
    );
    let refused = pipeline(&text).migrate(&MigrateRequest::default()).await.expect("a report").refused;
    assert_eq!((refused.len(), refused[0].cause.as_str()), (1, told[0].message.as_str()));
    // The enum is made by `migrate` itself.
    db.tgt("create extension hstore").await;
    let migrated = pipeline(&text).migrate(&MigrateRequest::default()).await;
    assert!(migrated.is_ok(), "{migrated:?}");
    assert!(problems(&pipeline(&text).check(&[]).await.expect("tables")).is_empty());
}

#[tokio::test]
async fn bronze_rules_depend_on_the_mode() {
    let db = sound("check_modes").await;
    db.src("create table app.devices (id int primary key, name text)").await;
    let table = |mode: &str| {
        db.config(&format!("[[table]]\nname = \"devices\"\nrelation = \"app.devices\"\nmode = \"{mode}\"\n"))
    };
    pipeline(&table("snapshot")).migrate(&MigrateRequest::default()).await.expect("migrate");
    db.tgt(
        "create unique index by_id on bronze.devices (id); create unique index by_name on bronze.devices (name); \
            create table public.owners (device int)",
    )
    .await;
    let report = pipeline(&table("snapshot")).check(&[]).await.expect("tables");
    let found = problems(&report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].message.contains("`by_name` of bronze.devices refuses rows"), "{found:#?}");
    assert_eq!(found[0].severity, Severity::Warning);
    db.tgt(found[0].remedy.as_ref().expect("remedy").trim_start_matches("in the target: ")).await;

    db.tgt("alter table public.owners add constraint of_device foreign key (device) references bronze.devices (id)")
        .await;
    let report = pipeline(&table("snapshot")).check(&[]).await.expect("tables");
    let leads_here = find(&report, "constraint");
    assert_eq!(leads_here.severity, Severity::Failure, "{leads_here:?}");
    db.tgt(leads_here.remedy.as_ref().expect("remedy").trim_start_matches("in the target: ")).await;
    assert!(problems(&pipeline(&table("snapshot")).check(&[]).await.expect("tables")).is_empty());

    db.tgt("alter table bronze.devices add column _uploaded_at timestamptz not null").await;
    let report = pipeline(&table("scd")).check(&[]).await.expect("tables");
    let second = find(&report, "other_unique");
    assert_eq!(second.severity, Severity::Failure, "{second:?}");
    db.tgt(second.remedy.as_ref().expect("remedy").trim_start_matches("in the target: ")).await;
    assert!(problems(&pipeline(&table("scd")).check(&[]).await.expect("tables")).is_empty());
}

/// Sessions of this database besides the test's own.
async fn alone(db: &TestDb) {
    let others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    while db.target().query_one(others, &[]).await.expect("count").get::<_, i64>(0) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn too_few_connections_are_told() {
    let db = sound("check_connections").await;
    alone(&db).await;
    db.tgt("do $$ begin execute format('alter database %I connection limit 2', current_database()); end $$").await;
    let report = check(&db).await;
    let found = problems(&report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].subject.as_str(), found[0].check.as_str()), ("target", "connections"));
    assert_eq!(found[0].message, "a run opens up to 3, and 1 of 2 are free");
    db.tgt(found[0].remedy.as_ref().expect("remedy").trim_start_matches("in the target: ")).await;
    assert!(problems(&check(&db).await).is_empty());
}

#[tokio::test]
async fn another_run_is_known_by_its_lock_and_not_by_its_note() {
    let db = sound("check_lease").await;
    db.tgt("update dwh_control.extract_watermarks set lease_holder = 'elsewhere pid 7', lease_since = '2026-10-01'")
        .await;
    let report = check(&db).await;
    assert!(problems(&report).is_empty(), "{:#?}", problems(&report));
    assert!(find(&report, "lease").message.contains("elsewhere pid 7, which took it at 2026-10-01"), "{report:#?}");

    let holder = db.another_target().await;
    let lock = "select pg_advisory_lock(hashtextextended('dwh dwh_control trips', 0))";
    holder.execute(lock, &[]).await.expect("lock");
    let report = check(&db).await;
    let lease = find(&report, "lease");
    assert_eq!(lease.severity, Severity::Warning);
    assert!(lease.message.contains("another run works on it: elsewhere pid 7, since 2026-10-01"), "{lease:?}");
    assert!(!report.findings.iter().any(|finding| finding.check == "unfinished"), "it is not over yet");

    db.tgt("update dwh_control.extract_watermarks set lease_holder = null, lease_since = null").await;
    let lease = find(&check(&db).await, "lease").message.clone();
    assert!(lease.contains("another run works on it: session "), "{lease}");
    // A run may begin while check looks: it takes no lock itself.
    holder.execute("select pg_advisory_unlock_all()", &[]).await.expect("unlock");
    assert_eq!(find(&check(&db).await, "lease").severity, Severity::Ok);
}

#[tokio::test]
async fn files_that_wait_in_exports_are_told() {
    let db = sound("check_exports").await;
    let folder = db.blobs().join("test/exports/trips");
    std::fs::create_dir_all(&folder).expect("folder");
    std::fs::write(folder.join("20261001_0000_EAT_7.csv"), "id\n").expect("file");
    let report = check(&db).await;
    assert_eq!(find(&report, "unfinished").message, "1 file waits in exports/");
    assert_eq!(walk(db.blobs()).len(), 1, "check has moved or left something");
}

#[tokio::test]
async fn a_trigger_that_stamps_nothing_does_not_count() {
    let db = sound("check_trigger").await;
    db.src(
        "alter table app.trips alter recorded_at drop default; create function app.other() returns trigger \
         language plpgsql as 'begin new.note := now(); return new; end'; \
         create trigger other before insert on app.trips for each row execute function app.other()",
    )
    .await;
    assert_eq!(find(&check(&db).await, "watermark_default").severity, Severity::Warning);
}

#[test]
fn files_with_passwords_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("dwh.toml");
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
    };
    let text = "[project]\nname = \"x\"\ntimezone = \"UTC\"\n[source.app]\nurl = \"postgresql://u:${PASSWORD}@127.0.0.1:1/x\"\n\
                [target]\nurl = \"postgresql://u@127.0.0.1:1/x\"\n[blob]\nurl = \"file:///nowhere\"\n\
                [[table]]\nname = \"t\"\nrelation = \"a.t\"\nmode = \"snapshot\"\n";
    let told = |text: &str| {
        std::fs::write(&path, text).expect("file");
        let environment = [("HOME", "/nowhere"), ("PASSWORD", "canary")].into_iter().collect();
        let config = dwh_core::Config::parse(text, &path, environment).expect("configuration");
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        let report = runtime
            .block_on(async { Pipeline::from_config(config).expect("pipeline").check(&[]).await.expect("tables") });
        find(&report, "secrets").clone()
    };
    mode(folder.path(), 0o700);
    assert_eq!(told(text).severity, Severity::Ok);
    let env = folder.path().join(".env");
    std::fs::write(&env, "PASSWORD=canary\n").expect("file");
    mode(&env, 0o644);
    let found = told(text);
    assert_eq!(found.severity, Severity::Warning);
    assert_eq!(found.remedy, Some(format!("chmod 600 {}", env.display())));
    mode(&env, 0o600);
    assert_eq!(told(text).severity, Severity::Ok);
    mode(&path, 0o644);
    let written = text.replace("${PASSWORD}", "canary");
    let found = told(&written);
    assert_eq!(found.severity, Severity::Warning);
    assert!(!format!("{found:?}").contains("canary"));
    mode(&path, 0o600);
    assert_eq!(told(&written).severity, Severity::Ok);
}
