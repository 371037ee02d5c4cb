//! A person at night: the project of the docs on real clusters, and one section of the page.

use dwh_core::testing::{Clusters, Server, TestDb};
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;
use tokio_postgres::Client;

use super::page::{Place, Section};
use crate::support::{Output, Project};

const SOURCE: &str = "create schema fleet;
    create table fleet.position_history (imei text, gps_time timestamptz, recorded_at timestamptz not null default now(),
        geom geometry(Point, 4326), speed_kmh numeric(5,1), primary key (imei, gps_time));
    create index on fleet.position_history (recorded_at);
    create table fleet.trips (trip_id bigint primary key, imei text not null, distance_km numeric(8,3),
        updated_at timestamptz not null default now());
    create index on fleet.trips (updated_at);
    create table fleet.devices (imei text primary key, plate text);
    grant usage on schema fleet to dwh_reader;
    alter default privileges in schema fleet grant select on tables to dwh_reader;
    grant select on all tables in schema fleet to dwh_reader;
    insert into fleet.position_history select 'd' || i % 5, t, t, st_setsrid(st_makepoint(36.8 + i / 777.0, -1.3), 4326), i % 90
        from generate_series(1, 40) i, lateral (select timestamptz '2026-03-01 00:00Z' + i * interval '1 hour' t) x;
    insert into fleet.trips select i, 'd' || i % 5, i * 1.5, timestamptz '2026-03-01 00:00Z' + i * interval '1 hour'
        from generate_series(1, 30) i;
    insert into fleet.devices select 'd' || i, 'K' || i from generate_series(0, 4) i;";

const CONFIG: &str = r#"[project]
name = "fleet"
timezone = "Africa/Nairobi"
cadence = "3h"

[source.fleet]
url = "${DWH_SOURCE_URL}"

[target]
url = "${DWH_TARGET_URL}"

[blob]
url = "file:///var/lib/dwh"

[retention]
processed = "365d"
exports = "30d"
runs = "365d"

[[table]]
name = "position_history"
relation = "fleet.position_history"
mode = "incremental"
watermark = "recorded_at"
key = ["imei", "gps_time"]

[[table]]
name = "trips"
relation = "fleet.trips"
mode = "incremental"
watermark = "updated_at"
key = ["trip_id"]
on_conflict = "update"

[[table]]
name = "devices"
relation = "fleet.devices"
mode = "snapshot"
"#;

/// What a test says of the machine that it runs on: its disk may be full enough to be told of.
const MACHINE: &str = "[thresholds]\ndisk_used = 100\n\n[[table]]";

/// One section, and what it is followed on.
pub struct Night {
    /// Both databases.
    pub db: TestDb,
    /// The folder with `dwh.toml` and `.env`.
    pub project: Project,
    section: Section,
    next: usize,
    said: String,
    source_url: String,
    target_url: String,
    own_target: Option<Server>,
}

impl Night {
    /// The project, migrated and run once, before anything went wrong.
    pub async fn of(section: Section) -> Self {
        let db = TestDb::new(&format!("docs {}", section.title).replace(' ', "_")).await;
        make_reader();
        db.src(SOURCE).await;
        let project = Project::written(
            CONFIG.replace("/var/lib/dwh", &text(db.blobs())).replacen("[[table]]", MACHINE, 1),
            Vec::new(),
        );
        let (source_url, target_url) = (db.source_url_as("dwh_reader"), db.target_url_as("dwh_loader"));
        let night =
            Self { db, project, section, next: 0, said: String::new(), source_url, target_url, own_target: None };
        night.env("");
        night.project.ok(&["migrate"]);
        // One table after the other, so that the numbers of the runs are those of the page.
        night.project.ok(&["run", "--jobs", "1"]);
        night
    }

    /// Writes `.env` with both addresses, as they should be, and with more.
    pub fn env(&self, more: &str) {
        self.write_env(&self.source_url, &self.target_url, more);
    }

    /// Writes `.env` with other addresses.
    pub fn write_env(&self, source: &str, target: &str, more: &str) {
        let text = format!("DWH_SOURCE_URL={source}\nDWH_TARGET_URL={target}\n{more}");
        let path = self.project.folder().join(".env");
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .expect(".env");
    }

    /// The address of the source, as it should be.
    pub fn source_url(&self) -> String {
        self.source_url.clone()
    }

    /// The address of the target, as it should be.
    pub fn target_url(&self) -> String {
        self.target_url.clone()
    }

