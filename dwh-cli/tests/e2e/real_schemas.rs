//! Schemas of programs that others wrote, and what PostgreSQL's own regression tests leave: from `init` to `verify` with no
//! step by hand but the grants that `init` wrote.

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::init::{Fresh, dwh};
use dwh_core::testing::{Clusters, TestDb, assert_equal_tables};

/// Rows for the tables that have none.
const FILL: &str = include_str!("../data/fill.sql");

/// What a read-only login gets from an administrator who knows nothing of dwh.
const READER: &str = "do $$ declare s name; begin
    for s in select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' loop
        execute format('grant usage on schema %I to app_ro', s);
        execute format('grant select on all tables in schema %I to app_ro', s);
    end loop; end $$";

fn fetched(file: &str) -> PathBuf {
    let folder = env::var_os("DWH_TEST_DATA").expect("DWH_TEST_DATA is not set: run the tests with `make test`");
    let path = Path::new(&folder).join("schemas").join(file);
    assert!(path.exists(), "{} is missing: run the tests with `make test`", path.display());
    path
}

fn script(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// From `init` to `verify`; what every table has is compared besides, not by the tool. Returns how many there are.
async fn goes_through(db: TestDb) -> usize {
    let psql = |sql: &str| Clusters::shared().source.psql(db.name(), sql);
    psql(FILL);
    psql("analyze");
    psql(READER);
    let fresh = Fresh { db, folder: tempfile::tempdir().expect("folder") };
    let told = fresh.init(&["--output", "json"]);
    assert_eq!(told.code, 0, "{}", told.all());
    fresh.apply_grants();
    for args in [&["migrate"][..], &["check"], &["run"], &["verify"], &["run"], &["verify"]] {
        let output = dwh(fresh.folder.path(), &[], args);
        let bad: Vec<&str> =
            output.stdout.lines().filter(|line| line.contains("FAILURE") || line.contains("CANNOT")).collect();
        assert_eq!(output.code, 0, "dwh {args:?}: {bad:#?}\n{}", output.stderr);
    }
    let report = told.json();
    let tables = report["tables"].as_array().expect("tables");
    for table in tables {
        let text = |field: &str| table[field].as_str().unwrap_or_else(|| panic!("no `{field}`: {table}"));
        let (schema, relation) = text("relation").split_once('.').expect("schema and name");
        let bronze = format!("bronze.{}", ident(text("name")));
        let columns = columns(&fresh.db, &bronze).await;
        let source = format!("select {columns} from {}.{}", ident(schema), ident(relation));
        assert_equal_tables(&fresh.db, &source, &format!("select {columns} from {bronze}")).await;
    }
    tables.len()
}

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn columns(db: &TestDb, table: &str) -> String {
    let sql = "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
               where attrelid = $1::text::regclass and attnum > 0 and not attisdropped";
    db.target().query_one(sql, &[&table]).await.expect("columns").get::<_, Option<String>>(0).unwrap_or_default()
}

/// Loads a program's own script, every statement of which must succeed.
async fn program(test: &str, file: &str) -> usize {
    let db = TestDb::new(test).await;
    Clusters::shared().source.psql(db.name(), &script(&fetched(file)));
    goes_through(db).await
}

#[tokio::test]
async fn zabbix_goes_through() {
    assert!(program("real_zabbix", "zabbix.sql").await > 150);
}

#[tokio::test]
async fn kea_goes_through() {
    assert!(program("real_kea", "kea.sql").await > 50);
}

/// It has tables that are called `text` and `user`.
#[tokio::test]
async fn mediawiki_goes_through() {
    assert!(program("real_mediawiki", "mediawiki.sql").await > 50);
}

/// Their statements are there to fail as well as to succeed: what they leave is what counts.
#[tokio::test]
async fn what_the_regression_tests_of_postgresql_leave_goes_through() {
    let db = TestDb::new("real_regression").await;
    let order = script(&fetched("regress/order"));
    for name in order.split_whitespace() {
        let path = fetched(&format!("regress/{name}.sql"));
        drop(Clusters::shared().source.psql_told(db.name(), &script(&path)));
    }
    assert!(goes_through(db).await > 200);
}
