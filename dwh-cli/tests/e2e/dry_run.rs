//! `--dry-run` of every verb that acts: with something to do for it, it changes nothing, and the real call then does what
//! was said.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

use crate::support::{Project, READABLE, age, files, number, table, total};
use dwh_core::testing::{TestBlobs, TestDb, assert_equal_tables};

const RETENTION: &str = "[retention]\nprocessed = \"10d\"\nexports = \"5d\"\nruns = \"10d\"\n";

/// What a database holds: every schema and relation, and every row of ours.
const HOLDS: &str = "select pg_catalog.hashtext(pg_catalog.string_agg(line, e'\\n' order by line))::bigint from (
    select nspname::text as line from pg_catalog.pg_namespace where nspname !~ '^pg_'
    union all select rolname::text from pg_catalog.pg_roles where rolname in ('dwh_owner', 'grafana_ro')
    union all select format('%s %s %s %s', n.nspname, c.relname, c.relacl, pg_catalog.md5(
        case when c.relkind in ('r', 'p', 'S') then pg_catalog.query_to_xml(
            format('select %s from %I.%I t order by 1', case c.relkind when 'S' then 'last_value' else 't::text' end,
                n.nspname, c.relname), true, false, '')::text end))
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname ~ '^(bronze|dwh_)') x";

struct Scene {
    db: TestDb,
    project: Project,
    tried: BTreeSet<String>,
}

impl Scene {
    async fn new(test: &str) -> Self {
        let db = TestDb::new(test).await;
        db.src("create schema app;").await;
        db.src(READABLE).await;
        db.src(
            "create table app.trips (id int primary key, state text, at timestamptz not null default now());
             create index on app.trips (at);
             create table app.devices (imei text primary key, name text);
             insert into app.trips select i, 'planned' from generate_series(1, 50) i;
             insert into app.devices values ('1', ''), ('2', null);",
        )
        .await;
        let trips = "watermark = \"at\"\nkey = [\"id\"]\ndeletes = \"remove\"\ndeletes_every = \"0\"";
        let config = table("trips", "app.trips", "incremental", trips)
            + &table("devices", "app.devices", "snapshot", "")
            + RETENTION;
        let project = Project::new(&db, &config);
        Self { db, project, tried: BTreeSet::new() }
    }

    async fn migrated(test: &str) -> Self {
        let scene = Self::new(test).await;
        scene.project.ok(&["migrate"]);
        scene
    }

    /// Everything that a verb might change: both databases, the blob store with its bytes, the folder of the project.
    async fn all(&self) -> (i64, i64, Vec<(String, Vec<u8>)>) {
        let folders = [self.db.blobs().to_owned(), self.project.folder().to_owned()];
        let mut found: Vec<(String, Vec<u8>)> = folders
            .iter()
            .flat_map(|folder| files(folder))
            .map(|file| (file.display().to_string(), fs::read(&file).expect("file")))
            .collect();
        found.sort();
        let source = "select count(*) from pg_catalog.pg_class";
        let source = self.db.source().query_one(source, &[]).await.expect("source").get(0);
        (number(&self.db, HOLDS).await, source, found)
    }

    /// What a dry run says, after a look that it changed nothing.
    async fn dry(&mut self, args: &[&str]) -> Value {
        self.tried.insert(args[0].to_owned());
        let before = self.all().await;
        let said = self.project.json(&[args, &["--dry-run"]].concat());
        assert!(self.all().await == before, "`dwh {} --dry-run` changed something: {said:#}", args.join(" "));
        said
    }

    /// The real call, which must change something.
    async fn real(&self, args: &[&str]) -> Value {
        let before = self.all().await;
        let done = self.project.json(args);
        assert!(self.all().await != before, "`dwh {}` had nothing to do, so its dry run shows nothing", args.join(" "));
        done
    }

    /// Both, where the report only differs in `dry_run`.
    async fn both(&mut self, args: &[&str]) -> (Value, Value) {
        (self.dry(args).await, self.real(args).await)
    }
}

fn many(value: &Value) -> usize {
    value.as_array().unwrap_or_else(|| panic!("no list: {value:#}")).len()
}

