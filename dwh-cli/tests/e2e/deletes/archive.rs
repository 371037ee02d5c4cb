//! What the files alone say of deleted rows.

use std::fs;

use crate::support::{Project, number};
use dwh_core::testing::TestDb;

/// Moves what lies in `processed/` of the newest run back to where it lay before it was loaded.
pub fn back_to_exports(db: &TestDb) {
    let folder = db.blobs().join("test/processed/items");
    let newest = |name: &str| {
        name.split('.').next().and_then(|stem| stem.rsplit('_').next()).and_then(|id| id.parse::<i64>().ok())
    };
    let names: Vec<String> = fs::read_dir(&folder)
        .expect("processed/")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| {
            fs::read_to_string(folder.join(name))
                .is_ok_and(|text| !name.ends_with(".json") || text.contains("\"keys\""))
        })
        .collect();
    let keys = names.iter().filter(|name| name.ends_with(".json")).filter_map(|name| newest(name)).max();
    for name in names.iter().filter(|name| newest(name) == keys) {
        fs::rename(folder.join(name), db.blobs().join("test/exports/items").join(name)).expect("moved back");
    }
}

/// `replay` into the full and into an empty table, and `rebuild`, end with the rows and marks that bronze has now; the time
/// of a mark is told by `rebuild` alone, which does everything in its order.
pub async fn assert_gives_the_same(db: &TestDb, project: &Project) {
    db.tgt("create table public.kept as select * from bronze.items").await;
    let marks = number(
        db,
        "select count(*) from pg_attribute where attrelid = 'bronze.items'::regclass and attname = '_deleted_at'",
    )
    .await
        > 0;
    let differ = |rows: &str| {
        format!(
            "select count(*) from ((select {rows} from bronze.items except all select {rows} from public.kept)
                union all (select {rows} from public.kept except all select {rows} from bronze.items)) d"
        )
    };
    let marked = if marks { "id, note, at, _deleted_at is null" } else { "*" };
    project.ok(&["replay", "items"]);
    assert_eq!(number(db, &differ("*")).await, 0, "a replay into the full table changes nothing");
    db.tgt("truncate bronze.items").await;
    project.ok(&["replay", "items"]);
    assert_eq!(number(db, &differ(marked)).await, 0, "replayed into an empty table");
    project.ok(&["rebuild", "--reset"]);
    assert_eq!(number(db, &differ("*")).await, 0, "rebuilt");
    project.ok(&["run"]);
    project.ok(&["deletes"]);
    assert_eq!(number(db, &differ("*")).await, 0, "and nothing is to be done");
    project.ok(&["verify", "--blobs"]);
    db.tgt("drop table public.kept").await;
}
