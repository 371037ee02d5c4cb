//! Trying a store out: every call that a run makes, on one tiny object.

use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::blob::verify::Fingerprint;
use crate::blob::{BlobKey, BlobStore, Layout};
use crate::error::{Error, ErrorKind, Result};

/// Something that stores do or do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// A write that is refused if the object is there.
    ConditionalPut,
    /// Copies without a detour through this machine.
    ServerCopy,
    /// Lists that come in several pages.
    Paging,
    /// Objects in parts.
    Multipart,
    /// Lists of uploads that were never finished.
    Uploads,
}

/// Whether a store has a feature, and what that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ability {
    /// Which one.
    pub feature: Feature,
    /// Whether it is there.
    pub present: bool,
    /// One line: what it is used for, or what is done without it.
    pub message: String,
}

/// Writes, reads, lists, copies and deletes a tiny object under `<project>/.probe-…`; each step names itself in its error.
///
/// Leaves nothing behind unless deleting is what failed. May run beside others and beside loads.
///
/// # Errors
/// The failed step's; `Data` for a store that answers other bytes than it was given, or does not list what it holds.
pub async fn probe(store: &dyn BlobStore, project: &str) -> Result<()> {
    let prefix = probe_prefix(project);
    let first = BlobKey::parse(&format!("{prefix}1"))?;
    let second = BlobKey::parse(&format!("{prefix}2"))?;
    let tried = steps(store, &first, &second).await;
    let mut cleaned = Ok(());
    for key in [&first, &second] {
        cleaned = cleaned.and(store.delete(key).await.map_err(|error| named("delete", error)));
    }
    tried.and(cleaned)
}

/// How the keys of one try-out begin; no two share it.
pub(crate) fn probe_prefix(project: &str) -> String {
    let layout = Layout { project: project.to_owned(), zone: jiff::tz::TimeZone::UTC };
    format!("{}{}-{}-", any_probe(&layout), std::process::id(), jiff::Timestamp::now().as_nanosecond())
}

/// How the keys of all of them begin.
pub(crate) fn any_probe(layout: &Layout) -> String {
    format!("{}.probe-", layout.project_prefix())
}

async fn steps(store: &dyn BlobStore, first: &BlobKey, second: &BlobKey) -> Result<()> {
    let text = Bytes::from(format!("dwh was here: {first}\n"));
    let wanted = Fingerprint::of(crate::blob::Body::open(&text)).await?;
    store.put(first, &text).await.map_err(|error| named("write", error))?;
    match store.put(first, &Bytes::from_static(b"other bytes")).await {
        Err(error) if error.kind() == ErrorKind::Exists => {}
        Err(error) => return Err(named("write again", error)),
        Ok(_) => return Err(wrong("write again", "replaced an object that was to be kept")),
    }
    expect(store, "read", first, &wanted).await?;
    let listed: Vec<_> = store.list(first.as_str()).try_collect().await.map_err(|error| named("list", error))?;
    if !listed.iter().any(|meta| meta.key == *first && meta.bytes == wanted.bytes) {
        return Err(wrong("list", "does not show an object that was written"));
    }
    store.copy(first, second).await.map_err(|error| named("copy", error))?;
    expect(store, "read the copy", second, &wanted).await
}

async fn expect(store: &dyn BlobStore, step: &str, key: &BlobKey, wanted: &Fingerprint) -> Result<()> {
    let got = Fingerprint::of_blob(store, key).await.map_err(|error| named(step, error))?;
    if got == *wanted { Ok(()) } else { Err(wrong(step, "gave other bytes than were written")) }
}

fn named(step: &str, error: Error) -> Error {
    error.context(format_args!("blob store, step `{step}`"))
}

fn wrong(step: &str, what: &str) -> Error {
    Error::new(ErrorKind::Data, format!("blob store, step `{step}`: the store {what}"))
        .with_hint("this store cannot be trusted with data; use another one")
}
