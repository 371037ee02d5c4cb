//! The ends of one's own in `examples/`: each runs, and keeps the contract.

#[path = "../../../examples/custom_sink.rs"]
mod custom_sink;
#[path = "../../../examples/custom_source.rs"]
mod custom_source;
#[path = "../../../examples/custom_store.rs"]
mod custom_store;

use async_trait::async_trait;
use dwh_core::config::{Mode, TableConfig};
use dwh_core::schema::TableRef;
use dwh_core::testing::sink_contract::{contract_load, sink_contract};
use dwh_core::testing::{OpenRow, SourceUnderTest, blob_contract, events_table, source_contract};
use dwh_core::{MemorySink, Source, Timestamp};

use crate::sink::bronze_of;
use custom_sink::Announced;
use custom_source::Journal;
use custom_store::Deduplicated;

#[test]
fn they_run() {
    custom_source::main().expect("the journal");
    custom_store::main().expect("the store");
    custom_sink::main().expect("the sink");
}

#[tokio::test]
async fn the_store_keeps_the_contract() {
    blob_contract(&Deduplicated::default()).await;
}

#[tokio::test]
async fn the_sink_keeps_the_contract() {
    let sink = MemorySink::new();
    for load in [Mode::Incremental, Mode::Snapshot, Mode::Scd].map(contract_load) {
        sink.add_table(&load.table, bronze_of(&load));
    }
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    sink_contract(&Announced::new(sink, told)).await;
    assert!(hears.recv().await.is_some(), "its commits are told");
}

#[async_trait]
impl SourceUnderTest for Journal {
    fn source(&self) -> &dyn Source {
        self
    }

    fn table(&self) -> TableConfig {
        events_table(TableRef::new("public", "events"))
    }

    async fn insert(&self, id: i64, note: Option<&str>) {
        Journal::begin(self, id, note);
        self.finish(id);
    }

    async fn begin(&self, id: i64, note: Option<&str>) -> Box<dyn OpenRow> {
        Journal::begin(self, id, note);
        Box::new(OpenEntry(self.clone(), id))
    }

    async fn now(&self) -> Timestamp {
        self.tick()
    }
}

struct OpenEntry(Journal, i64);

#[async_trait]
impl OpenRow for OpenEntry {
    async fn commit(self: Box<Self>) {
        self.0.finish(self.1);
    }
}

#[tokio::test]
async fn the_source_keeps_the_contract() {
    source_contract(&Journal::new(Timestamp::SEED)).await;
}
