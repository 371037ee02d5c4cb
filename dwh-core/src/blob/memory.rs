//! MemoryBlobs.

/// Store.
#[derive(Debug)]
pub struct MemoryBlobs {}
