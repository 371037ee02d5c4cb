use crate::command::{dwh, transcript};
use crate::snapshot::assert_snapshot;
use std::process::Command;
use tempfile::tempdir;

/// Every command line that does something; `every_command_is_listed` keeps it complete.
const COMMANDS: [&str; 41] = [
    "init",
    "setup",
    "user add",
    "user remove",
    "check",
    "migrate",
    "design pull",
    "design diff",
    "run",
    "plan",
    "extract",
    "load",
    "status",
    "alert",
    "report",
    "runs",
    "runs show",
    "verify",
    "backfill",
    "reseed",
    "resync",
    "deletes",
    "tap",
    "recover",
    "replay",
    "rebuild",
    "prune",
    "maintain",
    "export",
    "files list",
    "files validate",
    "files reprocess",
    "files archive",
    "files restore",
    "models run",
    "models list",
    "models dbt-sources",
    "schedule",
    "config schema",
    "completions",
    "man",
];

fn stdout(args: &[&str]) -> String {
    let dir = tempdir().expect("a folder");
    let output = dwh(dir.path(), args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn help_of_every_command() {
    let dir = tempdir().expect("a folder");
    for line in ["", "config"].iter().chain(&COMMANDS) {
        let args: Vec<&str> = line.split_whitespace().chain(["--help"]).collect();
        let name = format!("help {line}").trim().replace(' ', "_");
        assert_snapshot(&name, &transcript(dir.path(), &args));
    }
}

#[test]
fn every_command_is_listed_explained_and_shown_by_example() {
    let top = stdout(&["--help"]);
    let listed: Vec<&str> = top
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    let mut known: Vec<&str> = COMMANDS.iter().filter_map(|line| line.split(' ').next()).collect();
    known.dedup();
    assert_eq!(listed, known);
    for line in COMMANDS {
        let args: Vec<&str> = line.split(' ').chain(["--help"]).collect();
        let help = stdout(&args);
        assert!(help.contains("Examples:\n  dwh "), "{line}: no examples");
        assert!(help.lines().nth(2).is_some_and(|third| !third.starts_with("Usage:")), "{line}: no longer help");
    }
}

#[test]
fn exit_codes_are_in_the_help() {
    let help = stdout(&["--help"]);
    let codes = help.split_once("Exit codes:").expect("the heading").1;
    for kind in dwh_core::ErrorKind::ALL {
        assert!(codes.contains(&format!("\n  {}  ", kind.row().exit_code)), "{kind:?}");
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&["completions", shell]).contains("dwh"), "{shell}");
        assert_eq!(completed(shell, &["mig"]), ["migrate"], "{shell}");
        assert_eq!(completed(shell, &["load", "--accept-u"]), ["--accept-unverified"], "{shell}");
    }
}

#[test]
fn completions_know_the_tables_and_ask_no_server() {
    let folder = tempdir().expect("folder");
    let config = folder.path().join("dwh.toml");
    let table = |name: &str| format!("[[table]]\nname = \"{name}\"\nrelation = \"f.{name}\"\nmode = \"snapshot\"\n");
    let text = "[project]\nname = \"p\"\n[source.main]\nurl = \"postgresql://u@192.0.2.1/d\"\n[target]\n\
                url = \"postgresql://u@192.0.2.1/d\"\n[blob]\nurl = \"file:///b\"\n";
    std::fs::write(&config, text.to_owned() + &table("trips") + &table("trip_stops") + &table("devices"))
        .expect("written");
    let config = config.to_str().expect("a path");
    for shell in ["bash", "zsh", "fish"] {
        assert_eq!(completed(shell, &["--config", config, "run", "trip"]), ["trips", "trip_stops"], "{shell}");
        assert_eq!(completed(shell, &["--config", config, "backfill", "dev"]), ["devices"], "{shell}");
        assert_eq!(completed(shell, &["--config", config, "runs", "--table", "trips"]), ["trips"], "{shell}");
        assert!(completed(shell, &["--config", "nowhere.toml", "run", "trip"]).is_empty(), "{shell}");
    }
}

/// What the shell is offered for the last of these words.
fn completed(shell: &str, words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_dwh"))
        .args([&["--", "dwh"], words].concat())
        .env("COMPLETE", shell)
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .env("_CLAP_IFS", "\n")
        .output()
        .expect("dwh");
    let text = String::from_utf8(output.stdout).expect("text");
    // Some shells get a description beside the word.
    let word = |line: &str| line.split(['\t', ':']).next().unwrap_or_default().trim().to_owned();
    text.lines().map(word).filter(|word| !word.is_empty()).collect()
}

#[test]
fn man_page_has_a_section_for_every_command() {
    let page = stdout(&["man"]);
    assert!(page.contains("Exit codes"), "no exit codes");
    for line in COMMANDS {
        assert!(page.contains(&format!(".SH \"DWH {}\"", line.to_uppercase())), "{line}");
    }
}
