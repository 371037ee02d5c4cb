//! The arrows between the modules: each may know those before it, and none after it.

use super::tree::{Room, rooms};

/// The floors from the lowest to the highest; in a floor, too, a module may know only those before it.
const FLOORS: [(&str, &[&str]); 6] = [
    ("nouns", &["error", "run", "watermark", "schema", "identity", "raw_file", "chain"]),
    ("text", &["dialect", "geometry", "config", "plan"]),
    (
        "ends",
        &[
            "peer", "retry", "connect", "catalog", "disk", "source", "blob", "spool", "files", "record", "control",
            "migrate", "sink",
        ],
    ),
    ("arrow", &["pipeline"]),
    ("operate", &["operate"]),
    ("testing", &["testing"]),
];

fn rank(module: &str) -> usize {
    let mut all = FLOORS.iter().flat_map(|(_, modules)| modules.iter());
    all.position(|known| *known == module).unwrap_or_else(|| panic!("module `{module}` is on no floor"))
}

#[test]
fn no_arrow_points_up() {
    let rooms = rooms();
    let top: Vec<&str> = rooms.iter().filter_map(|room| room.module.first().map(String::as_str)).collect();
    let mut wrong = Vec::new();
    for room in rooms.iter().filter(|room| !room.module.is_empty()) {
        let own = rank(&room.module[0]);
        for path in room.paths() {
            // What begins with no module is an item of `lib.rs`, such as `crate::Result`.
            let Some(other) = path.first().filter(|name| top.contains(&name.as_str())) else { continue };
            if rank(other) > own {
                wrong.push(format!("{} knows {}", room.file, path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_drivers_stay_in_their_rooms() {
    let postgres: &[&str] = &[
        "source",
        "sink",
        "connect",
        "control",
        "catalog",
        "migrate",
        "operate/access",
        "operate/check",
        "operate/maintain",
        "operate/models",
        "operate/verify",
        "testing",
    ];
    let drivers: [(&str, &[&str]); 3] =
        [("s3", &["blob/s3", "testing"]), ("deadpool_postgres", &["sink"]), ("tokio_postgres", postgres)];
    for room in rooms() {
        for (driver, allowed) in drivers {
            // `blob.rs` has a module of its own that is called `s3`.
            let own = room.ast.items.iter().any(|item| matches!(item, syn::Item::Mod(it) if it.ident == driver));
            let uses = !own && room.ast.items.iter().any(|item| uses_crate(item, driver));
            assert!(!uses || allowed.iter().any(|folder| room.file.starts_with(folder)), "{} uses {driver}", room.file);
        }
    }
}

fn uses_crate(item: &syn::Item, name: &str) -> bool {
    match item {
        syn::Item::Use(item) => match &item.tree {
            syn::UseTree::Path(path) => path.ident == name,
            syn::UseTree::Name(path) => path.ident == name,
            _ => false,
        },
        _ => false,
    }
}

#[test]
fn files_are_small() {
    let long: Vec<String> = rooms().iter().filter_map(too_long).collect();
    assert!(long.is_empty(), "more than 500 lines hold two ideas: {}", long.join(", "));
}

fn too_long(room: &Room) -> Option<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(&room.file);
    let lines = std::fs::read_to_string(path).expect("text").lines().count();
    (lines > 500).then(|| format!("{} ({lines})", room.file))
}
