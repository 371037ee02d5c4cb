//! The engine of dwh.

pub mod blob;
pub(crate) mod catalog;
pub mod config;
pub mod connect;
mod control;
pub mod dialect;
mod error;
pub mod geometry;
pub mod migrate;
pub mod pipeline;
pub mod plan;
pub mod retry;
mod run;
pub mod schema;
pub mod sink;
pub mod source;
pub mod spool;
#[cfg(feature = "testing")]
pub mod testing;
pub mod watermark;

pub use blob::{BlobKey, BlobStore, LocalBlobs, Manifest, MemoryBlobs, S3Blobs};
pub use config::{Config, Secret, TableConfig};
pub use error::{Error, ErrorKind, KindRow, Result};
pub use pipeline::{Event, LoadParams, Pipeline, RunReport, RunRequest};
pub use plan::Plan;
pub use run::{RunId, RunKind, RunState};
pub use sink::{MemorySink, PgSink, Sink};
pub use source::{MemorySource, PgSource, Source};
pub use watermark::{SafeBound, Timestamp, Window};
