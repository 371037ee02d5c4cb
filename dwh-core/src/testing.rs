//! For tests.

mod clusters;

pub use clusters::{Clusters, Server, TestDb, assert_equal_tables};
