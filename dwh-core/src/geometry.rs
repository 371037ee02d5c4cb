//! EWKT, as PostGIS writes it, to and from [`geo_types`], with the SRID kept.
//!
//! For Rust callers who look into rows; the pipeline itself passes geometry through as text. [`Ewkt::parse`] takes every
//! geometry of PostGIS whose numbers are finite. [`Ewkt::to_geometry`] refuses what `geo_types` would lose: Z and M,
//! curves and surfaces, empty points, rings that are not closed. [`Wkb::parse`] gives the bytes of the standard, of EWKT and of
//! hex EWKB.
//!
//! ```
//! use dwh_core::geometry::{Ewkt, to_ewkt};
//! let ewkt = Ewkt::parse("SRID=4326;POINT(36.82 -1.29)")?;
//! let point = ewkt.to_geometry()?;
//! assert_eq!(to_ewkt(&point, ewkt.srid)?, "SRID=4326;POINT(36.82 -1.29)");
//! # Ok::<(), dwh_core::Error>(())
//! ```

mod ewkb;
mod scan;
mod wkb;
mod writer;

use geo_types::Geometry;
use std::fmt;
use wkt::{ToWkt, TryFromWkt};

use crate::error::{Error, ErrorKind, Result};

pub use wkb::Wkb;

/// The largest SRID that PostGIS keeps.
const MAX_SRID: u32 = 999_999;
/// How deep collections may lie in each other; a reader without a limit dies on a stack overflow.
const MAX_DEPTH: usize = 64;

/// The geometry types of PostGIS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the standard")]
pub enum GeometryType {
    Point,
    LineString,
    Polygon,
    MultiPoint,
    MultiLineString,
    MultiPolygon,
    GeometryCollection,
    CircularString,
    CompoundCurve,
    CurvePolygon,
    MultiCurve,
    MultiSurface,
    PolyhedralSurface,
    Tin,
    Triangle,
}

/// What stands inside a geometry.
enum Content {
    Coordinate,
    Coordinates,
    Rings,
    /// Geometries of these types; the first is the one that EWKT writes without its name.
    Parts(&'static [GeometryType]),
}

use GeometryType as T;

impl GeometryType {
    /// Type, name in EWKT.
    const ALL: [(Self, &'static str); 15] = [
        (T::Point, "POINT"),
        (T::LineString, "LINESTRING"),
        (T::Polygon, "POLYGON"),
        (T::MultiPoint, "MULTIPOINT"),
        (T::MultiLineString, "MULTILINESTRING"),
        (T::MultiPolygon, "MULTIPOLYGON"),
        (T::GeometryCollection, "GEOMETRYCOLLECTION"),
        (T::CircularString, "CIRCULARSTRING"),
        (T::CompoundCurve, "COMPOUNDCURVE"),
        (T::CurvePolygon, "CURVEPOLYGON"),
        (T::MultiCurve, "MULTICURVE"),
        (T::MultiSurface, "MULTISURFACE"),
        (T::PolyhedralSurface, "POLYHEDRALSURFACE"),
        (T::Tin, "TIN"),
        (T::Triangle, "TRIANGLE"),
    ];

    /// The name as EWKT writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    const fn content(self) -> Content {
        match self {
            T::Point => Content::Coordinate,
            T::LineString | T::CircularString => Content::Coordinates,
            T::Polygon | T::Triangle => Content::Rings,
            T::MultiPoint => Content::Parts(&[T::Point]),
            T::MultiLineString => Content::Parts(&[T::LineString]),
            T::MultiPolygon | T::PolyhedralSurface => Content::Parts(&[T::Polygon]),
            T::Tin => Content::Parts(&[T::Triangle]),
            T::CompoundCurve => Content::Parts(&[T::LineString, T::CircularString]),
            T::CurvePolygon | T::MultiCurve => Content::Parts(&[T::LineString, T::CircularString, T::CompoundCurve]),
            T::MultiSurface => Content::Parts(&[T::Polygon, T::CurvePolygon]),
            T::GeometryCollection => Content::Parts(&[]),
        }
    }

    /// Its number in WKB, without dimensions.
    const fn code(self) -> u32 {
        let place = self as u32;
        // 13 and 14 are the abstract curve and surface.
        if place < T::PolyhedralSurface as u32 { place + 1 } else { place + 3 }
    }

