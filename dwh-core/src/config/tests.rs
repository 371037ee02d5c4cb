//! The whole file, its defaults, and every problem with its line.

use proptest::prelude::*;
use std::path::Path;

use super::*;

const HEAD: &str = r#"[project]
name = "fleet"
[source.main]
url = "${SOURCE}"
[target]
url = "${TARGET}"
[blob]
url = "file:///var/lib/dwh/"
"#;
/// Line of the first `[[table]]` that is appended to `HEAD`.
const TABLE: usize = 9;

fn environment() -> Environment {
    Environment::from_iter([("SOURCE", "postgresql://u:canary-s@db/x"), ("TARGET", "postgresql://u:canary-t@dw/x")])
}

fn parse(text: &str) -> Result<Config> {
    Config::parse(text, Path::new("dwh.toml"), environment())
}

fn table(lines: &str) -> Result<TableConfig> {
    parse(&format!("{HEAD}[[table]]\n{lines}")).map(|mut config| config.tables.remove(0))
}

/// The problems, without the file's name.
fn problems(text: &str) -> Vec<String> {
    let error = parse(text).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(!text.contains("canary") && !format!("{error:?}").contains("canary"), "secret in: {text}");
    let lines: Vec<String> =
        text.lines().skip(1).map(|line| line.trim_start().trim_start_matches("dwh.toml:").to_owned()).collect();
    let count = if lines.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", lines.len()) };
    assert_eq!(text.lines().next(), Some(format!("`dwh.toml`: {count}").as_str()));
    lines
}

