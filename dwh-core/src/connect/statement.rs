//! Statements as they are told in a log: read from the messages that go to the server, without a value, and with how long
//! the answer took.

use std::collections::{HashMap, VecDeque};
use std::iter::Peekable;
use std::str::Chars;
use std::time::Instant;

/// What stands for a value.
const VALUE: char = '…';

/// The statements of one connection.
#[derive(Debug)]
pub(super) struct Statements {
    /// Whose server it is, as errors say it.
    end: String,
    /// By the name that the driver gave them.
    prepared: HashMap<Vec<u8>, String>,
    /// What is executed in the round that is being sent.
    bound: Vec<String>,
    /// What is only prepared in it.
    parsed: Option<String>,
    /// Rounds without their answer, each in one text.
    open: VecDeque<Asked>,
    /// A `COPY FROM STDIN`, whose answer is that of the round behind its rows.
    takes_rows: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    text: String,
    at: Instant,
}

impl Statements {
    /// Those of a connection to this end.
    pub(super) fn of(end: &str) -> Self {
        let (prepared, bound, open) = Default::default();
        Self { end: end.to_owned(), prepared, bound, parsed: None, open, takes_rows: None }
    }

    /// Whether the body of a message of this type is looked at.
    pub(super) const fn reads(kind: u8) -> bool {
        matches!(kind, b'Q' | b'P' | b'B' | b'C')
    }

    /// This message went to the server. Parameters are in the part of a body that is not looked at.
    pub(super) fn sent(&mut self, kind: u8, body: &[u8]) {
        let mut texts = body.split(|byte| *byte == 0);
        let mut next = || texts.next().unwrap_or_default();
        match kind {
            b'Q' => self.ask(without_values(&String::from_utf8_lossy(next()))),
            b'P' => {
                let (name, sql) = (next(), without_values(&String::from_utf8_lossy(next())));
                self.prepared.insert(name.to_vec(), sql.clone());
                self.parsed = Some(sql);
            }
            b'B' => {
                let (_portal, name) = (next(), next());
                self.bound.push(self.prepared.get(name).cloned().unwrap_or_default());
            }
            // The first byte: a statement, or a portal.
            b'C' => {
                if let Some(name) = next().strip_prefix(b"S") {
                    self.prepared.remove(name);
                }
            }
            b'S' => {
                let (bound, parsed) = (std::mem::take(&mut self.bound), self.parsed.take());
                let prepared = || parsed.map(|sql| format!("prepare: {sql}")).unwrap_or_default();
                self.ask(if bound.is_empty() { prepared() } else { bound.join("; ") });
            }
            _ => {}
        }
    }

    fn ask(&mut self, text: String) {
        self.open.push_back(Asked { text, at: Instant::now() });
    }

    /// The server takes rows now, and answers when it has them all.
    pub(super) fn takes_rows(&mut self) {
        self.takes_rows = self.open.pop_front();
    }

    /// The server has answered a round.
    pub(super) fn answered(&mut self) {
        let round = self.open.pop_front();
        if let Some(asked) = self.takes_rows.take().or(round).filter(|asked| !asked.text.is_empty()) {
            tracing::debug!(took = %asked.took(), "{}: {}", self.end, asked.text);
        }
    }
}

impl Drop for Statements {
    fn drop(&mut self) {
        for asked in
            self.takes_rows.take().into_iter().chain(self.open.drain(..)).filter(|asked| !asked.text.is_empty())
        {
            tracing::debug!(unanswered_after = %asked.took(), "{}: {}", self.end, asked.text);
        }
    }
}

impl Asked {
    fn took(&self) -> String {
        format!("{:.1} ms", self.at.elapsed().as_secs_f64() * 1000.0)
    }
}

