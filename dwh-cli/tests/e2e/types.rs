//! Every type with hostile values, through every store, form and mode; and what happens when bronze cannot take them.

use crate::support::{Project, READABLE, files, number, table, total};
use dwh_core::testing::{S3Server, TestDb, assert_equal_tables};

const TYPES: &str = include_str!("../data/zoo_types.sql");
const ZOO: &str = include_str!("../data/zoo.sql");

/// Settings under which text means something else than at the other end.
const ODD_SETTINGS: [&str; 7] = [
    "datestyle = 'SQL, DMY'",
    "intervalstyle = 'sql_standard'",
    "bytea_output = 'escape'",
    "extra_float_digits = 0",
    "timezone = 'Asia/Kathmandu'",
    "xmloption = 'document'",
    "standard_conforming_strings = off",
];

#[derive(Clone, Copy)]
enum Odd {
    Source,
    Target,
}

async fn zoo(test: &str, odd: Odd) -> TestDb {
    let db = TestDb::new(test).await;
    db.src(TYPES).await;
    db.tgt(TYPES).await;
    db.src(ZOO).await;
    let (role, client) = match odd {
        Odd::Source => ("app_ro", db.source()),
        Odd::Target => ("dwh_loader", db.target()),
    };
    for setting in ODD_SETTINGS {
        let sql = format!("alter role {role} in database \"{}\" set {setting}", db.name());
        client.batch_execute(&sql).await.expect("setting");
    }
    db
}

/// The configured name of each copy, and the table at the source.
const COPIES: [(&str, &str, &str, &str); 9] = [
    ("everything_inc", "everything", "incremental", "ewkt"),
    ("everything_all", "everything", "snapshot", "ewkt"),
    ("lonely", "lonely", "snapshot", "ewkt"),
    ("shapes_inc_ewkt", "shapes", "incremental", "ewkt"),
    ("shapes_inc_ewkb", "shapes", "incremental", "ewkb"),
    ("shapes_all_ewkt", "shapes", "snapshot", "ewkt"),
    ("shapes_all_ewkb", "shapes", "snapshot", "ewkb"),
    ("specials_inc", "specials", "incremental", "ewkb"),
    ("specials_all", "specials", "snapshot", "ewkb"),
];

fn copies() -> String {
    let copy = |(name, relation, mode, form): &(&str, &str, &str, &str)| {
        let incremental = if *mode == "incremental" { "watermark = \"at\"\nkey = [\"id\"]\n" } else { "" };
        table(name, &format!("zoo.{relation}"), mode, &format!("geometry = \"{form}\"\n{incremental}"))
    };
    COPIES.iter().map(copy).collect()
}

async fn goes_through(db: &TestDb, project: &Project) {
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    for (name, relation, ..) in COPIES {
        let (source, target) = (format!("select * from zoo.{relation}"), format!("select * from bronze.{name}"));
        assert!(number(db, &format!("select count(*) from bronze.{name}")).await > 5, "{name}");
        assert_equal_tables(db, &source, &target).await;
    }
    let again = project.json(&["run", "*_inc*"]);
    for (name, ..) in COPIES.iter().filter(|copy| copy.2 == "incremental") {
        assert_eq!(total(&again, name, "rows_loaded"), 0, "{name} is loaded twice");
    }
}

#[tokio::test]
async fn types_as_plain_files() {
    let db = zoo("types_plain", Odd::Source).await;
    goes_through(&db, &Project::new(&db, &copies())).await;
}

#[tokio::test]
async fn types_as_gzip() {
    let db = zoo("types_gzip", Odd::Target).await;
    goes_through(&db, &compressed(&db, "gzip")).await;
    assert!(files(db.blobs()).iter().any(|file| file.to_string_lossy().ends_with(".csv.gz")));
}

#[tokio::test]
async fn types_as_zstd() {
    let db = zoo("types_zstd", Odd::Source).await;
    goes_through(&db, &compressed(&db, "zstd")).await;
    assert!(files(db.blobs()).iter().any(|file| file.to_string_lossy().ends_with(".csv.zst")));
}

