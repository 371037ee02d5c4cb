//! Inputs that nobody expects: what can be read is read right, what cannot is named, and the others go on.

use super::{Raw, runs};
use crate::support::{Project, number};
use dwh_core::testing::{TestBlobs, TestDb};
use serde_json::Value;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::Duration;

const ODD: &str = r#"
[[table]]
name = "odd"
source = "raw"
files = ["odd/*.json", "odd/*.jsonl"]
mode = "files"
[table.columns]
id = { type = "int" }
n = { type = "numeric" }
f = { type = "float8" }
j = { type = "jsonb" }
t = { type = "text" }

[[table]]
name = "lines"
source = "raw"
files = "lines/*.csv"
mode = "files"
[table.columns]
id = { type = "int" }
t = { type = "text" }

[[table]]
name = "places"
source = "raw"
files = "places/*.geojson"
mode = "files"
[table.columns]
name = { type = "text" }
geom = { type = "geometry(Geometry,4326)" }

[[table]]
name = "listed"
source = "raw"
files = "listed/*.json"
records = "/list"
mode = "files"
[table.columns]
id = { type = "int" }
"#;

/// A table of one column.
const ONE: &str = r#"
[[table]]
name = "NAME"
source = "NAME"
files = "odd/*.json"
mode = "files"
[table.columns]
id = { type = "int" }
"#;

/// A feature with a geometry.
fn feature(geometry: &str) -> String {
    format!(
        r#"{{"type": "FeatureCollection", "features": [{{"type": "Feature", "geometry": {geometry}, "properties": {{"name": "x"}}}}]}}"#
    )
}

