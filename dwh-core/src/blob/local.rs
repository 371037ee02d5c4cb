//! LocalBlobs.

/// Store.
#[derive(Debug)]
pub struct LocalBlobs {}