    const fn fits_geo_types(self) -> bool {
        (self as usize) <= T::GeometryCollection as usize
    }
}

/// Which numbers a coordinate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the standard")]
pub enum Dimensions {
    Xy,
    Xyz,
    Xym,
    Xyzm,
}

impl Dimensions {
    const fn of(z: bool, m: bool) -> Self {
        match (z, m) {
            (false, false) => Self::Xy,
            (true, false) => Self::Xyz,
            (false, true) => Self::Xym,
            (true, true) => Self::Xyzm,
        }
    }

    const fn count(self) -> usize {
        match self {
            Self::Xy => 2,
            Self::Xyz | Self::Xym => 3,
            Self::Xyzm => 4,
        }
    }
}

/// A geometry in text, checked: one geometry, known types, balanced, finite numbers, the same dimensions throughout.
///
/// `Display` writes it with its SRID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ewkt<'a> {
    /// The SRID, if the text names one; 0 to 999999.
    pub srid: Option<u32>,
    /// The outermost type.
    pub geometry_type: GeometryType,
    /// The numbers of every coordinate; of an empty geometry, what its tag says.
    pub dimensions: Dimensions,
    text: &'a str,
    /// What `geo_types` cannot hold of it.
    loses: Option<&'static str>,
}

impl<'a> Ewkt<'a> {
    /// Checks `text`, with or without `SRID=n;` before it.
    ///
    /// # Errors
    /// `Data`, with the place but never the coordinates.
    pub fn parse(text: &'a str) -> Result<Self> {
        let (srid, text) = split_srid(text)?;
        Self::checked(srid, text)
    }

    fn checked(srid: Option<u32>, text: &'a str) -> Result<Self> {
        let found = scan::scan(text)?;
        let (geometry_type, dimensions, loses) = (found.geometry_type, found.dimensions, found.loses);
        Ok(Self { srid, geometry_type, dimensions, text, loses })
    }

    /// The same geometry for computing; the SRID stays with the caller.
    ///
    /// # Errors
    /// `Data` if `geo_types` cannot hold all of it: Z or M, a curve or surface, an empty point, an unclosed ring.
    pub fn to_geometry(&self) -> Result<Geometry<f64>> {
        let loses = self.loses.or((self.dimensions != Dimensions::Xy).then_some("Z or M"));
        if let Some(what) = loses {
            return Err(Error::new(ErrorKind::Data, format!("{}: {what} would be lost", self.geometry_type.name()))
                .with_hint("compute with it in PostGIS, or reduce it there first (`st_force2d`, `st_curvetoline`)"));
        }
        // The reader's own message may quote the text, which is a row's value.
        Geometry::try_from_wkt_str(self.text).map_err(|_| {
            Error::new(ErrorKind::Data, format!("{}: parts of it cannot be held", self.geometry_type.name()))
                .with_hint("compute with it in PostGIS; an empty part in a larger geometry is the usual cause")
        })
    }
}

impl fmt::Display for Ewkt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(srid) = self.srid {
            write!(f, "SRID={srid};")?;
        }
        f.write_str(self.text)
    }
}

/// The geometry as EWKT, every number exact.
///
/// # Errors
/// `Data` if a number is not finite.
pub fn to_ewkt(geometry: &Geometry<f64>, srid: Option<u32>) -> Result<String> {
    Ewkt::checked(srid, &geometry.wkt_string()).map(|ewkt| ewkt.to_string())
}

fn split_srid(text: &str) -> Result<(Option<u32>, &str)> {
    let text = text.trim();
    if !text.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("SRID=")) {
        return Ok((None, text));
    }
    let (number, rest) = text[5..].split_once(';').unwrap_or((&text[5..], ""));
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    match number.parse() {
        Ok(srid) if digits && srid <= MAX_SRID => Ok((Some(srid), rest)),
        _ => Err(wrong("EWKT: the SRID is not a number from 0 to 999999")),
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Data, message)
        .with_hint("write it as `st_asewkt(geom, 30)` does, such as `SRID=4326;POINT(36.8 -1.3)`")
}

#[cfg(test)]
mod tests;
