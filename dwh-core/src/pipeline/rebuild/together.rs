//! The first CSV files of a table, loaded together: bronze is empty, and its key is built once for all of them.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use super::RebuiltTable;
use super::archive::Archive;
use crate::blob::{BlobKey, Body, ByteStream, Manifest};
use crate::chain::{Link, Standing};
use crate::config::{Mode, OnConflict};
use crate::dialect::{HeaderGate, RowCounter};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::archived::loaded_into;
use crate::pipeline::failure::interrupted;
use crate::pipeline::links::after;
use crate::pipeline::{Pipeline, TableRun};
use crate::plan::LoadPlan;
use crate::run::{RunId, RunKind, RunState};
use crate::schema::Delivered;
use crate::sink::{Commit, LogEntry, StageRequest, Staged, TableState};
use crate::watermark::{Micros, Timestamp, Window};

/// Bytes, uncompressed, that are loaded in one transaction at most: bronze cannot be read until it ends, and all of it is done
/// again if a row turns out to be there twice. That shall cost minutes, not hours.
const MOST_BYTES: u64 = 16 << 30;

/// CSV files that are loaded in one transaction at most: it stays open while the run log is told of each of them.
const MOST_FILES: usize = 1000;

/// CSV files that only add rows, each of them the same columns to the same table.
struct Batch<'a> {
    load: LoadPlan,
    files: Vec<&'a (BlobKey, Manifest)>,
    rows: u64,
    /// The watermark row once all of them are loaded.
    becomes: TableState,
}

