//! `dwh export`: rows and values of bronze, read back from Parquet; what it cannot hold is refused by name.

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::PathBuf;

use crate::support::{Project, READABLE, files, table};
use dwh_core::testing::{TestBlobs, TestDb};

const ALL: &str = "create table app.all_types (id bigint primary key, at timestamptz not null default now(),
    flag boolean, small smallint, int integer, r real, d double precision, price numeric(6,2), big numeric(15,3),
    huge numeric(38,10), note text, code varchar(10), who uuid, doc jsonb, raw bytea, day date, local timestamp, span interval,
    ints integer[], texts text[], prices numeric(6,2)[], mood app.mood, place geometry(Point,4326), any_place geometry, ball geography(Point))";

/// Each column of bronze as the text that [`text`] makes of a Parquet value.
const BRONZE: &str =
    "select id::text, (extract(epoch from at) * 1000000)::bigint::text, flag::text, small::text, int::text,
    r::text, d::text, price::text, big::text, huge::text, note, code, who::text, doc::text, encode(raw, 'hex'),
    (day - date '1970-01-01')::text, (extract(epoch from local) * 1000000)::bigint::text, span::text,
    ints::text, texts::text, prices::text, mood::text, encode(st_asbinary(place, 'NDR'), 'hex'),
    encode(st_asbinary(any_place, 'NDR'), 'hex'), encode(st_asbinary(ball::geometry, 'NDR'), 'hex')
    from bronze.all_types b order by b.id";

fn columns(more: &str) -> String {
    format!("watermark = \"at\"\nkey = [\"id\"]\n{more}")
}

async fn all_types(test: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!(
        "create schema app; {READABLE} create type app.mood as enum ('good', 'so ''so'''); {ALL};
        insert into app.all_types (id, flag, small, int, r, d, price, big, huge, note, code, who, doc, raw, day, local, span,
            ints, texts, prices, mood, place, any_place, ball) values
        (1, true, -32768, 2147483647, 0.1, 'NaN', -9999.99, 123456789012.345, 1234567890123456789012345678.0123456789,
            E'a,\"b\"\\n\\\\.', '', '00000000-0000-0000-0000-00000000000a', '{{\"a\": [1, null]}}', '\\x00ff', '0044-03-15 BC',
            '9999-12-31 23:59:59.999999', '3 mons 2 days 00:00:01.5', '{{1,NULL,3}}', '{{\"\",\"NULL\",NULL,\"a\\\"b,c\"}}', '{{1.50,NULL}}',
            'so ''so''', 'SRID=4326;POINT(36.82194619999999 -1.29)', 'POINT Z (1 2 3)', 'POINT(1 2)'),
        (2, false, 0, -1, '-Infinity', 1e-300, 0.5, -0.001, -0.0000000001, 'NULL', ' ', null, '\"x\"', '\\x', '1970-01-01',
            '1969-12-31 23:59:59.5', '-1 days', '{{}}', '{{}}', '{{}}', 'good', 'SRID=4326;POINT EMPTY',
            'MULTIPOINT((1 2),(3 4))', null)"
    ))
    .await;
    // Empty fields throughout.
    db.src("insert into app.all_types (id) values (3)").await;
    let project = Project::new(&db, &table("all_types", "app.all_types", "incremental", &columns(more)));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

/// A value as text; `None` is NULL.
fn text(field: &Field) -> Option<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Some(match field {
        Field::Null => return None,
        Field::Bool(value) => value.to_string(),
        Field::Short(value) => value.to_string(),
        Field::Int(value) | Field::Date(value) => value.to_string(),
        Field::Long(value) | Field::TimestampMicros(value) => value.to_string(),
        Field::Float(value) => of_float(f64::from(*value), &value.to_string()),
        Field::Double(value) => of_float(*value, &format!("{value:e}")),
        Field::Str(value) => value.clone(),
        Field::Bytes(value) => hex(value.data()),
        Field::ListInternal(list) => {
            let element = |element: &Field| match (element, text(element)) {
                (_, None) => "NULL".to_owned(),
                (Field::Str(_), Some(text)) => array_element(&text),
                (_, Some(text)) => text,
            };
            format!("{{{}}}", list.elements().iter().map(element).collect::<Vec<_>>().join(","))
        }
        // Decimals, with all digits of their scale.
        other => other.to_string(),
    })
}

