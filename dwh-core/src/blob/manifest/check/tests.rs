use proptest::prelude::*;
use serde_json::{Value, json};

use crate::blob::{BlobKey, Manifest};
use crate::config::{Mode, OnConflict};
use crate::plan::{bronze_ddl, type_ddl};
use crate::schema::Column;

const KEY: &str = "fleet/processed/trips/20260424_1400_EAT_7.manifest.json";

/// As an extract writes it.
fn document() -> Value {
    json!({
        "format": 1, "project": "fleet", "table": "trips", "run_id": 7, "run_started_at": "2026-04-24T11:00:00Z",
        "kind": "run", "mode": "incremental", "target": { "schema": "bronze", "name": "trips" },
        "csv": "fleet/exports/trips/20260424_1400_EAT_7.csv.zst",
        "columns": [
            { "name": "id", "type": "bigint", "not_null": true },
            { "name": "at \"time\"", "type": "timestamp(3) with time zone", "not_null": true },
            { "name": "where", "type": "public.geometry(Point,4326)", "not_null": false, "geometry": true },
            { "name": "mood", "type": "app.\"Mood\"[]", "not_null": false, "default": "'x'::text", "old_value": "it's \\ \"$dwh$\"" },
        ],
        "types": [
            { "schema": "public", "name": "geometry", "kind": "extension", "extension": "postgis" },
            { "schema": "app", "name": "Mood", "kind": "enum", "labels": ["it's", "$dwh$ \\"] },
            { "schema": "app", "name": "d", "kind": "domain", "base": "numeric(6,2)" },
            { "schema": "app", "name": "pair", "kind": "composite", "attributes": [{ "name": "a \"b\"", "type": "app.\"Mood\"[]" }] },
            { "schema": "app", "name": "span", "kind": "range", "subtype": "app.d", "multirange": { "schema": "app", "name": "spans" },
              "collation": { "schema": "pg_catalog", "name": "C" } },
        ],
        "key": ["id"], "on_conflict": "update", "watermark_column": "at \"time\"", "query": "select 1",
        "window": { "low": "-infinity", "high": "2026-04-24T10:00:00Z", "watermark": "2026-04-24T10:00:00Z" },
        "sweep": { "sweep": "off" }, "late_rows": 0, "bound": null, "previous_run_id": 5, "snapshot": null,
        "rows": 2, "bytes": 90, "sha256": "ab".repeat(32), "plan_sha256": "ef".repeat(32),
        "stored": { "compression": "zstd", "bytes": 60, "sha256": "cd".repeat(32) }, "engine_version": "0.1.0",
    })
}

fn read(document: &Value) -> crate::Result<Manifest> {
    Manifest::from_json(&BlobKey::parse(KEY).expect("key"), document.to_string().as_bytes())
}

/// The document with another value at a place such as `/columns/1/type`.
fn with(place: &str, value: Value) -> Value {
    let mut document = document();
    *document.pointer_mut(place).expect(place) = value;
    document
}

#[test]
fn what_an_extract_writes_is_believed() {
    let manifest = read(&document()).expect("is fine");
    let again = Manifest::from_json(&BlobKey::parse(KEY).expect("key"), &manifest.to_json().expect("json"));
    assert_eq!(again.expect("comes back"), manifest);
    // Fields of a newer version are passed over.
    let mut newer = document();
    newer["written_by_a_newer_version"] = json!({ "a": 1 });
    assert_eq!(read(&newer).expect("is fine"), manifest);
}

#[test]
fn a_repair_names_the_rows_that_stay() {
    let mut document = with("/kind", json!("repair"));
    let manifest = read(&document).expect("is fine");
    assert!(manifest.replaced().is_some_and(|window| window.spares.is_empty()));
    assert_eq!(read(&with("/kind", json!("backfill"))).expect("is fine").replaced(), None);
    document["spares"] = json!([["1"], [null]]);
    let manifest = read(&document).expect("is fine");
    assert_eq!(manifest.replaced().expect("a window").spares, [vec![Some("1".to_owned())], vec![None]]);
    let again = Manifest::from_json(&BlobKey::parse(KEY).expect("key"), &manifest.to_json().expect("json"));
    assert_eq!(again.expect("comes back"), manifest);
    let refuses = |change: fn(&mut Value), field: &str| {
        let mut document = document.clone();
        change(&mut document);
        let error = read(&document).expect_err(field);
        assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
    };
    refuses(|document| document["kind"] = json!("run"), "spares");
    refuses(|document| document["spares"] = json!([["1", "2"]]), "spares");
    refuses(|document| document["watermark_column"] = json!("other"), "kind");
    refuses(|document| document["window"]["high"] = json!(null), "kind");
    refuses(|document| document["window"] = json!(null), "kind");
}

