//! The public API, item by item, is kept in `public-api.txt`: every change of it is seen in review.
//!
//! `DWH_SNAPSHOTS=write cargo test -p dwh-core --features testing --test house` writes it anew.

use quote::ToTokens;
use std::collections::BTreeSet;
use std::path::Path;
use syn::{Fields, ImplItem, Item, TraitItem, UseTree, Visibility};

use super::tree::{Room, rooms};

#[test]
fn the_public_api_is_as_written_down() {
    let api = Api { rooms: rooms() };
    let mut lines = BTreeSet::new();
    api.module(&[], "", &mut lines);
    let now: String = lines.into_iter().map(|line| line + "\n").collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("public-api.txt");
    if std::env::var_os("DWH_SNAPSHOTS").is_some() {
        std::fs::write(&path, &now).expect("written");
    }
    let then = std::fs::read_to_string(&path).expect("public-api.txt");
    let (then, now): (BTreeSet<&str>, BTreeSet<&str>) = (then.lines().collect(), now.lines().collect());
    let gone: Vec<String> = then.difference(&now).map(|line| format!("- {line}")).collect();
    let new: Vec<String> = now.difference(&then).map(|line| format!("+ {line}")).collect();
    assert!(gone.is_empty() && new.is_empty(), "the public API changed:\n{}\n{}", gone.join("\n"), new.join("\n"));
}

struct Api {
    rooms: Vec<Room>,
}

impl Api {
    fn items(&self, module: &[String]) -> &[Item] {
        self.rooms.iter().find(|room| room.module == module).map(|room| room.ast.items.as_slice()).unwrap_or_default()
    }

    /// Everything that is public in a module, under the name that users see.
    fn module(&self, module: &[String], name: &str, lines: &mut BTreeSet<String>) {
        for item in self.items(module) {
            match item {
                Item::Mod(inner) if is_public(&inner.vis) && !for_tests(&inner.attrs) => {
                    let path = joined(module, &inner.ident.to_string());
                    self.module(&path, &format!("{name}{}::", inner.ident), lines);
                }
                Item::Use(import) if is_public(&import.vis) && !for_tests(&import.attrs) => {
                    for (path, alias) in leaves(&import.tree) {
                        self.exported(module, &path, &format!("{name}{alias}"), lines);
                    }
                }
                other => self.item(other, name, lines),
            }
        }
    }

    /// What a `pub use` shows, wherever it is defined.
    fn exported(&self, module: &[String], path: &[String], shown: &str, lines: &mut BTreeSet<String>) {
        let Some((item, home)) = self.find(module, path) else {
            lines.insert(format!("use {shown} = {}", path.join("::")));
            return;
        };
        let (prefix, _) = shown.rsplit_once("::").map_or(("", shown), |(prefix, last)| (prefix, last));
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}::") };
        match item {
            Some(item) => self.item(item, &prefix, lines),
            None => self.module(&home, &format!("{shown}::"), lines),
        }
    }

    /// The item, or the module, that a path in a module means.
    fn find(&self, module: &[String], path: &[String]) -> Option<(Option<&Item>, Vec<String>)> {
        let (mut at, rest) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (module.to_vec(), &path[1..]),
            "super" => (module[..module.len().checked_sub(1)?].to_vec(), &path[1..]),
            _ => (module.to_vec(), path),
        };
        let (last, parents) = rest.split_last()?;
        for parent in parents {
            at.push(parent.clone());
        }
        if self.rooms.iter().any(|room| room.module == joined(&at, last)) {
            return Some((None, joined(&at, last)));
        }
        for item in self.items(&at) {
            if name_of(item).as_deref() == Some(last) {
                return Some((Some(item), at));
            }
            if let Item::Use(import) = item
                && let Some((path, _)) = leaves(&import.tree).into_iter().find(|(_, alias)| alias == last)
                && path.first().is_some_and(|first| first != last)
            {
                return self.find(&at, &path);
            }
        }
        None
    }

    fn item(&self, item: &Item, name: &str, lines: &mut BTreeSet<String>) {
        match item {
            Item::Struct(it) if is_public(&it.vis) => {
                let shown = format!("{name}{}", it.ident);
                lines.insert(format!("struct {shown}"));
                fields(&it.fields, &shown, lines);
                self.methods(&it.ident.to_string(), &shown, lines);
            }
            Item::Enum(it) if is_public(&it.vis) => {
                let shown = format!("{name}{}", it.ident);
                lines.insert(format!("enum {shown}"));
                for variant in &it.variants {
                    let fields = variant.fields.to_token_stream();
                    lines.insert(format!("{shown}::{}{}", variant.ident, tidy(&without_docs(fields))));
                }
                self.methods(&it.ident.to_string(), &shown, lines);
            }
            Item::Trait(it) if is_public(&it.vis) => {
                let shown = format!("{name}{}", it.ident);
                lines.insert(format!("trait {shown}"));
                for inner in &it.items {
                    if let TraitItem::Fn(method) = inner {
                        lines.insert(format!("{shown}: {}", tidy(&method.sig.to_token_stream())));
                    }
                }
            }
            Item::Fn(it) if is_public(&it.vis) => {
                lines.insert(format!("{name}{}", tidy(&it.sig.to_token_stream())));
            }
            Item::Type(it) if is_public(&it.vis) => {
                lines.insert(format!("type {name}{} = {}", it.ident, tidy(&it.ty.to_token_stream())));
            }
            Item::Const(it) if is_public(&it.vis) => {
                lines.insert(format!("const {name}{}: {}", it.ident, tidy(&it.ty.to_token_stream())));
            }
            _ => {}
        }
    }

    /// Public functions of a type, in whatever file their `impl` stands.
    fn methods(&self, type_name: &str, shown: &str, lines: &mut BTreeSet<String>) {
        let impls = self
            .rooms
            .iter()
            .filter(|room| room.module.first().is_none_or(|top| top != "testing"))
            .flat_map(|room| &room.ast.items)
            .filter_map(|item| match item {
                Item::Impl(it) if it.trait_.is_none() && is_type(&it.self_ty, type_name) => Some(it),
                _ => None,
            });
        for inner in impls.flat_map(|it| &it.items) {
            match inner {
                ImplItem::Fn(method) if is_public(&method.vis) => {
                    lines.insert(format!("{shown}: {}", tidy(&method.sig.to_token_stream())));
                }
                ImplItem::Const(it) if is_public(&it.vis) => {
                    lines.insert(format!("{shown}: const {}: {}", it.ident, tidy(&it.ty.to_token_stream())));
                }
                _ => {}
            }
        }
    }
}

