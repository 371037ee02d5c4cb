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

fn program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(path.parent().expect("folder")).expect("folder");
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("program");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("program");
}

/// Python writes versions in its own way, and a wheel is found by the name that it gets there.
#[test]
fn a_version_before_a_release_has_a_wheel() {
    for (version, python) in [
        ("1.2.3", "1.2.3"),
        ("1.2.3-rc.1", "1.2.3rc1"),
        ("1.2.3-alpha.10", "1.2.3a10"),
        ("1.2.3-beta2", "1.2.3b2"),
        ("1.2.3-dev.0", "1.2.3.dev0"),
    ] {
        let folder = repository(version);
        // as maturin does it; what looks into the wheel is content
        let name = format!("dwh-{python}-cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl");
        let made = format!(
            "while [ $# -gt 1 ]; do shift; done; mkdir -p dwh; echo > dwh/_dwh.abi3.so; python3 -m zipfile -c \"$1/{name}\" dwh"
        );
        program(&folder.path().join(".venv/bin/maturin"), &made);
        program(&folder.path().join(".venv/release/bin/readelf"), "echo GLIBC_2.17");
        program(&folder.path().join(".venv/release/bin/twine"), "echo \"twine $@\"");
        let output = run(folder.path(), "scripts/release.sh", &["wheel", "x86_64-unknown-linux-gnu"]);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains(&name), "{version}: {output:?}");
    }
}

/// Before minutes go into builds.
#[test]
fn a_version_that_python_cannot_say_is_refused_at_once() {
    for arguments in [&[][..], &["--draft"], &["wheel", "x86_64-unknown-linux-gnu"]] {
        for version in ["1.2.3-next", "1.2.3-rc", "1.2.3+build.1"] {
            let folder = repository(version);
            let output = run(folder.path(), "scripts/release.sh", arguments);
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(told.contains(&format!("`{version}`")) && told.contains("1.2.3-rc.1"), "{told}");
            assert!(!folder.path().join("target").exists(), "something was built");
        }
    }
}
