//! Throwaway PostgreSQL clusters with PostGIS, started from the machine's own binaries.
//!
//! A server lives as long as the process that started it, however that ends: a small shell watches a pipe that only
//! this process holds open, and when the pipe closes it stops the server and removes its folder.

mod compare;
mod db;
mod pause;

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

pub use compare::assert_equal_tables;
pub use db::TestDb;
pub use pause::{Paused, signal};

/// The password of every role in a throwaway cluster: it must be quoted wherever it is written.
pub(super) const PASSWORD: &str = "it's 50% @ /home";

/// The same inside a URL.
pub(super) const PASSWORD_IN_URL: &str = "it%27s%2050%25%20%40%20%2Fhome";

/// Starts the server, says so, waits for the pipe to close, stops the server.
const WATCH: &str = r#"
trap '' HUP INT TERM
if "$1/pg_ctl" -D "$2/data" -l "$2/log" -o "$3" -w -t 120 start >/dev/null 2>&1; then echo ready; else echo failed; fi
cat >/dev/null
"$1/pg_ctl" -D "$2/data" -m immediate -w stop >/dev/null 2>&1
[ -e "$2/keep" ] || rm -rf "$2"
"#;

/// The source and the target cluster that all tests of a process share.
#[derive(Debug)]
pub struct Clusters {
    /// Where rows are read from.
    pub source: Server,
    /// The warehouse.
    pub target: Server,
}

impl Clusters {
    /// The two clusters, started at first use.
    ///
    /// # Panics
    /// If PostgreSQL with PostGIS is not installed, or a server does not start.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Clusters> = OnceLock::new();
        SHARED.get_or_init(|| {
            std::thread::scope(|scope| {
                let source = scope.spawn(|| shared("source", "DWH_TEST_SOURCE_BIN", db::SOURCE_TEMPLATE));
                let target = shared("target", "DWH_TEST_TARGET_BIN", db::TARGET_TEMPLATE);
                Self { source: source.join().expect("source cluster"), target }
            })
        })
    }
}

/// A server with the database that those of the tests are copied from. The variable may name the folder of another
/// release's programs, which may come without PostGIS.
fn shared(name: &str, variable: &str, sql: &str) -> Server {
    let other = std::env::var_os(variable).map(PathBuf::from);
    let server = Server::start_with(&other.clone().unwrap_or_else(bindir), name);
    server.psql("postgres", "create database dwh_template");
    let has_postgis = "select count(*) from pg_available_extensions where name = 'postgis'";
    if other.is_none() || server.psql("dwh_template", has_postgis) == "1" {
        server.psql("dwh_template", "create extension postgis");
    }
    server.psql("dwh_template", &sql.replace(":password", &crate::schema::quote_literal(PASSWORD)));
    server
}

/// One throwaway server on 127.0.0.1. Its superuser is `postgres`; it ends when this is dropped or the process ends.
pub struct Server {
    port: u16,
    folder: PathBuf,
    watcher: Child,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({} in {})", self.port, self.folder.display())
    }
}

impl Server {
    /// The password of every role: one that must be quoted wherever it is written.
    pub const PASSWORD: &str = PASSWORD;

    /// Makes a cluster and starts it on a free port.
    ///
    /// # Panics
    /// If it cannot; the message has the end of the server's log.
    #[must_use]
    pub fn start(name: &str) -> Self {
        Self::start_with(&bindir(), name)
    }

