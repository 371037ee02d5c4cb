use crate::command::{dwh, transcript};
use crate::snapshot::assert_snapshot;
use std::fs;
use std::path::Path;
use tempfile::tempdir;

const CONFIG: &str = "\
[project]
name = \"fleet\"
timezone = \"Africa/Nairobi\"
[source.main]
url = \"postgresql://reader@db/fleet\"
[target]
url = \"postgresql://writer@dwh/warehouse\"
[blob]
url = \"file:///var/lib/dwh\"
";

#[test]
fn ready_to_paste() {
    let dir = tempdir().expect("a folder");
    fs::write(dir.path().join("dwh.toml"), CONFIG).expect("written");
    let bin = Path::new(env!("CARGO_BIN_EXE_dwh")).canonicalize().expect("built");
    for (name, args) in [
        ("schedule_cron", &["schedule", "cron"][..]),
        ("schedule_cron_hours", &["schedule", "cron", "--hours", "5-23"]),
        ("schedule_systemd", &["schedule", "systemd", "--hours", "5-23"]),
        ("schedule_json", &["schedule", "cron", "--output", "json"]),
        ("schedule_no_hours", &["schedule", "cron", "--hours", "5-24"]),
    ] {
        assert_snapshot(name, &transcript(dir.path(), args).replace(&*bin.to_string_lossy(), "[BIN]"));
    }
}

#[test]
fn relative_paths_become_absolute() {
    let dir = tempdir().expect("a folder");
    fs::create_dir(dir.path().join("etc")).expect("folder");
    fs::write(dir.path().join("etc/dwh.toml"), CONFIG).expect("written");
    let output = dwh(dir.path(), &["schedule", "cron", "--config", "etc/dwh.toml"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains(&format!("--config {}/etc/dwh.toml ", dir.path().display())), "{text}");
}