    /// The DBA's psql at the target talks to this server, database `warehouse`, from now on.
    pub fn at_target(&mut self, server: Server) {
        self.own_target = Some(server);
    }

    /// That server.
    pub fn target(&self) -> &Server {
        self.own_target.as_ref().unwrap_or(&Clusters::shared().target)
    }

    /// Notes what a command said that was not of the page.
    pub fn heard(&mut self, said: &str) {
        self.said.push_str(said);
    }

    /// Edits `dwh.toml`.
    pub fn edit(&self, from: &str, to: &str) {
        let path = self.project.folder().join("dwh.toml");
        let text = fs::read_to_string(&path).expect("dwh.toml");
        assert!(text.contains(from), "dwh.toml has no {from}");
        fs::write(path, text.replacen(from, to, 1)).expect("dwh.toml");
    }

    /// The folder of a table's files: `exports` or `processed`.
    pub fn files(&self, folder: &str, table: &str) -> PathBuf {
        self.db.blobs().join("fleet").join(folder).join(table)
    }

    /// Runs `dwh ARGS`, the scheduled call for instance, which must end with `code`.
    pub fn dwh(&mut self, code: i32, args: &[&str]) -> Output {
        let output = self.project.dwh(args);
        assert_eq!(output.code, code, "{}", output.all());
        self.said.push_str(&output.all());
        output
    }

    /// Waits until a condition holds at an end.
    pub async fn until(&self, end: &Client, condition: &str) {
        let sql = format!("select exists ({condition})");
        for _ in 0..1500 {
            if end.query_one(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never came true: {condition}");
    }

    /// Runs the next block of the section and returns what it said.
    pub fn follow(&mut self) -> String {
        let block = self.section.blocks.get(self.next).cloned().expect("one more block");
        self.next += 1;
        let said = match block.place {
            Place::Shell => self.shell(&block.script()),
            Place::Source => Clusters::shared().source.psql(self.db.name(), &self.here(&block.text)),
            Place::Target if self.own_target.is_some() => self.target().psql("warehouse", &block.text),
            Place::Target => self.target().psql(self.db.name(), &self.here(&block.text)),
        };
        self.said.push_str(&format!("{}\n{said}\n", block.text));
        said
    }

    /// Runs all blocks that are left.
    pub fn follow_all(&mut self) {
        while self.next < self.section.blocks.len() {
            self.follow();
        }
    }

    /// The places of the docs are others here.
    fn here(&self, text: &str) -> String {
        text.replace("/var/lib/dwh", &self::text(self.db.blobs()))
            .replace("/etc/dwh", &self::text(self.project.folder()))
            .replace("database warehouse", &format!("database {}", self.db.name()))
    }

    /// Runs a script in the project's folder, with `dwh` on the PATH; it must end well.
    pub fn shell(&self, script: &str) -> String {
        let dwh = Path::new(env!("CARGO_BIN_EXE_dwh")).parent().expect("folder");
        let path = format!("{}:{}", dwh.display(), env::var("PATH").unwrap_or_default());
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &self.here(script)])
            .current_dir(self.project.folder())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.project.folder())
            .output()
            .expect("bash starts");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "{}\n{script}\n{said}\n--- before\n{}", self.section.title, self.said);
        said
    }

    /// Asserts that every block was run, and that what the page says one will see was seen.
    pub fn finish(self) {
        assert_eq!(self.next, self.section.blocks.len(), "{}: blocks that were not run", self.section.title);
        let said: Vec<String> = self.said.lines().map(squeezed).collect();
        for line in self.section.seen.iter().map(|line| squeezed(line)).filter(|line| !line.is_empty()) {
            assert!(
                said.iter().any(|said| fits(&line, said)),
                "{}: nothing says\n{line}\nin\n{}",
                self.section.title,
                self.said
            );
        }
    }
}

/// The reader of the docs; roles belong to the cluster that all tests share.
fn make_reader() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let password = Server::PASSWORD.replace('\'', "''");
        let sql = format!(
            // Roles belong to the whole cluster, and the grants that `init` writes make this one too.
            "do $$ begin create role dwh_reader; exception when duplicate_object or unique_violation then null; end $$;
             alter role dwh_reader login password '{password}'; grant pg_read_all_stats to dwh_reader;
             alter role dwh_reader set default_transaction_read_only = on;"
        );
        Clusters::shared().source.psql("postgres", &sql);
    });
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the pieces between `…` stand in a line one after another.
fn fits(pattern: &str, line: &str) -> bool {
    let mut rest = line;
    pattern.split('…').map(str::trim).all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}
