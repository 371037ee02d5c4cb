use crate::config::{Config, Environment, Mode, OnConflict, TableConfig};
use crate::schema::TableRef;

const TOML: &str = "[project]\nname = \"p\"\n[source.gitlab]\nurl = \"postgresql://s\"\n[source.ci]\nurl = \"postgresql://c\"\n\
                    [target]\nurl = \"postgresql://t\"\n[blob]\nurl = \"file:///b\"\n\
                    [[manifest]]\npath = \"manifests/*.yaml\"\n\
                    source = { GITLAB_DB = \"gitlab\", \"GITLAB_DB:ci\" = \"ci\" }\n\
                    variables = { INTERNAL_PROJECT_IDS = \"(1, 2)\" }\n";

const TRAPS: &str = r#"connection_info:
  user: GITLAB_DB_USER
  pass: GITLAB_DB_PASS
  host: GITLAB_DB_HOST
  database: GITLAB_DB_NAME
  port: PG_PORT
tables:
  issues:
    import_db: GITLAB_DB
    import_query: >
      SELECT id -- WHERE is it
      , note, NULL AS gone, updated_at
      FROM issues
      WHERE updated_at BETWEEN '{EXECUTION_DATE}'::timestamp - interval '{HOURS} hours'
        AND '{EXECUTION_DATE}'::timestamp
    additional_filtering: AND note NOT LIKE '%%x' AND project_id IN {INTERNAL_PROJECT_IDS}
    export_db: EXPORT_DB
    export_schema: 'gitlab'
    export_table: 'issues'
    export_table_primary_key: id
    advanced_metadata: "true"
    dbt_source_model: true
    deletes_exempt: "False"
  builds:
    import_db: GITLAB_DB
    database_type: ci
    import_query: SELECT id, status FROM ci_builds WHERE status = 'done'
    export_schema: gitlab
    export_table: ci_builds
    export_table_primary_key: id
    is_incremental: 'false'
  columns:
    import_db: GITLAB_DB
    import_schema: information_schema
    import_query: SELECT table_name, column_name FROM columns
    export_schema: gitlab
    export_table: columns
    export_table_primary_key: CONCAT(table_name, '_', column_name, table_schema)
"#;

fn read(toml: &str, files: &[(&str, &str)]) -> Result<Vec<TableConfig>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join("manifests").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        std::fs::write(path, text).expect("file");
    }
    let environment = Environment::from_iter([("DWH_TASK_INSTANCE", "dag/1")]);
    let config = Config::parse(toml, &folder.path().join("dwh.toml"), environment);
    config
        .map(|config| config.tables)
        .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), ""))
}

#[test]
fn each_table_of_a_manifest_is_a_table() {
    let tables = read(TOML, &[("a.yaml", TRAPS), ("deeper/b.yaml", "not read"), ("a.txt", "nor this")]).expect("reads");
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["gitlab.issues", "gitlab.ci_builds", "gitlab.columns"]);
    let [issues, builds, columns] = &tables[..] else { panic!("three") };
    assert_eq!((issues.mode, issues.on_conflict, issues.is_appended()), (Mode::Incremental, OnConflict::Append, true));
    assert_eq!(issues.target, TableRef::new("gitlab", "issues"));
    assert_eq!(issues.relation, Some(TableRef::new("public", "issues")));
    assert_eq!(issues.watermark.as_deref(), Some("updated_at"));
    assert_eq!(issues.filter.as_deref(), Some("note NOT LIKE '%x' AND project_id IN (1, 2)"));
    assert_eq!(issues.added(), ["_uploaded_at", "_task_instance"]);
    assert_eq!(issues.task_instance.as_deref(), Some("dag/1"));
    assert_eq!((issues.key.as_slice(), issues.source.as_str()), (&["id".to_owned()][..], "gitlab"));
    // A WHERE without a window is a filter.
    assert_eq!((builds.mode, builds.source.as_str()), (Mode::Scd, "ci"));
    assert_eq!((builds.on_conflict, builds.filter.as_deref()), (OnConflict::Nothing, Some("status = 'done'")));
    assert_eq!(builds.added(), ["_uploaded_at"]);
    assert_eq!(columns.relation, Some(TableRef::new("information_schema", "columns")));
    assert_eq!(columns.key, Vec::<String>::new(), "an scd table may do without a key");
    let manifest = issues.manifest.as_ref().expect("its place");
    assert!(manifest.path.ends_with("manifests/a.yaml") && manifest.name == "issues");
}

