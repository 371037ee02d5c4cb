//! `-vv`: what is asked of source and target, and no value of it.

use crate::support::{Project, READABLE, table};
use dwh_core::testing::TestDb;

#[tokio::test]
async fn statements_are_told_with_their_end_and_time_and_without_values() {
    let db = TestDb::new("statements").await;
    db.src(&format!(
        "create schema app; {READABLE}
         create table app.t (id int primary key, note text, at timestamptz not null default now());
         create index on app.t (at);
         insert into app.t (id, note) select 4711000 + i, 'geheim' from generate_series(1, 3) i"
    ))
    .await;
    let more =
        "watermark = \"at\"\nkey = [\"id\"]\nquery = \"select * from app.t where note <> 'verborgen' and id > 31337\"";
    let config = table("t", "app.t", "incremental", more).replace("relation = \"app.t\"\n", "");
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    let decided = project.ok(&["run", "-v"]);
    assert!(!decided.stderr.contains(" select "), "{}", decided.all());

    db.src("update app.t set at = now()").await;
    let told = project.ok(&["run", "-vv"]);
    let line = |end: &str, word: &str| {
        let found = told.stderr.lines().find(|line| line.contains(&format!(" {end}: ")) && line.contains(word));
        found.unwrap_or_else(|| panic!("no `{word}` of {end}\n{}", told.all()))
    };
    for line in [
        line("source `app`", "copy (select"),
        line("source `app`", "note <> '…' and id > …"),
        line("target", "copy "),
        line("target", "begin isolation level read committed, read write, not deferrable; set local …; "),
        line("target", "commit"),
    ] {
        assert!(line.contains(" (took ") && line.ends_with(" ms)"), "{line}");
    }
    // The microseconds of a time may be any number.
    let untimed = |line: &str| line.split_once(' ').map_or_else(String::new, |(_, rest)| rest.to_owned());
    let lines: Vec<String> = told.stderr.lines().map(untimed).collect();
    for value in ["geheim", "verborgen", "31337", "4711", "password", "secret"] {
        assert!(!lines.iter().any(|line| line.contains(value)), "{value}\n{}", told.all());
    }
}
