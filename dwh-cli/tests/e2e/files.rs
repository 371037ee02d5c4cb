//! Tables that come out of files.

mod handbook;
mod input;
mod odd;
mod preflight;
mod schemas;
mod trouble;
mod verbs;
mod versions;

use crate::support::{Project, number};
use dwh_core::testing::{TestBlobs, TestDb};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A project over a folder of raw files.
pub struct Raw {
    pub db: TestDb,
    pub project: Project,
    pub folder: PathBuf,
}

/// Two tables as a person with such files has them: grants in an array, events in an object whose values are the records.
pub const TABLES: &str = r#"
[[table]]
name = "grants"
source = "raw"
files = "*/dumps/*/data.json*"
ignore = "**/_metadata.json"
mode = "files"
json_schema = "schemas/grants.json"
key = ["grant_id"]
required = ["grant_id", "amount"]
[table.columns]
grant_id = { type = "text" }
amount = { type = "numeric" }
granted_on = { from = "/date", type = "date" }
source = { type = "text" }

[[table]]
name = "events"
source = "raw"
files = "events/*.json"
mode = "files"
json_schema = "schemas/event.json"
"#;

pub const GRANTS_SCHEMA: &str = r#"{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "required": ["grant_id", "amount", "date", "source"],
  "properties": {
    "grant_id": {"type": "string"},
    "amount": {"type": "number", "minimum": 0},
    "date": {"type": "string", "pattern": "^\\d{4}-\\d{2}-\\d{2}$"},
    "source": {"type": "string", "enum": ["Fund A", "Fund B"]},
    "url": {"type": "string", "format": "uri"}
  }
}"#;

pub const EVENT_SCHEMA: &str = r#"{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "additionalProperties": false,
  "required": ["id", "year", "tags"],
  "properties": {
    "id": {"type": "string", "pattern": "^[a-z0-9_]+$", "minLength": 3, "maxLength": 20},
    "year": {"type": "integer", "minimum": 2000, "maximum": 2100},
    "tags": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "impact": {"type": ["integer", "null"], "minimum": -50}
  }
}"#;

impl Raw {
    /// The tables given, over a folder `raw` beside the blobs, made in the target.
    pub async fn new(test: &str, tables: &str) -> Self {
        Self::with(test, tables, "").await
    }

    /// The same with more keys of the source.
    pub async fn with(test: &str, tables: &str, source: &str) -> Self {
        let db = TestDb::new(test).await;
        let home = db.blobs().parent().expect("a parent").join(format!("{}-files", db.name()));
        let folder = home.join("raw");
        fs::create_dir_all(&folder).expect("folder");
        let source = source.replace("HOME", &home.display().to_string());
        let toml = format!("[source.raw]\nfiles = \"file://{}\"\n{source}\n{tables}", folder.display());
        let project = Project::new(&db, &toml);
        let raw = Self { db, project, folder };
        raw.schema("grants.json", GRANTS_SCHEMA);
        raw.schema("event.json", EVENT_SCHEMA);
        raw.project.ok(&["migrate"]);
        raw
    }

    /// The folder of the raw files and of what is beside them.
    pub fn home(&self) -> PathBuf {
        self.folder.parent().expect("a parent").to_owned()
    }

    pub fn schema(&self, name: &str, text: &str) {
        let folder = self.project.folder().join("schemas");
        fs::create_dir_all(&folder).expect("folder");
        fs::write(folder.join(name), text).expect("schema");
    }

    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(path, bytes).expect("file");
    }

    /// One line for each row.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let rows = self.db.target().query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.iter().map(|row| row.get::<_, String>(0)).collect()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(self.home()));
    }
}

/// The runs of a table in a report.
pub fn runs<'a>(report: &'a Value, table: &str) -> Vec<&'a Value> {
    report["runs"].as_array().expect("runs").iter().filter(|run| run["table"] == table).collect()
}

#[tokio::test]
async fn each_file_is_a_run_and_is_read_once() {
    let raw = Raw::new("files_once", TABLES).await;
    raw.write(
        "sff/dumps/2025-10-30/data.json",
        r#"[{"grant_id": "a", "amount": 500000.10, "date": "2024-03-15", "source": "Fund A", "url": "https://x.org"},
            {"grant_id": "b", "amount": 0.1000000000000000055511151231257827, "date": "2024-04-20", "source": "Fund B"}]"#,
    );
    raw.write("sff/dumps/2025-10-30/_metadata.json", r#"{"record_count": 2}"#);
    raw.write(
        "events/one.json",
        r#"{"uk_2025": {"id": "uk_2025", "year": 2025, "tags": ["a", "b"], "impact": null},
            "us_2025": {"id": "us_2025", "year": 2025, "tags": ["c"], "impact": -5}}"#,
    );
    let report = raw.project.json(&["run"]);
    let grants = runs(&report, "grants");
    assert_eq!(grants.len(), 1, "{report:#}");
    assert_eq!(grants[0]["file"], "sff/dumps/2025-10-30/data.json");
    assert_eq!((&grants[0]["rows_inserted"], &grants[0]["mode"]), (&2.into(), &"files".into()));
    let got = raw
        .rows("select concat_ws('|', grant_id, amount, granted_on, _file, _record) from bronze.grants order by 1")
        .await;
    assert_eq!(
        got,
        [
            "a|500000.10|2024-03-15|sff/dumps/2025-10-30/data.json|/0",
            "b|0.1000000000000000055511151231257827|2024-04-20|sff/dumps/2025-10-30/data.json|/1"
        ]
    );
    let got = raw.rows("select concat_ws('|', id, year, tags, impact, _record) from bronze.events order by 1").await;
    assert_eq!(got, ["uk_2025|2025|[\"a\", \"b\"]|/uk_2025", "us_2025|2025|[\"c\"]|-5|/us_2025"]);

    // The manifest tells the raw file, the run log too; the CSV is archived as any other.
    let blobs = TestBlobs::local(&raw.db);
    let names = blobs.list("test/processed/grants/").await;
    let manifest = names.iter().find(|name| name.ends_with(".manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&blobs.read(manifest).await).expect("JSON");
    assert_eq!(
        (&manifest["kind"], &manifest["file"]["path"]),
        (&"file".into(), &"sff/dumps/2025-10-30/data.json".into())
    );
    assert_eq!(manifest["file"]["sha256"].as_str().map(str::len), Some(64));
    let logged = "select count(*) from dwh_control.extract_runs where kind = 'file' and mode = 'files'
        and file->>'path' = 'events/one.json' and file->>'sha256' is not null and status = 'loaded'";
    assert_eq!(number(&raw.db, logged).await, 1);

    // Nothing is new: the log says that somebody looked, and no CSV is written.
    let again = raw.project.json(&["run"]);
    assert_eq!(runs(&again, "grants")[0]["file"], Value::Null);
    assert_eq!(blobs.list("test/processed/grants/").await.len(), 2);
    assert_eq!(number(&raw.db, "select count(*) from bronze.grants").await, 2);
}
