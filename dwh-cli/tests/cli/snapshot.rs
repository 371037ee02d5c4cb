//! Texts that are compared with a file. `DWH_SNAPSHOTS=write` writes the files anew: read the difference before you commit.

use std::path::Path;

/// Asserts that `actual` is what `tests/snapshots/NAME.txt` says.
#[track_caller]
pub fn assert_snapshot(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    if std::env::var("DWH_SNAPSHOTS").is_ok_and(|word| word == "write") {
        std::fs::write(&path, actual).expect("the snapshot can be written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs (- expected, + actual); `DWH_SNAPSHOTS=write` accepts it\n{}",
        path.display(),
        difference(&expected, actual)
    );
}

/// The lines between the common start and the common end.
fn difference(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let mark = |sign: char, lines: &[&str]| lines.iter().map(|line| format!("{sign} {line}\n")).collect::<String>();
    format!(
        "from line {}:\n{}{}",
        start + 1,
        mark('-', &old_rest[..old_rest.len() - end]),
        mark('+', &new_rest[..new_rest.len() - end])
    )
}
