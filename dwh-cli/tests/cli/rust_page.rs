//! `docs/rust.md`: its programs are those that tests run, and its Cargo lines are true.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Where the programs of the page stand: other tests run all of them.
const PROGRAMS: [&str; 6] = [
    "examples/custom_sink.rs",
    "examples/custom_source.rs",
    "examples/custom_store.rs",
    "examples/embed.rs",
    "examples/first_run.rs",
    "dwh-core/tests/it/examples.rs",
];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}\n");
    page.split(&start).skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

#[test]
fn its_programs_are_those_that_tests_run() {
    let programs = PROGRAMS.map(read);
    let page = read("docs/rust.md");
    let found = blocks(&page, "rust");
    for block in &found {
        assert!(programs.iter().any(|program| program.contains(block)), "in none of {PROGRAMS:?}:\n{block}");
    }
    assert!(found.len() >= 8, "only {} blocks were seen", found.len());
    assert_eq!(page.matches("\n```").count(), 2 * (found.len() + blocks(&page, "toml").len()), "another language");
}

#[test]
fn its_cargo_lines_are_true() {
    let page = read("docs/rust.md");
    let root: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let core: toml::Table = read("dwh-core/Cargo.toml").parse().expect("TOML");
    let version = root["workspace"]["package"]["version"].as_str().expect("a version");
    let features: BTreeSet<&str> = core["features"].as_table().expect("features").keys().map(String::as_str).collect();
    let mut seen = 0;
    for block in blocks(&page, "toml") {
        let manifest: toml::Table = block.parse().expect("TOML");
        for section in manifest.values().filter_map(|section| section.get("dwh-core")) {
            seen += 1;
            for named in section.get("features").and_then(toml::Value::as_array).into_iter().flatten() {
                assert!(features.contains(named.as_str().expect("a name")), "{named}");
            }
            let said = section.get("version").and_then(toml::Value::as_str);
            assert!(said.is_none_or(|said| said == version), "{section}");
        }
    }
    assert_eq!(seen, 3);
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let told: BTreeSet<&str> = rows.filter(|name| name.starts_with(char::is_lowercase)).collect();
    assert_eq!(told, features, "the table of features");
}
