//! Rows that the source has deleted: found by the keys of one snapshot, marked or removed, and never one too many.

mod archive;
mod plans;
mod stopped;

use std::time::Duration;

use crate::support::{Project, READABLE, number, quoted, table, total};
use dwh_core::testing::TestDb;
use serde_json::{Value, json};

/// A row a second, long ago.
const ITEMS: &str = "create schema app;
    create table app.items (id bigint primary key, note text, at timestamptz not null default now());
    create index on app.items (at);
    insert into app.items select i, 'x', timestamptz '2026-01-01Z' + i * interval '1 second' from generate_series(1, 1000) i;";

const KEYED: &str = "watermark = \"at\"\nkey = [\"id\"]\nwindow = \"0\"\nlate_window = \"3650d\"\n";

async fn items(test: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("{ITEMS}{READABLE} grant select on all tables in schema app to app_ro")).await;
    let more = if more.is_empty() { String::new() } else { format!("deletes_every = \"0\"\n{more}") };
    let project = Project::new(&db, &table("items", "app.items", "incremental", &format!("{KEYED}{more}")));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

const MARKED: &str = "select count(*) from bronze.items where _deleted_at is not null";
/// Rows that are marked and at the source, or unmarked and not there; both databases are asked for it.
async fn wrong(db: &TestDb, bronze: &str) -> (Vec<String>, Vec<String>) {
    let ids = async |client: &tokio_postgres::Client, sql: &str| -> Vec<String> {
        client
            .query(sql, &[])
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    let source = ids(db.source(), "select distinct id::text from app.items order by 1").await;
    let there = ids(db.target(), bronze).await;
    let minus = |a: &[String], b: &[String]| a.iter().filter(|id| b.binary_search(id).is_err()).cloned().collect();
    (minus(&source, &there), minus(&there, &source))
}

async fn assert_told_apart(db: &TestDb) {
    let unmarked = "select distinct id::text from bronze.items where _deleted_at is null order by 1";
    let (source, bronze) = wrong(db, unmarked).await;
    let some = |ids: &[String]| ids.iter().take(5).cloned().collect::<Vec<_>>();
    assert_eq!((some(&source), some(&bronze)), (Vec::new(), Vec::new()), "source alone, bronze alone");
}

fn deletes(project: &Project, more: &[&str]) -> Value {
    project.json(&[&["deletes", "items"], more].concat())["tables"][0].clone()
}

#[tokio::test]
async fn what_is_gone_is_marked_and_what_comes_back_is_not() {
    for way in ["nothing", "update", "append"] {
        let (db, project) =
            items(&format!("deletes_mark_{way}"), &format!("deletes = \"mark\"\non_conflict = \"{way}\"\n")).await;
        db.src("delete from app.items where id % 50 = 0").await;
        let looked = deletes(&project, &["--dry-run"]);
        assert_eq!(
            (&looked["rows_gone"], &looked["rows_compared"], &looked["keys"]),
            (&json!(20), &json!(1000), &json!(980)),
            "{looked:#}"
        );
        assert_eq!(looked["first_keys"][0], json!(["100"]), "{looked:#}");
        assert_eq!(looked["first_keys"].as_array().map(Vec::len), Some(10));
        assert_eq!(number(&db, MARKED).await, 0);
        let done = deletes(&project, &[]);
        assert_eq!(
            (&done["rows_gone"], &done["runs"][0]["rows_marked"], &done["runs"][0]["kind"]),
            (&json!(20), &json!(20), &json!("keys")),
            "{done:#}"
        );
        assert_told_apart(&db).await;
        project.ok(&["verify"]);
        // Marked once, with the time at which the run began.
        let at = "select count(distinct _deleted_at) from bronze.items join dwh_control.extract_runs on run_started_at = _deleted_at and kind = 'keys'";
        assert_eq!(number(&db, at).await, 1);
        assert_eq!(deletes(&project, &[])["rows_gone"], 0);
        assert_eq!(number(&db, at).await, 1);
        // Two keys come back: one with a new stamp, which an ordinary run loads, and one as it was.
        let again = match way {
            "nothing" => "insert into app.items values (50, 'x', timestamptz '2026-01-01Z' + 50 * interval '1 second')",
            _ => "insert into app.items (id, note) values (50, 'again')",
        };
        db.src(again).await;
        db.src("insert into app.items values (100, 'x', timestamptz '2026-01-01Z' + 100 * interval '1 second')").await;
        let report = project.json(&["run"]);
        assert_eq!(total(&report, "items", "rows_unmarked"), 2, "{way}: {report:#}");
        assert_told_apart(&db).await;
        project.ok(&["verify"]);
        assert_eq!(number(&db, MARKED).await, 18);
        // One that no run reads again, for it lies far below: the keys tell.
        db.tgt("update bronze.items set _deleted_at = now() where id = 7").await;
        let back = deletes(&project, &[]);
        assert_eq!((&back["rows_back"], &back["runs"][0]["rows_unmarked"]), (&json!(1), &json!(1)), "{back:#}");
        assert_told_apart(&db).await;
        let shown = project.ok(&["runs", "--limit", "20"]).stdout;
        assert!(shown.contains("keys") && shown.contains("marked"), "{shown}");
        archive::assert_gives_the_same(&db, &project).await;
    }
}

#[tokio::test]
async fn what_is_gone_is_removed_and_no_file_brings_it_back() {
    for way in ["nothing", "update", "append"] {
        let (db, project) =
            items(&format!("deletes_remove_{way}"), &format!("deletes = \"remove\"\non_conflict = \"{way}\"\n")).await;
        db.src("delete from app.items where id % 50 = 0").await;
        let done = deletes(&project, &[]);
        assert_eq!((&done["rows_gone"], &done["runs"][0]["rows_removed"]), (&json!(20), &json!(20)), "{done:#}");
        let all = "select distinct id::text from bronze.items order by 1";
        assert_eq!(wrong(&db, all).await, (Vec::new(), Vec::new()));
        project.ok(&["verify"]);
        project.ok(&["replay", "items"]);
        assert_eq!(wrong(&db, all).await, (Vec::new(), Vec::new()), "a replay");
        db.src("insert into app.items (id, note) values (50, 'again')").await;
        project.ok(&["run"]);
        assert_eq!(wrong(&db, all).await, (Vec::new(), Vec::new()), "a run");
        archive::assert_gives_the_same(&db, &project).await;
    }
}

#[tokio::test]
async fn too_many_at_once_need_a_word_and_leave_nothing_behind() {
    let (db, project) = items("deletes_guards", "deletes = \"remove\"\ndeletes_max = \"5%\"\n").await;
    db.src("delete from app.items where id <= 51").await;
    let refused = project.fails(4, &["deletes"]);
    let error = &refused.json()["tables"][0]["error"];
    let told = format!("{} {}", error["message"], error["hint"]);
    for word in ["51 of 1000 rows (5.1 %)", "deletes_max", "--dry-run", "--force"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_eq!(number(&db, "select count(*) from bronze.items").await, 1000);
    // The dry run tells the same and names keys; what is forced goes.
    let looked = project.fails(4, &["deletes", "--dry-run"]).json();
    assert_eq!(looked["tables"][0]["first_keys"][0], json!(["1"]), "{looked:#}");
    project.ok(&["run"]);
    assert!(!db.blobs().join("test/exports/items").read_dir().is_ok_and(|mut files| files.next().is_some()));
    assert_eq!(deletes(&project, &["--force"])["rows_gone"], 51);
    assert_eq!(number(&db, "select count(*) from bronze.items").await, 949);
    // Within the limit nothing is asked.
    db.src("delete from app.items where id <= 60").await;
    assert_eq!(deletes(&project, &[])["rows_gone"], 9);
    // An empty source is a mistake more often than not, whatever the limit.
    let all = project.config_with("deletes_max = \"5%\"", "deletes_max = \"100%\"");
    db.src("create table app.aside as select * from app.items; delete from app.items").await;
    let refused = all.fails(4, &["deletes"]);
    assert!(refused.stdout.contains("the source has no row"), "{}", refused.all());
    assert_eq!(number(&db, "select count(*) from bronze.items").await, 940);
    assert_eq!(deletes(&all, &["--force"])["rows_gone"], 940);
    assert_eq!(number(&db, "select count(*) from bronze.items").await, 0);
    // The table goes on, though bronze is empty.
    db.src("insert into app.items (id, note) values (2000, 'new')").await;
    project.ok(&["run"]);
    assert_eq!(number(&db, "select count(*) from bronze.items").await, 1);
    project.ok(&["rebuild", "--reset"]);
    assert_eq!(number(&db, "select count(*) from bronze.items").await, 1);
}

/// Exactly the rows that were deleted are marked, while writers insert, update and delete others.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_deleted_rows_are_marked_while_writers_go_on() {
    let (db, project) = items("deletes_writers", "deletes = \"mark\"\non_conflict = \"update\"\n").await;
    db.src("insert into app.items select i, 'more', timestamptz '2026-01-02Z' + i * interval '1 second' from generate_series(1001, 30000) i").await;
    project.ok(&["run"]);
    let writer = db.another_source().await;
    let writing = tokio::spawn(async move {
        for round in 0_i64.. {
            let at = 100_000 + round * 10;
            let some = format!(
                "insert into app.items (id, note) select i, 'new' from generate_series({at}, {at} + 9) i;
                 update app.items set note = 'u{round}', at = now() where id % 997 = {round} % 997;
                 begin; insert into app.items (id, note) values ({at} + 1000000, 'seen late'); select pg_sleep(0.05); commit"
            );
            if writer.batch_execute(&some).await.is_err() {
                break;
            }
        }
    });
    for round in 0..4 {
        db.src(&format!("delete from app.items where id between {0} * 250 + 1 and {0} * 250 + 250", round * 3 + 4))
            .await;
        project.ok(&[if round % 2 == 0 { "deletes" } else { "run" }]);
        project.ok(&["deletes"]);
        assert_eq!(number(&db, MARKED).await, 250 * (round + 1), "round {round}");
        assert_eq!(
            number(&db, "select count(*) from bronze.items where _deleted_at is not null and id > 30000").await,
            0
        );
    }
    writing.abort();
    assert!(writing.await.is_err_and(|error| error.is_cancelled()));
    project.ok(&["run"]);
    project.ok(&["deletes"]);
    assert_told_apart(&db).await;
    project.ok(&["verify"]);
}

/// What was loaded after the keys were read is not judged by them, in whatever order the files come.
#[tokio::test]
async fn keys_of_an_older_snapshot_judge_no_newer_row() {
    let (db, project) = items("deletes_order", "deletes = \"mark\"\non_conflict = \"update\"\n").await;
    db.src("delete from app.items where id = 10").await;
    // A look that dies between the manifest and the commit: its CSV waits.
    project.ok(&["deletes"]);
    let waiting = "update dwh_control.extract_runs set status = 'uploaded', run_finished_at = null where kind = 'keys';
        update bronze.items set _deleted_at = null;
        update dwh_control.extract_watermarks set newest_run_id = last_run_id";
    db.tgt(waiting).await;
    archive::back_to_exports(&db);
    // Rows of the past that appear now, below the bound of those keys, and a row that the next run reads.
    db.src("insert into app.items values (5000, 'late', timestamptz '2026-01-01Z'), (10, 'back', now())").await;
    let report = project.json(&["run"]);
    assert_eq!(report["runs"][0]["kind"], "keys", "what was left comes first: {report:#}");
    assert_eq!(report["runs"][0]["rows_marked"], 1, "{report:#}");
    assert_told_apart(&db).await;
    assert_eq!(number(&db, MARKED).await, 0, "the key that came back lost its mark");
    // The same keys once more, by hand, after newer rows: they judge nothing.
    db.tgt("update dwh_control.extract_runs set status = 'uploaded', run_finished_at = null where kind = 'keys'").await;
    archive::back_to_exports(&db);
    let row = "select run_id, split_part(csv_path, '/', -1) from dwh_control.extract_runs where kind = 'keys'";
    let row = db.target().query_one(row, &[]).await.expect("its run");
    let path = format!("{}/test/exports/items/{}", db.blob_url(), row.get::<_, String>(1));
    let params = json!({"table": "items", "csv_path": path, "run_id": row.get::<_, i64>(0)}).to_string();
    let loaded = project.json(&["load", "--params", &params]);
    assert_eq!((&loaded["rows_marked"], &loaded["status"]), (&json!(0), &json!("loaded")), "{loaded:#}");
    assert_told_apart(&db).await;
    assert_eq!(number(&db, MARKED).await, 0);
    project.ok(&["recover"]);
    project.ok(&["verify", "--blobs"]);
}

#[tokio::test]
async fn a_run_looks_when_it_is_time() {
    let (db, project) = items("deletes_every", "deletes = \"mark\"\ndeletes_max = \"1%\"\n").await;
    let daily = project.config_with("deletes_every = \"0\"", "deletes_every = \"24h\"");
    let looks = "select count(*) from dwh_control.extract_runs where kind = 'keys'";
    db.src("delete from app.items where id = 1").await;
    daily.ok(&["run"]);
    assert_eq!((number(&db, looks).await, number(&db, MARKED).await), (1, 1));
    db.src("delete from app.items where id = 2").await;
    daily.ok(&["run"]);
    assert_eq!((number(&db, looks).await, number(&db, MARKED).await), (1, 1), "not yet");
    let day =
        "update dwh_control.extract_runs set run_started_at = run_started_at - interval '25 hours' where kind = 'keys'";
    db.tgt(day).await;
    let report = daily.json(&["run"]);
    assert_eq!(total(&report, "items", "rows_marked"), 1, "{report:#}");
    // What is refused fails the run, once: the next look would be refused as well.
    db.src("delete from app.items where id <= 100").await;
    db.tgt(day).await;
    let refused = daily.fails(4, &["run"]);
    refused.failure("items").names(&["98 of 998 rows", "deletes_max"]);
    daily.ok(&["run"]);
    assert_eq!(number(&db, MARKED).await, 2);
    project.ok(&["deletes", "--force"]);
    assert_told_apart(&db).await;
    // A preview, and a run of a table that nobody asked to look, leave it alone.
    db.tgt(day).await;
    let before = number(&db, looks).await;
    daily.ok(&["run", "--preview"]);
    project.ok(&["run"]);
    assert_eq!(number(&db, looks).await, before);
}

/// Killed at any moment, a look is finished or forgotten by the next command.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_killed_is_finished_by_the_next() {
    let (db, project) = items("deletes_killed", "deletes = \"mark\"\n").await;
    db.src("insert into app.items select i, 'more', timestamptz '2026-01-02Z' + i * interval '1 second' from generate_series(1001, 20000) i").await;
    project.ok(&["run"]);
    for (round, wait) in [5, 30, 60, 90, 120, 160, 200].into_iter().enumerate() {
        db.src(&format!("delete from app.items where id between {0} * 20 + 1 and {0} * 20 + 20", round)).await;
        let mut child = project.spawn(&["deletes"]);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        child.kill().expect("kill -9");
        child.wait().expect("dead");
        // The one that comes next, whichever it is, leaves nothing half done.
        project.ok(&["run", "--wait"]);
        project.ok(&["deletes", "--wait"]);
        assert_told_apart(&db).await;
    }
    let open = "select count(*) from dwh_control.extract_runs where status not in ('loaded', 'failed')";
    assert_eq!(number(&db, open).await, 0);
    archive::assert_gives_the_same(&db, &project).await;
}

