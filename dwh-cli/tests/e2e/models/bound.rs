//! What a model reads is what its SELECT names, whatever became of the relation that it was made over; and a dry run tells
//! the step that the run takes.

use super::{number, text, told, with_models, write};
use serde_json::Value;

/// The same words in a dry run and in the run.
fn planned(report: &Value) -> Vec<String> {
    told(report).iter().map(|line| line.replace(" planned", " built")).collect()
}

#[tokio::test]
async fn a_materialized_view_follows_its_table_that_was_put_aside() {
    let (db, project) = with_models("models_aside").await;
    for name in ["days", "total", "top", "solo", "of_solo"] {
        std::fs::remove_file(project.folder().join(format!("models/marts/{name}.sql"))).expect("removed");
    }
    write(&project, "n", "-- kind: materialized view\n-- key: n\nselect count(*) as n from bronze.events");
    write(&project, "up", "-- kind: materialized view\nselect n + 1 as n from marts.n");
    project.ok(&["models", "run"]);
    db.tgt("set role dwh_owner; create view marts.by_hand as select count(*) as n from bronze.events; reset role")
        .await;
    db.tgt("delete from bronze.events where id <= 10").await;
    let dry = project.json(&["rebuild", "events", "--reset", "--dry-run"]);
    let names = |report: &Value| {
        let views = report["views_left_behind"].as_array().unwrap_or_else(|| panic!("{report:#}"));
        views.iter().map(|view| view["view"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&dry), ["marts.by_hand", "marts.n", "marts.up"], "{dry:#}");
    let output = project.ok(&["rebuild", "events", "--reset", "--output", "json"]);
    let report = output.json();
    assert_eq!(names(&report), names(&dry), "{report:#}");
    assert_eq!(report["views_left_behind"][1]["model"], true, "{report:#}");
    assert_eq!(report["views_left_behind"][0]["model"], false, "{report:#}");
    assert!(
        report["views_left_behind"][0]["sql"].as_str().is_some_and(|sql| sql.contains("create or replace view")),
        "{report:#}"
    );

    db.src("insert into app.events (id, note) select i, 'y' from generate_series(2001, 2100) i").await;
    let told_dry = project.json(&["models", "run", "--dry-run"]);
    let ran = project.json(&["run", "events", "--models"]);
    assert_eq!(told(&ran), ["marts.n swap built", "marts.up refresh built"], "{ran:#}");
    assert_eq!(planned(&told_dry), told(&ran));
    let because = ran["models"][0]["because"].as_str().expect("because");
    assert!(because.contains("`dwh_backup_") && because.contains("`bronze.events`"), "{because}");
    let both = "select (select n from marts.n) || ' ' || (select n from marts.up)";
    assert_eq!(text(&db, both).await, "200 201");
    assert_eq!(number(&db, "select n from marts.by_hand").await, 90, "it reads what was put aside");
    // Upkeep tells of a view that nobody made again.
    db.tgt(
        "alter view marts.by_hand set schema bronze; set role dwh_owner;
         create materialized view bronze.left_one as select n from bronze.by_hand; reset role",
    )
    .await;
    let kept = project.ok(&["maintain", "--output", "json"]);
    let upkeep = kept.json();
    let steps = upkeep["steps"].as_array().expect("steps");
    let left = steps.iter().find(|step| step["object"] == "bronze.left_one").expect("the view");
    assert!(left["warning"].as_str().is_some_and(|told| told.contains("dwh_backup_")), "{upkeep:#}");
    assert!(kept.stderr.contains("bronze.left_one") && kept.stderr.contains("put aside"), "{}", kept.all());
    db.tgt("drop materialized view bronze.left_one; alter view bronze.by_hand set schema marts").await;
    // Once it reads what it names, it is refreshed again.
    let again = project.json(&["models", "run"]);
    assert_eq!(told(&again), ["marts.n refresh built", "marts.up refresh built"]);
    // The remedy that the report has for the view of other people.
    let sql = report["views_left_behind"][0]["sql"].as_str().expect("SQL");
    db.tgt(sql).await;
    assert_eq!(number(&db, "select n from marts.by_hand").await, 200);
}

#[tokio::test]
async fn one_materialized_view_under_another_changes() {
    let (db, project) = with_models("models_chain").await;
    let qa = "-- kind: materialized view\nselect id, note from bronze.events where id < 20";
    write(&project, "qa", qa);
    write(&project, "qb", "-- kind: materialized view\n-- key: n\nselect count(*) as n from marts.qa");
    project.ok(&["models", "run", "marts.q*"]);
    db.tgt(
        "set role dwh_owner; grant select on marts.qb to pg_monitor; comment on materialized view marts.qb is 'mine';
         create view marts.over as select n from marts.qb; reset role",
    )
    .await;
    write(&project, "qa", &qa.replace("< 20", "< 50"));
    let dry = project.json(&["models", "run", "marts.q*", "--dry-run"]);
    let ran = project.json(&["models", "run", "marts.qa"]);
    assert_eq!(told(&ran), ["marts.qa swap built"], "{ran:#}");
    assert_eq!(planned(&dry), ["marts.qa swap built", "marts.qb refresh built"], "{dry:#}");
    assert!(ran["models"][0]["because"].to_string().contains("`marts.qb`"), "{ran:#}");
    let all = "select (select n from marts.over) || ' ' || has_table_privilege('pg_monitor', 'marts.qb', 'select')
        || ' ' || obj_description('marts.qb'::regclass) || ' ' || (select string_agg(indexname, ',') from pg_indexes where tablename = 'qb')";
    assert_eq!(text(&db, all).await, "49 true mine qb_n_idx");
    // What was made again behind it is still the model's own.
    assert_eq!(
        told(&project.json(&["models", "run", "marts.q*"])),
        ["marts.qa refresh built", "marts.qb refresh built"]
    );

    // What cannot be made again is told as it is, by the dry run too.
    db.tgt("set role dwh_owner; create statistics marts.st on id, note from marts.qa; reset role").await;
    write(&project, "qa", qa);
    project.ok(&["models", "run", "marts.qa"]);
    db.tgt("grant select (n) on marts.qb to pg_monitor").await;
    write(&project, "qa", &qa.replace("< 20", "< 60"));
    for args in [&["models", "run", "marts.qa", "--dry-run"][..], &["models", "run", "marts.qa"]] {
        let refused = project.fails(4, args);
        assert!(
            refused.stderr.contains("it must be made anew, and materialized view `marts.qb` holds on to it"),
            "{}",
            refused.all()
        );
    }
}

#[tokio::test]
async fn a_star_means_the_columns_of_today() {
    let (db, project) = with_models("models_star").await;
    write(&project, "all", "-- kind: materialized view\n-- key: id\nselect * from bronze.events");
    project.ok(&["models", "run", "marts.all"]);
    db.tgt("set role dwh_owner; alter table bronze.events add column extra int default 7; reset role").await;
    let dry = project.json(&["models", "run", "marts.all", "--dry-run"]);
    let ran = project.json(&["models", "run", "marts.all"]);
    assert_eq!((planned(&dry), told(&ran)), (told(&ran), vec!["marts.all swap built".to_owned()]), "{ran:#}");
    assert_eq!(number(&db, "select max(extra)::int8 from marts.all").await, 7);
    assert_eq!(told(&project.json(&["models", "run", "marts.all"])), ["marts.all refresh built"]);
}

#[tokio::test]
async fn what_does_not_go_with_new_columns_is_dropped_by_the_words_of_the_refusal() {
    let (db, project) = with_models("models_words").await;
    let both = |column: &str| {
        write(&project, "qa", &format!("-- kind: materialized view\nselect id, note as {column} from bronze.events"));
        write(&project, "qb", &format!("-- kind: materialized view\nselect count({column}) as n from marts.qa"));
    };
    both("note");
    project.ok(&["models", "run", "marts.q*"]);
    db.tgt(
        "set role dwh_owner; create view marts.over as select n from marts.qb;
         create view marts.over_that as select n from marts.over; reset role",
    )
    .await;
    both("words");
    let refused = project.fails(4, &["models", "run", "marts.q*"]);
    let told_of = "materialized view `marts.qb` reads it, and does not go with what it is now";
    assert!(refused.stderr.contains(told_of), "{}", refused.all());
    let report = refused.json();
    let hint = report["models"][0]["error"]["hint"].as_str().expect("a hint");
    let sql = hint.split_once("in the target: ").and_then(|(_, rest)| rest.split_once("; then")).expect("SQL").0;
    assert_eq!(sql.matches("drop ").count(), 3, "{hint}");
    db.tgt(sql).await;
    assert_eq!(told(&project.json(&["models", "run", "marts.q*"])), ["marts.qa swap built", "marts.qb create built"]);
}

#[tokio::test]
async fn a_dry_run_tells_the_step_of_the_run() {
    let (db, project) = with_models("models_dry").await;
    project.ok(&["models", "run"]);
    write(&project, "of_solo", "-- kind: view\nselect id::text as x from marts.solo");
    let dry = project.json(&["models", "run", "--dry-run"]);
    let ran = project.json(&["models", "run"]);
    assert_eq!(planned(&dry), told(&ran));
    assert_eq!(told(&ran)[0], "marts.days refill built");
    assert!(told(&ran).contains(&"marts.of_solo swap built".to_owned()), "{ran:#}");
    assert_eq!(number(&db, "select count(*) from pg_class where relname like '%dwh\\_probe%'").await, 0);

    // Its columns change, and a trigger holds on to it.
    db.tgt(
        "create function marts.f() returns trigger language plpgsql as 'begin return new; end';
         create trigger t before insert on marts.solo for each row execute function marts.f()",
    )
    .await;
    write(&project, "solo", &super::SOLO.replace("select id,", "select 1 as more, id,"));
    for args in [&["models", "run", "marts.solo", "--dry-run"][..], &["models", "run", "marts.solo"]] {
        let refused = project.fails(4, args);
        assert!(refused.stderr.contains("its columns change, and trigger `t` holds on to it"), "{}", refused.all());
    }
    // What the server says about a SELECT is told as well.
    write(&project, "solo", "select no_such_column from bronze.events");
    let code = project.dwh(&["models", "run", "marts.solo"]).code;
    assert_ne!(code, 0);
    assert_eq!(project.dwh(&["models", "run", "marts.solo", "--dry-run"]).code, code);
}

#[tokio::test]
async fn what_another_project_built_is_never_replaced() {
    let (db, project) = with_models("models_others").await;
    project.ok(&["models", "run"]);
    let wip = project
        .config_with("name = \"test\"", "name = \"wip\"")
        .config_with("[target]\n", "[target]\ncontrol_schema = \"wip_control\"\nbronze_schema = \"wip_bronze\"\n")
        .env("SHOP", "south");
    for (name, text) in [("days", super::DAYS), ("of_solo", super::OF_SOLO), ("solo", super::SOLO)] {
        write(&wip, name, &text.replace("bronze.", "wip_bronze."));
    }
    wip.ok(&["migrate"]);
    wip.ok(&["run", "events"]);
    for args in [&["models", "run", "marts.days"][..], &["models", "run", "marts.days", "--replace"]] {
        let refused = wip.fails(4, args);
        assert!(
            refused.stderr.contains("that project `test` (control schema `dwh_control`) made"),
            "{}",
            refused.all()
        );
        assert!(refused.stderr.contains("`dwh models run -p wip`"), "{}", refused.all());
        assert!(!refused.stderr.contains("--replace"), "{}", refused.all());
    }
    assert_eq!(text(&db, "select shop || ' ' || n from marts.days").await, "north 100");
    // The hint, followed literally, is a model of its own.
    wip.ok(&["models", "run", "-p", "wip"]);
    assert_eq!(text(&db, "select shop || ' ' || n from wip_marts.days").await, "south 100");
    // A view is told as well; and the first project keeps its own.
    let refused = wip.fails(4, &["models", "run", "marts.of_solo", "--dry-run"]);
    assert!(refused.stderr.contains("there is a view marts.of_solo that project `test`"), "{}", refused.all());
    project.ok(&["models", "run"]);
    let refused = project.fails(4, &["models", "run", "marts.days", "-p", "wip"]);
    assert!(refused.stderr.contains("control schema `wip_control`") && refused.stderr.contains("another prefix"));
}

#[tokio::test]
async fn a_model_that_holds_a_column_is_dropped_and_made_again_by_the_words_of_the_refusal() {
    let (db, project) = with_models("models_hold").await;
    write(&project, "holds", "-- kind: materialized view\nselect id, note from bronze.events");
    project.ok(&["models", "run"]);
    db.src("alter table app.events alter column id type numeric").await;
    for args in [["run", "events"], ["resync", "events"]] {
        let refused = project.fails(4, &args);
        assert!(refused.stderr.contains("materialized view"), "{}", refused.all());
        assert!(refused.stderr.contains("make it again"), "{}", refused.all());
        assert!(refused.stderr.contains("(a model by `dwh models run`)"), "{}", refused.all());
    }
    db.tgt("drop materialized view marts.holds").await;
    project.ok(&["resync", "events"]);
    project.ok(&["models", "run", "marts.holds"]);
    assert_eq!(text(&db, "select pg_typeof(id)::text from marts.holds limit 1").await, "numeric");
}

#[tokio::test]
async fn old_rows_that_a_refill_cannot_delete_are_no_model() {
    let (db, project) = with_models("models_kept").await;
    project.ok(&["models", "run", "marts.solo"]);
    let ours = "select count(*) from marts.solo";
    let refused = async |code: i32, words: &str| {
        let refused = project.fails(code, &["models", "run", "marts.solo"]);
        assert!(refused.stderr.contains(words), "{}", refused.all());
        assert_eq!(number(&db, ours).await, 100);
        refused.json()["models"][0]["error"]["hint"].as_str().expect("a hint").to_owned()
    };
    // Other keys than before: the old rows are in nobody's way.
    write(&project, "solo", "-- key: id\nselect id + 1000 as id, note from bronze.events");
    db.tgt(
        "create function marts.keeps() returns trigger language plpgsql as 'begin return null; end';
         create trigger keeps before delete on marts.solo for each row execute function marts.keeps()",
    )
    .await;
    let hint = refused(4, "keeps rows that were deleted").await;
    assert!(hint.contains("trigger"), "{hint}");
    db.tgt("drop trigger keeps on marts.solo; create rule keeps as on delete to marts.solo do instead nothing").await;
    refused(4, "keeps rows that were deleted").await;

    // Forced on the owner, too, who sees some of the rows.
    db.tgt(
        "drop rule keeps on marts.solo; alter table marts.solo enable row level security, force row level security;
         create policy part on marts.solo using (id > 50) with check (true)",
    )
    .await;
    let hint = refused(4, "is forced on its owner `dwh_owner`").await;
    let sql = hint.split_once("in the target: ").and_then(|(_, rest)| rest.split_once(" (")).expect("SQL").0;
    db.tgt(sql).await;
    assert_eq!(told(&project.json(&["models", "run", "marts.solo"])), ["marts.solo refill built"]);
    let is_new = "select (count(*) = 100 and min(id) > 1000)::int::int8 from marts.solo";
    assert_eq!(number(&db, is_new).await, 1);
}
