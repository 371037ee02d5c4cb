//! Hostile names as schema, table, column and configured name.

use crate::support::{Project, files, number, quoted, table, total};
use dwh_core::schema::quote_ident;
use dwh_core::testing::{TestDb, assert_equal_tables};

/// Each stands once as schema, table, key, watermark and another column.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "select",
        "Ärger 🐘",
        "a\"b",
        "x y",
        "UPPER",
        "\"; drop table x;--",
        "'; drop table x;--",
        "a.b",
        "$1",
        "a\\b",
        "100%",
    ]
    .map(str::to_owned)
    .into();
    names.push("é".repeat(31) + "e");
    names.push("\"".repeat(63));
    names
}

/// Table `x` at both ends, in every schema where an unquoted name could find it.
async fn canaries(db: &TestDb) {
    for (client, schemas) in [(db.source(), &["public"][..]), (db.target(), &["public", "bronze"])] {
        for schema in schemas {
            let sql = format!("create schema if not exists {schema}; create table {schema}.x as select 1 as v");
            client.batch_execute(&sql).await.expect("canary");
        }
    }
    db.tgt("alter schema bronze owner to dwh_owner; alter table bronze.x owner to dwh_owner").await;
}

async fn alive(db: &TestDb) {
    assert_eq!(number(db, "select (select sum(v) from public.x) + (select sum(v) from bronze.x)").await, 2);
    db.src("select v from public.x").await;
}

/// Schema, table and columns of the `at`-th name, the columns taken from the names after it.
fn parts(names: &[String], at: usize) -> (String, [String; 3]) {
    let relation = format!("{0}.{0}", quote_ident(&names[at]));
    (relation, [0, 1, 2].map(|step| names[(at + step) % names.len()].clone()))
}

async fn fill(db: &TestDb, names: &[String]) {
    for at in 0..names.len() {
        let (relation, columns) = parts(names, at);
        let [key, watermark, note] = columns.map(|column| quote_ident(&column));
        let schema = quote_ident(&names[at]);
        db.src(&format!(
            "create schema {schema}; grant usage on schema {schema} to app_ro;
             create table {relation} ({key} int primary key, {watermark} timestamptz not null default now(), {note} text);
             create index on {relation} ({watermark});
             insert into {relation} select i, now() - i * interval '7 hours', 'n' || i from generate_series(1, 9) i;"
        ))
        .await;
    }
}

fn incremental(names: &[String], at: usize) -> String {
    let (relation, [key, watermark, _]) = parts(names, at);
    let more = format!("watermark = {}\nkey = [{}]\n", quoted(&watermark), quoted(&key));
    table(&names[at], &relation, "incremental", &more)
}

#[tokio::test]
async fn hostile_names_of_tables_and_columns() {
    let db = TestDb::new("names_incremental").await;
    canaries(&db).await;
    let names = names();
    fill(&db, &names).await;
    let tables: String = (0..names.len()).map(|at| incremental(&names, at)).collect();
    let project = Project::new(&db, &tables);
    project.ok(&["migrate"]);
    project.ok(&["migrate"]);
    let first = project.json(&["run"]);
    for at in 0..names.len() {
        let (relation, _) = parts(&names, at);
        let bronze = format!("select * from bronze.{}", quote_ident(&names[at]));
        assert_equal_tables(&db, &format!("select * from {relation}"), &bronze).await;
        assert_eq!(total(&first, &names[at], "rows_loaded"), 9, "{}", names[at]);
    }
    let again = project.json(&["run"]);
    for name in &names {
        assert_eq!(total(&again, name, "rows_loaded"), 0, "{name}");
    }
    let check = project.dwh(&["check"]);
    assert_eq!(check.code, 0, "{}", check.all());
    project.ok(&["status"]);
    project.ok(&["runs"]);
    project.ok(&["run", "--dry-run"]);
    alive(&db).await;
}

