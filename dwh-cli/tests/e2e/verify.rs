//! Source against bronze: nothing that differs is missed, nothing that is on its way is told.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::{Project, files, number};
use dwh_core::testing::TestDb;
use serde_json::{Value, json};

const SCHEMA: &str = "create schema app; grant usage on schema app to app_ro;
    alter default privileges in schema app grant select on tables to app_ro;";

const EVENTS: &str = "create table app.events (
        id bigint, place text, note text, km numeric, at geometry(Point, 4326), secret text,
        recorded_at timestamptz not null default now(), primary key (id, place));
    create index on app.events (recorded_at);
    insert into app.events select i, 'p' || i % 3, nullif(repeat('x', i % 5), ''), i / 7.0,
        st_setsrid(st_makepoint(36.8 + i / 77777.0, -1.3 + i / 33333.0), 4326), 's' || i,
        timestamptz '2026-09-01Z' + i * interval '1 hour' from generate_series(1, 500) i;
    insert into app.events (id, place, note, recorded_at) values (0, '', '', '-infinity');";

const CONFIG: &str = r#"
[[table]]
name = "events"
relation = "app.events"
mode = "incremental"
watermark = "recorded_at"
key = ["id", "place"]
exclude = ["secret"]
window = "1d"
[table.select]
km = "km * 1000"
"#;

async fn project(test: &str, tables: &str, config: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(SCHEMA).await;
    db.src(tables).await;
    let project = Project::new(&db, config);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

fn one(report: &Value) -> &Value {
    assert_eq!(report["tables"].as_array().expect("tables").len(), 1, "{report:#}");
    &report["tables"][0]
}

fn counts(table: &Value) -> [u64; 4] {
    ["missing", "extra", "different", "in_flight"]
        .map(|name| table[name].as_u64().unwrap_or_else(|| panic!("{table:#}")))
}

#[tokio::test]
async fn a_deleted_row_and_a_changed_value_are_named() {
    let (db, project) = project("verify_named", EVENTS, CONFIG).await;
    let clean = project.json(&["verify"]);
    let table = one(&clean);
    assert_eq!((counts(table), &table["rows_source"], &table["rows_bronze"]), ([0; 4], &json!(501), &json!(501)));
    assert_eq!(table["windows"], 22, "{table:#}");
    db.tgt("delete from bronze.events where id = 77; update bronze.events set km = km + 1 where id = 300;").await;
    let report = project.fails(4, &["verify", "ev*"]).json();
    let table = one(&report);
    assert_eq!(counts(table), [1, 0, 1, 0]);
    assert_eq!(table["windows_differing"], 2);
    assert_eq!(table["keys"][0]["difference"], "missing");
    assert_eq!(table["keys"][0]["key"], json!({"id": "77", "place": "p2"}));
    assert_eq!(table["keys"][1]["difference"], "different");
    assert_eq!(table["keys"][1]["key"], json!({"id": "300", "place": "p0"}));
    let text = project.dwh(&["verify"]);
    assert!(
        text.stdout.contains("id=77") && text.stdout.contains("id=300") && text.stdout.contains("DIFFERENT"),
        "{}",
        text.all()
    );
    // Outside of what is asked for.
    project.ok(&["verify", "--since", "2026-09-20T00:00:00Z"]);
    // A backfill mends the one; the other one stays.
    project.ok(&["backfill", "events", "--from", "2026-09-01T00:00:00Z"]);
    assert_eq!(counts(one(&project.fails(4, &["verify"]).json())), [0, 0, 1, 0]);
}

#[tokio::test]
async fn every_kind_of_value_that_differs_is_found() {
    let (db, project) = project("verify_values", EVENTS, CONFIG).await;
    let changes = [
        "update bronze.events set note = null where note = ''",
        "update bronze.events set note = '' where id = 5",
        "update bronze.events set at = st_setsrid(st_makepoint(st_x(at) + 1e-13, st_y(at)), 4326) where id = 9",
        "update bronze.events set recorded_at = recorded_at + interval '1 microsecond' where id = 11",
        "update bronze.events set recorded_at = recorded_at + interval '3 days' where id = 12",
        // Two rows of a window that swapped a value: no value came or went.
        "update bronze.events e set note = o.note from bronze.events o where e.id = 51 and o.id = 52 or e.id = 52 and o.id = 51",
    ];
    let mut expected = 0;
    for change in changes {
        db.tgt(&change.replace("st_", "public.st_")).await;
        expected += if change.contains("o.note") { 2 } else { 1 };
        assert_eq!(counts(one(&project.fails(4, &["verify"]).json())), [0, 0, expected, 0], "{change}");
    }
    db.tgt("insert into bronze.events (id, place, recorded_at) values (9999, 'nowhere', '2026-09-03Z'), (9998, '', '-infinity')").await;
    let report = project.fails(4, &["verify", "--limit", "2"]).json();
    assert_eq!(counts(one(&report)), [0, 2, expected, 0]);
    assert_eq!(one(&report)["keys"].as_array().expect("keys").len(), 2);
    // The same hundredth part each time; all hundred together are everything.
    let part = |percent: &str| {
        let report = project.dwh(&["verify", "--sample", percent, "--output", "json"]).json();
        one(&report)["rows_source"].as_u64().expect("count")
    };
    assert_eq!(part("30"), part("30"));
    assert!(part("30") < part("60") && part("60") < 501);
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_while_a_writer_inserts_and_updates() {
    let config = CONFIG.replace("window = \"1d\"", "window = \"1d\"\non_conflict = \"update\"");
    let (db, project) = project("verify_writer", EVENTS, &config).await;
    let writer = db.another_source().await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut n = 0;
        while stopped.try_recv().is_err() {
            n += 1;
            let sql = format!(
                "insert into app.events (id, place) values ({}, 'w');
                 update app.events set note = 'u{n}', recorded_at = now() where id = {}",
                10_000 + n,
                1 + n % 500
            );
            writer.batch_execute(&sql).await.expect("writes");
        }
        n
    });
    let until = Instant::now() + Duration::from_secs(6);
    let mut in_flight = 0;
    while Instant::now() < until {
        let report = project.json(&["verify"]);
        let found = counts(one(&report));
        assert_eq!(found[..3], [0; 3], "{report:#}");
        in_flight += found[3];
        project.ok(&["run"]);
        assert_eq!(counts(one(&project.json(&["verify"])))[..3], [0; 3]);
    }
    stop.send(()).expect("writer");
    assert!(writing.await.expect("writer") > 10);
    assert!(in_flight > 0, "no row was ever in flight: the writer does not test anything");
}

