//! The SQL that reads the source, as text; that a server takes it is tested against one.

use super::*;
use crate::config::{GeometryForm, OnMissingColumn, OnNewColumn, Thresholds};
use crate::schema::{Delivered, TableRef};
use crate::watermark::Sweep;
use crate::watermark::{BoundMode, Micros, Timestamp};
use std::collections::BTreeMap;

pub(super) fn column(name: &str, type_name: &str) -> Column {
    Column { not_null: true, ..Column::new(name, type_name.parse().expect("a type")) }
}

pub(super) fn table() -> TableConfig {
    TableConfig {
        name: "trips".to_owned(),
        source: "app".to_owned(),
        relation: Some(TableRef::new("public", "Trips")),
        query: None,
        files: None,
        target: TableRef::new("bronze", "trips"),
        mode: Mode::Incremental,
        watermark: Some("at".to_owned()),
        watermark_zone: None,
        key: vec!["id".to_owned()],
        on_conflict: OnConflict::Nothing,
        exclude: Vec::new(),
        on_missing_column: OnMissingColumn::Stop,
        on_new_column: OnNewColumn::Stop,
        on_schema_change: crate::config::OnSchemaChange::Stop,
        chunk_rows: TableConfig::CHUNK_ROWS,
        replace: crate::config::Replace::Truncate,
        deletes: crate::config::Deletes::Keep,
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
    }
}

pub(super) fn schema(columns: Vec<Column>) -> TableSchema {
    TableSchema {
        table: TableRef::new("public", "Trips"),
        kind: RelationKind::Table,
        columns,
        keys: Vec::new(),
        indexed: vec!["at".to_owned()],
        row_estimate: -1,
        types: Vec::new(),
    }
}

