//! Coordinate systems as PROJJSON, by SRID: those that can be told without the EPSG's tables.

use serde_json::{Value, json};

/// The description that GeoParquet asks for; `None` for an SRID of which only the number is known.
pub(super) fn projjson(srid: u32) -> Option<Value> {
    let described = match srid {
        4326 => wgs84(),
        3857 => projected("WGS 84 / Pseudo-Mercator", srid, &mercator()),
        32_601..=32_660 => utm(srid, srid - 32_600, true),
        32_701..=32_760 => utm(srid, srid - 32_700, false),
        _ => return None,
    };
    Some(described)
}

fn id(code: u32) -> Value {
    json!({ "authority": "EPSG", "code": code })
}

fn wgs84() -> Value {
    let axis = |name: &str, short: &str, direction: &str| json!({ "name": name, "abbreviation": short, "direction": direction, "unit": "degree" });
    json!({
        "$schema": "https://proj.org/schemas/v0.7/projjson.schema.json",
        "type": "GeographicCRS",
        "name": "WGS 84",
        "datum": {
            "type": "GeodeticReferenceFrame",
            "name": "World Geodetic System 1984",
            "ellipsoid": { "name": "WGS 84", "semi_major_axis": 6_378_137, "inverse_flattening": 298.257_223_563 }
        },
        "coordinate_system": {
            "subtype": "ellipsoidal",
            "axis": [
                axis("Geodetic latitude", "Lat", "north"),
                axis("Geodetic longitude", "Lon", "east")
            ]
        },
        "id": id(4326)
    })
}

fn projected(name: &str, srid: u32, conversion: &Value) -> Value {
    let axis = |name: &str, short: &str, direction: &str| json!({ "name": name, "abbreviation": short, "direction": direction, "unit": "metre" });
    json!({
        "$schema": "https://proj.org/schemas/v0.7/projjson.schema.json",
        "type": "ProjectedCRS",
        "name": name,
        "base_crs": wgs84(),
        "conversion": conversion,
        "coordinate_system": {
            "subtype": "Cartesian",
            "axis": [axis("Easting", "E", "east"), axis("Northing", "N", "north")]
        },
        "id": id(srid)
    })
}

fn parameter(name: &str, value: f64, unit: &str, code: u32) -> Value {
    json!({ "name": name, "value": value, "unit": unit, "id": id(code) })
}

fn mercator() -> Value {
    json!({
        "name": "Popular Visualisation Pseudo-Mercator",
        "method": { "name": "Popular Visualisation Pseudo Mercator", "id": id(1024) },
        "parameters": [
            parameter("Latitude of natural origin", 0.0, "degree", 8801),
            parameter("Longitude of natural origin", 0.0, "degree", 8802),
            parameter("False easting", 0.0, "metre", 8806),
            parameter("False northing", 0.0, "metre", 8807)
        ]
    })
}

fn utm(srid: u32, zone: u32, north: bool) -> Value {
    let name = format!("UTM zone {zone}{}", if north { 'N' } else { 'S' });
    let conversion = json!({
        "name": name,
        "method": { "name": "Transverse Mercator", "id": id(9807) },
        "parameters": [
            parameter("Latitude of natural origin", 0.0, "degree", 8801),
            parameter("Longitude of natural origin", f64::from(zone) * 6.0 - 183.0, "degree", 8802),
            parameter("Scale factor at natural origin", 0.9996, "unity", 8805),
            parameter("False easting", 500_000.0, "metre", 8806),
            parameter("False northing", if north { 0.0 } else { 10_000_000.0 }, "metre", 8807)
        ]
    });
    projected(&format!("WGS 84 / {name}"), srid, &conversion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_lie_where_they_should() {
        let nairobi = projjson(32_737).expect("UTM");
        assert_eq!(nairobi["name"], "WGS 84 / UTM zone 37S");
        assert_eq!(nairobi["conversion"]["parameters"][1]["value"], 39.0);
        assert_eq!(nairobi["conversion"]["parameters"][4]["value"], 10_000_000.0);
        for srid in [4326, 3857, 32_601, 32_660] {
            assert_eq!(projjson(srid).expect("known")["id"]["code"], srid);
        }
        for srid in [0, 2056, 32_600, 32_661, 900_913] {
            assert_eq!(projjson(srid), None, "{srid}");
        }
    }
}
