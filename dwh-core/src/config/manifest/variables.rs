//! The `{NAME}`s of a query: those that say which window is read, and those that the configuration gives a value.

use std::collections::{BTreeMap, BTreeSet};

/// What the orchestrator puts in: the window. The engine cuts windows itself.
const WINDOW: [&str; 5] = ["EXECUTION_DATE", "HOURS", "DAYS", "BEGIN_TIMESTAMP", "END_TIMESTAMP"];

/// How the name of one of [`WINDOW`] begins in a filled text, where SQL takes it as a word or inside a string.
const MARK: &str = "__dwh_window_";

/// Whether a text holds a part of the window.
pub(super) fn has_window(text: &str) -> bool {
    text.contains(MARK)
}

/// The text with its variables put in, `%%` as `%`, `{{` as `{`, and the parts of the window as words of their own.
///
/// # Errors
/// What to do about a name that has no value.
pub(super) fn fill(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    filled(text, |name| value(name, variables))
}

/// The names in a text that only the configuration gives a value.
pub(super) fn unknown(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let noted = filled(text, |name| {
        if !WINDOW.contains(&name) {
            found.insert(name.to_owned());
        }
        Ok(String::new())
    });
    drop(noted);
    found
}

fn filled(text: &str, mut value: impl FnMut(&str) -> Result<String, String>) -> Result<String, String> {
    let text = text.replace("%%", "%");
    let (mut out, mut rest) = (String::new(), text.as_str());
    while let Some(at) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let doubled = after.starts_with("{{") || after.starts_with("}}");
        let name = after.strip_prefix('{').and_then(|inner| inner.split_once('}')).map(|(name, _)| name);
        rest = match name.filter(|name| !doubled && is_name(name)) {
            Some(name) => {
                out.push_str(&value(name)?);
                &after[name.len() + 2..]
            }
            None => {
                out.push_str(&after[..1]);
                &after[1 + usize::from(doubled)..]
            }
        };
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn value(name: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    if WINDOW.contains(&name) {
        return Ok(format!("{MARK}{}", name.to_ascii_lowercase()));
    }
    variables.get(name).cloned().ok_or_else(|| {
        format!("holds `{{{name}}}`, which has no value; write `variables = {{ {name} = \"…\" }}` under `[[manifest]]`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_values_and_all_other_braces_stay() {
        let variables = BTreeMap::from([("IDS".to_owned(), "(1, 2)".to_owned())]);
        let filled =
            fill("a like '%%x' and b in {IDS} and c = '{{}}' and d = '{1,2}' and e > '{HOURS} hours'", &variables);
        let filled = filled.expect("values");
        assert_eq!(
            filled,
            "a like '%x' and b in (1, 2) and c = '{}' and d = '{1,2}' and e > '__dwh_window_hours hours'"
        );
        assert!(has_window(&filled) && !has_window("'{}'"));
        assert!(fill("x in {OTHER}", &variables).expect_err("no value").contains("`{OTHER}`"));
        assert_eq!(fill("}{", &variables).expect("as it is"), "}{");
    }
}
