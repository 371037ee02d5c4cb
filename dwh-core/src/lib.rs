//! The engine of dwh: copies tables from PostgreSQL into the bronze layer of a warehouse, in three stages that each
//! leave evidence.
//!
//! **Extract** reads what is safe to read ([`watermark`]) in one snapshot; **blob** keeps it as CSV with a manifest;
//! **load** puts rows, watermark and run log into the target in one transaction. No row is lost, none comes twice, every
//! byte is accounted for, and a run that is cut off anywhere is finished or undone by the next one.
//!
//! # Quick start
//! A [`Pipeline`] is built from a configuration ([`Pipeline::from_config`]), or by hand from any [`Source`],
//! [`BlobStore`] and [`Sink`]. This one lives in memory:
//!
//! ```
//! use dwh_core::config::Environment;
//! use dwh_core::schema::{Column, RelationKind, TableRef, TableSchema, UniqueKey};
//! use dwh_core::{Config, MemoryBlobs, MemorySink, MemorySource, Pipeline, RunRequest, Source, Timestamp};
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let config = Config::parse(
//!     r#"
//!         [project]
//!         name = "fleet"
//!         [source.app]
//!         url = "postgresql://localhost/app"
//!         [target]
//!         url = "postgresql://localhost/warehouse"
//!         [blob]
//!         url = "file:///var/lib/dwh"
//!         [[table]]
//!         name = "trips"
//!         relation = "fleet.trips"
//!         mode = "incremental"
//!         watermark = "recorded_at"
//!         key = ["id"]
//!     "#,
//!     "dwh.toml".as_ref(),
//!     Environment::default(),
//! )?;
//!
//! let column = |name: &str, type_name: &str| Column {
//!     not_null: true,
//!     ..Column::new(name, type_name.parse().expect("a type"))
//! };
//! let trips = TableSchema {
//!     table: TableRef::new("fleet", "trips"),
//!     kind: RelationKind::Table,
//!     columns: vec![column("id", "integer"), column("recorded_at", "timestamp with time zone")],
//!     keys: vec![UniqueKey { name: "trips_pkey".into(), columns: vec!["id".into()], primary: true, unusable: None }],
//!     indexed: vec!["recorded_at".into()],
//!     row_estimate: -1,
//!     types: Vec::new(),
//! };
//! let now: Timestamp = "2026-10-01T12:00:00Z".parse()?;
//! let source = MemorySource::new(now);
//! source.create(trips.clone());
//! source.insert(&trips.table, "1,2026-10-01 11:59:00+00", "2026-10-01T11:59:00Z".parse()?);
//!
//! let bronze = config.table("trips")?.target.clone();
//! let sink = MemorySink::new();
//! sink.add_table("trips", TableSchema { table: bronze.clone(), ..trips });
//!
//! let sources = BTreeMap::from([("app".to_owned(), Arc::new(source) as Arc<dyn Source>)]);
//! let pipeline = Pipeline::new(config, sources, Arc::new(MemoryBlobs::new()), Arc::new(sink.clone()));
//! let report = pipeline.run(&RunRequest::default(), &Default::default()).await?;
//! assert_eq!(report.exit_code(), 0, "{report:?}");
//! assert_eq!(sink.rows(&bronze).len(), 1);
//! # Ok::<(), dwh_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! # Layout
//! Data goes through once, one way; no module knows one further down.
//!
//! - [`watermark`]: the safe bound and the windows. [`schema`]: what a catalog says, and the difference of two.
//!   [`identity`]: what a watermark belongs to. [`chain`]: how the CSV files of a table follow each other. All of it pure.
//! - [`config`]: what the user wrote, checked; no network. [`geometry`]: geometry as PostGIS writes it.
//! - [`source`], [`blob`], [`sink`]: the three traits with their contracts; PostgreSQL, folder, S3 and memory behind them.
//! - [`pipeline`]: the verbs that move data; the only place that sees all three traits. [`operate`]: the verbs that look,
//!   tell and prepare.
//! - `testing` (feature): conformance suites, faults, throwaway servers.
//!
//! Nothing here prints, exits, or keeps global state; what happens is told to an
//! [`Observer`](pipeline::Observer) and to `tracing`. Every future may be dropped.

pub mod blob;
mod catalog;
pub mod chain;
pub mod config;
mod connect;
mod control;
mod dialect;
mod disk;
mod error;
mod files;
pub mod geometry;
pub mod identity;
mod migrate;
pub mod operate;
mod peer;
pub mod pipeline;
mod plan;
mod raw_file;
mod record;
mod retry;
mod run;
pub mod schema;
pub mod sink;
pub mod source;
mod spool;
#[cfg(feature = "testing")]
pub mod testing;
pub mod watermark;

pub use blob::{BlobKey, BlobStore, LocalBlobs, Manifest, MemoryBlobs, S3Blobs};
pub use config::{Config, Secret, TableConfig};
pub use error::{Error, ErrorKind, KindRow, Result, SqlState, When};
pub use files::FileSource;
pub use pipeline::{Event, LoadParams, Pipeline, RunReport, RunRequest};
pub use plan::{LoadPlan, Plan, PlanColumn};
pub use raw_file::RawFile;
pub use run::{RunId, RunKind, RunState};
pub use sink::{MemorySink, PgSink, Sink};
pub use source::{MemorySource, PgSource, Source};
pub use watermark::{SafeBound, Timestamp, Window};
