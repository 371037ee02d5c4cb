//! What work there is, in units, each with the command that does it.

use serde_json::Value;

use crate::support::{Project, READABLE, number, shell, table};
use dwh_core::testing::TestDb;

const SOURCE: &str = "create table app.t (id int primary key, v text, at timestamptz not null default now());
    create index on app.t (at); create table app.s (id int primary key);
    insert into app.t select i, repeat('x', 90), '2026-03-01Z'::timestamptz + i * interval '6 hours' from generate_series(1, 40) i;
    insert into app.s select generate_series(1, 500); analyze app.t; analyze app.s";

fn unit<'a>(plan: &'a Value, kind: &str) -> &'a Value {
    let mut units = plan["units"].as_array().expect("units").iter();
    units.find(|unit| unit["kind"] == kind).unwrap_or_else(|| panic!("no {kind}: {plan:#}"))
}

fn many(unit: &Value) -> usize {
    unit["windows"].as_array().expect("windows").len()
}

/// The numbers that the planner gives are near those of the rows.
fn assert_near(unit: &Value, rows: u64) {
    let told = unit["estimated_rows"].as_u64().expect("rows");
    assert!(told.abs_diff(rows) <= rows / 3 + 2, "{told} for {rows}: {unit:#}");
    assert!(unit["estimated_bytes"].as_u64().expect("bytes") >= told);
}

#[tokio::test]
async fn units_are_told_and_each_command_does_its_own() {
    let db = TestDb::new("plan").await;
    db.src(&format!("create schema app; {READABLE} {SOURCE}")).await;
    let keyed = "watermark = \"at\"\nkey = [\"id\"]\nchunk_rows = 10";
    let tables = table("t", "app.t", "incremental", keyed) + &table("s", "app.s", "snapshot", "");
    let project = Project::new(&db, &tables);
    assert!(project.fails(4, &["plan", "t"]).all().contains("dwh migrate"));
    project.ok(&["migrate"]);

    // A first load: the windows that the run then reads.
    let report = project.json(&["plan"]);
    let [t, s] = &report["plans"].as_array().expect("plans")[..] else { panic!("{report:#}") };
    assert_eq!((&t["holder"], &unit(t, "run")["command"]), (&Value::Null, &"dwh run t".into()));
    // The last window ends with the moment at which it is asked for.
    let same = |plan: &Value| {
        (plan["extract_sql"].clone(), unit(plan, "run")["windows"].as_array().expect("windows")[..3].to_vec())
    };
    assert_eq!(same(t), same(&project.json(&["run", "--dry-run"])["plans"][0]), "the same report");
    assert_near(unit(t, "run"), 40);
    assert_near(unit(s, "run"), 500);
    let windows = many(unit(t, "run"));
    let text = project.ok(&["plan", "--output", "text"]).stdout;
    assert!(text.contains(&format!("{windows} windows")) && text.contains("the whole table"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    project.ok(&["run"]);
    let runs = "select count(*) from dwh_control.extract_runs where table_name = 't' and status = 'loaded'";
    assert_eq!(number(&db, runs).await, windows as i64);

    // A range of history: its command reads it, and reads it once.
    let range = ["plan", "t", "--from", "2026-03-03T00:00:00Z", "--to", "2026-03-06T00:00:00Z"];
    let report = project.json(&range);
    let asked = unit(&report["plans"][0], "backfill");
    assert_eq!((many(asked), &asked["done"]), (3, &0.into()), "{asked:#}");
    assert_near(asked, 12);
    let command = asked["command"].as_str().expect("a command").to_owned();
    assert!(
        command.starts_with("dwh backfill t --from 2026-03-03T00:00:00Z --to 2026-03-06T00:00:00Z --since-run "),
        "{command}"
    );
    let done = |command: &str| {
        let said = shell(project.folder(), &format!("{command} --output json 2> /dev/null"), &[]);
        serde_json::from_str::<Value>(&said).unwrap_or_else(|_| panic!("no JSON: {said}"))
    };
    assert_eq!(done(&command)["runs"].as_array().expect("runs").len(), 3);
    let again = done(&command);
    assert_eq!((&again["windows_skipped"], again["runs"].as_array().expect("runs").len()), (&3.into(), 0), "{again:#}");
    project.fails(2, &["plan", "--to", "2026-03-06T00:00:00Z"]);

    // What was cut off: a window of the back-fill cannot be loaded.
    db.tgt(
        "create function public.no() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
            create trigger no before insert on bronze.t for each row when (new.id = 15) execute function public.no()",
    )
    .await;
    let call = ["backfill", "t", "--from", "2026-03-02T00:00:00Z", "--to", "2026-03-08T00:00:00Z"];
    assert!(project.dwh(&call).all().contains("no"));
    let report = project.json(&["plan", "t"]);
    let open = unit(&report["plans"][0], "backfill");
    let (left, loaded) = (many(open), open["done"].as_u64().expect("done"));
    assert!(left > 0 && loaded > 0 && left as u64 + loaded == 6, "{open:#}");
    db.tgt("drop trigger no on bronze.t").await;
    let command = open["command"].as_str().expect("a command").to_owned();
    done(&command);
    assert!(project.json(&["plan", "t"])["plans"][0]["units"].as_array().expect("units").len() == 1);

    // Who holds a table is told, and its work all the same.
    let lock = "begin; select pg_advisory_xact_lock(hashtextextended('dwh dwh_control t', 0))";
    let holder = db.another_target().await;
    holder.batch_execute(lock).await.expect("a lease");
    let report = project.json(&["plan"]);
    assert!(report["plans"][0]["holder"]["host"].is_string() && report["plans"][1]["holder"].is_null(), "{report:#}");
    assert_eq!(unit(&report["plans"][0], "run")["kind"], "run");
}