#[test]
fn a_wrong_value_is_named_with_file_and_field() {
    let column = |name: &str| json!({ "name": name, "type": "bigint", "not_null": true });
    for (place, value, field) in [
        ("/columns/1/type", json!("text); drop schema x cascade; --"), "columns[1].type"),
        ("/columns/1/type", json!("serial"), "columns[1].type"),
        ("/columns/0/name", json!(""), "columns"),
        ("/columns/0/name", json!("mood"), "columns"),
        ("/columns/0/name", json!("a\0"), "columns"),
        ("/columns", json!([]), "columns"),
        ("/columns", json!((0..1_601).map(|n| column(&n.to_string())).collect::<Vec<_>>()), "columns"),
        ("/columns", json!(null), "columns"),
        ("/columns/3/old_value", json!("a\0"), "columns"),
        ("/columns/3/old_value", json!(7), "columns[3].old_value"),
        ("/types/0/extension", json!(""), "types"),
        ("/types/1/schema", json!("pg_catalog"), "types"),
        ("/types/1/name", json!("a\0"), "types"),
        ("/types/1/labels", json!(["a", "a"]), "types"),
        ("/types/1/labels", json!(["a\0"]), "types"),
        ("/types/2/schema", json!(""), "types"),
        ("/types/4/multirange/schema", json!("pg_catalog"), "types"),
        ("/types/3/attributes/0/name", json!(""), "types"),
        ("/types/2", document()["types"][1].clone(), "types"),
        ("/key", json!([]), "key"),
        ("/key", json!(["id", "id"]), "key"),
        ("/key", json!(["id\" ) ; --"]), "key"),
        ("/key/0", json!(7), "key[0]"),
        ("/project", json!("other"), "project"),
        ("/project", json!("../fleet"), "project"),
        ("/table", json!("other"), "table"),
        ("/table", json!("../trips"), "table"),
        ("/csv", json!("fleet/exports/other/20260424_1400_EAT_7.csv.zst"), "csv"),
        ("/csv", json!("other/exports/trips/20260424_1400_EAT_7.csv.zst"), "csv"),
        ("/csv", json!("fleet/exports/trips/a/20260424_1400_EAT_7.csv.zst"), "csv"),
        ("/csv", json!("fleet/exports/trips/7.txt"), "csv"),
        ("/csv", json!("fleet/exports/trips/../../x.csv"), "csv"),
        ("/csv", json!("/etc/passwd"), "csv"),
        ("/run_id", json!(0), "run_id"),
        ("/run_id", json!(-7), "run_id"),
        ("/run_id", json!(1e30), "run_id"),
        ("/run_started_at", json!("infinity"), "run_started_at"),
        ("/mode", json!("truncate"), "mode"),
        ("/kind", json!("else"), "kind"),
        ("/on_conflict", json!("delete"), "on_conflict"),
        ("/watermark_column", json!(""), "watermark_column"),
        ("/target/name", json!("a\0b"), "target"),
        ("/rows", json!(-1), "rows"),
        ("/rows", json!(u64::MAX), "rows"),
        ("/rows", json!(91), "bytes"),
        ("/late_rows", json!(u64::MAX), "late_rows"),
        ("/bytes", json!(u64::MAX), "bytes"),
        ("/sha256", json!("AB".repeat(32)), "sha256"),
        ("/sha256", json!("ab"), "sha256"),
        ("/sha256", json!(""), "sha256"),
        ("/plan_sha256", json!("0"), "plan_sha256"),
        ("/stored/sha256", json!("../".repeat(21) + "x"), "stored.sha256"),
        ("/stored/compression", json!("gzip"), "stored"),
        ("/stored/compression", json!("none"), "stored"),
        ("/stored", json!(null), "stored"),
        ("/window/low", json!("2026-04-24T10:00:01Z"), "window"),
        ("/window/low", json!("infinity"), "window"),
        ("/window/high", json!("yesterday"), "window.high"),
        ("/window/watermark", json!("infinity"), "window.watermark"),
        ("/engine_version", json!("\u{1b}[2J"), "engine_version"),
        ("/format", json!("1"), "format"),
    ] {
        let error = read(&with(place, value.clone())).expect_err(place);
        let chain = error.chain();
        assert_eq!(error.kind(), crate::ErrorKind::Data, "{chain}");
        assert!(chain.contains(KEY) && chain.contains(&format!("field `{field}`")), "{place} {value}: {chain}");
        assert!(error.hint().contains("put back"), "{}", error.hint());
    }
    for broken in ["", "{", "[]", "null", "{} {}", &format!("{}x", document()), &"[".repeat(100_000)] {
        let error =
            Manifest::from_json(&BlobKey::parse(KEY).expect("key"), broken.as_bytes()).expect_err("no manifest");
        assert_eq!(error.kind(), crate::ErrorKind::Data);
    }
    assert!(read(&with("/format", json!(2))).expect_err("newer").to_string().contains("format 2"));
}

