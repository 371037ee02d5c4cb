//! Whole manifests against a source that is made for them: every table ends as what its query returns.
//!
//! `DWH_TEST_MANIFESTS` names a folder of others.

use std::fs;
use std::path::PathBuf;

use crate::support::{Project, number};
use dwh_core::config::{Config, Environment, Mode};
use dwh_core::testing::{TestDb, assert_equal_tables, manifest_source};

const OWN: &str = r#"tables:
  spec_results:
    import_db: CI_STATS_DB
    import_query: >
      SELECT id -- the key, WHERE it is
      , commit
      , date
      , time as spec_time
      , "when"
      , CASE WHEN expires_at > '2262-01-01' THEN '2262-01-01' ELSE expires_at END AS expires_at
      , CAST(verified_at AS VARCHAR) AS verified_at
      , NULL AS gone
      , blob::VARCHAR
      , updated_at
      FROM spec_results
      WHERE updated_at BETWEEN '{EXECUTION_DATE}'::timestamp - interval '{HOURS} hours'
        AND '{EXECUTION_DATE}'::timestamp
    additional_filtering: AND created_at NOT IN ( '0001-01-01 00:00:00+00', '10000-01-01 00:00:00+00')
    export_schema: 'ci'
    export_table: 'spec_results'
    export_table_primary_key: id
    advanced_metadata: true
  links:
    import_db: CI_STATS_DB
    import_query: >
      SELECT CONCAT(design_id,'_', version_id) AS link_id, design_id, version_id, l.event
      FROM links l
    additional_filtering: WHERE l.event NOT LIKE '%%1 %%'
    export_schema: ci
    export_table: links
    export_table_primary_key: CONCAT(design_id,'_', version_id)
  namespaces:
    import_db: CI_STATS_DB
    import_query: SELECT cluster_id, name, created_at FROM namespaces WHERE created_at >= '{BEGIN_TIMESTAMP}'::timestamp AND created_at < '{END_TIMESTAMP}'::timestamp
    export_schema: ci
    export_table: namespaces
    export_table_primary_key: cluster_id
  columns:
    import_db: CI_STATS_DB
    import_schema: information_schema
    import_query: SELECT CONCAT(table_name, '_', column_name, table_schema) AS column_id, table_name, column_name FROM information_schema.columns
    export_schema: ci
    export_table: columns
    export_table_primary_key: CONCAT(table_name, '_', column_name, table_schema)
"#;

/// The queries of a manifest by the tables that they fill, with a window that holds everything.
fn queries(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<[String; 4]> = Vec::new();
    let mut in_query = false;
    for line in text.lines() {
        let inner = line.trim();
        let value = |key: &str| {
            let text = inner.strip_prefix(key)?.trim();
            let bare = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            Some(bare.unwrap_or(text).to_owned())
        };
        if line.starts_with("  ") && !line.starts_with("   ") {
            found.push(Default::default());
        }
        let Some([schema, table, query, filter]) = found.last_mut() else { continue };
        in_query &= line.starts_with("      ");
        if in_query {
            query.push_str(&format!("{inner}\n"));
        } else if let Some(text) = value("import_query:") {
            in_query = text == ">";
            *query = if in_query { String::new() } else { text };
        } else if let Some(text) = value("additional_filtering:") {
            *filter = text;
        } else if let Some(text) = value("export_schema:") {
            *schema = text;
        } else if let Some(text) = value("export_table:") {
            *table = text;
        }
    }
    // What stands under `connection_info` is no table.
    found.retain(|[_, table, ..]| !table.is_empty());
    let filled = |query: String, filter: String| {
        let window = [("EXECUTION_DATE", "2026-02-01"), ("HOURS", "9999"), ("DAYS", "999")];
        let more = [("BEGIN_TIMESTAMP", "2025-01-01"), ("END_TIMESTAMP", "2026-02-01")];
        let text = format!("{query} {filter}").replace("%%", "%");
        window.iter().chain(&more).fold(text, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    };
    found
        .into_iter()
        .map(|[schema, table, query, filter]| (format!("{schema}.{table}"), filled(query, filter)))
        .collect()
}

#[tokio::test]
async fn every_table_becomes_what_its_query_returns_and_stays_it() {
    let db = TestDb::new("tap_manifests").await;
    let project = Project::new(&db, "[[manifest]]\npath = \"manifests/*.yaml\"\nwindow = \"1000d\"\n");
    let folder = project.folder().join("manifests");
    fs::create_dir_all(&folder).expect("folder");
    let mut files = vec![("own.yaml".to_owned(), OWN.to_owned())];
    if let Some(others) = std::env::var_os("DWH_TEST_MANIFESTS") {
        let paths = fs::read_dir(others).expect("folder").map(|entry| entry.expect("entry").path());
        let read = |path: PathBuf| {
            (path.file_name().expect("name").to_string_lossy().into_owned(), fs::read_to_string(&path).expect("text"))
        };
        files = paths.map(read).collect();
    }
    for (name, text) in &files {
        fs::write(folder.join(name), text).expect("manifest");
    }
    let config = Config::load(&project.folder().join("dwh.toml"), Environment::default()).expect("reads");
    db.src(&manifest_source(&config, "app_ro")).await;
    project.ok(&["migrate"]);
    for _twice in 0..2 {
        for load_type in ["scd", "incremental", "backfill"] {
            for (name, _) in &files {
                let file = format!("manifests/{name}");
                project.ok(&["tap", &file, "--load-type", load_type]);
            }
        }
    }
    // Who may see which columns of the catalog depends on who asks.
    db.src("set role app_ro; set search_path = public").await;
    let mut compared = 0;
    for (name, query) in files.iter().flat_map(|(_, text)| queries(text)) {
        let table = config.table(&name).expect("a table");
        let newest = format!(" where _uploaded_at = (select max(_uploaded_at) from {})", table.target.sql());
        let newest = if table.mode == Mode::Scd { newest } else { String::new() };
        let columns: Vec<String> = table.columns.iter().flatten().map(|name| format!("\"{name}\"")).collect();
        assert!(number(&db, &format!("select count(*) from {}", table.target.sql())).await > 0, "{name} is empty");
        assert_equal_tables(&db, &query, &format!("select {} from {}{newest}", columns.join(", "), table.target.sql()))
            .await;
        compared += 1;
    }
    assert_eq!(compared, config.tables.len());
    println!("{compared} tables of {} manifests", files.len());
    project.ok(&["verify"]);
}