fn plan(table: &TableConfig, at: &str) -> Plan {
    Plan::new(table, schema(vec![column("id", "bigint"), column("at", at)])).expect("a plan")
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn condition(plan: &Plan, low: &str, high: &str, sweep: Sweep) -> String {
    let sql = plan.select(time(low), time(high), sweep, Timestamp::SEED);
    let sql = sql.replace("pg_catalog.", "").replace("::timestamptz", "");
    sql.split_once(" where ").map(|(_, rest)| rest.replace(" order by t.\"at\"", "")).unwrap_or_default()
}

const LOW: &str = "2026-01-01T00:00:00Z";
const HIGH: &str = "2026-02-01T00:00:00.000001Z";

#[test]
fn a_window_is_open_below_and_closed_above() {
    let plan = plan(&table(), "timestamp with time zone");
    let (low, high) = ("t.\"at\" > '2026-01-01T00:00:00.000000Z'", "t.\"at\" <= '2026-02-01T00:00:00.000001Z'");
    assert_eq!(condition(&plan, LOW, HIGH, Sweep::Off), format!("{high} and {low}"));
    assert_eq!(condition(&plan, "-infinity", HIGH, Sweep::Off), high, "not even -infinity is left out");
    assert_eq!(condition(&plan, LOW, "infinity", Sweep::Off), low);
    assert_eq!(condition(&plan, "-infinity", "infinity", Sweep::Off), "");
    assert!(
        plan.copy_out(time(LOW), time(HIGH), Sweep::Off, Timestamp::SEED)
            .starts_with("copy (select t.\"id\" as \"id\", t.\"at\" as \"at\" from \"public\".\"Trips\" as t where ")
    );
}

#[test]
fn an_order_is_asked_for_only_where_an_index_gives_it() {
    let mut plan = plan(&table(), "timestamp with time zone");
    let select = |plan: &Plan| plan.select(time(LOW), time(HIGH), Sweep::Off, Timestamp::SEED);
    assert!(select(&plan).ends_with(" order by t.\"at\""));
    plan.watermark_indexed = false;
    assert!(!select(&plan).contains("order by"));
}

#[test]
fn the_sweep_takes_young_rows_below_the_window() {
    let plan = plan(&table(), "timestamp with time zone");
    let back_to = time("2025-12-31T00:00:00Z");
    // 2^32 + 7: the row's own number has only the lower half.
    let swept = condition(&plan, LOW, HIGH, Sweep::Xmin { since: (1 << 32) + 7, back_to });
    assert_eq!(
        swept,
        "t.\"at\" <= '2026-02-01T00:00:00.000001Z' and t.\"at\" > '2025-12-31T00:00:00.000000Z' and \
         (t.\"at\" > '2026-01-01T00:00:00.000000Z' or age(t.xmin) <= (select age('7'::xid)))"
    );
    let special = condition(&plan, LOW, HIGH, Sweep::Xmin { since: 1 << 32, back_to });
    assert!(special.ends_with("age('3'::xid)))"), "{special}");
    let look_back = condition(&plan, LOW, HIGH, Sweep::LookBack { back_to });
    assert!(look_back.ends_with("and t.\"at\" > '2025-12-31T00:00:00.000000Z'"), "{look_back}");
    let all = Sweep::LookBack { back_to: Timestamp::NEG_INFINITY };
    assert!(!condition(&plan, LOW, HIGH, all).contains('>'));
    let count = |low, sweep, whole| {
        plan.count_late(&Extent { low, high: time(HIGH), sweep, ancient: false, whole, part: None })
    };
    assert_eq!(count(time(LOW), Sweep::Off, &[]), None);
    assert_eq!(count(Timestamp::NEG_INFINITY, all, &[]), None, "nothing lies below nothing");
    let late = count(time(LOW), all, &[]).expect("sql");
    assert!(
        late.ends_with("where t.\"at\" <= '2026-01-01T00:00:00.000000Z'::pg_catalog.timestamptz and true"),
        "{late}"
    );
}

#[test]
fn new_partitions_and_ancient_rows_are_read_from_the_beginning() {
    let plan = plan(&table(), "timestamp with time zone");
    let back_to = time("2025-12-31T00:00:00Z");
    let sql = |sweep, ancient, whole: &[u32]| {
        let extent = Extent { low: time(LOW), high: time(HIGH), sweep, ancient, whole, part: None };
        let select = plan
            .select_extent(&extent, super::extract::ReadBy { run_started_at: Timestamp::SEED, run_id: None })
            .replace("pg_catalog.", "")
            .replace("::timestamptz", "");
        let rows = select.split_once(" where ").expect("a condition").1.replace(" order by t.\"at\"", "");
        let late = plan.count_late(&extent).map(|sql| sql.split_once(" where ").expect("a condition").1.to_owned());
        (rows.split_once(" and ").expect("an end").1.to_owned(), late.unwrap_or_default().replace("pg_catalog.", ""))
    };
    let (rows, late) = sql(Sweep::Off, false, &[7, 8]);
    let members = "t.tableoid = any ('{7,8}'::oid[])";
    assert_eq!(rows, format!("(t.\"at\" > '2026-01-01T00:00:00.000000Z' or {members})"));
    assert!(late.ends_with(&format!(" and {members}")), "{late}");
    let (rows, late) = sql(Sweep::Xmin { since: 9, back_to }, true, &[7]);
    let ancient = "(t.\"at\" > '2025-12-31T00:00:00.000000Z' or t.\"at\" = '-infinity')";
    let young = "age(t.xmin) <= (select age('9'::xid))";
    let above = "t.\"at\" > '2026-01-01T00:00:00.000000Z'";
    let member = "t.tableoid = any ('{7}'::oid[])";
    assert_eq!(rows, format!("({ancient} and ({above} or {young}) or {member})"));
    assert!(
        late.replace("::timestamptz", "").ends_with(&format!(" and ({ancient} and {young} or {member})")),
        "{late}"
    );
    let all = Extent {
        low: time(LOW),
        high: time(HIGH),
        sweep: Sweep::LookBack { back_to: Timestamp::NEG_INFINITY },
        ancient: true,
        whole: &[7],
        part: None,
    };
    let rows = plan.select_extent(&all, super::extract::ReadBy { run_started_at: Timestamp::SEED, run_id: None });
    assert!(!rows.contains(" or ") && !rows.contains("infinity"), "everything anyway: {rows}");
    let asked = |sweep| plan.any_ancient(sweep).unwrap_or_default();
    assert!(asked(Sweep::Xmin { since: 9, back_to }).contains("= '-infinity' and pg_catalog.age(t.xmin)"));
    assert!(asked(Sweep::LookBack { back_to }).ends_with("= '-infinity')"));
    assert_eq!(asked(Sweep::Off) + &asked(Sweep::LookBack { back_to: Timestamp::NEG_INFINITY }), "");
}

#[test]
fn a_column_without_zone_is_compared_in_its_own_type() {
    let mut table = table();
    table.watermark_zone = Some(jiff::tz::TimeZone::get("Europe/Berlin").expect("a zone"));
    for type_name in ["timestamp without time zone", "timestamp(3) without time zone", "date"] {
        let sql = condition(&plan(&table, type_name), LOW, "infinity", Sweep::Off);
        assert_eq!(sql, "t.\"at\" > ('2026-01-01T00:00:00.000000Z' at time zone 'Europe/Berlin')", "{type_name}");
    }
}

#[test]
fn moments_are_written_as_postgresql_reads_them() {
    for (text, expected) in [
        ("2026-01-01T00:00:00.000001Z", "'2026-01-01T00:00:00.000001Z'"),
        ("0001-01-01T00:00:00Z", "'0001-01-01T00:00:00.000000Z'"),
        ("0000-12-31T00:00:00Z", "'0001-12-31T00:00:00.000000Z BC'"),
        ("-000043-03-13T00:00:00Z", "'0044-03-13T00:00:00.000000Z BC'"),
        ("-infinity", "'-infinity'"),
        ("infinity", "'infinity'"),
    ] {
        assert_eq!(extract::instant(time(text)), format!("{expected}::pg_catalog.timestamptz"), "{text}");
    }
    let far = Timestamp::from_micros(400_000_000_000_000_000);
    assert!(extract::instant(far).starts_with("('epoch'::pg_catalog.timestamptz + '400000000000000000 microseconds'"));
}

#[test]
fn columns_are_delivered_as_configured() {
    let mut table = table();
    table.exclude = vec!["gone".to_owned()];
    table.select.insert("km".to_owned(), "metres / 1000 -- per trip".to_owned());
    let geometry = |name: &str, type_name: &str| Column { geometry: true, ..column(name, type_name) };
    let columns = vec![
        column("id", "bigint"),
        column("at", "timestamp with time zone"),
        column("gone", "text"),
        Column { generated: true, ..column("computed", "text") },
        geometry("g", "public.geometry(Point,4326)"),
        geometry("h", "\"post.gis\".geography"),
        geometry("d", "gis.spot"),
        column("km", "numeric"),
    ];
    let told = |table: &TableConfig| -> Vec<String> {
        let plan = Plan::new(table, schema(columns.clone())).expect("a plan");
        plan.columns.iter().map(|column| column.expression.clone()).collect()
    };
    assert_eq!(
        told(&table),
        [
            "t.\"id\"",
            "t.\"at\"",
            "t.\"computed\"",
            "public.st_asewkt(t.\"g\", 30)",
            "\"post.gis\".st_asewkt(t.\"h\", 30)",
            "t.\"d\"",
            "(metres / 1000 -- per trip\n)",
        ]
    );
    table.geometry = GeometryForm::Ewkb;
    assert_eq!(told(&table)[3..5], ["t.\"g\"", "t.\"h\""]);
    (table.mode, table.watermark) = (Mode::Scd, None);
    let plan = Plan::new(&table, schema(columns.clone())).expect("a plan");
    let sql = plan.select(Timestamp::NEG_INFINITY, Timestamp::INFINITY, Sweep::Off, time(LOW));
    assert!(sql.contains("'2026-01-01T00:00:00.000000Z'::pg_catalog.timestamptz as \"_uploaded_at\""), "{sql}");
    assert!(!sql.contains("where"));
}

#[test]
fn a_query_may_end_in_a_comment_or_a_semicolon() {
    let mut table = table();
    (table.relation, table.query) = (None, Some("select 1 -- one".to_owned()));
    assert_eq!(from_sql(&table), "(select 1 -- one\n) as t");
    table.query = Some(" select 1; ".to_owned());
    assert_eq!(from_sql(&table), "(select 1\n) as t");
}

#[test]
fn what_the_source_computes_comes_as_a_plain_value() {
    let computed = Column { generated: true, ..column("twice", "integer") };
    let columns = vec![column("id", "bigint"), column("at", "timestamp with time zone"), computed.clone()];
    let plan = Plan::new(&table(), schema(columns.clone())).expect("a plan");
    assert!(plan.delivered().iter().all(|column| !column.generated));
    assert!(bronze_ddl(&plan.load(false)).contains("\"twice\" integer"));
    let fitted = |plan: &Plan, bronze: Vec<Column>, before: Delivered<'_>| {
        let bronze = schema(bronze);
        let plan = plan.clone().fitted(Some(&bronze), before);
        let judged = plan.check_bronze(Some(&bronze)).expect_err("it has no key");
        (plan.columns.len(), plan.waiting.len(), judged.kind() == ErrorKind::Drift)
    };
    let two = columns[..2].to_vec();
    let before = ["id".to_owned(), "at".to_owned(), "twice".to_owned()];
    for before in [Delivered::Unknown, Delivered::Columns(&before[..2]), Delivered::Columns(&before)] {
        assert_eq!(fitted(&plan, two.clone(), before), (3, 0, true), "it is a new column like any other");
    }
    let adding = Plan { table: TableConfig { on_new_column: OnNewColumn::Add, ..table() }, ..plan.clone() };
    assert_eq!(fitted(&adding, two, Delivered::Unknown), (3, 1, false), "and a run adds it");
    let plain = Column { generated: false, ..computed };
    assert_eq!(fitted(&plan, [&columns[..2], &[plain]].concat(), Delivered::Unknown), (3, 0, false));
    assert_eq!(fitted(&plan, columns.clone(), Delivered::Unknown), (2, 0, false), "bronze computes it itself");
}