fn of_float(value: f64, text: &str) -> String {
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        _ => text.to_owned(),
    }
}

fn array_element(text: &str) -> String {
    let plain =
        !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(['"', ',', '\\', '{', '}', ' ']);
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// The rows of all files of an export, by the first column, a number.
fn rows(report: &Value) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for path in paths(report) {
        let reader = SerializedFileReader::new(File::open(path).expect("a file")).expect("Parquet");
        for row in reader.get_row_iter(None).expect("rows") {
            rows.push(row.expect("a row").get_column_iter().map(|(_, field)| text(field)).collect::<Vec<_>>());
        }
    }
    rows.sort_by_key(|row| row[0].as_ref().and_then(|id| id.parse::<i64>().ok()));
    rows
}

fn paths(report: &Value) -> Vec<PathBuf> {
    let folder = report["to"].as_str().and_then(|to| to.strip_prefix("file://")).expect("a folder");
    let files = report["files"].as_array().expect("files");
    files.iter().map(|file| PathBuf::from(folder).join(file["file"].as_str().expect("a name"))).collect()
}

async fn bronze(db: &TestDb, sql: &str) -> Vec<Vec<Option<String>>> {
    let rows = db.target().query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect()
}

fn note(key: &str, path: &PathBuf) -> Option<Value> {
    let reader = SerializedFileReader::new(File::open(path).expect("a file")).expect("Parquet");
    let notes = reader.metadata().file_metadata().key_value_metadata().expect("notes");
    let note = notes.iter().find(|note| note.key == key)?;
    Some(serde_json::from_str(note.value.as_deref().expect("a value")).expect("JSON"))
}

#[tokio::test]
async fn every_value_of_bronze_is_in_the_files() {
    for form in ["ewkt", "ewkb"] {
        let (db, project) =
            all_types(&format!("export_{form}"), &format!("on_conflict = \"update\"\ngeometry = \"{form}\"")).await;
        db.src("update app.all_types set note = 'newer', at = now() where id = 2; insert into app.all_types (id) values (4)").await;
        project.ok(&["run"]);
        let report = project.json(&["export", "all_types", "--to", "lake"]);
        assert_eq!(rows(&report), bronze(&db, BRONZE).await);
        assert_eq!((&report["rows"], report["files"].as_array().map(Vec::len)), (&json!(4), Some(2)), "{report:#}");
        // The list beside the files is the report, and the bytes are those that it names.
        let folder = project.folder().join("lake/all_types");
        let index: Value =
            serde_json::from_slice(&fs::read(folder.join("_export.json")).expect("the list")).expect("JSON");
        assert_eq!(index, report);
        for (path, file) in paths(&report).iter().zip(report["files"].as_array().expect("files")) {
            assert_eq!(json!(fs::metadata(path).expect("a file").len()), file["bytes"]);
            let geo = note("geo", path).expect("GeoParquet");
            assert_eq!((&geo["version"], &geo["primary_column"]), (&json!("1.1.0"), &json!("place")));
            assert_eq!(geo["columns"]["place"]["crs"]["id"]["code"], 4326);
            assert_eq!(geo["columns"]["any_place"]["crs"], Value::Null);
            assert_eq!(geo["columns"]["ball"]["edges"], "spherical");
            assert_eq!(note("dwh", path).expect("notes")["run_id"], file["run_id"]);
        }
        assert_eq!(project.json(&["export", "all_types", "--to", "lake"]), report, "it may be repeated");
        // Nothing but what is listed.
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 3);
    }
}

