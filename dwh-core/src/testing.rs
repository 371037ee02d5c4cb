//! For tests.

mod blob_contract;
mod faulty;
mod s3;

pub use blob_contract::{blob_contract, blob_contract_with};
pub use faulty::{Fault, Faulty};
pub use s3::{S3Effect, S3Fault, S3Server};
