//! Every kind of difference between source and bronze: what the command says is pasted, as it stands, into a session of odd
//! settings, and after the next run the two ends are equal.

pub mod kinds;

use crate::support::{Project, READABLE, table};
use dwh_core::testing::TestDb;
use kinds::{Kind, Step};
use serde_json::Value;
use std::collections::BTreeMap;

/// Nothing that a person pastes may depend on any of these.
pub const ODD: &str = "set datestyle = 'SQL, DMY'; set timezone = 'Africa/Nairobi'; set intervalstyle = 'sql_standard';
    set bytea_output = 'escape'; set extra_float_digits = -15; set search_path = ''; set xmloption = 'document';
    set standard_conforming_strings = off; set escape_string_warning = off; set array_nulls = off;
    set backslash_quote = off; set transform_null_equals = on; set lc_monetary = 'C.UTF-8'";

/// A table that is appended to and newer versions win, one that is read whole, and one where the first version stays.
pub const MODES: [&str; 3] = ["incremental", "snapshot", "nothing"];

/// The types of the schemas, at both ends.
const TYPES: &str =
    "create schema app; create type app.mood as enum ('ok', 'bad'); create type app.mood2 as enum ('ok', 'bad', 'new');
    create domain app.positive as integer check (value > 0); grant usage on schema app to public;";

/// Both ends, with a table of each kind in both modes, loaded once and then changed.
pub struct Drifted {
    pub db: TestDb,
    pub project: Project,
    kinds: Vec<Kind>,
}

fn name_of(kind: &Kind, mode: &str) -> String {
    format!("{}_{}", kind.name, &mode[..3])
}

/// Where a kind's table lies.
fn tables(kinds: &[Kind]) -> impl Iterator<Item = (String, &'static str, &Kind)> {
    kinds.iter().flat_map(|kind| MODES.map(|mode| (name_of(kind, mode), mode, kind)))
}

impl Drifted {
    pub async fn new(test: &str, kinds: Vec<Kind>) -> Self {
        let db = TestDb::new(test).await;
        db.tgt(&format!("{TYPES} grant create on schema app to dwh_owner")).await;
        db.src(&format!(
            "{TYPES} {READABLE} create type app.only_here as enum ('a', 'b'); create type app.pair as (x int, y text)"
        ))
        .await;
        let mut config = String::new();
        for (name, mode, kind) in tables(&kinds) {
            db.src(&kind.sql(&kind.before, &format!("app.{name}"))).await;
            let (mode, own) = match mode {
                "snapshot" => (mode, "key = [\"id\"]"),
                "nothing" => ("incremental", "watermark = \"at\"\nkey = [\"id\"]"),
                _ => (mode, "watermark = \"at\"\nkey = [\"id\"]\non_conflict = \"update\""),
            };
            config += &table(&name, &format!("app.{name}"), mode, &format!("{own}\n# {name}"));
        }
        let project = Project::new(&db, &config);
        project.ok(&["migrate"]);
        project.ok(&["run"]);
        for (name, _, kind) in tables(&kinds) {
            db.src(&kind.sql(&kind.after, &format!("app.{name}"))).await;
            db.tgt(&kind.sql(&kind.in_bronze, &format!("bronze.{name}"))).await;
        }
        Self { db, project, kinds }
    }

    /// The hints of the tables that a run refuses.
    pub fn hints(&self) -> BTreeMap<String, String> {
        let report = self.project.dwh(&["run", "--output", "json"]).json();
        let runs = report["runs"].as_array().expect("runs");
        let failed = runs.iter().filter(|run| run["error"].is_object());
        failed
            .map(|run| {
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                assert_eq!(run["error"]["code"], "drift", "{run:#}");
                (text(&run["table"]), text(&run["error"]["hint"]))
            })
            .collect()
    }

    /// Does what the hints say, in the order of their lines.
    async fn follow(&self) {
        let hints = self.hints();
        let refused = |kind: &Kind| matches!(kind.step, Step::None);
        for (name, _, kind) in tables(&self.kinds) {
            assert_ne!(refused(kind), hints.contains_key(&name), "{name}: {hints:#?}");
        }
        self.follow_these(&hints, Vec::new()).await;
    }

