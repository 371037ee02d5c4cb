//! `export`: the archive of a table as Parquet, with the rows and values that bronze has, or refused.

mod buffer;
mod chosen;
mod columns;
mod convert;
mod crs;
mod destination;
mod geo;
mod history;
mod key;
mod report;
mod sheet;
mod union;
mod value;

use bytes::Bytes;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::blob::scratch::Scratch;
use crate::blob::{BlobKey, Manifest};
use crate::chain::Link;
use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::operate::shell::quoted;
use crate::pipeline::Pipeline;
use crate::pipeline::describe::window_report;
use crate::pipeline::failure::named;
use crate::run::RunKind;

use chosen::{Chosen, Meeting};
use convert::{Job, Misfit, Thread, convert, note};
use destination::{Destination, INDEX, Stretch};
use history::{Rows, Spill};
use union::{Refused, Union};

pub use report::{ExportReport, ExportRequest, ExportedColumn, ExportedFile};

impl Pipeline {
    /// Writes the CSV files of a table in `processed/` as Parquet, one file each, with the rows that bronze has as they stand
    /// in that CSV: all files together are the bronze table as [`rebuild`](Self::rebuild) would make it.
    ///
    /// Every value is exact; a column that Parquet cannot hold is refused, unless it is to be written as text. Each file has
    /// its name once it is whole; `_export.json`, the report, is written last. May be repeated: a file that is there with the
    /// same bytes counts as written. Takes no lease, and opens no connection to a source.
    ///
    /// # Errors
    /// `Config` for a table or column that is not there, or a folder that cannot be used; `Contract` where the files do not
    /// tell what bronze has; `Data` for a value that Parquet cannot hold, and for gaps unless they are accepted; `Exists` if
    /// the folder holds another export; `NotFound`; `Disk`.
    pub async fn export(&self, request: &ExportRequest, cancel: &CancellationToken) -> Result<ExportReport> {
        let table = &self.table(&request.table).await?;
        self.export_table(table, request, cancel).await.map_err(|error| named(error, &table.name))
    }

    async fn export_table(
        &self,
        table: &TableConfig,
        request: &ExportRequest,
        cancel: &CancellationToken,
    ) -> Result<ExportReport> {
        let destination = Destination::of(self, &table.name, &request.to)?;
        let chosen = self.make_up(table, request.accept_gaps, &format!("{} --accept-gaps", again(request))).await?;
        let union = Union::of(table, &chosen.csvs, &request.as_text).map_err(|refused| misfits(request, refused))?;
        let mut meeting = if chosen.merged { Some(Meeting::of(table, &chosen.csvs)?) } else { None };
        let marks = Arc::new(meeting.as_mut().map(|meeting| std::mem::take(&mut meeting.marks)).unwrap_or_default());
        let mut report = self.planned(table, request, &destination, &chosen, &union)?;
        let names: BTreeSet<String> = report.files.iter().map(|file| file.file.clone()).collect();
        destination.refuse_others(&names).await?;
        if request.dry_run {
            return Ok(report);
        }
        let thread = Thread::start(cancel);
        let mut left = match meeting {
            Some(meeting) => Some(self.left(&chosen, meeting, &thread).await?),
            None => None,
        };
        let mut srids = vec![None; union.columns.len()];
        for (at, (csv, manifest)) in chosen.csvs.iter().enumerate() {
            let Some(file) = report.files.iter_mut().find(|file| file.run_id == manifest.run_id) else { continue };
            let job = Job {
                columns: union.columns.clone(),
                places: union.places(table, manifest),
                marks: marks.clone(),
                width: manifest.columns.len(),
                wanted: left.as_mut().map(|left| std::mem::take(&mut left[at])),
                srids,
                notes: notes(self, csv, manifest),
            };
            srids =
                self.write_file(request, &destination, (csv, manifest), job, (&report.columns, file), &thread).await?;
            report.rows += file.rows.unwrap_or_default();
        }
        let mut index = serde_json::to_vec_pretty(&report).map_err(|error| {
            Error::new(ErrorKind::Internal, "the report cannot be written as JSON").with_source(error)
        })?;
        index.push(b'\n');
        destination.put(INDEX, &Bytes::from(index)).await?;
        Ok(report)
    }

