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

/// Nobody analyzed bronze since it had marks: the server expects one marked row, and would go through all staged keys for
/// each of many. That takes minutes for a million keys, and is told by what the server was asked to avoid.
#[tokio::test]
async fn marks_that_the_server_knows_nothing_of_cost_no_look_at_every_key_each() {
    let (db, project) = items("deletes_plans", "deletes = \"mark\"\n").await;
    db.tgt(
        "analyze bronze.items; create table bronze.planned (nested text);
         create function bronze.plan() returns trigger language plpgsql as
             $$ begin insert into bronze.planned values (current_setting('enable_nestloop')); return null; end $$;
         create trigger plan before update on bronze.items for each statement execute function bronze.plan();
         grant all on bronze.planned to public",
    )
    .await;
    let planned = async |nested: &str| {
        let sql = format!("select count(*) from bronze.planned where nested = '{nested}'");
        number(&db, &sql).await
    };
    db.src("delete from app.items where id % 10 = 0").await;
    deletes(&project, &[]);
    assert!(planned("off").await > 0 && planned("on").await == 0);
    db.tgt("delete from bronze.planned").await;
    // The rest of what a session does is planned as ever.
    db.src("insert into app.items values (10, 'back', now())").await;
    project.ok(&["run"]);
    assert_eq!(number(&db, MARKED).await, 99);
    assert!(planned("off").await == 0 && planned("on").await > 0);
}
