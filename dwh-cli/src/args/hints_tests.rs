//! Every `dwh …` command that a hint or a remedy names is one that the parser takes.

use super::Cli;
use clap::Parser;
use clap::error::ErrorKind;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        // The title of the man page is no command.
        .filter(|path| !path.ends_with("man.rs"))
        .filter(|path| !path.to_string_lossy().contains("tests") && !path.to_string_lossy().contains("testing"))
        .collect()
}

/// Code without comments and without the tests at the end, each text that goes on in the next line joined.
fn said(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("text");
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut joined = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        match joined.strip_suffix('\\').map(str::len) {
            Some(length) => {
                joined.truncate(length);
                joined.push_str(line.trim_start());
            }
            None => {
                joined.push('\n');
                joined.push_str(line);
            }
        }
    }
    joined
}

/// The commands between marks, with a value in the place of each name that is put in.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for mark in ['`', '"'] {
        let begin = format!("{mark}dwh ");
        for (at, _) in text.match_indices(&begin) {
            let rest = &text[at + 1..];
            let end = rest.find(mark).unwrap_or(rest.len());
            let command = &rest[..end];
            // More than a command: a text that speaks of one, in marks of its own where it names it.
            if !command.contains(['`', '"', '\n', '…', ';', '(', ',', ':']) {
                found.push(command.to_owned());
            }
        }
    }
    found
}

/// The words to parse; none where not even the verb is spelled out.
fn filled(command: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    for word in command.split_whitespace() {
        let word = word.trim_matches(['[', ']', '\\']);
        let known = word.split('{').next().unwrap_or_default();
        let placeholder = known.is_empty() || known.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
        if placeholder && words.len() < 2 {
            return None;
        }
        let time = words.last().is_some_and(|before| before == "--from" || before == "--to");
        words.push(match (placeholder, time) {
            (true, true) => "2026-10-01T00:00:00Z".to_owned(),
            (true, false) => "1".to_owned(),
            _ => known.to_owned(),
        });
    }
    Some(words)
}

#[test]
fn every_command_that_is_named_can_be_typed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    let mut wrong = Vec::new();
    for path in sources(&root.join("../dwh-core/src")).into_iter().chain(sources(&root.join("src/cmd"))) {
        for command in commands(&said(&path)) {
            let Some(words) = filled(&command) else { continue };
            seen += 1;
            // A verb alone stands for all that can be done with it.
            if let Err(error) = Cli::try_parse_from(words)
                && error.use_stderr()
                && error.kind() != ErrorKind::MissingRequiredArgument
            {
                wrong.push(format!(
                    "{}: {command}: {}",
                    path.display(),
                    error.to_string().lines().next().unwrap_or("")
                ));
            }
        }
    }
    assert!(seen > 60, "{seen} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
