//! Hex EWKB, read into text; the text is then checked like any other.

use std::fmt::Write;

use super::{Content, Dimensions, GeometryType, MAX_DEPTH, MAX_SRID, wrong};
use crate::error::{Error, Result};

const HAS_Z: u32 = 0x8000_0000;
const HAS_M: u32 = 0x4000_0000;
const HAS_SRID: u32 = 0x2000_0000;

/// SRID and text of a geometry.
pub(super) fn read(hex: &str) -> Result<(Option<u32>, String)> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, odd) = hex.trim().as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    let Some(bytes) = bytes.filter(|_| odd.is_empty()) else {
        return Err(wrong("EWKB: not pairs of hexadecimal digits"));
    };
    let mut reader = Reader { rest: &bytes, little: true, srid: None, dimensions: None, out: String::new() };
    reader.geometry(None, 0)?;
    if reader.rest.is_empty() { Ok((reader.srid, reader.out)) } else { Err(wrong("EWKB: bytes after the end")) }
}

fn cut() -> Error {
    wrong("EWKB: it ends too early")
}

struct Reader<'a> {
    rest: &'a [u8],
    little: bool,
    srid: Option<u32>,
    dimensions: Option<Dimensions>,
    out: String,
}

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(cut)?;
        self.rest = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32> {
        let bytes = self.bytes()?;
        Ok(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// One geometry; `parent` decides whether the name is written.
    fn geometry(&mut self, parent: Option<GeometryType>, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(wrong("EWKB: more than 64 levels"));
        }
        self.little = match self.bytes()? {
            [0] => false,
            [1] => true,
            _ => return Err(wrong("EWKB: the byte order is neither 0 nor 1")),
        };
        let word = self.u32()?;
        let number = word & !(HAS_Z | HAS_M | HAS_SRID);
        let known = GeometryType::ALL.iter().find(|(_, _, other)| *other == number);
        let Some((kind, name, _)) = known else { return Err(wrong(format!("EWKB: no geometry type {number}"))) };
        let (dimensions, tag) = match (word & HAS_Z != 0, word & HAS_M != 0) {
            (false, false) => (Dimensions::Xy, ""),
            (true, false) => (Dimensions::Xyz, " Z "),
            (false, true) => (Dimensions::Xym, " M "),
            (true, true) => (Dimensions::Xyzm, " ZM "),
        };
        if *self.dimensions.get_or_insert(dimensions) != dimensions {
            return Err(wrong("EWKB: parts of different dimensions"));
        }
        if word & HAS_SRID != 0 {
            let srid = self.u32()?;
            if srid > MAX_SRID || self.srid.is_some_and(|known| known != srid) || (depth > 0 && self.srid.is_none()) {
                return Err(wrong("EWKB: the SRID is out of range or differs between parts"));
            }
            self.srid = Some(srid);
        }
        let parts = match parent.map(GeometryType::content) {
            Some(Content::Parts(parts)) => parts,
            _ => &[],
        };
        // Whether this type may stand here is seen when the text is checked.
        if parts.first() != Some(kind) {
            self.out.push_str(name);
            self.out.push_str(tag);
        }
        self.body(*kind, depth)
    }

    fn body(&mut self, kind: GeometryType, depth: usize) -> Result<()> {
        match kind.content() {
            Content::Coordinate => {
                let start = self.out.len();
                self.out.push('(');
                // PostGIS writes an empty point as NaN in every number.
                if self.coordinate()? {
                    self.out.truncate(start);
                    self.out.push_str(if self.out.ends_with(' ') || start == 0 { "EMPTY" } else { " EMPTY" });
                } else {
                    self.out.push(')');
                }
                Ok(())
            }
            Content::Coordinates => self.list(|reader| reader.coordinate().map(drop)),
            Content::Rings => self.list(|reader| reader.list(|ring| ring.coordinate().map(drop))),
            Content::Parts(_) => self.list(|reader| reader.geometry(Some(kind), depth + 1)),
        }
    }

    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let count = self.u32()?;
        // Nothing is allocated from `count`: a lie ends at the end of the bytes.
        for at in 0..count {
            self.out.push(if at == 0 { '(' } else { ',' });
            item(self)?;
        }
        self.out.push_str(if count == 0 { " EMPTY" } else { ")" });
        Ok(())
    }

    /// One coordinate; whether all its numbers are NaN.
    fn coordinate(&mut self) -> Result<bool> {
        let count = self.dimensions.map_or(2, Dimensions::count);
        let mut nan = 0;
        for at in 0..count {
            let bytes = self.bytes()?;
            let number = if self.little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) };
            nan += usize::from(number.is_nan());
            let gap = if at == 0 { "" } else { " " };
            // Writing to a String does not fail; Rust prints the shortest text that reads back the same.
            let _ = write!(self.out, "{gap}{number}");
        }
        Ok(nan == count)
    }
}
