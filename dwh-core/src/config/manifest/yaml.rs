//! A YAML file as a tree in which everything knows its line.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::{BTreeMap, BTreeSet};

/// Deeper than any manifest; a tree without an end would end the process.
const DEEPEST: usize = 16;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A text, a number or a boolean: a manifest means the same, in quotes or not.
    Text(String),
    List,
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) name: String,
}

/// What keeps a file from being read, and where.
pub(super) type Broken = (usize, String);

/// The one document of a file; `None` for an empty one.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Broken> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut tree = Tree { lines, events: Parser::new_from_str(text), anchors: BTreeMap::new() };
    loop {
        match tree.next()? {
            None | Some((Event::StreamEnd, _)) => return Ok(None),
            Some((Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _)) => {}
            Some(event) => {
                let root = tree.node(event, 0)?;
                return tree.ended().map(|()| Some(root));
            }
        }
    }
}

struct Tree<'a> {
    lines: Vec<&'a str>,
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
}

impl<'a> Tree<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Broken> {
        let event = self.events.next().transpose();
        event.map_err(|error| (error.marker().line(), format!("no YAML: {}", error.info())))
    }

    fn must(&mut self) -> Result<(Event<'a>, Span), Broken> {
        self.next()?.ok_or_else(|| (self.lines.len().max(1), "no YAML: it ends too early".to_owned()))
    }

    /// Nothing follows the document.
    fn ended(&mut self) -> Result<(), Broken> {
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::DocumentStart(_)) {
                return Err((span.start.line(), "is a second document; a manifest is one".to_owned()));
            }
        }
        Ok(())
    }

    fn node(&mut self, (event, span): (Event<'a>, Span), depth: usize) -> Result<Node, Broken> {
        let line = span.start.line();
        if depth > DEEPEST {
            return Err((line, format!("is nested more than {DEEPEST} deep")));
        }
        let (anchor, value) = match event {
            Event::Alias(of) => {
                let known = self.anchors.get(&of).cloned();
                return known.ok_or_else(|| (line, "repeats itself by an alias".to_owned()));
            }
            Event::Scalar(text, ScalarStyle::Folded, anchor, _) => {
                (anchor, Value::Text(self.unfolded(line).unwrap_or_else(|| text.into_owned())))
            }
            Event::Scalar(text, _, anchor, _) => (anchor, Value::Text(text.into_owned())),
            Event::SequenceStart(anchor, _) => {
                loop {
                    match self.must()? {
                        (Event::SequenceEnd, _) => break,
                        item => drop(self.node(item, depth + 1)?),
                    }
                }
                (anchor, Value::List)
            }
            Event::MappingStart(anchor, _) => (anchor, Value::Map(self.map(depth)?)),
            other => return Err((line, format!("no YAML: {other:?}"))),
        };
        let node = Node { line, value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, Broken> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.must()?;
            let line = span.start.line();
            let name = match event {
                Event::MappingEnd => {
                    let own: BTreeSet<String> = entries.iter().map(|(key, _)| key.name.clone()).collect();
                    entries.extend(merged.into_iter().filter(|(key, _): &(Key, Node)| !own.contains(&key.name)));
                    return Ok(entries);
                }
                Event::Scalar(name, ..) => name.into_owned(),
                _ => return Err((line, "has a key that is no word".to_owned())),
            };
            let value = self.must()?;
            let value = self.node(value, depth + 1)?;
            match value.value {
                // What another section says, unless this one says it itself.
                Value::Map(others) if name == "<<" => merged.extend(others),
                _ if name == "<<" => return Err((line, "merges what is no section".to_owned())),
                _ => entries.push((Key { line, name }, value)),
            }
        }
    }

    /// The lines of a text behind `>` as they stand in the file. YAML makes one line of them, and then a comment of SQL
    /// would not end before the query does.
    fn unfolded(&self, near: usize) -> Option<String> {
        // The place of a block is that of its `>`, or that of its first line.
        let head = [near, near.saturating_sub(1)].into_iter().filter(|line| *line > 0).find(|line| {
            let text = self.lines.get(line - 1).copied().unwrap_or_default();
            let text = text.split(" #").next().unwrap_or_default().trim_end();
            text.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')).ends_with('>')
        })?;
        let indent = |line: &str| line.len() - line.trim_start().len();
        let outer = indent(self.lines[head - 1]);
        let inside = |line: &&&str| line.trim().is_empty() || indent(line) > outer;
        let lines: Vec<&str> = self.lines[head..].iter().take_while(inside).map(|line| line.trim_end()).collect();
        Some(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(node: &Node, path: &[&str]) -> String {
        match (&node.value, path) {
            (Value::Text(text), []) => text.clone(),
            (Value::Map(entries), [first, rest @ ..]) => {
                let (_, node) = entries.iter().find(|(key, _)| key.name == *first).expect("the key");
                text(node, rest)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_comment_of_sql_ends_with_its_line_though_yaml_folds_lines() {
        let file = "tables:\n  a:\n    query: >\n      SELECT id -- the key\n      , note\n\n      FROM a\n    next: 'x'\n\
                    \x20   clipped: >-\n      b\n      c\nlast: |\n  one\n  two\n";
        let root = parse(file).expect("YAML").expect("a document");
        assert_eq!(text(&root, &["tables", "a", "query"]), "      SELECT id -- the key\n      , note\n\n      FROM a");
        assert_eq!(text(&root, &["tables", "a", "next"]), "x");
        assert_eq!(text(&root, &["tables", "a", "clipped"]), "      b\n      c");
        assert_eq!(text(&root, &["last"]), "one\ntwo\n");
    }

    #[test]
    fn lines_are_told() {
        let root = parse("\n# a\nb: 1\n\nc:\n  d: &x e\n  f: *x\n").expect("YAML").expect("a document");
        let Value::Map(entries) = &root.value else { panic!("a map") };
        assert_eq!(
            entries.iter().map(|(key, _)| (key.name.as_str(), key.line)).collect::<Vec<_>>(),
            [("b", 3), ("c", 5)]
        );
        assert_eq!(text(&root, &["c", "f"]), "e");
        assert_eq!(parse("a: [\n").expect_err("broken").0, 2);
        assert!(parse("").expect("empty").is_none());
        assert!(parse("---\na: 1\n---\nb: 2\n").is_err());
    }

    #[test]
    fn a_section_may_be_merged_into_another() {
        let root = parse("a: &a\n  x: 1\n  y: 2\nb:\n  <<: *a\n  y: 3\n").expect("YAML").expect("a document");
        assert_eq!((text(&root, &["b", "x"]), text(&root, &["b", "y"])), ("1".to_owned(), "3".to_owned()));
        let Value::Map(entries) = &root.value else { panic!("a map") };
        assert!(matches!(&entries[1].1.value, Value::Map(own) if own.len() == 2), "each key once");
        assert_eq!(parse("a: &a 1\nb:\n  <<: *a\n").expect_err("no section").0, 3);
    }
}
