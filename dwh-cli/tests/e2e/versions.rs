//! What some releases of PostgreSQL can declare at the source and others cannot. `make test-versions` runs this against
//! each; the machine's own release knows a part of it.

use crate::support::{Project, READABLE, number, table};
use dwh_core::testing::{TestDb, assert_equal_tables};

/// A table with `id` and `at`, the releases that can make it, and a row that comes later.
struct Declared {
    name: &'static str,
    releases: std::ops::RangeInclusive<i32>,
    sql: &'static str,
    later: &'static str,
}

const ANY: i32 = i32::MAX;

const DECLARED: [Declared; 10] = [
    // Values that no row holds: they are computed when they are read, and come as values.
    Declared {
        name: "virtual",
        releases: 18..=ANY,
        sql: "v int, twice int generated always as (v * 2), said text generated always as ('v ' || v) virtual,
              kept int generated always as (v * 3) stored); insert into app.virtual (id, v) values (1, 1), (2, null)",
        later: "insert into app.virtual (id, v) values (3, 7); update app.virtual set v = 5, at = clock_timestamp() where id = 1",
    },
    Declared {
        name: "stored",
        releases: 12..=ANY,
        sql: "v int, twice int generated always as (v * 2) stored); insert into app.stored (id, v) values (1, 1), (2, null)",
        later: "insert into app.stored (id, v) values (3, 7)",
    },
    // A column that says `not null`, with a row that is older than the word.
    Declared {
        name: "not_valid",
        releases: 18..=ANY,
        sql: "v int); insert into app.not_valid (id) values (1); alter table app.not_valid add constraint must not null v not valid",
        later: "insert into app.not_valid (id, v) values (2, 7)",
    },
    Declared {
        name: "no_inherit",
        releases: 18..=ANY,
        sql: "v int not null no inherit); create table app.heir () inherits (app.no_inherit);
              insert into app.heir (id) values (1)",
        later: "insert into app.no_inherit (id, v) values (2, 7); insert into app.heir (id) values (3)",
    },
    Declared {
        name: "dropped_below",
        releases: 12..=17,
        sql: "v int not null); create table app.below () inherits (app.dropped_below);
              alter table app.below alter v drop not null; insert into app.below (id) values (1)",
        later: "insert into app.dropped_below (id, v) values (2, 7); insert into app.below (id) values (3)",
    },
    Declared {
        name: "uuid7",
        releases: 18..=ANY,
        sql: "u uuid not null unique default uuidv7()); insert into app.uuid7 (id) values (1), (2)",
        later: "insert into app.uuid7 (id) values (3)",
    },
    Declared {
        name: "parts",
        releases: 17..=ANY,
        sql: "n bigint generated always as identity) partition by range (id);
              create table app.low partition of app.parts for values from (0) to (3);
              create table app.high partition of app.parts for values from (3) to (9);
              insert into app.parts (id) values (1), (4)",
        later: "insert into app.parts (id) values (2), (5)",
    },
    Declared {
        name: "scales",
        releases: 15..=ANY,
        sql: "thousands numeric(3, -3), tiny numeric(2, 4)); insert into app.scales values (1, now(), 123456, 0.0012)",
        later: "insert into app.scales (id, thousands, tiny) values (2, 'NaN', null)",
    },
    // What ended a CSV for the releases before 18.
    Declared {
        name: "dots",
        releases: 12..=ANY,
        sql: "v text); insert into app.dots (id, v) values (1, '\\.'), (2, E'a\\n\\\\.\\nb'), (3, ''), (4, null)",
        later: "insert into app.dots (id, v) values (5, E'\\\\.\\n')",
    },
    Declared {
        name: "multi",
        releases: 14..=ANY,
        sql: "v int4multirange); insert into app.multi (id, v) values (1, '{[1,3),[5,7)}'), (2, '{}')",
        later: "insert into app.multi (id, v) values (3, null)",
    },
];

const RELEASE: &str = "select current_setting('server_version_num')::int / 10000";

async fn release(db: &TestDb) -> i32 {
    db.source().query_one(RELEASE, &[]).await.expect("version").get(0)
}

