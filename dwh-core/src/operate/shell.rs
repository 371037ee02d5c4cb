//! Words of a command that a person, or cron, hands to a shell.

/// A name or path as one argument: as it is where the shell leaves it alone, else in single quotes.
pub(super) fn quoted(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-.+@:,%".contains(&b)) && !text.starts_with('-');
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
