//! Several sources into one warehouse: relations that become tables by themselves, and sources of which nothing is read.

use crate::init::dwh;
use crate::support::{Output, Project, number};
use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;
use std::fs;

const WWW: &str = "
    create table orders (id int primary key, total numeric, updated_at timestamptz not null default now());
    create table order_lines (id int, line int, updated_at timestamptz not null default now(), primary key (id, line));
    create table migration_1 (id int primary key, updated_at timestamptz);
    create table tiny (id int primary key, name text);
    create table events (id int, updated_at timestamptz not null default now(), primary key (id, updated_at))
        partition by range (updated_at);
    create table events_old partition of events for values from (minvalue) to ('2026-01-01');
    create table events_rest partition of events default;
    create table people (id int primary key, updated_at timestamptz not null default now());
    create table staff (pay int) inherits (people);
    create view shown as select * from orders;
    insert into orders (id, total) select i, i * 1.5 from generate_series(1, 20) i;
    insert into order_lines (id, line) select i, 1 from generate_series(1, 30) i;
    insert into events values (1, '2025-05-01'), (2, '2026-02-01');
    insert into people values (1, now()); insert into staff values (2, now(), 5);
    insert into tiny values (1, 'a'), (2, null);";

const MANIFEST: &str = "tables:
  issues:
    import_db: APP_DB
    import_query: SELECT id, title, updated_at FROM issues WHERE updated_at BETWEEN '{BEGIN_TIMESTAMP}' AND '{END_TIMESTAMP}'
    export_schema: tap
    export_table: issues
    export_table_primary_key: id
";

/// A database, a second one whose relations become tables by themselves, a folder of files and a manifest.
struct Several {
    app: TestDb,
    www: TestDb,
    project: Project,
}

impl Several {
    async fn new() -> Self {
        let (app, www) = tokio::join!(TestDb::new("sources_app"), TestDb::new("sources_www"));
        app.src(
            "create table trips (id int primary key, updated_at timestamptz not null default now());
             insert into trips select i from generate_series(1, 10) i;
             create table issues (id int primary key, title text, updated_at timestamptz not null default now());
             insert into issues values (1, 'a', now() - interval '1 hour');",
        )
        .await;
        www.src(WWW).await;
        let raw = app.blobs().join("raw");
        fs::create_dir_all(&raw).expect("folder");
        fs::write(raw.join("a.json"), "[{\"id\": 1, \"amount\": 2.50}]").expect("file");
        let toml = app.config("[thresholds]\ndisk_used = 100\n")
            + &format!(
                "[source.www]\nurl = \"{}\"\nschema = \"www\"\ninclude = [\"public.*\"]\nexclude = [\"public.migration_*\"]\n\
                 [source.www.defaults]\nmode = \"incremental\"\nwatermark = \"updated_at\"\non_conflict = \"update\"\n\
                 [source.raw]\nfiles = \"file://{}\"\nschema = \"files\"\n\
                 [[manifest]]\npath = \"m.yaml\"\nsource = {{ APP_DB = \"app\" }}\n\
                 [[table]]\nname = \"trips\"\nsource = \"app\"\nrelation = \"public.trips\"\nmode = \"snapshot\"\n\
                 [[table]]\nsource = \"www\"\nrelation = \"public.tiny\"\nmode = \"snapshot\"\n\
                 [[table]]\nname = \"grants\"\nsource = \"raw\"\nfiles = \"*.json\"\nmode = \"files\"\n\
                 [table.columns]\nid = {{ type = \"integer\" }}\namount = {{ type = \"numeric\" }}\n",
                www.source_url_as("app_ro"),
                raw.display()
            );
        let project = with_manifest(Project::written(toml, Vec::new()));
        Self { app, www, project }
    }

    /// The same with one of the databases switched off.
    fn without(&self, db: &TestDb) -> Project {
        let url = db.source_url_as("app_ro");
        with_manifest(self.project.config_with(&url, "postgresql://app_ro:x@127.0.0.1:9/off"))
    }

    async fn is_copied(&self, relation: &str) {
        let source = self.www.source().query_one(&format!("select count(*) from {relation}"), &[]).await.expect("rows");
        let bronze = number(&self.app, &format!("select count(*) from www.{relation}")).await;
        assert_eq!(bronze, source.get::<_, i64>(0), "{relation}");
    }
}

fn with_manifest(project: Project) -> Project {
    fs::write(project.folder().join("m.yaml"), MANIFEST).expect("manifest");
    project
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}

