//! For tests.

mod source_contract;

pub use source_contract::{OpenRow, SourceUnderTest, events_table, source_contract};