    /// The same where some of it was done already, with commands that must follow.
    pub async fn follow_these(&self, hints: &BTreeMap<String, String>, mut commands: Vec<String>) {
        let session = connect_as_loader(&self.db).await;
        session.batch_execute(ODD).await.expect("odd settings");
        let (mut project, mut wrong) = (None, Vec::new());
        for (name, _, kind) in tables(&self.kinds) {
            match (&kind.step, hints.get(&name)) {
                (_, None) => {}
                (Step::Keep, Some(hint)) if hint.contains("on_missing_column = \"keep\"") => {
                    let before = project.as_ref().unwrap_or(&self.project);
                    project = Some(before.config_with(&format!("# {name}\n"), "on_missing_column = \"keep\"\n"));
                }
                (Step::Paste, Some(hint)) => {
                    for command in made_first(hint) {
                        self.project.ok(&command.split(' ').skip(1).collect::<Vec<_>>());
                    }
                    for sql in pasted(hint) {
                        if let Err(error) = session.batch_execute(&sql).await {
                            wrong.push(format!("{name}: {sql}\n    {:?}", error.as_db_error()));
                            session.batch_execute("rollback").await.expect("rollback");
                        }
                    }
                    commands.extend(told(hint));
                }
                (step, hint) => wrong.push(format!("{name}: {step:?} does not fit {hint:?}")),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let project = project.as_ref().unwrap_or(&self.project);
        project.ok(&["run"]);
        for command in commands {
            let args: Vec<&str> = command.split(' ').skip(1).collect();
            project.ok(&args);
        }
        self.is_equal(project);
    }

    pub fn is_equal(&self, project: &Project) {
        let verified = project.dwh(&["verify", "--output", "json"]);
        let report = verified.json();
        let tables = report["tables"].as_array().expect("tables");
        assert_eq!(tables.len(), self.kinds.len() * MODES.len());
        let unequal: Vec<String> = tables
            .iter()
            .filter(|t| {
                t["differing"] != 0 && t["windows_differing"] != 0 || t["error"].is_object() || t["compared"] != true
            })
            .map(ToString::to_string)
            .collect();
        assert!(unequal.is_empty(), "{}", unequal.join("\n"));
        assert_eq!(verified.code, 0, "{}", verified.all());
    }
}

pub async fn connect_as_loader(db: &TestDb) -> tokio_postgres::Client {
    let (client, connection) =
        tokio_postgres::connect(&db.target_url_as("dwh_loader"), tokio_postgres::NoTls).await.expect("the target");
    tokio::spawn(connection);
    client
}

/// The statements of a hint, line by line, as they were printed.
pub fn pasted(hint: &str) -> Vec<String> {
    // What follows "if it is not" is for another case.
    let lines = hint.lines().take_while(|line| *line != "if it is not:");
    let own = lines.filter_map(|line| line.strip_prefix("and ").unwrap_or(line).strip_prefix("in the target: "));
    own.map(str::to_owned).collect()
}

/// The commands that make a type which the target lacks.
fn made_first(hint: &str) -> Vec<String> {
    let lines = hint.lines().filter(|line| line.starts_with("if the target has no type"));
    lines.filter_map(|line| line.split('`').find(|word| word.starts_with("dwh ")).map(str::to_owned)).collect()
}

/// The commands that a hint says must follow.
pub fn told(hint: &str) -> Vec<String> {
    let lines = hint.lines().filter_map(|line| line.strip_prefix("then `"));
    lines
        .flat_map(|line| line.split('`').step_by(2).filter(|word| word.starts_with("dwh ")).map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn columns_that_come_go_and_change_their_name() {
    Drifted::new("drift_columns", kinds::columns()).await.follow().await;
}

#[tokio::test]
async fn numbers_and_texts_that_change_their_type() {
    Drifted::new("drift_numbers", kinds::numbers()).await.follow().await;
}

#[tokio::test]
async fn times_that_change_their_type() {
    Drifted::new("drift_times", kinds::times()).await.follow().await;
}

#[tokio::test]
async fn all_other_types_that_change() {
    Drifted::new("drift_others", kinds::others()).await.follow().await;
}

/// Values that the narrower type cannot hold are never cut: the statement fails, and bronze is as it was.
#[tokio::test]
async fn what_does_not_fit_is_refused_and_bronze_may_keep_its_type() {
    let drifted = Drifted::new("drift_narrow", kinds::narrow()).await;
    let session = connect_as_loader(&drifted.db).await;
    session.batch_execute(ODD).await.expect("odd settings");
    let (hints, mut project) = (drifted.hints(), drifted.project.config_with("[project]", "[project]"));
    for (name, hint) in &hints {
        let text = async || -> String {
            let sql = format!("select pg_catalog.string_agg(t::text, ' ' order by id) from bronze.\"{name}\" t");
            drifted.db.target().query_one(&sql, &[]).await.expect("rows").get(0)
        };
        let before = text().await;
        for sql in pasted(hint) {
            session.batch_execute(&sql).await.expect_err(&format!("{name}: {sql}"));
            session.batch_execute("rollback").await.expect("rollback");
        }
        assert_eq!(text().await, before, "{name}");
        let kept = hint
            .lines()
            .find_map(|line| line.strip_prefix("or keep the type of bronze, under the table in dwh.toml: "));
        let line = kept.unwrap_or_else(|| panic!("{name}: {hint}"));
        project = project.config_with(&format!("# {name}\n"), &format!("{line}\n"));
    }
    assert_eq!(hints.len(), kinds::narrow().len() * MODES.len(), "{hints:#?}");
    project.ok(&["run"]);
    project.ok(&["check"]);
}

#[tokio::test]
async fn what_was_made_of_a_column_is_named_before_its_type_is_changed() {
    let kinds = kinds::numbers().into_iter().filter(|kind| kind.name == "int__bigint").collect();
    let drifted = Drifted::new("drift_views", kinds).await;
    let name = "int__bigint_inc";
    drifted
        .db
        .tgt(&format!(
            "create view bronze.\"My view\" as select v + 1 as next from bronze.{name};
         create policy small on bronze.{name} using (v < 100)"
        ))
        .await;
    let hints = drifted.hints();
    let hint = &hints[name];
    let first = hint.lines().next().expect("a line");
    assert!(first.contains("view bronze.\"My view\"") && first.contains("policy small on table"), "{hint}");
    let definition = first.split("prints: ").nth(1).and_then(|rest| rest.split(';').next()).expect("a statement");
    let view: String = drifted.db.target().query_one(definition, &[]).await.expect("the view").get(0);
    drifted
        .db
        .tgt(&format!("drop view bronze.\"My view\"; drop policy small on bronze.{name}; {}", pasted(hint)[0]))
        .await;
    drifted.db.tgt(&format!("create view bronze.\"My view\" as {view}")).await;
    for other in ["int__bigint_sna", "int__bigint_not"] {
        drifted.db.tgt(&pasted(&hints[other])[0]).await;
    }
    drifted.project.ok(&["run"]);
    drifted.is_equal(&drifted.project);
}

/// A column that bronze inherits changes only where it comes from, and one that divides a table never changes its type.
#[tokio::test]
async fn what_is_inherited_or_divides_bronze_has_a_remedy_that_works() {
    let db = TestDb::new("drift_family").await;
    db.src(&format!("create schema app; {READABLE}")).await;
    let mut config = String::new();
    for name in ["inh", "par"] {
        db.src(&format!(
            "create table app.{name} (id int primary key, at timestamptz not null default now(), v int);
             create index on app.{name} (at); insert into app.{name} select n, now(), n from generate_series(1, 3) n"
        ))
        .await;
        let own = "watermark = \"at\"\nkey = [\"id\"]\non_conflict = \"update\"";
        config += &table(name, &format!("app.{name}"), "incremental", own);
    }
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    db.tgt(
        "set role dwh_owner; create table bronze.parent (like bronze.inh); alter table bronze.inh inherit bronze.parent;
         create table bronze.divided (like bronze.par including all) partition by range (id);
         create table bronze.par_all partition of bronze.divided default; drop table bronze.par;
         alter table bronze.divided rename to par; reset role",
    )
    .await;
    project.ok(&["run"]);
    db.src(
        "alter table app.inh alter v type bigint; insert into app.inh values (4, now(), 1000000000000);
         alter table app.par alter id type bigint; insert into app.par values (1000000000000, now(), 4)",
    )
    .await;
    let refused = project.fails(4, &["run"]);
    let (inherited, divides) = (refused.failure("inh").hint, refused.failure("par").hint);
    assert!(inherited.contains("`v` comes from bronze.parent"), "{inherited}");
    assert!(divides.contains("bronze is partitioned by it"), "{divides}");
    let applied = project.fails(4, &["migrate", "--apply-drift"]).json();
    assert_eq!(applied["drift_applied"], serde_json::json!([]), "tables of others are not changed unasked");
    let session = connect_as_loader(&db).await;
    for hint in [&inherited, &divides] {
        for sql in pasted(hint) {
            session.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }
    for command in told(&divides) {
        let done = project.dwh(&command.split(' ').skip(1).collect::<Vec<_>>());
        // `migrate` says that a table which was loaded before is made again.
        assert!(done.code == 0 || command.starts_with("dwh migrate"), "{}", done.all());
    }
    project.ok(&["run"]);
    for name in ["inh", "par"] {
        dwh_core::testing::assert_equal_tables(
            &db,
            &format!("select * from app.{name}"),
            &format!("select * from bronze.{name}"),
        )
        .await;
    }
    project.ok(&["verify"]);
}
