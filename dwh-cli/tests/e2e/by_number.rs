//! A watermark that is a number: numbers are committed out of order, and no row is lost for that.

use crate::support::{Project, READABLE, number, table, total, until_old};
use dwh_core::testing::{TestDb, assert_equal_tables};

const BOTH: [&str; 2] = ["select id, note from app.entries", "select id, note from bronze.entries"];

#[tokio::test]
async fn numbers_that_are_committed_out_of_order_are_all_delivered() {
    let db = TestDb::new("by_number").await;
    db.src("create schema app; create table app.entries (id bigint primary key, note text);").await;
    db.src("create view app.shown as select * from app.entries").await;
    db.src(&(READABLE.to_owned() + "grant select on all tables in schema app to app_ro;")).await;
    let by_id = "watermark = \"id\"\nkey = [\"id\"]\nwindow = \"30s\"";
    let tables =
        table("entries", "app.entries", "incremental", by_id) + &table("shown", "app.shown", "incremental", by_id);
    let project = Project::new(&db, &tables);
    let refused = project.dwh(&["migrate"]);
    assert!(refused.all().contains("numbers are committed out of order"), "{}", refused.all());
    let project = Project::new(&db, &table("entries", "app.entries", "incremental", by_id));
    project.ok(&["migrate"]);
    let run = |rows: u64| {
        let report = project.json(&["run", "entries"]);
        assert_eq!(total(&report, "entries", "rows_loaded"), rows, "{report:#}");
        report
    };
    run(0);
    // Three windows of numbers, 30 million each.
    db.src("insert into app.entries values (1, 'a'), (2, null), (31000000, 'b'), (70000000, 'c')").await;
    let report = run(4);
    assert_eq!(report["runs"].as_array().expect("runs").len(), 3, "{report:#}");
    assert_eq!(report["runs"][2]["watermark"], "#70000000");
    let open = db.another_source().await;
    open.batch_execute("begin; insert into app.entries values (70000001, 'late')").await.expect("open");
    db.src("insert into app.entries values (70000002, 'in time')").await;
    run(1);
    // Long ago by its number, and written just now.
    open.batch_execute("insert into app.entries values (5, 'older'); commit").await.expect("commits");
    run(2);
    run(0);
    assert_equal_tables(&db, BOTH[0], BOTH[1]).await;
    db.src("insert into app.entries select i, 'x' from generate_series(70000003, 70000100) i").await;
    until_old(&db, "app.entries").await;
    run(98);
    project.ok(&["verify"]);
    project.ok(&["status"]);
    project.ok(&["reseed", "entries"]);
    db.tgt("delete from bronze.entries where id in (2, 70000050)").await;
    project.ok(&["verify", "--repair"]);
    assert_equal_tables(&db, BOTH[0], BOTH[1]).await;
    project.ok(&["rebuild", "--reset"]);
    assert_equal_tables(&db, BOTH[0], BOTH[1]).await;
    run(0);
    assert_eq!(number(&db, "select count(*) from bronze.entries").await, 105);
}
