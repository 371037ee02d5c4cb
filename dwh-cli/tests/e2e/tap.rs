//! `tap`: the tables of a postgres_pipeline manifest, by its load types.

mod manifests;

use std::fs;

use crate::support::{Project, files, number, total};
use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;

const SOURCE: &str = "
    create table public.issues (id bigint primary key, note text, project_id int, \"when\" text,
        created_at timestamptz default now(), updated_at timestamp not null default (now() at time zone 'UTC'));
    create index on public.issues (updated_at);
    create table public.plans (id int primary key, name varchar(20), price numeric(6,2));
    grant select on all tables in schema public to app_ro;
    insert into public.issues (id, note, project_id, created_at, updated_at)
        select i, 'note ' || i, i % 4, timestamptz '2026-01-01Z', timestamp '2026-01-01' + i * interval '1 hour'
        from generate_series(1, 96) i;
    insert into public.issues (id, note, project_id, created_at, updated_at)
        values (1000, 'bad', 1, '0001-01-01 00:00:00+00', '2026-01-02');
    insert into public.plans values (1, 'free', 0), (2, 'gold', 99.5);";

const MANIFEST: &str = r#"connection_info:
  user: GITLAB_DB_USER
  host: GITLAB_DB_HOST
tables:
  issues:
    import_db: GITLAB_DB
    import_query: >
      SELECT id -- WHERE the key stands
      , note, UPPER(note) AS loud, NULL AS gone, "when", project_id as project, updated_at
      FROM issues
      WHERE updated_at BETWEEN '{EXECUTION_DATE}'::timestamp - interval '{HOURS} hours'
        AND '{EXECUTION_DATE}'::timestamp
    additional_filtering: AND created_at NOT IN ('0001-01-01 00:00:00+00', '1000-01-01 00:00:00+00') AND project_id IN {IDS}
    export_db: EXPORT_DB
    export_schema: 'gitlab'
    export_table: 'issues'
    export_table_primary_key: id
    advanced_metadata: "true"
  plans:
    import_db: GITLAB_DB
    import_query: SELECT id, name, price::VARCHAR FROM plans
    additional_filtering: WHERE name NOT LIKE '%%x'
    export_schema: gitlab
    export_table: plans
    export_table_primary_key: id
"#;

/// What the query of the manifest returns, all its windows together.
const ISSUES: &str = "select id, note, upper(note) as loud, null::text as gone, \"when\", project_id as project, updated_at
    from public.issues where created_at not in ('0001-01-01 00:00:00+00', '1000-01-01 00:00:00+00') and project_id in (0, 2)";
/// The newest version of each row in bronze.
const NEWEST: &str = "select distinct on (id) id, note, loud, gone, \"when\", project, updated_at from gitlab.issues
    order by id, _uploaded_at desc";

async fn gitlab(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(SOURCE).await;
    let more = "[[manifest]]\npath = \"manifests/*.yaml\"\nvariables = { IDS = \"(0, 2)\" }\n";
    let project = Project::new(&db, more);
    write(&project, MANIFEST);
    project.ok(&["migrate"]);
    (db, project)
}

fn write(project: &Project, manifest: &str) {
    fs::create_dir_all(project.folder().join("manifests")).expect("folder");
    fs::write(project.folder().join("manifests/gitlab.yaml"), manifest).expect("manifest");
}

fn tap(project: &Project, load_type: &str, more: &[&str]) -> Value {
    project.json(&[&["tap", "manifests/gitlab.yaml", "--load-type", load_type], more].concat())
}