#[tokio::test]
async fn odd_inputs_are_read_right_or_named_and_the_others_go_on() {
    let raw = Raw::new("files_odd", ODD).await;
    let good: [(&str, Vec<u8>); 9] = [
        (
            "odd/digits.json",
            br#"[{"id": 1, "n": 123456789012345678901234567890.123456789012345678901234567890}]"#.to_vec(),
        ),
        ("odd/large.json", br#"[{"id": 2, "n": 1e400, "f": 1e300, "j": {"a": [1e400, 1.10]}}]"#.to_vec()),
        ("odd/it's 100% \"\u{fc}\" %20\nnext.json", br#"[{"id": 3, "t": "\u00fc\\u0000"}]"#.to_vec()),
        ("odd/crlf.jsonl", b"{\"id\": 4}\r\n\r\n{\"id\": 5, \"t\": \"\"}".to_vec()),
        ("odd/folder.json/inside.json", br#"[{"id": 99}]"#.to_vec()),
        ("lines/crlf.csv", b"id,t\r\n1,\"a\r\nb\"\r\n2,\r\n".to_vec()),
        (
            "lines/utf16.csv",
            [0xFEFF_u16].into_iter().chain("t,id\n\u{fc},3\n".encode_utf16()).flat_map(u16::to_be_bytes).collect(),
        ),
        ("places/none.geojson", feature("null").into_bytes()),
        (
            "places/all.geojson",
            feature(
                r#"{"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [36.80, -1.25]},
                    {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}]}"#,
            )
            .into_bytes(),
        ),
    ];
    for (path, bytes) in &good {
        raw.write(path, bytes);
    }
    symlink("..", raw.folder.join("odd/loop")).expect("a link");
    symlink("digits.json", raw.folder.join("odd/linked.json")).expect("a link");
    let geometry = |text: &str| feature(text).into_bytes();
    let bad: [(&str, Vec<u8>, &str); 16] = [
        ("odd/nan.json", b"[{\"id\": NaN}]".to_vec(), "is no JSON: broken in line 1"),
        ("odd/f.json", br#"[{"id": 1, "f": 1e400}]"#.to_vec(), "`/0/f` range of number"),
        ("odd/n.json", br#"[{"id": 1, "n": 1e200000}]"#.to_vec(), "`/0/n` range of numeric"),
        ("odd/nul.json", br#"[{"id": 1, "t": "a\u0000b"}]"#.to_vec(), "`/0/t` no NUL character"),
        ("odd/nul in name.json", br#"{"a\u0000b": {"id": 1}}"#.to_vec(), "no NUL character"),
        ("odd/half.json", br#"[{"id": 1, "j": ["\ud800"]}]"#.to_vec(), "`/0/j` no half of a surrogate pair"),
        ("odd/twice.json", br#"[{"id": 1, "j": {"a": {"b": 1, "b": 2}}}]"#.to_vec(), "`/0/j` each member only once"),
        ("odd/cut.jsonl", b"{\"id\": 1}\n{\"id\": 2, \"t\": \"x".to_vec(), "line 2 JSON"),
        ("lines/semicolon.csv", b"id;t\r\n1;x\r\n".to_vec(), "its fields are split by `;`"),
        ("lines/short.csv", b"id,t\n1\n".to_vec(), "line 2 1 fields, and the first line names 2"),
        ("lines/utf16 cut.csv", b"\xFF\xFEi\0d\0,\0t".to_vec(), "byte 9 is no UTF-8"),
        (
            "places/ring.geojson",
            geometry(r#"{"type": "Polygon", "coordinates": [[[0,0],[1,0],[1,1],[0,1]]]}"#),
            "`/features/0/geometry` type GeoJSON geometry",
        ),
        (
            "places/high.geojson",
            geometry(r#"{"type": "Point", "coordinates": [1,2,3]}"#),
            "type geometry of 2 coordinates",
        ),
        (
            "places/mixed.geojson",
            geometry(r#"{"type": "LineString", "coordinates": [[1,2],[3,4,5]]}"#),
            "type GeoJSON geometry",
        ),
        ("listed/twice.json", br#"{"list": [{"id": 1}], "list": [{"id": 2}]}"#.to_vec(), "`/list` is there twice"),
        ("listed/other.json", br#"{"lists": [{"id": 1}]}"#.to_vec(), "`/list` is not in it"),
    ];
    for (path, bytes, _) in &bad {
        raw.write(path, bytes);
    }
    let output = raw.project.fails(4, &["run"]);
    let report = output.json();
    for (path, _, word) in &bad {
        let run = report["runs"].as_array().expect("runs").iter().find(|run| run["file"] == *path);
        let error = &run.unwrap_or_else(|| panic!("no run of {path}\n{}", output.all()))["error"];
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        assert!(text("message").contains(word), "{path}: `{word}` is not in {error}");
        assert!(text("message").contains(path) && !text("hint").is_empty(), "{path}: {error}");
        assert_eq!(error["code"], "data", "{path}: {error}");
    }
    let odd = raw
        .rows("select concat_ws('|', id, case when n < 1e300 then n end, f, t, octet_length(_file), _record) from bronze.odd order by id, _record")
        .await;
    let named = good[2].0.len();
    assert_eq!(
        odd,
        [
            "1|123456789012345678901234567890.123456789012345678901234567890|15|/0".to_owned(),
            "2|1e+300|14|/0".to_owned(),
            format!("3|\u{fc}\\u0000|{named}|/0"),
            "4|14|1".to_owned(),
            "5||14|3".to_owned(),
        ],
        "{}",
        output.all()
    );
    let exact = "select count(*) from bronze.odd where id = 2 and n = 1e400 and j = '{\"a\": [1e400, 1.10]}' and j::text like '%1.10%'";
    assert_eq!(number(&raw.db, exact).await, 1);
    let lines = raw.rows("select concat_ws('|', id, t) from bronze.lines order by id").await;
    assert_eq!(lines, ["1|a\r\nb", "2", "3|\u{fc}"]);
    let places = raw.rows("select concat(_file, ' ', st_asewkt(geom)) from bronze.places order by 1").await;
    assert_eq!(
        places,
        [
            "places/all.geojson SRID=4326;GEOMETRYCOLLECTION(POINT(36.8 -1.25),LINESTRING(0 0,1 1))",
            "places/none.geojson "
        ]
    );
    // Named as they are for people and programs, and moved with one line each in the log.
    raw.project.ok(&["files", "list", "--table", "odd"]);
    raw.project.fails(4, &["files", "archive", "--before", "2999-01-01", "--table", "odd"]);
    let log = std::fs::read_to_string(raw.folder.join("_archive/ARCHIVE_LOG.txt")).expect("log");
    assert_eq!(log.lines().count(), 4, "{log}");
    assert!(
        raw.folder.join(format!("_archive/2999/{}", good[2].0)).exists() || log.contains("%20\\nnext.json"),
        "{log}"
    );
}

#[tokio::test]
async fn a_file_that_goes_between_list_and_read_stops_no_other() {
    let raw = Raw::new("files_vanish", ODD).await;
    for name in ["a", "b", "c"] {
        raw.write(&format!("odd/{name}.json"), r#"[{"id": 1}]"#);
    }
    let holder = raw.db.another_target().await;
    holder.batch_execute("begin; lock table bronze.odd in share mode").await.expect("held");
    let child = raw.project.follow(&["run", "odd", "--output", "json"]);
    // It waits for the load of the first one.
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    while number(&raw.db, waits).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::remove_file(raw.folder.join("odd/b.json")).expect("removed");
    holder.batch_execute("commit").await.expect("given back");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(4));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let files: Vec<(&str, &str)> = runs(&report, "odd")
        .iter()
        .map(|run| (run["file"].as_str().expect("file"), run["error"]["message"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        files,
        [("odd/a.json", ""), ("odd/b.json", "table `odd`: file `odd/b.json` is gone"), ("odd/c.json", "")],
        "{report:#}"
    );
    raw.project.ok(&["run", "odd"]);
}

#[tokio::test]
async fn a_bucket_of_many_files_is_listed_to_its_end_and_names_are_taken_as_they_are() {
    let db = TestDb::new("files_many").await;
    let blobs = TestBlobs::seaweedfs(&db).await;
    let address = blobs.toml().split('"').nth(1).expect("an address").to_owned();
    let folder = db.blobs().parent().expect("a parent").join(format!("{}-files", db.name()));
    let toml = format!(
        "[source.near]\nfiles = \"file://{}\"\nvalidated = \"{address}/raw\"\n[source.raw]\nfiles = \"{address}/raw\"\n{}{}",
        folder.display(),
        ODD,
        ONE.replace("NAME", "near")
    );
    let project = Project::over(&db, &toml, &blobs);
    project.ok(&["migrate", "odd", "near"]);
    let write = |number: usize| {
        let name = format!("raw/other/{number}.txt");
        let blobs = &blobs;
        async move { blobs.write(&name, b"x".to_vec()).await }
    };
    for from in (0..1_020).step_by(20) {
        futures_util::future::join_all((from..from + 20).map(write)).await;
    }
    // The copies of one source are the files of another.
    let names = ["100%.json", "a b.json", "a%20b.json", "it's+\u{fc}#?&.json"];
    std::fs::create_dir_all(folder.join("odd")).expect("folder");
    for (id, name) in names.iter().enumerate() {
        std::fs::write(folder.join("odd").join(name), format!(r#"[{{"id": {id}}}]"#)).expect("file");
    }
    project.ok(&["run", "near"]);
    let listed = project.json(&["files", "list", "--table", "odd"]);
    assert_eq!(listed["unmatched"].as_array().expect("unmatched").len(), 1_020);
    project.ok(&["run", "odd"]);
    let rows = db.target().query("select concat(id, ' ', _file) from bronze.odd order by id", &[]).await.expect("rows");
    let got: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let want: Vec<String> = names.iter().enumerate().map(|(id, name)| format!("{id} odd/{name}")).collect();
    assert_eq!(got, want);
    drop(std::fs::remove_dir_all(folder));
}

#[tokio::test]
async fn a_name_that_is_no_text_stops_only_the_table_that_takes_it() {
    let raw = Raw::new("files_name", ODD).await;
    raw.write("odd/a.json", r#"[{"id": 1}]"#);
    raw.write("lines/a.csv", "id,t\r\n7,x\r\n");
    let name = raw.folder.join("odd").join(std::ffi::OsStr::from_bytes(b"b\xff.json"));
    std::fs::write(&name, "[]").expect("a file");
    let report = raw.project.fails(4, &["run", "odd", "lines"]);
    assert!(report.stderr.contains("its name is no UTF-8"), "{}", report.all());
    assert_eq!(raw.rows("select concat_ws('|', id, t, _record) from bronze.lines").await, ["7|x|2"]);
    let ignoring = raw.project.config_with("\"odd/*.jsonl\"]", "\"odd/*.jsonl\"]\nignore = \"odd/b*.json\"");
    ignoring.ok(&["run", "odd"]);
    assert_eq!(number(&raw.db, "select count(*) from bronze.odd").await, 1);
}

#[tokio::test]
async fn files_that_moved_are_told_in_words_of_files() {
    let raw = Raw::new("files_moved", ODD).await;
    raw.write("lines/a.csv", "id,t\n7,x\n");
    raw.project.ok(&["run", "lines"]);
    std::fs::rename(&raw.folder, raw.home().join("moved")).expect("moved");
    let folder = raw.folder.display().to_string();
    let moved = raw.project.config_with(&folder, &raw.home().join("moved").display().to_string());
    let refused = moved.fails(4, &["run", "lines"]);
    assert!(refused.stderr.contains("`files` of `[source.raw]`"), "{}", refused.all());
    moved.ok(&["run", "lines", "--accept-source"]);
    assert_eq!(number(&raw.db, "select count(*) from bronze.lines").await, 1);
    // Rows that lack have no names where counts are compared.
    raw.db.tgt("delete from bronze.lines").await;
    let found = moved.dwh(&["verify", "lines"]);
    assert!(
        found.code == 4 && found.stdout.contains("missing") && !found.stdout.contains("--limit"),
        "{}",
        found.all()
    );
}
