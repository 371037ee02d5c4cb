//! The files that hold passwords are private.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::about::About;
use super::words::Word;
use crate::config::Config;
use crate::operate::shell::quoted;

/// Looks at `.env` and at the configuration itself. A password file that is open to others is refused by the connection.
pub(super) fn check(config: &Config, about: &mut About<'_>) {
    let env = config.path.parent().unwrap_or(Path::new("")).join(".env");
    let with_password = fs::read_to_string(&config.path).is_ok_and(|text| text.lines().any(has_password));
    let mut open: Vec<PathBuf> = Vec::new();
    open.extend(is_open(&env).then_some(env));
    open.extend((with_password && is_open(&config.path)).then(|| config.path.clone()));
    if open.is_empty() {
        about.ok(Word::Secrets, "no file with passwords is open to others");
        return;
    }
    let list: Vec<String> = open.iter().map(|path| format!("`{}`", path.display())).collect();
    let chmod: Vec<String> = open.iter().map(|path| quoted(&path.display().to_string())).collect();
    about.warn(
        Word::Secrets,
        format!("{} may be read by other users of this machine", list.join(", ")),
        format!("chmod 600 {}", chmod.join(" ")),
    );
}

fn is_open(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

/// Whether a line holds a password itself, in a URL or a `key=value` string, and no variable in its place.
fn has_password(line: &str) -> bool {
    let line = line.trim_start();
    if line.starts_with('#') {
        return false;
    }
    let in_url = line.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).and_then(|(user, _)| {
        // A variable holds the whole, whatever follows a colon in its default.
        if user.starts_with("${") { None } else { user.split_once(':').map(|(_, password)| password) }
    });
    let in_pairs = line.split_once("password=").map(|(_, rest)| rest);
    let given = in_url.or(in_pairs).map(|password| password.trim_start_matches(['\'', '"']));
    given.is_some_and(|password| !password.is_empty() && !password.starts_with("${"))
}

#[cfg(test)]
mod tests {
    use super::{has_password, quoted};

    #[test]
    fn passwords_are_told_from_variables() {
        for (line, held) in [
            (r#"url = "postgresql://me:secret@host/db""#, true),
            (r#"url = "host=h user=u password=secret""#, true),
            (r#"url = "postgresql://host/db?user=me&password=secret""#, true),
            (r#"url = "${DWH_SOURCE_URL}""#, false),
            (r#"url = "postgresql://me:${PASSWORD}@host/db""#, false),
            (r#"url = "host=h user=u password='${PASSWORD}' dbname=d""#, false),
            (r#"url = "host=h user=u password='it is' dbname=d""#, true),
            (r#"url = "postgresql://me@host:5432/db""#, false),
            (r#"# url = "postgresql://me:secret@host/db""#, false),
            (r#"url = "s3://bucket/prefix""#, false),
        ] {
            assert_eq!(has_password(line), held, "{line}");
        }
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
