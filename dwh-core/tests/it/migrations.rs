//! The control schema, the role contract, the views and the bronze tables, on real servers.

use std::collections::BTreeMap;

use dwh_core::config::{
    Environment, GeometryForm, IDLE_TIMEOUT, Mode, OnConflict, TableConfig, TargetConfig, Thresholds,
};
use dwh_core::operate::MigrateReport;
use dwh_core::schema::{Column, RelationKind, TableRef, TableSchema, UniqueKey};
use dwh_core::testing::internals::{dry_run, migrate, print_sql, render};
use dwh_core::testing::{Clusters, Server, TestDb};
use dwh_core::watermark::{BoundMode, Micros};
use dwh_core::{Error, ErrorKind, Plan, Secret};

/// `[target]` with the default names.
pub fn target(url: &str) -> TargetConfig {
    TargetConfig {
        url: Secret::new(url),
        admin_url: None,
        designs: "designs".into(),
        bronze_schema: "bronze".into(),
        control_schema: "dwh_control".into(),
        owner_role: "dwh_owner".into(),
        reader_role: "grafana_ro".into(),
        connections: 2,
        lock_timeout: Micros::seconds(1),
        idle_timeout: IDLE_TIMEOUT,
    }
}

pub fn column(name: &str, type_name: &str, not_null: bool) -> Column {
    Column { not_null, ..Column::new(name, type_name.parse().expect("a type")) }
}

/// The plan of `bronze.<name>` with the columns `id`, `note`, `recorded_at` and whatever else.
pub fn plan(name: &str, mode: Mode, more: &[Column]) -> Plan {
    let mut columns = vec![
        column("id", "bigint", true),
        column("note", "text", false),
        column("recorded_at", "timestamp with time zone", true),
    ];
    columns.extend_from_slice(more);
    let key = UniqueKey { name: "pkey".into(), columns: vec!["id".into()], primary: true, unusable: None };
    let relation = TableRef::new("app", name);
    let table = TableConfig {
        name: name.into(),
        source: "app".into(),
        relation: Some(relation.clone()),
        query: None,
        files: None,
        target: TableRef::new("bronze", name),
        mode,
        watermark: (mode == Mode::Incremental).then(|| "recorded_at".into()),
        watermark_zone: None,
        key: if mode == Mode::Incremental { vec!["id".into()] } else { Vec::new() },
        on_conflict: OnConflict::Nothing,
        exclude: Vec::new(),
        on_missing_column: dwh_core::config::OnMissingColumn::Stop,
        on_new_column: dwh_core::config::OnNewColumn::Stop,
        on_schema_change: dwh_core::config::OnSchemaChange::Stop,
        chunk_rows: TableConfig::CHUNK_ROWS,
        replace: dwh_core::config::Replace::Truncate,
        deletes: dwh_core::config::Deletes::Keep,
        deletes_every: Micros::ZERO,
        deletes_max: 10.0,
        geometry: GeometryForm::Ewkt,
        window: Micros::ZERO,
        late_window: Micros::ZERO,
        bound: BoundMode::Overlap,
        fixed_lag: None,
        allow_empty: false,
        select: BTreeMap::new(),
        columns: None,
        filter: None,
        uploaded_at: false,
        loaded_at: false,
        run_id: false,
        task_instance: None,
        manifest: None,
        thresholds: Thresholds::of_cadence(Micros::seconds(3 * 3600)),
    };
    let source = TableSchema {
        table: relation,
        kind: RelationKind::Table,
        columns,
        keys: vec![key],
        indexed: vec![],
        row_estimate: 0,
        types: Vec::new(),
    };
    Plan::new(&table, source).expect("a plan")
}

/// Migrates, after a dry run that must tell the same.
async fn run(url: &str, plans: &[Plan]) -> Result<MigrateReport, Error> {
    let (target, environment) = (target(url), Environment::default());
    let said = dry_run(&target, &environment, plans).await;
    let done = migrate(&target, &environment, plans).await;
    match (&said, &done) {
        (Ok(said), Ok(done)) => assert_eq!(*said, MigrateReport { dry_run: true, ..done.clone() }),
        (Err(said), Err(done)) if done.to_string().starts_with("keys are missing") => {
            let lines = |text: &str| text.lines().count();
            assert_eq!(lines(&said.to_string()), lines(&done.to_string()), "{said}\n{done}");
            assert_eq!(said.hint().lines().next(), done.hint().lines().next());
        }
        (Err(said), Err(done)) => assert_eq!((said.chain(), said.hint()), (done.chain(), done.hint())),
        _ => panic!("the dry run says {said:?}, and then {done:?}"),
    }
    done
}

