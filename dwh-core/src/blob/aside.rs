//! A file taken elsewhere in the store as it is, good or not.

use crate::blob::verify::Fingerprint;
use crate::blob::{BlobKey, BlobStore};
use crate::error::{Error, ErrorKind, Result};

/// Makes `to` hold the bytes of `from`, and reads both in full to be sure of it. `false` if there is neither.
///
/// What `from` ought to hold does not matter: the file may be set aside because it is not as its manifest says. May be
/// called again at any time, also when `from` was deleted after an earlier call.
///
/// # Errors
/// `Exists` if `to` holds other bytes, which stay; whatever the store answers.
pub(crate) async fn copy_as_it_is(store: &dyn BlobStore, from: &BlobKey, to: &BlobKey) -> Result<bool> {
    let Some(wanted) = fingerprint(store, from).await? else { return Ok(fingerprint(store, to).await?.is_some()) };
    let there = match fingerprint(store, to).await? {
        Some(there) => Some(there),
        None => {
            store.copy(from, to).await?;
            fingerprint(store, to).await?
        }
    };
    if there == Some(wanted) {
        return Ok(true);
    }
    Err(Error::new(ErrorKind::Exists, format!("blob `{to}` holds other bytes than `{from}`; both stay"))
        .with_hint(format!("compare the two, move `{to}` away, then call it again")))
}

async fn fingerprint(store: &dyn BlobStore, key: &BlobKey) -> Result<Option<Fingerprint>> {
    match Fingerprint::of_blob(store, key).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