fn findings<'a>(report: &'a Value, check: &str) -> Vec<(&'a str, &'a str)> {
    let all = report["findings"].as_array().expect("findings").iter().filter(|found| found["check"] == check);
    all.map(|found| (found["severity"].as_str().unwrap_or_default(), found["message"].as_str().unwrap_or_default()))
        .collect()
}

fn tables(report: &Value) -> Vec<&str> {
    report["tables"].as_array().expect("tables").iter().filter_map(|table| table["table"].as_str()).collect()
}

#[tokio::test]
async fn databases_files_and_manifests_into_one_warehouse() {
    let several = Several::new().await;
    let project = &several.project;
    let dry = project.json(&["migrate", "--dry-run"]);
    let found = ["www.events", "www.order_lines", "www.orders", "www.people"];
    assert_eq!(texts(&dry["tables_found"]), found, "no view, no partition, no heir, nothing of an extension");
    let sql = project.ok(&["migrate", "--print-sql"]).stdout;
    assert!(sql.contains("discovered_relations") && sql.contains("'www.orders'"), "{sql}");
    let early = project.dwh(&["run", "www.orders"]);
    assert!(early.code == 2 && early.stderr.contains("dwh migrate"), "{}", early.all());
    let only = project.json(&["migrate", "www.order*", "trips"]);
    assert_eq!(texts(&only["tables_found"]), ["www.order_lines", "www.orders"]);
    assert_eq!(texts(&only["tables_created"]), ["bronze.trips", "www.order_lines", "www.orders"]);
    let told = project.ok(&["migrate"]);
    assert!(
        told.stdout.contains("taken          www.events") && !told.stdout.contains("taken          www.orders"),
        "{}",
        told.all()
    );
    assert!(texts(&project.json(&["migrate"])["tables_found"]).is_empty());
    project.ok(&["run"]);
    for relation in ["orders", "order_lines", "events", "people", "tiny"] {
        several.is_copied(relation).await;
    }
    assert_eq!(number(&several.app, "select count(*) from bronze.trips").await, 10);
    assert_eq!(number(&several.app, "select count(*) from files.grants").await, 1);
    assert_eq!(number(&several.app, "select count(*) from tap.issues").await, 1);
    let all =
        ["trips", "www.tiny", "grants", "tap.issues", "www.events", "www.order_lines", "www.orders", "www.people"];
    assert_eq!(tables(&project.json(&["status"])), all);
    assert_eq!(
        tables(&project.json(&["status", "www.*"])),
        ["www.tiny", "www.events", "www.order_lines", "www.orders", "www.people"]
    );
    project.ok(&["recover"]);
    project.ok(&["verify"]);
    nobody_could_look(&several).await;
    one_is_switched_off(&several).await;
    migrate_goes_on_without_one(&several).await;
    relations_come_and_go(&several).await;
    lost(&several).await;
}

/// A source that was off when `migrate` looked is not passed over.
async fn nobody_could_look(several: &Several) {
    let project = &several.project;
    let forget = "create table looked as select * from dwh_control.discovered_relations; delete from dwh_control.discovered_relations";
    several.app.tgt(forget).await;
    for verb in [&["run"][..], &["run", "--dry-run"], &["status", "--check"]] {
        let said = project.dwh(verb);
        let told = said.all().contains("source `www`: no table of its `include` is known yet");
        assert!(said.code == 4 && told && said.all().contains("dwh migrate"), "{}", said.all());
    }
    project.ok(&["run", "trips"]);
    project.ok(&["status", "--check", "trips"]);
    several.app.tgt("insert into dwh_control.discovered_relations select * from looked; drop table looked").await;
    project.ok(&["run"]);
}

/// What is asked for of one source does not need the other.
async fn one_is_switched_off(several: &Several) {
    several
        .www
        .src("update orders set total = 0, updated_at = now() where id = 7; insert into order_lines values (99, 1)")
        .await;
    let project = several.without(&several.app);
    for args in [
        &["run", "www.orders*"][..],
        &["run", "www.*", "--dry-run"],
        &["verify", "www.orders"],
        &["status", "www.*"],
        &["check", "www.*"],
        &["migrate", "www.*"],
        &["recover", "www.*"],
        &["extract", "www.people", "--dry-run"],
        &["runs", "--table", "www.*"],
    ] {
        project.ok(args);
    }
    assert_eq!(number(&several.app, "select count(*) from www.orders where total = 0").await, 1);
    let project = several.without(&several.www);
    for args in [
        &["run", "trips"][..],
        &["check", "trips"],
        &["verify", "trips"],
        &["migrate", "trips", "grants"],
        &["run", "raw"],
    ] {
        project.ok(args);
    }
    several.app.src("insert into trips values (11)").await;
    let all = project.dwh(&["run"]);
    assert_eq!(all.code, 3, "{}", all.all());
    assert_eq!(number(&several.app, "select count(*) from bronze.trips").await, 11, "the other one goes on");
    let causes = |output: &Output| output.stderr.matches("hint:").count();
    assert!(causes(&all) == 1 && all.stderr.contains("5 tables (`www."), "{}", all.all());
    several.is_copied("orders").await;
}

