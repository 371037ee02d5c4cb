//! The `{NAME}`s of a query: those that say which window is read, and those that the configuration gives a value.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer, Whitespace};
use std::collections::{BTreeMap, BTreeSet};

/// What the orchestrator puts in: the window. The engine cuts windows itself.
const WINDOW: [&str; 5] = ["EXECUTION_DATE", "HOURS", "DAYS", "BEGIN_TIMESTAMP", "END_TIMESTAMP"];

/// How the name of one of [`WINDOW`] begins in a filled text, where SQL takes it as a word or inside a string.
const MARK: &str = "__dwh_window_";

/// Whether a text holds a part of the window.
pub(super) fn has_window(text: &str) -> bool {
    text.contains(MARK)
}

/// The text with the parts of the window as a manifest writes them.
pub(super) fn as_written(text: &str) -> String {
    WINDOW.iter().fold(text.to_owned(), |text, name| {
        text.replace(&format!("{MARK}{}", name.to_ascii_lowercase()), &format!("{{{name}}}"))
    })
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
    let text = without_comments(text).replace("%%", "%");
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

/// The text without its comments, in which a brace means nothing; as it is if it is no SQL.
fn without_comments(text: &str) -> String {
    let mut out = String::new();
    for (token, piece) in pieces(text).unwrap_or_default() {
        out.push_str(match token {
            Token::Whitespace(Whitespace::SingleLineComment { .. }) => "\n",
            Token::Whitespace(Whitespace::MultiLineComment(_)) => " ",
            _ => piece,
        });
    }
    if out.is_empty() { text.to_owned() } else { out }
}

/// The tokens of a text, each with the piece of the text that it is: what a token is printed as may mean something else.
///
/// # Errors
/// What keeps it from being SQL.
pub(crate) fn pieces(text: &str) -> Result<Vec<(Token, &str)>, String> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| error.to_string())?;
    let lines: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let offset = |place: &Location| {
        let line = lines[usize::try_from(place.line).unwrap_or(1).clamp(1, lines.len()) - 1];
        let column = usize::try_from(place.column).unwrap_or(1).saturating_sub(1);
        text[line..].char_indices().nth(column).map_or(text.len(), |(at, _)| line + at)
    };
    let starts: Vec<usize> = tokens.iter().map(|token| offset(&token.span.start)).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let pieces: Vec<&str> = starts.iter().zip(ends).map(|(start, end)| &text[*start..end.max(*start)]).collect();
    Ok(tokens.into_iter().map(|token| token.token).zip(pieces).collect())
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
        let text = "a -- {OTHER} isn't\n /* {OTHER} */ = 'it''s -- {IDS}' and e = E'x\\'' || $$ it's {{ $$ and \"--\"";
        let filled = fill(text, &variables).expect("values");
        assert_eq!(filled, "a \n\n   = 'it''s -- (1, 2)' and e = E'x\\'' || $$ it's { $$ and \"--\"");
    }
}
