//! `init` of a folder of files, and of a folder of manifests: what it writes runs as it is.

use crate::init::dwh;
use crate::support::Output;
use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A folder to write into, and the databases.
struct Fresh {
    db: TestDb,
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Fresh {
    async fn new(test: &str) -> Self {
        let db = TestDb::new(test).await;
        let variables = vec![("DWH_TARGET_URL".to_owned(), db.target_url_as("dwh_loader"))];
        Self { db, folder: tempfile::tempdir().expect("folder"), variables }
    }

    fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(path, text).expect("written");
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn dwh(&self, args: &[&str]) -> Output {
        let variables: Vec<(&str, &str)> =
            self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        dwh(self.folder.path(), &variables, args)
    }

    fn ok(&self, args: &[&str]) -> Output {
        let output = self.dwh(args);
        assert_eq!(output.code, 0, "{}", output.all());
        output
    }

    fn init(&self, args: &[&str]) -> Output {
        let blob = self.db.blob_url();
        self.dwh(&[&["init", "--blob", &blob, "--timezone", "UTC"], args].concat())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn url_of(&self, path: &Path) -> String {
        format!("file://{}", path.display())
    }
}

#[tokio::test]
async fn a_folder_of_files_becomes_tables() {
    let fresh = Fresh::new("init_files").await;
    fresh.put(
        "raw/grants/2025/a.json",
        r#"[{"grant_id": "a", "amount": 1.50, "date": "2024-03-15", "tags": ["x"], "seen": "2025-10-30T22:56:51Z", "note": null},
            {"grant_id": "b", "amount": 2, "date": "2024-03-16", "tags": [], "seen": "2025-10-30T22:56:51Z", "note": null}]"#,
    );
    fresh.put("raw/grants/2025/_metadata.json", "{}");
    fresh.put("raw/events/one.json", r#"{"uk": {"id": "uk", "year": 2025}, "us": {"id": "us", "year": 2024}}"#);
    fresh.put("raw/lines/one.jsonl", "{\"n\": 1}\n{\"n\": 2}\n");
    fresh.put(
        "raw/places/a.geojson",
        r#"{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": "Point", "coordinates": [36.8, -1.3]}, "properties": {"name": "here"}}]}"#,
    );
    fresh.put("raw/readme.txt", "no data");
    let raw = fresh.url_of(&fresh.folder.path().join("raw"));
    let looked = fresh.init(&["--files", &raw, "--dry-run", "--output", "json"]);
    let report: Value = looked.json();
    assert_eq!((looked.code, &report["written"]), (0, &false.into()), "{}", looked.all());
    assert!(!fresh.folder.path().join("dwh.toml").exists());
    let output = fresh.init(&["--files", &raw]);
    assert_eq!(output.code, 0, "{}", output.all());
    let text = fresh.read("dwh.toml");
    for line in [
        "name = \"grants\"",
        "[table.columns]\ngrant_id = { type = \"text\" }\namount",
        "geometry = { type = \"geometry(Geometry,4326)\" }",
        "amount = { type = \"numeric\" }",
        "date = { type = \"date\" }",
        "seen = { type = \"timestamptz\" }",
        "tags = { type = \"jsonb\" }",
        "note = { type = \"text\" }  # doubtful: null in every record",
        "# 1 file of this kind; columns and types are those of 2 records of `grants/2025/a.json`",
        "with `key = [\"grant_id\"]` a row is found again by it",
        "n = { type = \"bigint\" }",
        "# - readme.txt: its name says no format",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    assert!(!fresh.read(".env").contains("DWH_SOURCE_URL"));
    fresh.ok(&["migrate"]);
    fresh.ok(&["check"]);
    fresh.ok(&["run"]);
    for (table, rows) in [("grants", 2_i64), ("events", 2), ("lines", 2), ("places", 1)] {
        let count = format!("select count(*) from bronze.{table}");
        let found: i64 = fresh.db.target().query_one(&count, &[]).await.expect("counts").get(0);
        assert_eq!(found, rows, "{table}");
    }
    // Nothing is overwritten, and an empty folder is told.
    let again = fresh.init(&["--files", &raw]);
    assert!(again.code == 2 && again.stderr.contains("are there already"), "{}", again.all());
    fs::create_dir(fresh.folder.path().join("empty")).expect("folder");
    let empty = fresh.url_of(&fresh.folder.path().join("empty"));
    let told = fresh.init(&["--files", &empty, "--dry-run"]);
    assert!(told.code == 4 && told.stderr.contains("holds no JSON"), "{}", told.all());
    let told = fresh.init(&["--files", &raw, "--exclude", "x", "--dry-run"]);
    assert!(told.code == 2 && told.stderr.contains("--exclude"), "{}", told.all());
}

const SHOP: &str = r#"connection_info:
  user: SHOP_USER
  pass: SHOP_PASS
  host: SHOP_HOST
  database: SHOP_NAME
  port: PG_PORT
tables:
  orders:
    import_db: SHOP_DB
    import_query: >
      SELECT id, note, updated_at FROM orders
      WHERE updated_at BETWEEN '{EXECUTION_DATE}'::timestamp - interval '{HOURS} hours' AND '{EXECUTION_DATE}'::timestamp
    additional_filtering: AND id NOT IN {BAD_IDS}
    export_schema: shop
    export_table: orders
    export_table_primary_key: id
    advanced_metadata: true
"#;

const PLANS: &str = r#"tables:
  plans:
    import_db: PLANS_DB
    import_query: SELECT id, name FROM plans
    export_schema: shop
    export_table: plans
    export_table_primary_key: id
"#;

#[tokio::test]
async fn a_folder_of_manifests_becomes_a_configuration_that_reads_them() {
    let mut fresh = Fresh::new("init_manifests").await;
    fresh
        .db
        .src(
            "create table orders (id int primary key, note text, updated_at timestamptz not null default now());
             create table plans (id int primary key, name text); grant select on orders, plans to app_ro;
             insert into orders select i, 'x', now() - interval '1 hour' from generate_series(1, 9) i; insert into plans values (1, 'a')",
        )
        .await;
    fresh.put("manifests/shop.yaml", SHOP);
    fresh.put("manifests/plans.yml", PLANS);
    let output = fresh.init(&["--manifests", "manifests", "--name", "shop"]);
    assert_eq!(output.code, 0, "{}", output.all());
    let missing = "set `BAD_IDS`, `PG_PORT`, `PLANS_DB_URL`, `SHOP_HOST`, `SHOP_NAME`, `SHOP_PASS`, `SHOP_USER` in";
    assert!(output.stderr.contains(missing), "{}", output.all());
    let text = fresh.read("dwh.toml");
    for line in [
        "[source.shop]\nurl = \"host='${SHOP_HOST}' port='${PG_PORT}' dbname='${SHOP_NAME}' user='${SHOP_USER}' password='${SHOP_PASS}'\"  # the variables that `connection_info` of `shop.yaml` names; in them, `'` is `\\'`",
        "[source.plans]\nurl = \"${PLANS_DB_URL}\"  # no `connection_info` tells where it is",
        "path = \"manifests/*.{yaml,yml}\"",
        "source = { PLANS_DB = \"plans\", SHOP_DB = \"shop\" }",
        "variables = { BAD_IDS = \"${BAD_IDS}\" }",
        "# Its 2 tables:",
        "# - shop.orders of `shop.yaml`: incremental; its query has a window over `updated_at`; key (id); `advanced_metadata` adds `_task_instance`",
        "# - shop.plans of `plans.yml`: scd; its query has no window, so each run adds a dated copy; key (id)",
        "in which the column of a window is read that has no zone itself",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    // Without a value nothing runs, and what lacks is named.
    let refused = fresh.dwh(&["migrate"]);
    assert!(refused.code == 2 && refused.stderr.contains("BAD_IDS"), "{}", refused.all());
    let source = fresh.db.source_url_as("app_ro");
    let config: url_parts::Parts = url_parts::of(&source);
    for (name, value) in [
        ("BAD_IDS", "(2, 3)"),
        ("PLANS_DB_URL", source.as_str()),
        ("SHOP_HOST", &config.host),
        ("PG_PORT", &config.port),
        ("SHOP_NAME", &config.database),
        ("SHOP_USER", &config.user),
        ("SHOP_PASS", &config.password),
    ] {
        fresh.set(name, value);
    }
    fresh.ok(&["migrate"]);
    fresh.ok(&["run"]);
    assert_equal_tables(
        &fresh.db,
        "select id, note, updated_at from orders where id not in (2, 3)",
        "select id, note, updated_at from shop.orders",
    )
    .await;
    assert_equal_tables(&fresh.db, "select id, name from plans", "select id, name from shop.plans").await;
}

/// The parts of a connection string of the tests.
mod url_parts {
    pub struct Parts {
        pub host: String,
        pub port: String,
        pub database: String,
        pub user: String,
        pub password: String,
    }

    pub fn of(url: &str) -> Parts {
        let rest = url.split_once("://").expect("a scheme").1;
        let (login, place) = rest.split_once('@').expect("a login");
        let (user, password) = login.split_once(':').expect("a password");
        let (server, database) = place.split_once('/').expect("a database");
        let (host, port) = server.rsplit_once(':').expect("a port");
        let database = database.split('?').next().unwrap_or_default();
        // What a link writes in percent form, a connection string writes behind a backslash.
        let password = [("%27", "\\'"), ("%20", " "), ("%40", "@"), ("%2F", "/"), ("%25", "%")]
            .iter()
            .fold(password.to_owned(), |text, (from, to)| text.replace(from, to));
        let [host, port, database, user, password] = [host, port, database, user, &password].map(str::to_owned);
        Parts { host, port, database, user, password }
    }
}

#[tokio::test]
async fn one_database_needs_one_address_and_mistakes_are_named() {
    let mut fresh = Fresh::new("init_manifest").await;
    fresh.put("pgp/plans.yaml", PLANS);
    fresh.set("DWH_SOURCE_URL", &fresh.db.source_url_as("app_ro"));
    let looked = fresh.init(&["--manifests", "pgp", "--dry-run", "--output", "json"]).json();
    let text = looked["config"].as_str().expect("text");
    assert!(text.contains("[source.plans]\nurl = \"${DWH_SOURCE_URL}\"  # stands in `.env`"), "{text}");
    assert!(text.contains("path = \"pgp/*.yaml\"") && text.contains("name = \"pgp\""), "{text}");
    assert_eq!((&looked["tables"][0]["name"], &looked["tables"][0]["mode"]), (&"shop.plans".into(), &"scd".into()));
    fresh.put("pgp/plans.yaml", PLANS.replace("import_query", "import_qeury"));
    let refused = fresh.init(&["--manifests", "pgp"]);
    assert_eq!(refused.code, 2, "{}", refused.all());
    let told = "plans.yaml:4: tables.plans.import_qeury: unknown key; did you mean `import_query`?";
    assert!(refused.stderr.contains(told), "{}", refused.all());
    assert!(!fresh.folder.path().join("dwh.toml").exists());
    let told = fresh.init(&["--manifests", "nowhere"]);
    assert!(told.code == 4 && told.stderr.contains("`nowhere` is no folder"), "{}", told.all());
}