const CITIES: &str = "create table app.cities (id int primary key, name text);
    insert into app.cities select i, 'c' || i from generate_series(1, 50) i;
    create table app.log (line text); insert into app.log values ('a'), ('a'), (null);";

const CITIES_CONFIG: &str = "
[[table]]\nname = \"cities\"\nrelation = \"app.cities\"\nmode = \"snapshot\"
[[table]]\nname = \"dated\"\nrelation = \"app.cities\"\nmode = \"scd\"
[[table]]\nname = \"log\"\nquery = \"select line from app.log\"\nmode = \"snapshot\"";

#[tokio::test]
async fn tables_that_are_read_whole() {
    let (db, project) = project("verify_whole", CITIES, CITIES_CONFIG).await;
    project.ok(&["run"]);
    project.ok(&["verify"]);
    // What changed at the source since the load is on its way, and no difference.
    db.src("insert into app.cities values (51, 'new'); update app.cities set name = 'renamed' where id = 7").await;
    let report = project.json(&["verify", "cities", "dated"]);
    for table in report["tables"].as_array().expect("tables") {
        assert_eq!(counts(table), [0, 0, 0, 2], "{table:#}");
        assert!(table["loaded_at"].is_string() && table["range"].is_null());
    }
    // What is deleted at the source cannot be told from what bronze should not have.
    db.src("delete from app.cities where id = 8").await;
    let report = project.fails(4, &["verify", "cities"]).json();
    assert_eq!(counts(one(&report)), [0, 1, 0, 2]);
    project.ok(&["run"]);
    project.ok(&["verify"]);
    db.tgt("update bronze.cities set name = 'x' where id = 1; delete from bronze.dated where id = 2; delete from bronze.log where line is null").await;
    let report = project.fails(4, &["verify"]).json();
    let found: Vec<[u64; 4]> = report["tables"].as_array().expect("tables").iter().map(counts).collect();
    assert_eq!(found[0], [0, 0, 1, 0]);
    assert_eq!(found[2], [1, 0, 0, 0]);
    assert!(found[1] == [1, 0, 0, 0] || found[1] == [0; 4], "the older copies of an scd table do not count");
}

