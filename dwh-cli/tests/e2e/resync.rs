//! A table that is read anew as a whole, beside bronze, and put in its place: by hand, and because its columns changed.

mod stays;

use crate::support::{Project, READABLE, files, killed_at, number, table, total};
use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

const LOADED: &str = "select count(*) from dwh_control.extract_runs where kind = 'chunk' and status = 'loaded'";

/// A table of 100 rows in chunks of ten, loaded once, with what people made of bronze.
async fn loaded(test: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!(
        "create schema app; {READABLE}
         create table app.trips (id bigint primary key, n int, note text, at timestamptz not null default clock_timestamp());
         create index on app.trips (at); insert into app.trips (id, n, note) select i, i, 'x' || i from generate_series(1, 100) i"
    ))
    .await;
    let own = format!("watermark = \"at\"\nkey = [\"id\"]\nchunk_rows = 10\n{more}");
    let project = Project::new(&db, &table("trips", "app.trips", "incremental", &own));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

async fn equal(db: &TestDb) {
    assert_equal_tables(db, "select * from app.trips", "select * from bronze.trips").await;
}

fn runs(report: &Value) -> &Vec<Value> {
    report["tables"][0]["runs"].as_array().expect("runs")
}

/// How many runs of a kind a report has.
fn of_kind(runs: &[Value], kind: &str) -> usize {
    runs.iter().filter(|run| run["kind"] == kind).count()
}

#[tokio::test]
async fn what_people_made_of_bronze_stays() {
    let (db, project) = loaded("resync_stays", "on_conflict = \"update\"").await;
    db.tgt(
        "alter table bronze.trips add column mine text default 'new';
         update bronze.trips set mine = 'of ' || id where id < 50;
         comment on table bronze.trips is 'trips'; comment on column bronze.trips.n is 'number';
         create index mine on bronze.trips (n); grant select (note) on bronze.trips to public;
         set role dwh_owner;
         create view bronze.over_trips with (security_barrier = true) as select id, n, mine from bronze.trips;
         create view bronze.over_that as select count(*) as c, sum(n) as s from bronze.over_trips;
         comment on view bronze.over_trips is 'over'; comment on column bronze.over_trips.n is 'seen';
         grant select on bronze.over_trips to grafana_ro with grant option; grant select on bronze.over_that to public; reset role",
    )
    .await;
    let facts = "select md5(string_agg(f, ';' order by f)) from (
         select concat_ws('|', c.oid::regclass, relkind, relacl, reloptions, pg_get_userbyid(relowner), obj_description(c.oid, 'pg_class'),
             case when relkind = 'v' then pg_get_viewdef(c.oid) end, case when relkind = 'i' then pg_get_indexdef(c.oid) end,
             (select string_agg(concat_ws('/', attname, attacl, col_description(attrelid, attnum)), ',' order by attname)
              from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped)) as f
         from pg_class c where c.oid in ('bronze.trips'::regclass, 'bronze.mine'::regclass, 'bronze.over_trips'::regclass,
             'bronze.over_that'::regclass)) q";
    let made = async || db.target().query_one(facts, &[]).await.expect("facts").get::<_, String>(0);
    let before = made().await;
    let oid = number(&db, "select 'bronze.trips'::regclass::oid::int8").await;
    // Rows that bronze alone has are not rows of the source.
    db.tgt("insert into bronze.trips (id, at) values (1000, now())").await;
    db.src("insert into app.trips (id, n) values (101, 101); delete from app.trips where id = 7").await;
    let report = project.json(&["resync", "trips"]);
    assert_eq!((of_kind(runs(&report), "chunk"), of_kind(runs(&report), "resync")), (11, 1), "{report:#}");
    let columns = "id, n, note, at";
    let same = async || {
        assert_equal_tables(
            &db,
            &format!("select {columns} from app.trips"),
            &format!("select {columns} from bronze.trips"),
        )
        .await;
    };
    same().await;
    assert_eq!(made().await, before);
    assert_eq!(number(&db, "select 'bronze.trips'::regclass::oid::int8").await, oid, "it is the table that it was");
    assert_eq!(number(&db, "select count(*) from bronze.trips where mine = 'of ' || id").await, 48);
    assert_eq!(number(&db, "select count(*) from bronze.trips where id = 101 and mine = 'new'").await, 1);
    assert_eq!(number(&db, "select count(*) from pg_class where relname = 'trips__temp'").await, 0);
    // And it goes on from there.
    db.src("update app.trips set n = -1, at = clock_timestamp() where id = 3; insert into app.trips (id) values (102)")
        .await;
    let run = project.json(&["run"]);
    assert_eq!((total(&run, "trips", "rows_inserted"), total(&run, "trips", "rows_updated")), (1, 1), "{run:#}");
    same().await;
    project.ok(&["verify"]);
    project.ok(&["recover"]);
    // The type of a column that views hold changes with them.
    db.src("alter table app.trips alter column n type numeric").await;
    assert_eq!(project.dwh(&["run"]).code, 4);
    project.ok(&["resync", "trips"]);
    same().await;
    assert_eq!(made().await, before);
    assert_eq!(number(&db, "select c from bronze.over_that").await, 101);
    assert_eq!(number(&db, "select count(*) from information_schema.role_table_grants where table_name = 'over_trips' and grantee = 'grafana_ro' and is_grantable = 'YES'").await, 1);
    db.tgt("create view public.theirs as select n from bronze.trips; set role dwh_owner; create materialized view bronze.m as select n from bronze.trips; reset role").await;
    db.src("alter table app.trips alter column n type text").await;
    let refused = project.fails(4, &["resync", "trips"]);
    assert!(refused.stderr.contains("materialized view `bronze.m`, `public.theirs` of role"), "{}", refused.all());
    db.tgt("drop materialized view bronze.m; drop view public.theirs").await;
    let chunks = number(&db, LOADED).await;
    // What uses the type in another way cannot be made again, and says so.
    let refused = project.fails(4, &["resync", "trips"]);
    assert!(refused.stderr.contains("view `bronze.over_that` holds it: function sum(text)"), "{}", refused.all());
    db.tgt("drop view bronze.over_that").await;
    project.ok(&["resync", "trips"]);
    assert_eq!(number(&db, LOADED).await, chunks, "no chunk was read again");
    same().await;
}

