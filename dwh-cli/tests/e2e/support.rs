//! A project in a folder of its own, and the command run in it.

use dwh_core::testing::{TestBlobs, TestDb};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How full the disk of the machine is, is no matter of a test that does not speak of it.
fn any_disk(tables_toml: &str) -> String {
    if tables_toml.contains("[thresholds]") { String::new() } else { "[thresholds]\ndisk_used = 100\n".to_owned() }
}

/// A folder with a `dwh.toml`.
pub struct Project {
    folder: TempDir,
    toml: String,
    environment: Vec<(String, String)>,
}

impl Project {
    /// A project over both databases, with the tables given.
    pub fn new(db: &TestDb, tables_toml: &str) -> Self {
        Self::written(db.config(&(any_disk(tables_toml) + tables_toml)), Vec::new())
    }

    /// The same over another blob store.
    pub fn over(db: &TestDb, tables_toml: &str, blobs: &TestBlobs) -> Self {
        let url = format!("url = \"{}\"", db.blob_url());
        let toml = db.config(&(any_disk(tables_toml) + tables_toml)).replacen(&url, &blobs.toml(), 1);
        let environment = blobs.environment().into_iter().map(|(name, value)| (name.to_owned(), value));
        Self::written(toml, environment.collect())
    }

    /// A project with the whole text of its `dwh.toml`, and variables of its environment.
    pub fn written(toml: String, environment: Vec<(String, String)>) -> Self {
        let folder = tempfile::Builder::new().prefix("dwh-project-").tempdir().expect("temporary folder");
        fs::write(folder.path().join("dwh.toml"), &toml).expect("dwh.toml");
        Self { folder, toml, environment }
    }

    /// The same project in another folder, with `from` in its configuration replaced.
    pub fn config_with(&self, from: &str, to: &str) -> Self {
        assert!(self.toml.contains(from), "the configuration has no {from}");
        Self::written(self.toml.replacen(from, to, 1), self.environment.clone())
    }

    /// The same project with one more variable in the environment of its commands.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dwh"));
        command.current_dir(self.folder()).args(args).env_clear().stdin(Stdio::null());
        for name in ["PATH", "HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `dwh ARGS` and waits for its end.
    pub fn dwh(&self, args: &[&str]) -> Output {
        Output::of(&mut self.command(args), args)
    }

    /// Runs `dwh ARGS` with this on its stdin, and waits for its end.
    pub fn fed(&self, args: &[&str], input: &str) -> Output {
        let path = self.folder().join("input");
        fs::write(&path, input).expect("input");
        let file = fs::File::open(path).expect("input");
        Output::of(self.command(args).stdin(file), args)
    }

    /// Starts `dwh ARGS` on a terminal of its own, of which the other end is what the child reads and prints.
    pub fn on_terminal(&self, args: &[&str]) -> Child {
        let words: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
        let line = format!("exec '{}' {}", env!("CARGO_BIN_EXE_dwh"), words.join(" "));
        let mut command = Command::new("script");
        command.current_dir(self.folder()).args(["-qefc", &line, "/dev/null"]).env("SHELL", "/bin/sh");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("script starts")
    }

    /// Starts `dwh ARGS` and goes on; what it says is thrown away.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("dwh starts")
    }

    /// Starts `dwh ARGS` and goes on; what it prints is there to be read.
    pub fn follow(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("dwh starts")
    }

    /// Runs `dwh ARGS`, which must end well.
    pub fn ok(&self, args: &[&str]) -> Output {
        let output = self.dwh(args);
        assert_eq!(output.code, 0, "{}", output.all());
        output
    }

    /// Runs `dwh ARGS --output json`, which must end well, and returns what it printed.
    pub fn json(&self, args: &[&str]) -> Value {
        self.ok(&[args, &["--output", "json"]].concat()).json()
    }