#[tokio::test]
async fn hostile_names_of_the_target_s_schemas() {
    let db = TestDb::new("names_schemas").await;
    canaries(&db).await;
    let names = names();
    fill(&db, &names).await;
    for (bronze, control) in [
        (names[1].clone(), names[5].clone()),
        (names[5].clone(), names[12].clone()),
        (names[11].clone(), names[2].clone()),
    ] {
        let tables: String = (0..names.len())
            .map(|at| {
                let (relation, _) = parts(&names, at);
                table(&names[at], &relation, "snapshot", "")
            })
            .collect();
        let schemas = format!("[target]\nbronze_schema = {}\ncontrol_schema = {}", quoted(&bronze), quoted(&control));
        // A project for each: with a new control schema, run ids begin at 1 again.
        let project_name = format!("name = {}", quoted(&bronze));
        let project =
            Project::new(&db, &tables).config_with("[target]", &schemas).config_with("name = \"test\"", &project_name);
        project.ok(&["migrate"]);
        for _ in 0..2 {
            project.ok(&["run"]);
            for at in 0..names.len() {
                let (relation, _) = parts(&names, at);
                let copy = format!("{}.{}", quote_ident(&bronze), quote_ident(&names[at]));
                assert_equal_tables(&db, &format!("select * from {relation}"), &format!("select * from {copy}")).await;
            }
        }
        assert_eq!(number(&db, &format!("select count(*) from {}.extract_runs", quote_ident(&control))).await, 26);
        db.tgt(&format!("drop schema {} cascade; drop schema {} cascade", quote_ident(&bronze), quote_ident(&control)))
            .await;
    }
    alive(&db).await;
}

#[tokio::test]
async fn hostile_configured_names_stay_below_the_prefix() {
    let db = TestDb::new("names_blobs").await;
    db.src("create table public.t (id int primary key); insert into t values (1), (2)").await;
    let names = [
        "../../up", "a/b", "/etc", "100%", "%2e%2e", "..a", "a\\b", "x y", "🐘", "-rf", "~", "a:b", "*", "a.csv", "A",
        "a",
    ];
    let tables: String = names
        .iter()
        .enumerate()
        .map(|(at, name)| table(name, "public.t", "snapshot", &format!("target = \"copy_{at}\"\n")))
        .collect();
    let project = Project::new(&db, &tables)
        .config_with(&db.blob_url(), &format!("{}/store", db.blob_url()))
        .config_with("name = \"test\"", "name = \"te/../st %\"");
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    project.ok(&["run"]);
    for at in 0..names.len() {
        assert_equal_tables(&db, "select * from t", &format!("select * from bronze.copy_{at}")).await;
    }
    let all = files(db.blobs());
    let inside = db.blobs().join("store");
    assert!(all.iter().all(|file| file.starts_with(&inside)), "{all:?}");
    let projects = std::fs::read_dir(&inside).expect("store").count();
    assert_eq!(projects, 1, "one folder for the project: {all:?}");
    // project / folder / table / file: no name adds a level or takes one away.
    assert!(all.iter().all(|file| file.strip_prefix(&inside).expect("inside").iter().count() == 4), "{all:?}");
    let of_csv = |file: &&std::path::PathBuf| file.extension().is_some_and(|end| end == "csv");
    assert_eq!(all.iter().filter(of_csv).count(), 2 * names.len(), "each run keeps its own file: {all:?}");
}

#[tokio::test]
async fn names_that_are_no_folder_are_refused() {
    let db = TestDb::new("names_refused").await;
    for name in ["", ".", "..", "a\u{7}b"] {
        let output = Project::new(&db, &table(name, "public.t", "snapshot", "target = \"t\"\n")).dwh(&["run"]);
        assert_eq!(output.code, 2, "{name:?}: {}", output.all());
        assert!(output.stderr.contains("name"), "{}", output.all());
    }
    assert!(files(db.blobs()).is_empty());
}
