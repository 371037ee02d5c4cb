//! P.

/// P.
#[derive(Debug)]
pub struct PgSink {}

/// O.
#[derive(Debug)]
pub struct SinkOptions {}
