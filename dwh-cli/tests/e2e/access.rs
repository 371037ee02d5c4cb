//! `dwh setup` and `dwh user`: roles, rights and schemas by an administrator, and passwords that no server sees.

use crate::support::{EVENTS, Output, Project, number, table};
use dwh_core::testing::{Server, TestDb};
use serde_json::Value;
use std::io::{Read, Write};
use tokio_postgres::{Client, NoTls};

const PASSWORD: &str = "horse_battery_staple";

/// A warehouse whose roles begin with `stem` and are not there yet; roles belong to the whole cluster.
struct Scene {
    db: TestDb,
    project: Project,
    stem: &'static str,
}

impl Scene {
    async fn new(stem: &'static str, admin: &str) -> Self {
        let db = TestDb::new(stem).await;
        db.src(EVENTS).await;
        let tables = "[thresholds]\ndisk_used = 100\n".to_owned()
            + &table("events", "app.events", "incremental", "watermark = \"recorded_at\"\nkey = [\"id\"]")
            + &table("other", "app.other", "snapshot", "");
        let target = format!(
            "[target]\nadmin_url = \"{}\"\nowner_role = \"{stem}_owner\"\nreader_role = \"{stem}_ro\"\n",
            db.target_url_as(admin)
        );
        let toml = db.config(&tables).replacen("[target]\n", &target, 1);
        let toml = toml.replacen("dwh_loader:", &format!("{stem}_loader:"), 1);
        let toml = toml.replacen("[source.app]\n", "[source.app]\nschema = \"www\"\n", 1);
        Self { project: Project::written(toml, Vec::new()), db, stem }
    }

    /// One of its roles.
    fn role(&self, end: &str) -> String {
        format!("{}_{end}", self.stem)
    }

    async fn roles(&self) -> i64 {
        number(&self.db, &format!("select count(*) from pg_roles where rolname like '{}\\_%'", self.stem)).await
    }

    /// A connection as a user with this password; `None` if the server lets it not in.
    async fn login(&self, user: &str, password: &str) -> Option<Client> {
        let url = self.db.target_url();
        let (_, place) = url.split_once('@').expect("a place");
        let url = format!("postgresql://{user}:{password}@{place}");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    }
}

fn steps(report: &Value) -> Vec<(String, bool)> {
    let steps = report["steps"].as_array().expect("steps");
    let step = |step: &Value| (step["what"].as_str().expect("what").to_owned(), step["done"] == true);
    steps.iter().map(step).collect()
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, code, "{}", output.all());
    for word in words {
        assert!(output.stderr.contains(word), "`{word}` is not in {}", output.all());
    }
}

#[tokio::test]
async fn setup_makes_what_is_missing_and_a_second_call_nothing() {
    let scene = Scene::new("acc_setup", "postgres").await;
    let planned = scene.project.json(&["setup", "--dry-run"]);
    assert!(steps(&planned).len() > 8 && steps(&planned).iter().all(|(_, done)| !done), "{planned:#}");
    assert!(planned["steps"].as_array().expect("steps").iter().all(|step| step["sql"].is_string()), "{planned:#}");
    assert_eq!(scene.roles().await, 0, "nothing was made");

    let done = scene.project.json(&["setup"]);
    assert!(steps(&done).iter().all(|(_, done)| *done), "{done:#}");
    assert!(done["login"].is_null(), "the password of `url` is taken: {done:#}");
    assert!(!done.to_string().contains("SCRAM-"), "{done:#}");
    assert_eq!(scene.roles().await, 3);
    let verified =
        "select count(*) from pg_authid where rolname = 'acc_setup_loader' and rolpassword like 'SCRAM-SHA-256$4096:%'";
    assert_eq!(number(&scene.db, verified).await, 1);
    let schemas = "select count(*) from pg_namespace where nspname in ('dwh_control', 'bronze', 'www')
        and nspowner = (select oid from pg_roles where rolname = 'acc_setup_owner')";
    assert_eq!(number(&scene.db, schemas).await, 3);

    let again = scene.project.json(&["setup"]);
    assert!(again["steps"].as_array().expect("steps").iter().all(|step| step["sql"].is_null()), "{again:#}");
    // What it is for.
    scene.project.ok(&["migrate"]);
    scene.project.ok(&["run"]);
    assert_eq!(number(&scene.db, "select count(*) from www.events").await, 100);
    let once_more = scene.project.json(&["setup"]);
    assert!(steps(&once_more).iter().all(|(_, done)| !done), "{once_more:#}");
}

