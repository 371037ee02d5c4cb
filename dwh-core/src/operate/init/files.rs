//! The three files of a new project: all of them, or none.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::InitRequest;
use crate::config::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::operate::shell::quoted;

/// Where the files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    /// `dwh.toml`.
    pub config: PathBuf,
    /// `.env` beside it.
    pub env: PathBuf,
    /// `grants.sql` beside it.
    pub grants: PathBuf,
    /// Whether `.env` is there already and stays as it is.
    pub keeps_env: bool,
}

impl Files {
    pub(super) fn beside(config: &Path) -> Self {
        Self {
            config: config.to_owned(),
            env: config.with_file_name(".env"),
            grants: config.with_file_name("grants.sql"),
            keeps_env: false,
        }
    }

    /// The same, leaving `.env` alone if it has just these values: whoever wrote the addresses there need not give them.
    pub(super) fn knowing(self, values: &[(&str, &str)]) -> Self {
        let folder = self.env.parent().unwrap_or(Path::new(""));
        let nothing: Environment = std::iter::empty::<(String, String)>().collect();
        let known = nothing.with_dotenv(folder).ok();
        let same = |(name, value): &(&str, &str)| known.as_ref().is_some_and(|known| known.get(name) == Some(*value));
        Self { keeps_env: self.env.exists() && values.iter().all(same), ..self }
    }

    fn all(&self) -> Vec<&Path> {
        let env = (!self.keeps_env).then_some(self.env.as_path());
        [Some(self.config.as_path()), env, Some(self.grants.as_path())].into_iter().flatten().collect()
    }

    /// What is written, in the order in which people read it.
    pub(super) fn written(&self) -> Vec<PathBuf> {
        self.all().into_iter().map(Path::to_owned).collect()
    }

    /// Refuses if any of them is there.
    pub(super) fn refuse_existing(&self, request: &InitRequest) -> Result<()> {
        // A link that leads nowhere is there as well.
        let there: Vec<String> = self
            .all()
            .iter()
            .filter(|path| path.symlink_metadata().is_ok())
            .map(|path| format!("`{}`", path.display()))
            .collect();
        if there.is_empty() {
            return Ok(());
        }
        let is = if there.len() == 1 { "is" } else { "are" };
        Err(Error::new(
            ErrorKind::Config,
            format!("{} {is} there already, and nothing was written", there.join(" and ")),
        )
        .with_hint(format!(
            "{}move it away, name another folder with `--output-file`, or look only, with `--dry-run`",
            self.adding(request)
        )))
    }

    /// How to add to the configuration that is there, where it may be one that `init` made of databases.
    fn adding(&self, request: &InitRequest) -> String {
        if request.files.is_some() || request.manifests.is_some() || !self.config.is_file() {
            return String::new();
        }
        let place = match self.config.to_string_lossy() {
            path if path == "dwh.toml" => String::new(),
            path => format!(" --output-file {}", quoted(&path)),
        };
        format!(
            "`dwh init --update{place}` adds the tables that are new at its sources, `dwh init --add NAME{place}` one more source; or "
        )
    }

    /// Writes all three, `.env` for its owner only. What was written is removed when a later one fails.
    pub(super) fn write(&self, config: &str, env: &str, grants: &str) -> Result<()> {
        let mut written: Vec<&Path> = Vec::new();
        let texts = [(&self.env, env, true), (&self.grants, grants, false), (&self.config, config, false)];
        for (path, text, private) in texts.into_iter().skip(usize::from(self.keeps_env)) {
            if let Err(error) = create(path, text, private) {
                written.iter().for_each(|path| drop(fs::remove_file(path)));
                return Err(Error::new(ErrorKind::Config, format!("`{}` cannot be written: {error}", path.display()))
                    .with_hint("nothing was left behind; name a folder of yours with `--output-file`"));
            }
            written.push(path);
        }
        Ok(())
    }
}