    fn start_with(programs: &Path, name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(&format!("dwh-{name}-")).tempdir_in(home());
        let folder = folder.expect("temporary folder").keep();
        fs::write(folder.join("password"), PASSWORD).expect("password file");
        give_away(&folder);
        give_away(&folder.join("password"));
        let made = as_postgres(programs.join("initdb"))
            .args(["--no-sync", "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
            .arg(folder.join("data"))
            .arg(format!("--pwfile={}", folder.join("password").display()))
            .output()
            .expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        // Between the choice of a free port and its use another process may take it.
        for _ in 0..5 {
            let port = free_port();
            if let Some(watcher) = watch(programs, &folder, port) {
                return Self { port, folder, watcher };
            }
        }
        panic!("PostgreSQL does not start: {}", fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its own folder: `data`, `log`, and the Unix socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The URL of a database for a role; every role here has the same password.
    #[must_use]
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgresql://{role}:{PASSWORD_IN_URL}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs SQL as superuser through psql and returns what it printed: rows by line, columns by `|`.
    ///
    /// # Panics
    /// If a statement fails.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = self.psql_told(database, &format!("\\set ON_ERROR_STOP on\n{sql}"));
        assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    /// Runs a script as superuser through psql, as a person would who feeds it the file, and returns how it ended.
    ///
    /// # Panics
    /// If there is no psql.
    #[must_use]
    pub fn psql_told(&self, database: &str, script: &str) -> Output {
        let mut psql = Command::new(bindir().join("psql"))
            .args(["-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-U", "postgres", "-p"])
            .args([&self.port.to_string(), "-d", database])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql starts");
        // A script that stops early is not read to its end.
        drop(psql.stdin.take().expect("piped").write_all(script.as_bytes()));
        psql.wait_with_output().expect("psql ends")
    }

    /// Puts a private file of the server's into its data folder.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn install(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.join("data").join(name);
        fs::write(&path, bytes).expect("file in the data folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        give_away(&path);
    }

    /// Leaves the folder behind when the server ends.
    pub(super) fn keep(&self) {
        drop(fs::write(self.folder.join("keep"), ""));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        drop(self.watcher.wait());
    }
}

/// Starts the server under its watcher; `None` if it does not come up.
fn watch(programs: &Path, folder: &Path, port: u16) -> Option<Child> {
    // Each command has connections of its own, and each would load the library anew: that is most of what a test does.
    let postgis = programs.with_file_name("lib").join("postgis-3.so").exists();
    let preload = if postgis { " -c shared_preload_libraries=postgis-3" } else { "" };
    // Statements over few rows of many columns would be compiled for seconds: tables that nobody analyzed look large.
    let settings = format!(
        "-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off -c jit=off \
         -c synchronous_commit=off -c full_page_writes=off -c max_prepared_transactions=20 -c max_connections=200 \
         -c shared_buffers=64MB -c authentication_timeout=600 -c timezone=UTC -c log_timezone=UTC{preload}",
        folder.display()
    );
    let mut watcher = as_postgres("sh")
        .args(["-c", WATCH, "watch"])
        .args([programs, folder])
        .arg(settings)
        // Out of reach of a Ctrl-C that is meant for the tests: the pipe tells when they end.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh starts");
    let mut word = String::new();
    BufReader::new(watcher.stdout.as_mut().expect("piped")).read_line(&mut word).expect("sh says how it went");
    if word.trim() == "ready" {
        return Some(watcher);
    }
    // The pipe stays open for another try in the same folder: nothing runs, so the shell alone is ended.
    watcher.kill().and_then(|()| watcher.wait().map(drop)).expect("sh ends");
    None
}

/// Where PostgreSQL's programs are.
///
/// # Panics
/// If they are not installed.
#[must_use]
pub(super) fn bindir() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let asked = Command::new("pg_config").arg("--bindir").output().ok();
            let asked = asked.map(|out| PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()));
            let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
                .map(|folders| folders.flatten().map(|folder| folder.path().join("bin")).collect())
                .unwrap_or_default();
            found.sort_by_key(|path| path.iter().nth_back(1).and_then(|v| v.to_str()?.parse::<u32>().ok()));
            found.extend(asked);
            found
                .into_iter()
                .rfind(|path| path.join("initdb").exists())
                .expect("PostgreSQL with PostGIS is not installed: run `make setup`")
        })
        .clone()
}

/// Where clusters live: in memory where there is plenty, because each test copies and drops a database of 300 files.
fn home() -> PathBuf {
    const PLENTY: u64 = 8 << 30;
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |found| found.f_bavail * found.f_frsize);
    if free >= PLENTY && std::env::var_os("TMPDIR").is_none() { memory.to_owned() } else { std::env::temp_dir() }
}

/// A command as a user that PostgreSQL accepts: it refuses root.
fn as_postgres(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program.as_ref());
        command
    } else {
        Command::new(program.as_ref())
    };
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Hands a file that root made to the user that runs the server.
fn give_away(path: &Path) {
    static POSTGRES: OnceLock<(u32, u32)> = OnceLock::new();
    if is_root() {
        let id = |flag| {
            let out = Command::new("id").args([flag, "postgres"]).output().expect("id starts");
            String::from_utf8_lossy(&out.stdout).trim().parse().expect("a user `postgres`: run `make setup`")
        };
        let (user, group) = *POSTGRES.get_or_init(|| (id("-u"), id("-g")));
        chown(path, Some(user), Some(group)).expect("root may give files away");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}
