//! P.

/// P.
#[derive(Debug)]
pub struct PgSource {}

/// O.
#[derive(Debug)]
pub struct SourceOptions {}
