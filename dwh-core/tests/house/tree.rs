//! Reads every source file of the library, whole: code of tests and macros included, comments left out.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file.
pub struct Room {
    /// Its path below `src/`.
    pub file: String,
    /// The module that it holds; empty for `lib.rs`.
    pub module: Vec<String>,
    /// What it says.
    pub ast: syn::File,
    tokens: TokenStream,
}

/// Every source file, by its path.
pub fn rooms() -> Vec<Room> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    files.iter().map(|path| Room::read(&root, path)).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

impl Room {
    fn read(root: &Path, path: &Path) -> Self {
        let file = path.strip_prefix(root).expect("below src").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("text");
        let module = file.trim_end_matches(".rs").split('/').filter(|part| *part != "lib").map(str::to_owned).collect();
        let ast = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let tokens = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        Self { file, module, ast, tokens }
    }

    /// Every path of the crate that the file names, as far as it is written out: `crate::a::b`, `super::c`, `use` trees.
    pub fn paths(&self) -> BTreeSet<Vec<String>> {
        let mut found = BTreeSet::new();
        walk(&self.tokens, &mut found);
        found.into_iter().filter_map(|path| self.absolute(&path)).collect()
    }

    /// The path from the root of the crate; `None` for what does not begin in it.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut at = self.module.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
                at.extend_from_slice(rest);
                return Some(at);
            }
            _ => return None,
        }
        at.extend_from_slice(&rest[1..]);
        Some(at)
    }
}

/// Collects paths, with the trees of `use` laid out.
fn walk(tokens: &TokenStream, found: &mut BTreeSet<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(word) if word == "crate" || word == "super" || word == "self" => {
                at = follow(&tokens, at, Vec::new(), found);
            }
            TokenTree::Group(group) => {
                walk(&group.stream(), found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Follows `a::b::{c, d::e}` from its first word on; returns where it ends.
fn follow(tokens: &[TokenTree], mut at: usize, mut path: Vec<String>, found: &mut BTreeSet<Vec<String>>) -> usize {
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(word)) => path.push(word.to_string()),
            Some(TokenTree::Group(group)) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut start = 0;
                while start < inner.len() {
                    start = follow(&inner, start, path.clone(), found);
                    while start < inner.len() && !is(inner.get(start), ',') {
                        start += 1;
                    }
                    start += 1;
                }
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if is(tokens.get(at), ':') && is(tokens.get(at + 1), ':') {
            at += 2;
        } else {
            break;
        }
    }
    found.insert(path);
    at
}

fn is(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}
