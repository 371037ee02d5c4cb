//! `init` from end to end: what it writes runs as it is, on a database with tables of all kinds.

use crate::support::{Output, number};
use dwh_core::testing::{Clusters, Server, TestDb, assert_equal_tables};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

const TABLES: &str = "
    create schema app; create schema audit; create schema closed;
    grant usage on schema app, audit to app_ro;
    alter default privileges in schema app, audit grant select on tables to app_ro;

    create table app.pings (imei text, gps_time timestamptz, recorded_at timestamptz not null default now(),
        geom geometry(Point, 4326), primary key (imei, gps_time));
    create index on app.pings (recorded_at);
    insert into app.pings select 'd' || i % 7, t, t, st_setsrid(st_makepoint(36.8 + i / 77777.0, -1.3), 4326)
        from generate_series(1, 12000) i, lateral (select now() - i * interval '1 minute' t) x;

    create table app.trips (id bigint generated always as identity primary key, state text not null,
        km numeric(8,2) not null, m numeric generated always as (km * 1000) stored,
        created_at timestamptz not null default now(), updated_at timestamptz not null default now());
    create index on app.trips (updated_at);
    create function app.touch() returns trigger language plpgsql as $$ begin new.updated_at := now(); return new; end $$;
    create trigger touch before insert or update on app.trips for each row execute function app.touch();
    insert into app.trips (state, km) select 'planned', i from generate_series(1, 11000) i;

    create table app.local_log (id int primary key, note text, logged_at timestamp not null default now());
    insert into app.local_log select i, 'x' from generate_series(1, 10500) i;

    create table app.devices (imei text primary key, name text);
    insert into app.devices values ('1', 'a'), ('2', ''), ('3', null);
    create table app.empty (id int primary key);
    create table app.no_key (a int, at timestamptz default now());
    insert into app.no_key select i from generate_series(1, 11000) i;
    create table app.device_times (id int primary key, gps_time timestamptz not null);
    insert into app.device_times select i, now() from generate_series(1, 11000) i;
    create table app.sometimes_null (id int primary key, created_at timestamptz default now());
    insert into app.sometimes_null select i, nullif(now(), case when i = 7 then now() end) from generate_series(1, 11000) i;
    create type app.mood as enum ('ok', 'bad'); create domain app.positive as int check (value > 0);
    create table app.moods (id int primary key, mood app.mood not null, all_moods app.mood[], n app.positive);
    insert into app.moods values (1, 'ok', '{ok,bad}', 5), (2, 'bad', null, null);
    create table app.parts (day date, n int, created_at timestamptz not null default now(), primary key (day, n)) partition by range (day);
    create table app.parts_2026 partition of app.parts for values from ('2026-01-01') to ('2027-01-01');
    create table app.parts_rest partition of app.parts default;
    insert into app.parts select '2026-05-01', i from generate_series(1, 6000) i;
    insert into app.parts select '2025-05-01', i from generate_series(1, 6000) i;
    create table app.\"Odd \"\"name\"\" ${HOME}\" (\"Key.1\" int primary key, \"it's\" text);
    insert into app.\"Odd \"\"name\"\" ${HOME}\" values (1, '${HOME}');
    create table app.secrets (id int primary key, password text);
    create table audit.trips (id int primary key, what text); insert into audit.trips values (1, 'x');
    create table closed.books (id int primary key);
    revoke all on schema closed from app_ro; revoke all on closed.books from app_ro;
    create view app.v_trips as select id from app.trips;
    analyze; update app.trips set state = 'done' where id <= 200; delete from app.trips where id = 11000;
    select pg_stat_force_next_flush();";

/// Every table that is copied: its name in bronze, and its columns where they are not all the same.
const COPIED: [(&str, &str, &str); 12] = [
    ("app.pings", "pings", "*"),
    ("app.trips", "app_trips", "id, state, km, created_at, updated_at"),
    ("app.local_log", "local_log", "*"),
    ("app.devices", "devices", "*"),
    ("app.empty", "empty", "*"),
    ("app.no_key", "no_key", "*"),
    ("app.device_times", "device_times", "*"),
    ("app.sometimes_null", "sometimes_null", "*"),
    ("app.moods", "moods", "id, mood::text, all_moods::text[], n::int"),
    ("app.parts", "parts", "*"),
    ("app.\"Odd \"\"name\"\" ${HOME}\"", "Odd \"name\" ${HOME}", "*"),
    ("audit.trips", "audit_trips", "*"),
];

