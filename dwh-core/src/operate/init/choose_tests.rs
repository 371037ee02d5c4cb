use std::collections::{BTreeMap, BTreeSet};

use super::{Choice, Known, choose};
use crate::config::{Mode, OnConflict};
use crate::schema::{Column, RelationKind, TableRef, TableSchema, UniqueKey};
use crate::source::survey::{Counters, Reach, Rows, ServerFacts, TableFacts, Trigger};

/// A table of a million rows with the key `id` and the columns given, as `name type` with `!` for not null,
/// `=` for `default now()` and `#` for an index.
fn table(columns: &str) -> TableFacts {
    let mut facts = TableFacts {
        schema: TableSchema {
            table: TableRef::new("app", "t"),
            kind: RelationKind::Table,
            columns: vec![column("id", "bigint", true, None)],
            keys: vec![key("t_pkey", &["id"], true)],
            indexed: vec!["id".into()],
            row_estimate: 900_000,
            types: Vec::new(),
        },
        rows: Rows::About(900_000),
        counters: Counters { inserted: 900_000, updated: 0, deleted: 0 },
        triggers: Vec::new(),
        subscribed: false,
        bulk: false,
        counted_days: Some(200),
        newest_days: Some(0),
    };
    for text in columns.split(", ").filter(|text| !text.is_empty()) {
        let (name, rest) = text.split_once(' ').expect("name and type");
        let kind = match rest.trim_end_matches(['!', '=', '#', '~']) {
            "tz" => "timestamp with time zone",
            "ts" => "timestamp without time zone",
            other => other,
        };
        let default = if rest.contains('=') { Some("now()") } else { None };
        let default = if rest.contains('~') { Some("timezone('utc'::text, now())") } else { default };
        facts.schema.columns.push(column(name, kind, rest.contains('!'), default));
        if rest.contains('#') {
            facts.schema.indexed.push(name.into());
        }
    }
    facts
}

fn column(name: &str, type_name: &str, not_null: bool, default: Option<&str>) -> Column {
    Column { not_null, default: default.map(str::to_owned), ..Column::new(name, type_name.parse().expect("a type")) }
}

fn key(name: &str, columns: &[&str], primary: bool) -> UniqueKey {
    UniqueKey { name: name.into(), columns: columns.iter().map(ToString::to_string).collect(), primary, unusable: None }
}

fn with(columns: &str, change: impl FnOnce(&mut TableFacts)) -> TableFacts {
    let mut facts = table(columns);
    change(&mut facts);
    facts
}

fn server() -> ServerFacts {
    ServerFacts {
        role: "app_ro".into(),
        superuser: false,
        database: "app".into(),
        timezone: "Africa/Nairobi".into(),
        standby: false,
        counted_since: Some("2026-01-01".into()),
    }
}

/// Every candidate was looked at, and has no NULL and no infinity.
fn all_fine(facts: &TableFacts) -> BTreeMap<String, Reach> {
    let fine = Reach { unreachable: Some(false), age_days: None };
    facts.schema.columns.iter().map(|column| (column.name.clone(), fine)).collect()
}

fn chosen(facts: &TableFacts) -> Choice {
    choose(&Known { facts, server: &server(), reach: &all_fine(facts), cast: &BTreeSet::new() })
}

/// `mode watermark on_conflict doubts`, a word each; a doubt by the word that tells it from the others.
fn told(choice: &Choice) -> String {
    let mut text = choice.mode.as_str().to_owned();
    if let Some(watermark) = &choice.watermark {
        text.push_str(&format!(" {}", watermark.column));
    }
    if choice.on_conflict == OnConflict::Update {
        text.push_str(" update");
    }
    for (mark, words) in [
        ("?stamp", "nothing in the database stamps"),
        ("?reported", "sounds like a time"),
        ("?kept", "no trigger moves"),
        ("?null", "may be NULL, and a run"),
        ("?index", "no index leads"),
        ("?zone", "has no time zone; the one below"),
        ("?updates", "seen, and no column moves with them: bronze"),
        ("?deletes", "seen: such rows stay"),
        ("?large", "copied by every run"),
        ("?empty", "no rows yet"),
        ("?quiet", "nothing was written since"),
        ("?bulk", "most rows came in one transaction"),
        ("?young", "came since counting began"),
        ("?reset", "statistics were reset"),
        ("?older", "a restore or a copy brought"),
        ("?looked", "took too long"),
        ("?publisher", "logical replication"),
    ] {
        if choice.doubts.iter().any(|doubt| doubt.contains(words)) {
            text.push_str(&format!(" {mark}"));
        }
    }
    text
}

