//! Formats and encodings.

use super::Raw;

const PLACES: &str = r#"
[[table]]
name = "places"
source = "raw"
files = ["places/*.json", "places/*.jsonl", "places/*.csv", "places/*.geojson"]
mode = "files"
[table.columns]
name = { type = "text" }
size = { type = "numeric(8,3)" }
"#;

#[tokio::test]
async fn every_format_and_encoding_is_read() {
    let raw = Raw::new("files_formats", PLACES).await;
    let utf16 = |text: &str| {
        [0xFEFF_u16].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    };
    raw.write("places/a.json", r#"[{"name": "Ärger", "size": 1.500}]"#);
    raw.write("places/b.jsonl", "{\"name\": \"one\", \"size\": 2}\n\n{\"name\": \"two\", \"size\": null}\n");
    raw.write("places/c.csv", "size,name\n3.25,\"x, \"\"y\"\"\nz\"\n,w\n");
    raw.write("places/d.csv", [b"\xEF\xBB\xBF", "name,size\nmit BOM,4\n".as_bytes()].concat());
    raw.write("places/e.json", utf16(r#"[{"name": "→", "size": 5}]"#));
    raw.write(
        "places/f.geojson",
        r#"{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": null, "properties": {"name": "f", "size": 6}}]}"#,
    );
    let output = raw.project.ok(&["run"]);
    let got =
        raw.rows("select concat_ws('|', name, size, _file, _record) from bronze.places order by _file, _record").await;
    assert_eq!(
        got,
        [
            "Ärger|1.500|places/a.json|/0",
            "one|2.000|places/b.jsonl|1",
            "two|places/b.jsonl|3",
            "x, \"y\"\nz|3.250|places/c.csv|2",
            "w|places/c.csv|4",
            "mit BOM|4.000|places/d.csv|2",
            "→|5.000|places/e.json|/0",
            "f|6.000|places/f.geojson|/features/0"
        ],
        "{}",
        output.all()
    );
}

#[tokio::test]
async fn latin1_is_read_where_it_is_said() {
    let tables = PLACES.replace("mode = \"files\"", "mode = \"files\"\nencoding = \"latin1\"");
    let raw = Raw::new("files_latin1", &tables).await;
    raw.write("places/a.csv", b"name,size\ncaf\xE9,1\n");
    raw.project.ok(&["run"]);
    assert_eq!(raw.rows("select name from bronze.places").await, ["café"]);
}

#[tokio::test]
async fn places_become_points_with_all_their_digits() {
    let tables = r#"
[[table]]
name = "points"
source = "raw"
files = "*.json"
mode = "files"
records = "/list/items"
[table.columns]
id = { type = "int" }
geom = { lon = "/at/lon", lat = "/at/1", type = "geometry(Point,4326)" }
seen = { type = "timestamptz" }
tags = { type = "text[]" }
"#
    .replace("/at/1", "/at/lat");
    let raw = Raw::new("files_points", &tables).await;
    raw.write(
        "a.json",
        r#"{"note": [1, {"items": 3}], "list": {"n": 2, "items": [
            {"id": 1, "at": {"lon": 36.8219462, "lat": -1.2920659}, "seen": "2025-10-30T22:56:51Z", "tags": ["a\"b", null]},
            {"id": 2}]}}"#,
    );
    raw.project.ok(&["run"]);
    let got = raw
        .rows("select concat_ws('|', id, st_asewkt(geom), seen at time zone 'UTC', tags, _record) from bronze.points order by id")
        .await;
    assert_eq!(
        got,
        [
            "1|SRID=4326;POINT(36.8219462 -1.2920659)|2025-10-30 22:56:51|{\"a\\\"b\",NULL}|/list/items/0",
            "2|/list/items/1"
        ]
    );
}
