//! Bronze tables that lost what was loaded into them, though the watermark says that it is there.

use crate::support::{Project, events, number};
use dwh_core::testing::{TestDb, assert_equal_tables};

async fn loaded(test: &str) -> (TestDb, Project) {
    let (db, project) = events(test).await;
    project.ok(&["run"]);
    assert_eq!(number(&db, "select count(*) from bronze.events").await, 100);
    (db, project)
}

/// Asserts that every verb says what happened, and the ways out.
fn told(project: &Project, what: &str) {
    let failure = project.fails(4, &["run"]).failure("events");
    failure.names(&[what]);
    let ways = ["dwh reseed events", "dwh rebuild events --reset"];
    assert!(ways.iter().all(|way| failure.hint.contains(way)), "{failure:?}");
    for verb in [&["check"][..], &["status", "--check"], &["migrate"], &["extract", "events"], &["verify"]] {
        let said = project.dwh(verb);
        assert_eq!(said.code, 4, "{}", said.all());
        if verb != ["verify"] {
            assert!(said.all().contains(what), "{}", said.all());
        }
    }
    let status = project.json(&["status"]);
    let table = status["tables"].as_array().expect("tables").iter().find(|table| table["table"] == "events");
    assert!(table.expect("events")["conflict"]["message"].as_str().expect("a message").contains(what));
}

async fn whole(db: &TestDb, project: &Project) {
    assert_equal_tables(db, "select * from app.events", "select * from bronze.events").await;
    project.ok(&["run"]);
    project.ok(&["check"]);
    project.ok(&["verify"]);
}

#[tokio::test]
async fn a_table_that_migrate_makes_again_is_said_to_be_empty() {
    let (db, project) = loaded("made_again").await;
    db.tgt("drop table bronze.events").await;
    let dry = project.dwh(&["migrate", "--dry-run"]);
    assert_eq!(dry.code, 4, "{}", dry.all());
    let migrated = project.dwh(&["migrate"]);
    assert_eq!(migrated.code, 4, "{}", migrated.all());
    assert!(migrated.stdout.contains("dropped and made again"), "{}", migrated.all());
    told(&project, "bronze.events was dropped and made again");
    project.ok(&["reseed", "events", "--dry-run"]);
    assert_eq!(number(&db, "select count(*) from bronze.events").await, 0);
    project.ok(&["reseed", "events"]);
    whole(&db, &project).await;
}

#[tokio::test]
async fn a_table_that_was_dropped_is_named_before_it_is_made_again_empty() {
    let (db, project) = loaded("dropped").await;
    db.tgt("drop table bronze.events").await;
    for verb in [&["run"][..], &["check"], &["status", "--check"], &["extract", "events"], &["verify"]] {
        let said = project.dwh(verb);
        assert_eq!(said.code, 4, "{}", said.all());
        let words = ["bronze.events is not there any more", "dwh rebuild events --reset"];
        assert!(verb == ["status", "--check"] || words.iter().all(|word| said.all().contains(word)), "{}", said.all());
    }
    project.ok(&["rebuild", "events", "--reset"]);
    whole(&db, &project).await;
    db.tgt("drop table bronze.events").await;
    // The other way out, as the hint says it.
    assert_eq!(project.dwh(&["migrate", "events"]).code, 4);
    project.ok(&["reseed", "events"]);
    whole(&db, &project).await;
}

#[tokio::test]
async fn a_table_that_was_made_again_is_rebuilt_from_its_files() {
    let (db, project) = loaded("made_again_files").await;
    db.tgt("drop table bronze.events").await;
    project.dwh(&["migrate"]);
    project.ok(&["rebuild", "events", "--reset"]);
    whole(&db, &project).await;
}

#[tokio::test]
async fn a_table_that_was_emptied_is_named() {
    for (test, sql) in [("emptied", "truncate bronze.events"), ("emptied_rows", "delete from bronze.events")] {
        let (db, project) = loaded(test).await;
        db.tgt(sql).await;
        told(&project, "bronze.events was emptied");
        project.ok(&["reseed", "events"]);
        whole(&db, &project).await;
    }
}

