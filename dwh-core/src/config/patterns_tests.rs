//! Several sources in one file: names, schemas, globs, what patterns find, and what they refuse.

use std::path::Path;

use super::*;
use crate::config::{Environment, OnConflict};

const TWO: &str = r#"[project]
name = "dw"
[source.main]
url = "postgresql://main/x"
[source.www]
url = "postgresql://www/x"
schema = "www"
include = ["public.*"]
exclude = "public.migration_*"
[source.www.defaults]
mode = "incremental"
watermark = "updated_at"
on_conflict = "update"
window = "7d"
[target]
url = "postgresql://dw/x"
[blob]
url = "file:///b"
"#;
const TRIPS: &str = "[[table]]\nname = \"trips\"\nsource = \"main\"\nrelation = \"app.trips\"\nmode = \"snapshot\"\n";

fn parse(text: &str) -> Result<Config> {
    Config::parse(text, Path::new("dwh.toml"), Environment::default())
}

fn config(tables: &str) -> Config {
    parse(&format!("{TWO}{tables}")).expect("good")
}

fn relations(names: &[&str]) -> Vec<TableRef> {
    names.iter().filter_map(|name| name.split_once('.')).map(|(schema, name)| TableRef::new(schema, name)).collect()
}

fn known(schema: &str, name: &str) -> Discovered {
    Discovered::new("www", TableRef::new(schema, name), vec!["id".to_owned()])
}

fn names(config: &Config, globs: &[&str]) -> Vec<String> {
    let globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
    config.select(&globs).expect("tables").into_iter().map(|table| table.name.clone()).collect()
}

#[test]
fn relations_become_tables_of_their_source() {
    let config = config(TRIPS);
    let whole = config.with_discovered(&[known("public", "orders"), known("public", "migration_1")]).expect("good");
    assert_eq!(names(&whole, &[]), ["trips", "www.orders"], "what is left out by now is no table");
    let orders = whole.table("www.orders").expect("a table");
    assert_eq!((orders.target.to_string(), orders.source.as_str()), ("www.orders".to_owned(), "www"));
    assert_eq!(orders.relation, Some(TableRef::new("public", "orders")));
    assert_eq!((orders.mode, orders.on_conflict, orders.key.len()), (Mode::Incremental, OnConflict::Update, 1));
    assert_eq!(whole.table("trips").expect("a table").target.to_string(), "bronze.trips");
    assert_eq!(whole.with_discovered(&[known("public", "orders")]).expect("again").tables.len(), 2);
}

#[test]
fn a_written_table_overrides_and_takes_the_defaults_of_its_source() {
    let own = "[[table]]\nsource = \"www\"\nrelation = \"public.orders\"\nkey = [\"a\"]\n\
               [[table]]\nsource = \"www\"\nrelation = \"public.tiny\"\nmode = \"snapshot\"\n";
    let whole = config(own).with_discovered(&[known("public", "orders")]).expect("good");
    assert_eq!(names(&whole, &[]), ["www.orders", "www.tiny"]);
    let orders = &whole.tables[0];
    assert_eq!(
        (orders.mode, &orders.key[..], orders.window.0),
        (Mode::Incremental, &["a".to_owned()][..], 604_800_000_000)
    );
    // Of another mode only that is taken which means the same there.
    let tiny = &whole.tables[1];
    assert_eq!(
        (tiny.mode, tiny.on_conflict, tiny.target.to_string()),
        (Mode::Snapshot, OnConflict::Nothing, "www.tiny".into())
    );
}

#[test]
fn globs_reach_the_tables_of_one_source() {
    let own =
        format!("{TRIPS}[[table]]\nname = \"hand\"\nsource = \"www\"\nrelation = \"public.h\"\nmode = \"snapshot\"\n");
    let whole =
        config(&own).with_discovered(&[known("public", "orders"), known("public", "order_lines")]).expect("good");
    assert_eq!(names(&whole, &["www.order*"]), ["www.orders", "www.order_lines"]);
    assert_eq!(names(&whole, &["www.*"]), ["hand", "www.orders", "www.order_lines"]);
    assert_eq!(names(&whole, &["www"]), ["hand", "www.orders", "www.order_lines"], "a source is all of its tables");
    assert_eq!(names(&whole, &["main.trips"]), ["trips"]);
    let asked = |glob: &str| whole.pattern_sources(&[glob.to_owned()]).len();
    for (glob, sources) in
        [("www.*", 1), ("*", 1), ("ww?.orders", 1), ("www", 1), ("main.*", 0), ("trips", 0), ("wwww.*", 0)]
    {
        assert_eq!(asked(glob), sources, "{glob}");
    }
}

