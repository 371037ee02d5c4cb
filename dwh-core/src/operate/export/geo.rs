//! GeoParquet 1.1: what a file says of its geometries.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

use super::columns::Shape;
use super::crs;
use super::value::Reason;
use crate::geometry::{Dimensions, GeometryType, Wkb};

/// The version of the metadata.
const VERSION: &str = "1.1.0";

/// What was seen of the geometries of a column.
#[derive(Debug, Default)]
pub(super) struct Seen {
    geography: bool,
    /// That of all geometries so far, or of the column's type; 0: they have none.
    pub(super) srid: Option<u32>,
    types: BTreeSet<String>,
}

impl Seen {
    /// `before` is the SRID of the geometries in the files before this one.
    pub(super) fn of(shape: Shape, before: Option<u32>) -> Self {
        match shape {
            Shape::Geometry { geography, srid } => Self { geography, srid: srid.or(before), types: BTreeSet::new() },
            Shape::One(_) | Shape::List(_) => Self::default(),
        }
    }

    /// The bytes of a geometry.
    pub(super) fn bytes(&mut self, text: &str) -> Result<Vec<u8>, Reason> {
        let wkb = Wkb::parse(text).map_err(|_| "holds a geometry that is not written as PostGIS prints it")?;
        let srid = wkb.srid.unwrap_or(0);
        if *self.srid.get_or_insert(srid) != srid {
            return Err("holds geometries of several SRIDs, and a column of GeoParquet has one");
        }
        let name = name(wkb.geometry_type).ok_or("holds a curve or surface, which GeoParquet does not have")?;
        let z = match wkb.dimensions {
            Dimensions::Xy => "",
            Dimensions::Xyz => " Z",
            Dimensions::Xym | Dimensions::Xyzm => {
                return Err("holds geometries with M, which GeoParquet does not have");
            }
        };
        if !self.types.iter().any(|known| known.strip_suffix(z) == Some(name)) {
            self.types.insert(format!("{name}{z}"));
        }
        Ok(wkb.bytes)
    }

    /// The SRID, if there is one.
    pub(super) fn srid(&self) -> Option<u32> {
        self.srid.filter(|srid| *srid != 0)
    }

    fn column(&self) -> Value {
        let mut column = Map::new();
        column.insert("encoding".to_owned(), json!("WKB"));
        column.insert("geometry_types".to_owned(), json!(self.types));
        // Without this key it would be longitude and latitude.
        column.insert("crs".to_owned(), self.srid().and_then(crs::projjson).unwrap_or(Value::Null));
        if self.geography {
            column.insert("edges".to_owned(), json!("spherical"));
        }
        Value::Object(column)
    }
}

fn name(kind: GeometryType) -> Option<&'static str> {
    Some(match kind {
        GeometryType::Point => "Point",
        GeometryType::LineString => "LineString",
        GeometryType::Polygon => "Polygon",
        GeometryType::MultiPoint => "MultiPoint",
        GeometryType::MultiLineString => "MultiLineString",
        GeometryType::MultiPolygon => "MultiPolygon",
        GeometryType::GeometryCollection => "GeometryCollection",
        _ => return None,
    })
}

/// The text under the key `geo`; the first column is the primary one. `None` without a geometry.
pub(super) fn metadata<'a>(columns: impl Iterator<Item = (&'a str, &'a Seen)>) -> Option<String> {
    let columns: Vec<(&str, &Seen)> = columns.collect();
    let (primary, _) = columns.first()?;
    let described: Map<String, Value> =
        columns.iter().map(|(name, seen)| ((*name).to_owned(), seen.column())).collect();
    Some(json!({ "version": VERSION, "primary_column": primary, "columns": described }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_srid_are_told() {
        let mut seen = Seen::of(Shape::Geometry { geography: false, srid: None }, None);
        for text in ["SRID=4326;POINT(1 2)", "SRID=4326;POINT(3 4)", "SRID=4326;LINESTRING(1 2 3,4 5 6)"] {
            seen.bytes(text).expect(text);
        }
        for text in ["POINT(1 2)", "SRID=3857;POINT(1 2)", "SRID=4326;POINTM(1 2 3)", "SRID=4326;TIN EMPTY", "x"] {
            assert!(seen.bytes(text).is_err(), "{text}");
        }
        let text = metadata([("geom", &seen)].into_iter()).expect("a geometry");
        let geo: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&geo["version"], &geo["primary_column"]), (&json!("1.1.0"), &json!("geom")));
        let column = &geo["columns"]["geom"];
        assert_eq!(column["geometry_types"], json!(["LineString Z", "Point"]));
        assert_eq!(column["crs"]["id"], json!({"authority": "EPSG", "code": 4326}));
        assert_eq!(column.get("edges"), None);
        assert_eq!(metadata(std::iter::empty()), None);
    }

    #[test]
    fn without_an_srid_nothing_is_claimed() {
        let mut seen = Seen::of(Shape::Geometry { geography: false, srid: None }, None);
        seen.bytes("POINT(1 2)").expect("a point");
        assert!(seen.bytes("SRID=4326;POINT(1 2)").is_err());
        assert_eq!((seen.srid(), &seen.column()["crs"]), (None, &Value::Null));
        let mut typed = Seen::of(Shape::Geometry { geography: true, srid: Some(4326) }, None);
        typed.bytes("SRID=4326;POINT(1 2)").expect("a point");
        assert_eq!((typed.srid(), &typed.column()["edges"]), (Some(4326), &json!("spherical")));
        // What whoever reads all files takes for one column.
        let mut later = Seen::of(Shape::Geometry { geography: false, srid: None }, seen.srid);
        assert!(later.bytes("SRID=4326;POINT(1 2)").is_err());
    }
}