#[tokio::test]
async fn files_are_read_and_compared() {
    let (db, project) = project("verify_files", EVENTS, CONFIG).await;
    db.src("insert into app.events (id, place) values (5000, 'x')").await;
    project.ok(&["run"]);
    project.ok(&["run"]);
    project.ok(&["backfill", "events", "--from", "2026-09-02T00:00:00Z", "--to", "2026-09-04T00:00:00Z"]);
    let report = project.json(&["verify", "--blobs"]);
    let blobs = one(&report)["blobs"].clone();
    assert_eq!(blobs["problems"], json!([]), "{blobs:#}");
    let processed = db.blobs().join("test/processed/events");
    let csvs = || files(&processed).into_iter().filter(|file| file.extension().is_some_and(|end| end == "csv"));
    assert_eq!(blobs["files"].as_u64().expect("count") as usize, csvs().count());
    let mut sorted: Vec<_> = csvs().collect();
    sorted.sort_by_key(|file| fs::metadata(file).and_then(|meta| meta.modified()).expect("time"));
    // A flipped byte.
    let mut bytes = fs::read(&sorted[3]).expect("read");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&sorted[3], bytes).expect("written");
    // A file of the middle that is gone with its manifest.
    fs::remove_file(&sorted[5]).expect("removed");
    fs::remove_file(sorted[5].with_extension("manifest.json")).expect("removed");
    // A manifest without its CSV, and a CSV without its manifest.
    fs::remove_file(&sorted[7]).expect("removed");
    fs::remove_file(sorted[9].with_extension("manifest.json")).expect("removed");
    // A row of the run log that says something else.
    db.tgt("update dwh_control.extract_runs set sha256 = repeat('0', 64) where run_id = (select min(run_id) + 2 from dwh_control.extract_runs)").await;
    let report = project.fails(4, &["verify", "--blobs"]).json();
    let problems = one(&report)["blobs"]["problems"].to_string();
    for word in
        ["sha256", "covers the time", "lost its CSV", "lost its manifest", "is not in", "the run log has another"]
    {
        assert!(problems.contains(word), "`{word}` is not in {problems}");
    }
    assert_eq!(counts(one(&report)), [0; 4]);
    // Each is followed by the command that mends it.
    let mut commands = std::collections::BTreeSet::new();
    for problem in one(&report)["blobs"]["problems"].as_array().expect("problems") {
        let words = problem.as_str().expect("a text").split('`').skip(1).step_by(2);
        let told: Vec<String> =
            words.filter(|word| word.starts_with("mv ") || word.starts_with("dwh ")).map(str::to_owned).collect();
        assert!(!told.is_empty(), "{problem}");
        commands.extend(told.into_iter().map(|command| (command.starts_with("dwh "), command)));
    }
    for (ours, command) in &commands {
        let args: Vec<&str> = command.split(' ').skip(1).collect();
        match ours {
            true => drop(project.ok(&args)),
            false => assert!(std::process::Command::new("sh").args(["-c", command]).status().expect("sh").success()),
        }
    }
    let mended = project.json(&["verify", "--blobs"]);
    assert_eq!(one(&mended)["blobs"]["problems"], json!([]), "{commands:#?}");
    project.ok(&["rebuild", "--reset"]);
    project.ok(&["verify", "--blobs"]);
}