impl Pipeline {
    /// Loads the longest run of CSV files from the first on that may be loaded in one transaction, and returns how many these
    /// are. If it turns out that they may not, none: nothing of it is kept, bronze and run log are as they were before.
    pub(super) async fn load_together(
        &self,
        archive: &Archive,
        above: RunId,
        empties: &mut BTreeSet<RunId>,
        state: &mut TableState,
        told: &mut RebuiltTable,
        cancel: &CancellationToken,
    ) -> Result<usize> {
        let Some(batch) = self.batch(archive, state).await? else { return Ok(0) };
        let staged = tokio::select! {
            staged = self.stage_together(&batch, state) => staged,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        let staged = match staged {
            Ok(staged) => staged,
            Err(error) => {
                let (table, csvs) = (&batch.load.table, batch.files.len());
                tracing::info!(table, csvs, error = %error.chain(), "CSV files are loaded one by one");
                return Ok(0);
            }
        };
        // The run log hears of them now: had they been refused, it would tell of runs that are not reached yet.
        let mut runs = Vec::new();
        let done = async {
            for file in &batch.files {
                if cancel.is_cancelled() {
                    return Err(interrupted());
                }
                self.restore_next(archive, file, false, empties, above).await?;
                let run_id = file.1.run_id;
                let mut run = TableRun::new(&archive.table.name, file.1.mode);
                run.run_id = Some(run_id);
                runs.push(run);
                self.sink.log(LogEntry::Loading { run_id, upload: None }).await?;
            }
            self.commit_together(&batch, staged, state, told).await
        };
        let done: Result<()> = done.await;
        if let Err(error) = done {
            for run in &mut runs {
                self.log_failure(run, &error).await;
                // The target does not answer: it will not for the others either.
                if run.status != RunState::Failed {
                    break;
                }
            }
            return Err(error);
        }
        Ok(batch.files.len())
    }

    /// What may be loaded together as far as manifests can tell; `None` if there is nothing to be gained. What is wrong with a
    /// CSV is told by the load of that CSV.
    async fn batch<'a>(&self, archive: &'a Archive, state: &TableState) -> Result<Option<Batch<'a>>> {
        let table = &archive.table;
        // Of a row that is there twice, `update` takes the later version and `append` both.
        let adds = table.mode == Mode::Incremental && table.on_conflict == OnConflict::Nothing && !table.key.is_empty();
        if !adds || archive.loaded.len() < 2 || !self.sink.loads_together() {
            return Ok(None);
        }
        let bronze = self.sink.describe(&table.target).await?;
        let (mut becomes, mut first, mut files, mut rows, mut bytes) = (state.clone(), None, Vec::new(), 0, 0_u64);
        for file in archive.loaded.values().take(MOST_FILES) {
            let (_, manifest) = file;
            bytes = bytes.saturating_add(manifest.bytes);
            let plain = manifest.kind == RunKind::Run && manifest.mode == Mode::Incremental && manifest.rows > 0;
            let place = Standing::from(&becomes).place_across_gap(&Link::from(manifest));
            if !plain || place.older() || reads_again(&becomes, manifest) || bytes > MOST_BYTES {
                break;
            }
            let Some(mut next) = after(&becomes, manifest, place, &[]) else { break };
            let load = loaded_into(bronze.as_ref(), table, manifest, false, Delivered::Nothing, &archive.first);
            let Ok(load) = load else { break };
            let same = first.as_ref().is_none_or(|first| *first == load);
            if !same || load.needs_staging(RunKind::Run).is_some() {
                break;
            }
            // As the commit of each would leave it.
            (next.last_run_id, next.newest_run_id) = (Some(manifest.run_id), Some(manifest.run_id));
            becomes = next;
            first.get_or_insert(load);
            rows += manifest.rows;
            files.push(file);
        }
        Ok(first.filter(|_| files.len() > 1).map(|load| Batch { load, files, rows, becomes }))
    }

    async fn stage_together(&self, batch: &Batch<'_>, state: &TableState) -> Result<Box<dyn Staged>> {
        let parts = batch.files.iter().map(|(csv, manifest)| Part {
            csv: self.stored_csv(csv, manifest),
            name: csv.to_string(),
            rows: manifest.rows,
        });
        let columns = batch.load.columns.iter().map(|column| column.name.clone()).collect();
        let joined = Arc::new(Joined { parts: parts.collect(), columns });
        let request = StageRequest::new(&batch.load, joined).of(batch.last()?, state).together();
        let staged = self.sink.stage(request).await?;
        let rows = staged.rows();
        if rows != batch.rows {
            staged.stop().await;
            let message = format!("the CSV files were counted as {} rows, and the target took {rows}", batch.rows);
            return Err(Error::new(ErrorKind::Data, message));
        }
        Ok(staged)
    }

    async fn commit_together(
        &self,
        batch: &Batch<'_>,
        staged: Box<dyn Staged>,
        state: &mut TableState,
        told: &mut RebuiltTable,
    ) -> Result<()> {
        let run_id = batch.last()?;
        let runs = batch.files.iter().map(|(_, manifest)| (manifest.run_id, manifest.rows));
        let commit = Commit {
            together: runs.filter(|(run, _)| *run != run_id).collect(),
            ..Commit::of(run_id, Some(batch.rows), state.clone()).becoming(Some(batch.becomes.clone()))
        };
        let mut run = TableRun::new(&batch.load.table, batch.load.mode);
        *state = self.commit(staged, commit, &mut run).await?;
        told.csvs_loaded += batch.files.len() as u64;
        told.rows_loaded += run.rows_loaded;
        Ok(())
    }
}

/// Whether it may well have rows that were read before, on purpose: its sweep found some below its window, or the CSV before it
/// had read on beyond the bound. Then there is no need to find it out by a load that is done again.
fn reads_again(state: &TableState, manifest: &Manifest) -> bool {
    // A bound that nothing holds lies a microsecond below what was read.
    let overlaps = |(window, high): (Window, Timestamp)| window.low.plus(Micros(1)) < high;
    manifest.late_rows > 0 || manifest.window.zip(state.read_high).is_some_and(overlaps)
}

impl Batch<'_> {
    /// The run that is committed for all of them.
    fn last(&self) -> Result<RunId> {
        let last = self.files.last().map(|(_, manifest)| manifest.run_id);
        last.ok_or_else(|| Error::new(ErrorKind::Internal, "no CSV files to load together"))
    }
}

/// CSV files as one: the header of the first, and the rows of all.
struct Joined {
    parts: Vec<Part>,
    columns: Vec<String>,
}

#[derive(Clone)]
struct Part {
    csv: Arc<dyn Body>,
    name: String,
    /// Rows that its manifest promises.
    rows: u64,
}

impl Body for Joined {
    fn open(&self) -> ByteStream {
        let columns = self.columns.clone();
        let parts = self.parts.clone().into_iter().enumerate();
        stream::iter(parts).flat_map(move |(at, part)| part.open(&columns, at == 0)).boxed()
    }
}