#[tokio::test]
async fn each_load_type_does_what_the_document_says() {
    let (db, project) = gitlab("tap_load_types").await;
    // A new table is read from its first row on, up to the end of the window.
    let first = tap(
        &project,
        "incremental",
        &["--execution-date", "2026-01-03T00:00:00+00:00", "--hours", "24", "--task-instance", "dag/2026-01-03"],
    );
    assert_eq!(first["skipped"], serde_json::json!(["gitlab.plans"]));
    assert_eq!(total(&first, "gitlab.issues", "rows_loaded"), 24, "48 hours, half of the projects");
    let at_the_end = "select count(*) from gitlab.issues where updated_at = timestamp '2026-01-03'";
    let there = number(&db, at_the_end).await;
    assert_eq!(number(&db, "select count(*) from gitlab.issues where updated_at > timestamp '2026-01-03'").await, 0);
    assert_eq!(number(&db, "select count(*) from gitlab.issues where _task_instance = 'dag/2026-01-03'").await, 24);
    let named = "select count(*) from dwh_control.extract_runs where _task_instance = 'dag/2026-01-03'";
    assert_eq!(number(&db, named).await, first["runs"].as_array().expect("runs").len() as i64, "the run log knows it");
    // The next window misses a day: nothing between is lost.
    let next = ["--execution-date", "2026-01-05", "--days", "1"];
    let next = tap(&project, "incremental", &[&next[..1], &["2026-01-05T00:00:00Z"], &next[2..]].concat());
    assert_eq!(total(&next, "gitlab.issues", "rows_loaded"), 24);
    assert_eq!(number(&db, at_the_end).await, there, "a row at the end of one window is not read by the next");
    assert_equal_tables(&db, ISSUES, NEWEST).await;
    // The same window again adds nothing; a changed row adds a version.
    let again = tap(&project, "incremental", &["--execution-date", "2026-01-04T00:00:00Z", "--hours", "24"]);
    assert_eq!(
        (total(&again, "gitlab.issues", "rows_extracted"), total(&again, "gitlab.issues", "rows_loaded")),
        (13, 0)
    );
    db.src("update public.issues set note = 'changed', updated_at = now() at time zone 'UTC' where id in (2, 4, 5)")
        .await;
    let changed = tap(&project, "incremental", &[]);
    assert_eq!(total(&changed, "gitlab.issues", "rows_loaded"), 2);
    assert_equal_tables(&db, ISSUES, NEWEST).await;
    assert_eq!(number(&db, "select count(*) from gitlab.issues where id in (2, 4)").await, 4, "both versions");
    let backfill = tap(&project, "backfill", &["--execution-date", "2026-01-04T00:00:00Z", "--days", "3"]);
    assert_eq!(total(&backfill, "gitlab.issues", "rows_loaded"), 0);
    assert_eq!(total(&tap(&project, "backfill", &["issues"]), "gitlab.issues", "rows_loaded"), 0, "all history");

    for copies in 1..=2 {
        let scd = tap(&project, "scd", &[]);
        assert_eq!(total(&scd, "gitlab.plans", "rows_loaded"), 2);
        assert_eq!(number(&db, "select count(distinct _uploaded_at) from gitlab.plans").await, copies);
    }
    let plans = "select id, name, price::varchar as price from public.plans";
    let newest =
        "select id, name, price from gitlab.plans where _uploaded_at = (select max(_uploaded_at) from gitlab.plans)";
    assert_equal_tables(&db, plans, newest).await;
    let validated = tap(&project, "validate", &[]);
    let tables = validated["verify"]["tables"].as_array().expect("tables");
    assert!(tables.iter().all(|table| table["compared"] == true && table["missing"] == 0), "{validated:#}");
    let shown = project.ok(&["tap", "manifests/gitlab.yaml", "plans", "--load_type", "scd"]);
    assert!(shown.stdout.starts_with("scd of `manifests/gitlab.yaml`\n"), "{}", shown.all());
    everything_else_works(&db, &project).await;
}