/// Calls the command in a folder, with these variables alone.
pub fn dwh(folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dwh"));
    command.current_dir(folder).args(args).env_clear().stdin(Stdio::null());
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    Output::of(command.envs(variables.iter().copied()), args)
}

/// A folder for `init` to write into, and both databases.
pub struct Fresh {
    /// Both databases.
    pub db: TestDb,
    /// Where `dwh.toml` goes.
    pub folder: TempDir,
}

impl Fresh {
    async fn new(test: &str) -> Self {
        let db = TestDb::new(test).await;
        db.src(TABLES).await;
        Self { db, folder: tempfile::tempdir().expect("folder") }
    }

    /// Calls `dwh init` for both databases.
    pub fn init(&self, args: &[&str]) -> Output {
        let (source, target) = (self.db.source_url_as("app_ro"), self.db.target_url_as("dwh_loader"));
        let blob = self.db.blob_url();
        let mut all = vec!["init", "--name", "fleet", "--timezone", "Africa/Nairobi"];
        if !args.contains(&"--blob") {
            all.extend(["--blob", &blob]);
        }
        let args = [&all, args].concat();
        dwh(self.folder.path(), &[("DWH_SOURCE_URL", &source), ("DWH_TARGET_URL", &target)], &args)
    }

    /// Applies `grants.sql` as it tells: the logins by hand, then each part at its own server.
    pub fn apply_grants(&self) {
        // All tests share the two roles, and PostgreSQL refuses one of two changes to one role that meet.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let (of_source, of_target) = parts(&self.read("grants.sql"));
        for (server, part) in [(&Clusters::shared().source, of_source), (&Clusters::shared().target, of_target)] {
            let by_hand = part.lines().find_map(|line| line.strip_prefix("-- first, by hand:  ")).expect("a login");
            let (create, _) = by_hand.split_once("  \\password").expect("two steps");
            // The cluster has it from another test perhaps.
            drop(server.psql_told(self.db.name(), create));
            server.psql(self.db.name(), &part);
        }
    }

    /// A file of the folder.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// The lines of one table, up to the next.
fn section<'a>(text: &'a str, name: &str) -> &'a str {
    let line = format!("\nname = \"{name}\"\n");
    text.split("[[table]]").find(|part| part.contains(&line)).unwrap_or_else(|| panic!("no `{name}` in\n{text}"))
}

