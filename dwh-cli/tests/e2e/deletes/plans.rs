//! How the server is asked to look.

use super::{MARKED, deletes, items};
use crate::support::number;

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
