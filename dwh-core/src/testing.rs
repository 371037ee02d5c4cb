//! For tests.

mod clusters;
pub mod sink_contract;

pub use clusters::{Clusters, Server, TestDb, assert_equal_tables};