#[test]
fn the_matrix() {
    let updated = |n| move |f: &mut TableFacts| f.counters.updated = n;
    let deleted = |n| move |f: &mut TableFacts| f.counters.deleted = n;
    let rows = |n| move |f: &mut TableFacts| f.rows = Rows::Exactly(n);
    let cases: Vec<(TableFacts, &str)> = vec![
        // Size.
        (table("recorded_at tz!=#"), "incremental recorded_at"),
        (with("recorded_at tz!=#", rows(9_999)), "snapshot"),
        (with("recorded_at tz!=#", rows(10_000)), "incremental recorded_at"),
        (with("recorded_at tz!=#", rows(0)), "snapshot ?empty"),
        (with("recorded_at tz!=#", |f| f.rows = Rows::Unknown), "incremental recorded_at"),
        (with("", |f| f.rows = Rows::About(5_000_000)), "snapshot ?large"),
        // Key.
        (with("recorded_at tz!=#", |f| f.schema.keys.clear()), "snapshot"),
        (with("recorded_at tz!=#", |f| f.schema.keys[0].unusable = Some("it is partial".into())), "snapshot"),
        (with("recorded_at tz!=#, code text", |f| f.schema.keys = vec![key("c", &["code"], false)]), "snapshot"),
        (
            with("recorded_at tz!=#, code text!", |f| f.schema.keys = vec![key("c", &["code"], false)]),
            "incremental recorded_at",
        ),
        // Updates.
        (with("recorded_at tz!=#", updated(9_000)), "incremental recorded_at ?updates"),
        (with("recorded_at tz!=#", updated(9_001)), "snapshot"),
        (with("created_at tz!=#, updated_at tz!=#", updated(500_000)), "incremental updated_at update ?kept"),
        (
            with("created_at tz!=#, updated_at tz!", updated(500_000)),
            "incremental updated_at update ?stamp ?kept ?index",
        ),
        (table("created_at tz!=#, updated_at tz!=#"), "incremental updated_at update ?kept"),
        (table("created_at tz!=#, updated_at tz"), "incremental created_at"),
        // Deletes.
        (with("recorded_at tz!=#", deleted(9_000)), "incremental recorded_at ?deletes"),
        (with("recorded_at tz!=#", deleted(9_001)), "snapshot"),
        // The column.
        (table("gps_time tz!#"), "snapshot"),
        (table("timestamp tz!#"), "snapshot"),
        (table("event_time tz!=#"), "incremental event_time ?reported"),
        (table("gps_time tz!=#, recorded_at tz="), "incremental recorded_at ?null ?index"),
        (table("event_time tz!=#, created_at tz!#"), "incremental event_time ?reported"),
        (table("device_received_at tz!#"), "snapshot"),
        (table("created_at tz!#"), "incremental created_at ?stamp"),
        (table("born tz!#"), "snapshot"),
        (table("born tz!=#"), "incremental born"),
        (table("recorded_at tz=#"), "incremental recorded_at ?null"),
        (table("recorded_at tz!="), "incremental recorded_at ?index"),
        (table("created_at ts!=#"), "incremental created_at ?zone"),
        (table("created_at ts!~#"), "incremental created_at"),
        (table("created_at ts!=#, taken tz!=#"), "incremental taken"),
        (table("created_on date!=#"), "incremental created_on ?zone"),
        (table("created_at bigint!#"), "snapshot"),
        // Other kinds.
        (
            with("time tz!=#", |f| {
                f.schema.kind = RelationKind::Hypertable;
                f.rows = Rows::Exactly(5);
            }),
            "incremental time ?reported",
        ),
        (with("recorded_at tz!=#", |f| f.subscribed = true), "incremental recorded_at ?publisher"),
        (with("recorded_at tz!=#", |f| f.counters = Counters::default()), "incremental recorded_at ?quiet"),
        // Counters that a restore made, or that are younger than the data.
        (with("recorded_at tz!=#", |f| f.bulk = true), "incremental recorded_at ?bulk"),
        (with("recorded_at tz!=#", |f| f.counted_days = Some(6)), "incremental recorded_at ?reset"),
        (with("recorded_at tz!=#", |f| f.counted_days = Some(7)), "incremental recorded_at"),
        (with("recorded_at tz!=#", |f| f.counted_days = None), "incremental recorded_at"),
        (with("recorded_at tz!=#", |f| f.newest_days = Some(201)), "incremental recorded_at ?older"),
        (
            with("created_at tz!=#, updated_at tz!", |f| f.counted_days = Some(0)),
            "incremental updated_at update ?stamp ?kept ?index ?reset",
        ),
        (
            with("recorded_at tz!=#", |f| (f.counted_days, f.counters.updated) = (Some(0), 1)),
            "incremental recorded_at ?updates",
        ),
        (
            with("created_at tz!=#, updated_at tz!", |f| f.bulk = true),
            "incremental updated_at update ?stamp ?kept ?index ?bulk",
        ),
        (
            with("created_at tz!=#, updated_at tz!", |f| f.counters.inserted = 400_000),
            "incremental updated_at update ?stamp ?kept ?index ?young",
        ),
        (with("created_at tz!=#, updated_at tz!", |f| f.counters.inserted = 450_000), "incremental created_at"),
        (with("recorded_at tz!=#", |f| (f.bulk, f.rows) = (true, Rows::Exactly(9_999))), "snapshot"),
    ];
    for (at, (facts, expected)) in cases.iter().enumerate() {
        let choice = chosen(facts);
        assert_eq!(told(&choice), *expected, "case {at}: {choice:#?}");
        assert_eq!(choice.reasons.len(), 2, "case {at} has its facts and its reason");
        assert_eq!(choice.key.is_empty(), choice.mode == Mode::Snapshot, "case {at}");
    }
}