#[tokio::test]
async fn every_verb_that_acts_changes_nothing_and_then_does_what_it_said() {
    let mut scene = Scene::new("dry_run").await;
    init(&mut scene).await;
    migrate(&mut scene).await;
    run_extract_load(&mut scene).await;
    again(&mut scene).await;
    deletes(&mut scene).await;
    resync(&mut scene).await;
    put_in_order(&mut scene).await;
    rebuild(&mut scene).await;
    let planned = scene.dry(&["maintain"]).await;
    let done = scene.project.json(&["maintain"]);
    assert_eq!(many(&planned["steps"]), many(&done["steps"]));
    let help = scene.project.ok(&["--help"]).stdout;
    // `tap` wants manifests, `files` raw files, `models` SELECTs, `alert` somebody to tell, `setup` and `user` an
    // administrator, `design` and `export` a folder of their own: their dry runs are tried with their other tests.
    let look_only = [
        "check",
        "plan",
        "status",
        "report",
        "runs",
        "verify",
        "schedule",
        "config",
        "completions",
        "man",
        "help",
        "tap",
        "files",
        "models",
        "alert",
        "setup",
        "user",
        "design",
        "export",
    ];
    let acting: BTreeSet<String> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|verb| !look_only.contains(&verb.as_str()))
        .collect();
    assert_eq!(scene.tried, acting, "a verb that acts was not tried");
}

async fn init(scene: &mut Scene) {
    scene.tried.insert("init".to_owned());
    // Counters that the server has not published yet would come between the two.
    scene.db.src("select pg_stat_force_next_flush()").await;
    let (source, target, blob) = (scene.db.source_url(), scene.db.target_url(), scene.db.blob_url());
    let args =
        ["init", "app.*", "--source", &source, "--target", &target, "--blob", &blob, "--output-file", "new.toml"];
    let before = scene.all().await;
    let said = scene.project.ok(&[&args[..], &["--dry-run"]].concat());
    assert!(scene.all().await == before, "{}", said.all());
    scene.project.ok(&args);
    let written = fs::read_to_string(scene.project.folder().join("new.toml")).expect("new.toml");
    assert_eq!(said.stdout.trim(), written.trim());
}

async fn migrate(scene: &mut Scene) {
    let (said, done) = scene.both(&["migrate", "trips"]).await;
    let migrations = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations")).expect("migrations").count();
    assert_eq!((many(&said["applied"]), &said["tables_created"]), (migrations, &serde_json::json!(["bronze.trips"])));
    let (said_next, done_next) = scene.both(&["migrate"]).await;
    assert_eq!((many(&said_next["applied"]), many(&said_next["present"])), (0, migrations), "{said_next:#}");
    assert_eq!(said_next["tables_present"], serde_json::json!(["bronze.trips"]));
    for (said, done) in [(said, done), (said_next, done_next)] {
        assert_eq!((&said["dry_run"], &done["dry_run"]), (&Value::Bool(true), &Value::Bool(false)));
        for key in ["applied", "present", "tables_created", "tables_present"] {
            assert_eq!(said[key], done[key], "{key}");
        }
    }
}

async fn run_extract_load(scene: &mut Scene) {
    let (said, done) = scene.both(&["run"]).await;
    assert_eq!(said["plans"][0]["window"]["from"], done["runs"][0]["window"]["from"]);
    assert_eq!((many(&said["plans"]), total(&done, "trips", "rows_loaded")), (2, 50));

    scene.db.src("insert into app.trips values (51, 'planned')").await;
    let (said, params) = scene.both(&["extract", "trips"]).await;
    assert_eq!((many(&said["plans"]), &said["plans"][0]["table"]), (1, &params["table"]));
    let run_id = params["run_id"].to_string();
    let run = scene.project.json(&["runs", "show", &run_id])["run"].clone();
    assert_eq!(said["plans"][0]["window"]["from"], run["window_low"], "{said:#}");

    let params = params.to_string();
    let (said, done) = scene.both(&["load", "--params", &params]).await;
    assert_eq!((&said["would"], &said["status"]), (&"load".into(), &"uploaded".into()), "{said:#}");
    assert_eq!((&said["rows"], &said["bytes"]), (&done["rows_extracted"], &done["bytes"]));
    for key in ["run_id", "sha256", "window", "watermark"] {
        assert_eq!(said[key], done[key], "{key}");
    }
    move_again(scene, &params).await;
    assert_eq!(scene.dry(&["load", "--params", &params]).await["would"], "nothing");
    by_hand(scene).await;
}

/// Loaded, but not moved: what a crash leaves.
async fn move_again(scene: &mut Scene, params: &str) {
    let run_id = serde_json::from_str::<Value>(params).expect("params")["run_id"].to_string();
    let exports = scene.db.blobs().join("test/exports/trips");
    for file in files(&scene.db.blobs().join("test/processed/trips")) {
        let name = file.file_name().expect("name").to_string_lossy().into_owned();
        if name.contains(&format!("_{run_id}.")) {
            fs::rename(&file, exports.join(name)).expect("moved back");
        }
    }
    let (said, _) = scene.both(&["load", "--params", params]).await;
    assert_eq!((&said["would"], many(&said["load_sql"])), (&"move".into(), 0), "{said:#}");
}