#[tokio::test]
async fn a_folder_of_another_export_is_refused() {
    let (db, project) = all_types("export_folder", "on_conflict = \"update\"").await;
    project.ok(&["export", "all_types", "--to", "lake"]);
    db.src("update app.all_types set note = 'newer', at = now() where id = 2").await;
    project.ok(&["run"]);
    let failed = project.fails(4, &["export", "all_types", "--to", "lake"]).json();
    assert_eq!(failed["error"]["code"], "exists", "{failed:#}");
    fs::write(project.folder().join("lake/all_types/old.parquet"), "PAR1").expect("written");
    let failed = project.fails(4, &["export", "all_types", "--to", "lake"]).json();
    assert!(failed["error"]["message"].as_str().is_some_and(|text| text.contains("old.parquet")), "{failed:#}");
    let store = db.blob_url();
    for to in [store.clone(), format!("{store}/test"), format!("{store}/test/processed")] {
        let refused = to != store;
        let output = project.dwh(&["export", "all_types", "--to", &to, "--dry-run"]);
        assert_eq!(output.code, if refused { 2 } else { 0 }, "{}", output.all());
    }
    project.fails(2, &["export", "nothing", "--to", "lake"]);
}

#[tokio::test]
async fn what_parquet_cannot_hold_is_refused_by_name() {
    let db = TestDb::new("export_refused").await;
    db.src(&format!(
        "create schema app; {READABLE}
        create table app.odd (id int primary key, any_number numeric, price numeric(6,2), at timestamptz, day date, clock time, nested int[], curve geometry);
        insert into app.odd values (1, 1.5, 1, now(), now(), '23:59', '{{1}}', null)"
    ))
    .await;
    let project = Project::new(&db, &table("odd", "app.odd", "snapshot", ""));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    let fails = |to: &str, options: &[&str], words: &[&str], hint: &str| {
        let failed = project.fails(4, &[&["export", "odd", "--to", to], options].concat()).json();
        let (message, told) = (failed["error"]["message"].to_string(), failed["error"]["hint"].to_string());
        assert!(words.iter().all(|word| message.contains(word)), "{failed:#}");
        assert!(told.contains(hint), "{failed:#}");
        assert!(!project.folder().join(to).join("odd/_export.json").exists());
    };
    fails("lake", &[], &["`any_number`, numeric, has no precision"], "dwh export odd --to lake --as-text any_number");
    fails("lake", &["--dry-run"], &["`any_number`"], "--as-text any_number");
    let as_text = ["--as-text", "any_number"];
    let report = project.json(&[&["export", "odd", "--to", "lake"], &as_text[..]].concat());
    assert_eq!(rows(&report)[0][1].as_deref(), Some("1.5"));
    let odd = [
        ("price", "'NaN'", "numeric(6,2), holds NaN"),
        ("at", "'infinity'", "timestamp with time zone, holds an infinite"),
        ("at", "'294247-01-10 04:00:54.775807Z'", "too far away"),
        ("day", "'-infinity'", "date, holds an infinite"),
        ("clock", "'24:00'", "24:00:00"),
        ("nested", "'{{1},{2}}'", "dimensions"),
        ("nested", "'[0:0]={1}'", "begin at 1"),
        ("curve", "'CIRCULARSTRING(0 0,1 1,2 0)'", "curve"),
        ("curve", "'POINT M (1 2 3)'", "with M"),
    ];
    for (at, (column, value, words)) in odd.into_iter().enumerate() {
        db.src(&format!("update app.odd set price = 1, at = now(), day = now(), clock = '00:00', nested = '{{}}', curve = null; update app.odd set {column} = {value}"))
            .await;
        project.ok(&["run"]);
        let to = format!("lake_{at}");
        let name = format!("`{column}`");
        fails(&to, &as_text, &[&name, words], &format!("--as-text any_number --as-text {column}"));
        project.ok(&[&["export", "odd", "--to", &to, "--as-text", column], &as_text[..]].concat());
    }
}

