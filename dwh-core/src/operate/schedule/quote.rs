//! Paths and names as crontabs and units want them. Pure.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::operate::shell::quoted;

/// A path inside a line of a crontab: quoted for the shell, and `%`, which ends the command, with a backslash.
pub(super) fn cron(path: &Path) -> Result<String> {
    let text = line(path)?;
    // cron takes the backslash away again, within quotes too.
    Ok(quoted(text).replace('%', r"\%"))
}

/// A path in `ExecStart`.
pub(super) fn systemd(path: &Path) -> Result<String> {
    let text = line(path)?.replace('%', "%%").replace('$', "$$");
    let plain = !text.contains([' ', '"', '\'', '\\', ';']);
    Ok(if plain { text } else { format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"")) })
}

/// A part of the name of a unit.
pub(super) fn unit_name(text: &str) -> String {
    text.replace(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'), "_")
}

/// Text on one line.
pub(super) fn comment(text: &str) -> String {
    text.replace(char::is_control, "_")
}

fn line(path: &Path) -> Result<&str> {
    path.to_str().filter(|text| !text.contains(char::is_control)).ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("{path:?} holds characters that no scheduler can hold"))
            .with_hint("move it to a folder with a plain name")
    })
}

#[cfg(test)]
mod tests {
    use super::{cron, systemd};
    use std::path::Path;

    #[test]
    fn paths_stay_one_word() {
        let cases = [
            ("/usr/bin/dwh", "/usr/bin/dwh", "/usr/bin/dwh"),
            ("/a b/c", "'/a b/c'", "\"/a b/c\""),
            ("/50%/x", r"/50\%/x", "/50%%/x"),
            ("/it's/$HOME", r"'/it'\''s/$HOME'", "\"/it's/$$HOME\""),
        ];
        for (path, in_cron, in_unit) in cases {
            assert_eq!(cron(Path::new(path)).expect("plain"), in_cron);
            assert_eq!(systemd(Path::new(path)).expect("plain"), in_unit);
        }
        assert!(cron(Path::new("/a\nb")).is_err());
    }
}
