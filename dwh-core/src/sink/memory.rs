//! M.

/// M.
#[derive(Debug)]
pub struct MemorySink {}
