use super::{ModelKind, Models, with_prefix};
use crate::config::{Config, Environment};
use crate::schema::TableRef;
use std::collections::BTreeSet;
use std::fs;

/// The models of a folder with these files.
fn read(files: &[(&str, &str)]) -> crate::Result<Models> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join("models").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    let text = "[project]\nname = \"p\"\n[source.s]\nurl = \"x\"\n[target]\nurl = \"x\"\n[blob]\nurl = \"file:///x\"\n\
         [models]\ndir = \"models\"\n[[table]]\nname = \"orders\"\nrelation = \"app.orders\"\nmode = \"snapshot\"\n";
    let environment = Environment::from_iter([("SINCE", "2026-01-01")]);
    Config::parse(text, &folder.path().join("dwh.toml"), environment)?.read_models()
}

fn problems(files: &[(&str, &str)]) -> String {
    read(files).expect_err("refused").to_string()
}

fn names(models: &Models) -> Vec<String> {
    models.0.iter().map(|model| model.name.to_string()).collect()
}

#[test]
fn a_model_says_itself_what_it_is_and_what_it_reads() {
    let text = "\n-- Orders by day: https://wiki/orders\n-- kind: materialized view\n-- key: day, \"Shop Id\"\n\
                -- index: using gin (items)\n-- after: b.other\n\n-- kind: view is no key any more\n\
                with o as (select * from orders where at >= '${SINCE}')\n\
                select day from o join b.Other using (day) join generate_series(1, 2) g on true\n\
                where exists (select from \"B\".\"Third\" t);\n";
    let models = read(&[("a/daily.sql", text), ("b/other.sql", "select 1 as day")]).expect("good");
    assert_eq!(names(&models), ["b.other", "a.daily"]);
    let daily = &models.0[1];
    assert_eq!(daily.kind, ModelKind::MaterializedView);
    assert_eq!(
        (daily.key.as_slice(), daily.indexes.as_slice()),
        (&["day".into(), "Shop Id".into()][..], &["using gin (items)".into()][..])
    );
    let reads =
        [("B", "Third"), ("b", "other"), ("bronze", "orders")].map(|(schema, name)| TableRef::new(schema, name));
    assert_eq!(daily.reads, BTreeSet::from(reads));
    assert_eq!(daily.after, BTreeSet::from([TableRef::new("b", "other")]));
    assert!(daily.query.contains("at >= '2026-01-01'") && daily.query.ends_with("t)"), "{}", daily.query);
    assert_eq!(models.0[0].kind, ModelKind::Table);
}

#[test]
fn what_is_wrong_is_named_with_its_file_and_all_at_once() {
    let found = problems(&[
        ("a/kind.sql", "-- kid: view\nselect 1"),
        ("a/view.sql", "-- kind: view\n-- key: a\nselect 1 as a"),
        ("a/two.sql", "select 1; select 2"),
        ("a/none.sql", "-- nothing\n"),
        ("a/write.sql", "with gone as (delete from bronze.orders returning 1) select * from gone"),
        ("a/variable.sql", "select '${NOT_SET}'"),
        ("a/after.sql", "-- after: a.viw\nselect 1"),
        ("a/odd.sql", "-- Odd\n\nselect 1\nform x y z"),
        ("a/open.sql", "-- Open\nselect (1\n"),
        ("a/quote.sql", "select 1,\n 'a"),
        ("deep/er/x.sql", "select 1"),
        ("bronze/orders.sql", "select 1"),
        ("dwh_control/x.sql", "select 1"),
    ]);
    for expected in [
        "a/kind.sql:1: kid: unknown key; did you mean `kind`?; the keys are `kind`, `key`, `index`, `after`",
        "a/view.sql:1: kind: a view has no key and no index",
        "a/two.sql:1: select: holds several statements",
        "a/none.sql:1: select: has no SELECT",
        "a/write.sql:1: select: changes rows",
        "a/variable.sql:1: variables: variable `NOT_SET` is not set",
        "after: `a.viw` is no model; did you mean `a.view`?",
        "a/odd.sql:4: select: cannot be read",
        "a/open.sql:2: select: cannot be read",
        "a/quote.sql:2: select: is no SQL",
        "deep/er/x.sql:1: name: a model is a file `<schema>/<name>.sql`",
        "bronze/orders.sql:1: name: `bronze.orders` is table `orders`",
        "dwh_control/x.sql:1: name: `dwh_control.x` is in the schema of the run log",
    ] {
        assert!(found.contains(expected), "{expected}\nis not in\n{found}");
    }
    // PostgreSQL may take what is not understood here.
    assert!(read(&[("a/odd.sql", "-- after:\nselect (1")]).is_ok());
}

#[test]
fn a_circle_is_named() {
    let found = problems(&[
        ("a/before.sql", "select * from a.one"),
        ("a/one.sql", "select * from a.two"),
        ("a/two.sql", "select * from a.three"),
        ("a/three.sql", "select * from a.one"),
    ]);
    assert!(found.contains("`a.one` after `a.two` after `a.three` after `a.one`"), "{found}");
    assert!(problems(&[("a/self.sql", "select * from a.self")]).contains("`a.self` after `a.self`"));
}

#[test]
fn models_are_chosen_with_what_they_read_and_with_what_reads_them() {
    let models = read(&[
        ("a/raw.sql", "select * from orders"),
        ("a/mid.sql", "select * from a.raw"),
        ("b/end.sql", "select * from a.mid"),
        ("b/alone.sql", "select 1"),
    ]);
    let models = models.expect("good");
    let chosen = |glob: &str, upstream, downstream| {
        let chosen = models.chosen(&[glob.to_owned()], upstream, downstream).expect("some");
        chosen.iter().map(|model| model.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(chosen("a.mid", false, false), ["a.mid"]);
    assert_eq!(chosen("a.mid", true, false), ["a.raw", "a.mid"]);
    assert_eq!(chosen("a.mid", false, true), ["a.mid", "b.end"]);
    assert_eq!(chosen("a.mid", true, true), ["a.raw", "a.mid", "b.end"]);
    assert_eq!(chosen("b.*", false, false), ["b.alone", "b.end"]);
    assert!(models.chosen(&["c.*".to_owned()], false, false).expect_err("none").hint().contains("a.raw"));
    assert_eq!(models.behind([&TableRef::new("bronze", "orders")]).len(), 3);
}

#[test]
fn a_prefix_stands_where_the_name_does_and_nowhere_else() {
    let (raw, quoted) = (TableRef::new("a", "raw"), TableRef::new("A b", "x"));
    let text = "select a.raw.id, 'a.raw', t.a.raw -- a.raw\nfrom A . Raw join \"A b\".x on a.rawer";
    let found = with_prefix(text, &BTreeSet::from([&raw, &quoted]), "wip").expect("found");
    assert_eq!(
        found,
        "select \"wip_a\".raw.id, 'a.raw', t.a.raw -- a.raw\nfrom \"wip_a\" . Raw join \"wip_A b\".x on a.rawer"
    );
    assert!(with_prefix("select 1", &BTreeSet::from([&raw]), "wip").expect_err("not there").contains("`a.raw`"));
}