/// A statement in one line, without its comments, and with `…` in place of each literal: text, bits, numbers, and what
/// stands between dollars. A literal that does not end reaches as far as the statement does.
fn without_values(sql: &str) -> String {
    let mut text = String::new();
    let mut rest = sql.chars().peekable();
    // Whether a backslash is one in the literal that comes next, or in one that goes on in the next line.
    let mut escapes = false;
    while let Some(char) = rest.next() {
        let mut next_escapes = false;
        match char {
            '\'' => {
                skip_quoted(&mut rest, '\'', escapes, |_| {});
                next_escapes = escapes;
                push_value(&mut text, '\'');
            }
            '"' => {
                text.push('"');
                skip_quoted(&mut rest, '"', false, |char| text.push(char));
                text.push('"');
            }
            '-' if rest.next_if_eq(&'-').is_some() => {
                while rest.next_if(|char| *char != '\n').is_some() {}
                next_escapes = escapes;
            }
            '/' if rest.next_if_eq(&'*').is_some() => {
                skip_comment(&mut rest);
                next_escapes = escapes;
                push_space(&mut text);
            }
            '$' => match rest.peek() {
                Some(digit) if digit.is_ascii_digit() => text.push('$'),
                _ => {
                    skip_between_dollars(&mut rest);
                    push_value(&mut text, '$');
                }
            },
            digit if digit.is_ascii_digit() && text.ends_with('$') => {
                text.push(digit);
                while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    text.push(digit);
                }
            }
            digit if digit.is_ascii_digit() => {
                while rest.next_if(|char| char.is_alphanumeric() || matches!(char, '.' | '_')).is_some() {}
                push_value(&mut text, ' ');
            }
            letter if letter.is_alphabetic() || letter == '_' => {
                text.push(letter);
                let mut alone = true;
                while let Some(more) = rest.next_if(|char| char.is_alphanumeric() || matches!(char, '_' | '$')) {
                    text.push(more);
                    alone = false;
                }
                next_escapes = alone && matches!(letter, 'e' | 'E');
            }
            space if space.is_whitespace() => {
                next_escapes = escapes;
                push_space(&mut text);
            }
            other => text.push(other),
        }
        escapes = next_escapes;
    }
    in_short(text.trim_end())
}

/// With all settings of a transaction in one: each begins with the same thirty.
fn in_short(sql: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in sql.split("; ") {
        let part = if part.starts_with("set local ") { "set local …" } else { part };
        if parts.last() != Some(&part) || !part.starts_with("set local ") {
            parts.push(part);
        }
    }
    parts.join("; ")
}

fn push_space(text: &mut String) {
    if !text.is_empty() && !text.ends_with(' ') {
        text.push(' ');
    }
}

/// With the quotes that it had, so that a text and a number are told apart.
fn push_value(text: &mut String, quote: char) {
    match quote {
        ' ' => text.push(VALUE),
        quote => text.extend([quote, VALUE, quote]),
    }
}

/// To the quote that ends it; a doubled one is part of it.
fn skip_quoted(rest: &mut Peekable<Chars<'_>>, quote: char, escapes: bool, mut each: impl FnMut(char)) {
    while let Some(char) = rest.next() {
        match char {
            '\\' if escapes => drop(rest.next()),
            char if char == quote => {
                if rest.next_if_eq(&quote).is_none() {
                    return;
                }
                each(quote);
                each(quote);
            }
            char => each(char),
        }
    }
}

/// To the end of a comment, which may hold others.
fn skip_comment(rest: &mut Peekable<Chars<'_>>) {
    let mut depth = 1;
    while let Some(char) = rest.next().filter(|_| depth > 0) {
        match char {
            '*' if rest.next_if_eq(&'/').is_some() => depth -= 1,
            '/' if rest.next_if_eq(&'*').is_some() => depth += 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// From behind the first dollar to the same tag again.
fn skip_between_dollars(rest: &mut Peekable<Chars<'_>>) {
    let mut tag = String::from("$");
    while let Some(char) = rest.next_if(|char| char.is_alphanumeric() || *char == '_') {
        tag.push(char);
    }
    if rest.next_if_eq(&'$').is_none() {
        return;
    }
    tag.push('$');
    let mut passed = String::new();
    for char in rest.by_ref() {
        passed.push(char);
        if passed.ends_with(&tag) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::without_values;

    #[test]
    fn no_value_is_left_in_a_statement() {
        for (sql, told) in [
            (
                "select a.\"My 1\", t2.x\n  from t2 where id > $1 and k = $12",
                "select a.\"My 1\", t2.x from t2 where id > $1 and k = $12",
            ),
            ("alter role \"r\" password 'SCRAM-SHA-256$4096:secret'", "alter role \"r\" password '…'"),
            ("select 4711.5, -1e10, 0x1F, 1_000", "select …, -…, …, …"),
            ("select 'it''s secret', next", "select '…', next"),
            (r"select e'a\'secret', 'b\', visible", r"select e'…', '…', visible"),
            ("select E'a'\n  'b\\'secret', x", "select E'…' '…', x"),
            ("do $$ begin secret; end $$; select 1", "do $…$; select …"),
            ("do $a$ $$ secret $b$ $a$ language sql", "do $…$ language sql"),
            ("select 1 -- secret 'x\n, b /* secret /* ' */ secret */ from t", "select … , b from t"),
            ("select \"a\"\"b 'secret\" from t", "select \"a\"\"b 'secret\" from t"),
            ("select 'secret that does not end", "select '…'"),
            ("select U&'secret', b'0101', n'secret'", "select U&'…', b'…', n'…'"),
            ("begin; set local a = 'b'; set local c = off; select 1", "begin; set local …; select …"),
            ("select a->>'secret', b::numeric(10, 2)", "select a->>'…', b::numeric(…, …)"),
        ] {
            assert_eq!(without_values(sql), told, "{sql}");
        }
    }
}