/// A row a second, long ago.
const ITEMS: &str = "create schema app;
    create table app.items (id bigint primary key, note text, at timestamptz not null default now());
    insert into app.items select i, 'x', timestamptz '2026-01-01Z' + i * interval '1 second' from generate_series(1, 100) i;";

const ROWS: &str =
    "select id::text, note, (extract(epoch from at) * 1000000)::bigint::text from bronze.items b order by b.id";

async fn items(test: &str, mode: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("{ITEMS}{READABLE} grant select on all tables in schema app to app_ro")).await;
    let project = Project::new(&db, &table("items", "app.items", mode, more));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

/// What changes between two runs: rows that are changed, gone, back, and new.
const CHANGES: [&str; 4] = [
    "update app.items set note = 'second', at = now() where id between 10 and 20",
    "delete from app.items where id between 15 and 30",
    "insert into app.items select i, 'back', now() from generate_series(15, 18) i",
    "update app.items set note = 'third', at = now() where id in (10, 15, 90); insert into app.items values (1000, 'new')",
];

fn sorted(mut rows: Vec<Vec<Option<String>>>) -> Vec<Vec<Option<String>>> {
    rows.sort();
    rows
}

async fn versions(way: &str, deletes: &str) {
    let more = format!(
        "watermark = \"at\"\nkey = [\"id\"]\nlate_window = \"3650d\"\non_conflict = \"{way}\"\ndeletes = \"{deletes}\"\n\
         deletes_every = \"0\"\ndeletes_max = \"100%\"\n{}",
        // Rows that are read again keep the time at which they were read first.
        if way == "update" { "metadata = [\"_uploaded_at\"]\n" } else { "" }
    );
    let (db, project) = items(&format!("export_{way}_{deletes}"), "incremental", &more).await;
    for change in CHANGES {
        db.src(change).await;
        project.ok(&["run"]);
        project.ok(&["deletes", "items"]);
    }
    if way != "append" {
        // A repair: rows of a window that bronze has otherwise, and one that it has alone.
        if way == "nothing" {
            db.tgt("update bronze.items set note = 'wrong' where id = 40").await;
        }
        if deletes == "remove" {
            let uploaded = if way == "update" { ", now()" } else { "" };
            let alone = format!("insert into bronze.items values (500, 'alone', '2026-01-01 00:00:40Z'{uploaded})");
            db.tgt(&alone).await;
        }
        project.ok(&["reseed", "items", "--replace"]);
    }
    let micros = |name: &str| format!(", (extract(epoch from {name}) * 1000000)::bigint::text");
    let dated = if way != "nothing" { micros("_uploaded_at") } else { String::new() };
    let marked = if deletes == "mark" { micros("_deleted_at") } else { String::new() };
    let sql = format!("select id::text, note{}{dated}{marked} from bronze.items", micros("at"));
    let report = project.json(&["export", "items", "--to", "lake"]);
    assert_eq!(sorted(rows(&report)), sorted(bronze(&db, &sql).await), "{way} {deletes}");
    assert!(report["files"].as_array().expect("files").len() > 3, "{report:#}");
    // After a resync only what it read, and what came later.
    db.src("update app.items set note = 'fourth', at = now() where id = 11").await;
    project.ok(&["resync", "items"]);
    db.src("update app.items set note = 'fifth', at = now() where id = 12").await;
    project.ok(&["run"]);
    if way == "append" || deletes == "mark" {
        let failed = project.fails(4, &["export", "items", "--to", "lake_2"]).json();
        assert_eq!(failed["error"]["code"], "contract", "{failed:#}");
        assert!(failed["error"]["message"].as_str().is_some_and(|text| text.contains("resync")), "{failed:#}");
        return;
    }
    let report = project.json(&["export", "items", "--to", "lake_2"]);
    assert_eq!(sorted(rows(&report)), sorted(bronze(&db, &sql).await), "{way} {deletes}");
}