/// A CSV with a late row, taken out of the archive.
async fn lost_late(test: &str) -> (TestDb, Project) {
    let (db, project) = project(test, EVENTS, CONFIG).await;
    db.src("insert into app.events (id, place, recorded_at) values (5001, 'late', now() - interval '1 hour')").await;
    let run = project.json(&["run"]);
    let late = format!("select rows_late from dwh_control.extract_runs where run_id = {}", run["runs"][0]["run_id"]);
    assert_eq!(number(&db, &late).await, 1, "{run:#}");
    let name = run["runs"][0]["csv_path"].as_str().expect("csv").rsplit('/').next().expect("name").to_owned();
    fs::remove_file(db.blobs().join("test/processed/events").join(name)).expect("removed");
    project.ok(&["run"]);
    let report = project.fails(4, &["verify", "--blobs"]).json();
    let problems = one(&report)["blobs"]["problems"].to_string();
    assert!(problems.contains("lost its CSV") && problems.contains("`dwh reseed events`"), "{problems}");
    (db, project)
}

/// Late rows lie anywhere below the window of their CSV: its window alone, read again, would not bring them back.
#[tokio::test]
async fn a_lost_csv_with_late_rows_is_read_again_from_the_first_row_on() {
    let (_db, project) = lost_late("verify_late").await;
    project.ok(&["reseed", "events"]);
    project.ok(&["verify", "--blobs"]);
}

#[tokio::test]
async fn a_window_that_a_reseed_found_empty_was_read_again_too() {
    let (db, project) = lost_late("verify_late_gone").await;
    // Its window is the last one, and no row is left in it.
    db.src("delete from app.events where recorded_at > now() - interval '2 days'").await;
    db.tgt("delete from bronze.events where recorded_at > now() - interval '2 days'").await;
    project.ok(&["reseed", "events"]);
    let last = "select count(*) from dwh_control.extract_runs where run_id = (select max(run_id) from \
                dwh_control.extract_runs) and kind = 'reseed' and csv_path is null";
    assert_eq!(number(&db, last).await, 1);
    project.ok(&["verify", "--blobs"]);
}

const PINGS: &str = "create table app.\"Pings\" (
        \"I'd\" text, \"select\" int, at timestamp(3) not null default now(), unique nulls not distinct (\"I'd\", \"select\"));
    insert into app.\"Pings\" select 'a\"b' || i, nullif(i, 7), timestamp '2026-09-01' + i * interval '1 ms'
        from generate_series(1, 6000) i;";

const PINGS_CONFIG: &str = r#"
[[table]]
name = "pings"
relation = "app.Pings"
mode = "incremental"
watermark = "at"
watermark_timezone = "America/New_York"
key = ["I'd", "select"]
window = "0"
"#;