#[tokio::test]
async fn what_it_writes_runs_as_it_is() {
    let fresh = Fresh::new("init_runs").await;
    let output = fresh.init(&["--exclude", "app.secrets"]);
    assert_eq!(output.code, 0, "{}", output.all());
    let text = fresh.read("dwh.toml");
    for (name, lines) in [
        (
            "pings",
            &[
                "mode = \"incremental\"",
                "watermark = \"recorded_at\"",
                "key = [\"imei\", \"gps_time\"]",
                "on_conflict = \"nothing\"",
            ][..],
        ),
        (
            "app_trips",
            &[
                "watermark = \"updated_at\"",
                "trigger function `touch`",
                "on_conflict = \"update\"",
                "1 delete seen",
                "200 updates",
            ],
        ),
        (
            "local_log",
            &["watermark = \"logged_at\"", "watermark_timezone = \"UTC\"", "doubtful", "no index leads with"],
        ),
        ("devices", &["mode = \"snapshot\"", "3 rows"]),
        ("empty", &["mode = \"snapshot\"", "doubtful: there are no rows yet"]),
        ("no_key", &["mode = \"snapshot\"", "no primary key"]),
        ("device_times", &["mode = \"snapshot\"", "no column says"]),
        ("sometimes_null", &["mode = \"snapshot\"", "doubtful: `created_at` was no watermark"]),
        ("moods", &["mode = \"snapshot\"", "2 rows"]),
        ("parts", &["mode = \"incremental\"", "watermark = \"created_at\""]),
        ("audit_trips", &["relation = \"audit.trips\""]),
    ] {
        let section = section(&text, name);
        lines.iter().for_each(|line| assert!(section.contains(line), "{name}: no {line} in\n{section}"));
    }
    assert!(!text.contains("spatial_ref_sys") && !text.contains("parts_2026") && !text.contains("secrets"), "{text}");
    assert!(
        text.contains("- closed.books: ") && text.contains("grant usage on schema \"closed\" to \"app_ro\";"),
        "{text}"
    );
    assert!(text.contains("- app.v_trips: it is a view"), "{text}");

    // No variable but those of .env, and nothing edited.
    for verb in ["migrate", "run"] {
        let output = dwh(fresh.folder.path(), &[], &[verb]);
        assert_eq!(output.code, 0, "{}", output.all());
    }
    for (source, bronze, columns) in COPIED {
        let bronze = format!("bronze.\"{}\"", bronze.replace('"', "\"\""));
        let columns_of_bronze = if columns.contains("::") { "*" } else { columns };
        assert_equal_tables(
            &fresh.db,
            &format!("select {columns} from {source}"),
            &format!("select {columns_of_bronze} from {bronze}"),
        )
        .await;
    }
    let tables = "select count(*) from pg_tables where schemaname = 'bronze'";
    assert_eq!(number(&fresh.db, tables).await, i64::try_from(COPIED.len()).expect("few"));
}

