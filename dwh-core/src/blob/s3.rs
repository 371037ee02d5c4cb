//! S3Blobs.

/// Store.
#[derive(Debug)]
pub struct S3Blobs {}

/// Options.
#[derive(Debug, Clone)]
pub struct S3Options {}