#[tokio::test]
async fn a_table_that_was_swapped_is_named() {
    let (db, project) = loaded("swapped").await;
    db.tgt(
        "create table bronze.fresh (like bronze.events including all); alter table bronze.fresh owner to dwh_owner;
         grant select on bronze.fresh to grafana_ro;
         insert into bronze.fresh select * from bronze.events where id < 50;
         alter table bronze.events rename to old; alter table bronze.fresh rename to events",
    )
    .await;
    told(&project, "bronze.events was dropped and made again");
    project.ok(&["reseed", "events"]);
    whole(&db, &project).await;
}

#[tokio::test]
async fn another_target_is_named_and_reseeded() {
    let (db, project) = loaded("moved").await;
    let moved = project.config_with("relation = \"app.events\"", "relation = \"app.events\"\ntarget = \"moved\"");
    assert_eq!(moved.dwh(&["migrate"]).code, 4);
    let failure = moved.fails(4, &["run"]).failure("events");
    failure.names(&["loaded into bronze.events", "names bronze.moved"]);
    moved.ok(&["reseed", "events"]);
    assert_equal_tables(&db, "select * from app.events", "select * from bronze.moved").await;
}

#[tokio::test]
async fn a_table_that_was_only_renamed_goes_on() {
    let (db, project) = loaded("renamed").await;
    db.tgt("alter table bronze.events rename to moved").await;
    let moved = project.config_with("relation = \"app.events\"", "relation = \"app.events\"\ntarget = \"moved\"");
    moved.ok(&["run"]);
}

#[tokio::test]
async fn rows_that_were_rewritten_are_a_warning_once() {
    let (db, project) = loaded("rewritten").await;
    db.tgt("vacuum full bronze.events").await;
    let ran = project.ok(&["run", "events"]);
    assert!(ran.stderr.contains("were rewritten since the last load"), "{}", ran.all());
    let again = project.ok(&["run", "events"]);
    assert!(!again.stderr.contains("rewritten"), "{}", again.all());
}

#[tokio::test]
async fn a_csv_that_waits_is_not_loaded_into_a_table_that_lost_its_rows() {
    let (db, project) = loaded("made_again_waiting").await;
    db.src("insert into app.events (id) values (101)").await;
    let waiting = project.ok(&["extract", "events", "--output", "json"]);
    db.tgt("truncate bronze.events").await;
    for verb in [&["load", "--params", waiting.stdout.trim()][..], &["recover"]] {
        let said = project.dwh(verb);
        assert_eq!(said.code, 4, "{}", said.all());
        assert!(said.all().contains("bronze.events was emptied"), "{}", said.all());
    }
    project.ok(&["reseed", "events"]);
    whole(&db, &project).await;
}

#[tokio::test]
async fn a_table_without_a_row_is_empty_with_good_reason() {
    let (db, project) = events("never_a_row").await;
    db.src("delete from app.events").await;
    for _ in 0..2 {
        project.ok(&["run"]);
    }
    db.tgt("vacuum full bronze.events").await;
    project.ok(&["run"]);
    project.ok(&["status"]);
}

#[tokio::test]
async fn a_reseed_that_begins_anew_and_is_killed_goes_on_with_the_next_run() {
    let (db, project) = loaded("anew_killed").await;
    db.tgt("truncate bronze.events").await;
    // As the reseed leaves it when it dies right after its first step.
    db.tgt(
        "update dwh_control.extract_watermarks set last_extracted_at = '2000-01-01Z', last_run_id = null, origin = null,
            bronze = null, delivered = null, snapshot_xmin = null, read_high = null where table_name = 'events'",
    )
    .await;
    project.ok(&["run"]);
    whole(&db, &project).await;
}