fn compressed(db: &TestDb, how: &str) -> Project {
    Project::new(db, &copies()).config_with("[blob]", &format!("[blob]\ncompression = \"{how}\""))
}

// The server runs in this process while the test waits for the command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_through_s3() {
    let db = zoo("types_s3", Odd::Target).await;
    let server = S3Server::start_in_process().await;
    let address = format!("url = \"s3://{}/pre\"\nendpoint = \"{}\"", server.bucket, server.endpoint);
    let project = Project::new(&db, &copies())
        .config_with(&format!("url = \"{}\"", db.blob_url()), &address)
        .env("AWS_ACCESS_KEY_ID", &server.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &server.secret_key);
    goes_through(&db, &project).await;
    assert!(files(db.blobs()).is_empty(), "nothing lies in the folder of another store");
}

/// A small table, loaded once, and then changed at either end.
async fn changed(test: &str, columns: &str, value: &str, mode: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    for sql in ["create type mood as enum ('ok', 'bad')", "create domain positive as integer check (value > 0)"] {
        db.src(sql).await;
        db.tgt(sql).await;
    }
    db.src(&format!(
        "create schema app; {READABLE} create table app.t (id int primary key, at timestamptz not null default now(), {columns});
         create index on app.t (at); insert into app.t values (1, now(), {value});"
    ))
    .await;
    let more = if mode == "incremental" { "watermark = \"at\"\nkey = [\"id\"]\n" } else { "" };
    let project = Project::new(&db, &table("t", "app.t", mode, more));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    assert_eq!(number(&db, "select count(*) from bronze.t").await, 1);
    (db, project)
}

const WATERMARK: &str = "select coalesce((extract(epoch from last_extracted_at) * 1000000)::bigint, 0)
    from dwh_control.extract_watermarks where table_name = 't'";

#[derive(Debug, PartialEq)]
struct State {
    watermark: i64,
    rows: i64,
    rows_sum: i64,
    exports: usize,
    processed: usize,
}

async fn state(db: &TestDb) -> State {
    State {
        watermark: number(db, WATERMARK).await,
        rows: number(db, "select count(*) from bronze.t").await,
        rows_sum: number(db, "select coalesce(sum(hashtext(t::text)), 0)::bigint from bronze.t").await,
        exports: files(&db.blobs().join("test/exports")).len(),
        processed: files(&db.blobs().join("test/processed")).len(),
    }
}

/// The run fails for drift, names the column, and leaves no CSV and no other trace but the run log.
async fn drift_is_named(db: &TestDb, project: &Project, words: &[&str]) {
    db.src("insert into app.t (id) values (2)").await;
    let before = state(db).await;
    let failure = project.fails(4, &["run"]).failure("t");
    assert_eq!(failure.code, "drift", "{failure:?}");
    failure.names(words);
    assert_eq!(state(db).await, before);
    let check = project.dwh(&["check"]);
    assert_eq!(check.code, 4, "{}", check.all());
    assert!(check.stdout.contains(words[0]), "{}", check.all());
}

#[tokio::test]
async fn an_added_column_is_named() {
    for mode in ["incremental", "snapshot"] {
        let (db, project) = changed(&format!("drift_added_{mode}"), "v int", "1", mode).await;
        db.src("alter table app.t add column extra text").await;
        drift_is_named(&db, &project, &["`extra`", "text", "not in bronze"]).await;
    }
}

#[tokio::test]
async fn a_changed_type_is_named_and_the_hint_mends_it() {
    let (db, project) = changed("drift_type", "v int", "1", "incremental").await;
    db.src("alter table app.t alter column v type bigint").await;
    drift_is_named(&db, &project, &["`v`", "bigint", "integer"]).await;
    db.tgt("alter table bronze.t alter column v type bigint").await;
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.t", "select * from bronze.t").await;
}

#[tokio::test]
async fn a_narrower_numeric_in_bronze_is_named() {
    let (db, project) = changed("drift_numeric", "v numeric(12, 4)", "1.2345", "incremental").await;
    db.tgt("alter table bronze.t alter column v type numeric(6, 2)").await;
    drift_is_named(&db, &project, &["`v`", "numeric(12,4)", "numeric(6,2)"]).await;
}

