//! A GeoJSON geometry as EWKT. The numbers stay as they are written: no float has a look at them.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// How deep collections may lie in each other.
const MAX_DEPTH: usize = 64;

/// A geometry, or a part of one.
#[derive(Deserialize)]
struct Geometry<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default)]
    coordinates: Option<&'a RawValue>,
    #[serde(borrow, default)]
    geometries: Option<Vec<&'a RawValue>>,
}

/// The EWKT of a geometry; `None` if it is none.
pub(super) fn ewkt(raw: &str, srid: Option<&str>) -> Option<String> {
    let mut text = srid.map_or_else(String::new, |srid| format!("SRID={srid};"));
    geometry(raw, &mut text, 0)?;
    Some(text)
}

/// The EWKT of a point.
pub(super) fn point(lon: &str, lat: &str, srid: Option<&str>) -> String {
    let srid = srid.map_or_else(String::new, |srid| format!("SRID={srid};"));
    format!("{srid}POINT({lon} {lat})")
}

fn geometry(raw: &str, text: &mut String, depth: usize) -> Option<()> {
    let found: Geometry<'_> = serde_json::from_str(raw).ok()?;
    if depth > MAX_DEPTH {
        return None;
    }
    let (name, levels) = match found.kind.as_str() {
        "Point" => ("POINT", 0),
        "LineString" => ("LINESTRING", 1),
        "MultiPoint" => ("MULTIPOINT", 1),
        "Polygon" => ("POLYGON", 2),
        "MultiLineString" => ("MULTILINESTRING", 2),
        "MultiPolygon" => ("MULTIPOLYGON", 3),
        "GeometryCollection" => {
            text.push_str("GEOMETRYCOLLECTION");
            return list(&found.geometries?, text, |part, text| geometry(part.get(), text, depth + 1));
        }
        _ => return None,
    };
    text.push_str(name);
    let coordinates = found.coordinates?.get();
    if levels == 0 {
        text.push('(');
        position(coordinates, text)?;
        text.push(')');
        return Some(());
    }
    nested(coordinates, levels, text)
}

/// Positions in so many levels of parentheses.
fn nested(raw: &str, levels: usize, text: &mut String) -> Option<()> {
    if levels == 0 {
        return position(raw, text);
    }
    let parts: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    list(&parts, text, |part, text| nested(part.get(), levels - 1, text))
}

fn list(parts: &[&RawValue], text: &mut String, each: impl Fn(&RawValue, &mut String) -> Option<()>) -> Option<()> {
    if parts.is_empty() {
        text.push_str(" EMPTY");
        return Some(());
    }
    for (at, part) in parts.iter().enumerate() {
        text.push(if at == 0 { '(' } else { ',' });
        each(part, text)?;
    }
    text.push(')');
    Some(())
}

/// Two numbers, or three.
fn position(raw: &str, text: &mut String) -> Option<()> {
    let numbers: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    let is_number = |raw: &&RawValue| raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if !(2..=3).contains(&numbers.len()) || !numbers.iter().all(is_number) {
        return None;
    }
    for (at, number) in numbers.iter().enumerate() {
        let blank = if at == 0 { "" } else { " " };
        write!(text, "{blank}{}", number.get()).ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_geometry_becomes_text_with_its_own_digits() {
        for (json, text) in [
            (r#"{"type":"Point","coordinates":[36.8200000000000001,-1.29]}"#, "POINT(36.8200000000000001 -1.29)"),
            (r#"{"type":"Point","coordinates":[1,2,3]}"#, "POINT(1 2 3)"),
            (r#"{"type":"LineString","coordinates":[[1,2],[3,4]]}"#, "LINESTRING(1 2,3 4)"),
            (r#"{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}"#, "POLYGON((0 0,1 0,1 1,0 0))"),
            (
                r#"{"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]]]}"#,
                "MULTIPOLYGON(((0 0,1 0,1 1,0 0)))",
            ),
            (r#"{"type":"MultiPoint","coordinates":[]}"#, "MULTIPOINT EMPTY"),
            (
                r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]}]}"#,
                "GEOMETRYCOLLECTION(POINT(1 2))",
            ),
        ] {
            assert_eq!(ewkt(json, None).as_deref(), Some(text), "{json}");
        }
        assert_eq!(
            ewkt(r#"{"type":"Point","coordinates":[1,2]}"#, Some("4326")).as_deref(),
            Some("SRID=4326;POINT(1 2)")
        );
    }

    #[test]
    fn what_is_no_geometry_is_refused() {
        for json in [
            "null",
            "{}",
            r#"{"type":"Circle","coordinates":[1,2]}"#,
            r#"{"type":"Point","coordinates":[1]}"#,
            r#"{"type":"Point","coordinates":["1","2"]}"#,
            r#"{"type":"Point","coordinates":[1,2,3,4]}"#,
            r#"{"type":"LineString","coordinates":[1,2]}"#,
            r#"{"type":"GeometryCollection"}"#,
        ] {
            assert_eq!(ewkt(json, None), None, "{json}");
        }
    }
}
