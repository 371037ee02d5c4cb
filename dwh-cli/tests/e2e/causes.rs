//! What several tables fail for is told once in the JSON too, with the tables that it touched.

use crate::support::{Project, READABLE, table};
use dwh_core::testing::TestDb;
use serde_json::json;

#[tokio::test]
async fn one_cause_is_in_the_json_once() {
    let db = TestDb::new("causes").await;
    db.src(&format!(
        "create schema app; {READABLE}
         create table app.a (id int primary key, at timestamptz not null default now());
         create table app.b (like app.a including all);
         create index on app.a (at); create index on app.b (at)"
    ))
    .await;
    let more = "watermark = \"at\"\nkey = [\"id\"]\ndeletes = \"mark\"";
    let config = table("a", "app.a", "incremental", more) + &table("b", "app.b", "incremental", more);
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    for verb in [&["verify"][..], &["deletes"], &["resync", "a", "b"]] {
        assert_eq!(project.json(verb)["causes"].as_array().map(Vec::len), Some(0), "{verb:?}");
    }
    let url = db.source_url();
    let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next()).expect("a port");
    let bereft = project.config_with(&format!(":{port}/"), ":1/");
    for verb in [&["run"][..], &["verify"], &["deletes"], &["resync", "a", "b"]] {
        let output = bereft.fails(3, verb);
        let causes = output.json()["causes"].clone();
        let [one] = &causes.as_array().expect("causes")[..] else { panic!("not one: {}", output.all()) };
        assert_eq!(one["tables"], json!(["a", "b"]), "{}", output.all());
        assert_eq!(one["cause"]["code"], "unreachable", "{}", output.all());
        assert!(!one["cause"]["message"].as_str().expect("text").contains("table `"), "{}", output.all());
    }
}