#[test]
fn a_lost_column_is_refused_kept_or_emptied() {
    let mut table = table();
    let bronze = schema(vec![column("id", "bigint"), column("at", "timestamp with time zone"), column("gone", "text")]);
    let before = ["id".to_owned(), "at".to_owned(), "gone".to_owned()];
    let missing = |table: &TableConfig| {
        let mut bronze = bronze.clone();
        bronze.columns[2].not_null = false;
        let missing =
            plan(table, "timestamp with time zone").fitted(Some(&bronze), Delivered::Columns(&before)).missing;
        (missing.refused.len(), missing.kept.len(), missing.emptied.len())
    };
    assert_eq!(missing(&table), (1, 0, 0));
    table.on_missing_column = OnMissingColumn::Keep;
    assert_eq!(missing(&table), (0, 1, 0));
    table.on_missing_column = OnMissingColumn::Null;
    assert_eq!(missing(&table), (0, 0, 1));
}

#[test]
fn a_table_of_files_is_told_of_no_key_that_is_refused_for_it() {
    let ends = |kind: &str| {
        let at = column("at", "timestamp with time zone");
        schema(vec![column("id", "bigint"), at, column("n", kind)])
    };
    let mut load = Plan::new(&table(), ends("bigint")).expect("a plan").load(false);
    load.mode = Mode::Files;
    let told = load.remedies(&load.drift(&ends("integer")), &ends("integer"));
    assert!(told.contains("[table.columns]"), "{told}");
    assert!(!told.contains("exclude") && !told.contains("[table.select]"), "{told}");
}
