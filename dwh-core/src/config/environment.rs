//! Variables: those of the process, and those of a `.env` file, which never override them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// The two halves of an access key for S3.
const KEY: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

/// The token that a key for a while was issued with.
const TOKEN: &str = "AWS_SESSION_TOKEN";

/// The variables that a configuration may use. Values never print.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    /// The same with those of the `.env` file in `folder`, if there is one; existing variables win.
    ///
    /// # Errors
    /// `Config` if the file is there and cannot be read.
    pub fn with_dotenv(self, folder: &Path) -> Result<Self> {
        let path = folder.join(".env");
        if !path.exists() {
            return Ok(self);
        }
        // The parser's own error quotes the line, which may hold a password: only its place in the tree is told.
        let fail = || {
            Error::new(ErrorKind::Config, format!("`{}` cannot be read", path.display()))
                .with_hint("each line must be NAME=value; put values with blanks or `#` in single quotes")
        };
        let closed = |error: &dotenvy::Error| matches!(error, dotenvy::Error::Io(why) if why.kind() == std::io::ErrorKind::PermissionDenied);
        let pairs = dotenvy::from_path_iter(&path).map_err(|error| match closed(&error) {
            true => Error::new(ErrorKind::Config, format!("`{}` may not be read by this user", path.display()))
                .with_hint(
                    "let the user who runs dwh own it (chown, chmod 600), or set its variables in the environment",
                ),
            false => fail(),
        })?;
        let mut file = Self::default();
        for pair in pairs {
            let (name, value) = pair.map_err(|_| fail())?;
            file.0.insert(name, value);
        }
        Ok(self.over(file))
    }

    /// These variables, and those of another place that are not among them.
    ///
    /// The session token of an access key for S3 stays with the key: where one of the two places has the whole key, the
    /// token of the other one is not taken with it.
    #[must_use]
    pub fn over(mut self, below: Self) -> Self {
        let whole = |place: &Self| KEY.iter().all(|name| place.get(name).is_some());
        if whole(&self) {
            self.0.entry(TOKEN.to_owned()).or_default();
        } else if whole(&below) && !KEY.iter().any(|name| self.0.contains_key(*name)) {
            self.0.remove(TOKEN);
        }
        for (name, value) in below.0 {
            self.0.entry(name).or_insert(value);
        }
        self
    }

    /// The same with one more variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The variable, if it is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The text with `${NAME}` and `${NAME:-default}` replaced, and `$${` as `${`; the error never holds a value.
    pub(super) fn fill(&self, text: &str) -> std::result::Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let (inner, after) =
                after.split_once('}').ok_or("`${` has no `}`; write `$${` for the characters themselves")?;
            let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err("`${…}` holds no name of a variable; write `$${` for the characters themselves".to_owned());
            }
            let value = self.get(name).or(default);
            out.push_str(value.ok_or_else(|| {
                format!("variable `{name}` is not set; set it in the environment or in `.env` beside the file")
            })?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Environment, KEY, TOKEN};

    /// The key and the token of the variables that stand in the first place, over those of the second.
    fn found(above: &[(&str, &str)], below: &[(&str, &str)]) -> [String; 3] {
        let of = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Environment>();
        let found = of(above).over(of(below));
        // a file beside the configuration is a place like others
        let folder = tempfile::tempdir().expect("folder");
        let lines: String = below.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();
        std::fs::write(folder.path().join(".env"), lines).expect("written");
        assert_eq!(of(above).with_dotenv(folder.path()).expect("read"), found);
        [KEY[0], KEY[1], TOKEN].map(|name| found.get(name).unwrap_or_default().to_owned())
    }

    #[test]
    fn a_session_token_stays_with_its_key() {
        let [id, secret] = KEY;
        let key = |n: &'static str| [(id, n), (secret, n)];
        let with = |n: &'static str| [(id, n), (secret, n), (TOKEN, n)];
        assert_eq!(found(&key("1"), &with("2")), ["1", "1", ""], "a token of another key");
        assert_eq!(found(&[(TOKEN, "1")], &key("2")), ["2", "2", ""], "one that was left behind");
        assert_eq!(found(&[(TOKEN, "1")], &with("2")), ["2", "2", "2"]);
        assert_eq!(found(&with("1"), &with("2")), ["1", "1", "1"]);
        assert_eq!(found(&[], &with("2")), ["2", "2", "2"]);
        // One place may hold what is no secret, the other one the rest.
        assert_eq!(found(&[(id, "1")], &[(secret, "1"), (TOKEN, "1")]), ["1", "1", "1"]);
        assert_eq!(found(&[(id, "1"), (TOKEN, "1")], &[(secret, "1")]), ["1", "1", "1"]);
    }

    #[test]
    fn a_third_place_is_no_other() {
        let of = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Environment>();
        let key = of(&[(KEY[0], "1"), (KEY[1], "1")]);
        assert_eq!(key.over(of(&[])).over(of(&[(TOKEN, "3")])).get(TOKEN), None);
    }
}