#[tokio::test]
async fn odd_keys_and_numbers_are_compared_as_the_index_has_them() {
    let db = TestDb::new("deletes_odd").await;
    db.src("create extension if not exists citext; create schema app;
        create table app.odd (\"Who, where\" citext, part numeric, at timestamptz default now(), n bigint generated always as identity,
            primary key (\"Who, where\", part));
        insert into app.odd values ('Ada', 1.0, '2026-01-01Z'), ('bob \"b\"', 2.50, '2026-01-02Z'), (E'new\\nline', 3, '2026-01-03Z'),
            ('', 4, '2026-01-04Z'), ('NULL', 5, '2026-01-05Z');
        create table app.numbered (id bigint primary key, note text);
        insert into app.numbered select i, 'x' from generate_series(1, 100) i;").await;
    db.tgt("create extension if not exists citext").await;
    db.src(&format!("{READABLE} grant select on all tables in schema app to app_ro")).await;
    let odd = format!(
        "watermark = \"at\"\nkey = [{}, \"part\"]\ndeletes = \"mark\"\ndeletes_max = \"50%\"\n",
        quoted("Who, where")
    );
    let config = table("odd", "app.odd", "incremental", &odd)
        + &table(
            "numbered",
            "app.numbered",
            "incremental",
            "watermark = \"id\"\nkey = [\"id\"]\ndeletes = \"remove\"\n",
        )
        + &table("kept", "app.numbered", "incremental", "watermark = \"id\"\nkey = [\"id\"]\n");
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    assert_eq!(number(&db, "select count(*) from bronze.odd where _deleted_at is not null").await, 0);
    // Written in another way, the key is the same.
    db.src(
        "update app.odd set \"Who, where\" = 'ADA', part = 1.00 where part = 1;
        delete from app.odd where \"Who, where\" in ('', 'NULL'); delete from app.numbered where id in (3, 100)",
    )
    .await;
    let report = project.json(&["deletes"]);
    let gone: Vec<(&Value, &Value)> =
        report["tables"].as_array().expect("tables").iter().map(|t| (&t["table"], &t["rows_gone"])).collect();
    assert_eq!(gone, [(&json!("odd"), &json!(2)), (&json!("numbered"), &json!(2))], "{report:#}");
    assert_eq!(
        number(&db, "select count(*) from bronze.odd where _deleted_at is not null and part in (4, 5)").await,
        2
    );
    assert_eq!(number(&db, "select count(*) from bronze.numbered").await, 98);
    assert_eq!(number(&db, "select count(*) from bronze.kept").await, 100);
    let refused = project.dwh(&["deletes", "kept"]);
    assert!(refused.code == 2 && refused.stderr.contains("deletes = \"mark\""), "{}", refused.all());
    project.ok(&["rebuild", "--reset"]);
    assert_eq!(
        number(&db, "select count(*) from bronze.odd where _deleted_at is not null and part in (4, 5)").await,
        2
    );
    assert_eq!(number(&db, "select count(*) from bronze.numbered").await, 98);
}

/// A table that is there gets the column by `migrate`, and the configuration is judged before anything moves.
#[tokio::test]
async fn the_mark_is_added_by_migrate_and_bad_settings_are_named() {
    let (db, project) = items("deletes_migrate", "").await;
    let marks = project.config_with("window = \"0\"", "window = \"0\"\ndeletes = \"mark\"\ndeletes_every = \"0\"");
    for verb in ["run", "deletes"] {
        let refused = marks.dwh(&[verb]);
        assert!(
            refused.code == 4 && refused.all().contains("_deleted_at") && refused.all().contains("dwh migrate"),
            "{}",
            refused.all()
        );
    }
    let planned = marks.json(&["migrate", "--dry-run"]);
    assert!(
        planned["drift_applied"][0]["message"].as_str().is_some_and(|text| text.contains("_deleted_at")),
        "{planned:#}"
    );
    let sql = marks.ok(&["migrate", "--print-sql"]).stdout;
    assert!(sql.contains("add column \"_deleted_at\" timestamp with time zone"), "{sql}");
    marks.ok(&["migrate"]);
    assert_eq!(marks.json(&["migrate"])["drift_applied"], json!([]));
    db.src("delete from app.items where id = 5").await;
    assert_eq!(deletes(&marks, &[])["rows_gone"], 1);
    marks.ok(&["check", "items"]);
    marks.ok(&["status"]);
    for (from, to, word) in [
        ("window = \"0\"", "deletes = \"Mark\"", "deletes"),
        ("window = \"0\"", "deletes_max = \"10\"", "percentage"),
        ("window = \"0\"", "deletes_every = \"1d\"", "means nothing without"),
        ("window = \"0\"", "deletes = \"mark\"\ndeletes_max = \"101%\"", "percentage"),
        ("mode = \"incremental\"", "mode = \"snapshot\"\ndeletes = \"mark\"", "only for mode `incremental`"),
    ] {
        let refused = project.config_with(from, to).dwh(&["run"]);
        assert!(refused.code == 2 && refused.stderr.contains(word), "{to}: {}", refused.all());
    }
}

/// A partition that is taken out takes its rows with it, and brings them back.
#[tokio::test]
async fn rows_of_a_partition_that_is_put_back_come_again() {
    let db = TestDb::new("deletes_partition").await;
    db.src("create schema app;
        create table app.items (id bigint primary key, note text, at timestamptz not null default now()) partition by range (id);
        create table app.low partition of app.items for values from (0) to (100);
        create table app.high partition of app.items for values from (100) to (1000000);
        insert into app.items select i, 'x', timestamptz '2026-01-01Z' + i * interval '1 second' from generate_series(50, 149) i;")
        .await;
    db.src(&format!("{READABLE} grant select on all tables in schema app to app_ro")).await;
    let more =
        "watermark = \"at\"\nkey = [\"id\"]\ndeletes = \"remove\"\ndeletes_every = \"0\"\ndeletes_max = \"60%\"\n";
    let project = Project::new(&db, &table("items", "app.items", "incremental", more));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    db.src("alter table app.items detach partition app.low").await;
    assert_eq!(deletes(&project, &[])["rows_gone"], 50);
    db.src("alter table app.items attach partition app.low for values from (0) to (100)").await;
    assert_eq!(total(&project.json(&["run"]), "items", "rows_inserted"), 50);
    project.ok(&["verify"]);
    archive::assert_gives_the_same(&db, &project).await;
}

/// A repair of a table that marks takes no row away either.
#[tokio::test]
async fn a_repair_marks_what_it_would_remove() {
    let (db, project) = items("deletes_repair", "deletes = \"mark\"\non_conflict = \"update\"\n").await;
    db.src("delete from app.items where id in (1, 2)").await;
    project.ok(&["deletes"]);
    db.src("delete from app.items where id in (3, 4)").await;
    db.tgt("update bronze.items set note = 'wrong' where id in (1, 5)").await;
    let found = project.fails(4, &["verify"]).json();
    assert_eq!((&found["tables"][0]["extra"], &found["tables"][0]["different"]), (&json!(2), &json!(1)), "{found:#}");
    project.ok(&["verify", "--repair"]);
    assert_told_apart(&db).await;
    assert_eq!((number(&db, MARKED).await, number(&db, "select count(*) from bronze.items").await), (4, 1000));
    project.ok(&["verify"]);
    project.ok(&["reseed", "items", "--replace"]);
    assert_eq!((number(&db, MARKED).await, number(&db, "select count(*) from bronze.items").await), (4, 1000));
    db.src("insert into app.items (id, note) values (3, 'again')").await;
    assert_eq!(total(&project.json(&["run"]), "items", "rows_unmarked"), 1);
    db.tgt("create table public.kept as select * from bronze.items").await;
    project.ok(&["rebuild", "--reset"]);
    let differ = "select count(*) from (select id, _deleted_at from bronze.items except select id, _deleted_at from public.kept) d";
    assert_eq!(number(&db, differ).await, 0);
    // A resync keeps them, too.
    project.ok(&["run"]);
    project.ok(&["resync", "items"]);
    assert_told_apart(&db).await;
    assert_eq!(number(&db, MARKED).await, 3);
    db.src("delete from app.items where id = 8").await;
    assert_eq!(deletes(&project, &[])["rows_gone"], 1);
    project.ok(&["rebuild", "--reset"]);
    assert_told_apart(&db).await;
    assert_eq!(number(&db, MARKED).await, 4);
}

/// A CSV that is taken out of the way and loaded after the keys brings no deleted row back: what the keys lack gets the mark, or
/// stays away.
#[tokio::test]
async fn an_older_csv_that_is_loaded_after_the_keys_brings_no_deleted_row_back() {
    for word in ["mark", "remove"] {
        let more = format!("deletes = \"{word}\"\non_conflict = \"update\"\n");
        let (db, project) = items(&format!("deletes_older_{word}"), &more).await;
        db.src("insert into app.items (id, note) values (2001, 'a'), (2002, 'b')").await;
        let waiting = project.ok(&["extract", "items", "--output", "json"]);
        let run_id = waiting.json()["run_id"].to_string();
        project.ok(&["recover", "--set-aside", &run_id]);
        // Its rows are read again by the next run; then they are deleted, and one comes back.
        db.src("delete from app.items where id = 2001").await;
        project.ok(&["run"]);
        db.src("delete from app.items where id = 1").await;
        project.ok(&["deletes"]);
        // Bronze loses rows, and the files of before bring them back.
        db.tgt("delete from bronze.items where id in (1, 2, 2002)").await;
        let folder = db.blobs().join("test");
        for name in std::fs::read_dir(folder.join("set_aside/items")).expect("set_aside/").flatten() {
            std::fs::copy(name.path(), folder.join("exports/items").join(name.file_name())).expect("copied back");
        }
        let params = waiting.stdout.trim().to_owned();
        let loaded = project.json(&["load", "--params", &params]);
        let marks = u64::from(word == "mark");
        assert_eq!(
            (&loaded["rows_marked"], &loaded["rows_inserted"]),
            (&json!(marks), &json!(1 + marks)),
            "{word}: {loaded:#}"
        );
        let report = project.json(&["replay", "items"]);
        assert_eq!(total(&report, "items", "rows_marked"), marks, "{word}: {report:#}");
        let there = if word == "mark" { "where _deleted_at is null" } else { "" };
        let there = format!("select distinct id::text from bronze.items {there} order by 1");
        assert_eq!(wrong(&db, &there).await, (Vec::new(), Vec::new()), "{word}");
        project.ok(&["verify"]);
    }
}
