//! What goes into the packages of crates.io. `make crates` builds them and installs the command from them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a package, as cargo would pack them.
fn listed(name: &str) -> BTreeSet<String> {
    let arguments = ["package", "--list", "--offline", "--allow-dirty", "-p", name];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The files that a source file is compiled with, besides modules.
fn included(source: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(source).unwrap_or_default();
    let names = text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let folder = source.parent().expect("a folder");
    names.map(|name| folder.join(name).canonicalize().expect("an included file")).collect()
}

#[test]
fn they_have_all_that_they_are_compiled_with() {
    for name in ["dwh-core", "dwh-cli"] {
        let packed = listed(name);
        let folder = root().join(name).canonicalize().expect("a crate");
        let sources = files(&folder.join("src"));
        let inside = |path: &Path| path.strip_prefix(&folder).expect("inside").display().to_string();
        let mut wanted: Vec<String> = sources.iter().map(|path| inside(path)).collect();
        wanted.extend(["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md"].map(str::to_owned));
        // SQL lies at the top of the repository, and in the crate by a link.
        let top = root().join("migrations").canonicalize().expect("migrations");
        for path in sources.iter().flat_map(|source| included(source)) {
            let migration = path.strip_prefix(&top).map(|file| format!("migrations/{}", file.display()));
            wanted.push(migration.unwrap_or_else(|_| inside(&path)));
        }
        let missing: Vec<&String> = wanted.iter().filter(|file| !packed.contains(*file)).collect();
        assert!(missing.is_empty(), "{name} would be packed without {missing:?}");
        let migrations = packed.iter().filter(|file| file.starts_with("migrations/")).count();
        let expected = if name == "dwh-core" { files(&top).len() } else { 0 };
        assert_eq!(migrations, expected, "{packed:?}");
        assert!(!packed.iter().any(|file| file.starts_with("tests/")), "{packed:?}");
    }
}
