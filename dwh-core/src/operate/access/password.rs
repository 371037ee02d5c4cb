//! Passwords: what is taken for one, those that are made up, and what a server gets of them.

use postgres_protocol::password::scram_sha_256;
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

/// The shortest one that is taken.
const SHORTEST: usize = 8;

/// How long one is that is made up: letters and digits, so that it needs no quoting in a connection string.
const MADE_UP: usize = 32;

/// A password that was made up. Its JSON is the password itself, because nothing else ever tells it again; it prints as
/// nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct NewPassword(Secret);

impl NewPassword {
    /// A new one.
    pub(super) fn make_up() -> Self {
        Self(Secret::new(Alphanumeric.sample_string(&mut rand::rng(), MADE_UP)))
    }

    /// The password, for whoever shows it.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.0
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword(***)")
    }
}

impl Serialize for NewPassword {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for NewPassword {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

/// What the server keeps of a password, made here: the password itself is in no statement, and so in no log of a server.
///
/// # Errors
/// `Config` for one that is too short, or that PostgreSQL cannot take.
pub(super) fn verifier(password: &Secret) -> Result<Secret> {
    let text = password.expose();
    let wrong = match text.chars().count() {
        count if count < SHORTEST => format!("has fewer than {SHORTEST} characters"),
        _ if text.chars().any(char::is_control) => "holds a line break or another control character".to_owned(),
        _ => return Ok(Secret::new(scram_sha_256(text.as_bytes()))),
    };
    Err(Error::new(ErrorKind::Config, format!("the password {wrong}"))
        .with_hint("give another one, or none: then 32 random characters are taken, and shown once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_is_long_and_different_and_prints_as_nothing() {
        let (one, other) = (NewPassword::make_up(), NewPassword::make_up());
        assert_ne!(one, other);
        let text = one.secret().expose();
        assert!(text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(format!("{one:?}"), "NewPassword(***)");
    }

    #[test]
    fn a_verifier_does_not_hold_the_password_and_is_another_one_each_time() {
        let password = Secret::new("horse_battery_staple");
        let (one, other) = (verifier(&password).expect("good"), verifier(&password).expect("good"));
        assert!(one.expose().starts_with("SCRAM-SHA-256$4096:") && !one.expose().contains("horse"));
        assert_ne!(one, other, "salted");
        for bad in ["", "short", "two lines\nof text", "nul in the \0 middle"] {
            let error = verifier(&Secret::new(bad)).expect_err(bad);
            assert!(
                error.kind() == ErrorKind::Config && (bad.is_empty() || !error.to_string().contains(bad)),
                "{error}"
            );
        }
    }
}
