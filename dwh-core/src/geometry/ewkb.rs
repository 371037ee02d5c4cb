//! EWKB in hexadecimal digits, as COPY writes a geometry, read into WKB.

use super::writer::Writer;
use super::{Content, Dimensions, GeometryType, MAX_DEPTH, MAX_SRID};
use crate::error::{Error, ErrorKind, Result};

/// What EWKB adds to the number of a type.
const HAS_Z: u32 = 0x8000_0000;
const HAS_M: u32 = 0x4000_0000;
const HAS_SRID: u32 = 0x2000_0000;

/// What the digits say.
pub(super) struct Found {
    pub srid: Option<u32>,
    pub geometry_type: GeometryType,
    pub dimensions: Dimensions,
    /// The geometry as WKB.
    pub bytes: Vec<u8>,
}

/// The geometry of these digits.
///
/// # Errors
/// `Data`, with the place but never the coordinates.
pub(super) fn parse(text: &str) -> Result<Found> {
    let bytes = bytes(text)?;
    let mut reader = Reader { bytes: &bytes, at: 0, little: true };
    let head = reader.head()?;
    let mut writer = Writer::new(head.dimensions);
    reader.geometry(&head, &mut writer, 0)?;
    if reader.at != bytes.len() {
        return Err(reader.wrong("the end"));
    }
    let Head { srid, geometry_type, dimensions } = head;
    Ok(Found { srid, geometry_type, dimensions, bytes: writer.finish() })
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect::<Option<_>>().ok_or_else(|| wrong("EWKB: it is no hexadecimal text"))
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Data, message).with_hint("write it as PostgreSQL does: `select geom::text`")
}

/// How a geometry begins.
struct Head {
    srid: Option<u32>,
    geometry_type: GeometryType,
    dimensions: Dimensions,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The byte order of the geometry that is read.
    little: bool,
}

impl Reader<'_> {
    fn wrong(&self, expected: &str) -> Error {
        wrong(format!("EWKB, byte {}: expected {expected}", self.at + 1))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.first_chunk::<N>() else { return Err(self.wrong("more bytes")) };
        self.at += N;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u32> {
        let bytes = self.take::<4>()?;
        Ok(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn head(&mut self) -> Result<Head> {
        self.little = match self.take::<1>()? {
            [0] => false,
            [1] => true,
            _ => return Err(self.wrong("a byte order before this")),
        };
        let word = self.number()?;
        let code = word & !(HAS_Z | HAS_M | HAS_SRID);
        let known = GeometryType::ALL.iter().map(|(kind, _)| *kind).find(|kind| kind.code() == code);
        let geometry_type = known.ok_or_else(|| self.wrong("the number of a geometry before this"))?;
        let srid = if word & HAS_SRID == 0 { None } else { Some(self.number()?) };
        if srid.is_some_and(|srid| srid > MAX_SRID) {
            return Err(self.wrong("an SRID from 0 to 999999 before this"));
        }
        Ok(Head { srid, geometry_type, dimensions: Dimensions::of(word & HAS_Z != 0, word & HAS_M != 0) })
    }

    /// The geometry behind its head.
    fn geometry(&mut self, head: &Head, writer: &mut Writer, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.wrong("no more than 64 levels"));
        }
        writer.begin(head.geometry_type);
        match head.geometry_type.content() {
            Content::Coordinate => self.coordinate(head.dimensions, writer),
            Content::Coordinates => self.coordinates(head.dimensions, writer),
            Content::Rings => {
                let rings = self.count(writer)?;
                (0..rings).try_for_each(|_| self.coordinates(head.dimensions, writer))
            }
            Content::Parts(_) => {
                let (parts, little) = (self.count(writer)?, self.little);
                for _ in 0..parts {
                    let part = self.head()?;
                    if part.dimensions != head.dimensions {
                        return Err(self.wrong("the same dimensions as before"));
                    }
                    self.geometry(&part, writer, depth + 1)?;
                    self.little = little;
                }
                Ok(())
            }
        }
    }

    fn count(&mut self, writer: &mut Writer) -> Result<u32> {
        let count = self.number()?;
        writer.number(count);
        Ok(count)
    }

    fn coordinates(&mut self, dimensions: Dimensions, writer: &mut Writer) -> Result<()> {
        let count = self.count(writer)?;
        (0..count).try_for_each(|_| self.coordinate(dimensions, writer))
    }

    fn coordinate(&mut self, dimensions: Dimensions, writer: &mut Writer) -> Result<()> {
        for _ in 0..dimensions.count() {
            let bytes = self.take::<8>()?;
            let number = if self.little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) };
            writer.numbers(&[number]);
        }
        Ok(())
    }
}