    /// Runs `dwh ARGS --output json`, which must end with `code`, and returns what it printed.
    pub fn fails(&self, code: i32, args: &[&str]) -> Output {
        let output = self.dwh(&[args, &["--output", "json"]].concat());
        assert_eq!(output.code, code, "{}", output.all());
        output
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Output {
    args: String,
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Runs a command and waits for its end.
    pub fn of(command: &mut Command, args: &[&str]) -> Self {
        let output = command.output().expect("dwh starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            args: args.join(" "),
            // A signal leaves no code.
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// All of it, for messages of tests.
    pub fn all(&self) -> String {
        format!("$ dwh {}\nexit code {}\n--- stdout\n{}--- stderr\n{}", self.args, self.code, self.stdout, self.stderr)
    }

    /// Standard output as the one JSON document that it is.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{}", self.all()))
    }

    /// The run of a table that failed last.
    pub fn failure(&self, table: &str) -> Failure {
        let report = self.json();
        let runs = report["runs"].as_array().unwrap_or_else(|| panic!("no runs\n{}", self.all()));
        let run = runs.iter().rfind(|run| run["table"] == table && run["error"].is_object());
        let error = &run.unwrap_or_else(|| panic!("no failed run of `{table}`\n{}", self.all()))["error"];
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        Failure { code: text("code"), message: text("message"), hint: text("hint") }
    }
}

/// The error of a run.
#[derive(Debug)]
pub struct Failure {
    /// Stable word.
    pub code: String,
    /// One line.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Failure {
    /// Asserts that the message has all of these words and that there is a hint.
    pub fn names(&self, words: &[&str]) {
        for word in words {
            assert!(self.message.contains(word), "`{word}` is not in {self:?}");
        }
        assert!(!self.hint.is_empty(), "{self:?}");
    }
}

/// The sum of a count over all runs of a table in the report of `run`.
pub fn total(report: &Value, table: &str, count: &str) -> u64 {
    let runs = report["runs"].as_array().expect("runs");
    let of_table: Vec<&Value> = runs.iter().filter(|run| run["table"] == table).collect();
    assert!(!of_table.is_empty(), "no run of `{table}` in {report:#}");
    of_table.iter().map(|run| run[count].as_u64().expect(count)).sum()
}

/// A table of the configuration; `more` is added to its lines as it stands.
pub fn table(name: &str, relation: &str, mode: &str, more: &str) -> String {
    let (name, relation) = (quoted(name), quoted(relation));
    format!("[[table]]\nname = {name}\nrelation = {relation}\nmode = \"{mode}\"\n{more}\n")
}

/// A string as TOML writes it: JSON's way is one of TOML's.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A number from the target.
pub async fn number(db: &TestDb, sql: &str) -> i64 {
    db.target().query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// Kills a command with -9 as soon as `counted` has come to `least`; what it counts then.
pub async fn killed_at(db: &TestDb, child: &mut Child, counted: &str, least: i64) -> i64 {
    while number(db, counted).await < least {
        assert!(child.try_wait().expect("waits").is_none(), "it ended before it was killed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().expect("kill -9");
    child.wait().expect("dead");
    number(db, counted).await
}

/// Makes the runs that `which` (a condition in SQL) names older by this interval, in the run log and in every manifest that
/// tells of them: a run is its number and its start.
pub async fn age(db: &TestDb, blobs: &TestBlobs, which: &str, by: &str) {
    let at = |moment: &str| format!("to_char({moment} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
    let aged = format!("(run_started_at - interval '{by}')");
    let starts = format!("select {}, {} from dwh_control.extract_runs where {which}", at("run_started_at"), at(&aged));
    let starts = db.target().query(&starts, &[]).await.expect("starts");
    db.tgt(&format!("update dwh_control.extract_runs set run_started_at = {aged} where {which}")).await;
    let key = |moment: &str| format!("\"run_started_at\": \"{moment}\"");
    for name in blobs.list("").await.into_iter().filter(|name| name.ends_with(".manifest.json")) {
        let then = String::from_utf8(blobs.read(&name).await).expect("text");
        let replaced = |text: String, row: &tokio_postgres::Row| text.replace(&key(row.get(0)), &key(row.get(1)));
        let now = starts.iter().fold(then.clone(), replaced);
        if now != then {
            blobs.write(&name, now.into_bytes()).await;
        }
    }
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

/// Opens a schema at the source to the role that reads it, now and for tables that come later.
pub const READABLE: &str = "grant usage on schema app to app_ro;
    alter default privileges in schema app grant select on tables to app_ro;";

/// The source of [`events`].
pub const EVENTS: &str = "create schema app;
    create table app.events (id bigint primary key, note text, recorded_at timestamptz not null default now());
    create index on app.events (recorded_at);
    create table app.other (id int primary key);
    grant usage on schema app to app_ro;
    grant select on all tables in schema app to app_ro;
    insert into app.events (id, note) select i, 'x' from generate_series(1, 100) i;";

/// An incremental table of 100 rows and an empty snapshot, ready for a first run.
pub async fn events(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(EVENTS).await;
    let config = table("events", "app.events", "incremental", "watermark = \"recorded_at\"\nkey = [\"id\"]")
        + &table("other", "app.other", "snapshot", "");
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    (db, project)
}

/// Waits until no row of a table of the source can be one that is still on its way: transactions of other tests on the same
/// server keep rows young for a while, and `verify` does not miss those.
pub async fn until_old(db: &TestDb, table: &str) {
    let young = format!(
        "select count(*) from {table} where xmin::text::bigint >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    );
    while db.source().query_one(&young, &[]).await.expect("rows").get::<_, i64>(0) > 0 {
        tokio::task::yield_now().await;
    }
}

/// Runs a script in a folder, where `dwh` is found and every command must end well, and returns what it said.
pub fn shell(folder: &Path, script: &str, environment: &[(&str, &str)]) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_dwh")).parent().expect("a folder").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(folder).env("PATH", path).envs(environment.iter().copied());
    let output = command.output().expect("sh");
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{script}\n{said}");
    said
}

/// Whether some line has the pieces between `…`, in their order.
pub fn is_said(said: &str, line: &str) -> bool {
    said.lines().any(|there| {
        let mut rest = there;
        line.split('…').map(str::trim).all(|piece| match rest.find(piece) {
            Some(at) => {
                rest = &rest[at + piece.len()..];
                true
            }
            None => false,
        })
    })
}