/// A CSV on its way.
struct Passing {
    bytes: ByteStream,
    header: HeaderGate,
    passed: bool,
    keeps_header: bool,
    counter: RowCounter,
}

impl Part {
    /// Its bytes, without its header unless it `keeps_header`. They end in an error unless the header is the right one, all of
    /// its rows are there, and the last one is complete: the first row of the next CSV would continue it.
    fn open(self, columns: &[String], keeps_header: bool) -> ByteStream {
        let (header, counter) = (HeaderGate::new(columns), RowCounter::default());
        let passing = Passing { bytes: self.csv.open(), header, passed: false, keeps_header, counter };
        let Self { name, rows, .. } = self;
        let pieces = stream::try_unfold(Some((passing, name)), move |state| async move {
            let Some((mut passing, name)) = state else { return Ok(None) };
            match passing.next().await.map_err(|error| error.context(format!("`{name}`")))? {
                Some(piece) => Ok(Some((piece, Some((passing, name))))),
                None if passing.counter.is_complete() && passing.counter.rows() == rows => Ok(None),
                None => {
                    let found = passing.counter.rows();
                    let message =
                        format!("`{name}` has {found} rows, or half a row at its end; its manifest says {rows}");
                    Err(Error::new(ErrorKind::Data, message))
                }
            }
        });
        pieces.boxed()
    }
}

impl Passing {
    /// The next piece of what is let through.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(mut piece) = self.bytes.try_next().await? {
            self.counter.push(&piece);
            if !self.passed {
                let end = self.header_end(&piece)?;
                if !self.keeps_header {
                    piece = piece.split_off(end);
                }
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        self.header.finish().map(|()| None)
    }

    /// How many bytes of the piece are of the header.
    fn header_end(&mut self, piece: &[u8]) -> Result<usize> {
        for (at, byte) in piece.iter().enumerate() {
            if self.header.push(std::slice::from_ref(byte))? {
                self.passed = true;
                return Ok(at + 1);
            }
        }
        Ok(piece.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 2] = ["id", "note"];

    async fn joined(parts: &[(&'static str, u64)], piece: usize) -> Result<String> {
        struct Pieces(&'static str, usize);
        impl Body for Pieces {
            fn open(&self) -> ByteStream {
                stream::iter(self.0.as_bytes().chunks(self.1).map(|piece| Ok(Bytes::from_static(piece)))).boxed()
            }
        }
        let part = |(at, (text, rows)): (usize, &(&'static str, u64))| Part {
            csv: Arc::new(Pieces(text, piece)),
            name: at.to_string(),
            rows: *rows,
        };
        let joined = Joined {
            parts: parts.iter().enumerate().map(part).collect(),
            columns: COLUMNS.map(str::to_owned).to_vec(),
        };
        let bytes: Vec<Bytes> = joined.open().try_collect().await?;
        Ok(String::from_utf8(bytes.concat()).expect("UTF-8"))
    }

    #[tokio::test]
    async fn csv_files_become_one_in_pieces_of_any_size() {
        let parts = [
            ("id,note\n1,a\n", 1),
            ("id,\"note\"\n2,\"b\nid,note\n\"\n3,\n", 2),
            ("id,note\n", 0),
            ("id,note\n4,d\n", 1),
        ];
        for piece in 1..30 {
            let text = joined(&parts, piece).await.expect("joined");
            assert_eq!(text, "id,note\n1,a\n2,\"b\nid,note\n\"\n3,\n4,d\n", "pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn a_csv_that_is_not_whole_or_of_another_kind_ends_in_an_error() {
        let good = ("id,note\n1,a\n", 1);
        for bad in [
            ("id,note\n2,b", 1),
            ("id,note\n2,\"b\n", 1),
            ("id,note\n2,b\n", 2),
            ("id,note\n2,b\n3,c\n", 1),
            ("note,id\n2,b\n", 1),
            ("id\n2\n", 1),
            ("id,note", 0),
            ("", 0),
        ] {
            for piece in [1, 3, 100] {
                for parts in [[bad, good], [good, bad]] {
                    let error = joined(&parts, piece).await.expect_err("not to be loaded");
                    assert_eq!(error.kind(), ErrorKind::Data, "{parts:?}");
                }
            }
        }
    }
}