#[tokio::test]
async fn an_administrator_who_is_no_superuser_gives_back_what_he_borrowed() {
    let scene = Scene::new("acc_lend", "acc_lend_admin").await;
    let password = dwh_core::schema::quote_literal(Server::PASSWORD);
    scene
        .db
        .tgt(&format!(
            "create role acc_lend_admin login createrole password {password};
             alter database {} owner to acc_lend_admin",
            scene.db.name()
        ))
        .await;
    scene.project.ok(&["setup"]);
    let lent = "select count(*) from pg_roles where rolname = 'acc_lend_owner' and pg_has_role('acc_lend_admin', oid, 'usage')";
    assert_eq!(number(&scene.db, lent).await, 0);
    scene.project.ok(&["migrate"]);
    scene.project.ok(&["user", "add", "acc_lend_tom", "--schema"]);
    scene.project.ok(&["user", "remove", "acc_lend_tom", "--reassign"]);
    // Rights on a database are its owner's to give.
    scene
        .db
        .tgt(&format!("alter database {} owner to postgres; drop owned by acc_lend_owner cascade", scene.db.name()))
        .await;
    refused(&scene.project.dwh(&["setup"]), 4, &["permission denied"]);
}

#[tokio::test]
async fn setup_says_what_it_needs_of_the_configuration() {
    let scene = Scene::new("acc_config", "postgres").await;
    let none = scene.project.config_with("admin_url = \"", "admin_url = \"${NOT_SET:-}\" # ");
    refused(&none.dwh(&["setup"]), 2, &["`[target] admin_url` is missing", "DWH_ADMIN_URL"]);
    let same = scene.project.config_with("acc_config_loader:", "postgres:");
    refused(&same.dwh(&["setup"]), 2, &["log in as the same role `postgres`"]);
    let closed = scene.project.config_with("postgres:", "app_ro_not_there:");
    assert_eq!(closed.dwh(&["setup"]).code, 3);
}

#[tokio::test]
async fn users_read_or_write_and_are_removed_when_they_own_nothing() {
    let scene = Scene::new("acc_user", "postgres").await;
    let (tom, spark) = (scene.role("tom"), scene.role("spark"));
    refused(&scene.project.dwh(&["user", "add", &tom]), 4, &["dwh setup"]);
    scene.project.ok(&["setup"]);
    scene.project.ok(&["migrate"]);
    scene.project.ok(&["run"]);

    let planned = scene.project.json(&["user", "add", &tom, "--dry-run"]);
    assert!(planned["login"]["password"].is_null() && planned["login"]["role"] == tom.as_str(), "{planned:#}");
    let added =
        scene.project.fed(&["-vv", "user", "add", &tom, "--schema", "--password-stdin"], &format!("{PASSWORD}\n"));
    assert_eq!(added.code, 0, "{}", added.all());
    assert!(!added.all().contains("horse") && !added.all().contains("SCRAM-"), "{}", added.all());
    assert!(added.stderr.contains(" password '…'"), "the statement is told: {}", added.all());
    let reader = scene.login(&tom, PASSWORD).await.expect("the password is the one that was given");
    reader.batch_execute("select count(*) from www.events").await.expect("he reads");
    reader.batch_execute("delete from www.events").await.expect_err("and writes nothing");
    reader.batch_execute(&format!("create table {tom}.mine as select * from www.events")).await.expect("but there");
    let again = scene.project.json(&["user", "add", &tom, "--schema"]);
    assert!(again["login"].is_null() && steps(&again).iter().all(|(_, done)| !done), "{again:#}");
    assert!(scene.login(&tom, PASSWORD).await.is_some(), "a login that is there keeps its password");

    let offered = scene.project.json(&["user", "add", &spark, "--group", "etl"]);
    let password = offered["login"]["password"].as_str().expect("made up");
    assert_eq!(password.len(), 32);
    let writer = scene.login(&spark, password).await.expect("the password that was shown");
    writer.batch_execute("delete from www.events where id = 1").await.expect("it writes");

    refused(
        &scene.project.dwh(&["user", "remove", &tom]),
        4,
        &["owns 2 things", &format!("table {tom}.mine"), "--reassign"],
    );
    let planned = scene.project.json(&["user", "remove", &tom, "--reassign", "--dry-run"]);
    assert!(planned["steps"].to_string().contains("reassign owned by"), "{planned:#}");
    assert!(scene.login(&tom, PASSWORD).await.is_some());
    scene.project.ok(&["user", "remove", &tom, "--reassign"]);
    assert!(scene.login(&tom, PASSWORD).await.is_none());
    let given = format!("select count(*) from pg_tables where schemaname = '{tom}' and tableowner = 'acc_user_owner'");
    assert_eq!(number(&scene.db, &given).await, 1);
    scene.project.ok(&["user", "remove", &spark]);
    refused(&scene.project.dwh(&["user", "remove", &spark]), 4, &["no user"]);
}