/// `migrate` of everything makes what the sources need that answer, and tells once which one does not.
async fn migrate_goes_on_without_one(several: &Several) {
    several.app.src("create table fresh (id int primary key); insert into fresh values (1)").await;
    several.www.src("create table newer (id int primary key, updated_at timestamptz)").await;
    let table = "[[table]]\nname = \"fresh\"\nsource = \"app\"\nrelation = \"public.fresh\"\nmode = \"snapshot\"\n";
    let off = several.without(&several.www);
    let project = with_manifest(off.config_with("[[table]]\n", &format!("{table}[[table]]\n")));
    let names = ["www.tiny", "www.events", "www.order_lines", "www.orders", "www.people"];
    for (args, made) in [(&["migrate", "--dry-run"][..], 0), (&["migrate"], 1), (&["migrate", "fresh", "www.*"], 1)] {
        let report = project.fails(3, args).json();
        let [refused] = &report["refused"].as_array().expect("refused")[..] else { panic!("one cause: {report:#}") };
        assert_eq!((refused["code"].as_str(), texts(&refused["tables"])), (Some("unreachable"), names.to_vec()));
        let (cause, hint) = (refused["cause"].as_str().expect("text"), refused["hint"].as_str().expect("text"));
        assert!(
            cause.contains("source `www`: nothing answers at")
                && hint.ends_with("once the source answers: `dwh migrate`")
        );
        assert!(!hint.is_empty() && texts(&report["tables_found"]).is_empty(), "{report:#}");
        let there = number(&several.app, "select count(*) from pg_class where oid = to_regclass('bronze.fresh')").await;
        assert_eq!(there, made, "{report:#}");
    }
    let told = project.dwh(&["migrate"]);
    assert!(told.code == 3 && told.stdout.contains("NOT LOOKED AT  5 tables: `www.tiny`"), "{}", told.all());
    project.ok(&["run", "fresh"]);
    // Of the only source that is meant it is an error as of any command, and so is SQL for others to apply.
    for args in [&["migrate", "www.*"][..], &["migrate", "--print-sql"], &["design", "pull"]] {
        let output = project.dwh(args);
        assert!(output.code == 3 && output.stderr.matches("hint:").count() == 1, "{}", output.all());
        assert!(output.stderr.contains("source `www`: nothing answers at"), "{}", output.all());
    }
    // Something else that is wrong is told beside it.
    several.app.src("alter table fresh rename to stale").await;
    let both = project.fails(1, &["migrate"]).json();
    assert_eq!(both["refused"].as_array().map(Vec::len), Some(2), "{both:#}");
    several.www.src("drop table newer").await;
    several.app.tgt("drop table bronze.fresh; delete from dwh_control.extract_watermarks where table_name = 'fresh'; delete from dwh_control.table_contracts where table_name = 'fresh'").await;
}

/// What appears is told by `check` and taken by `migrate`; what disappears is told, and stays in bronze.
async fn relations_come_and_go(several: &Several) {
    let project = &several.project;
    several
        .www
        .src(
            "create table late (id int primary key, updated_at timestamptz default now()); insert into late values (1)",
        )
        .await;
    let report = project.json(&["check", "www.*"]);
    let new = findings(&report, "patterns");
    assert!(new.contains(&("warning", "`include` matches what is no table yet: public.late")), "{new:?}");
    assert!(!tables(&project.json(&["status"])).contains(&"www.late"));
    assert_eq!(texts(&project.json(&["migrate"])["tables_found"]), ["www.late"]);
    project.ok(&["run", "www.late"]);
    several.is_copied("late").await;
    several.www.src("drop table late").await;
    let report = project.dwh(&["check", "www.*", "--output", "json"]).json();
    let gone = findings(&report, "patterns");
    assert!(gone.contains(&("warning", "not there any more: public.late; bronze keeps their rows")), "{gone:?}");
    let migrated = project.dwh(&["migrate"]);
    assert!(migrated.code == 4 && migrated.stdout.contains("`www.late`"), "{}", migrated.all());
    assert_ne!(project.dwh(&["run", "www.late"]).code, 0);
    assert_eq!(number(&several.app, "select count(*) from www.late").await, 1, "never dropped");
    let without = with_manifest(project.config_with("exclude = [", "exclude = [\"public.late\", "));
    without.ok(&["run"]);
    // Two of one name.
    several.www.src("create schema audit; create table audit.orders (id int primary key)").await;
    let both = with_manifest(project.config_with("include = [\"public.*\"]", "include = [\"public.*\", \"audit.*\"]"));
    let refused = both.fails(4, &["migrate"]).json();
    let clash = refused["refused"]
        .as_array()
        .expect("refused")
        .iter()
        .find(|one| one["tables"][0] == "www.orders")
        .expect("a clash");
    let cause = clash["cause"].as_str().expect("text");
    assert!(cause.contains("public.orders and audit.orders"), "{cause}");
}

