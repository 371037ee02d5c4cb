//! A pair of databases for one test.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_postgres::{Client, NoTls};

use super::{Clusters, PASSWORD, Server, bindir};
use crate::schema::quote_ident;

/// Roles of the source cluster, and what every source database has.
pub(super) const SOURCE_TEMPLATE: &str = "
    create role app_ro login password :password;
    alter role app_ro set default_transaction_read_only = on;
    grant pg_read_all_stats to app_ro;
    grant select on all tables in schema public to app_ro;
    alter default privileges grant select on tables to app_ro;
    alter default privileges grant usage on schemas to app_ro;
";

/// Roles of the target cluster, and what every target database has.
pub(super) const TARGET_TEMPLATE: &str = "
    create role dwh_owner nologin;
    create role grafana_ro nologin;
    create role dwh_loader login password :password in role dwh_owner;
";

/// A source and a target database of its own for one test, and a folder for its blobs.
///
/// All of it is removed when this is dropped. With `DWH_TEST_KEEP=1` in the environment, a test that panics leaves it,
/// and the folders of the clusters outlive the process.
pub struct TestDb {
    name: String,
    source: Client,
    target: Client,
    folder: PathBuf,
}

impl fmt::Debug for TestDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestDb({})", self.name)
    }
}

impl TestDb {
    /// Makes both databases, named for the test.
    ///
    /// # Panics
    /// If the clusters are not there.
    pub async fn new(test: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let clusters = Clusters::shared();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let stem: String = test.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(50).collect();
        let name = format!("{}_{number}", stem.to_lowercase());
        let (source, target) = tokio::join!(create(&clusters.source, &name), create(&clusters.target, &name));
        target
            .batch_execute(&format!("grant create on database {} to dwh_owner", quote_ident(&name)))
            .await
            .expect("grant");
        let folder = tempfile::Builder::new().prefix("dwh-blobs-").tempdir().expect("temporary folder").keep();
        Self { name, source, target, folder }
    }

    /// The name of both databases.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The source as superuser.
    #[must_use]
    pub const fn source(&self) -> &Client {
        &self.source
    }

    /// The target as superuser.
    #[must_use]
    pub const fn target(&self) -> &Client {
        &self.target
    }

    /// URL of the source as superuser.
    #[must_use]
    pub fn source_url(&self) -> String {
        self.source_url_as("postgres")
    }

    /// URL of the target as superuser.
    #[must_use]
    pub fn target_url(&self) -> String {
        self.target_url_as("postgres")
    }

    /// URL of the source for a role, such as `app_ro`.
    #[must_use]
    pub fn source_url_as(&self, role: &str) -> String {
        Clusters::shared().source.url(role, &self.name)
    }

    /// URL of the target for a role, such as `dwh_loader`.
    #[must_use]
    pub fn target_url_as(&self, role: &str) -> String {
        Clusters::shared().target.url(role, &self.name)
    }

    /// Runs statements at the source as superuser.
    ///
    /// # Panics
    /// If one fails.
    pub async fn src(&self, sql: &str) {
        self.source.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Runs statements at the target as superuser.
    ///
    /// # Panics
    /// If one fails.
    pub async fn tgt(&self, sql: &str) {
        self.target.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// One more connection to the source, as superuser.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn another_source(&self) -> Client {
        connect(&self.source_url()).await
    }

    /// One more connection to the target, as superuser.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn another_target(&self) -> Client {
        connect(&self.target_url()).await
    }

    /// The folder of the blobs.
    #[must_use]
    pub fn blobs(&self) -> &Path {
        &self.folder
    }

    /// The address of the blob store.
    #[must_use]
    pub fn blob_url(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    /// A whole `dwh.toml` with roles as they should be: source `app`, project `test`, and the tables given.
    #[must_use]
    pub fn config(&self, tables_toml: &str) -> String {
        format!(
            "[project]\nname = \"test\"\ntimezone = \"Africa/Nairobi\"\ncadence = \"3h\"\n\n[source.app]\nurl = \"{}\"\n\n\
             [target]\nurl = \"{}\"\n\n[blob]\nurl = \"{}\"\n\n{tables_toml}\n",
            self.source_url_as("app_ro"),
            self.target_url_as("dwh_loader"),
            self.blob_url()
        )
    }
}

impl Drop for TestDb {
    #[expect(clippy::print_stderr, reason = "a failed test says where its data is")]
    fn drop(&mut self) {
        let clusters = Clusters::shared();
        if std::thread::panicking() {
            if std::env::var_os("DWH_TEST_KEEP").is_some() {
                clusters.source.keep();
                clusters.target.keep();
                eprintln!("databases `{}` in {:?} and {:?}", self.name, clusters.source, clusters.target);
                eprintln!("blobs in {}, password: {PASSWORD}", self.folder.display());
                return;
            }
            eprintln!("databases `{}`: set DWH_TEST_KEEP=1 to keep their clusters' folders", self.name);
        }
        for server in [&clusters.source, &clusters.target] {
            drop_database(server, &self.name);
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

async fn create(server: &Server, name: &str) -> Client {
    let admin = connect(&server.url("postgres", "postgres")).await;
    let name = quote_ident(name);
    admin.batch_execute(&format!("create database {name} template dwh_template")).await.expect("database");
    connect(&server.url("postgres", name.trim_matches('"'))).await
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("throwaway cluster answers");
    tokio::spawn(connection);
    client
}

/// Through a program, because a destructor cannot wait for a future.
fn drop_database(server: &Server, name: &str) {
    let dropped = Command::new(bindir().join("dropdb"))
        .args(["--force", "-h", "127.0.0.1", "-U", "postgres", "-p", &server.port().to_string(), name])
        .env("PGPASSWORD", PASSWORD)
        .output()
        .expect("dropdb starts");
    assert!(dropped.status.success(), "dropdb: {}", String::from_utf8_lossy(&dropped.stderr));
}