#[tokio::test]
async fn secrets_stay_in_the_private_file() {
    let fresh = Fresh::new("init_secrets").await;
    let output = fresh.init(&["app.devices"]);
    assert_eq!(output.code, 0, "{}", output.all());
    let secret = |text: &str| text.contains("it%27s") || text.contains("it's 50%");
    assert!(secret(&fresh.read(".env")));
    for text in [&output.all(), &fresh.read("dwh.toml"), &fresh.read("grants.sql")] {
        assert!(!secret(text), "{text}");
    }
    let mode = fs::metadata(fresh.folder.path().join(".env")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn nothing_is_overwritten_and_a_look_writes_nothing() {
    let fresh = Fresh::new("init_again").await;
    let look = fresh.init(&["app.*", "--dry-run"]);
    assert_eq!(look.code, 0, "{}", look.all());
    assert!(look.stdout.contains("[[table]]") && !look.stdout.contains("it%27s"), "{}", look.all());
    assert_eq!(fs::read_dir(fresh.folder.path()).expect("folder").count(), 0);
    for name in ["grants.sql", ".env", "dwh.toml"] {
        let path = fresh.folder.path().join(name);
        fs::write(&path, "mine").expect("written");
        let refused = fresh.init(&[]);
        assert_eq!(refused.code, 2, "{}", refused.all());
        assert!(refused.stderr.contains(name) && refused.stderr.contains("--output-file"), "{}", refused.all());
        assert_eq!(fresh.read(name), "mine");
        fs::remove_file(path).expect("removed");
        assert_eq!(fs::read_dir(fresh.folder.path()).expect("folder").count(), 0);
    }
}

#[tokio::test]
async fn grants_are_enough() {
    let fresh = Fresh::new("init_grants").await;
    let name = fresh.db.name().to_owned();
    // The role may do too much, so the file makes another one.
    let source = fresh.db.source_url();
    let target = format!("postgresql://nobody:x@127.0.0.1:9/{name}");
    let blob = fresh.db.blob_url();
    let args = ["init", "--source", &source, "--target", &target, "--blob", &blob, "app.devices", "closed.*"];
    let output = dwh(fresh.folder.path(), &[], &args);
    assert_eq!(output.code, 0, "{}", output.all());
    assert!(output.stderr.contains("warning: target") && output.stderr.contains("is a superuser"), "{}", output.all());
    // Twice: it may be applied again.
    for _ in 0..2 {
        fresh.apply_grants();
    }
    let may = fresh
        .db
        .another_source()
        .await
        .query_one(
            "select has_table_privilege('dwh_reader', 'closed.books', 'select'), \
             has_table_privilege('dwh_reader', 'closed.books', 'insert, update, delete, truncate'), \
             has_table_privilege('dwh_reader', 'app.trips', 'select'), \
             pg_has_role('dwh_reader', 'pg_read_all_stats', 'usage')",
            &[],
        )
        .await
        .expect("rights");
    let may: Vec<bool> = (0..4).map(|at| may.get(at)).collect();
    assert_eq!(may, [true, false, false, true]);
    assert_eq!(number(&fresh.db, "select count(*) from pg_auth_members where member = 'nobody'::regrole").await, 1);
}

/// Somebody who does not read it: the servers end up as they were, and the exit code says so.
#[tokio::test]
async fn grants_that_are_applied_as_they_are_change_nothing() {
    let fresh = Fresh::new("init_grants_as_is").await;
    let target = "postgresql://it%27s%0Ame:x@127.0.0.1:9/warehouse".to_owned();
    let (source, blob) = (fresh.db.source_url(), fresh.db.blob_url());
    let args = ["init", "--source", &source, "--target", &target, "--blob", &blob, "app.devices"];
    let output = dwh(fresh.folder.path(), &[], &args);
    assert_eq!(output.code, 0, "{}", output.all());
    let grants = fresh.read("grants.sql");
    assert!(!grants.to_lowercase().contains("password '") && !grants.contains("CHANGE_ME"), "{grants}");
    let server = Server::start("grants_as_is");
    let roles = "select string_agg(rolname, ' ') from pg_roles where rolname !~ '^pg_'";
    let (of_source, of_target) = parts(&grants);
    for (part, login) in [(&grants, "dwh_reader"), (&of_source, "dwh_reader"), (&of_target, "it's")] {
        let output = server.psql_told("postgres", part);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{told}");
        for word in [login, "is not there, and nothing was changed", "\\password", "create role"] {
            assert!(told.contains(word), "{word}: {told}");
        }
        assert_eq!(server.psql("postgres", roles), "postgres");
    }
}

/// The two parts of `grants.sql`, each for its own server.
fn parts(grants: &str) -> (String, String) {
    let (of_source, of_target) = grants.split_once("-- 2. ").expect("two parts");
    (of_source.to_owned(), format!("\\set ON_ERROR_STOP on\n-- {of_target}"))
}

#[tokio::test]
async fn a_second_look_adds_what_is_new_and_keeps_every_byte() {
    let fresh = Fresh::new("init_update").await;
    let output = fresh.init(&["app.devices", "app.trips", "app.empty"]);
    assert_eq!(output.code, 0, "{}", output.all());
    let edited = fresh.read("dwh.toml") + "# mine\n";
    fs::write(fresh.folder.path().join("dwh.toml"), &edited).expect("edited");
    let update = |args: &[&str]| dwh(fresh.folder.path(), &[], &[&["init", "--update"], args].concat());

    fresh.db.src("drop table app.empty; alter table app.trips rename column updated_at to changed_at").await;
    fresh.db.src("create table app.fresh (id int primary key); create table app.hidden (id int primary key)").await;
    fresh.db.src("revoke select on app.hidden from app_ro").await;
    let look = update(&["app.fresh", "app.hidden", "--dry-run"]);
    assert_eq!(look.code, 0, "{}", look.all());
    for line in ["+ app.fresh as `fresh`, snapshot", "- table `empty`: ", "~ table `trips`: ", "! app.hidden: "] {
        assert!(look.stdout.contains(line), "{line}: {}", look.all());
    }
    assert!(look.stdout.contains("no column `updated_at` of `watermark`"), "{}", look.all());
    assert!(look.stdout.contains("+ relation = \"app.fresh\"\n"), "{}", look.all());
    assert_eq!(fresh.read("dwh.toml"), edited);

    let written = update(&["app.fresh", "--output", "json"]);
    assert_eq!(written.code, 0, "{}", written.all());
    let report = written.json();
    assert_eq!(report["tables"][0]["name"], "fresh", "{report:#}");
    assert_eq!((&report["gone"][0]["table"], &report["changed"][0]["table"]), (&"empty".into(), &"trips".into()));
    let after = fresh.read("dwh.toml");
    let added = after.strip_prefix(&edited).unwrap_or_else(|| panic!("{after}"));
    assert!(added.contains("[[table]]") && added.contains("relation = \"app.fresh\""), "{added}");
    // what was added is no news, and there is nothing to write
    let again = dwh(fresh.folder.path(), &[], &["init", "--add", "app.fresh"]);
    assert!(again.stdout.contains("0 new, 1 gone, 1 changed"), "{}", again.all());
    assert_eq!(fresh.read("dwh.toml"), after);
}

#[tokio::test]
async fn addresses_may_stand_in_the_private_file_before() {
    let fresh = Fresh::new("init_env").await;
    let (source, target) = (fresh.db.source_url_as("app_ro"), fresh.db.target_url_as("dwh_loader"));
    let env = format!("# mine\nDWH_SOURCE_URL='{source}'\nDWH_TARGET_URL='{target}'\n");
    let bare = |args: &[&str]| dwh(fresh.folder.path(), &[], &[&["init", "app.devices"], args].concat());
    let missing = bare(&[]);
    assert_eq!(missing.code, 2, "{}", missing.all());
    assert!(missing.stderr.contains("`--source` and `--target` and `--blob` are missing"), "{}", missing.all());
    fs::write(fresh.folder.path().join(".env"), &env).expect("written");
    let written = bare(&["--blob", &fresh.db.blob_url()]);
    assert_eq!(written.code, 0, "{}", written.all());
    assert_eq!(fresh.read(".env"), env);
    assert!(
        fresh.read("dwh.toml").contains("compression = \"zstd\"") && fresh.read("dwh.toml").contains("[retention]")
    );
}

#[tokio::test]
async fn on_a_terminal_it_asks_about_what_is_doubtful_and_nothing_else() {
    let fresh = Fresh::new("init_asks").await;
    let (source, target) = (fresh.db.source_url_as("app_ro"), fresh.db.target_url_as("dwh_loader"));
    let blob = fresh.db.blob_url();
    let args = ["init", "app.devices", "app.empty", "app.local_log", "app.device_times"];
    let answered = |args: &[&str], answers: &str| {
        let mut child = Command::new("script")
            .args(["-qefc", &format!("exec '{}' {}", env!("CARGO_BIN_EXE_dwh"), args.join(" ")), "/dev/null"])
            .current_dir(fresh.folder.path())
            .envs([("SHELL", "/bin/sh"), ("DWH_SOURCE_URL", &*source), ("DWH_TARGET_URL", &*target)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script starts");
        std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), answers.as_bytes()).expect("answered");
        let output = child.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // where the files go; the empty table is left out; the log is copied whole after a word that is none
    let (code, shown) = answered(&args, &format!("{blob}\nl\nwhat\ns\n"));
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("1/2  app.empty: snapshot") && shown.contains("2/2  app.local_log"), "{shown}");
    assert!(!shown.contains("app.devices:"), "what is not doubtful is not asked: {shown}");
    let written = fresh.read("dwh.toml");
    assert!(!written.contains("app.empty\""), "{written}");
    assert!(written.contains("# snapshot: it was asked for\nname = \"local_log\""), "{written}");

    // Whoever answers all of it once more is not told afterwards that it was in vain.
    fs::write(fresh.folder.path().join("grants-second.sql"), "").expect("in the way");
    for (args, answers, words) in [
        (
            &args[..],
            &*format!("{blob}\n"),
            &["`dwh.toml` and", "are there already", "`dwh init --update`", "`dwh init --add NAME`"][..],
        ),
        (&["init", "--add", "second", "app.local_log"], "s\n", &["`grants-second.sql` is there already"]),
        (&["init", "--add", "main", "app.local_log"], "s\n", &["a source `main` already"]),
    ] {
        let (code, shown) = answered(args, answers);
        assert_eq!(code, Some(2), "{shown}");
        assert!(words.iter().all(|word| shown.contains(word)), "{shown}");
        assert!(!shown.contains("CSV files go") && !shown.contains("1/1") && !shown.contains("looking"), "{shown}");
        assert_eq!(fresh.read("dwh.toml"), written);
    }
}

#[tokio::test]
async fn mistakes_are_told() {
    let fresh = Fresh::new("init_mistakes").await;
    for (args, code, word) in [
        (&["nowhere.*"][..], 2, "nowhere.*"),
        (&["--exclude", "app.secret"], 2, "app.secret"),
        (&["--blob", "ftp://x"], 2, "blob"),
        (&["closed.*"], 4, "closed"),
    ] {
        let output = fresh.init(args);
        assert_eq!(output.code, code, "{}", output.all());
        assert!(output.stderr.contains(word) && output.stderr.contains("hint:"), "{}", output.all());
        assert_eq!(fs::read_dir(fresh.folder.path()).expect("folder").count(), 0, "{args:?}");
    }
}

/// A database as people grow them: schemas and names with blanks and capitals, partitions, views, enums, identities,
/// geometry, a table without a key, one that nobody may read, one that is empty.
const ODD: &str = r#"
    create schema "Sales Data"; create schema geo; create schema "old.stuff"; create schema private;
    create type "Sales Data"."Order State" as enum ('new', 'in transit', 'Done');
    create domain geo.percent as numeric(5, 2) check (value between 0 and 100);
    create table "Sales Data"."Order Lines" ("Order Id" bigint generated by default as identity primary key,
        "State" "Sales Data"."Order State" not null default 'new', "Net €" numeric(12, 4), note text,
        "Updated At" timestamptz not null default now());
    create index on "Sales Data"."Order Lines" ("Updated At");
    create function "Sales Data".touch() returns trigger language plpgsql as
        $$ begin new."Updated At" := now(); return new; end $$;
    create trigger touch before insert or update on "Sales Data"."Order Lines"
        for each row execute function "Sales Data".touch();
    insert into "Sales Data"."Order Lines" ("Net €", note)
        select i / 7.0, case i % 3 when 0 then null when 1 then '' else E'a "b"\n, c' end from generate_series(1, 12000) i;
    create table "Sales Data"."Customers" (id int generated always as identity primary key, "Name" text unique, since date);
    insert into "Sales Data"."Customers" ("Name", since) select 'c' || i, '2020-01-01'::date + i from generate_series(1, 40) i;
    create view "Sales Data"."Open Orders" as select "Order Id" from "Sales Data"."Order Lines" where "State" <> 'Done';
    create materialized view "Sales Data".totals as select count(*) from "Sales Data"."Order Lines";

    create table geo.fixes (device text, seq int, at geography(pointz, 4326), fill geo.percent,
        recorded_at timestamptz not null default clock_timestamp(), primary key (device, seq)) partition by list (device);
    create table geo.fixes_a partition of geo.fixes for values in ('a');
    create table geo."fixes B" partition of geo.fixes for values in ('b');
    create index on geo.fixes (recorded_at);
    insert into geo.fixes (device, seq, at, fill) select case when i % 2 = 0 then 'a' else 'b' end, i,
        st_makepoint(36.8 + i / 77777.0, -1.3, i)::geography, i % 100 from generate_series(1, 11000) i;
    create table geo.zones (id uuid primary key default gen_random_uuid(), area geometry, tags jsonb, ids int[]);
    insert into geo.zones (area, tags, ids) select st_buffer(st_setsrid(st_makepoint(i, i), 4326), 0.5), '{"a": 1}',
        array[i, null] from generate_series(1, 25) i;
    create table "old.stuff"."No Key" (a int, b text); insert into "old.stuff"."No Key" values (1, 'x'), (1, 'x'), (null, '');
    create table "old.stuff".empty (id int primary key);
    create table private.salaries (id int primary key, "how much" money);
    analyze;"#;

#[tokio::test]
async fn a_database_that_it_has_never_seen_goes_through_without_an_edit() {
    let db = TestDb::new("init_odd").await;
    db.src(ODD).await;
    db.src("revoke all on schema private from app_ro; revoke all on all tables in schema private from app_ro").await;
    let fresh = Fresh { db, folder: tempfile::tempdir().expect("folder") };
    let output = fresh.init(&[]);
    assert_eq!(output.code, 0, "{}", output.all());
    fresh.apply_grants();
    let dwh = |args: &[&str]| {
        let output = dwh(fresh.folder.path(), &[], args);
        assert_eq!(output.code, 0, "{}\n{}", output.all(), fresh.read("dwh.toml"));
        output
    };
    dwh(&["migrate"]);
    dwh(&["check"]);
    dwh(&["run"]);
    dwh(&["verify"]);
    dwh(&["check", "--gate", "deploy"]);
    dwh(&["check", "--gate", "first-run"]);

    fresh
        .db
        .src(
            r#"insert into "Sales Data"."Order Lines" ("Net €", note) values (1.5, 'later');
               update "Sales Data"."Order Lines" set "State" = 'in transit' where "Order Id" <= 30;
               insert into geo.fixes (device, seq, at, fill) values ('b', 20001, null, 100), ('a', 20002, 'point z (1 2 3)', 0);
               update "Sales Data"."Customers" set since = null where id = 7; delete from "Sales Data"."Customers" where id = 8;
               insert into geo.zones (ids) values ('{}'); update geo.zones set tags = 'null' where tags is not null;
               insert into "old.stuff"."No Key" values (2, E'\\.'); insert into "old.stuff".empty values (1)"#,
        )
        .await;
    dwh(&["run"]);
    dwh(&["verify"]);
    let told = dwh(&["check", "--gate", "first-run"]);
    assert!(told.stdout.contains("gate first-run: passed"), "{}", told.all());
    assert_eq!(number(&fresh.db, "select count(*) from pg_tables where schemaname = 'bronze'").await, 6);
}

/// A program of the PostgreSQL that the tests run on.
async fn program(db: &TestDb, name: &str) -> std::path::PathBuf {
    let row = db.source().query_one("select setting from pg_config where name = 'BINDIR'", &[]).await;
    Path::new(row.expect("pg_config").get::<_, &str>(0)).join(name)
}

#[tokio::test]
async fn counters_that_a_restore_made_are_doubted() {
    let lived = TestDb::new("init_lived").await;
    lived
        .src(
            "create schema app; grant usage on schema app to app_ro;
             create table app.orders (id int primary key, state text, created_at timestamptz not null default now(), updated_at timestamptz not null);
             create index on app.orders (created_at); create index on app.orders (updated_at);
             create table app.log (id int primary key, created_at timestamptz not null default now());
             create index on app.log (created_at); grant select on all tables in schema app to app_ro",
        )
        .await;
    lived
        .src(
            "do $$ begin for i in 0..39 loop
                 insert into app.orders select i * 1000 + n, 'new', now(), now() from generate_series(1, 1000) n;
                 insert into app.log select i * 1000 + n from generate_series(1, 1000) n;
                 commit; end loop; end $$",
        )
        .await;
    let restored = TestDb::new("init_restored").await;
    let dump = lived.blobs().join("app.dump");
    for (name, arguments) in [
        ("pg_dump", vec!["-Fc", "-n", "app", "-f", dump.to_str().expect("text"), &lived.source_url()]),
        ("pg_restore", vec!["-d", &restored.source_url(), dump.to_str().expect("text")]),
    ] {
        let done = Command::new(program(&lived, name).await).args(&arguments).output().expect(name);
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    }
    fs::remove_file(&dump).expect("removed");
    for (db, orders, log) in [
        (lived, ["watermark = \"created_at\"", "on_conflict = \"nothing\""], false),
        (restored, ["watermark = \"updated_at\"", "on_conflict = \"update\""], true),
    ] {
        db.src("analyze").await;
        db.src("select pg_stat_force_next_flush()").await;
        let fresh = Fresh { db, folder: tempfile::tempdir().expect("folder") };
        let output = fresh.init(&[]);
        assert_eq!(output.code, 0, "{}", output.all());
        let text = fresh.read("dwh.toml");
        for line in orders {
            assert!(section(&text, "orders").contains(line), "no {line} in\n{text}");
        }
        for name in ["orders", "log"] {
            let doubted = section(&text, name).contains("most rows came in one transaction");
            assert_eq!(doubted, log, "{name} in\n{text}");
        }
    }
}
