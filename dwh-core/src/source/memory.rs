//! M.

/// M.
#[derive(Debug)]
pub struct MemorySource {}
