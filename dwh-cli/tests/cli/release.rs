//! `scripts/release.sh` says no before it builds anything, and finds the notes of a version.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const CHANGES: &str = "# Changes\n\n## [Unreleased]\n\n## [1.2.30] - 2026-11-02\n\n### Fixed\n- The one.\n\n## [1.2.3] - 2026-11-01\n- The other.\n";

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).current_dir(folder).output().expect(program)
}

fn git(folder: &Path, arguments: &[&str]) {
    let who = ["-c", "user.name=test", "-c", "user.email=test@example.org"];
    let output = run(folder, "git", &[&who[..], arguments].concat());
    assert!(output.status.success(), "{output:?}");
}

/// A repository with the script, where all is committed.
fn repository(version: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::create_dir(folder.path().join("scripts")).expect("folder");
    fs::copy(root.join("scripts/release.sh"), folder.path().join("scripts/release.sh")).expect("script");
    fs::write(folder.path().join("Cargo.toml"), format!("[workspace.package]\nversion = \"{version}\"\n"))
        .expect("file");
    fs::write(folder.path().join("CHANGELOG.md"), CHANGES).expect("file");
    git(folder.path(), &["init", "-q"]);
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-q", "-m", "All"]);
    folder
}

#[test]
fn notes_are_those_of_the_version() {
    for (version, notes) in [("1.2.3", "- The other.\n"), ("1.2.30", "### Fixed\n- The one.\n\n")] {
        let folder = repository(version);
        let output = run(folder.path(), "scripts/release.sh", &["notes"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), notes.trim_end(), "{output:?}");
    }
}

#[test]
fn a_version_without_notes_and_a_tree_with_changes_are_refused() {
    let folder = repository("2.0.0");
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = run(folder.path(), "scripts/release.sh", arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
        assert!(!folder.path().join("target").exists(), "something was built");
    };
    refused(&[], &["no notes for `2.0.0`", "## [2.0.0] - "]);
    refused(&["--draft"], &["no notes for `Unreleased`"]);
    fs::write(folder.path().join("Cargo.toml"), "[workspace.package]\nversion = \"1.2.3\"\n").expect("file");
    refused(&[], &["not committed", "M Cargo.toml"]);
}
