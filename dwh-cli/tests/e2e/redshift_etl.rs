//! The walk of a Redshift ETL in `examples/redshift-etl`, and the page that says what each of its commands is here.

use crate::support::number;
use dwh_core::testing::{TestDb, assert_equal_tables};
use std::path::Path;
use std::process::Command;

const WWW: &str = "
    create table orders (id int primary key, total numeric(10,2), updated_at timestamptz not null default now());
    create index orders_updated_at on orders (updated_at);
    create table order_items (id int primary key, order_id int, sku text);
    create table products (sku text primary key, name text);
    create table migration_1 (id int primary key);
    comment on table orders is 'what people bought';
    insert into orders (id, total) select i, i * 1.25 from generate_series(1, 50) i;
    insert into order_items select i, 1 + i % 50, 'sku ' || i % 5 from generate_series(1, 200) i;
    insert into products select 'sku ' || i, null from generate_series(0, 4) i;";

/// A file of the project.
fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).expect(path)
}

#[tokio::test]
async fn the_walk_from_an_empty_database_to_loaded_tables() {
    let db = TestDb::new("redshift_walk").await;
    db.src(WWW).await;
    let folder = tempfile::tempdir().expect("folder");
    let bin = Path::new(env!("CARGO_BIN_EXE_dwh")).parent().expect("folder").display().to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/redshift-etl/walk.sh");
    let output = Command::new("bash")
        .arg(script)
        .arg(folder.path())
        .env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap_or_default()))
        .env("DATABASE_PRODUCTION", db.source_url_as("app_ro"))
        .env("DATA_WAREHOUSE_ADMIN", db.target_url())
        .env("DATA_WAREHOUSE_ETL", db.target_url_as("walk_loader"))
        .envs([("WAREHOUSE_OWNER", "walk_owner"), ("WAREHOUSE_READER", "walk_reader"), ("ETL_USER", "walk_etl")])
        .envs([("TOM", "walk_tom"), ("ANN", "walk_ann"), ("PASSWORD", "horse_battery_staple")])
        .env("BLOB", db.blob_url())
        .env_remove("DWH_CONFIG")
        .output()
        .expect("bash");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (told, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}\n--- stderr\n{errors}");
    assert!(!told.contains("horse") && !errors.contains("horse"), "{told}\n{errors}");
    for (table, bronze) in [("orders", "www.orders"), ("order_items", "www.order_items"), ("products", "www.products")]
    {
        assert_equal_tables(&db, &format!("select * from {table}"), &format!("select * from {bronze}")).await;
    }
    assert_equal_tables(&db, "select * from orders", "select * from wip_www.orders").await;
    let by_day = "select (updated_at at time zone 'America/New_York')::date as day, count(*) as orders, sum(total) as total from orders group by 1";
    for made in ["analytics", "trial_analytics", "wip_analytics"] {
        assert_equal_tables(&db, by_day, &format!("select day, orders, total from {made}.orders_by_day")).await;
    }
    let count = |sql: &'static str| number(&db, sql);
    assert_eq!(
        count("select count(*) from analytics.best_days b join wip_analytics.best_days using (day, total)").await,
        1
    );
    assert_eq!(count("select count(*) from pg_class where relname = 'migration_1'").await, 0);
    assert_eq!(
        count("select count(*) from pg_indexes where schemaname = 'www' and indexdef like '%(updated_at)'").await,
        1
    );
    assert_eq!(count("select count(*) from pg_roles where rolname in ('walk_tom', 'walk_etl', 'walk_ann')").await, 1);
    assert_eq!(
        count("select count(*) from pg_namespace where nspname = 'walk_ann' and nspowner = 'walk_owner'::regrole")
            .await,
        1
    );
}

#[test]
fn every_command_of_the_page_is_one_of_the_walk() {
    let (page, walk) = (read("docs/from-redshift-etl.md"), read("examples/redshift-etl/walk.sh"));
    let walk = ["TOM", "ETL_USER", "ANN"]
        .iter()
        .zip(["tom", "spark_etl", "ann"])
        .fold(walk, |text, (variable, name)| text.replace(&format!("\"${variable}\""), name));
    let mut seen = 0;
    for block in page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for line in block.lines().filter(|line| line.contains("dwh ")) {
            let command = line.split("   #").next().unwrap_or_default().trim_end();
            assert!(walk.contains(command), "`{command}` is not in the walk");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}