#[test]
fn two_relations_of_one_name_are_refused_with_both_named() {
    let config = config(TRIPS).with_include("*.*");
    let there = relations(&["audit.orders", "public.lines", "public.migration_7", "public.orders"]);
    let findings = config.findings("www", &there, &[]);
    assert_eq!(findings.fresh, [Discovered::new("www", TableRef::new("public", "lines"), Vec::new())]);
    let [(name, what, hint)] = &findings.refused[..] else { panic!("{:?}", findings.refused) };
    assert!(name == "www.orders" && what.contains("audit.orders") && what.contains("public.orders"), "{what}");
    assert!(hint.contains("`name = \"www.public_orders\"`") && hint.contains("exclude"), "{hint}");
    // One that is known already keeps its name; the other one is refused.
    let findings = config.findings("www", &there, &[known("public", "orders")]);
    let [(_, what, hint)] = &findings.refused[..] else { panic!("{:?}", findings.refused) };
    assert!(
        what.contains("public.orders and audit.orders") && hint.contains("relation = \"audit.orders\""),
        "{what} {hint}"
    );
    // As the hint says.
    let named = "[[table]]\nsource = \"www\"\nrelation = \"audit.orders\"\nname = \"www.audit_orders\"\n\
                 target = \"audit_orders\"\nmode = \"snapshot\"\n";
    let config = parse(&format!("{TWO}{named}")).expect("good").with_include("*.*");
    assert_eq!(config.findings("www", &there, &[]).fresh.len(), 2);
}

#[test]
fn what_came_what_went_and_what_matches_nothing_is_told() {
    let config = config("");
    let findings = config.findings("www", &relations(&["public.orders", "app.x"]), &[known("public", "gone")]);
    assert_eq!(findings.gone, [known("public", "gone")]);
    assert_eq!(findings.idle, [("exclude", "public.migration_*".to_owned())]);
    assert_eq!(findings.fresh.len(), 1);
}

#[test]
fn two_sources_do_not_share_a_bronze_table() {
    let config = config(
        "[[table]]\nname = \"orders\"\nsource = \"main\"\nrelation = \"a.orders\"\nmode = \"snapshot\"\ntarget = \"www.orders\"\n",
    );
    let findings = config.findings("www", &relations(&["public.orders"]), &[]);
    let [(_, what, hint)] = &findings.refused[..] else { panic!("{:?}", findings.refused) };
    assert!(what.contains("bronze table of table `orders`") && hint.contains("schema ="), "{what} {hint}");
    assert!(config.with_discovered(&[known("public", "orders")]).is_err(), "never silently");
}

#[test]
fn an_incremental_table_needs_a_key_from_somewhere() {
    let keyless = Discovered::new("www", TableRef::new("public", "log"), Vec::new());
    let error = config("").with_discovered(std::slice::from_ref(&keyless)).expect_err("no key");
    assert!(error.to_string().contains("public.log") && error.hint().contains("`key`"), "{error}");
}

#[test]
fn a_source_at_the_end_of_a_file_takes_no_table() {
    let one = TWO.split("[source.www]").next().expect("head").to_owned()
        + "[target]\nurl = \"x\"\n[blob]\nurl = \"file:///b\"\n[[table]]\nname = \"t\"\nrelation = \"a.t\"\nmode = \"snapshot\"\n";
    let before = parse(&one).expect("one source").tables.remove(0);
    let after = parse(&format!("{one}[source.zzz]\nurl = \"x\"\n[source.aaa]\nurl = \"x\"\n")).expect("several");
    assert_eq!((&after.tables[0].source, &after.tables[0].name), (&before.source, &before.name));
    assert_eq!(after.tables[0].target, before.target);
}