/// The one problem that a table with these lines has.
fn problem(lines: &str) -> String {
    let found = problems(&format!("{HEAD}[[table]]\n{lines}"));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

const PLAIN: &str = "name = \"trips\"\nrelation = \"public.trips\"\nmode = \"snapshot\"\n";
const INCREMENTAL: &str = "name = \"t\"\nrelation = \"s.t\"\nmode = \"incremental\"\n";

#[test]
fn old_values_of_a_snapshot_are_kept_by_a_key_or_not_at_all() {
    let keep = format!("{PLAIN}on_missing_column = \"keep\"\n");
    assert!(problem(&keep).contains("`keep` of a snapshot needs `key`"), "{}", problem(&keep));
    let kept = table(&format!("{keep}key = [\"id\"]\n")).expect("good");
    assert_eq!(kept.on_missing_column, OnMissingColumn::Keep);
    assert_eq!(table(PLAIN).expect("good").on_missing_column, OnMissingColumn::Stop);
}

#[test]
fn defaults_are_those_of_the_reference() {
    let config = parse(&format!("{HEAD}[[table]]\n{PLAIN}")).expect("good");
    assert_eq!(config.project.zone.iana_name(), Some("UTC"));
    assert_eq!(config.project.cadence, Micros::seconds(3 * 3600));
    let source = &config.sources["main"];
    assert_eq!(source.url.expose(), "postgresql://u:canary-s@db/x");
    assert_eq!((source.lock_timeout, source.drain_timeout), (Micros::seconds(30), Micros::seconds(30)));
    let target = &config.target;
    let names = [&target.bronze_schema, &target.control_schema, &target.owner_role, &target.reader_role];
    assert_eq!(names, ["bronze", "dwh_control", "dwh_owner", "grafana_ro"]);
    assert_eq!((target.connections, target.lock_timeout), (4, Micros::seconds(30)));
    assert_eq!((&target.admin_url, target.designs.to_str()), (&None, Some("designs")));
    assert_eq!([source.idle_timeout, target.idle_timeout, config.blob.idle_timeout], [Micros::seconds(60); 3]);
    assert_eq!((config.blob.url.as_str(), config.blob.path_style), ("file:///var/lib/dwh", false));
    let table = &config.tables[0];
    assert_eq!((table.source.as_str(), table.target.clone()), ("main", TableRef::new("bronze", "trips")));
    assert_eq!((table.window, table.late_window), (Micros::seconds(86_400), Micros::seconds(86_400)));
    assert_eq!((table.geometry, table.bound), (GeometryForm::Ewkt, BoundMode::Overlap));
    assert_eq!((table.on_conflict, table.allow_empty), (OnConflict::Nothing, false));
    let thresholds = Thresholds {
        max_lag: Micros::seconds(6 * 3600),
        success_rate: 90.0,
        max_duration: None,
        min_rows_per_day: None,
        max_rows_per_day: None,
    };
    assert_eq!((&table.thresholds, config.disk_used), (&thresholds, 85.0));
}

#[test]
fn thresholds_of_a_table_override_those_of_the_project() {
    let general = "[thresholds]\nmax_lag = \"8h\"\nsuccess_rate = 99.5\nmax_duration = \"30m\"\nmin_rows_per_day = 1\n\
                   disk_used = 70\n";
    let own = "[table.thresholds]\nmax_lag = \"2d\"\nsuccess_rate = 80\nmax_rows_per_day = 1000\n";
    let other = PLAIN.replace("trips", "other");
    let config = parse(&format!("{HEAD}{general}[[table]]\n{PLAIN}{own}[[table]]\n{other}")).expect("good");
    let general = Thresholds {
        max_lag: Micros::seconds(8 * 3600),
        success_rate: 99.5,
        max_duration: Some(Micros::seconds(1800)),
        min_rows_per_day: Some(1),
        max_rows_per_day: None,
    };
    let own = Thresholds {
        max_lag: Micros::seconds(2 * 86_400),
        success_rate: 80.0,
        max_rows_per_day: Some(1000),
        ..general.clone()
    };
    assert_eq!(config.tables.iter().map(|table| &table.thresholds).collect::<Vec<_>>(), [&own, &general]);
    assert_eq!(config.disk_used, 70.0);
    // The cadence is the measure where nothing is said.
    let hourly = HEAD.replace("[source", "cadence = \"1h\"\n[source");
    let config = parse(&format!("{hourly}[[table]]\n{PLAIN}")).expect("good");
    assert_eq!(config.tables[0].thresholds.max_lag, Micros::seconds(7200));
}

#[test]
fn every_problem_of_thresholds_is_told_with_its_line() {
    let found = problems(&format!(
        "{HEAD}[thresholds]\nmax_lag = \"soon\"\nsuccess_rate = 101\nmax_duration = \"0\"\nmax_rows_per_day = -1\n\
         disk_used = nan\nmin_row_per_day = 5\n[[table]]\n{PLAIN}[table.thresholds]\nmax_lag = 5\ndisk_used = 80\n\
         min_rows_per_day = 9\nmax_rows_per_day = 8\n[[table]]\n{}thresholds = \"${{NONE}}\"\n",
        PLAIN.replace("trips", "other")
    ));
    assert_eq!(
        found,
        [
            "10: thresholds.max_lag: `soon` is no length of time; write one such as `90s`, `30m`, `6h`, `1d`, `2w` or `0`",
            "11: thresholds.success_rate: must be a percentage from 0 to 100",
            "12: thresholds.max_duration: `0` must be longer than nothing",
            "13: thresholds.max_rows_per_day: must not be negative",
            "14: thresholds.disk_used: must be a percentage from 0 to 100",
            "15: thresholds.min_row_per_day: unknown key; did you mean `min_rows_per_day`?",
            "21: table.thresholds.max_lag: expected a string, found integer",
            "22: table.thresholds.disk_used: is for the whole project; move it to `[thresholds]`",
            "23: table.thresholds.min_rows_per_day: from 9 rows at least to 8 at most, there is no number between",
            "29: table.thresholds: must be a section `[table.thresholds]`",
        ]
    );
}

#[test]
fn every_key_of_a_table_arrives() {
    let table = table(
        r#"
name = "positions"
relation = '"My Schema"."a.b""c"'
target = "raw.positions"
mode = "incremental"
watermark = "recorded_at"
watermark_timezone = "Africa/Nairobi"
key = ["imei", "gps_time"]
on_conflict = "update"
exclude = ["debug"]
geometry = "ewkb"
window = "6h"
late_window = "0"
bound = "hold"
fixed_lag = "90s"
allow_empty = true
[table.select]
distance_m = "distance_km * 1000"
"#,
    )
    .expect("good");
    assert_eq!(table.relation, Some(TableRef::new("My Schema", "a.b\"c")));
    assert_eq!(table.target, TableRef::new("raw", "positions"));
    assert_eq!(table.watermark_zone.expect("zone").iana_name(), Some("Africa/Nairobi"));
    assert_eq!((table.mode, table.on_conflict), (Mode::Incremental, OnConflict::Update));
    assert_eq!((table.window, table.late_window), (Micros::seconds(21_600), Micros::ZERO));
    assert_eq!(table.fixed_lag, Some(Micros::seconds(90)));
    assert_eq!((table.bound, table.geometry, table.allow_empty), (BoundMode::Hold, GeometryForm::Ewkb, true));
    assert_eq!((table.key, table.exclude), (vec!["imei".into(), "gps_time".into()], vec!["debug".into()]));
    assert_eq!(table.select["distance_m"], "distance_km * 1000");
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let found = problems(
        "[project]\nnaem = \"x\"\ntimezone = \"Mars/Base\"\n[source.main]\nurl = \"${NOT_SET}\"\nlock_timeout = 5\n\
         [target]\nconnections = 0\n[blob]\nurl = \"ftp://u:canary@host/x\"\n[[tabel]]\n[[table]]\nmode = \"increment\"\n\
         key = [\"a\", 5]\nwindow = \"-1h\"\n",
    );
    assert_eq!(
        found,
        [
            "1: project.name: is missing",
            "2: project.naem: unknown key; did you mean `name`?",
            "3: project.timezone: `Mars/Base` is no time zone; write an IANA name such as `Africa/Nairobi` or `UTC`",
            "5: source.main.url: variable `NOT_SET` is not set; set it in the environment or in `.env` beside the file",
            "6: source.main.lock_timeout: expected a string, found integer",
            "7: target.url: is missing",
            "8: target.connections: must be from 1 to 100",
            "10: blob.url: the value is no address of a store; write `file:///folder` or `s3://bucket[/prefix]`",
            "11: tabel: unknown key; did you mean `table`?",
            "12: table.name: is missing",
            "12: table.relation: is missing; write `relation = \"schema.table\"` or `query`",
            "13: table.mode: `increment` is not allowed, write one of `incremental`, `snapshot`, `scd`, `files`; \
             did you mean `incremental`?",
            "14: table.key: expected a string, found integer",
            "15: table.window: `-1h` is negative",
        ]
    );
}

#[test]
fn no_server_may_be_silent_for_ever() {
    let found = problems(&format!("{HEAD}idle_timeout = \"0\"\n[[table]]\n{PLAIN}"));
    assert!(found[0].ends_with("idle_timeout: `0` must be one second at least") && found.len() == 1, "{found:?}");
}

#[test]
fn an_empty_file_names_every_section() {
    assert_eq!(problems("").len(), 4);
    assert!(
        problems("[source]\nurl = \"canary\"\n")
            .contains(&"1: source: must be sections `[source.NAME]`, NAME being one of your own".to_owned())
    );
    assert!(problems(&format!("{HEAD}[table]\nname = \"x\"\n"))[0].contains("must be written `[[table]]`"));
}

#[test]
fn broken_toml_is_one_problem_with_line_and_column_and_without_the_line() {
    let found = problems("[source.main]\nurl = \"canary\" x\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("2:16: no TOML: "), "{}", found[0]);
    assert!(problems("[project]\nname = \"a\"\nname = \"b\"\n")[0].starts_with("3:1: no TOML: duplicate key"));
}

#[test]
fn variables_have_defaults_and_an_escape() {
    let with =
        |expression: &str| table(&format!("{PLAIN}[table.select]\nx = '{expression}'")).map(|t| t.select["x"].clone());
    assert_eq!(with("${NONE:-a b}").expect("default"), "a b");
    assert_eq!(with("<${SOURCE:-never}>").expect("set"), "<postgresql://u:canary-s@db/x>");
    assert_eq!(with("$${SOURCE} $$ $1").expect("escape"), "${SOURCE} $$ $1");
    assert!(with("${SOURCE").expect_err("open").to_string().contains("has no `}`"));
    assert!(with("${a b}").expect_err("name").to_string().contains("no name of a variable"));
    // A value that came from a variable is not shown when it is refused.
    assert_eq!(problem(&format!("{PLAIN}window = \"${{SOURCE}}\"")).split("the value").count(), 2);
    assert_eq!(problem(&format!("{PLAIN}bound = \"${{SOURCE}}\"")).split("the value").count(), 2);
}

#[test]
fn the_rules_between_keys_are_held() {
    let refused = |lines: &str, word: &str| {
        let found = problem(lines);
        assert!(found.contains(word), "{word} not in: {found}");
    };
    refused(&format!("{INCREMENTAL}key = [\"id\"]"), "table.watermark: is missing");
    refused(&format!("{INCREMENTAL}watermark = \"at\""), "table.key: is missing");
    refused(&format!("{INCREMENTAL}watermark = \"at\"\nkey = []"), "table.key: is missing");
    refused(&format!("{INCREMENTAL}watermark = \"at\"\nkey = [\"a\", \"a\"]"), "names `a` twice");
    refused(&format!("{INCREMENTAL}watermark = \"at\"\nkey = [\"a\"]\nexclude = [\"at\"]"), "leaves out `at`");
    let reshaped =
        format!("{INCREMENTAL}watermark = \"at\"\nkey = [\"a\"]\n[table.select]\nat = \"t.at at time zone 'UTC'\"");
    let found = problem(&reshaped);
    assert!(found.contains(": table.select: reshapes `at`") && found.contains("a name of its own"), "{found}");
    refused(&format!("{PLAIN}on_conflict = \"update\""), "only for mode `incremental`");
    refused(&format!("{PLAIN}query = \"select 1\""), "stands beside `relation`");
    refused(&format!("{PLAIN}source = \"mian\""), "did you mean `main`?");
    refused(&format!("{PLAIN}[[table]]\n{PLAIN}"), "the table of line 9 has this name already");
    let other = PLAIN.replace("\"trips\"", "\"other\"");
    refused(&format!("{PLAIN}[[table]]\n{other}target = 'bronze.\"trips\"'"), "into the same bronze table");
    refused(&format!("{PLAIN}allow_empty = \"yes\""), "expected a boolean");
    let line = problem(&format!("{INCREMENTAL}watermark = \"at\""));
    assert!(line.starts_with(&format!("{TABLE}: ")), "{line}");
}

#[test]
fn a_table_names_its_source_when_there_are_several() {
    let two = HEAD.replace("[target]", "[source.other]\nurl = \"x\"\n[target]");
    assert!(problems(&format!("{two}[[table]]\n{PLAIN}"))[0].contains("there are several: main, other"));
    let config = parse(&format!("{two}[[table]]\n{PLAIN}source = \"other\"")).expect("named");
    assert_eq!(config.tables[0].source, "other");
}

#[test]
fn queries_hold_one_statement() {
    let query = |text: &str| table(&format!("name = \"q\"\nmode = \"scd\"\nquery = '''{text}'''")).map(|t| t.query);
    assert_eq!(query(" select 1 ;\n").expect("one").as_deref(), Some("select 1"));
    for text in ["select 1; drop table x", "select 1;;", ";", ""] {
        assert!(query(text).is_err(), "{text}");
    }
}

#[test]
fn relations_are_taken_as_they_are_written() {
    let relation = |text: &str| table(&PLAIN.replace("\"public.trips\"", &format!("'{text}'"))).map(|t| t.relation);
    assert_eq!(relation("Public.Ärger 🐘").expect("plain"), Some(TableRef::new("Public", "Ärger 🐘")));
    let long = "x".repeat(64);
    for text in ["trips", "a.b.c", ".b", "a.", "\"a.b", "\"a\"b.c", "a\"b.c", "\"\".b", &format!("a.{long}")] {
        assert!(relation(text).is_err(), "{text}");
    }
}

#[test]
fn lengths_of_time_and_addresses() {
    let window = |text: &str| table(&format!("{PLAIN}window = \"{text}\"")).map(|t| t.window.0 / 1_000_000);
    for (text, seconds) in [("0", 0), ("0s", 0), ("90s", 90), ("30m", 1800), ("1d", 86_400), ("1000d", 86_400_000)] {
        assert_eq!(window(text).expect(text), seconds);
    }
    assert_eq!(window("2w").expect("weeks"), 14 * 86_400);
    for text in ["", "1", "1y", "1mo", "-1s", "1s ago", "soon", "99999999d"] {
        assert!(window(text).is_err(), "{text}");
    }
    let blob = |text: &str| parse(&HEAD.replace("file:///var/lib/dwh/", text)).map(|config| config.blob.url);
    assert_eq!(blob("s3://bucket/a/b/").expect("s3"), "s3://bucket/a/b");
    for text in ["/var", "file://var", "file:///", "file:///a/../b", "s3://", "s3://k:s@b", "s3://b//c", "s3://b/../c"]
    {
        assert!(blob(text).is_err(), "{text}");
    }
    let s3 = parse(&format!("{HEAD}endpoint = \"http://127.0.0.1:9000/\"")).expect("endpoint").blob;
    assert_eq!((s3.endpoint.as_deref(), s3.path_style), (Some("http://127.0.0.1:9000"), true));
    assert!(problems(&format!("{HEAD}endpoint = \"http://k:canary@host\""))[0].contains("the value is no address"));
}

#[test]
fn load_reads_dotenv_beside_the_file() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("dwh.toml");
    let missing = Config::load(&path, environment()).expect_err("missing");
    assert_eq!(missing.kind(), ErrorKind::Config);
    std::fs::write(&path, HEAD).expect("written");
    std::fs::write(folder.path().join(".env"), "TARGET=postgresql://dotenv/x\nSOURCE=never").expect("written");
    let environment = Environment::from_iter([("SOURCE", "kept")]);
    let config = Config::load(&path, environment).expect("good");
    assert_eq!(config.target.url.expose(), "postgresql://dotenv/x");
    assert_eq!(config.sources["main"].url.expose(), "kept");
    assert!(!format!("{config:?}").contains("dotenv"));
}

#[test]
fn the_schema_describes_every_key() {
    let schema = json_schema();
    let table = &schema["$defs"]["Table"];
    assert_eq!(table["additionalProperties"], false);
    assert_eq!(table["properties"]["window"]["default"], "1d");
    assert_eq!(schema["required"], serde_json::json!(["project", "source", "target", "blob"]));
    let top = &schema["properties"];
    let sections = [
        &top["project"],
        &schema["$defs"]["Source"],
        &top["target"],
        &top["blob"],
        table,
        &schema["$defs"]["Thresholds"],
        &schema["$defs"]["Alert"],
    ];
    let counts = sections.map(|section| {
        let keys = section["properties"].as_object().expect("keys");
        assert!(keys.values().all(|key| key["description"].is_string()), "no description: {section}");
        keys.len()
    });
    assert_eq!(counts, [5, 13, 10, 7, 39, 6, 9]);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(tail in "[\\[\\]a-z=\"'${}\n .:;0-9ä]{0,60}") {
        let _ = parse(&format!("{HEAD}[[table]]\n{PLAIN}{tail}"));
        let _ = parse(&tail);
    }
}

const FILES: &str = "
[project]
name = \"p\"
[source.raw]
files = \"file:///srv/raw\"
[target]
url = \"x\"
[blob]
url = \"file:///b\"
[[table]]
name = \"grants\"
";

fn files_problems(lines: &str, source: &str) -> String {
    let text = FILES.replace("[target]", &format!("{source}\n[target]")) + lines;
    Config::parse(&text, "dwh.toml".as_ref(), Environment::default()).expect_err(lines).to_string()
}

const BY_SCHEMA: &str = "files = \"*\"\nmode = \"files\"\njson_schema = \"s\"";

#[test]
fn a_table_of_files_is_read() {
    let text = format!(
        "{FILES}files = \"*/data.json\"\nignore = [\"**/_*\"]\nmode = \"files\"\njson_schema = \"s.json\"\n[table.columns]\n\
         z = {{ from = \"/a/b\", type = \"timestamptz\" }}\na = {{ type = \"numeric(12, 2)\" }}\nk = {{ type = \"int[]\" }}\n\
         g = {{ lon = \"/x\", lat = \"/y\", type = \"geometry(Point,4326)\" }}"
    );
    let config = Config::parse(&text, "etc/dwh.toml".as_ref(), Environment::default()).expect("files");
    let table = &config.tables[0];
    let files = table.files.as_ref().expect("files");
    assert_eq!((table.mode, &table.key[..]), (Mode::Files, &["_file".to_owned(), "_record".to_owned()][..]));
    assert_eq!((&files.patterns[..], &files.ignore[..]), (&["*/data.json".to_owned()][..], &["**/_*".to_owned()][..]));
    assert_eq!(files.json_schema.as_deref(), Some("etc/s.json".as_ref()));
    let columns: Vec<(&str, &str)> = files
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.type_name.as_ref().map_or("", |name| name.as_str())))
        .collect();
    let expected =
        [("z", "timestamp with time zone"), ("a", "numeric(12,2)"), ("k", "integer[]"), ("g", "geometry(Point,4326)")];
    assert_eq!(columns, expected, "in the order of the file");
}

