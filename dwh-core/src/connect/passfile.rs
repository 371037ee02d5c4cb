//! `.pgpass`: passwords beside the configuration, private to their owner.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

/// Whom a password is wanted for.
pub(super) struct Login<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The password of the first line that matches.
///
/// # Errors
/// `Config` if the file cannot be read, or if a line matches and others than the owner may read the file.
pub(super) fn password(path: &Path, login: &Login<'_>) -> Result<Option<Secret>> {
    let fail = |what: &str| Error::new(ErrorKind::Config, format!("passfile `{}` {what}", path.display()));
    let mode = fs::metadata(path).map_err(|error| fail("cannot be read").with_source(error))?.permissions().mode();
    let text = Secret::new(fs::read_to_string(path).map_err(|error| fail("cannot be read").with_source(error))?);
    let Some(found) = text.expose().lines().find_map(|line| matches(line, login)) else { return Ok(None) };
    if mode & 0o077 != 0 {
        return Err(fail(&format!("may be read by others than its owner (mode {:04o})", mode & 0o7777))
            .with_hint(format!("chmod 600 {}", path.display())));
    }
    Ok(Some(found))
}

/// The password of a line `host:port:database:user:password`, if the line is for this login.
fn matches(line: &str, login: &Login<'_>) -> Option<Secret> {
    if line.starts_with('#') {
        return None;
    }
    let mut rest = line;
    let port = login.port.to_string();
    for wanted in [login.host, &port, login.database, login.user] {
        let (field, after) = field(rest);
        if field.literal != wanted && !field.any {
            return None;
        }
        rest = after?;
    }
    Some(Secret::new(field(rest).0.literal))
}

struct Field {
    literal: String,
    /// Whether it is a bare `*`.
    any: bool,
}

/// The first field and what follows its colon.
fn field(text: &str) -> (Field, Option<&str>) {
    let mut literal = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => literal.extend(chars.next().map(|(_, c)| c)),
            ':' => {
                end = at;
                break;
            }
            c => literal.push(c),
        }
    }
    (Field { any: &text[..end] == "*", literal }, text.get(end + 1..))
}

#[cfg(test)]
mod tests {
    use super::{Login, matches};

    #[test]
    fn a_line_matches_as_in_libpq() {
        let login = Login { host: "db:1", port: 5433, database: "x", user: "u" };
        for (line, password) in [
            (r"db\:1:5433:x:u:secret", Some("secret")),
            ("*:*:*:*:secret", Some("secret")),
            (r"*:*:*:*:a\:b\\c", Some(r"a:b\c")),
            ("*:*:*:*:", Some("")),
            (r"\*:*:*:*:secret", None),
            ("# *:*:*:*:secret", None),
            ("*:5432:*:*:secret", None),
            ("*:*:X:*:secret", None),
            ("*:*:x:v:secret", None),
            ("*:*:*", None),
            ("", None),
        ] {
            let found = matches(line, &login);
            assert_eq!(found.as_ref().map(|secret| secret.expose()), password, "{line}");
        }
    }
}
