//! Every keyword of a JSON Schema, violated once and named right. `DWH_TEST_JSON_SCHEMAS` names a folder of others.

use super::{EVENT_SCHEMA, GRANTS_SCHEMA, Raw, TABLES};
use serde_json::{Value, json};
use std::fs;

#[tokio::test]
async fn every_rule_is_named_with_its_place() {
    let raw = Raw::new("files_rules", TABLES).await;
    let event = |members: &str| format!("{{\"e\": {{{members}}}}}");
    for (members, told) in [
        (r#""id": "abc", "year": 2020"#, "`/e` required `tags`"),
        (r#""id": "abc", "year": 2020, "tags": ["x"], "more": 1"#, "`/e` additionalProperties `more`"),
        (r#""id": 5, "year": 2020, "tags": ["x"]"#, "`/e/id` type string"),
        (r#""id": "A-b", "year": 2020, "tags": ["x"]"#, "`/e/id` pattern `^[a-z0-9_]+$`"),
        (r#""id": "ab", "year": 2020, "tags": ["x"]"#, "`/e/id` minLength 3"),
        (r#""id": "abcdefghijklmnopqrstuvwxyz", "year": 2020, "tags": ["x"]"#, "`/e/id` maxLength 20"),
        (r#""id": "abc", "year": 1999, "tags": ["x"]"#, "`/e/year` minimum 2000"),
        (r#""id": "abc", "year": 2101, "tags": ["x"]"#, "`/e/year` maximum 2100"),
        (r#""id": "abc", "year": 2020.5, "tags": ["x"]"#, "`/e/year` type integer"),
        (r#""id": "abc", "year": 2020, "tags": []"#, "`/e/tags` minItems 1"),
        (r#""id": "abc", "year": 2020, "tags": ["x", 5]"#, "`/e/tags/1` type string"),
        (r#""id": "abc", "year": 2020, "tags": ["x"], "impact": "x""#, "`/e/impact` type null or integer"),
    ] {
        raw.write("events/e.json", event(members));
        let failure = raw.project.fails(4, &["run", "events"]).failure("events");
        assert!(failure.message.contains(told), "`{told}` is not in {}", failure.message);
        assert!(failure.message.contains("1 of 1 records"), "{}", failure.message);
    }
    let grant = r#"[{"grant_id": "a", "amount": 1, "date": "2024-03-15", "source": "Fund A", "url": "no address"}]"#;
    raw.write("a/dumps/1/data.json", grant);
    let failure = raw.project.fails(4, &["run", "grants"]).failure("grants");
    assert!(failure.message.contains("`/0/url` format uri"), "{}", failure.message);
}

/// An object in an array, with rules of its own.
const NESTED: &str = r#"{
  "type": "object",
  "required": ["impacts"],
  "properties": {
    "impacts": {"type": "array", "minItems": 1, "items": {
      "type": "object", "additionalProperties": false, "required": ["variable", "change"],
      "properties": {
        "variable": {"type": "string", "enum": ["cash", "stress"]},
        "change": {"type": "number", "minimum": -100, "maximum": 100}
      }
    }},
    "sources": {"type": "array", "maxItems": 2, "items": {"type": "string", "format": "uri"}}
  }
}"#;

/// A value that a schema takes.
fn valid(schema: &Value) -> Value {
    if let Some(choice) = schema["enum"].as_array() {
        return choice[0].clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).expect("a type");
    match kind {
        "object" => {
            let members = schema["properties"].as_object().into_iter().flatten();
            Value::Object(members.map(|(name, schema)| (name.clone(), valid(schema))).collect())
        }
        "array" => json!([valid(&schema["items"])]),
        "integer" | "number" => schema["minimum"].as_i64().unwrap_or(1).into(),
        "string" if schema["format"] == "uri" => "https://example.org/a".into(),
        "string" if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("\\d")) => "2024-03-15".into(),
        "string" => "a".repeat(schema["minLength"].as_u64().unwrap_or(3) as usize).into(),
        other => panic!("no value of type {other} is made here"),
    }
}

/// Values that break one rule each, with the pointer and the rule that must be named.
fn broken(schema: &Value, pointer: &str) -> Vec<(Value, String)> {
    let good = valid(schema);
    let number = |keyword: &str| schema[keyword].as_i64();
    let mut found: Vec<(Value, String)> = Vec::new();
    let mut add = |value: Value, rule: &str| found.push((value, format!("`{pointer}` {rule}")));
    add(if good.is_object() { json!(5) } else { json!({"a": 1}) }, "type ");
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let mut less = good.clone();
        less.as_object_mut().expect("an object").remove(name);
        add(less, &format!("required `{name}`"));
    }
    if schema["additionalProperties"] == false {
        let mut more = good.clone();
        more["one_more"] = json!(1);
        add(more, "additionalProperties `one_more`");
    }
    if schema["enum"].is_array() {
        add(json!("none of them"), "enum");
    }
    if schema["pattern"].is_string() {
        add(json!("?".repeat(schema["minLength"].as_u64().unwrap_or(3) as usize)), "pattern");
    }
    if schema["format"].is_string() {
        add(json!("no address"), "format");
    }
    for (keyword, length) in [
        ("minLength", number("minLength").map(|least| least - 1)),
        ("maxLength", number("maxLength").map(|most| most + 1)),
    ] {
        if let Some(length) = length {
            add("a".repeat(length as usize).into(), &format!("{keyword} {}", schema[keyword]));
        }
    }
    for (keyword, value) in
        [("minimum", number("minimum").map(|least| least - 1)), ("maximum", number("maximum").map(|most| most + 1))]
    {
        if let Some(value) = value {
            add(value.into(), &format!("{keyword} {}", schema[keyword]));
        }
    }
    for (keyword, count) in
        [("minItems", number("minItems").map(|least| least - 1)), ("maxItems", number("maxItems").map(|most| most + 1))]
    {
        if let Some(count) = count {
            add(vec![valid(&schema["items"]); count as usize].into(), &format!("{keyword} {}", schema[keyword]));
        }
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        for (value, told) in broken(inner, &format!("{pointer}/{name}")) {
            let mut outer = good.clone();
            outer[name] = value;
            found.push((outer, told));
        }
    }
    if schema["items"].is_object() {
        found.extend(
            broken(&schema["items"], &format!("{pointer}/0")).into_iter().map(|(item, told)| (json!([item]), told)),
        );
    }
    found
}

#[tokio::test]
async fn every_keyword_is_named_where_it_is_broken() {
    let mut schemas: Vec<String> = [GRANTS_SCHEMA, EVENT_SCHEMA, NESTED].map(str::to_owned).to_vec();
    if let Some(others) = std::env::var_os("DWH_TEST_JSON_SCHEMAS") {
        let paths = fs::read_dir(others).expect("folder").map(|entry| entry.expect("entry").path());
        schemas = paths.map(|path| fs::read_to_string(path).expect("text")).collect();
    }
    let raw = Raw::new("files_keywords", TABLES).await;
    for text in schemas {
        let schema: Value = serde_json::from_str(&text).expect("JSON");
        raw.schema("event.json", &text);
        let cases = broken(&schema, "/0");
        raw.write("events/valid.json", json!([valid(&schema)]).to_string());
        for (at, (record, _)) in cases.iter().enumerate() {
            raw.write(&format!("events/{at:03}.json"), json!([record]).to_string());
        }
        let report = raw.project.fails(4, &["files", "validate", "--table", "events"]).json();
        let told = report["files"].as_array().expect("files");
        assert_eq!(told.len(), cases.len() + 1);
        assert_eq!(told.last().expect("the valid one")["state"], "valid", "{report:#}");
        for (file, (record, rule)) in told.iter().zip(&cases) {
            let message = file["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains(rule), "`{rule}` is not in `{message}` of {record}");
        }
        println!("{} rules were broken", cases.len());
        fs::remove_dir_all(raw.folder.join("events")).expect("removed");
    }
}

#[tokio::test]
async fn each_json_schema_that_cannot_be_used_is_named_and_the_other_files_are_validated() {
    let other = "[[table]]\nname = \"other\"\nsource = \"raw\"\nfiles = \"other.csv\"\nmode = \"files\"\n[table.columns]\nid = { type = \"int\" }\n";
    let raw = Raw::new("files_schemas_broken", &format!("{TABLES}{other}")).await;
    raw.write("a/dumps/1/data.json", "[]");
    raw.write("other.csv", "id\n1\n");
    for name in ["grants.json", "event.json"] {
        raw.schema(name, "{");
    }
    // Of `events` there is no file that could tell.
    let output = raw.project.dwh(&["files", "validate"]);
    assert_eq!(output.code, 2, "{}", output.all());
    for name in ["grants", "event"] {
        assert!(output.stderr.contains(&format!("schemas/{name}.json` is no JSON")), "{}", output.all());
    }
    raw.write("events/one.json", "{}");
    let report = raw.project.dwh(&["files", "validate", "--output", "json"]).json();
    let told = |file: &Value| {
        let message = file["error"]["message"].as_str().unwrap_or_default().to_owned();
        (file["path"].as_str().expect("path").to_owned(), message.contains("` is no JSON"))
    };
    let files: Vec<(String, bool)> = report["files"].as_array().expect("files").iter().map(told).collect();
    let expected = [("a/dumps/1/data.json", true), ("events/one.json", true), ("other.csv", false)];
    assert_eq!(files, expected.map(|(path, broken)| (path.to_owned(), broken)), "{report:#}");
}