#[tokio::test]
async fn another_srid_is_named() {
    let (db, project) = changed("drift_srid", "g geometry(Point, 4326)", "null", "incremental").await;
    db.src("alter table app.t alter column g type geometry(Point, 3857) using null").await;
    drift_is_named(&db, &project, &["`g`", "4326", "3857"]).await;
}

#[tokio::test]
async fn a_column_that_bronze_alone_requires_is_named() {
    let (db, project) = changed("drift_removed", "v int not null default 1", "1", "incremental").await;
    db.src("alter table app.t drop column v").await;
    drift_is_named(&db, &project, &["`v`", "not in the source"]).await;
}

/// A value that bronze refuses: named, nothing is loaded, the watermark stays, the CSV waits in `exports/`, and the
/// next run loads it once bronze is mended.
async fn refused_value(db: &TestDb, project: &Project, words: &[&str], mend: &str) {
    let before = state(db).await;
    let failure = project.fails(4, &["run"]).failure("t");
    failure.names(words);
    let after = state(db).await;
    assert_eq!((after.watermark, after.rows, after.rows_sum), (before.watermark, before.rows, before.rows_sum));
    assert_eq!((after.exports, after.processed), (2, before.processed), "the CSV and its manifest wait");
    db.tgt(mend).await;
    project.ok(&["run"]);
    assert_equal_tables(db, "select * from app.t", "select * from bronze.t").await;
    assert_eq!(state(db).await.exports, 0);
}

#[tokio::test]
async fn a_missing_enum_label_loads_nothing() {
    for mode in ["incremental", "snapshot"] {
        let (db, project) = changed(&format!("enum_{mode}"), "v mood", "'ok'", mode).await;
        db.src("alter type mood add value 'new'").await;
        db.src("insert into app.t (id, v) values (2, 'ok'), (3, 'new')").await;
        refused_value(&db, &project, &["mood"], "alter type mood add value 'new'").await;
    }
}

#[tokio::test]
async fn a_stricter_domain_loads_nothing() {
    let (db, project) = changed("domain_check", "v positive", "1", "incremental").await;
    db.tgt("alter domain positive add constraint small check (value < 100)").await;
    db.src("insert into app.t (id, v) values (2, 5), (3, 100)").await;
    refused_value(&db, &project, &["positive", "small"], "alter domain positive drop constraint small").await;
}

#[tokio::test]
async fn a_check_on_jsonb_loads_nothing() {
    let (db, project) = changed("jsonb_check", "v jsonb", "'{\"a\": 1}'", "incremental").await;
    db.tgt("alter table bronze.t add constraint has_a check (v ? 'a')").await;
    db.src("insert into app.t (id, v) values (2, '{\"a\": null}'), (3, '{\"secret-value\": 1}')").await;
    let said = project.dwh(&["run"]).all();
    assert!(!said.contains("secret-value"), "row values are not for logs:\n{said}");
    let (before, failure) = (state(&db).await, project.fails(4, &["run"]).failure("t"));
    failure.names(&["has_a"]);
    assert_eq!(state(&db).await, before, "a second attempt leaves no second CSV");
    assert_eq!(before.rows, 1);
    db.tgt("alter table bronze.t drop constraint has_a").await;
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.t", "select * from bronze.t").await;
}

#[tokio::test]
async fn json_that_jsonb_cannot_hold_stops_at_the_source() {
    let (db, project) = changed("json_nul", "v json", "'{}'", "incremental").await;
    db.tgt("alter table bronze.t alter column v type jsonb using v::jsonb").await;
    let project = project.config_with("key = [\"id\"]", "key = [\"id\"]\n[table.select]\nv = \"v::jsonb\"");
    db.src(r#"insert into app.t (id, v) values (2, '{"a": "\u0000"}')"#).await;
    let before = state(&db).await;
    let output = project.fails(4, &["run"]);
    assert!(!output.failure("t").message.is_empty());
    let after = state(&db).await;
    assert_eq!((after.watermark, after.rows, after.processed), (before.watermark, before.rows, before.processed));
}
