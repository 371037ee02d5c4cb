//! What `dwh.toml` says of files as a source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use crate::schema::TypeName;

/// The column of bronze with the path of the file that a row came from.
pub const FILE: &str = "_file";
/// The column of bronze with the place of a row in its file.
pub const RECORD: &str = "_record";

/// How the records stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// One JSON document.
    Json,
    /// A JSON document in each line.
    Jsonl,
    /// Comma separated values, the names of the columns in the first line.
    Csv,
    /// One GeoJSON document; its features are the records.
    Geojson,
}

impl FileFormat {
    /// Every format with the ends of the names that say it.
    const ENDINGS: [(&'static str, Self); 5] = [
        (".jsonl", Self::Jsonl),
        (".ndjson", Self::Jsonl),
        (".geojson", Self::Geojson),
        (".json", Self::Json),
        (".csv", Self::Csv),
    ];

    /// The format that the name of a file says; `None` if it says none.
    #[must_use]
    pub fn of_name(path: &str) -> Option<Self> {
        let name = path.to_ascii_lowercase();
        Self::ENDINGS.iter().find(|(end, _)| name.ends_with(end)).map(|(_, format)| *format)
    }

    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Geojson => "geojson",
        }
    }
}

/// How the letters of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileEncoding {
    /// UTF-8, or UTF-16 with a byte order mark.
    #[default]
    Unicode,
    /// Latin-1 (windows-1252), unless a byte order mark says otherwise.
    Latin1,
}

/// What is compared with the JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Validate {
    /// Each record by itself.
    #[default]
    Record,
    /// The whole file, which must fit into memory; of `jsonl` and `csv` each line.
    Document,
}

/// What happens to a file with records that are not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalid {
    /// None of its records is loaded.
    #[default]
    RejectFile,
    /// The others are loaded, and those are kept beside the CSV.
    RejectRecord,
}

/// Where the files of a source lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// The raw files: `file:///folder` or `s3://bucket[/prefix]`; read only.
    pub url: String,
    /// Where accepted files are copied to.
    pub validated: Option<String>,
    /// Where a copy is kept of what is overwritten there.
    pub backups: Option<String>,
}

/// Where the value of a column stands in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum FieldFrom {
    /// A JSON pointer, or the name of a CSV column.
    Field(String),
    /// Two of them, which make a point.
    Point {
        /// Longitude, or x.
        lon: String,
        /// Latitude, or y.
        lat: String,
    },
}

/// A column of bronze that comes out of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileColumn {
    /// Its name in bronze.
    pub name: String,
    /// Where its value stands; `None`: under the same name.
    pub from: Option<FieldFrom>,
    /// Its type; `None`: as the JSON Schema says.
    pub type_name: Option<TypeName>,
}

/// What `[[table]]` says of the files of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTable {
    /// Globs over the paths below the source.
    pub patterns: Vec<String>,
    /// Globs over paths that are left out.
    pub ignore: Vec<String>,
    /// How the records stand in a file; `None`: as its name says.
    pub format: Option<FileFormat>,
    /// How its letters are written.
    pub encoding: FileEncoding,
    /// JSON pointer to the records; empty: the document.
    pub records: Option<String>,
    /// The file with the JSON Schema.
    pub json_schema: Option<PathBuf>,
    /// What is compared with it.
    pub validate: Validate,
    /// Columns of bronze without which a record is not valid.
    pub required: Vec<String>,
    /// What happens to a file with records that are not valid.
    pub on_invalid: OnInvalid,
    /// Whether a warning counts as an error.
    pub fail_on_warning: bool,
    /// The columns in their order; empty: as the JSON Schema says.
    pub columns: Vec<FileColumn>,
}

#[cfg(test)]
mod tests {
    use super::FileFormat::{self, Csv, Geojson, Json, Jsonl};

    #[test]
    fn the_end_of_a_name_says_the_format() {
        for (name, format) in [
            ("a/data.json", Some(Json)),
            ("a/DATA.JSONL", Some(Jsonl)),
            ("a/x.ndjson", Some(Jsonl)),
            ("a/x.geojson", Some(Geojson)),
            ("a/x.csv", Some(Csv)),
            ("a/x.txt", None),
            ("a/json", None),
        ] {
            assert_eq!(FileFormat::of_name(name), format, "{name}");
        }
    }
}