/// The other verbs know no difference.
async fn everything_else_works(db: &TestDb, project: &Project) {
    let rows = "select count(*) from gitlab.issues";
    let before = number(db, rows).await;
    project.ok(&["replay", "gitlab.issues"]);
    assert_eq!(number(db, rows).await, before, "a CSV that is loaded again adds nothing");
    db.tgt("truncate gitlab.issues").await;
    project.ok(&["replay", "gitlab.issues"]);
    assert_eq!(number(db, rows).await, before, "and brings back what is lost");
    project.ok(&["rebuild", "--reset"]);
    assert_eq!(number(db, rows).await, before);
    assert_equal_tables(db, ISSUES, NEWEST).await;
    project.ok(&["verify"]);
    project.ok(&["recover", "--dry-run"]);
    project.ok(&["status"]);
    project.ok(&["run", "gitlab.*"]);
    let checked = project.dwh(&["check", "--output", "json"]).json();
    let findings = checked["findings"].as_array().expect("findings");
    let failures: Vec<&Value> = findings.iter().filter(|found| found["severity"] == "failure").collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn columns_without_a_name_are_called_as_the_source_calls_them() {
    let (db, project) = gitlab("tap_unnamed").await;
    let lists = [
        "id, CASE WHEN id > 1 THEN 'a' ELSE NULL::text END, CASE WHEN id > 1 THEN 'a' ELSE upper(name) END, \
         CASE WHEN id > 1 THEN '' ELSE name::text END, CASE WHEN id > 1 THEN 0 ELSE coalesce(price, 0)::float8 END",
        "id, (CASE WHEN id > 1 THEN 1 ELSE 0 END)::int",
    ];
    for (at, list) in lists.into_iter().enumerate() {
        let manifest = MANIFEST.replace("SELECT id, name, price::VARCHAR", &format!("SELECT {list}"));
        write(&project, &manifest.replace("export_table: plans", &format!("export_table: plans_{at}")));
        project.ok(&["migrate"]);
        tap(&project, "scd", &[]);
        db.src(&format!("create view public.named_{at} as select {list} from public.plans")).await;
        let names = |table: &str| {
            format!(
                "select string_agg(attname, ' ' order by attnum) from pg_attribute \
                 where attrelid = '{table}'::regclass and attnum > 0 and attname not like '\\_%'"
            )
        };
        let source = db.source().query_one(&names(&format!("public.named_{at}")), &[]).await.expect("names");
        let bronze = db.target().query_one(&names(&format!("gitlab.plans_{at}")), &[]).await.expect("names");
        assert_eq!(bronze.get::<_, String>(0), source.get::<_, String>(0), "{list}");
        assert_eq!(number(&db, &format!("select count(*) from gitlab.plans_{at}")).await, 2);
    }
}

#[tokio::test]
async fn the_orchestrators_name_stands_in_bronze_and_in_the_run_log() {
    let (db, project) = gitlab("tap_task_instance").await;
    let project = project.env("DWH_TASK_INSTANCE", "dag/from the environment");
    project.ok(&["run", "gitlab.*"]);
    let of_rows =
        "select count(distinct _task_instance) from gitlab.issues where _task_instance = 'dag/from the environment'";
    assert_eq!(number(&db, of_rows).await, 1);
    let runs = project.json(&["runs", "--limit", "1000"]);
    let runs = runs["runs"].as_array().expect("runs");
    assert!(runs.iter().all(|run| run["task_instance"] == "dag/from the environment"), "{runs:#?}");
    // What the command line says goes before it, of a table without the column too.
    let named = tap(&project, "scd", &["--task-instance", "dag/by hand"]);
    let run = named["runs"][0]["run_id"].as_i64().expect("a number").to_string();
    let shown = project.ok(&["runs", "show", &run]).stdout;
    assert!(shown.contains("\ntask       dag/by hand\n"), "{shown}");
    // A run that cannot begin is known by it as well.
    db.tgt("drop table gitlab.plans").await;
    project.fails(4, &["tap", "manifests/gitlab.yaml", "--load-type", "scd", "--task-instance", "dag/failed"]);
    let failed =
        "select count(*) from dwh_control.extract_runs where _task_instance = 'dag/failed' and status = 'failed'";
    assert_eq!(number(&db, failed).await, 1);
}

#[tokio::test]
async fn a_row_that_the_manual_increment_loses_is_delivered() {
    let (db, project) = gitlab("tap_late_rows").await;
    tap(&project, "incremental", &[]);
    let source = db.another_source().await;
    source
        .batch_execute("begin; insert into public.issues (id, note, project_id) values (2000, 'late', 2)")
        .await
        .expect("open");
    db.src("insert into public.issues (id, note, project_id) values (2001, 'in time', 2)").await;
    let now = || async {
        let at: String = db
            .target()
            .query_one("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')", &[])
            .await
            .expect("clock")
            .get(0);
        at
    };
    let first = now().await;
    let hour = |until: &str| tap(&project, "incremental", &["--execution-date", until, "--hours", "1"]);
    hour(&first);
    assert_eq!(number(&db, "select count(*) from gitlab.issues where id >= 2000").await, 1);
    source.batch_execute("commit").await.expect("commits");
    let second = now().await;
    hour(&second);
    // What the manual's two windows return: the second one begins where the first one ends, and the row lies before that.
    let manual = format!(
        "select count(*) from public.issues where id = 2000 and updated_at between '{first}'::timestamp and '{second}'::timestamp"
    );
    let lost: i64 = db.source().query_one(&manual, &[]).await.expect("counts").get(0);
    assert_eq!(lost, 0, "the manual's increment never sees it");
    assert_equal_tables(&db, ISSUES, NEWEST).await;
    assert_eq!(number(&db, "select count(*) from gitlab.issues where id >= 2000").await, 2, "each of them once");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let (_db, project) = gitlab("tap_mistakes").await;
    let told = |args: &[&str], code: i32, words: &str| {
        let output = project.dwh(args);
        assert_eq!(output.code, code, "{}", output.all());
        assert!(output.stderr.contains(words), "{}", output.all());
    };
    told(&["tap", "other.yaml", "--load-type", "scd"], 2, "`other.yaml` is no manifest that");
    told(&["tap", "manifests/gitlab.yaml", "isues", "--load-type", "scd"], 2, "its tables are: issues, plans");
    told(&["tap", "manifests/gitlab.yaml", "--load-type", "full"], 2, "incremental, scd, backfill");
    told(&["tap", "manifests/gitlab.yaml", "--load-type", "incremental", "--hours", "3"], 2, "--execution-date");
    let runs = project.json(&["runs"]);
    let planned = project.json(&["tap", "manifests/gitlab.yaml", "--load-type", "scd", "--dry-run"]);
    assert_eq!(project.json(&["runs"]), runs, "a dry run writes no run");
    assert_eq!((&planned["tables"], &planned["runs"]), (&serde_json::json!(["gitlab.plans"]), &serde_json::json!([])));
    told(&["reseed", "gitlab.issues", "--replace"], 2, "keeps each version of a row");
    write(&project, &MANIFEST.replace("export_schema: gitlab", "export_shema: gitlab"));
    told(&["status"], 2, "gitlab.yaml:23: tables.plans.export_shema: unknown key; did you mean `export_schema`?");
}

/// The commands of a page, block by block; those in `sh` blocks are run.
#[tokio::test]
async fn the_page_for_those_who_come_from_postgres_pipeline_is_right() {
    let (db, project) = gitlab("tap_page").await;
    let command = std::path::Path::new(env!("CARGO_BIN_EXE_dwh")).parent().expect("folder").to_owned();
    let path = format!("{}:{}", command.display(), std::env::var("PATH").unwrap_or_default());
    for page in [include_str!("../../../docs/from-postgres-pipeline.md"), include_str!("../../../docs/tap.md")] {
        let blocks: Vec<&str> = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!blocks.is_empty());
        for block in blocks {
            let mut shell = std::process::Command::new("sh");
            let done =
                shell.args(["-euc", block]).current_dir(project.folder()).env("PATH", &path).output().expect("sh");
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{block}\n{said}");
        }
    }
    assert_equal_tables(&db, ISSUES, NEWEST).await;
    assert_eq!(number(&db, "select count(*) from gitlab.issues where _task_instance = 'manual/1'").await, 24);
}

