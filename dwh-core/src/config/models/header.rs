//! The first comment block of a model: lines such as `-- kind: view`.

use super::ModelKind;
use crate::config::problems::{Problems, did_you_mean};

const KEYS: [&str; 4] = ["kind", "key", "index", "after"];

/// What it says.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) kind: ModelKind,
    pub(super) key: Vec<String>,
    pub(super) indexes: Vec<String>,
    /// Schema and name of each; `None` without such a line.
    pub(super) after: Option<Vec<(String, String)>>,
}

/// Reads the block; what is wrong is reported. Lines that begin with no small word and a colon are words for people.
pub(super) fn header(text: &str, problems: &Problems<'_>) -> Header {
    let mut header = Header::default();
    let mut told = false;
    let lines = text.lines().enumerate().skip_while(|(_, line)| line.trim().is_empty());
    for (at, line) in lines.map_while(|(at, line)| Some((at + 1, line.trim().strip_prefix("--")?.trim()))) {
        let Some((word, value)) = line.split_once(':').filter(|(word, value)| is_key(word, value)) else { continue };
        told |= word == "key" || word == "index";
        if let Err(message) = header.set(word, value.trim()) {
            problems.add(at, word, &message);
        }
    }
    if told && header.kind == ModelKind::View {
        problems.add(
            1,
            "kind",
            "a view has no key and no index: leave them out, or write `-- kind: materialized view`",
        );
    }
    header
}

/// `word: …`, and not `https://…`.
fn is_key(word: &str, value: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(|b| b.is_ascii_lowercase())
        && (value.is_empty() || value.starts_with(char::is_whitespace))
}

impl Header {
    fn set(&mut self, word: &str, value: &str) -> Result<(), String> {
        match word {
            "kind" => self.kind = kind(value)?,
            "key" => self.key = names(value)?,
            "index" if value.is_empty() => return Err("is empty; write columns, such as `a, b`".to_owned()),
            "index" => self.indexes.push(value.to_owned()),
            "after" => {
                let models = self.after.get_or_insert_default();
                for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                    let (schema, name) = name.split_once('.').ok_or_else(|| {
                        format!("`{}` is no model; write schema and name, `other.model`", name.escape_debug())
                    })?;
                    models.push((unquoted(schema), unquoted(name)));
                }
            }
            other => {
                let near = did_you_mean(other, KEYS);
                return Err(format!(
                    "unknown key{near}; the keys are {}, and words for people begin with a capital letter",
                    KEYS.map(|key| format!("`{key}`")).join(", ")
                ));
            }
        }
        Ok(())
    }
}

fn kind(value: &str) -> Result<ModelKind, String> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let words = words.join(" ").to_lowercase();
    ModelKind::ALL.into_iter().find(|kind| kind.as_str() == words).ok_or_else(|| {
        let near = did_you_mean(&words, ModelKind::ALL.map(ModelKind::as_str));
        format!("`{}` is not allowed, write `table`, `view` or `materialized view`{near}", value.escape_debug())
    })
}

/// Names of columns, as the catalog spells them.
fn names(value: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = value.split(',').map(|name| unquoted(name.trim())).collect();
    let wrong = names.iter().any(|name| name.is_empty() || name.len() > 63);
    if wrong { Err("must be names of columns, such as `a, b`".to_owned()) } else { Ok(names) }
}

fn unquoted(name: &str) -> String {
    let inner = name.trim().strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
    inner.map_or_else(|| name.trim().to_owned(), |inner| inner.replace("\"\"", "\""))
}
