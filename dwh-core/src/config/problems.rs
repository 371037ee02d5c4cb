//! All that is wrong with a file, at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// The problems of one file, gathered while it is read.
pub(super) struct Problems<'a> {
    path: &'a Path,
    /// Offset of the first byte of each line.
    starts: Vec<usize>,
    /// Line and text; `RefCell` so that every section can hold the list while the next one is read.
    found: RefCell<Vec<(usize, String)>>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(path: &'a Path, text: &str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path, starts, found: RefCell::default() }
    }

    /// The line, from 1, of a byte offset.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1)
    }

    /// Where the line of a byte offset starts.
    pub(super) fn line_start(&self, offset: usize) -> usize {
        self.starts[self.line(offset) - 1]
    }

    /// One more problem. `message` must not hold the value of a key that may be secret.
    pub(super) fn add(&self, line: usize, key: &str, message: &str) {
        self.found.borrow_mut().push((line, format!("{}:{line}: {key}: {message}", self.path.display())));
    }

    /// The folder of the file.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Takes over those of another file, which this one names in `line`.
    pub(super) fn absorb(&self, line: usize, other: Problems<'_>) {
        let mut theirs = other.found.into_inner();
        theirs.sort_by_key(|(line, _)| *line);
        self.found.borrow_mut().extend(theirs.into_iter().map(|(_, text)| (line, text)));
    }

    /// Nothing if there are none, otherwise one error that lists them in the order of the file.
    pub(super) fn into_result(self) -> Result<()> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return Ok(());
        }
        found.sort_by_key(|(line, _)| *line);
        // What a source says for all of its tables is wrong once.
        let mut told = BTreeSet::new();
        found.retain(|problem| told.insert(problem.clone()));
        let many = if found.len() == 1 { "problem" } else { "problems" };
        let lines: String = found.iter().map(|(_, text)| format!("\n  {text}")).collect();
        Err(Error::new(ErrorKind::Config, format!("`{}`: {} {many}{lines}", self.path.display(), found.len()))
            .with_hint("correct the lines that are named; `dwh config schema` prints every key with its meaning"))
    }
}

/// `` ; did you mean `…`? `` for the nearest of `known`, or nothing when none is near.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let limit = (word.chars().count() / 3).clamp(2, 3);
    known
        .into_iter()
        .map(|other| (distance(word, other), other))
        .filter(|(far, _)| *far <= limit)
        .min()
        .map_or_else(String::new, |(_, other)| format!("; did you mean `{other}`?"))
}

/// Names that a hint lists.
const NAMED: usize = 10;

/// What tables there are, for one who named none of them: the nearest, or those that contain the word, or the first ones.
pub(super) fn these(word: &str, names: &[&str]) -> String {
    let bare = word.trim_matches('*');
    // A relation is `schema.table`; a table has its name from the last part.
    let last = bare.rsplit('.').next().unwrap_or(bare);
    for word in [word, last] {
        if let Some(near) = did_you_mean(word, names.iter().copied()).strip_prefix("; ") {
            return near.to_owned();
        }
    }
    let alike: Vec<&str> = names.iter().copied().filter(|name| !last.is_empty() && name.contains(last)).collect();
    let (told, listed) =
        if alike.is_empty() { ("the tables there are", names) } else { ("did you mean one of these", &alike[..]) };
    let more = listed.len().saturating_sub(NAMED);
    let first = listed.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    format!(
        "{told}: {first}{}",
        if more > 0 { format!(" and {more} more; `dwh status | less` shows all") } else { String::new() }
    )
}

/// How many letters must be put in, taken out or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