fn fields(fields: &Fields, shown: &str, lines: &mut BTreeSet<String>) {
    for (at, field) in fields.iter().enumerate().filter(|(_, field)| is_public(&field.vis)) {
        let name = field.ident.as_ref().map_or_else(|| at.to_string(), ToString::to_string);
        lines.insert(format!("{shown}.{name}: {}", tidy(&field.ty.to_token_stream())));
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Whether it is there with the feature `testing` alone.
fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("cfg"))
}

fn is_type(it: &syn::Type, name: &str) -> bool {
    matches!(it, syn::Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == name))
}

fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Struct(it) => &it.ident,
        Item::Enum(it) => &it.ident,
        Item::Trait(it) => &it.ident,
        Item::Fn(it) => &it.sig.ident,
        Item::Type(it) => &it.ident,
        Item::Const(it) => &it.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// The paths of a `use`, each with the name under which it is known afterwards.
fn leaves(tree: &UseTree) -> Vec<(Vec<String>, String)> {
    match tree {
        UseTree::Path(path) => leaves(&path.tree)
            .into_iter()
            .map(|(rest, alias)| ([vec![path.ident.to_string()], rest].concat(), alias))
            .collect(),
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(rename) => vec![(vec![rename.ident.to_string()], rename.rename.to_string())],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
        UseTree::Glob(_) => Vec::new(),
    }
}

fn joined(module: &[String], name: &str) -> Vec<String> {
    [module, &[name.to_owned()]].concat()
}

/// Comments stand in the tokens as `#[doc = "…"]`.
fn without_docs(tokens: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    use proc_macro2::TokenTree;
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(ref sign) if sign.as_char() == '#' => drop(tokens.next()),
            TokenTree::Group(group) => {
                kept.push(proc_macro2::Group::new(group.delimiter(), without_docs(group.stream())).into());
            }
            other => kept.push(other),
        }
    }
    kept.into_iter().collect()
}

/// Tokens as people write them.
fn tidy(tokens: &proc_macro2::TokenStream) -> String {
    let mut text = tokens.to_string();
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" <", "<"),
        (" > ", "> "),
        (" >", ">"),
        (" , ", ", "),
        (" ,", ","),
        ("& ", "&"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" : ", ": "),
        (" ;", ";"),
        ("' ", "'"),
        (" - > ", " -> "),
        ("- >", "->"),
    ] {
        text = text.replace(from, to);
    }
    text.replace("->", " -> ").replace("  ", " ")
}