#[test]
fn what_is_wrong_with_files_is_told_by_line_and_key() {
    for (lines, source, told) in [
        ("mode = \"files\"", "", "table.files: is missing"),
        ("files = \"*\"\nmode = \"files\"", "", "table.columns: is missing"),
        ("files = \"*\"\nmode = \"snapshot\"\njson_schema = \"s\"", "", "table.mode: must be `files`"),
        ("files = \"/x/*\"\nmode = \"files\"\njson_schema = \"s\"", "", "must be a pattern over paths below"),
        ("files = \"*\"\nmode = \"files\"\njson_schema = \"s\"\nrecords = \"grants\"", "", "is no JSON pointer"),
        (
            "files = \"*\"\nmode = \"files\"\nvalidate = \"record\"\n[table.columns]\na = { type = \"text\" }",
            "",
            "there is no `json_schema`",
        ),
        (
            "files = \"*\"\nmode = \"files\"\n[table.columns]\na = { typ = \"text\" }",
            "",
            "dwh.toml:16: table.columns.a.typ: unknown key; did you mean `type`?",
        ),
        (
            "files = \"*\"\nmode = \"files\"\n[table.columns]\na = { type = \"no such; type\" }",
            "",
            "is not the name of a type",
        ),
        (
            "files = \"*\"\nmode = \"files\"\n[table.columns]\na = { lon = \"/x\", type = \"text\" }",
            "",
            "needs either `from`, or both `lon` and `lat`",
        ),
        (
            "files = \"*\"\nmode = \"files\"\nkey = [\"b\"]\n[table.columns]\na = { type = \"text\" }",
            "",
            "names `b`, which is no column",
        ),
        (
            "files = \"*\"\nmode = \"files\"\nwatermark = \"a\"\njson_schema = \"s\"",
            "",
            "table.watermark: is only for a table of a database",
        ),
        (
            "files = \"*\"\nmode = \"files\"\ndeletes = \"mark\"\njson_schema = \"s\"",
            "",
            "table.deletes: is only for a table of a database",
        ),
        (BY_SCHEMA, "url = \"x\"", "stands beside `url`"),
        (BY_SCHEMA, "validated = \"file:///srv/raw/v\"", "lies in the same folder as `files`"),
        (BY_SCHEMA, "backups = \"file:///b\"", "there is no `validated`"),
        // Two sources, and one folder in which files of one path would take each other's places.
        (
            BY_SCHEMA,
            "validated = \"file:///v\"\n[source.other]\nfiles = \"file:///other\"\nvalidated = \"file:///v\"",
            "validated: lies in the same folder as `validated` of source `",
        ),
        (
            BY_SCHEMA,
            "validated = \"file:///v\"\n[source.other]\nfiles = \"file:///o\"\nvalidated = \"file:///w\"\nbackups = \"file:///.//v/b\"",
            "in the same folder as `",
        ),
        (BY_SCHEMA, "lock_timeout = \"5s\"", "is only for a database; leave it out"),
        (
            "files = \"*\"\nmode = \"files\"\n[table.columns]\na = {}",
            "",
            "dwh.toml:16: table.columns.a.type: is missing, and there is no `json_schema`",
        ),
        (
            BY_SCHEMA,
            "validatd = \"file:///v\"",
            "dwh.toml:6: source.raw.validatd: unknown key; did you mean `validated`?",
        ),
        (
            "files = \"*\"\nmode = \"files\"\njson_schema = \"s\"\nfail_on_warnings = true",
            "",
            "dwh.toml:16: table.fail_on_warnings: unknown key; did you mean `fail_on_warning`?",
        ),
        (
            "files = \"*\"\nmode = \"files\"\njson_schema = \"s\"\non_invalid = \"skip\"",
            "",
            "dwh.toml:16: table.on_invalid: `skip` is not allowed, write `reject_file` or `reject_record`",
        ),
        ("files = \"[a\"\nmode = \"files\"\njson_schema = \"s\"", "", "`[a` is no pattern; write one such as"),
    ] {
        let problems = files_problems(lines, source);
        assert!(problems.contains(told), "`{told}` is not in {problems}");
    }
}