#[tokio::test]
async fn a_resync_is_a_neighbour_of_the_runs_around_it() {
    let (db, project) = loaded("resync_neighbours", "").await;
    db.src("insert into app.trips (id) values (101)").await;
    project.ok(&["resync", "trips"]);
    db.src("insert into app.trips (id) values (102)").await;
    project.ok(&["run"]);
    let log = project.json(&["runs", "--table", "trips"]);
    let of = |kind: &str| {
        let found = log["runs"].as_array().expect("runs").iter().filter(|run| run["kind"] == kind);
        found.map(|run| run["run_id"].as_i64().expect("a number")).collect::<Vec<_>>()
    };
    let (runs, resync) = (of("run"), of("resync")[0]);
    let [last, first] = runs[..] else { panic!("{log:#}") };
    let show = |run_id: i64| project.json(&["runs", "show", &run_id.to_string()]);
    let told = |neighbour: &Value| (neighbour["run_id"].as_i64(), neighbour["joins"].as_bool());
    for (run, previous, next) in [
        (first, (None, None), (Some(resync), Some(true))),
        (resync, (Some(first), Some(true)), (Some(last), Some(true))),
        (last, (Some(resync), Some(true)), (None, None)),
    ] {
        let shown = show(run);
        assert_eq!((told(&shown["previous"]), told(&shown["next"])), (previous, next), "run {run}: {shown:#}");
    }
}