#[test]
fn on_conflict_is_for_the_incremental_tables_of_a_manifest() {
    let tables = read(&format!("{TOML}on_conflict = \"update\"\n"), &[("a.yaml", TRAPS)]).expect("reads");
    assert_eq!((tables[0].on_conflict, tables[0].added()[0]), (OnConflict::Update, "_uploaded_at"));
    assert_eq!(tables[1].on_conflict, OnConflict::Nothing);
}

#[test]
fn everything_that_is_wrong_is_told_with_file_line_and_key() {
    let wrong = TRAPS
        .replace("INTERNAL_PROJECT_IDS}", "OTHER_IDS}")
        .replace("advanced_metadata: \"true\"", "advanced_metadata: maybe")
        .replace("deletes_exempt:", "delete_exempt:")
        .replace("    export_table: ci_builds\n", "")
        .replace("is_incremental: 'false'", "is_incremental: true")
        .replace("database_type: ci", "database_type: [ci]");
    let told = read(TOML, &[("a.yaml", &wrong), ("b.yaml", "tables:\n  x: 1\nmore: 2\n"), ("c.yaml", "a: [\n")]);
    let told = told.expect_err("wrong");
    for line in [
        "/manifests/a.yaml:16: tables.issues.additional_filtering: holds `{OTHER_IDS}`, which has no value",
        "/manifests/a.yaml:21: tables.issues.advanced_metadata: `maybe` is neither `true` nor `false`",
        "/manifests/a.yaml:23: tables.issues.delete_exempt: unknown key; did you mean `deletes_exempt`?",
        "/manifests/a.yaml:26: tables.builds.database_type: must be a text",
        "/manifests/a.yaml:24: tables.builds.export_table: is missing or empty",
        "/manifests/a.yaml:30: tables.builds.is_incremental: the query has no window",
        "/manifests/b.yaml:2: tables.x: must be a section",
        "/manifests/b.yaml:3: more: unknown key",
        "/manifests/c.yaml:2: c.yaml: no YAML",
    ] {
        assert!(told.contains(line), "{line}\nis not in\n{told}");
    }
    assert!(!told.contains("IDS = \"(1"), "no value is told");
}

#[test]
fn files_sources_and_targets_must_be_there_once() {
    assert!(read(TOML, &[]).expect_err("no file").contains("manifest.path: no file matches"));
    let twice = read(TOML, &[("a.yaml", TRAPS), ("b.yaml", TRAPS)]).expect_err("twice");
    assert!(
        twice.contains("b.yaml:19: tables.issues.export_table: another table is loaded into gitlab.issues"),
        "{twice}"
    );
    let other = TRAPS.replace("import_db: GITLAB_DB", "import_db: OTHER_DB");
    let other = read(TOML, &[("a.yaml", &other)]).expect_err("another database");
    assert!(
        other.contains(
            "a.yaml:9: tables.issues.import_db: `OTHER_DB` is no source; write `source = { OTHER_DB = \"ci\" }`"
        ),
        "{other}"
    );
    let nobody = read(&TOML.replace("\"gitlab\"", "\"gitlub\""), &[("a.yaml", TRAPS)]).expect_err("no source");
    assert!(nobody.contains("manifest.source: `gitlub` is none of the sources; did you mean `gitlab`?"), "{nobody}");
    let files = TOML.replace("[target]", "[source.raw]\nfiles = \"file:///srv/raw\"\n[target]");
    let of_files = read(&files.replace("\"gitlab\"", "\"raw\""), &[("a.yaml", TRAPS)]).expect_err("no database");
    assert!(of_files.contains("manifest.source: `raw` is a source of files; name a database"), "{of_files}");
    for (line, told) in [
        ("windows = \"1d\"\n", "manifest.windows: unknown key; did you mean `window`?"),
        ("window = \"x\"\n", "manifest.window: `x` is no length of time"),
        ("on_conflict = \"replace\"\n", "manifest.on_conflict: `replace` is not allowed"),
    ] {
        let refused = read(&format!("{TOML}{line}"), &[("a.yaml", TRAPS)]).expect_err("refused");
        assert!(refused.contains(told), "{refused}");
    }
}

