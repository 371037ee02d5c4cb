//! The pages of `docs/reference/`, made from what the program itself knows. `DWH_SNAPSHOTS=write` writes them anew.

mod cli;
mod configuration;
mod errors;

use std::env;
use std::fs;
use std::path::Path;

/// A page under its name, compared with the file or written to it.
fn assert_page(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    let text =
        format!("<!-- Made by `make docs`; changes are made where the words come from. -->\n{}\n", text.trim_end());
    if env::var("DWH_SNAPSHOTS").is_ok_and(|word| word == "write") {
        fs::write(&path, text).expect("the page can be written");
        return;
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let line = there.lines().zip(text.lines()).take_while(|(a, b)| a == b).count() + 1;
    assert!(there == text, "{} differs from line {line} on; `make docs` writes it anew", path.display());
}

/// Text in a cell of a table: on one line, without bars.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[test]
fn pages_are_what_the_program_says() {
    assert_page("cli.md", &cli::page());
    assert_page("configuration.md", &configuration::page());
    assert_page("errors.md", &errors::page());
}