/// Never over a file that is there, nor through a link.
pub(super) fn create(path: &Path, text: &str, private: bool) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file helps nobody; the write's own error is the one to tell.
        drop(fs::remove_file(path));
    }
    written
}

/// The text of `.env`, which reads back as exactly these values.
pub(super) fn env(values: &[(&str, &str)]) -> Result<String> {
    let mut text = String::from(
        "# The addresses of `dwh.toml` beside this file, passwords and all: keep it out of version control.\n",
    );
    for (name, value) in values {
        text.push_str(&env_line(name, value)?);
    }
    Ok(text)
}

/// A line of `.env`, which reads back as exactly this value.
pub(super) fn env_line(name: &str, value: &str) -> Result<String> {
    // Between single quotes nothing is special, but there is no way to write one.
    let quoted = if value.contains('\'') {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        format!("\"{escaped}\"")
    } else {
        format!("'{value}'")
    };
    let text = format!("{name}={quoted}\n");
    let back: Option<Environment> = dotenvy::from_read_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .map(|pairs| pairs.into_iter().collect());
    if back.is_some_and(|back| back.get(name).unwrap_or_default() == value) {
        Ok(text)
    } else {
        Err(Error::new(ErrorKind::Config, "an address holds a character that `.env` cannot keep, such as a line break")
            .with_hint("write such characters in percent form: a line break is `%0A`"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Files, InitRequest, env};
    use crate::config::Secret;

    fn request() -> InitRequest {
        InitRequest::new(Secret::new(String::new()), Secret::new(String::new()), "", "dwh.toml")
    }

    #[test]
    fn addresses_come_back_as_they_were() {
        for value in [
            "postgresql://u:it%27s@h/d",
            "host=h user=u password='a b'",
            "host=h password='it\\'s $HOME \"x\" #1'",
            "postgresql://u:p#$x${y}@h/d",
        ] {
            assert!(env(&[("DWH_SOURCE_URL", value)]).is_ok(), "{value}");
        }
    }

    #[test]
    fn all_of_them_or_none() {
        let folder = tempfile::tempdir().expect("folder");
        let files = Files::beside(&folder.path().join("dwh.toml"));
        std::fs::create_dir(&files.config).expect("in the way");
        let refused = files.refuse_existing(&request()).expect_err("a folder is there");
        assert!(refused.to_string().contains("dwh.toml"));
        let error = files.write("c", "e", "g").expect_err("cannot be written");
        assert!(error.to_string().contains("dwh.toml"));
        assert!(!files.env.exists() && !files.grants.exists());
    }

    #[test]
    fn an_env_that_says_the_same_is_kept() {
        let folder = tempfile::tempdir().expect("folder");
        let config = folder.path().join("dwh.toml");
        std::fs::write(folder.path().join(".env"), "# mine\nDWH_SOURCE_URL='a'\nDWH_TARGET_URL='b'\n")
            .expect("written");
        assert!(Files::beside(&config).refuse_existing(&request()).is_err());
        let other = Files::beside(&config).knowing(&[("DWH_SOURCE_URL", "a"), ("DWH_TARGET_URL", "c")]);
        assert!(other.refuse_existing(&request()).is_err());
        let same = Files::beside(&config).knowing(&[("DWH_SOURCE_URL", "a"), ("DWH_TARGET_URL", "b")]);
        same.refuse_existing(&request()).expect("nothing is in the way");
        same.write("c", "e", "g").expect("written");
        assert!(std::fs::read_to_string(&same.env).expect("text").starts_with("# mine"));
    }

    #[cfg(unix)]
    #[test]
    fn addresses_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        let files = Files::beside(&folder.path().join("dwh.toml"));
        files.write("c", "e", "g").expect("written");
        let mode = std::fs::metadata(&files.env).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(files.write("c", "e", "g").is_err() && files.config.exists(), "what was there before stays");
    }
}
