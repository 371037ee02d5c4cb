//! `-vv`: what is asked of source and target, and no value of it.

use crate::support::{Project, READABLE, table};
use dwh_core::testing::{Clusters, TestDb};

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

#[tokio::test]
async fn the_target_loads_postgis_before_the_rows_of_a_geometry_are_there_and_for_nothing_else() {
    let db = TestDb::new("printing").await;
    db.src(&format!(
        "create schema app; {READABLE}
         create table app.places (id int primary key, g geometry(Point, 4326), at timestamptz not null default now());
         create table app.plain (id int primary key, at timestamptz not null default now());
         create index on app.places (at);
         insert into app.places (id, g) values (1, 'SRID=4326;POINT(1 2)');
         insert into app.plain values (1)"
    ))
    .await;
    let more = "watermark = \"at\"\nkey = [\"id\"]";
    let tables = ["places", "plain"].map(|name| table(name, &format!("app.{name}"), "incremental", more));
    let project = Project::new(&db, &tables.concat());
    project.ok(&["migrate"]);
    let looked = project.ok(&["check", "-vv"]).stderr;
    assert!(
        looked.contains(" target: select ") && !looked.contains("format_type(t.oid, "),
        "nothing is read: {looked}"
    );
    // At which line each ended.
    let run = |name: &str| {
        let told = project.ok(&["run", name, "-vv"]).stderr;
        let lines = |what: &str| -> Vec<usize> {
            told.lines().enumerate().filter(|(_, line)| line.contains(what)).map(|(place, _)| place).collect()
        };
        (
            lines("select pg_catalog.format_type(t.oid, "),
            lines(&format!("target: copy \"bronze\".\"{name}\"")),
            told.clone(),
        )
    };
    let (loads, copies, told) = run("places");
    assert_eq!((loads.len(), copies.len()), (1, 1), "{told}");
    assert!(loads < copies, "{told}");
    let (loads, copies, told) = run("plain");
    assert_eq!((loads.len(), copies.len()), (0, 1), "{told}");
}

#[tokio::test]
async fn a_domain_that_is_called_geometry_has_nothing_of_its_owners_called() {
    let db = TestDb::new("domain_geometry").await;
    let called = format!("called in {}", db.name());
    db.src(&format!(
        "create schema app; {READABLE}
         create domain app.geometry as text;
         create table app.t (id int primary key, g app.geometry, at timestamptz not null default now());
         create index on app.t (at);
         insert into app.t (id, g) values (1, 'here');
         create function app.spy(text) returns bool language plpgsql as $$ begin raise warning '{called}'; return true; end $$;
         alter domain app.geometry add check (app.spy(value)) not valid;
         grant execute on function app.spy to public; grant usage on type app.geometry to public"
    ))
    .await;
    let project = Project::new(&db, &table("t", "app.t", "incremental", "watermark = \"at\"\nkey = [\"id\"]"));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    let log = std::fs::read_to_string(Clusters::shared().source.folder().join("log")).expect("the server's log");
    let told = log.lines().filter(|line| line.contains(&format!("WARNING:  {called}"))).count();
    assert_eq!(told, 0, "dwh had a function of the table's owner called");
}
