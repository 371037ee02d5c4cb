//! When two keys are equal, and when two rows are identical: for types of extensions, and for values that are equal and
//! written in another way.

use crate::support::{Project, READABLE, number, table, total, until_old};
use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;

const EXTENSIONS: &str =
    "create extension citext; create extension ltree; create extension hstore; create extension cube;
    create extension isn;";

/// A type that may be a key, a value, and another one.
const KEYS: [(&str, &str, &str, &str); 8] = [
    ("of_ltree", "ltree", "a.b", "a.c"),
    ("of_hstore", "hstore", "a=>1", "a=>2"),
    ("of_cube", "cube", "(1,2)", "(1,3)"),
    ("of_isbn", "isbn13", "978-0-11-000533-1", "978-0-393-04002-9"),
    ("of_geom", "geometry(Point,4326)", "SRID=4326;POINT(1 2)", "SRID=4326;POINT(1 3)"),
    ("of_citext", "citext", "Ab", "cd"),
    ("of_list", "citext[]", "{Ab}", "{cd}"),
    ("of_short", "varchar(5)", "ab", "cd"),
];

async fn keyed(test: &str, on_conflict: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(EXTENSIONS).await;
    db.tgt(EXTENSIONS).await;
    db.src(&format!("create schema app; {READABLE}")).await;
    let mut config = String::new();
    for (name, type_name, one, two) in KEYS {
        db.src(&format!(
            "create table app.{name} (k {type_name} primary key, v int, at timestamptz not null default now());
             create index on app.{name} (at);
             insert into app.{name} (k, v) values ('{one}', 1), ('{two}', 1);"
        ))
        .await;
        let more = format!("watermark = \"at\"\nkey = [\"k\"]\non_conflict = \"{on_conflict}\"");
        config += &table(name, &format!("app.{name}"), "incremental", &more);
    }
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

fn verified(report: &Value, name: &str) -> [u64; 3] {
    ["missing", "extra", "different"].map(|count| counted(report, name, &[count]))
}

/// The sum of some counts of a table.
fn counted(report: &Value, name: &str, counts: &[&str]) -> u64 {
    let found = report["tables"].as_array().expect("tables").iter().find(|table| table["table"] == name);
    let found = found.unwrap_or_else(|| panic!("no `{name}` in {report:#}"));
    counts.iter().map(|count| found[*count].as_u64().unwrap_or_else(|| panic!("{report:#}"))).sum()
}

#[tokio::test]
async fn keys_of_extension_types_find_their_rows() {
    let (db, project) = keyed("keys_update", "update").await;
    for (name, ..) in KEYS {
        db.src(&format!("update app.{name} set v = 2, at = clock_timestamp() where ctid = '(0,1)'")).await;
    }
    let report = project.json(&["run"]);
    for (name, ..) in KEYS {
        let counts = ["rows_updated", "rows_inserted"].map(|count| total(&report, name, count));
        assert_eq!(counts, [1, 0], "{name}: {report:#}");
        assert_equal_tables(&db, &format!("select * from app.{name}"), &format!("select * from bronze.{name}")).await;
        db.tgt(&format!("update bronze.{name} set v = 7, at = at - interval '2 days'")).await;
    }
    let found = project.fails(4, &["verify"]).json();
    for (name, ..) in KEYS {
        assert_eq!(counted(&found, name, &["missing", "extra"]), 0, "{name}: {found:#}");
        // A row that came with the last run may lie above what is compared.
        assert_eq!(counted(&found, name, &["different", "in_flight"]), 2, "{name}: {found:#}");
    }
}

#[tokio::test]
async fn keys_of_extension_types_are_known_when_they_come_again() {
    let (db, project) = keyed("keys_nothing", "nothing").await;
    for (name, ..) in KEYS {
        db.src(&format!("update app.{name} set v = 2, at = clock_timestamp() where ctid = '(0,1)'")).await;
    }
    let report = project.json(&["run"]);
    for (name, ..) in KEYS {
        let counts = ["rows_different", "rows_inserted"].map(|count| total(&report, name, count));
        assert_eq!(counts, [1, 0], "{name}: {report:#}");
    }
}

/// Columns whose equal values are written in several ways.
const SPELLINGS: &str = "create table app.t (
        k citext, n numeric, f float8, c citext, j json, a numeric[], g geometry, w text collate app.nd,
        z numeric not null, u text collate app.nd not null,
        at timestamptz not null default now(), primary key (k, z, u));
    create index on app.t (at);
    insert into app.t values ('Key', 1.0, 0, 'Word', '{\"a\":1}', '{1.0}', 'POINT(1 2)', 'Deaf', 2.0, 'Blind');";

#[tokio::test]
async fn what_is_equal_and_written_in_another_way_is_a_change() {
    let db = TestDb::new("spellings").await;
    db.src(EXTENSIONS).await;
    db.tgt(EXTENSIONS).await;
    let collation = "create collation app.nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false);";
    db.src(&format!("create schema app; {READABLE} {collation} {SPELLINGS}")).await;
    let config =
        table("t", "app.t", "incremental", "watermark = \"at\"\nkey = [\"k\", \"z\", \"u\"]\non_conflict = \"update\"");
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    db.tgt("create schema app; create collation app.nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            alter table bronze.t alter column w type text collate app.nd, alter column u type text collate app.nd;")
        .await;
    project.ok(&["run"]);
    for change in [
        "k = 'KEY'",
        "n = 1.00",
        "f = '-0'",
        "c = 'WORD'",
        "j = '{\"a\": 1}'",
        "a = '{1.00}'",
        "g = null",
        "w = 'deaf'",
        "z = 2.00",
        "u = 'BLIND'",
    ] {
        db.src(&format!("update app.t set {change}, at = clock_timestamp()")).await;
        let report = project.json(&["run"]);
        let counts = ["rows_updated", "rows_inserted", "rows_identical"].map(|count| total(&report, "t", count));
        assert_eq!(counts, [1, 0, 0], "{change}: {report:#}");
        assert_equal_tables(&db, "select * from app.t", "select * from bronze.t").await;
        project.ok(&["verify"]);
    }
    let range = ["backfill", "t", "--from", "2020-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"];
    let again = project.json(&range);
    assert!(again.to_string().contains("\"rows_identical\":1"), "{again:#}");
}

#[tokio::test]
async fn counts_that_differ_are_never_equal() {
    let db = TestDb::new("never_equal").await;
    db.src(&format!(
        "create schema app; {READABLE}
         create collation app.nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create table app.t (k text collate app.nd primary key, at timestamptz not null default now());
         create index on app.t (at); insert into app.t (k) values ('a'), ('b');"
    ))
    .await;
    let project = Project::new(&db, &table("t", "app.t", "incremental", "watermark = \"at\"\nkey = [\"k\"]"));
    project.ok(&["migrate"]);
    until_old(&db, "app.t").await;
    project.ok(&["run"]);
    db.tgt("insert into bronze.t select 'A', at from bronze.t where k = 'a'").await;
    assert_eq!(number(&db, "select count(*) from bronze.t").await, 3);
    let found = project.fails(4, &["verify"]).json();
    assert_eq!(verified(&found, "t"), [0, 1, 0], "{found:#}");
    // One of each: to bronze `A` is another key.
    db.tgt("delete from bronze.t where k = 'a'").await;
    let found = project.fails(4, &["verify"]).json();
    assert_eq!(verified(&found, "t"), [1, 1, 0], "{found:#}");
}