async fn by_hand(scene: &mut Scene) {
    let csv = scene.db.blobs().join("test/exports/trips/mended.csv");
    fs::write(csv, "id,at\n70,2026-03-01 08:00:00+00\n71,2026-03-01 08:00:00+00\n").expect("csv");
    let args = ["load", "--table", "trips", "--csv-path", "test/exports/trips/mended.csv", "--accept-unverified"];
    let (said, done) = scene.both(&args).await;
    assert_eq!((&said["would"], &said["manifest"], &said["run_id"]), (&"load".into(), &false.into(), &Value::Null));
    assert_eq!(
        (&said["rows"], &said["bytes"], &said["sha256"]),
        (&done["rows_extracted"], &done["bytes"], &done["sha256"])
    );
    assert_eq!(done["rows_loaded"], 2);
}

async fn again(scene: &mut Scene) {
    let missing = "delete from bronze.trips where id in (1, 2)";
    for args in
        [&["backfill", "trips", "--from", "2020-01-01T00:00:00Z"][..], &["reseed", "trips"], &["replay", "trips"]]
    {
        scene.db.tgt(missing).await;
        let (mut said, mut done) = scene.both(args).await;
        if args[0] == "reseed" {
            (said, done) = (said["tables"][0].take(), done["tables"][0].take());
        }
        let list = if args[0] == "replay" { "csvs" } else { "windows" };
        assert_eq!((many(&said[list]), many(&said["runs"])), (many(&done["runs"]), 0), "{said:#}");
        let back = "select count(*) from bronze.trips where id in (1, 2)";
        assert_eq!(number(&scene.db, back).await, 2, "{}", args[0]);
    }
}

async fn deletes(scene: &mut Scene) {
    scene.db.src("delete from app.trips where id = 3").await;
    let (said, done) = scene.both(&["deletes"]).await;
    for count in ["keys", "rows_compared", "rows_gone", "up_to"] {
        assert_eq!(said["tables"][0][count], done["tables"][0][count], "{count}: {said:#}");
    }
    // Those that a person put there were never at the source.
    assert_eq!(said["tables"][0]["first_keys"], serde_json::json!([["3"], ["70"], ["71"]]));
}

async fn resync(scene: &mut Scene) {
    let (said, done) = scene.both(&["resync", "trips"]).await;
    assert_eq!((&said["tables"][0]["chunks"], many(&said["tables"][0]["runs"])), (&1.into(), 0), "{said:#}");
    assert_eq!(many(&done["tables"][0]["runs"]), 2, "{done:#}");
}

async fn put_in_order(scene: &mut Scene) {
    scene.db.src("insert into app.trips values (52, 'planned')").await;
    let run_id = scene.project.json(&["extract", "trips"])["run_id"].to_string();
    let states = |report: &Value| -> Vec<(Value, Value)> {
        let found = report["found"].as_array().expect("found").iter();
        found.map(|found| (found["state"].clone(), found["run_id"].clone())).collect()
    };
    let (said, done) = scene.both(&["recover", "--set-aside", &run_id]).await;
    assert_eq!(states(&said), states(&done));
    scene.project.ok(&["extract", "trips"]);
    let (said, done) = scene.both(&["recover"]).await;
    assert_eq!(states(&said), states(&done));
    assert!(!states(&said).is_empty());
    age(&scene.db, &TestBlobs::local(&scene.db), "true", "20 days").await;
    let (said, done) = scene.both(&["prune"]).await;
    assert!(many(&said["tables"][0]["files"]) > 0, "{said:#}");
    assert_eq!(said["tables"][0]["files"], done["tables"][0]["files"]);
}

async fn rebuild(scene: &mut Scene) {
    scene.project.ok(&["run"]);
    let (said, done) = scene.both(&["rebuild", "--reset"]).await;
    assert_eq!((many(&said["tables"]), &said["in_the_way"]), (many(&done["tables"]), &done["in_the_way"]), "{said:#}");
}

