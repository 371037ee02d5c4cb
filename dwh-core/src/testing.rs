//! For tests, ours and yours: conformance suites for the three traits, faults, throwaway servers.

mod blob_contract;
mod blobs;
mod clusters;
mod faulty;
mod proxy;
mod s3;
pub mod sink_contract;
mod source_contract;

pub use blob_contract::{blob_contract, blob_contract_with};
pub use blobs::TestBlobs;
pub use clusters::{Clusters, Paused, Server, TestDb, assert_equal_tables};
pub use faulty::{Fault, Faulty};
pub use proxy::{Proxy, Way, When, Whom};
pub use s3::{S3Effect, S3Fault, S3Server};
pub use source_contract::{OpenRow, SourceUnderTest, events_table, source_contract};
