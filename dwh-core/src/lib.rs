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
//! With servers, [`Config::load`] and [`Pipeline::from_config`] take the place of all that is made by hand here.
//!
//! # The parts
//! A pipeline has three ends, each behind a trait on which its contract is written. Yours may take the place of any of them,
//! and a suite of the feature `testing` checks it.
//!
//! | trait | what it is | servers | in memory | suite |
//! |---|---|---|---|---|
//! | [`Source`] | where rows are read from, and how far that is safe | [`PgSource`], [`FileSource`] | [`MemorySource`] | `testing::source_contract` |
//! | [`BlobStore`] | where CSV files and their manifests are kept | [`LocalBlobs`], [`S3Blobs`] | [`MemoryBlobs`] | `testing::blob_contract` |
//! | [`Sink`] | bronze, with watermarks and the run log that commit together with it | [`PgSink`] | [`MemorySink`] | `testing::sink_contract` |
//!
//! # The verbs
//! Each verb of the command is a method of [`Pipeline`] by the same name. It takes a request and returns a report, whose JSON
//! is that of the command; what fails for one table stands in the report and stops no other.
//!
//! | to | call |
//! |---|---|
//! | move rows | [`run`](Pipeline::run), or its halves [`extract`](Pipeline::extract) and [`load`](Pipeline::load) |
//! | read again | [`backfill`](Pipeline::backfill), [`reseed`](Pipeline::reseed), [`resync`](Pipeline::resync), [`deletes`](Pipeline::deletes) |
//! | load again | [`replay`](Pipeline::replay), [`rebuild`](Pipeline::rebuild), [`recover`](Pipeline::recover), [`prune`](Pipeline::prune) |
//! | look | [`status`](Pipeline::status), [`runs`](Pipeline::runs), [`check`](Pipeline::check), [`verify`](Pipeline::verify), [`plan`](Pipeline::plan) |
//! | prepare | [`migrate`](Pipeline::migrate), [`setup`](Pipeline::setup), [`operate::init`] |
//!
//! # Errors
//! There is one, [`Error`]: a message, a hint that is never empty, the causes, and an [`ErrorKind`] that decides exit code and
//! retry. A run can be repeated whatever the error was: it finishes or undoes what the last one left.
//!
//! # Cancellation
//! A call that moves rows takes a token: once it is cancelled, the call ends between two steps and reports. A future may also be
//! dropped, which is what a crash is: no row is lost and none is loaded twice, and the next run puts in order what was left.
//! Nothing here prints, exits, or keeps global state; what happens is told to an [`Observer`](pipeline::Observer) and to
//! `tracing`.
//!
//! # Features
//! None is on by default.
//!
//! | feature | brings |
//! |---|---|
//! | `export` | `Pipeline::export`: archived CSV files as Parquet |
//! | `mail` | alerts by mail |
//! | `report` | `Pipeline::report`: the state of the warehouse as an HTML page |
//! | `testing` | the module `testing`: suites, faults, throwaway servers |
//!
//! # Why not one stream from server to server?
//! Because nobody could say afterwards what it did. The CSV file between the halves is evidence: it is hashed, its manifest says
//! from which snapshot and window it came, and the warehouse can be made again from such files alone. The source waits for no
//! store and no target, and what failed on the way is sent again without asking the source twice.
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

/// The blocks of the crate's README are compiled as its documentation is.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
