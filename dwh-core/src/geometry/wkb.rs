//! WKB, as the standard (ISO 13249-3) and `st_asbinary` have it, from text that PostGIS writes.

use super::{Dimensions, Ewkt, GeometryType, ewkb, scan};
use crate::error::Result;

/// A geometry as WKB, little-endian, without its SRID.
///
/// ```
/// use dwh_core::geometry::Wkb;
/// let text = Wkb::parse("SRID=4326;POINT(1 2)")?;
/// assert_eq!(text, Wkb::parse("0101000020E6100000000000000000F03F0000000000000040")?);
/// assert_eq!((text.srid, text.bytes.len()), (Some(4326), 21));
/// # Ok::<(), dwh_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wkb {
    /// The SRID, if there is one.
    pub srid: Option<u32>,
    /// The outermost type.
    pub geometry_type: GeometryType,
    /// The numbers of every coordinate.
    pub dimensions: Dimensions,
    /// The bytes, as `st_asbinary(geom, 'NDR')` writes them. An empty point has NaN coordinates.
    pub bytes: Vec<u8>,
}

impl Wkb {
    /// The geometry of EWKT or of hex EWKB, told apart by their first letter.
    ///
    /// # Errors
    /// `Data`, with the place but never the coordinates.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.starts_with('0') {
            let ewkb::Found { srid, geometry_type, dimensions, bytes } = ewkb::parse(text)?;
            return Ok(Self { srid, geometry_type, dimensions, bytes });
        }
        let ewkt = Ewkt::parse(text)?;
        let bytes = scan::bytes(ewkt.text, ewkt.dimensions)?;
        Ok(Self { srid: ewkt.srid, geometry_type: ewkt.geometry_type, dimensions: ewkt.dimensions, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        crate::dialect::hex(&Wkb::parse(text).expect(text).bytes)
    }

    #[test]
    fn text_becomes_the_bytes_that_postgis_writes() {
        // select encode(st_asbinary('…', 'NDR'), 'hex')
        for (text, bytes) in [
            ("POINT(1 2)", "0101000000000000000000f03f0000000000000040"),
            ("POINT(1 2 3)", "01e9030000000000000000f03f00000000000000400000000000000840"),
            ("POINT EMPTY", "0101000000000000000000f87f000000000000f87f"),
            ("LINESTRING EMPTY", "010200000000000000"),
            (
                "MULTIPOINT(1 2,EMPTY)",
                "0104000000020000000101000000000000000000f03f00000000000000400101000000000000000000f87f000000000000f87f",
            ),
            (
                "GEOMETRYCOLLECTION(POINT EMPTY,POINT(1 2))",
                "0107000000020000000101000000000000000000f87f000000000000f87f0101000000000000000000f03f0000000000000040",
            ),
            (
                "LINESTRING(0 0,1 1)",
                "01020000000200000000000000000000000000000000000000000000000000f03f000000000000f03f",
            ),
        ] {
            assert_eq!(hex(text), bytes, "{text}");
        }
    }

    #[test]
    fn text_and_hex_are_one_geometry() {
        for (text, ewkb) in [
            ("SRID=4326;POINT(1 2)", "0101000020E6100000000000000000F03F0000000000000040"),
            ("POINTM(1 2 3)", "0101000040000000000000F03F00000000000000400000000000000840"),
            ("POLYGON EMPTY", "010300000000000000"),
            // Big-endian.
            ("POINT(1 2)", "00000000013FF00000000000004000000000000000"),
        ] {
            assert_eq!(Wkb::parse(text).expect(text), Wkb::parse(ewkb).expect(ewkb), "{text}");
        }
    }

    #[test]
    fn broken_bytes_are_refused() {
        let deep = format!("{}0101000000{}", "010700000001000000".repeat(100), "00".repeat(16));
        for text in [
            "0",
            "01",
            "0201000000",
            "01FF000000",
            "0101000000000000000000F03F",
            "01020000000200000000",
            "0101zz",
            &deep,
        ] {
            assert!(Wkb::parse(text).is_err(), "{text}");
        }
        // What stands behind is none of it.
        assert!(Wkb::parse("0101000000000000000000F03F000000000000004000").is_err());
    }
}
