use crate::command::{command, dwh, transcript};
use crate::snapshot::assert_snapshot;
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use tempfile::tempdir;

#[test]
fn usage_errors() {
    let dir = tempdir().expect("a folder");
    let lines: [(&str, &[&str]); 9] = [
        ("usage_no_command", &[]),
        ("usage_unknown_command", &["rum"]),
        ("usage_unknown_option", &["run", "--job", "2"]),
        ("usage_no_jobs", &["run", "--jobs", "0"]),
        ("usage_extract_nothing", &["extract"]),
        ("usage_load_half", &["load", "--table", "trips"]),
        ("usage_load_both", &["load", "--params", "-", "--table", "trips"]),
        ("usage_load_time", &["load", "--table", "t", "--csv-path", "p", "--run-started-at", "yesterday"]),
        ("usage_json", &["runs", "--limit", "none", "--output", "json"]),
    ];
    for (name, args) in lines {
        assert_eq!(dwh(dir.path(), args).status.code(), Some(2), "{args:?}");
        assert_snapshot(name, &transcript(dir.path(), args));
    }
}

#[test]
fn missing_configuration() {
    let dir = tempdir().expect("a folder");
    assert_snapshot("config_missing", &transcript(dir.path(), &["run"]));
    assert_snapshot("config_missing_json", &transcript(dir.path(), &["run", "--output", "json"]));
}

#[test]
fn the_flag_beats_the_environment_beats_the_default() {
    let dir = tempdir().expect("a folder");
    let stderr = |args: &[&str], config: &str| {
        let output = command(dir.path(), args).env("DWH_CONFIG", config).output().expect("dwh starts");
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(stderr(&["status"], "from-env.toml").contains("`from-env.toml`"));
    assert!(stderr(&["status", "--config", "from-flag.toml"], "from-env.toml").contains("`from-flag.toml`"));
    assert!(stderr(&["status"], "").contains("`dwh.toml`"));
}

#[test]
fn params_that_extract_never_printed() {
    let dir = tempdir().expect("a folder");
    let unknown = r#"{"table":"trips","csv_path":"x.csv","rows":3}"#;
    assert_snapshot("params_unknown_key", &transcript(dir.path(), &["load", "--params", unknown]));
    assert_snapshot("params_empty_stdin", &transcript(dir.path(), &["load", "--params", "-"]));
}

#[test]
fn json_failures_are_one_document_with_a_code() {
    let dir = tempdir().expect("a folder");
    for args in [&["run", "--output", "json"][..], &["runs", "--limit", "none", "--output=json"]] {
        let output = dwh(dir.path(), args);
        let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
        let error = &document["error"];
        assert_eq!(error["code"], "config", "{args:?}");
        assert!(!error["message"].as_str().unwrap_or_default().is_empty(), "{args:?}");
        assert!(!error["hint"].as_str().unwrap_or_default().is_empty(), "{args:?}");
    }
}

#[test]
fn all_typos_of_a_configuration_at_once() {
    let dir = tempdir().expect("a folder");
    let text = "\
[project]
name = \"fleet\"
timezone = \"Africa/Nairobbi\"

[source.main]
url = \"postgresql://reader:hunter2@db/fleet\"

[target]
url = \"postgresql://writer:hunter2@dwh/warehouse\"
bronze_scema = \"bronze\"

[blob]
url = \"file:///var/lib/dwh\"

[[table]]
name = \"trips\"
relation = \"public.trips\"
mode = \"incremental\"
watermark = \"recorded_at\"
key = [\"id\"]
windw = \"1d\"
";
    fs::write(dir.path().join("dwh.toml"), text).expect("written");
    let output = dwh(dir.path(), &["run"]);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for typo in ["Africa/Nairobbi", "bronze_scema", "windw"] {
        assert!(stderr.contains(typo), "{typo} is not told:\n{stderr}");
    }
    assert!(stderr.starts_with("dwh: ") && stderr.contains("\n\nhint: "), "{stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn colours_only_where_they_are_wanted() {
    let dir = tempdir().expect("a folder");
    let stderr = |color: &str| dwh(dir.path(), &["status", "--color", color]).stderr;
    assert!(stderr("always").contains(&0x1b));
    assert!(!stderr("auto").contains(&0x1b) && !stderr("never").contains(&0x1b));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = tempdir().expect("a folder");
    for args in [&["man"][..], &["--help"], &["config", "schema"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut child = command(dir.path(), args).stdout(writer).stderr(Stdio::piped()).spawn().expect("dwh starts");
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{args:?}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_what_waits() {
    let dir = tempdir().expect("a folder");
    // Waits for stdin, which never ends, so that only the signals can end it.
    let mut child = command(dir.path(), &["load", "--params", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("dwh starts");
    let id = child.id();
    let pid = id.to_string();
    let interrupt = || assert!(dwh_core::testing::signal("INT", &[id]));
    let listens = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask").trim().to_owned();
        u64::from_str_radix(&caught, 16).expect("hex") & (1 << 1) != 0
    };
    while !listens() {
        std::thread::yield_now();
    }
    interrupt();
    // Kept open: its end would be an answer.
    let stdin = child.stdin.take();
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    drop(stdin);
    assert!(stderr.starts_with("stopping…") && stderr.contains("dwh: the command was interrupted"), "{stderr}");
}