    /// The report before anything is written.
    fn planned(
        &self,
        table: &TableConfig,
        request: &ExportRequest,
        destination: &Destination,
        chosen: &Chosen,
        union: &Union,
    ) -> Result<ExportReport> {
        let wanted = |manifest: &Manifest| {
            let brings_rows = !matches!(manifest.kind, RunKind::Keys | RunKind::Resync);
            brings_rows && Link::from(manifest).meets(request.from, request.to_time)
        };
        let files: Vec<ExportedFile> = chosen
            .csvs
            .iter()
            .filter(|(_, manifest)| wanted(manifest))
            .map(|(csv, manifest)| ExportedFile {
                file: format!("{}.parquet", stem(csv)),
                csv_path: self.address(csv),
                csv_sha256: manifest.sha256.clone(),
                run_id: manifest.run_id,
                run_started_at: manifest.run_started_at,
                window: manifest.window.map(window_report),
                rows_csv: manifest.rows,
                rows: None,
                bytes: None,
                sha256: None,
            })
            .collect();
        if files.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, format!("table `{}`: no CSV meets the range", table.name))
                .with_hint("leave `--from` and `--to-time` out for all of them"));
        }
        let column = |((name, shape), type_name): (&(String, columns::Shape), &crate::schema::TypeName)| {
            ExportedColumn { name: name.clone(), type_name: type_name.to_string(), parquet: shape.to_string() }
        };
        Ok(ExportReport {
            project: self.config.project.name.clone(),
            table: table.name.clone(),
            target: table.target.to_string(),
            to: destination.url(),
            dry_run: request.dry_run,
            columns: union.columns.iter().zip(&union.types).map(column).collect(),
            files,
            rows: 0,
            gaps: chosen.gaps.clone(),
        })
    }

    /// The rows of each CSV that bronze has.
    async fn left(&self, chosen: &Chosen, meeting: Meeting, thread: &Thread) -> Result<Vec<Rows>> {
        let Meeting { rules, judges, keyed, .. } = meeting;
        let rows: Vec<u64> = chosen.csvs.iter().map(|(_, manifest)| manifest.rows).collect();
        let mut spill = Spill::new(rows.iter().sum())?;
        for (at, ((csv, manifest), keyed)) in chosen.csvs.iter().zip(keyed).enumerate() {
            if manifest.rows == 0 {
                continue;
            }
            let place = u32::try_from(at).unwrap_or(u32::MAX);
            let body = self.stored_csv(csv, manifest);
            let noted = thread.reading(&*body, move |reader, stop| {
                note(reader, (place, &keyed), &mut spill, stop)?;
                Ok(spill)
            });
            spill = noted.await.map_err(|error| error.context(format!("`{csv}`")))?;
        }
        let died = |error| Error::new(ErrorKind::Internal, "the thread that sorts the keys died").with_source(error);
        tokio::task::spawn_blocking(move || spill.survivors(&rules, &judges, &rows)).await.map_err(died)?
    }

    /// Writes a file; comes back with the SRIDs up to here.
    async fn write_file(
        &self,
        request: &ExportRequest,
        destination: &Destination,
        (csv, manifest): (&BlobKey, &Manifest),
        job: Job,
        (columns, file): (&[ExportedColumn], &mut ExportedFile),
        thread: &Thread,
    ) -> Result<Vec<Option<u32>>> {
        let scratch = Scratch::new(&std::env::temp_dir())?;
        let out = scratch.clone();
        let body = self.stored_csv(csv, manifest);
        let made = thread.reading(&*body, move |reader, stop| convert(reader, &job, out.file(), stop)).await;
        let made = made.map_err(|error| error.context(format!("`{csv}`")))?.map_err(|Misfit { column, reason }| {
            let ExportedColumn { name, type_name, .. } = columns[column].clone();
            misfits(request, Refused::Columns(vec![(name, type_name, format!("{reason}, in `{csv}`"))]))
        })?;
        let whole = Stretch { file: scratch, at: 0, bytes: made.bytes };
        destination.put(&file.file, &whole).await?;
        (file.rows, file.bytes, file.sha256) = (Some(made.rows), Some(made.bytes), Some(made.sha256));
        Ok(made.srids)
    }
}

/// The name of a CSV without its end.
fn stem(csv: &BlobKey) -> &str {
    let name = csv.file_name();
    name.split_once(".csv").map_or(name, |(stem, _)| stem)
}

/// What a file says of where it comes from.
fn notes(pipeline: &Pipeline, csv: &BlobKey, manifest: &Manifest) -> serde_json::Value {
    let types = manifest.columns.iter().map(|column| (column.name.clone(), json!(column.type_name.as_str())));
    json!({
        "project": manifest.project,
        "table": manifest.table,
        "run_id": manifest.run_id,
        "csv": pipeline.address(csv),
        "csv_sha256": manifest.sha256,
        "types": types.collect::<serde_json::Map<_, _>>(),
    })
}

/// The same call again.
fn again(request: &ExportRequest) -> String {
    let mut words = format!("dwh export {} --to {}", quoted(&request.table), quoted(&request.to));
    for (option, value) in [("--from", request.from), ("--to-time", request.to_time)] {
        words.extend(value.map(|value| format!(" {option} {value}")));
    }
    words.extend(request.as_text.iter().map(|name| format!(" --as-text {}", quoted(name))));
    words
}

/// The error of columns that Parquet cannot hold, with the call that writes them as text.
fn misfits(request: &ExportRequest, refused: Refused) -> Error {
    let columns = match refused {
        Refused::Other(error) => return error,
        Refused::Columns(columns) => columns,
    };
    let told = |(name, type_name, reason): &(String, String, String)| format!("column `{name}`, {type_name}, {reason}");
    let told: Vec<String> = columns.iter().map(told).collect();
    let options: String = columns.iter().map(|(name, ..)| format!(" --as-text {}", quoted(name))).collect();
    let which = if columns.len() == 1 { "the column" } else { "these columns" };
    Error::new(ErrorKind::Data, format!("table `{}`: {}", request.table, told.join("; ")))
        .with_hint(format!("to write {which} as the text that PostgreSQL prints: `{}{options}`", again(request)))
}
