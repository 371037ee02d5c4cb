//! For tests, ours and yours: conformance suites for the three traits, faults, throwaway servers.

mod blob_contract;
mod blobs;
mod clusters;
mod faulty;
mod manifest_source;
mod proxy;
mod s3;
pub mod sink_contract;
mod source_contract;

pub use blob_contract::{blob_contract, blob_contract_with};
pub use blobs::TestBlobs;
pub use clusters::{Clusters, Paused, Server, TestDb, assert_equal_tables, signal};
pub use faulty::{Fault, Faulty};
pub use manifest_source::manifest_source;
pub use proxy::{Proxy, Way, When, Whom};
pub use s3::{S3Effect, S3Fault, S3Server};
pub use source_contract::{OpenRow, SourceUnderTest, events_table, source_contract};

/// Parts of the engine that are not its API: the tests and benchmarks of this repository reach them here.
pub mod internals {
    pub use crate::connect::{Connector, SslMode, sort};
    pub use crate::dialect::{HeaderGate, Tally, diagnose, field};
    pub use crate::migrate::{Migration, dry_run, migrate, print_sql, render};
    pub use crate::spool::{Spool, SpoolWriter, spool};
}
