//! [`TestBlobs`]: a blob store as a person with a file manager sees it, whatever kind it is.

use bytes::Bytes;
use futures_util::TryStreamExt;
use std::fmt;
use std::sync::Arc;
use tokio::sync::OnceCell;

use crate::blob::{BlobKey, BlobStore, LocalBlobs, S3Blobs};
use crate::testing::{S3Server, TestDb};

/// A blob store in which a test makes a mess.
pub struct TestBlobs {
    store: Arc<dyn BlobStore>,
    s3: Option<(S3Blobs, &'static S3Server)>,
    folder: std::path::PathBuf,
}

impl fmt::Debug for TestBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestBlobs({})", self.store.url())
    }
}

fn key(name: &str) -> BlobKey {
    BlobKey::parse(name).expect("a key")
}

impl TestBlobs {
    /// The folder of the test.
    ///
    /// # Panics
    /// If its address cannot be used.
    #[must_use]
    pub fn local(db: &TestDb) -> Self {
        let store = Arc::new(LocalBlobs::open(&db.blob_url()).expect("folder"));
        Self { store, s3: None, folder: db.blobs().to_owned() }
    }

    /// A prefix of its own in the one SeaweedFS of this process.
    ///
    /// # Panics
    /// If that does not start.
    pub async fn seaweedfs(db: &TestDb) -> Self {
        static SERVER: OnceCell<S3Server> = OnceCell::const_new();
        let server = SERVER.get_or_init(S3Server::start_seaweedfs).await;
        let store = server.store(db.name());
        Self { store: Arc::new(store.clone()), s3: Some((store, server)), folder: db.blobs().to_owned() }
    }

    /// What stands in the section `[blob]` for it.
    #[must_use]
    pub fn toml(&self) -> String {
        let endpoint = self.s3.as_ref().map(|(_, server)| format!("\nendpoint = \"{}\"", server.endpoint));
        format!("url = \"{}\"{}", self.store.url(), endpoint.unwrap_or_default())
    }

    /// The variables that it needs.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let keys = self.s3.as_ref().map(|(_, server)| {
            [("AWS_ACCESS_KEY_ID", server.access_key.clone()), ("AWS_SECRET_ACCESS_KEY", server.secret_key.clone())]
        });
        keys.into_iter().flatten().collect()
    }

    /// The names that begin so.
    ///
    /// # Panics
    /// If the store does not answer; so do the other methods.
    pub async fn list(&self, prefix: &str) -> Vec<String> {
        self.store.list(prefix).map_ok(|meta| meta.key.to_string()).try_collect().await.expect("list")
    }

    /// The bytes of an object.
    pub async fn read(&self, name: &str) -> Vec<u8> {
        let blob = self.store.get(&key(name)).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let pieces: Vec<Bytes> = blob.body.try_collect().await.expect("read");
        pieces.concat()
    }

    /// Replaces or makes an object.
    pub async fn write(&self, name: &str, bytes: Vec<u8>) {
        self.delete(name).await;
        self.store.put(&key(name), &Bytes::from(bytes)).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }

    /// Another object with the same bytes, written anew: in a folder, a copy would be a second name of the same file.
    pub async fn copy(&self, from: &str, to: &str) {
        self.write(to, self.read(from).await).await;
    }

    /// Removes an object.
    pub async fn delete(&self, name: &str) {
        self.store.delete(&key(name)).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }

    /// Begins an upload of this object that never comes to its end.
    pub async fn leave_upload(&self, name: &str) {
        match &self.s3 {
            Some((store, _)) => store.leave_upload(&key(name)).await.expect("begun"),
            None => {
                let path = self.folder.join(name);
                let folder = path.parent().expect("folder");
                std::fs::create_dir_all(folder).expect("folder");
                std::fs::write(folder.join("~left.part"), b"x").expect("part");
            }
        }
    }
}
