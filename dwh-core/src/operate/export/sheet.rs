//! One Parquet file, written row group by row group: memory is bounded by a row group, whatever the file's size.

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::errors::{ParquetError, Result as Written};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};
use std::io::Write;
use std::sync::Arc;

use super::buffer::Buffer;
use super::columns::{Scalar, Shape};
use super::geo;
use super::value::Reason;
use crate::error::{Error, ErrorKind, Result};

/// A row group ends with the row that fills so many bytes, or with so many rows.
const GROUP_BYTES: usize = 32 << 20;
const GROUP_ROWS: usize = 1 << 20;
/// Between speed and size, as `zstd` itself has it.
const LEVEL: i32 = 3;

/// A file on its way.
pub(super) struct Sheet<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    names: Vec<String>,
    buffers: Vec<Buffer>,
    held_bytes: usize,
    held_rows: usize,
    rows: u64,
}

impl<W: Write + Send> Sheet<W> {
    /// A file of these columns; `srids` are those of the files before it, column by column.
    ///
    /// # Errors
    /// `Disk`; `Internal` if there is no such column.
    pub(super) fn new(out: W, columns: &[(&str, Shape)], srids: &[Option<u32>]) -> Result<Self> {
        let schema = schema(columns).map_err(|error| {
            Error::new(ErrorKind::Internal, "the columns cannot be written as Parquet").with_source(error)
        })?;
        let level = ZstdLevel::try_new(LEVEL).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(concat!("dwh-core version ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(failed)?;
        let names = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let buffers = columns.iter().zip(srids).map(|((_, shape), srid)| Buffer::new(*shape, *srid)).collect();
        Ok(Self { writer, names, buffers, held_bytes: 0, held_rows: 0, rows: 0 })
    }

    /// Takes the next row; `values` gives it column by column. What cannot be held comes back with the place of its column.
    ///
    /// # Errors
    /// `Disk`.
    pub(super) fn row<'a>(
        &mut self,
        mut values: impl FnMut(usize) -> Result<Option<&'a str>, Reason>,
    ) -> Result<Result<(), (usize, Reason)>> {
        for (at, buffer) in self.buffers.iter_mut().enumerate() {
            match values(at).and_then(|text| buffer.push(text)) {
                Ok(bytes) => self.held_bytes += bytes,
                Err(reason) => return Ok(Err((at, reason))),
            }
        }
        (self.held_rows, self.rows) = (self.held_rows + 1, self.rows + 1);
        if self.held_bytes >= GROUP_BYTES || self.held_rows >= GROUP_ROWS {
            self.flush().map_err(failed)?;
        }
        Ok(Ok(()))
    }

    fn flush(&mut self) -> Written<()> {
        let mut group = self.writer.next_row_group()?;
        for buffer in &mut self.buffers {
            let column = group.next_column()?;
            let mut column = column.ok_or_else(|| ParquetError::General("a column is missing".to_owned()))?;
            buffer.write(&mut column)?;
            column.close()?;
        }
        group.close()?;
        (self.held_bytes, self.held_rows) = (0, 0);
        Ok(())
    }

    /// Writes what is left and the end of the file, with `notes` under the key `dwh`; the rows that are in it.
    ///
    /// # Errors
    /// `Disk`.
    pub(super) fn finish(mut self, notes: impl FnOnce(&[(&str, u32)]) -> String) -> Result<(W, u64)> {
        if self.held_rows > 0 {
            self.flush().map_err(failed)?;
        }
        let geometries = self.columns().filter(|(_, buffer)| buffer.is_geometry());
        let geo = geo::metadata(geometries.map(|(name, buffer)| (name, &buffer.seen)));
        if let Some(text) = geo {
            self.writer.append_key_value_metadata(KeyValue::new("geo".to_owned(), text));
        }
        let srids: Vec<(&str, u32)> =
            self.columns().filter_map(|(name, buffer)| Some((name, buffer.seen.srid()?))).collect();
        let notes = notes(&srids);
        self.writer.append_key_value_metadata(KeyValue::new("dwh".to_owned(), notes));
        let rows = self.rows;
        self.writer.into_inner().map(|out| (out, rows)).map_err(failed)
    }

    /// The SRIDs so far, column by column.
    pub(super) fn srids(&self) -> Vec<Option<u32>> {
        self.buffers.iter().map(|buffer| buffer.seen.srid).collect()
    }

    fn columns(&self) -> impl Iterator<Item = (&str, &Buffer)> {
        self.names.iter().map(String::as_str).zip(&self.buffers)
    }
}

fn failed(error: ParquetError) -> Error {
    Error::new(ErrorKind::Disk, "the Parquet file cannot be written").with_source(error)
}

fn schema(columns: &[(&str, Shape)]) -> Written<TypePtr> {
    let fields = columns.iter().map(|(name, shape)| field(name, *shape)).collect::<Written<_>>()?;
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?))
}

/// Every column may be NULL: one that came later is, in older files.
fn field(name: &str, shape: Shape) -> Written<TypePtr> {
    let Shape::List(scalar) = shape else {
        let leaf = match shape {
            Shape::One(scalar) => leaf(name, scalar)?,
            _ => Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
                .with_repetition(Repetition::OPTIONAL)
                .build()?,
        };
        return Ok(Arc::new(leaf));
    };
    // The names of the standard.
    let repeated = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(leaf("element", scalar)?)])
        .build()?;
    let list = Type::group_type_builder(name)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(repeated)])
        .build()?;
    Ok(Arc::new(list))
}

fn leaf(name: &str, scalar: Scalar) -> Written<Type> {
    let (physical, logical) = match scalar {
        Scalar::Boolean => (Physical::BOOLEAN, None),
        Scalar::Small => (Physical::INT32, Some(LogicalType::integer(16, true))),
        Scalar::Integer => (Physical::INT32, None),
        Scalar::Big => (Physical::INT64, None),
        Scalar::Float => (Physical::FLOAT, None),
        Scalar::Double => (Physical::DOUBLE, None),
        Scalar::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Scalar::Bytes => (Physical::BYTE_ARRAY, None),
        Scalar::Date => (Physical::INT32, Some(LogicalType::Date)),
        Scalar::Time => (Physical::INT64, Some(LogicalType::time(false, TimeUnit::MICROS))),
        Scalar::Timestamp { zone } => (Physical::INT64, Some(LogicalType::timestamp(zone, TimeUnit::MICROS))),
        Scalar::Decimal(digits) => {
            let (precision, scale) = (i32::from(digits.precision), i32::from(digits.scale));
            let physical = match precision {
                1..=9 => Physical::INT32,
                10..=18 => Physical::INT64,
                _ => Physical::FIXED_LEN_BYTE_ARRAY,
            };
            let builder = Type::primitive_type_builder(name, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(Some(LogicalType::decimal(scale, precision)))
                .with_precision(precision)
                .with_scale(scale);
            // 16 bytes of an i128.
            return if precision > 18 { builder.with_length(16).build() } else { builder.build() };
        }
    };
    let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    builder.with_logical_type(logical).build()
}
