//! The files of `examples/` for schedulers: each is read as its scheduler reads it, and its commands are run.

use serde_json::Value;
use std::process::{Command, Stdio};

use super::night::Night;
use super::page::Section;
use crate::support::number;

async fn fleet(name: &str) -> Night {
    Night::of(Section { title: name.to_owned(), ..Section::default() }).await
}

const ROW: &str = "insert into fleet.trips values (901, 'd1', 1)";
const LOADED: &str = "select count(*) from bronze.trips where trip_id = 901";

#[tokio::test]
async fn a_crontab() {
    let night = fleet("crontab").await;
    night.db.src(ROW).await;
    let text = include_str!("../../../../examples/cron/fleet.crontab");
    let is_job = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit() || c == '*');
    let assigned = |line: &str| {
        line.split('=').next().is_some_and(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(is_job(&line) || assigned(line), "cron does not understand: {line}");
    }
    for line in text.lines().filter(is_job) {
        let fields: Vec<&str> = line.split_whitespace().take(5).collect();
        let is_time = |field: &&str| field.chars().all(|c| c.is_ascii_digit() || "*/,-".contains(c));
        assert!(fields.len() == 5 && fields.iter().all(is_time), "{line}");
        let command = line.splitn(6, char::is_whitespace).last().map(str::trim).expect("a command");
        // Cron ends a command at a percent sign, and mails what it prints.
        assert!(!command.contains('%'), "{command}");
        assert_eq!(night.shell(&format!("sh -c {}", quoted(command))), "", "{command}");
    }
    assert_eq!(number(&night.db, LOADED).await, 1);
}

/// A workflow of n8n whose connections all end at a node; `make test-n8n` executes it.
fn workflow(text: &str) -> Value {
    let workflow: Value = serde_json::from_str(text).expect("JSON");
    let nodes = workflow["nodes"].as_array().expect("nodes");
    for (from, to) in workflow["connections"].as_object().expect("connections") {
        let targets =
            to["main"].as_array().expect("outputs").iter().flat_map(|output| output.as_array().expect("output"));
        for end in targets.map(|target| target["node"].as_str().expect("node")).chain([from.as_str()]) {
            assert!(nodes.iter().any(|node| node["name"] == end), "no node `{end}`");
        }
    }
    for field in ["id", "versionId", "active"] {
        assert!(!workflow[field].is_null(), "n8n does not import what has no `{field}`");
    }
    workflow
}

/// The command of a node, with values in place of its expressions.
fn command(workflow: &Value, of: &str, values: &[(&str, &str)]) -> String {
    let nodes = workflow["nodes"].as_array().expect("nodes");
    let node = nodes.iter().find(|node| node["name"] == of).unwrap_or_else(|| panic!("no node `{of}`"));
    let text = node["parameters"]["command"].as_str().expect("command");
    let Some(text) = text.strip_prefix('=') else { return text.to_owned() };
    for line in text.lines().filter(|line| line.contains("{{")) {
        assert!(line.starts_with("{{") && line.ends_with("}}"), "a shell would read what stands there: {line}");
    }
    assert!(text.contains("<<'end'") && text.contains("\nend"), "{text}");
    values.iter().fold(text.to_owned(), |text, (expression, value)| text.replace(expression, value))
}

