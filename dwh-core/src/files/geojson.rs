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

/// Which geometries a column takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    /// Name of the one kind that it takes, in small letters; `None`: any.
    kind: Option<String>,
    /// Whether positions have three numbers.
    is_high: bool,
}

impl Form {
    /// Out of the first modifier of the type; `None` where only the server knows.
    pub(super) fn of(modifier: &str) -> Option<Self> {
        let name = modifier.to_lowercase();
        let (kind, is_high) = name.strip_suffix('z').map_or((name.as_str(), false), |kind| (kind, true));
        match kind {
            "geometry" => Some(Self { kind: None, is_high }),
            "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" => Some(Self { kind: Some(kind.to_owned()), is_high }),
            _ => None,
        }
    }

    fn word(&self) -> String {
        let kind = self.kind.as_deref().unwrap_or("geometry");
        format!("{kind} of {} coordinates", if self.is_high { "3" } else { "2" })
    }
}

/// The EWKT of a geometry.
///
/// # Errors
/// The rule that is broken: it is none, or none that the column takes.
pub(super) fn ewkt(raw: &str, form: Option<&Form>, srid: Option<&str>) -> Result<String, String> {
    let mut text = srid.map_or_else(String::new, |srid| format!("SRID={srid};"));
    let head = text.len();
    let mut size = None;
    geometry(raw, &mut text, &mut size, 0).ok_or("type GeoJSON geometry")?;
    if let Some(form) = form {
        let kind = form.kind.as_ref().is_none_or(|kind| {
            let own = text[head..].split(['(', ' ']).next().unwrap_or_default();
            own.eq_ignore_ascii_case(kind)
        });
        if !kind || size.is_some_and(|size| (size == 3) != form.is_high) {
            return Err(format!("type {}", form.word()));
        }
    }
    Ok(text)
}

/// The EWKT of a point.
pub(super) fn point(lon: &str, lat: &str, srid: Option<&str>) -> String {
    let srid = srid.map_or_else(String::new, |srid| format!("SRID={srid};"));
    format!("{srid}POINT({lon} {lat})")
}

/// `size`: how many numbers all positions have, once one was met.
fn geometry(raw: &str, text: &mut String, size: &mut Option<usize>, depth: usize) -> Option<()> {
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
            return list(&found.geometries?, text, |part, text| geometry(part.get(), text, size, depth + 1));
        }
        _ => return None,
    };
    text.push_str(name);
    let coordinates = found.coordinates?.get();
    if levels == 0 {
        text.push('(');
        position(coordinates, text, size)?;
        text.push(')');
        return Some(());
    }
    let line = match found.kind.as_str() {
        "LineString" | "MultiLineString" => Line::Open,
        "Polygon" | "MultiPolygon" => Line::Ring,
        _ => Line::None,
    };
    nested(coordinates, levels, line, text, size).map(drop)
}

/// What a list of positions is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    None,
    Open,
    Ring,
}

/// Positions in so many levels of parentheses.
fn nested(raw: &str, levels: usize, line: Line, text: &mut String, size: &mut Option<usize>) -> Option<()> {
    let parts: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    if levels > 1 {
        return list(&parts, text, |part, text| nested(part.get(), levels - 1, line, text, size));
    }
    let mut ends: Vec<[f64; 2]> = Vec::new();
    list(&parts, text, |part, text| {
        ends.push(position(part.get(), text, size)?);
        Some(())
    })?;
    let closed = ends.first() == ends.last();
    let whole = match line {
        Line::None => true,
        Line::Open => ends.len() != 1,
        Line::Ring => ends.is_empty() || (ends.len() > 3 && closed),
    };
    whole.then_some(())
}

fn list(
    parts: &[&RawValue],
    text: &mut String,
    mut each: impl FnMut(&RawValue, &mut String) -> Option<()>,
) -> Option<()> {
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

/// Two numbers, or three, as all positions of the geometry have.
fn position(raw: &str, text: &mut String, size: &mut Option<usize>) -> Option<[f64; 2]> {
    let numbers: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    if !(2..=3).contains(&numbers.len()) || *size.get_or_insert(numbers.len()) != numbers.len() {
        return None;
    }
    let mut place = [0.0; 2];
    for (at, number) in numbers.iter().enumerate() {
        let blank = if at == 0 { "" } else { " " };
        write!(text, "{blank}{}", number.get()).ok()?;
        let value: f64 = number.get().parse().ok().filter(|value: &f64| value.is_finite())?;
        if let Some(own) = place.get_mut(at) {
            *own = value;
        }
    }
    Some(place)
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
            assert_eq!(ewkt(json, None, None).as_deref(), Ok(text), "{json}");
        }
        assert_eq!(
            ewkt(r#"{"type":"Point","coordinates":[1,2]}"#, None, Some("4326")).as_deref(),
            Ok("SRID=4326;POINT(1 2)")
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
            r#"{"type":"Point","coordinates":[1e400,2]}"#,
            r#"{"type":"LineString","coordinates":[[1,2]]}"#,
            r#"{"type":"LineString","coordinates":[[1,2],[3,4,5]]}"#,
            r#"{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,1]]]}"#,
            r#"{"type":"Polygon","coordinates":[[[0,0],[1,0],[0,0]]]}"#,
        ] {
            assert_eq!(ewkt(json, None, None), Err("type GeoJSON geometry".to_owned()), "{json}");
        }
    }

    #[test]
    fn a_column_takes_the_geometries_that_its_type_names() {
        let fits = |modifier: &str, json: &str| ewkt(json, Form::of(modifier).as_ref(), None).map(drop);
        let (flat, high) = (r#"{"type":"Point","coordinates":[1,2]}"#, r#"{"type":"Point","coordinates":[1,2,3]}"#);
        for (modifier, flat_fits, high_fits) in [
            ("Point", true, false),
            ("PointZ", false, true),
            ("Geometry", true, false),
            ("Polygon", false, false),
            ("PointM", true, true),
        ] {
            assert_eq!(
                (fits(modifier, flat).is_ok(), fits(modifier, high).is_ok()),
                (flat_fits, high_fits),
                "{modifier}"
            );
        }
        assert_eq!(fits("Polygon", flat), Err("type polygon of 2 coordinates".to_owned()));
        assert!(fits("MultiPoint", r#"{"type":"MultiPoint","coordinates":[]}"#).is_ok());
    }
}
