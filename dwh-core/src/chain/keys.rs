//! Keys that were others once.

use crate::run::RunId;

/// The keys, other than the one of `today`, by which the CSV of `run` or a newer one was read: versions of one row by
/// such a key may be rows of their own by today's.
///
/// One that holds all columns of today's is left out: what is one row by it is one row today.
#[must_use]
pub fn former_keys<'a>(
    run: RunId,
    read_by: impl IntoIterator<Item = (RunId, &'a [String])>,
    today: &[String],
) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    for (_, key) in read_by.into_iter().filter(|(other, _)| *other >= run) {
        let tells_more = key.is_empty() || today.iter().all(|column| key.contains(column));
        let mut key = key.to_vec();
        key.sort_unstable();
        if !tells_more && !found.contains(&key) {
            found.push(key);
        }
    }
    found
}