async fn same(db: &TestDb, names: &[&str]) {
    for name in names {
        let source = format!("select * from app.{name}");
        for copy in ["inc", "whole"] {
            assert_equal_tables(db, &source, &format!("select * from bronze.{name}_{copy}")).await;
        }
    }
}

#[tokio::test]
async fn what_a_release_can_declare_arrives() {
    let db = TestDb::new("releases").await;
    let release = release(&db).await;
    db.src(&format!("create schema app; {READABLE}")).await;
    let known: Vec<&Declared> = DECLARED.iter().filter(|declared| declared.releases.contains(&release)).collect();
    let (names, mut config): (Vec<&str>, _) = (known.iter().map(|declared| declared.name).collect(), String::new());
    for Declared { name, sql, .. } in &known {
        db.src(&format!("create table app.{name} (id int primary key, at timestamptz not null default now(), {sql}"))
            .await;
        db.src(&format!("create index on app.{name} (at)")).await;
        let follows = "watermark = \"at\"\nkey = [\"id\"]\non_conflict = \"update\"";
        config += &table(&format!("{name}_inc"), &format!("app.{name}"), "incremental", follows);
        config += &table(&format!("{name}_whole"), &format!("app.{name}"), "snapshot", "");
        config += &table(&format!("{name}_dated"), &format!("app.{name}"), "scd", "");
    }
    db.src(READABLE).await;
    db.src("grant select on all tables in schema app to app_ro").await;
    let project = Project::new(&db, &config);
    for args in [&["migrate"][..], &["check"], &["run"], &["verify"]] {
        project.ok(args);
    }
    same(&db, &names).await;
    for Declared { later, .. } in &known {
        db.src(later).await;
    }
    project.ok(&["run"]);
    same(&db, &names).await;
    project.ok(&["verify"]);
    for name in &names {
        let moments = number(&db, &format!("select count(distinct _uploaded_at) from bronze.{name}_dated")).await;
        assert_eq!(moments, 2, "{name}");
    }
    assert!(names.len() > 3, "release {release}: {names:?}");
}

/// From release 18 on: it tells rows apart, and no `ON CONFLICT` can use it.
#[tokio::test]
async fn a_key_without_overlaps_serves_at_the_source_and_not_in_bronze() {
    let db = TestDb::new("overlaps").await;
    let target: i32 = db.target().query_one(RELEASE, &[]).await.expect("version").get(0);
    if release(&db).await < 18 {
        return;
    }
    db.src(&format!(
        "create schema app; {READABLE} create extension btree_gist;
         create table app.t (id int, during daterange, at timestamptz not null default now(), v int,
             primary key (id, during without overlaps));
         create index on app.t (at);
         insert into app.t (id, during, v) values (1, '[2026-01-01,2026-02-01)', 1), (1, '[2026-02-01,2026-03-01)', 2)"
    ))
    .await;
    let key = "watermark = \"at\"\nkey = [\"id\", \"during\"]\non_conflict = \"update\"";
    let project = Project::new(&db, &table("t", "app.t", "incremental", key));
    project.ok(&["migrate"]);
    let checked = project.ok(&["check", "--all"]).all();
    assert!(checked.contains("the source keeps (id, during) unique"), "{checked}");
    project.ok(&["run"]);
    db.src("update app.t set v = 3, at = clock_timestamp() where v = 2").await;
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.t", "select * from bronze.t").await;
    if target < 18 {
        return;
    }
    // The constraint of the key that `migrate` made gives way to one of the same columns.
    db.tgt(
        "create extension btree_gist; do $$ declare x record; begin
         for x in select conname from pg_constraint where conrelid = 'bronze.t'::regclass and contype in ('p', 'u') loop
             execute format('alter table bronze.t drop constraint %I', x.conname); end loop; end $$;
         alter table bronze.t add primary key (id, during without overlaps)",
    )
    .await;
    let failure = project.fails(4, &["run"]).failure("t");
    failure.names(&["cannot serve `ON CONFLICT`: it is `without overlaps`"]);
    db.tgt(failure.hint.strip_prefix("in the target: ").expect("a statement")).await;
    project.ok(&["run"]);
}
