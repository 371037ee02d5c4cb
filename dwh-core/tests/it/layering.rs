//! The arrows between the modules: left may not know right. Reads the `crate::` paths of every source file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Modules of one line may know each other, and those of the lines above; never those below.
const LAYERS: &[&[&str]] = &[
    &["error", "run", "watermark", "schema", "identity", "chain"],
    &["dialect", "geometry", "config"],
    &["plan"],
    &["source", "blob", "sink", "control", "migrate", "spool", "retry", "connect", "catalog", "disk"],
    &["pipeline"],
    &["operate"],
    &["testing"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a file names as `crate::module`, comments and tests left out.
fn named(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
        .collect()
}

#[test]
fn no_arrow_points_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        if relative == "lib.rs" || relative.ends_with("tests.rs") {
            continue;
        }
        let own = relative.split(['/', '.']).next().expect("a name").to_owned();
        let own_layer = layer(&own).unwrap_or_else(|| panic!("module `{own}` has no layer"));
        for other in named(&fs::read_to_string(&file).expect("text")) {
            if layer(&other).is_some_and(|layer| layer > own_layer) {
                wrong.push(format!("{relative} knows {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_drivers_stay_in_their_rooms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let rooms: &[(&str, &[&str])] = &[
        ("s3::", &["blob/s3", "testing"]),
        ("deadpool_postgres", &["sink"]),
        (
            "tokio_postgres",
            &[
                "source",
                "sink",
                "connect",
                "control",
                "catalog",
                "migrate",
                "operate/check",
                "operate/verify",
                "testing",
            ],
        ),
    ];
    for file in files {
        let relative = file.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).expect("text");
        for (driver, allowed) in rooms {
            let uses = text.lines().any(|line| line.trim_start().starts_with(&format!("use {driver}")));
            assert!(!uses || allowed.iter().any(|room| relative.starts_with(room)), "{relative} uses {driver}");
        }
    }
}