/// What an attacker, or a disk, may put anywhere.
fn value() -> impl Strategy<Value = Value> {
    let text = proptest::sample::select(vec![
        "",
        "text",
        "id",
        "numeric(6,2)",
        "text); drop table x; --",
        "\"a\"",
        "a\" int); --",
        "'",
        "..",
        "../..",
        "infinity",
        "-infinity",
        "2026-04-24T10:00:00Z",
        "snapshot",
        "bigint[]",
        "serial",
        "\u{0}",
        "\n",
        "Ärger",
        "int generated always as (1)",
        "fleet/exports/trips/x.csv",
    ]);
    let leaf = prop_oneof![
        text.prop_map(|text| json!(text)),
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z_]{0,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// Every place in the document.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(list) => list.iter().enumerate().for_each(|(n, one)| places(one, &format!("{at}/{n}"), found)),
        Value::Object(map) => map.iter().for_each(|(name, one)| places(one, &format!("{at}/{name}"), found)),
        _ => {}
    }
}

/// The statement as tokens: each quoted name becomes `N`, each word `w`, each number `0`, the rest stays.
fn lexed(sql: &str) -> Vec<char> {
    let (mut tokens, mut rest) = (Vec::new(), sql.chars().peekable());
    while let Some(letter) = rest.next() {
        match letter {
            '"' => {
                loop {
                    match rest.next().expect("a name ends") {
                        '"' if rest.peek() == Some(&'"') => drop(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                tokens.push('N');
            }
            '_' | 'a'..='z' | 'A'..='Z' => {
                while rest.next_if(|next| *next == '_' || next.is_ascii_alphanumeric()).is_some() {}
                tokens.push('w');
            }
            '0'..='9' => {
                while rest.next_if(|next| *next == '_' || next.is_ascii_alphanumeric()).is_some() {}
                tokens.push('0');
            }
            ' ' | '\n' => {}
            other => tokens.push(other),
        }
    }
    tokens
}

/// One statement, made of words, names, numbers and the punctuation of `create table` alone.
fn creates_one_table(manifest: &Manifest) -> Result<(), TestCaseError> {
    let sql = bronze_ddl(&manifest.load_plan(false));
    let tokens: String = lexed(&sql).into_iter().collect();
    prop_assert!(tokens.starts_with("wwwwwN.N("), "{sql}");
    prop_assert!(tokens.ends_with(");"), "{sql}");
    prop_assert!(tokens.chars().all(|token| "wN0.,()[]-;".contains(token)), "{sql}");
    prop_assert_eq!(tokens.matches(';').count(), 1, "{}", sql);
    prop_assert!(!tokens.contains("--"), "{sql}");
    let mut depth = 0;
    for (at, token) in tokens.chars().enumerate() {
        depth += i32::from(token == '(') - i32::from(token == ')');
        // The first parenthesis closes last: nothing gets out of the list of columns.
        prop_assert!((0..=2).contains(&depth) && (depth > 0 || at < 8 || at + 2 >= tokens.len()), "{sql}");
    }
    Ok(())
}

/// One block each, made of the same words whatever the names and labels are.
fn makes_one_type_each(manifest: &Manifest) -> Result<(), TestCaseError> {
    for def in &manifest.types {
        let Some(sql) = type_ddl(def) else { continue };
        let tag = sql.strip_prefix("do ").and_then(|rest| rest.split(' ').next()).expect("a tag").to_owned();
        prop_assert_eq!(sql.matches(&tag).count(), 2, "{}", sql);
        prop_assert!(sql.ends_with(&format!("end {tag};\n")), "{sql}");
        let create = sql.split("is null then\n").nth(1).expect("a body");
        let tokens: String = unquoted(create.split_once(";\n    end if;").expect("an end").0).into_iter().collect();
        prop_assert!(tokens.starts_with("wwN.Nw"), "{sql}");
        prop_assert!(tokens.chars().all(|token| "wN0L.,()[]=-".contains(token)), "{tokens} {sql}");
        prop_assert!(!tokens.contains("--"), "{sql}");
    }
    Ok(())
}

/// What rows of older CSV files get in a column is one literal, cast to its type.
fn fills_with_literals(manifest: &Manifest) -> Result<(), TestCaseError> {
    let mut load = manifest.load_plan(false);
    (load.mode, load.on_conflict) = (Mode::Snapshot, OnConflict::Nothing);
    let has_value = |column: &&Column| column.old_value.is_some();
    load.filled = load.columns.iter().filter(has_value).cloned().collect();
    let sql = load.merge();
    let tokens: String = unquoted(&sql).into_iter().collect();
    prop_assert!(tokens.starts_with("wwN.Nww(N"), "{tokens} {sql}");
    prop_assert!(tokens.chars().all(|token| "wN0L.,()[]:-".contains(token)), "{tokens} {sql}");
    prop_assert!(!tokens.contains("--"), "{tokens} {sql}");
    prop_assert_eq!(tokens.matches("L::").count(), load.filled.len(), "{} {}", tokens, sql);
    prop_assert_eq!(tokens.matches('L').count(), load.filled.len(), "{} {}", tokens, sql);
    Ok(())
}

/// As [`lexed`], with literals as `L`.
fn unquoted(sql: &str) -> Vec<char> {
    let (mut plain, mut rest) = (String::new(), sql);
    while let Some(at) = rest.find(['\'', '"']) {
        let quote = &rest[at..=at];
        let escaped = quote == "'" && rest[..at].ends_with('E');
        plain.push_str(&rest[..at - usize::from(escaped)]);
        let mut end = at + 1;
        loop {
            let next = &rest[end..];
            if next.starts_with(&quote.repeat(2)) || (escaped && next.starts_with('\\')) {
                end += 2;
            } else if next.starts_with(quote) {
                break;
            } else {
                end += next.chars().next().expect("it ends").len_utf8();
            }
        }
        plain.push_str(if quote == "'" { "'" } else { "\"x\"" });
        rest = &rest[end + 1..];
    }
    plain.push_str(rest);
    lexed(&plain).into_iter().map(|token| if token == '\'' { 'L' } else { token }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_changed_manifest_is_refused_or_makes_one_table(changes in proptest::collection::vec((any::<proptest::sample::Index>(), value()), 1..4)) {
        let mut document = document();
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&document, "", &mut all);
            let place: &String = place.get(&all);
            *document.pointer_mut(place).expect("is there") = value;
        }
        match read(&document) {
            Ok(manifest) => {
                creates_one_table(&manifest)?;
                makes_one_type_each(&manifest)?;
                fills_with_literals(&manifest)?;
            }
            Err(error) => prop_assert_eq!(error.kind(), crate::ErrorKind::Data),
        }
    }

    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..1_000) {
        let key = BlobKey::parse(KEY).expect("key");
        prop_assert!(Manifest::from_json(&key, &bytes).is_err());
        let whole = document().to_string();
        let cut = whole.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(0);
        prop_assert!(Manifest::from_json(&key, &whole.as_bytes()[..cut]).is_err());
    }

    #[test]
    fn types_and_names_of_any_kind_make_one_table(types in proptest::collection::vec((any::<String>(), "[^\0]{1,9}"), 1..4)) {
        let columns: Vec<Value> = types
            .iter()
            .map(|(name, kind)| {
                let quoted = crate::schema::quote_ident(kind);
                json!({ "name": name, "type": format!("app.{quoted}(3)[]"), "not_null": true })
            })
            .collect();
        let document = with("/columns", json!(columns));
        let document = { let mut d = document; d["key"] = json!([types[0].0]); d };
        if let Ok(manifest) = read(&document) {
            creates_one_table(&manifest)?;
        }
    }
}
