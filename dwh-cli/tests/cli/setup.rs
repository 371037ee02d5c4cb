//! `scripts/setup.sh` on a fresh machine, whose own updates hold apt's locks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Takes the place of apt-get: says `$WORDS` and fails as often as the file `left` says, then notes what it was asked.
const APT_GET: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
left=$(cat left)
if [ "$left" -gt 0 ]; then
  echo $((left - 1)) > left
  echo "$WORDS" >&2
  exit 100
fi
echo "$@" >> asked
"#;

const SUDO: &str = "#!/bin/sh\nshift\nexec \"$@\"\n";

fn script(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, text).expect("script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
}

/// Installs two packages in two steps with an apt-get that fails `times` times, saying `words`.
fn install(folder: &Path, times: u32, words: &str) -> Output {
    script(folder, "apt-get", APT_GET);
    script(folder, "sudo", SUDO);
    fs::write(folder.join("left"), times.to_string()).expect("written");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    Command::new("bash")
        .args(["-c", "set -euo pipefail; . scripts/apt.sh; apt_pause=0; apt one; apt two"])
        .current_dir(root)
        .envs([("PATH", path.as_str()), ("WORDS", words)])
        .output()
        .expect("bash")
}

#[test]
fn a_lock_of_apt_is_waited_for() {
    for lock in ["lists/lock", "../cache/apt/archives/lock", "../dpkg/lock-frontend"] {
        let folder = tempfile::tempdir().expect("folder");
        let words = format!("E: Could not get lock /var/lib/apt/{lock}. It is held by process 7 (apt-get)");
        let output = install(folder.path(), 4, &words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.matches("another process is installing").count() == 1, "{told}");
        let asked = fs::read_to_string(folder.path().join("asked")).expect("asked");
        let asked: Vec<&str> = asked.lines().map(|line| line.rsplit(' ').next().unwrap_or_default()).collect();
        assert_eq!(asked, ["update", "one", "two"]);
    }
}

#[test]
fn what_else_goes_wrong_is_told_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let output = install(folder.path(), 1, "E: Unable to locate package one");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("Unable to locate package"), "{told}");
    assert!(!folder.path().join("asked").exists());
}
