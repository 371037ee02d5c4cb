//! A string that cannot print itself.

use std::fmt;
use zeroize::Zeroizing;

/// A password or a connection string: no `Display`, no `Serialize`, wiped from memory when dropped.
///
/// ```
/// let secret = dwh_core::config::Secret::new("postgresql://u:hunter2@db/x");
/// assert_eq!(format!("{secret:?}"), "Secret(***)");
/// assert_eq!(secret.expose(), "postgresql://u:hunter2@db/x");
/// ```
///
/// ```compile_fail
/// let secret = dwh_core::config::Secret::new("hunter2");
/// println!("{secret}"); // no Display: does not compile
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