async fn told(db: &TestDb, sql: &str) -> Vec<String> {
    let rows = db.target().query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_the_owner_role_migrates_and_migrates_again() {
    let db = TestDb::new("migrate_member").await;
    let plans = [
        plan("trips", Mode::Incremental, &[column("at", "elsewhere.geometry(Point,4326)", false)]),
        plan("devices", Mode::Snapshot, &[]),
    ];
    let url = db.target_url_as("dwh_loader");
    let first = run(&url, &plans).await.expect("first");
    assert_eq!((first.applied.len(), first.present.len()), (15, 0));
    assert_eq!(first.tables_created, ["bronze.trips", "bronze.devices"]);
    let second = run(&url, &plans).await.expect("second");
    assert_eq!((second.applied.len(), second.present.len()), (0, 15));
    assert_eq!(second.tables_present, ["bronze.trips", "bronze.devices"]);
    let types = told(
        &db,
        "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'bronze.trips'::regclass and attnum > 0 order by attnum",
    ).await;
    assert_eq!(types, ["bigint", "text", "timestamp with time zone", "geometry(Point,4326)"]);
    let seeds = told(&db, "select table_name || ' ' || (last_extracted_at = '2000-01-01T00:00:00Z') from dwh_control.extract_watermarks order by 1").await;
    assert_eq!(seeds, ["devices true", "trips true"]);
}

/// A server has room for so many locks, and each new table takes some until its transaction ends.
#[tokio::test(flavor = "multi_thread")]
async fn many_tables_are_made_some_at_a_time() {
    let db = TestDb::new("migrate_many").await;
    let plans: Vec<Plan> = (0..120).map(|number| plan(&format!("t{number}"), Mode::Snapshot, &[])).collect();
    let report = migrate(&target(&db.target_url()), &Environment::default(), &plans).await.expect("migrated");
    assert_eq!(report.tables_created.len(), 120);
    let of_one_transaction =
        "select max(tables)::text from (select count(*) as tables from dwh_control.extract_watermarks group by xmin) x";
    assert_eq!(told(&db, of_one_transaction).await, ["50"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_belongs_to_the_owner_and_the_reader_only_reads() {
    let db = TestDb::new("migrate_roles").await;
    run(&db.target_url(), &[plan("trips", Mode::Incremental, &[])]).await.expect("as superuser");
    let strangers = told(
        &db,
        "select relname::text from pg_class where relnamespace in ('bronze'::regnamespace, 'dwh_control'::regnamespace) \
         and relowner <> 'dwh_owner'::regrole union all \
         select proname::text from pg_proc where pronamespace = 'dwh_control'::regnamespace and proowner <> 'dwh_owner'::regrole",
    ).await;
    assert_eq!(strangers, [""; 0]);
    // A table that comes later is readable without a grant of its own.
    db.tgt("set role dwh_owner; create table bronze.later (a int); reset role; set role grafana_ro").await;
    for name in [
        "dwh_control.v_table_freshness",
        "dwh_control.v_recent_failures",
        "dwh_control.v_watermark_lag",
        "bronze.trips",
        "bronze.later",
    ] {
        db.tgt(&format!("select * from {name}")).await;
    }
    for write in [
        "delete from bronze.trips",
        "update dwh_control.extract_runs set attempt = 2",
        "create table bronze.mine (a int)",
    ] {
        assert!(db.target().batch_execute(write).await.is_err(), "{write}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_have_the_columns_of_the_manual() {
    let db = TestDb::new("migrate_views").await;
    run(&db.target_url(), &[]).await.expect("migrated");
    let columns = told(
        &db,
        "select relname || ': ' || string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum) \
         from pg_class join pg_attribute on attrelid = pg_class.oid where relkind = 'v' and relnamespace = 'dwh_control'::regnamespace \
         group by relname order by relname",
    ).await;
    assert_eq!(
        columns,
        [
            "v_recent_failures: run_id bigint, table_name text, run_started_at timestamp with time zone, \
             run_finished_at timestamp with time zone, csv_path text, error_message text",
            "v_table_freshness: table_name text, last_loaded_at timestamp with time zone, lag interval, loads_last_24h bigint",
            "v_watermark_lag: table_name text, last_extracted_at timestamp with time zone, \
             last_loaded_at timestamp with time zone, rows_loaded_last_run bigint, load_lag interval, extract_lag interval",
        ]
    );
    let uncommented = told(
        &db,
        "select attrelid::regclass::text || '.' || attname from pg_attribute join pg_class c on c.oid = attrelid \
         where relnamespace = 'dwh_control'::regnamespace and relkind in ('r', 'v') and attnum > 0 \
         and (col_description(attrelid, attnum) is null or obj_description(c.oid) is null)",
    )
    .await;
    assert_eq!(uncommented, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_repeats_the_states_of_a_run() {
    let db = TestDb::new("migrate_checks").await;
    run(&db.target_url(), &[]).await.expect("migrated");
    for (columns, values) in [
        ("status", "'done'"),
        ("status", "'loaded'"),
        ("status, run_finished_at", "'extracting', now()"),
        ("status, run_finished_at", "'failed', now()"),
        ("status", "'uploaded'"),
        (
            "status, run_finished_at, engine_version, rows_loaded, rows_extracted, rows_inserted, rows_identical, rows_different",
            "'loaded', now(), '1', 1, 2, 1, 1, 0",
        ),
        (
            "status, run_finished_at, engine_version, rows_loaded, rows_extracted, rows_inserted, rows_updated, \
             rows_identical, rows_different, rows_kept_newer",
            "'loaded', now(), '1', 1, 6, 1, 0, 1, 1, 2",
        ),
        (
            "status, run_finished_at, engine_version, rows_loaded, rows_extracted, rows_inserted, rows_updated, \
             rows_identical, rows_different, rows_kept_newer",
            "'loaded', now(), '1', 1, 5, 1, 1, 1, 1, 1",
        ),
        ("status, sha256", "'extracting', 'abc'"),
    ] {
        let sql = format!("insert into dwh_control.extract_runs (table_name, {columns}) values ('t', {values})");
        let error = db.target().batch_execute(&sql).await.expect_err(&sql);
        assert_eq!(error.code().map(|code| code.code()), Some("23514"), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_psql_applies_is_what_migrate_applies() {
    let db = TestDb::new("migrate_psql").await;
    let plans = [plan("trips", Mode::Incremental, &[column("at", "public.geometry(Point,4326)", false)])];
    let server = &Clusters::shared().target;
    server.psql(db.name(), &print_sql(&target("x"), &plans).expect("SQL"));
    let report = run(&db.target_url_as("dwh_loader"), &plans).await.expect("nothing left to do");
    assert_eq!((report.present.len(), report.applied.len()), (15, 0));
    assert_eq!(report.tables_present, ["bronze.trips"]);
    // The whole may be applied once more.
    server.psql(db.name(), &print_sql(&target("x"), &plans).expect("SQL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_can_be_applied_by_hand_one_by_one() {
    let db = TestDb::new("migrate_files").await;
    let server = &Clusters::shared().target;
    for _ in 0..2 {
        for migration in render(&target("x")) {
            server.psql(db.name(), &format!("begin; {} commit;", migration.sql));
        }
    }
    let report = run(&db.target_url_as("dwh_loader"), &[]).await.expect("over what is there");
    assert_eq!(report.applied.len(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_the_manuals_own_files_are_kept() {
    let db = TestDb::new("migrate_manual").await;
    db.tgt(
        "create schema dwh_control;
         create table dwh_control.extract_watermarks (table_name text primary key,
             last_extracted_at timestamptz not null default '2000-01-01T00:00:00Z', last_loaded_at timestamptz, rows_loaded_last_run bigint);
         create table dwh_control.extract_runs (run_id bigint generated always as identity primary key, table_name text not null,
             run_started_at timestamptz not null, run_finished_at timestamptz, status text not null, rows_extracted bigint,
             rows_loaded bigint, csv_path text, error_message text);
         insert into dwh_control.extract_watermarks values ('trips', '2026-01-01');
         insert into dwh_control.extract_runs (table_name, run_started_at, status) values ('trips', now(), 'loaded')",
    )
    .await;
    run(&db.target_url(), &[plan("trips", Mode::Incremental, &[])]).await.expect("migrated");
    assert_eq!(
        told(&db, "select last_extracted_at::date::text from dwh_control.extract_watermarks").await,
        ["2026-01-01"]
    );
    assert_eq!(told(&db, "select status from dwh_control.extract_runs").await, ["loaded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_are_put_in_everywhere() {
    let db = TestDb::new("migrate_names").await;
    let config = TargetConfig {
        bronze_schema: "Bronze \"2\"".into(),
        control_schema: "bronze".into(),
        owner_role: "grafana_ro's 2".into(),
        reader_role: "dwh_control".into(),
        ..target(&db.target_url())
    };
    migrate(&config, &Environment::default(), &[]).await.expect("migrated");
    let schemas = told(&db, "select nspname::text from pg_namespace where nspowner = (select oid from pg_roles where rolname = 'grafana_ro''s 2') order by 1").await;
    assert_eq!(schemas, ["Bronze \"2\"", "bronze"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_migration_is_refused() {
    let db = TestDb::new("migrate_changed").await;
    run(&db.target_url(), &[]).await.expect("migrated");
    db.tgt("update dwh_control.schema_migrations set checksum = 'other' where name like '261003%'").await;
    let error = run(&db.target_url(), &[]).await.expect_err("changed");
    assert_eq!(error.kind(), ErrorKind::Contract);
    assert!(error.to_string().contains("`261003_dwh_roles.sql` was applied with other contents"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_on_conflict_could_not_use_are_all_named() {
    let db = TestDb::new("migrate_keys").await;
    db.tgt("create schema bronze authorization dwh_owner; set role dwh_owner;
            create table bronze.bare (id bigint not null, note text, recorded_at timestamptz not null);
            create table bronze.nullable (id bigint unique, note text, recorded_at timestamptz not null);
            create table bronze.partial (like bronze.bare); create unique index on bronze.partial (id) where note is null;
            create table bronze.deferred (like bronze.bare, primary key (id) deferrable);
            create table bronze.wide (like bronze.bare, primary key (id, recorded_at));
            create table bronze.good (like bronze.bare, unique (id) include (note)); reset role").await;
    let names = ["bare", "nullable", "partial", "deferred", "wide", "good"];
    let plans: Vec<Plan> = names.iter().map(|name| plan(name, Mode::Incremental, &[])).collect();
    let error = run(&db.target_url(), &plans).await.expect_err("keys are missing");
    assert_eq!(error.kind(), ErrorKind::Contract);
    for name in &names[..5] {
        assert!(
            error
                .to_string()
                .contains(&format!("\n  - table \"{name}\": bronze.{name} has no PRIMARY KEY or UNIQUE over (id)")),
            "{error}"
        );
    }
    assert!(!error.to_string().contains("good"), "{error}");
    // What the hint says works.
    let remedies: Vec<&str> = error.hint().lines().skip(1).collect();
    for name in ["bare", "nullable", "partial", "deferred", "wide"] {
        assert!(
            remedies.iter().any(|line| line.starts_with(&format!("alter table bronze.{name} add "))),
            "{remedies:?}"
        );
    }
    db.tgt(&remedies.join("\n")).await;
    run(&db.target_url(), &plans).await.expect("after the hint was followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_role_contract_is_told_with_its_remedy() {
    let db = TestDb::new("migrate_contract").await;
    run(&db.target_url(), &[plan("trips", Mode::Incremental, &[])]).await.expect("migrated");
    db.tgt(
        "alter table bronze.trips owner to postgres; grant insert on bronze.trips to grafana_ro;
            revoke select on dwh_control.extract_runs from grafana_ro; grant create on schema bronze to grafana_ro",
    )
    .await;
    let error = run(&db.target_url(), &[]).await.expect_err("broken");
    assert_eq!(error.kind(), ErrorKind::Contract);
    for line in [
        "bronze.trips belongs to \"postgres\", not to \"dwh_owner\"",
        "role \"grafana_ro\" may write bronze.trips",
        "role \"grafana_ro\" may not read dwh_control.extract_runs",
        "role \"grafana_ro\" may create objects in schema \"bronze\"",
    ] {
        assert!(error.to_string().contains(&format!("\n  - {line}")), "{error}");
    }
    db.tgt(&error.hint().lines().skip(1).collect::<Vec<_>>().join("\n")).await;
    run(&db.target_url(), &[]).await.expect("after the hint was followed");
}

#[tokio::test]
async fn tables_of_others_are_named_with_their_owner() {
    let db = TestDb::new("foreign_owner").await;
    db.tgt("create schema bronze authorization dwh_owner; create table bronze.trips (id int primary key)").await;
    let error = run(&db.target_url_as("dwh_loader"), &[]).await.expect_err("not ours");
    assert!(error.to_string().contains("bronze.trips belongs to \"postgres\", not to \"dwh_owner\""), "{error:?}");
    let remedy = error.hint().lines().last().expect("sql").to_owned();
    assert_eq!(remedy, "alter table bronze.trips owner to \"dwh_owner\";");
    db.tgt(&remedy).await;
    run(&db.target_url_as("dwh_loader"), &[]).await.expect("migrated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_the_target_lacks_names_its_extension() {
    let db = TestDb::new("migrate_type").await;
    db.tgt("drop extension postgis").await;
    let plans = [plan("trips", Mode::Incremental, &[column("at", "public.geometry(Point,4326)", false)])];
    let report = run(&db.target_url(), &plans).await.expect("a report");
    let [refused] = report.refused.as_slice() else { panic!("{report:?}") };
    assert_eq!(refused.cause, "the target has no type `public.geometry(Point,4326)`");
    assert_eq!(refused.tables, ["trips"]);
    assert!(refused.hint.contains("create extension if not exists postgis"), "{}", refused.hint);
    assert_eq!((report.exit_code(), report.tables_created.len()), (4, 0));
}

/// Roles are made once a cluster, so the servers without them are of their own.
#[tokio::test(flavor = "multi_thread")]
async fn roles_are_made_or_asked_for() {
    let server = tokio::task::spawn_blocking(|| Server::start("roles")).await.expect("a server");
    let password = "'it''s 50% @ /home'";
    server.psql(
        "postgres",
        &format!(
            "create role plain login password {password}; create role maker login createrole password {password};"
        ),
    );
    server.psql("postgres", "create database d; grant create on database d to maker");
    let plans = [plan("trips", Mode::Incremental, &[])];

    let error = run(&server.url("plain", "d"), &plans).await.expect_err("may do nothing");
    assert_eq!(error.kind(), ErrorKind::Contract);
    for line in [
        "role \"dwh_owner\" is missing, and \"plain\" may not create roles",
        "role \"grafana_ro\" is missing, and \"plain\" may not create roles",
        "\"plain\" is not a member of role \"dwh_owner\"",
        "schema \"dwh_control\" is missing, and \"plain\" may not create schemas in database \"d\"",
        "schema \"bronze\" is missing, and \"plain\" may not create schemas in database \"d\"",
    ] {
        assert!(error.to_string().contains(&format!("\n  - {line}")), "{error}");
    }

    let report = run(&server.url("maker", "d"), &plans).await.expect("may create roles");
    assert_eq!((report.applied.len(), report.tables_created.len()), (15, 1));

    // What the hint says is all that a plain role needs, in a database where nothing is yet.
    server.psql("postgres", "create database e");
    let error = run(&server.url("plain", "e"), &plans).await.expect_err("may do nothing there either");
    server.psql("e", &error.hint().lines().skip(1).collect::<Vec<_>>().join("\n"));
    let report = run(&server.url("plain", "e"), &plans).await.expect("after the hint was followed");
    assert_eq!((report.applied.len(), report.tables_created.len()), (15, 1));

    // Schemas of other sources are told together, too.
    let elsewhere = ["hyppo", "www"].map(|schema| {
        let mut plan = plan(&format!("{schema}.trips"), Mode::Incremental, &[]);
        plan.table.target = TableRef::new(schema, "trips");
        plan
    });
    let error = run(&server.url("plain", "e"), &elsewhere).await.expect_err("may make no schema");
    for schema in ["hyppo", "www"] {
        let line = format!("schema \"{schema}\" is missing, and \"plain\" may not create schemas in database \"e\"");
        assert!(error.to_string().contains(&line), "{error}");
    }
    assert!(error.hint().contains("dwh setup"), "{}", error.hint());
    server.psql("e", &error.hint().lines().skip(1).collect::<Vec<_>>().join("\n"));
    let report = run(&server.url("plain", "e"), &elsewhere).await.expect("after the hint was followed");
    assert_eq!(report.tables_created.len(), 2);
}
