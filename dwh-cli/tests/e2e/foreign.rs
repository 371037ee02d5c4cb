//! Databases that nobody here wrote: pgbench's bank, Natural Earth, the boroughs of New York, PostGIS's gazetteer.

use crate::support::{Project, number, table, total};
use dwh_core::testing::{TestDb, assert_equal_tables};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of the PostgreSQL that the tests run on.
async fn program(db: &TestDb, name: &str) -> PathBuf {
    let row =
        db.source().query_one("select setting from pg_config where name = 'BINDIR'", &[]).await.expect("pg_config");
    Path::new(row.get::<_, &str>(0)).join(name)
}

fn execute(command: &mut Command) {
    let output = command.output().expect("program starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Loads one of the files that `tests/data/fetch.sh` fetched.
async fn load(db: &TestDb, file: &str) {
    let folder = std::env::var_os("DWH_TEST_DATA").expect("DWH_TEST_DATA is not set: run the tests with `make test`");
    let path = Path::new(&folder).join(file);
    assert!(path.exists(), "{} is missing: run the tests with `make test`", path.display());
    let psql = program(db, "psql").await;
    execute(Command::new(psql).args(["-X", "-q", "-v", "ON_ERROR_STOP=1", &db.source_url(), "-f"]).arg(path));
}

/// The way of a first-time user: everything there, checked, run, run again; both ends equal after each run.
async fn goes_through(db: &TestDb, project: &Project, tables: &[(String, String)]) {
    project.ok(&["migrate"]);
    project.ok(&["check"]);
    for _ in 0..2 {
        project.ok(&["run"]);
        for (relation, name) in tables {
            let (source, target) = (format!("select * from {relation}"), format!("select * from bronze.{name}"));
            assert_equal_tables(db, &source, &target).await;
        }
    }
    project.ok(&["status"]);
}

#[tokio::test]
async fn pgbench() {
    let db = TestDb::new("pgbench").await;
    let pgbench = program(&db, "pgbench").await;
    execute(Command::new(&pgbench).args(["-i", "-s", "1", "-q"]).arg(db.source_url()));
    execute(Command::new(&pgbench).args(["-n", "-c", "4", "-t", "50"]).arg(db.source_url()));
    let names = ["accounts", "branches", "history", "tellers"];
    let toml: String =
        names.iter().map(|name| table(name, &format!("public.pgbench_{name}"), "snapshot", "")).collect();
    let tables: Vec<(String, String)> =
        names.iter().map(|name| (format!("pgbench_{name}"), (*name).to_owned())).collect();
    goes_through(&db, &Project::new(&db, &toml), &tables).await;
    assert_eq!(number(&db, "select count(*) from bronze.accounts").await, 100_000);
    assert_eq!(number(&db, "select count(*) from bronze.history").await, 200);
}

#[tokio::test]
async fn natural_earth_and_new_york() {
    let db = TestDb::new("natural_earth").await;
    db.src("create schema earth; grant usage on schema earth to app_ro").await;
    let names = ["countries", "cities", "boroughs"];
    let mut toml = String::new();
    let mut tables = Vec::new();
    for name in names {
        load(&db, &format!("{name}.sql")).await;
        db.src(&format!(
            "grant select on earth.{name} to app_ro;
             alter table earth.{name} add column recorded_at timestamptz not null default now();
             create index on earth.{name} (recorded_at);
             update earth.{name} set recorded_at = now() - gid * interval '20 minutes'"
        ))
        .await;
        for (copy, mode, more) in [
            ("seen", "incremental", "watermark = \"recorded_at\"\nkey = [\"gid\"]\nwindow = \"12h\"\n"),
            ("exact", "incremental", "watermark = \"recorded_at\"\nkey = [\"gid\"]\ngeometry = \"ewkb\"\n"),
            ("whole", "snapshot", ""),
        ] {
            let copy = format!("{name}_{copy}");
            toml.push_str(&table(&copy, &format!("earth.{name}"), mode, more));
            tables.push((format!("earth.{name}"), copy));
        }
    }
    let project = Project::new(&db, &toml);
    goes_through(&db, &project, &tables).await;
    assert_eq!(number(&db, "select count(*) from bronze.countries_seen").await, 177);
    assert_eq!(number(&db, "select count(*) from bronze.boroughs_whole").await, 5);
    let srid =
        "select count(*) from bronze.boroughs_seen where public.st_srid(geom) = 2263 and public.st_isvalid(geom)";
    assert_eq!(number(&db, srid).await, 5, "geometry arrives as geometry");
    db.src("insert into earth.cities (name, geom) select name, geom from earth.cities where gid = 1").await;
    let report = project.json(&["run", "cities_seen", "countries_seen"]);
    assert_eq!(total(&report, "cities_seen", "rows_loaded"), 1);
    assert_eq!(total(&report, "countries_seen", "rows_loaded"), 0);
    assert_equal_tables(&db, "select * from earth.cities", "select * from bronze.cities_seen").await;
}

#[tokio::test]
async fn every_table_of_the_gazetteer() {
    let db = TestDb::new("gazetteer").await;
    for extension in ["fuzzystrmatch", "address_standardizer_data_us", "postgis_tiger_geocoder"] {
        db.src(&format!("create extension {extension}")).await;
    }
    db.src("grant usage on schema tiger to app_ro; grant select on all tables in schema tiger, public to app_ro").await;
    let found = "select n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('tiger', 'public') and c.relkind = 'r' order by 1, 2";
    let found = db.source().query(found, &[]).await.expect("tables");
    let mut toml = String::new();
    let mut tables = Vec::new();
    for row in found {
        let (schema, name): (String, String) = (row.get(0), row.get(1));
        let relation = format!("{schema}.{name}");
        toml.push_str(&table(&format!("{schema}_{name}"), &relation, "snapshot", ""));
        tables.push((relation, format!("{schema}_{name}")));
    }
    assert!(tables.len() > 30, "{tables:?}");
    goes_through(&db, &Project::new(&db, &toml), &tables).await;
    assert!(number(&db, "select count(*) from bronze.public_spatial_ref_sys").await > 5000);
}
