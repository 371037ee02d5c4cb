//! `check` on set-ups that are broken in one way each, and its remedies applied.

mod config;
mod flaws;
mod gates;
mod rights;
mod store;

use dwh_core::operate::{CheckReport, Finding, MigrateRequest, Severity};
use dwh_core::testing::TestDb;
use dwh_core::{Config, Pipeline};

const TABLE: &str = "[[table]]\nname = \"trips\"\nrelation = \"app.trips\"\nmode = \"incremental\"\nwatermark = \"recorded_at\"\nkey = [\"id\"]\n";

fn pipeline(text: &str) -> Pipeline {
    let config =
        Config::parse(text, "dwh.toml".as_ref(), [("HOME", "/nowhere")].into_iter().collect()).expect("configuration");
    Pipeline::from_config(config).expect("pipeline")
}

/// A source with one good table, and a target that was migrated for it.
async fn sound(name: &str) -> TestDb {
    let db = TestDb::new(name).await;
    db.src(
        "create schema app; create table app.trips (id bigint primary key, note text, \
         recorded_at timestamptz not null default now()); create index on app.trips (recorded_at)",
    )
    .await;
    pipeline(&db.config(TABLE)).migrate(&MigrateRequest::default()).await.expect("migrate");
    db
}

async fn check(db: &TestDb) -> CheckReport {
    pipeline(&db.config(TABLE)).check(&[]).await.expect("tables")
}

fn problems(report: &CheckReport) -> Vec<&Finding> {
    // How full this machine's disk is says nothing about the engine.
    report.findings.iter().filter(|finding| finding.severity != Severity::Ok && finding.check != "space").collect()
}

#[tokio::test]
async fn a_sound_set_up_has_nothing_to_mend() {
    let db = sound("check_sound").await;
    let report = check(&db).await;
    assert!(problems(&report).is_empty(), "{:#?}", problems(&report));
    assert_eq!(report.exit_code(), 0);
    for (subject, word) in [
        ("configuration", "secrets"),
        ("target", "connection"),
        ("target", "encoding"),
        ("target", "timeouts"),
        ("target", "connections"),
        ("target", "writable"),
        ("target", "login"),
        ("target", "role"),
        ("target", "reader"),
        ("target", "control_schema"),
        ("target", "rights"),
        ("target", "rehearsal"),
        ("source app", "rights"),
        ("table `trips`", "rehearsal"),
        ("source app", "connection"),
        ("source app", "tls"),
        ("source app", "version"),
        ("source app", "read_only"),
        ("source app", "activity"),
        ("source app", "clock"),
        ("table `trips`", "source"),
        ("table `trips`", "watermark"),
        ("table `trips`", "watermark_rows"),
        ("table `trips`", "sweep"),
        ("table `trips`", "source_key"),
        ("table `trips`", "bronze"),
        ("table `trips`", "watermark_row"),
        ("table `trips`", "lease"),
        ("table `trips`", "unfinished"),
        ("blob", "write"),
        ("blob", "space"),
        ("spool", "space"),
    ] {
        assert!(
            report.findings.iter().any(|finding| finding.subject == subject && finding.check == word),
            "{subject}: {word} was not looked at"
        );
    }
    let left: Vec<_> = walk(db.blobs());
    assert!(left.is_empty(), "the probe left {left:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn roles_with_too_many_or_too_few_rights_are_told() {
    let db = sound("check_roles").await;
    db.src("create role check_blind login password 'x'; grant usage on schema app to check_blind; grant select on app.trips to check_blind").await;
    db.tgt("create role check_stranger login password 'x'").await;
    let text = db.config(TABLE).replace("app_ro:", "check_blind:").replace("dwh_loader:", "check_stranger:");
    db.src("alter role check_blind password 'it''s 50% @ /home'").await;
    db.tgt("alter role check_stranger password 'it''s 50% @ /home'").await;
    let report = pipeline(&text).check(&[]).await.expect("tables");
    let tell = |subject: &str, word: &str| -> Finding {
        report
            .findings
            .iter()
            .find(|f| f.subject == subject && f.check == word && f.severity != Severity::Ok)
            .unwrap_or_else(|| panic!("{subject} {word}: {report:#?}"))
            .clone()
    };
    assert_eq!(
        tell("target", "login").remedy.as_deref(),
        Some("in the target: grant \"dwh_owner\" to \"check_stranger\";")
    );
    let blind = tell("source app", "activity");
    assert_eq!(blind.severity, Severity::Warning);
    assert_eq!(blind.remedy.as_deref(), Some("in the source: grant pg_read_all_stats to \"check_blind\";"));

    let function = text.replace("[source.app]\n", "[source.app]\nactivity_function = \"app.activity\"\n");
    let report = pipeline(&function).check(&[]).await.expect("tables");
    let found = report.findings.iter().find(|f| f.check == "activity").expect("activity");
    assert_eq!(found.severity, Severity::Failure);
    db.src(found.remedy.as_deref().expect("remedy").trim_start_matches("in the source: ")).await;
    let report = pipeline(&function).check(&[]).await.expect("tables");
    assert_eq!(
        report.findings.iter().find(|f| f.check == "activity").expect("activity").severity,
        Severity::Ok,
        "{report:#?}"
    );

    let all_powerful = db.config(TABLE).replace("app_ro:", "postgres:").replace("dwh_loader:", "postgres:");
    let report = pipeline(&all_powerful).check(&[]).await.expect("tables");
    let powers: Vec<_> = problems(&report).iter().map(|f| (f.subject.clone(), f.check.clone())).collect();
    assert_eq!(powers, [("target".into(), "login".into()), ("source app".into(), "read_only".into())]);
    db.src("drop owned by check_blind; drop role check_blind").await;
    db.tgt("drop role check_stranger").await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_and_the_rest_is_looked_at_all_the_same() {
    let db = sound("check_unreachable").await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("port").local_addr().expect("address").port();
    let source = db.source_url_as("app_ro");
    let down =
        source.replace(&format!(":{}/", dwh_core::testing::Clusters::shared().source.port()), &format!(":{free}/"));
    let report = pipeline(&db.config(TABLE).replace(&source, &down)).check(&[]).await.expect("tables");
    let found = problems(&report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].message, format!("nothing answers at 127.0.0.1:{free}"));
    assert_eq!((found[0].subject.as_str(), report.exit_code()), ("source app", 3));
    assert!(report.findings.iter().any(|f| f.subject == "target" && f.check == "control_schema"));

    let wrong = db
        .config(TABLE)
        .replace(&db.target_url_as("dwh_loader"), &db.target_url_as("dwh_loader").replace("it%27s", "hunter2canary"));
    let report = pipeline(&wrong).check(&[]).await.expect("tables");
    let found = problems(&report);
    assert!(found[0].message.contains("refuses the password of user `dwh_loader`"), "{found:#?}");
    assert!(report.findings.iter().any(|f| f.subject == "table `trips`" && f.check == "watermark"));
    assert!(!format!("{report:?}").contains("canary"));
}
