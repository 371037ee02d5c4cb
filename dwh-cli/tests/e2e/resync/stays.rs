//! Rows that a resync must not lose: those that are kept with a mark, and those whose key changes between two chunks.

use super::{LOADED, equal, loaded};
use crate::support::{killed_at, number, total};
use dwh_core::testing::assert_equal_tables;

#[tokio::test]
async fn rows_that_are_gone_at_the_source_stay_with_their_marks() {
    for conflict in ["update", "nothing"] {
        let more = format!("on_conflict = \"{conflict}\"\ndeletes = \"mark\"\ndeletes_every = \"0\"");
        let (db, project) = loaded(&format!("resync_marked_{conflict}"), &more).await;
        let marked = "select count(*) from bronze.trips where _deleted_at is not null";
        db.src("delete from app.trips where id = 7").await;
        project.ok(&["deletes", "trips"]);
        db.tgt(
            "alter table bronze.trips add column mine text default 'new'; update bronze.trips set mine = 'of ' || id;
             create table public.first as select _deleted_at from bronze.trips where id = 7",
        )
        .await;
        // One that nobody has looked for yet, one that changed under an old stamp, and another type.
        db.src("delete from app.trips where id = 8; update app.trips set note = 'other' where id = 9").await;
        db.src("alter table app.trips alter column n type text using 'n' || n").await;
        let report = project.json(&["resync", "trips"]);
        let swap = report["tables"][0]["runs"].as_array().expect("runs").last().expect("a run");
        assert_eq!((swap["kind"].as_str(), swap["rows_marked"].as_u64()), (Some("resync"), Some(1)), "{report:#}");
        let present = "select id, n, note, at from bronze.trips where _deleted_at is null";
        assert_equal_tables(&db, "select * from app.trips", present).await;
        assert_eq!(number(&db, marked).await, 2);
        let stay = "select count(*) from bronze.trips where id in (7, 8) and n = id::text and mine = 'of ' || id";
        assert_eq!(number(&db, stay).await, 2, "they have their old values in the new type");
        let first = "select count(*) from bronze.trips join public.first using (_deleted_at) where id = 7";
        assert_eq!(number(&db, first).await, 1, "a mark stays as it was");
        // Made anew of the files, marks and all; what people added is in bronze alone.
        db.tgt("create table public.before as select id, n, note, at, _deleted_at from bronze.trips").await;
        project.ok(&["rebuild", "trips", "--reset"]);
        let both = "((table b except all table a) union all (table a except all table b))";
        let differ = format!(
            "with b as (table public.before), a as (select id, n, note, at, _deleted_at from bronze.trips) select count(*) from {both} d"
        );
        assert_eq!(number(&db, &differ).await, 0);
        project.ok(&["replay", "trips"]);
        assert_eq!(number(&db, &differ).await, 0);
        // One that comes back has no mark, and the next look finds the others in order.
        db.src("insert into app.trips (id, n) values (7, 'back')").await;
        project.ok(&["run"]);
        assert_eq!(number(&db, marked).await, 1);
        project.ok(&["deletes", "trips"]);
        assert_eq!(number(&db, marked).await, 1);
        // All rows that are gone stay too, where there is none at the source.
        if conflict == "update" {
            project.ok(&["verify"]);
            db.src("truncate app.trips").await;
            let emptied = project.json(&["resync", "trips"]);
            assert_eq!(emptied["tables"][0]["runs"].as_array().expect("runs").last().expect("one")["rows_marked"], 99);
            assert_eq!(number(&db, marked).await, 100);
        }
    }
}

#[tokio::test]
async fn a_key_that_changes_between_two_chunks_is_found_by_the_next_run() {
    let (db, project) = loaded("resync_moved", "on_conflict = \"update\"\nlate_window = \"1s\"").await;
    db.src("update app.trips set at = '2020-01-01' where id > 90").await;
    for conflicts in 0..2 {
        let before = number(&db, LOADED).await;
        let mut child = project.spawn(&["resync", "trips", "--jobs", "1"]);
        killed_at(&db, &mut child, LOADED, before + 3).await;
        // Out of a chunk that is not read yet into one that is, under its old stamp.
        db.src(&format!("update app.trips set id = {} where id = {}", -conflicts, 95 + conflicts)).await;
        project.ok(&["resync", "trips"]);
        let there = format!("select count(*) from bronze.trips where id = {}", -conflicts);
        assert_eq!(number(&db, &there).await, 0, "no chunk has it");
        let run = project.json(&["run"]);
        assert_eq!(total(&run, "trips", "rows_inserted"), 1, "{run:#}");
        equal(&db).await;
    }
    // Once: history is not looked through any more.
    db.src("update app.trips set note = 'late' where id = 99").await;
    let run = project.json(&["run"]);
    assert_eq!(total(&run, "trips", "rows_extracted"), 0, "{run:#}");
}