#[tokio::test]
async fn a_test_tries_rows_and_keeps_none() {
    let db = TestDb::new("tap_test").await;
    db.src(SOURCE).await;
    let more = "[[manifest]]\npath = \"manifests/*.yaml\"\nvariables = { IDS = \"(0, 2)\" }\n";
    let project = Project::new(&db, more);
    write(&project, MANIFEST);
    let tested = |report: &Value, place: usize| {
        let found = &report["tests"][place];
        (
            found["table"].as_str().expect("name").to_owned(),
            found["rows"].as_u64().expect("rows"),
            found["refused"].clone(),
        )
    };
    // Before there is a bronze table, and a control schema.
    let report = tap(&project, "test", &[]);
    assert_eq!(tested(&report, 0), ("gitlab.issues".to_owned(), 48, serde_json::json!([])));
    // The rows went through the blob store, compressed as those of a run are, and nothing of them stayed.
    assert_eq!(files(db.blobs()), Vec::<std::path::PathBuf>::new());
    let url = format!("url = \"{}\"", db.blob_url());
    let packed = project.config_with(&url, &format!("{url}\ncompression = \"zstd\""));
    write(&packed, MANIFEST);
    assert_eq!(tested(&tap(&packed, "test", &[]), 0).1, 48);
    assert_eq!(files(db.blobs()), Vec::<std::path::PathBuf>::new());
    let closed = project.config_with(&url, "url = \"file:///proc/nothing\"");
    write(&closed, MANIFEST);
    let stopped = closed.dwh(&["tap", "manifests/gitlab.yaml", "--load-type", "test"]);
    assert!(stopped.code != 0 && stopped.stderr.contains("/proc/nothing"), "{}", stopped.all());
    project.ok(&["migrate"]);
    db.tgt("alter table gitlab.plans add check (name <> 'gold')").await;
    db.src("insert into public.plans values (3, E'two\nlines', 1), (4, 'gold', 2)").await;
    let refused = project.fails(4, &["tap", "manifests/gitlab.yaml", "plans", "--load-type", "test"]);
    let (_, rows, refused_rows) = tested(&refused.json(), 0);
    assert_eq!(rows, 2);
    let keys: Vec<&str> =
        refused_rows.as_array().expect("rows").iter().filter_map(|row| row["key"]["id"].as_str()).collect();
    assert_eq!(keys, ["2", "4"], "{refused_rows}");
    assert!(!refused.stdout.contains("gold"), "no value but the key is told: {}", refused.all());
    let shown = project.dwh(&["tap", "manifests/gitlab.yaml", "--load-type", "test"]);
    assert!(shown.code == 4 && shown.stdout.contains("gitlab.plans: id=4: "), "{}", shown.all());
    // What a run would refuse before it reads a row.
    db.src("alter table public.issues alter updated_at drop not null; update public.issues set updated_at = null")
        .await;
    let unreachable = project.fails(4, &["tap", "manifests/gitlab.yaml", "issues", "--load-type", "test"]);
    assert!(unreachable.stderr.contains("`updated_at` is NULL in 48 rows;"), "{}", unreachable.all());
    assert_eq!(
        number(&db, "select (select count(*) from gitlab.plans) + (select count(*) from gitlab.issues)").await,
        0
    );
}