#[test]
fn a_trigger_is_believed_before_a_default() {
    let stamp = |update| Trigger {
        insert: true,
        update,
        function: "stamp".into(),
        body: "begin new.seen := now(); return new; end".into(),
        arguments: Vec::new(),
    };
    let append = with("seen tz!#, created_at tz!=#", |f| f.triggers = vec![stamp(false)]);
    assert_eq!(told(&chosen(&append)), "incremental seen");
    let moving = with("seen tz!#, created_at tz!=#", |f| f.triggers = vec![stamp(true)]);
    assert_eq!(told(&chosen(&moving)), "incremental seen update");
}

#[test]
fn a_column_with_rows_that_no_window_holds_gives_way() {
    let facts = table("updated_at tz=#, created_at tz=#");
    let mut reach = all_fine(&facts);
    reach.insert("updated_at".into(), Reach { unreachable: Some(true), age_days: None });
    reach.insert("created_at".into(), Reach { unreachable: None, age_days: None });
    let choice = choose(&Known { facts: &facts, server: &server(), reach: &reach, cast: &BTreeSet::new() });
    assert_eq!(told(&choice), "incremental created_at ?looked");
    assert!(choice.doubts[0].contains("`updated_at` was no watermark"), "{choice:#?}");
}

#[test]
fn zones_are_names_that_the_file_can_hold() {
    let facts = table("created_at ts!=#");
    let of = |timezone: &str| {
        let server = ServerFacts { timezone: timezone.into(), ..server() };
        choose(&Known { facts: &facts, server: &server, reach: &all_fine(&facts), cast: &BTreeSet::new() })
    };
    assert_eq!(of("Europe/Berlin").watermark.expect("chosen").zone, Some(("Europe/Berlin".into(), true)));
    assert_eq!(of("<+03>-03").mode, Mode::Snapshot);
    let utc = chosen(&table("created_at ts!~#"));
    assert_eq!(utc.watermark.expect("chosen").zone, Some(("UTC".into(), false)));
}

#[test]
fn a_key_that_is_copied_as_text_is_no_key() {
    let facts = table("recorded_at tz!=#");
    let cast = BTreeSet::from(["id".to_owned()]);
    let choice = choose(&Known { facts: &facts, server: &server(), reach: &all_fine(&facts), cast: &cast });
    assert_eq!(choice.mode, Mode::Snapshot);
    assert!(choice.reasons[1].contains("t_pkey"), "{choice:#?}");
}

#[test]
fn windows_grow_where_days_are_thin() {
    let facts = table("recorded_at tz!=#");
    for (age, window) in
        [(None, None), (Some(0), None), (Some(3), None), (Some(9), Some("7d")), (Some(900), Some("30d"))]
    {
        let mut reach = all_fine(&facts);
        reach.insert("recorded_at".into(), Reach { unreachable: Some(false), age_days: age });
        let choice = choose(&Known { facts: &facts, server: &server(), reach: &reach, cast: &BTreeSet::new() });
        assert_eq!(choice.window.map(|(window, _)| window), window, "{age:?}");
    }
}

#[test]
fn a_standby_says_so() {
    let facts = table("recorded_at tz!=#");
    let server = ServerFacts { standby: true, ..server() };
    let choice = choose(&Known { facts: &facts, server: &server, reach: &all_fine(&facts), cast: &BTreeSet::new() });
    assert!(choice.doubts.iter().any(|doubt| doubt.contains("standby")), "{choice:#?}");
}