/// The warehouse is lost; what patterns had found is known from the blob store alone.
async fn lost(several: &Several) {
    let project = with_manifest(several.project.config_with("exclude = [", "exclude = [\"public.late\", "));
    several.app.tgt("drop schema dwh_control cascade; drop schema www cascade; drop schema bronze cascade; drop schema files cascade; drop schema tap cascade").await;
    let off =
        with_manifest(project.config_with(&several.www.source_url_as("app_ro"), "postgresql://x:x@127.0.0.1:9/off"));
    let dry = off.json(&["rebuild", "--dry-run"]);
    assert!(tables(&dry).contains(&"www.orders"), "{dry:#}");
    off.ok(&["rebuild"]);
    for relation in ["orders", "order_lines", "events", "people"] {
        several.is_copied(relation).await;
    }
    several.www.src("insert into orders (id) values (500)").await;
    project.ok(&["run", "www.orders"]);
    several.is_copied("orders").await;
    assert!(texts(&project.json(&["migrate"])["tables_found"]).is_empty(), "they are remembered again");
}

#[tokio::test]
async fn init_adds_a_source_behind_what_is_there() {
    let (main, www) = tokio::join!(TestDb::new("add_main"), TestDb::new("add_www"));
    main.src("create table trips (id int primary key, name text); insert into trips values (1, 'a')").await;
    www.src("create table trips (id int primary key, n int); insert into trips values (1, 2), (2, 3); create schema audit; create table audit.trips (id int primary key); create table orders (id int primary key)").await;
    let folder = tempfile::tempdir().expect("folder");
    let (source, target, blob) = (main.source_url_as("app_ro"), main.target_url_as("dwh_loader"), main.blob_url());
    let call = |variables: &[(&str, &str)], args: &[&str]| dwh(folder.path(), variables, args);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect(name);
    let first =
        call(&[("DWH_SOURCE_URL", &source), ("DWH_TARGET_URL", &target)], &["init", "--blob", &blob, "--name", "dw"]);
    assert_eq!(first.code, 0, "{}", first.all());
    let ok = |args: &[&str]| {
        let output = call(&[], args);
        assert_eq!(output.code, 0, "{}", output.all());
        output
    };
    ok(&["migrate"]);
    ok(&["run"]);
    let (toml, env, grants) = (read("dwh.toml"), read(".env"), read("grants.sql"));
    let other = www.source_url_as("app_ro");
    let added = [("DWH_SOURCE_URL", other.as_str())];
    let dry = call(&added, &["init", "--add", "www", "--dry-run"]);
    assert!(dry.code == 0 && dry.stdout.contains("[source.www]") && read("dwh.toml") == toml, "{}", dry.all());
    let done = call(&added, &["init", "--add", "www"]);
    assert_eq!(done.code, 0, "{}", done.all());
    assert!(read("dwh.toml").starts_with(&toml) && read(".env").starts_with(&env) && read("grants.sql") == grants);
    assert!(!read("dwh.toml").contains(&other) && read("grants-www.sql").contains("\"app_ro\""));
    let again = call(&added, &["init", "--add", "www"]);
    assert!(again.code == 2 && again.stderr.contains("has a source `www` already"), "{}", again.all());
    ok(&["migrate"]);
    ok(&["run"]);
    assert_eq!(number(&main, "select count(*) from bronze.trips").await, 1);
    assert_eq!(number(&main, "select count(*) from www.public_trips").await, 2);
    let status: Value = ok(&["status", "--output", "json"]).json();
    assert_eq!(tables(&status), ["trips", "www.audit_trips", "www.orders", "www.public_trips"]);
    assert_equal_tables(&main, "select * from trips", "select * from bronze.trips").await;
}