#[tokio::test]
async fn deletes_are_marked_in_every_version_unless_the_manifest_says_exempt() {
    let (db, project) = gitlab("tap_deletes").await;
    tap(&project, "incremental", &[]);
    let refused = project.dwh(&["tap", "manifests/gitlab.yaml", "--load-type", "deletes"]);
    assert!(refused.code == 2 && refused.stderr.contains("deletes = \"mark\""), "{}", refused.all());
    let marks = project.config_with("[[manifest]]", "[[manifest]]\ndeletes = \"mark\"\ndeletes_every = \"0\"");
    write(&marks, MANIFEST);
    marks.ok(&["migrate"]);
    // Another version of a row, which is then deleted.
    db.src("update public.issues set note = 'changed', updated_at = now() at time zone 'UTC' where id in (2, 4)").await;
    tap(&marks, "incremental", &[]);
    db.src("delete from public.issues where id in (2, 6)").await;
    let report = tap(&marks, "deletes", &[]);
    assert_eq!(report["tables"], serde_json::json!(["gitlab.issues"]), "{report:#}");
    assert_eq!(total(&report, "gitlab.issues", "rows_marked"), 3, "two versions and one: {report:#}");
    let marked = "select count(*) from gitlab.issues where _deleted_at is not null and id in (2, 6)";
    assert_eq!(number(&db, marked).await, 3);
    let unmarked =
        "select id, note, loud, gone, \"when\", project, updated_at from (select distinct on (id) * from gitlab.issues
        where _deleted_at is null order by id, _uploaded_at desc) v";
    assert_equal_tables(&db, ISSUES, unmarked).await;
    tap(&marks, "validate", &["issues"]);
    write(&marks, &MANIFEST.replacen("advanced_metadata", "deletes_exempt: \"True\"\n    advanced_metadata", 1));
    let refused = marks.dwh(&["tap", "manifests/gitlab.yaml", "--load-type", "deletes"]);
    assert_eq!(refused.code, 2, "{}", refused.all());
}
