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

#[tokio::test]
async fn a_workflow_of_n8n() {
    let night = fleet("n8n").await;
    night.db.src(ROW).await;
    let workflow: Value = serde_json::from_str(include_str!("../../../../examples/n8n/dwh_fleet.json")).expect("JSON");
    let nodes = workflow["nodes"].as_array().expect("nodes");
    let name = |node: &Value| node["name"].as_str().expect("name").to_owned();
    for (from, to) in workflow["connections"].as_object().expect("connections") {
        let targets =
            to["main"].as_array().expect("outputs").iter().flat_map(|output| output.as_array().expect("output"));
        for end in targets.map(|target| target["node"].as_str().expect("node")).chain([from.as_str()]) {
            assert!(nodes.iter().any(|node| name(node) == end), "no node `{end}`");
        }
    }
    let command = |of: &str| {
        let node = nodes.iter().find(|node| name(node) == of).expect("node");
        node["parameters"]["command"]
            .as_str()
            .and_then(|text| text.strip_prefix('='))
            .expect("an expression")
            .to_owned()
    };
    let extracted = night.shell(&command("Extract").replace("{{ $json.table }}", "trips"));
    let loaded = night.shell(&command("Load").replace("{{ $json.stdout }}", extracted.trim()));
    let report: Value = serde_json::from_str(&loaded).expect("one document");
    assert_eq!((&report["status"], number(&night.db, LOADED).await), (&Value::from("loaded"), 1), "{report:#}");
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