#[tokio::test]
async fn a_changed_source_is_followed_without_a_manual_step() {
    for (mode, conflict) in [("update", "on_conflict = \"update\"\n"), ("nothing", "")] {
        let (db, project) =
            loaded(&format!("resync_follows_{mode}"), &format!("{conflict}on_schema_change = \"resync\"")).await;
        let resyncs =
            || number(&db, "select count(*) from dwh_control.extract_runs where kind = 'resync' and status = 'loaded'");
        // What only came or only went costs nothing.
        db.src("alter table app.trips add column came int; insert into app.trips (id, came) values (101, 1)").await;
        project.ok(&["run"]);
        equal(&db).await;
        db.src("alter table app.trips drop column note; insert into app.trips (id) values (102)").await;
        project.ok(&["run"]);
        assert_eq!(resyncs().await, 0);
        assert_eq!(
            number(&db, "select count(*) from bronze.trips where note is not null").await,
            100,
            "old rows keep it"
        );
        // One that has another name, and values that a default gave to each row.
        db.src("alter table app.trips rename column came to went; insert into app.trips (id) values (103)").await;
        for part in [&["extract", "trips"][..], &["backfill", "trips", "--from", "2020-01-01T00:00:00Z"]] {
            let refused = project.dwh(part);
            assert!(refused.code == 4 && refused.stderr.contains("`dwh run trips` follows it"), "{}", refused.all());
        }
        project.ok(&["run"]);
        assert_eq!(resyncs().await, 1);
        let columns = "select id, n, at, went from";
        assert_equal_tables(&db, &format!("{columns} app.trips"), &format!("{columns} bronze.trips")).await;
        assert_eq!(
            number(&db, "select count(*) from bronze.trips where note is not null").await,
            100,
            "and keep it still"
        );
        db.tgt("alter table bronze.trips drop column note, drop column came").await;
        db.src("alter table app.trips add column r float8 default random() not null").await;
        project.ok(&["run"]);
        equal(&db).await;
        // Types, wider and narrower, and NULL.
        db.src("alter table app.trips alter column n type text using 'n' || n, alter column went type date using null, alter column r drop not null;
                update app.trips set r = null, at = clock_timestamp() where id = 5").await;
        project.ok(&["run"]);
        equal(&db).await;
        assert_eq!(resyncs().await, 3);
        project.ok(&["run"]);
        assert_eq!(resyncs().await, 3, "and once only");
        project.ok(&["verify"]);
        project.ok(&["verify", "--blobs"]);
        // The files alone make the same table; columns that are gone stay in it.
        let columns = "select id, n, at, went, r from";
        let same = async || {
            assert_equal_tables(&db, &format!("{columns} app.trips"), &format!("{columns} bronze.trips")).await;
        };
        project.ok(&["rebuild", "--reset"]);
        same().await;
        db.src("insert into app.trips (id) values (200)").await;
        project.ok(&["run"]);
        same().await;
        project.ok(&["replay", "trips"]);
        same().await;
        project.ok(&["verify", "--blobs"]);
        // A chunk that is gone is told.
        let gone = "select split_part(csv_path, '/exports/trips/', 2) from dwh_control.extract_runs where kind = 'chunk' and status = 'loaded' order by run_id desc limit 1";
        let name: String = db.target().query_one(gone, &[]).await.expect("a chunk").get(0);
        std::fs::remove_file(db.blobs().join("test/processed/trips").join(name)).expect("the file");
        let refused = project.fails(4, &["rebuild", "--dry-run"]);
        assert!(refused.all().contains("the CSV of chunk"), "{}", refused.all());
    }
}

#[tokio::test]
async fn a_killed_resync_goes_on_with_the_chunks_that_are_left() {
    let (db, project) = loaded("resync_killed", "on_conflict = \"update\"").await;
    db.src("update app.trips set note = 'changed', at = clock_timestamp() where id % 3 = 0").await;
    let mut child = project.spawn(&["resync", "trips", "--jobs", "1"]);
    let done = killed_at(&db, &mut child, LOADED, 3).await;
    assert!((3..10).contains(&done), "{done}");
    assert_eq!(number(&db, "select count(*) from bronze.trips where note = 'changed'").await, 0, "bronze is as it was");
    let told = project.dwh(&["recover", "--dry-run"]);
    assert!(told.stdout.contains("resync") && told.stdout.contains("of 11 chunks was cut off"), "{}", told.all());
    let refused = project.dwh(&["extract", "trips"]);
    assert_eq!(refused.code, 4, "{}", refused.all());
    let report = project.json(&["resync", "trips"]);
    assert_eq!(number(&db, LOADED).await, 11, "none was read twice: {report:#}");
    equal(&db).await;
    // In the swap, which waits for a reader; the run that comes next finishes it.
    let reader = db.another_target().await;
    reader.batch_execute("begin; select count(*) from bronze.trips").await.expect("a reader");
    db.src("insert into app.trips (id) values (500)").await;
    let mut child = project.spawn(&["resync", "trips"]);
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'lock table \"bronze\".\"trips\"%' and datname = current_database()";
    killed_at(&db, &mut child, waits, 1).await;
    reader.batch_execute("commit").await.expect("ends");
    let run = project.json(&["run"]);
    assert_eq!(of_kind(run["runs"].as_array().expect("runs"), "chunk"), 0, "{run:#}");
    equal(&db).await;
    // With other columns it begins anew.
    let before = number(&db, LOADED).await;
    let mut child = project.spawn(&["resync", "trips", "--jobs", "1"]);
    killed_at(&db, &mut child, LOADED, before + 2).await;
    db.src("alter table app.trips drop column note").await;
    project.ok(&["resync", "trips"]);
    assert_equal_tables(&db, "select id, n, at from app.trips", "select id, n, at from bronze.trips").await;
    // A log that is made anew meanwhile knows nothing of the chunks that are beside bronze.
    let before = number(&db, LOADED).await;
    let mut child = project.spawn(&["resync", "trips", "--jobs", "1"]);
    killed_at(&db, &mut child, LOADED, before + 2).await;
    move_that_was_cut_off(&db);
    project.ok(&["rebuild", "--reset"]);
    project.ok(&["run"]);
    assert_equal_tables(&db, "select id, n, at from app.trips", "select id, n, at from bronze.trips").await;
    // A file that was being written when its process died is taken for one under way for a day.
    project.ok(&["recover", "--uploads-older-than", "0"]);
    assert!(!db.blobs().join("test/exports/trips").read_dir().is_ok_and(|mut files| files.next().is_some()));
    project.ok(&["rebuild", "--reset"]);
    assert_equal_tables(&db, "select id, n, at from app.trips", "select id, n, at from bronze.trips").await;
}

#[tokio::test]
async fn a_resync_of_compressed_chunks_goes_on() {
    for how in ["zstd", "gzip"] {
        let (db, project) = loaded(&format!("resync_{how}"), "on_conflict = \"update\"").await;
        let url = format!("url = \"{}\"", db.blob_url());
        let project = project.config_with(&url, &format!("{url}\ncompression = \"{how}\""));
        db.src("update app.trips set note = 'changed', at = clock_timestamp() where id % 3 = 0").await;
        let mut child = project.spawn(&["resync", "trips", "--jobs", "1"]);
        killed_at(&db, &mut child, LOADED, 3).await;
        let report = project.json(&["resync", "trips"]);
        assert_eq!(number(&db, LOADED).await, 11, "none was read twice: {report:#}");
        equal(&db).await;
    }
}

#[tokio::test]
async fn what_goes_between_two_chunks_is_found_and_taken_away() {
    let (db, project) = loaded("resync_goes", "on_conflict = \"update\"").await;
    let mut child = project.spawn(&["resync", "trips", "--jobs", "1"]);
    killed_at(&db, &mut child, LOADED, 3).await;
    let status = project.ok(&["status"]).all();
    assert!(status.contains("cut off"), "{status}");
    assert!(!status.contains("healthy") && status.contains("dwh resync trips"), "{status}");
    let report = project.fails(4, &["status", "--check"]).json();
    assert_eq!((&report["breaches"][0]["check"], &report["healthy"]), (&"cut_off".into(), &false.into()), "{report:#}");
    db.src("delete from app.trips where id = 5; update app.trips set id = 1006, at = clock_timestamp() where id = 6")
        .await;
    project.ok(&["resync", "trips"]);
    assert!(!project.ok(&["status"]).all().contains("cut off"));
    project.ok(&["run"]);
    project.ok(&["status", "--check"]);
    let report = project.fails(4, &["verify", "trips"]).json();
    let found = ["missing", "extra", "different"].map(|name| report["tables"][0][name].as_u64());
    assert_eq!(found, [Some(0), Some(2), Some(0)], "{report:#}");
    project.ok(&["verify", "--repair", "trips"]);
    equal(&db).await;
}

/// Of the newest chunk that was moved, the last step is left to do: its manifest is still in `exports/`.
fn move_that_was_cut_off(db: &TestDb) {
    let folder = |name: &str| db.blobs().join("test").join(name).join("trips");
    let number = |path: &PathBuf| {
        let stem = path.to_str()?.strip_suffix(".manifest.json")?;
        Some((stem.rsplit('_').next()?.parse::<i64>().ok()?, path.clone()))
    };
    let manifests = files(&folder("processed"));
    let (_, newest) = manifests.iter().filter_map(number).max().expect("a chunk that was moved");
    // The kill may have come just there: then it is a second name of the same file, which a copy would empty.
    let left = folder("exports").join(newest.file_name().expect("a name"));
    if !left.exists() {
        std::fs::copy(&newest, left).expect("copied");
    }
}

#[tokio::test]
async fn killed_at_any_moment_and_writers_all_the_time() {
    let (db, project) = loaded("resync_moments", "on_conflict = \"update\"\nlate_window = \"1h\"").await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let writes = async {
        let mut at = 1000;
        while !stop.load(Ordering::Relaxed) {
            at += 1;
            // Stamped before it is committed, as rows are.
            db.src(&format!(
                "begin; insert into app.trips (id, n) values ({at}, 0); update app.trips set n = {at}, at = clock_timestamp()
                 where id = {at} % 100; select pg_sleep(0.005); commit"
            ))
            .await;
        }
    };
    let kills = async {
        for moment in 0..16 {
            let mut child = project.spawn(&["resync", "trips", "--jobs", "4"]);
            tokio::time::sleep(Duration::from_millis(20 * moment)).await;
            child.kill().expect("kill -9");
            child.wait().expect("dead");
        }
        let mut child = project.spawn(&["resync", "trips", "--wait"]);
        while child.try_wait().expect("waits").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.store(true, Ordering::Relaxed);
        let there = "select count(*) from bronze.trips where id <= 100";
        assert_eq!(number(&db, there).await, 100, "no row vanishes that is at the source");
        assert!(child.wait().expect("ended").success());
    };
    tokio::join!(writes, kills);
    project.ok(&["run"]);
    equal(&db).await;
    project.ok(&["rebuild", "--reset"]);
    equal(&db).await;
}

#[tokio::test]
async fn tables_that_are_read_whole_and_those_that_cannot_be_cut() {
    let db = TestDb::new("resync_whole").await;
    db.src(&format!(
        "create schema app; {READABLE}
         create table app.bare (n int, note text); insert into app.bare select i, 'x' from generate_series(1, 50) i;
         create table app.num (id int primary key, n int); insert into app.num select i, i from generate_series(1, 25) i;
         create table app.odd (id float8 not null, at timestamptz not null default clock_timestamp());
         insert into app.odd select i from generate_series(1, 50) i"
    ))
    .await;
    let follows = "on_schema_change = \"resync\"\nchunk_rows = 10\n";
    let own = format!("{follows}watermark = \"at\"\nkey = [\"id\"]");
    let config = table("bare", "app.bare", "snapshot", follows) + &table("odd", "app.odd", "incremental", &own);
    let own = format!("{follows}watermark = \"id\"\nkey = [\"id\"]");
    let project = Project::new(&db, &(config + &table("num", "app.num", "incremental", &own)));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    db.src("alter table app.num alter column n type text; insert into app.num values (26, 'x')").await;
    db.src(
        "alter table app.bare alter column n type text using 'n' || n, drop column note, add column more int default 3;
            alter table app.odd add column r float8 default random()",
    )
    .await;
    db.tgt("set role dwh_owner; create view bronze.over_bare as select n from bronze.bare; create materialized view bronze.held as select n from bronze.bare; reset role").await;
    let before = number(&db, "select count(*) from dwh_control.extract_runs").await;
    for call in ["--preview", "--dry-run"] {
        let told = project.ok(&["run", call]).all();
        for word in [
            "first reads the table anew, as a whole, in 3 chunks",
            "in one chunk",
            "first brings bronze to the columns",
        ] {
            assert!(told.contains(word), "{word}: {told}");
        }
    }
    let report = project.json(&["run", "num", "--preview"]);
    assert_eq!((report["runs"][0]["status"].as_str(), report["runs"][0]["run_id"].is_null()), (Some("loading"), true));
    assert_eq!(number(&db, "select count(*) from dwh_control.extract_runs").await, before);
    // What cannot be made again is named, with the way out of it; views follow.
    let failure = project.fails(4, &["run", "bare"]).failure("bare");
    failure.names(&["the type of `n` changes", "materialized view `bronze.held` holds it"]);
    assert!(failure.hint.contains("run `dwh resync bare` and make it again"), "{failure:?}");
    db.tgt("drop materialized view bronze.held").await;
    let checked = project.dwh(&["check"]);
    assert!(checked.code == 0 && checked.stdout.contains("the next run follows it"), "{}", checked.all());
    let run = project.json(&["run"]);
    let all = run["runs"].as_array().expect("runs");
    let odd: Vec<Value> = all.iter().filter(|run| run["table"] == "odd").cloned().collect();
    assert_equal_tables(&db, "select * from app.num", "select * from bronze.num").await;
    assert_eq!(of_kind(&odd, "chunk"), 1, "its key has no order to be trusted: {run:#}");
    assert_equal_tables(&db, "select * from app.odd", "select * from bronze.odd").await;
    assert_equal_tables(&db, "select n, more from app.bare", "select n, more from bronze.bare").await;
    assert_equal_tables(&db, "select n from app.bare", "select n from bronze.over_bare").await;
    let planned = project.json(&["resync", "*", "--dry-run"]);
    let tables = planned["tables"].as_array().expect("tables");
    let chunks: Vec<&Value> = tables.iter().map(|table| &table["chunks"]).collect();
    assert_eq!(chunks, [1, 1, 3], "{planned:#}");
    project.ok(&["resync", "*"]);
    // Nothing does not take the place of rows.
    db.src("truncate app.odd").await;
    let refused = project.dwh(&["resync", "odd"]);
    assert!(refused.code == 4 && refused.stderr.contains("no rows would replace"), "{}", refused.all());
    assert_eq!(number(&db, "select count(*) from bronze.odd").await, 50);
    project.ok(&["resync", "odd", "--allow-empty"]);
    assert_eq!(number(&db, "select count(*) from bronze.odd").await, 0);
    db.tgt("create table bronze.odd__temp (n int)").await;
    let refused = project.fails(4, &["resync", "odd", "--allow-empty"]);
    assert!(refused.stderr.contains("odd__temp is there already"), "{}", refused.all());
    db.tgt("drop table bronze.odd__temp").await;
    project.ok(&["resync", "odd", "--allow-empty"]);
}

const MANIFEST: &str = "tables:
  issues:
    import_db: DB
    import_query: SELECT COLUMNS FROM issues WHERE updated_at BETWEEN '{BEGIN_TIMESTAMP}' AND '{END_TIMESTAMP}'
    export_schema: 'gitlab'
    export_table: 'issues'
    export_table_primary_key: id
  labels:
    import_db: DB
    import_query: SELECT id, OTHERS FROM labels
    export_schema: 'gitlab'
    export_table: 'labels'
    export_table_primary_key: id
";

#[tokio::test]
async fn a_manifest_whose_columns_change_needs_no_manual_step() {
    for conflict in ["append", "update"] {
        let db = TestDb::new(&format!("resync_tap_{conflict}")).await;
        db.src(
            "create table public.issues (id int primary key, title text, weight int, updated_at timestamptz not null default now());
             create table public.labels (id int primary key, name text);
             grant select on issues, labels to app_ro;
             insert into issues (id, title, weight) select i, 't' || i, i from generate_series(1, 45) i;
             insert into labels select i, 'l' from generate_series(1, 5) i",
        )
        .await;
        let section =
            format!("[[manifest]]\npath = \"m.yaml\"\nwindow = \"0\"\nchunk_rows = 10\non_conflict = \"{conflict}\"\n");
        let project = Project::new(&db, &section);
        let tap = |columns: &str, others: &str, load_type: &str| {
            let text = MANIFEST.replace("COLUMNS", columns).replace("OTHERS", others);
            std::fs::write(project.folder().join("m.yaml"), text).expect("manifest");
            project.json(&["tap", "m.yaml", "--load-type", load_type])
        };
        let newest = async |columns: &str| {
            let latest = format!(
                "select {columns} from (select *, row_number() over (partition by id order by _uploaded_at desc) as at from gitlab.issues) v where at = 1"
            );
            assert_equal_tables(&db, &format!("select {columns} from public.issues"), &latest).await;
        };
        std::fs::write(
            project.folder().join("m.yaml"),
            MANIFEST.replace("COLUMNS", "id, updated_at").replace("OTHERS", "name"),
        )
        .expect("manifest");
        project.ok(&["migrate"]);
        db.tgt("drop table gitlab.issues, gitlab.labels; delete from dwh_control.extract_watermarks; delete from dwh_control.table_contracts").await;
        // New.
        tap("id, title, weight, updated_at", "name", "incremental");
        tap("id, title, weight, updated_at", "name", "scd");
        newest("id, title, weight, updated_at").await;
        // One more, one less, one of another name, one of another type.
        db.src("alter table issues add column extra int; update issues set extra = 1 where id < 4").await;
        let report = tap("id, title, weight, updated_at, extra", "name", "incremental");
        assert_eq!(of_kind(report["runs"].as_array().expect("runs"), "resync"), 1, "no stamp says it: {report:#}");
        newest("id, title, weight, updated_at, extra").await;
        db.src("alter table issues rename column title to name").await;
        // Whichever load type comes first.
        let report = tap("id, name, weight, updated_at, extra", "name", "backfill");
        assert_eq!(of_kind(report["runs"].as_array().expect("runs"), "chunk"), 5, "{report:#}");
        newest("id, name, weight, updated_at, extra").await;
        db.src(
            "alter table issues alter column weight type bigint; alter table labels alter column name type varchar(5)",
        )
        .await;
        let report = tap("id, name, weight, updated_at", "name", "incremental");
        assert_eq!(of_kind(report["runs"].as_array().expect("runs"), "resync"), 1, "{report:#}");
        newest("id, name, weight, updated_at").await;
        tap("id, name, weight, updated_at", "name", "scd");
        assert_equal_tables(
            &db,
            "select id, name from labels",
            "select id, name from gitlab.labels where _uploaded_at = (select max(_uploaded_at) from gitlab.labels)",
        )
        .await;
        let rows = number(&db, "select count(*) from gitlab.issues").await;
        // A version for each that differs, and none is lost.
        assert_eq!(rows, if conflict == "append" { 45 + 3 + 45 } else { 45 });
        tap("id, name, weight, updated_at", "name", "incremental");
        assert_eq!(number(&db, "select count(*) from gitlab.issues").await, rows);
        project.ok(&["rebuild", "--reset"]);
        newest("id, name, weight, updated_at").await;
        assert_eq!(number(&db, "select count(*) from gitlab.issues").await, rows);
    }
}