#[tokio::test]
async fn workflows_of_n8n() {
    let night = fleet("n8n").await;
    let extracts = workflow(include_str!("../../../../examples/n8n/dwh_extract.json"));
    let loads = workflow(include_str!("../../../../examples/n8n/dwh_load_bronze.json"));
    let table = [("{{ $json.table }}", "trips")];
    night.db.src(ROW).await;
    assert_eq!(night.shell(&command(&extracts, "Recover", &[])), "");
    // n8n takes no more than 1 MiB of a command, and the whole status of some hundred tables is more.
    let listed = night.shell(&command(&extracts, "Status", &[]));
    let tables = listed.lines().map(|line| serde_json::from_str::<Value>(&format!("{line}}}")).expect("JSON"));
    let tables: Vec<Value> = tables.collect();
    assert!(tables.contains(&serde_json::json!({"table": "trips", "mode": "incremental"})), "{listed}");
    assert!(tables.len() == 3 && listed.len() < 300, "{listed}");

    let extracted = night.shell(&command(&extracts, "Extract", &table));
    let params = [("{{ JSON.stringify($json) }}", extracted.trim())];
    let loaded = night.shell(&command(&loads, "Load", &params));
    let report: Value = serde_json::from_str(&loaded).expect("one document");
    assert_eq!((&report["status"], number(&night.db, LOADED).await), (&Value::from("loaded"), 1), "{report:#}");
    let extracted: Value = serde_json::from_str(&extracted).expect("one line");
    assert!(extracted["more"].is_null(), "{extracted:#}");

    // A run that holds the table is no error of any command.
    night.db.src("insert into fleet.trips values (902, 'd1', 1)").await;
    let reader = night.db.another_target().await;
    reader.batch_execute("begin; lock table bronze.trips").await.expect("lock");
    let mut holder = night.project.spawn(&["run", "trips"]);
    night.until(&reader, "select from pg_locks where not granted and relation = 'bronze.trips'::regclass").await;
    assert!(night.shell(&command(&extracts, "Extract", &table)).starts_with("dwh: table `trips`"));
    let held: Value =
        serde_json::from_str(night.shell(&command(&loads, "Load", &params)).lines().next().expect("JSON"))
            .expect("one document");
    assert_eq!(held["error"]["code"], "locked", "{held:#}");
    night.shell(&command(&extracts, "Run", &table));
    reader.batch_execute("rollback").await.expect("unlock");
    holder.wait().expect("the run ends");
    assert_eq!(night.shell(&command(&extracts, "Run", &table)), "");
    assert_eq!(number(&night.db, "select count(*) from bronze.trips where trip_id = 902").await, 1);
    let file = night.files("exports", "trips").join("mended.csv");
    std::fs::write(file, "trip_id,imei,distance_km,updated_at\n77,d1,12.5,2026-03-01 08:00:00+00\n")
        .expect("mended.csv");
    let params = r#"{"table":"trips","csv_path":"fleet/exports/trips/mended.csv"}"#;
    night.shell(&command(&loads, "Load a file made by hand", &[("{{ JSON.stringify($json) }}", params)]));
    assert_eq!(number(&night.db, "select count(*) from bronze.trips where trip_id = 77").await, 1);
}

/// Stands in for Airflow: prints what each task of a DAG was made with.
const AIRFLOW: &str = r#"
import json, sys, types
made = []
class Task:
    def __init__(self, **about): self.about = about; made.append(about)
class DAG:
    def __init__(self, dag_id, **about): made.append({"dag": dag_id, **{key: str(value) for key, value in about.items()}})
    def __enter__(self): return self
    def __exit__(self, *error): pass
def module(name, **names):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(names)
for name in ["airflow", "airflow.providers", "airflow.providers.standard", "airflow.providers.standard.operators"]: module(name)
module("airflow.sdk", DAG=DAG)
module("airflow.providers.standard.operators.bash", BashOperator=Task)
module("pendulum", datetime=lambda *args, tz: f"{args} {tz}")
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), {"__name__": "dag"})
print(json.dumps(made))
"#;

fn tasks(dag: &str) -> Vec<Value> {
    let path = format!("{}/../examples/airflow/{dag}", env!("CARGO_MANIFEST_DIR"));
    let output =
        Command::new("python3").args(["-c", AIRFLOW, &path]).stderr(Stdio::inherit()).output().expect("python3");
    assert!(output.status.success(), "{dag} is not read");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn a_dag_of_airflow() {
    let night = fleet("airflow").await;
    night.db.src(ROW).await;
    // `make test-airflow` runs it, and those over the package, in real Airflow.
    let bash = tasks("dwh_bash.py");
    let task = bash.iter().find(|task| task["task_id"] == "run_trips").expect("a task a table");
    assert_eq!(task["skip_on_exit_code"], 5);
    night.shell(task["bash_command"].as_str().expect("command"));
    assert_eq!(number(&night.db, LOADED).await, 1);
}

/// One word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