#[tokio::test]
async fn roles_that_are_no_users_and_weak_passwords_are_refused() {
    let scene = Scene::new("acc_not", "postgres").await;
    scene.project.ok(&["setup"]);
    for name in ["acc_not_loader", "acc_not_owner", "acc_not_ro", "postgres", "pg_read_all_data", ""] {
        for verb in ["add", "remove"] {
            refused(&scene.project.dwh(&["user", verb, name]), 2, &["user `"]);
        }
    }
    // Somebody else's, on the same server.
    refused(&scene.project.dwh(&["user", "remove", "dwh_loader"]), 4, &["is no user of this warehouse"]);
    let taken = scene.project.fed(&["user", "add", "dwh_loader", "--password-stdin"], &format!("{PASSWORD}\n"));
    refused(&taken, 4, &["login `dwh_loader` is there", "somebody else's"]);
    assert!(scene.login("dwh_loader", PASSWORD).await.is_none(), "its password is what it was");
    let long = format!("--schema={}", "s".repeat(64));
    refused(&scene.project.dwh(&["user", "add", "acc_not_tom", &long]), 2, &["longer than the 63 bytes"]);
    for weak in ["", "short\n", "two lines\nof a text\n"] {
        let output = scene.project.fed(&["user", "add", "acc_not_tom", "--password-stdin"], weak);
        refused(&output, 2, &[]);
        assert!(!output.all().contains("two lines"), "{}", output.all());
    }
    refused(&scene.project.dwh(&["user", "add", "acc_not_tom", "--schema=www"]), 2, &["the warehouse's own"]);
    assert_eq!(scene.roles().await, 3, "nothing was made");
}

#[tokio::test]
async fn a_terminal_is_asked_and_does_not_show_what_is_typed() {
    let scene = Scene::new("acc_asked", "postgres").await;
    scene.project.ok(&["setup"]);
    let tom = scene.role("tom");
    let mut child = scene.project.on_terminal(&["user", "add", &tom]);
    let (mut input, mut output) = (child.stdin.take().expect("stdin"), child.stdout.take().expect("stdout"));
    let mut shown = String::new();
    let mut read_until = |word: &str, shown: &mut String| {
        let mut byte = [0];
        while !shown.ends_with(word) && output.read(&mut byte).expect("read") == 1 {
            shown.push(char::from(byte[0]));
        }
    };
    for prompt in ["one is made up): ", "the same once more: "] {
        read_until(prompt, &mut shown);
        writeln!(input, "{PASSWORD}").expect("typed");
    }
    read_until("never at the end", &mut shown);
    assert!(child.wait().expect("ended").success(), "{shown}");
    assert!(shown.contains(&format!("login `{tom}`")) && !shown.contains("horse"), "{shown}");
    assert!(scene.login(&tom, PASSWORD).await.is_some());
}
