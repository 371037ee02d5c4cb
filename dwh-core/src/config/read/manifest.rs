//! The rules of `[[manifest]]`.

use super::raw::RawManifest;
use super::section::Section;
use super::value;
use crate::config::manifest::Settings;
use crate::config::problems::did_you_mean;
use crate::config::{DELETES_MAX, OnConflict, OnSchemaChange, SourceConfig, TableConfig};
use crate::watermark::Micros;
use std::collections::BTreeMap;

const DAY: Micros = Micros::seconds(86_400);

/// What a section says; `None` if it names no files.
pub(super) fn settings(
    section: &Section<'_, RawManifest>,
    sources: &BTreeMap<String, SourceConfig>,
) -> Option<Settings> {
    let raw = &section.raw;
    let length = |key, text: &Option<String>| section.checked(key, text.as_deref(), value::duration).unwrap_or(DAY);
    for name in raw.source.iter().flat_map(BTreeMap::values) {
        match sources.get(name) {
            Some(source) if source.files.is_none() => {}
            Some(_) => {
                section.problem("source", &format!("`{}` is a source of files; name a database", name.escape_debug()))
            }
            None => {
                let near = did_you_mean(name, sources.keys().map(String::as_str));
                section.problem("source", &format!("`{}` is none of the sources{near}", name.escape_debug()));
            }
        }
    }
    let path = section.checked("path", raw.path.as_deref(), value::filled);
    let zone = section.checked("watermark_timezone", raw.watermark_timezone.as_deref(), value::zone);
    let schema = section.checked("schema", raw.schema.as_deref(), value::identifier);
    Some(Settings {
        line: section.line(),
        path: path?,
        sources: raw.source.clone().unwrap_or_default(),
        variables: raw.variables.clone().unwrap_or_default(),
        on_conflict: raw.on_conflict.unwrap_or(OnConflict::Append),
        on_schema_change: raw.on_schema_change.unwrap_or(OnSchemaChange::Resync),
        chunk_rows: raw.chunk_rows.unwrap_or(TableConfig::CHUNK_ROWS).max(1),
        schema: schema.unwrap_or_else(|| "public".to_owned()),
        zone: zone.unwrap_or(jiff::tz::TimeZone::UTC),
        window: length("window", &raw.window),
        late_window: length("late_window", &raw.late_window),
        deletes: raw.deletes.unwrap_or_default(),
        deletes_every: length("deletes_every", &raw.deletes_every),
        deletes_max: section.checked("deletes_max", raw.deletes_max.as_deref(), value::percent).unwrap_or(DELETES_MAX),
    })
}
