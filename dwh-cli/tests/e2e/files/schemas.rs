//! Every keyword of a JSON Schema, violated once and named right.

use super::{Raw, TABLES};

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