#[tokio::test]
async fn many_rows_of_one_window_under_odd_names() {
    let db = TestDb::new("verify_many").await;
    db.src(&format!("{SCHEMA}{PINGS}")).await;
    let project = Project::new(&db, PINGS_CONFIG);
    project.ok(&["migrate"]);
    db.tgt(
        "alter table bronze.pings drop constraint pings_pkey, alter \"select\" drop not null, alter \"I'd\" drop not null,
             add unique nulls not distinct (\"I'd\", \"select\")",
    )
    .await;
    project.ok(&["run"]);
    let clean = project.json(&["verify"]);
    assert_eq!((counts(one(&clean)), &one(&clean)["windows"]), ([0; 4], &json!(1)), "{clean:#}");
    // More than is fetched or looked up at once, on both sides; keys with NULLs, and keys that moved to another day.
    db.tgt(
        "delete from bronze.pings where \"select\" % 3 = 0 or \"select\" is null;
         update bronze.pings set \"I'd\" = 'other' || \"I'd\" where \"select\" % 3 = 1;
         update bronze.pings set at = at + interval '2 days' where \"select\" between 1 and 3000 and \"select\" % 3 = 2",
    )
    .await;
    let report = project.fails(4, &["verify", "--limit", "0"]).json();
    assert_eq!(counts(one(&report)), [2000 + 1 + 1999, 1999, 1000, 0]);
    assert_eq!(one(&report)["keys"], json!([]));
}

/// Nothing compared is no pass, neither for the command nor for the gate that asks it.
#[tokio::test]
async fn what_was_not_compared_did_not_pass() {
    let db = TestDb::new("verify_nothing").await;
    db.src(SCHEMA).await;
    db.src(EVENTS).await;
    db.src("create table app.empty (id int primary key, at timestamptz not null default now())").await;
    let empty =
        CONFIG.replace("events", "empty").replace("recorded_at", "at").replace("[\"id\", \"place\"]", "[\"id\"]");
    let empty = empty.split("exclude").next().expect("a table").to_owned();
    let project = Project::new(&db, &(CONFIG.to_owned() + &empty));
    project.ok(&["migrate"]);
    let untold = |args: &[&str], why: &str| {
        let output = project.fails(4, args);
        let report = output.json();
        let table = &report["tables"][0];
        assert_eq!((&table["compared"], &table["range"], &table["error"]), (&json!(false), &json!(null), &json!(null)));
        assert!(table["not_compared"].as_str().expect("why").contains(why), "{}", output.all());
        let text = project.dwh(args);
        assert!(text.code == 4 && text.stdout.contains("NOT COMPARED") && text.stdout.contains(why), "{}", text.all());
    };
    untold(&["verify", "events"], "never loaded");
    project.ok(&["run"]);
    // Loaded without a single row: none was compared with none.
    let report = project.json(&["verify"]);
    for (table, rows) in report["tables"].as_array().expect("tables").iter().zip([501, 0]) {
        assert_eq!((&table["compared"], &table["rows_source"]), (&json!(true), &json!(rows)), "{table:#}");
    }
    untold(&["verify", "events", "--since", "2999-01-01T00:00:00Z"], "--since");
    // A sample without a single row of the table: all of it is compared instead.
    db.tgt("delete from bronze.events where id <> 3").await;
    db.src("delete from app.events where id <> 3").await;
    for percent in ["1", "2", "3"] {
        let report = project.json(&["verify", "events", "--sample", percent]);
        assert_eq!(one(&report)["rows_source"], 1, "{report:#}");
    }
    // As a standby leaves it whose primary is not configured: loaded, and no bound was ever proven.
    db.tgt("update dwh_control.extract_watermarks set last_extracted_at = '-infinity' where table_name = 'events'")
        .await;
    untold(&["verify", "events"], "its watermark is not set yet");
    let gate = project.fails(4, &["check", "--gate", "first-run", "events"]).all();
    assert!(gate.contains("nothing was compared") && !gate.contains("all alike"), "{gate}");
}

/// Its texts are other bytes than bronze's, so that the servers' own hashes would differ for every one of them.
#[tokio::test]
async fn a_source_in_latin1_is_equal_and_a_difference_is_found() {
    let db = TestDb::new("verify_latin1").await;
    let other = format!("{}_latin1", db.name());
    db.src(&format!("create database {other} encoding 'LATIN1' locale 'C' template template0")).await;
    let url = |url: String| url.replace(db.name(), &other);
    let (source, connection) =
        tokio_postgres::connect(&url(db.source_url()), tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    source
        .batch_execute(
            "create table places (id int primary key, name text, updated_at timestamptz not null default now());
             insert into places (id, name) select i, 'Église ' || i from generate_series(1, 50) i;
             grant usage on schema public to app_ro; grant select on places to app_ro;",
        )
        .await
        .expect("a source in Latin-1");
    let table = "[[table]]\nname = \"places\"\nrelation = \"public.places\"\nmode = \"incremental\"\n\
                 watermark = \"updated_at\"\nkey = [\"id\"]\n";
    let project = Project::new(&db, table).config_with(&db.source_url_as("app_ro"), &url(db.source_url_as("app_ro")));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    let clean = project.json(&["verify"]);
    assert_eq!((counts(one(&clean)), &one(&clean)["windows_differing"]), ([0; 4], &json!(0)));
    db.tgt("update bronze.places set name = 'Eglise 7' where id = 7").await;
    assert_eq!(counts(one(&project.fails(4, &["verify"]).json())), [0, 0, 1, 0]);
    drop(source);
    db.src(&format!("drop database {other} with (force)")).await;
}
