//! No two files know each other, directly or around a corner: what both need gets a file of its own.
//!
//! A module and those inside it belong together: they may know each other.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Room, rooms};

#[test]
fn no_circle_of_files() {
    // The trait's file and its module in `sink/`, `source/` and `blob/` are one room with several windows.
    let rooms: Vec<Room> = rooms().into_iter().filter(|room| !room.file.ends_with("tests.rs")).collect();
    let known: BTreeSet<&[String]> = rooms.iter().map(|room| room.module.as_slice()).collect();
    let mut knows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for room in &rooms {
        for path in room.paths() {
            // The longest beginning that is a file; the root is everybody's.
            let Some(length) = (1..=path.len()).rev().find(|length| known.contains(&path[..*length])) else { continue };
            let other = &path[..length];
            if !other.starts_with(&room.module) && !room.module.starts_with(other) {
                knows.entry(room.module.join("::")).or_default().insert(other.join("::"));
            }
        }
    }
    let circles = circles(&knows);
    assert!(circles.is_empty(), "files that know each other:\n{}", circles.join("\n"));
}

/// Groups of files that reach each other.
fn circles(knows: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = knows.keys().map(|from| (from, reached(from, knows))).collect();
    let mut groups: BTreeSet<Vec<&String>> = BTreeSet::new();
    for (from, reached) in &reach {
        let group: Vec<&String> =
            reached.iter().copied().filter(|to| reach.get(to).is_some_and(|back| back.contains(from))).collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    groups.iter().map(|group| group.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" <-> ")).collect()
}

fn reached<'a>(from: &'a String, knows: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next = vec![from];
    while let Some(at) = next.pop() {
        for to in knows.get(at).into_iter().flatten() {
            if found.insert(to) {
                next.push(to);
            }
        }
    }
    found
}