#[tokio::test]
async fn of_each_row_the_version_that_bronze_has() {
    for way in ["nothing", "update"] {
        versions(way, "remove").await;
    }
}

#[tokio::test]
async fn deleted_rows_bear_their_marks() {
    for way in ["nothing", "update"] {
        versions(way, "mark").await;
    }
}

#[tokio::test]
async fn every_version_where_bronze_has_each() {
    for deletes in ["remove", "mark"] {
        versions("append", deletes).await;
    }
}

#[tokio::test]
async fn of_a_snapshot_the_newest_and_of_scd_all_copies() {
    let (db, project) = items("export_snapshot", "snapshot", "").await;
    db.src("delete from app.items where id > 10").await;
    project.ok(&["run"]);
    let report = project.json(&["export", "items", "--to", "lake"]);
    assert_eq!(rows(&report), bronze(&db, ROWS).await);
    assert_eq!((&report["rows"], report["files"].as_array().map(Vec::len)), (&json!(10), Some(1)));

    let (db, project) = items("export_scd", "scd", "").await;
    db.src("delete from app.items where id > 10").await;
    project.ok(&["run"]);
    let report = project.json(&["export", "items", "--to", "lake"]);
    assert_eq!(report["rows"], 110);
    let folder = project.folder().join("lake/items");
    let held = |folder: &PathBuf| fs::read_dir(folder).expect("a folder").count();
    assert_eq!(held(&folder), 3);
    let dated = "select id::text, note, (extract(epoch from at) * 1000000)::bigint::text,
        (extract(epoch from _uploaded_at) * 1000000)::bigint::text from bronze.items";
    let (mut exported, mut there) = (rows(&report), bronze(&db, dated).await);
    exported.sort();
    there.sort();
    assert_eq!(exported, there);
    // A folder is one export: the copy that came since is not put beside the others.
    project.ok(&["run"]);
    let failed = project.fails(4, &["export", "items", "--to", "lake"]).json();
    assert_eq!((&failed["error"]["code"], held(&folder)), (&json!("exists"), 3), "{failed:#}");
}

