//! Every default of role and database that a transaction could rely on, turned to its worst value.

use dwh_core::testing::{TestDb, assert_equal_tables};

use crate::support::{Project, READABLE, table};

/// What the engine must say itself, as a DBA may have set it for a role. Values that no statement could survive, such
/// as a time limit of a millisecond, are left out.
const WORST: [(&str, &str); 24] = [
    ("default_transaction_read_only", "on"),
    ("default_transaction_deferrable", "on"),
    ("search_path", "elsewhere"),
    ("datestyle", "SQL, DMY"),
    ("intervalstyle", "sql_standard"),
    ("timezone", "Asia/Kathmandu"),
    ("timezone_abbreviations", "India"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("xmloption", "document"),
    ("xmlbinary", "hex"),
    ("array_nulls", "off"),
    ("quote_all_identifiers", "on"),
    ("client_encoding", "LATIN1"),
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "off"),
    ("transform_null_equals", "on"),
    ("client_min_messages", "error"),
    ("statement_timeout", "200ms"),
    ("lock_timeout", "100ms"),
    ("idle_in_transaction_session_timeout", "100ms"),
    ("check_function_bodies", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_hashjoin", "off"),
];

/// A row of every type whose text depends on a setting.
const ROWS: &str = "create schema app;
    create table app.plain (id bigint primary key, at timestamptz, zoned timetz, day date, span interval, f float8, r real,
        bytes bytea, list text[], doc xml, price money, label text, recorded_at timestamptz not null default now());
    create index on app.plain (recorded_at);
    insert into app.plain select i, '2026-02-03 04:05:06.789012+05:45', '04:05:06+05:45', '2026-02-03', '-1 mon +2 days -03:04:05',
        0.1 + 0.2, 1.1, '\\x00ff5c27', array['a', null, 'null', E'b\\\\\"'], 'a <b>c</b>', 12.34, E'back\\\\slash ''quoted'' \u{e9}\u{2603}'
    from generate_series(1, 30) i;
    create table app.changing (like app.plain including all);
    insert into app.changing select * from app.plain;
    create table app.whole as select * from app.plain;
    create table app.copies as select * from app.plain;";

const TABLES: [(&str, &str, &str); 4] = [
    ("plain", "incremental", "watermark = \"recorded_at\"\nkey = [\"id\"]\n"),
    ("changing", "incremental", "watermark = \"recorded_at\"\nkey = [\"id\"]\non_conflict = \"update\"\n"),
    ("whole", "snapshot", ""),
    ("copies", "scd", ""),
];

async fn set_all(db: &TestDb, isolation: &str) {
    let role = format!("alter role dwh_loader in database \"{}\" set", db.name());
    let sql: Vec<String> = [("default_transaction_isolation", isolation)]
        .iter()
        .chain(&WORST)
        .map(|(name, value)| format!("{role} {name} = '{value}';"))
        .collect();
    db.tgt(&sql.concat()).await;
}

async fn assert_all_equal(db: &TestDb) {
    let text = |from: &str, more: &str| {
        format!(
            "select id, at, zoned, day, span, f, r, bytes, list, doc::text as doc, price, label, recorded_at from {from}{more}"
        )
    };
    for (name, mode, _) in TABLES {
        let newest = format!(" where _uploaded_at = (select max(_uploaded_at) from bronze.{name})");
        let more = if mode == "scd" { newest.as_str() } else { "" };
        assert_equal_tables(db, &text(&format!("app.{name}"), ""), &text(&format!("bronze.{name}"), more)).await;
    }
}

async fn every_verb_under(isolation: &str) {
    let db = TestDb::new(&format!("defaults_{isolation}")).await;
    db.src(&format!("{ROWS}{READABLE} grant select on all tables in schema app to app_ro")).await;
    let config: String =
        TABLES.iter().map(|(name, mode, more)| table(name, &format!("app.{name}"), mode, more)).collect();
    let project = Project::new(&db, &config);
    set_all(&db, isolation).await;
    project.ok(&["migrate", "--dry-run"]);
    project.ok(&["migrate"]);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    assert_all_equal(&db).await;
    db.src("insert into app.plain (id, label) values (31, null); delete from app.whole where id = 1").await;
    db.src("update app.changing set label = 'changed', recorded_at = now() where id <= 3").await;
    project.ok(&["run"]);
    assert_all_equal(&db).await;
    project.ok(&["backfill", "plain", "--from", "2020-01-01T00:00:00Z"]);
    project.ok(&["reseed", "changing"]);
    project.ok(&["verify"]);
    project.ok(&["status"]);
    project.ok(&["runs"]);
    project.ok(&["recover"]);
    let checked = project.dwh(&["check"]);
    assert_ne!(checked.code, 1, "{}", checked.all());
    db.tgt("truncate bronze.plain").await;
    project.ok(&["replay", "plain"]);
    assert_all_equal(&db).await;
    project.ok(&["rebuild", "--reset"]);
    assert_all_equal(&db).await;
    project.ok(&["run"]);
    assert_all_equal(&db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_target_under_repeatable_read() {
    every_verb_under("repeatable read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_target_under_serializable() {
    every_verb_under("serializable").await;
}