#[test]
fn every_mistake_is_told_with_its_line_once() {
    let told = |from: &str, to: &str, tables: &str| {
        assert!(TWO.contains(from), "{from}");
        let error = parse(&(TWO.replacen(from, to, 1) + tables)).expect_err(to).to_string();
        assert_eq!(error.lines().count(), 2, "{error}");
        error
    };
    let unknown = told("window = \"7d\"", "windw = \"7d\"", "");
    assert!(unknown.contains("14: source.www.defaults.windw: unknown key; did you mean `window`?"), "{unknown}");
    assert!(
        told("window = \"7d\"", "relation = \"a.b\"", "").contains("14: source.www.defaults.relation: unknown key")
    );
    assert!(told("schema = ", "shema = ", "").contains("source.www.shema: unknown key; did you mean `schema`?"));
    let two = "[[table]]\nsource = \"www\"\nrelation = \"a.b\"\nkey = [\"id\"]\n[[table]]\nsource = \"www\"\nrelation = \"a.c\"\nkey = [\"id\"]\n";
    assert!(told("include = [\"public.*\"]", "include = [\"public.[\"]", "").contains("`public.[` is no pattern"));
    assert!(told("watermark = \"updated_at\"", "", "").contains("watermark: is missing"));
    assert!(
        told("[source.www.defaults]\nmode = \"incremental\"", "[source.www.defaults]\nmode = \"files\"", "")
            .contains("defaults")
    );
    let error = parse(&(TWO.replacen("\"7d\"", "\"-7d\"", 1) + two)).expect_err("negative").to_string();
    assert_eq!(error.lines().count(), 3, "once for the source, once for its tables: {error}");
}

#[test]
fn the_example_can_be_read() {
    let names = ["DATABASE_PRODUCTION", "DATABASE_HYPPO", "DATA_WAREHOUSE_ETL"];
    let environment = names.map(|name| (name, "postgresql://x/y")).into_iter().collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/sources/dwh.toml");
    let text = std::fs::read_to_string(path).expect("the example");
    let config = Config::parse(&text, Path::new("dwh.toml"), environment).expect("good");
    let orders = config.table("www.orders").expect("written down");
    assert_eq!((orders.mode, orders.target.to_string()), (Mode::Incremental, "www.orders".to_owned()));
    assert_eq!(config.table("uploads.budget").expect("files").target.to_string(), "uploads.budget");
    let mail = Discovered::new("hyppo", TableRef::new("public", "sent_emails"), vec!["id".to_owned()]);
    let whole = config.with_discovered(&[mail]).expect("good");
    assert_eq!(names_of(&whole, "hyppo"), ["hyppo.sent_emails"]);
}

fn names_of(config: &Config, source: &str) -> Vec<String> {
    names(config, &[&format!("{source}.*")])
}

#[test]
fn a_source_of_files_has_a_schema_and_no_patterns() {
    let text = |more: &str| {
        format!(
            "[project]\nname = \"p\"\n[source.raw]\nfiles = \"file:///srv/raw\"\nschema = \"files\"\n{more}\n[target]\nurl = \"x\"\n\
             [blob]\nurl = \"file:///b\"\n[[table]]\nname = \"g\"\nfiles = \"*\"\nmode = \"files\"\n[table.columns]\na = {{ type = \"text\" }}\n"
        )
    };
    assert_eq!(parse(&text("")).expect("good").tables[0].target.to_string(), "files.g");
    for more in ["include = [\"*\"]", "[source.raw.defaults]\nmode = \"snapshot\""] {
        assert!(parse(&text(more)).expect_err(more).to_string().contains("is only for a database"), "{more}");
    }
}

impl Config {
    fn with_include(mut self, glob: &str) -> Self {
        let patterns = self.sources.get_mut("www").and_then(|source| source.patterns.as_mut()).expect("patterns");
        patterns.include = vec![RelationGlob::new(glob).expect("a pattern")];
        self
    }
}