#[tokio::test]
async fn a_column_that_came_later_and_one_that_is_gone() {
    let more = "watermark = \"at\"\nkey = [\"id\"]\non_new_column = \"add\"\non_missing_column = \"keep\"\n";
    let (db, project) = items("export_columns", "incremental", more).await;
    db.src("alter table app.items add column kind text default 'old', add column flag boolean default true,
        add column price numeric(6,2) default 1.5, add column ints int[] default '{1,NULL}'; insert into app.items (id) values (200)").await;
    project.ok(&["run"]);
    db.src("alter table app.items drop column note; insert into app.items (id, kind) values (300, 'k')").await;
    project.ok(&["run"]);
    let report = project.json(&["export", "items", "--to", "lake"]);
    let names: Vec<&str> =
        report["columns"].as_array().expect("columns").iter().filter_map(|c| c["name"].as_str()).collect();
    let sql = "select id::text, (extract(epoch from at) * 1000000)::bigint::text, kind, flag::text, price::text, ints::text, note
        from bronze.items b order by b.id";
    let known = vec!["id", "at", "kind", "flag", "price", "ints", "note"];
    assert_eq!((names, rows(&report)), (known, bronze(&db, sql).await));
}

#[tokio::test]
async fn what_readers_of_all_files_would_take_for_another_value() {
    let db = TestDb::new("export_readers").await;
    db.src(&format!(
        "create schema app; {READABLE} create table app.places (id bigint primary key, at timestamptz not null default now(), place geometry);
        insert into app.places (id, place) values (1, 'SRID=4326;POINT(1 2)'), (2, null)"
    ))
    .await;
    let more = "watermark = \"at\"\nkey = [\"id\"]\non_new_column = \"add\"\n";
    let project = Project::new(&db, &table("places", "app.places", "incremental", more));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    // Each file has one SRID, both together have two.
    db.src("insert into app.places (id, place) values (3, 'SRID=32737;POINT(1 2)')").await;
    project.ok(&["run"]);
    let failed = project.fails(4, &["export", "places", "--to", "lake"]).json();
    let told = |failed: &Value, words: &str| {
        assert!(failed["error"]["message"].as_str().is_some_and(|text| text.contains(words)), "{failed:#}");
    };
    told(&failed, "geometry, holds geometries of several SRIDs");
    let as_text = ["export", "places", "--as-text", "place", "--to"];
    project.ok(&[&as_text[..], &["lake_2"]].concat());
    // Two names that are one where case does not count.
    db.src("alter table app.places add column \"Place\" text; insert into app.places (id) values (4)").await;
    project.ok(&["run"]);
    let failed = project.fails(4, &[&as_text[..], &["lake_3"]].concat()).json();
    told(&failed, "columns `place` and `Place` differ by upper and lower case alone");
}

#[tokio::test]
async fn a_csv_that_is_gone_is_an_error() {
    let keyed = "watermark = \"at\"\nkey = [\"id\"]\nlate_window = \"3650d\"\n";
    // A file that is gone.
    let (db, project) = items("export_gap", "incremental", keyed).await;
    db.src("insert into app.items (id) values (200)").await;
    project.ok(&["run"]);
    let folder = db.blobs().join("test/processed/items");
    let mut names: Vec<PathBuf> =
        fs::read_dir(&folder).expect("processed/").flatten().map(|entry| entry.path()).collect();
    names.sort();
    let first = names.iter().find(|path| path.extension().is_some_and(|end| end == "csv")).expect("a CSV");
    fs::remove_file(first).expect("removed");
    let failed = project.fails(4, &["export", "items", "--to", "lake"]).json();
    assert_eq!(failed["error"]["code"], "data", "{failed:#}");
    assert!(failed["error"]["hint"].as_str().is_some_and(|hint| hint.contains("--accept-gaps")), "{failed:#}");
    let report = project.json(&["export", "items", "--to", "lake", "--accept-gaps"]);
    assert!(
        report["rows"].as_u64() < Some(101) && report["gaps"].as_array().is_some_and(|gaps| !gaps.is_empty()),
        "{report:#}"
    );
}

#[tokio::test]
async fn into_a_bucket() {
    let db = TestDb::new("export_bucket").await;
    db.src(&format!("{ITEMS}{READABLE} grant select on all tables in schema app to app_ro")).await;
    let blobs = TestBlobs::seaweedfs(&db).await;
    let project = Project::over(&db, &table("items", "app.items", "snapshot", ""), &blobs);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    let toml = blobs.toml();
    let to = format!("{}/lake", toml.split('"').nth(1).expect("an address"));
    let report = project.json(&["export", "items", "--to", &to]);
    assert_eq!(report["rows"], 100, "{report:#}");
    let file = &report["files"][0];
    let bytes = blobs.read(&format!("lake/items/{}", file["file"].as_str().expect("a name"))).await;
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    assert_eq!(json!(bytes.len()), file["bytes"]);
    assert_eq!(project.json(&["export", "items", "--to", &to]), report, "it may be repeated");
    assert_eq!(blobs.list("lake/").await.len(), 2);
}

#[tokio::test]
async fn of_a_csv_that_was_changed_nothing_is_written() {
    let (db, project) = items("export_changed", "snapshot", "").await;
    let csv = files(&db.blobs().join("test/processed"))
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "csv"));
    let csv = csv.expect("a CSV");
    let text = fs::read_to_string(&csv).expect("text");
    fs::remove_file(&csv).expect("removed");
    fs::write(&csv, text.replacen("100,x,", "100,y,", 1)).expect("changed");
    let failed = project.fails(4, &["export", "items", "--to", "lake"]).json();
    assert_eq!(failed["error"]["code"], "data", "{failed:#}");
    assert!(files(&project.folder().join("lake")).is_empty());
}