/// A table of a manifest with this query, and more lines.
fn one(query: &str, more: &str) -> String {
    format!(
        "tables:\n  t:\n    import_db: GITLAB_DB\n    import_query: >\n      {}\n    export_schema: a\n    export_table: t\n{more}",
        query.replace('\n', "\n      ")
    )
}

const KEY: &str = "    export_table_primary_key: id\n";

#[test]
fn odd_spellings_mean_what_they_say() {
    let windowed = "SELECT id, at -- {NOT_A_VARIABLE}, isn't it; }\n, '{{}}' AS j /* {NEITHER} */ FROM t WHERE at > '{BEGIN_TIMESTAMP}' AND note = 'it''s 100%%' -- ; all\n;";
    let filtered = one(windowed, &format!("{KEY}    additional_filtering: AND name <> 'o''clock'\n"));
    for text in [filtered.clone(), format!("\u{FEFF}{filtered}"), filtered.replace('\n', "\r\n")] {
        let tables = read(TOML, &[("a.yaml", &text)]).expect("reads");
        assert_eq!(tables[0].watermark.as_deref(), Some("at"));
        assert_eq!(tables[0].filter.as_deref(), Some("note = 'it''s 100%' AND name <> 'o''clock'"));
        assert_eq!(tables[0].select.get("j").map(String::as_str), Some("'{}'"));
    }
    // A section that others take over, and change.
    let merged = one("SELECT id FROM t", KEY).replace("  t:\n", "  t: &base\n")
        + "  u:\n    <<: *base\n    export_table: u\n    import_query: SELECT id FROM u\n";
    let tables = read(TOML, &[("a.yaml", &merged)]).expect("reads");
    assert_eq!(tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["a.t", "a.u"]);
}

#[test]
fn odd_files_are_refused_with_file_line_and_key() {
    let good = one("SELECT id FROM t", KEY);
    for (text, told) in [
        (good.replace("    export_schema", "\texport_schema"), "a.yaml:6: a.yaml: no YAML: "),
        (format!("{good}{KEY}"), "a.yaml:9: tables.t.export_table_primary_key: stands in line 8 already"),
        (format!("{good}  t:\n    import_db: x\n"), "a.yaml:9: tables.t: stands in line 2 already"),
        (one("SELECT id FROM t", ""), "a.yaml:2: tables.t.export_table_primary_key: is missing or empty"),
        (
            one("SELECT id FROM t", "    export_table_primary_key: ''\n"),
            "a.yaml:8: tables.t.export_table_primary_key: is missing or empty",
        ),
        (one("SELECT id, name, name FROM t", KEY), "a.yaml:4: tables.t.import_query: has two columns `name`"),
        (
            one("SELECT a.id, b.id FROM t a JOIN u b ON a.id = b.t", KEY),
            "a.yaml:4: tables.t.import_query: has two columns `id`",
        ),
        (one("SELECT id FROM t; DELETE FROM t", KEY), "a.yaml:4: tables.t.import_query: holds 2 statements"),
        (one("SELECT id FROM t WHERE x IN {OTHER}", KEY), "a.yaml:4: tables.t.import_query: holds `{OTHER}`"),
        (
            format!("{good}    additional_filtering: AND\n"),
            "a.yaml:9: tables.t.additional_filtering: has a filter that says nothing",
        ),
        ("- a\n- b\n".to_owned(), "a.yaml:1: tables: must be a section"),
        ("a: &a\n  b: *a\n".to_owned(), "a.yaml:2: a.yaml: repeats itself by an alias"),
    ] {
        let refused = read(TOML, &[("a.yaml", &text)]).expect_err(told);
        assert!(refused.contains(told), "{told}\nis not in\n{refused}");
    }
}