#[tokio::test]
async fn a_dry_load_meets_the_errors_of_the_load() {
    let scene = Scene::migrated("dry_load_errors").await;
    let params = scene.project.ok(&["extract", "trips"]).stdout;
    let csv = files(&scene.db.blobs().join("test/exports/trips"));
    let csv = csv.iter().find(|file| file.extension().is_some_and(|end| end == "csv")).expect("csv").clone();
    let whole = fs::read(&csv).expect("read");
    let same_error = |args: &[&str], code: i32| -> String {
        let said = scene.project.fails(code, &[args, &["--dry-run"]].concat()).json();
        let done = scene.project.fails(code, args).json();
        assert_eq!(said["error"], done["error"], "`dwh {}`", args.join(" "));
        said["error"]["message"].as_str().unwrap_or_default().to_owned()
    };
    let load = ["load", "--params", params.trim()];
    fs::write(&csv, [&whole[..], b"99,x,2026-01-01 00:00:00+00\n"].concat()).expect("longer");
    assert!(same_error(&load, 4).contains("bytes"));
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    fs::write(&csv, changed).expect("changed");
    assert!(same_error(&load, 4).contains("sha256"));
    fs::write(&csv, &whole).expect("whole");
    scene.db.tgt("alter table bronze.trips drop column state").await;
    assert!(same_error(&load, 4).contains("state"));
    scene.db.tgt("alter table bronze.trips add column state text").await;

    let hand = ["load", "--table", "trips", "--csv-path", "test/exports/trips/mine.csv"];
    fs::write(csv.with_file_name("mine.csv"), "id,at\n70\n").expect("by hand");
    assert!(same_error(&hand, 4).contains("no manifest"));
    let accepted = [&hand[..], &["--accept-unverified"]].concat();
    assert!(same_error(&accepted, 4).contains("line 2"));
    fs::write(csv.with_file_name("mine.csv"), "id,nobody\n70,1\n").expect("by hand");
    assert!(same_error(&accepted, 4).contains("nobody"));
    scene.project.fails(2, &["load", "--table", "nobody", "--csv-path", "x.csv", "--dry-run"]);

    let said = scene.project.json(&[&load[..], &["--dry-run"]].concat());
    assert_eq!((&said["would"], &said["status"]), (&"load".into(), &"failed".into()), "{said:#}");
    scene.project.ok(&load);
    assert_equal_tables(&scene.db, "select id, at from app.trips", "select id, at from bronze.trips").await;
}

#[tokio::test]
async fn an_extract_of_another_life_is_refused_beforehand() {
    let scene = Scene::migrated("dry_extract").await;
    let refused = scene.project.fails(2, &["extract", "tri*", "--dry-run"]);
    assert!(refused.all().contains("trips"), "one table, not a pattern: {}", refused.all());
    scene.project.ok(&["run"]);
    scene.db.tgt("drop schema dwh_control cascade; drop schema bronze cascade").await;
    scene.project.ok(&["migrate"]);
    for args in [["extract", "trips"], ["run", "devices"]] {
        let said = scene.project.dwh(&[&args[..], &["--dry-run"]].concat());
        let done = scene.project.dwh(&args);
        assert_eq!((said.code, done.code), (4, 4), "{}{}", said.all(), done.all());
        // A run says before it what became of its table, and behind it the sums.
        let why = done.stderr.split_inclusive('\n').skip_while(|line| !line.starts_with("dwh:"));
        assert_eq!(said.stderr, why.filter(|line| !line.starts_with("1 of 1 table FAILED")).collect::<String>());
    }
}

#[tokio::test]
async fn only_the_tables_that_match_are_looked_at() {
    let scene = Scene::migrated("dry_globs").await;
    let subjects = |report: &Value| -> BTreeSet<String> {
        let findings = report["findings"].as_array().expect("findings").iter();
        findings.map(|finding| finding["subject"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let looked = subjects(&scene.project.json(&["check", "tr*"]));
    for subject in ["target", "source app", "blob", "spool", "table `trips`"] {
        assert!(looked.contains(subject), "no {subject}: {looked:?}");
    }
    assert!(!looked.contains("table `devices`"), "{looked:?}");
    scene.project.ok(&["run", "trips"]);
    scene.project.json(&["check", "trips", "--gate", "first-run"]);
    let judged = scene.project.fails(4, &["check", "--gate", "first-run"]);
    assert_eq!(subjects(&judged.json()).len(), 2, "{}", judged.all());
    scene.project.fails(4, &["check", "devices", "--gate", "deploy"]);
    // Too early to be passed.
    assert_eq!(subjects(&scene.project.fails(4, &["check", "trips", "--gate", "steady"]).json()).len(), 1);

    let status = scene.project.json(&["status", "tr*", "--check"]);
    assert_eq!((many(&status["tables"]), &status["tables"][0]["table"]), (1, &"trips".into()), "{status:#}");
    scene.project.fails(4, &["status", "--check"]);
    for verb in [&["check"][..], &["check", "--gate", "steady"], &["status"], &["migrate"], &["migrate", "--print-sql"]]
    {
        let refused = scene.project.fails(2, &[verb, &["nobody*"]].concat());
        assert!(refused.all().contains("trips, devices"), "{}", refused.all());
    }
    let sql = scene.project.ok(&["migrate", "trips", "--print-sql"]).stdout;
    assert!(sql.contains("\"trips\"") && !sql.contains("devices"), "{sql}");
}
