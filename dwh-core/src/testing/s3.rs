//! [`S3Server`]: S3 servers that live as long as a test.

use bytes::Bytes;
use futures_util::TryStreamExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpRequest, HttpResponse};
use std::io;
use std::net::TcpListener as StdListener;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::blob::S3Blobs;
use crate::config::{BlobConfig, Compression, Environment, IDLE_TIMEOUT};

/// An S3 server on 127.0.0.1 with one bucket; it stops when this is dropped or the process dies.
#[derive(Debug)]
pub struct S3Server {
    /// `http://127.0.0.1:port`.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    faults: Arc<Mutex<Vec<S3Fault>>>,
    _running: Running,
}

#[derive(Debug)]
enum Running {
    InProcess {
        accepting: JoinHandle<()>,
        _folder: TempDir,
    },
    /// Its supervisor ends it as soon as the pipe to it closes, so also when this process is killed.
    Supervised {
        supervisor: Child,
    },
}

impl Drop for Running {
    fn drop(&mut self) {
        match self {
            Self::InProcess { accepting, .. } => accepting.abort(),
            Self::Supervised { supervisor } => {
                drop(supervisor.stdin.take());
                // It ends by itself; waiting only spares a zombie.
                let _ = supervisor.wait();
            }
        }
    }
}

/// What goes wrong with some requests to the server in this process.
#[derive(Debug, Clone)]
pub struct S3Fault {
    /// Only requests of this method, such as `PUT`.
    pub method: &'static str,
    /// Only requests whose path and query hold this, such as `uploadId`, and which have the header `x-amz-copy-source`
    /// if it is `copy`, or no hash of their body if it is `unsigned`.
    pub matching: &'static str,
    /// How many of them.
    pub times: usize,
    /// What happens to them.
    pub effect: S3Effect,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Effect {
    /// It is not done; this status and code come back. A status of 200 is an error document under a good status.
    Answer(u16, &'static str),
    /// It is done, and the connection is closed without an answer.
    LoseAnswer,
    /// The answer's body ends after this many bytes, and the connection is closed.
    CutBody(usize),
    /// One bit in the middle of the answer's body is wrong.
    FlipBody,
    /// There is never an answer.
    Hang,
}

impl S3Server {
    /// A server in this process, over s3s-fs and a temporary folder.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn start_in_process() -> Self {
        let folder = tempfile::tempdir().expect("folder for S3");
        std::fs::create_dir(folder.path().join("bronze")).expect("bucket");
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).expect("s3s-fs"));
        service.set_auth(SimpleAuth::from_single("dwh-test", "dwh-secret"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let endpoint = format!("http://{}", listener.local_addr().expect("address"));
        let faults = Arc::new(Mutex::new(Vec::new()));
        let accepting = tokio::spawn(accept(listener, service.build(), Arc::clone(&faults)));
        Self::new(endpoint, faults, Running::InProcess { accepting, _folder: folder })
    }

    /// SeaweedFS in a process of its own.
    ///
    /// # Panics
    /// If `DWH_TEST_WEED` does not name its program, or it does not start.
    pub async fn start_seaweedfs() -> Self {
        let weed = std::env::var_os("DWH_TEST_WEED")
            .expect("DWH_TEST_WEED is not set: run `make test`, which installs SeaweedFS and names it there");
        let ports: [u16; 5] = std::array::from_fn(|_| free_port());
        // The script waits for the end of its input, which is the end of this process or of this value, then ends the
        // server and cleans up, also the sockets that SeaweedFS leaves in /tmp under its ports.
        let script = r#"folder=$(mktemp -d) || exit 1
            "$@" -dir="$folder" >"$folder.log" 2>&1 & pid=$!
            cat >/dev/null; kill -9 "$pid"; wait "$pid"; rm -rf "$folder" "$folder.log"
            for port in $PORTS; do rm -f /tmp/seaweedfs-*-"$port".sock; done"#;
        let taken: Vec<String> =
            ports.iter().flat_map(|port| [port.to_string(), (port + 10_000).to_string()]).collect();
        let [s3, master, filer, volume, admin] = ports;
        let supervisor = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(weed)
            .args(["-logtostderr=true", "mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-bucket=bronze"])
            .args([
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-webdav=false",
                "-admin.ui=false",
                "-master.telemetry=false",
            ])
            .args([format!("-s3.port={s3}"), format!("-master.port={master}"), format!("-admin.port={admin}")])
            .args([format!("-filer.port={filer}"), format!("-volume.port={volume}")])
            .envs([("AWS_ACCESS_KEY_ID", "dwh-test"), ("AWS_SECRET_ACCESS_KEY", "dwh-secret")])
            .envs([("GOMEMLIMIT", "600MiB"), ("PORTS", &taken.join(" "))])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        let endpoint = format!("http://127.0.0.1:{s3}");
        let server = Self::new(endpoint, Arc::default(), Running::Supervised { supervisor });
        server.wait_until_ready(s3).await;
        server
    }

    fn new(endpoint: String, faults: Arc<Mutex<Vec<S3Fault>>>, running: Running) -> Self {
        let (access_key, secret_key) = ("dwh-test".to_owned(), "dwh-secret".to_owned());
        Self { endpoint, bucket: "bronze".to_owned(), access_key, secret_key, faults, _running: running }
    }

    /// Until the port is open and the bucket can be listed.
    async fn wait_until_ready(&self, port: u16) {
        let begun = Instant::now();
        let store = self.store("");
        loop {
            let open = TcpStream::connect(("127.0.0.1", port)).await.is_ok();
            if open && crate::blob::BlobStore::list(&store, "").try_next().await.is_ok() {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "SeaweedFS is not ready after a minute");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `[blob]` for this server: the bucket, and `prefix` if it is not empty.
    #[must_use]
    pub fn config(&self, prefix: &str) -> BlobConfig {
        BlobConfig {
            url: format!("s3://{}/{prefix}", self.bucket).trim_end_matches('/').to_owned(),
            compression: Compression::None,
            endpoint: Some(self.endpoint.clone()),
            region: None,
            path_style: true,
            profile: None,
            idle_timeout: IDLE_TIMEOUT,
        }
    }

    /// The variables with the access key.
    #[must_use]
    pub fn environment(&self) -> Environment {
        [("AWS_ACCESS_KEY_ID", &self.access_key), ("AWS_SECRET_ACCESS_KEY", &self.secret_key)]
            .into_iter()
            .map(|(name, value)| (name, value.as_str()))
            .collect()
    }

    /// A store below `prefix`.
    ///
    /// # Panics
    /// If `prefix` is not fit for an address.
    #[must_use]
    pub fn store(&self, prefix: &str) -> S3Blobs {
        S3Blobs::new(&self.config(prefix), &self.environment()).expect("store")
    }

    /// From now on this goes wrong, after the faults that were given before. For the server in this process.
    pub fn inject(&self, fault: S3Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// How many injected faults have not been met yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|fault| fault.times).sum()
    }
}

/// A port that is free, with the one 10,000 above it, which SeaweedFS takes too.
fn free_port() -> u16 {
    loop {
        let port = StdListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("port").port();
        if port < 55_000 && StdListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

async fn accept(listener: TcpListener, service: S3Service, faults: Arc<Mutex<Vec<S3Fault>>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        let (service, faults) = (service.clone(), Arc::clone(&faults));
        connections.spawn(async move {
            let serve = service_fn(move |request| answer(service.clone(), Arc::clone(&faults), request));
            // A connection that a client gave up is no matter.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), serve).await;
        });
    }
}

async fn answer(
    service: S3Service,
    faults: Arc<Mutex<Vec<S3Fault>>>,
    request: hyper::Request<Incoming>,
) -> Result<HttpResponse, HttpError> {
    let request = request.map(Body::from);
    match meet(&faults, &request) {
        None => service.call(request).await,
        Some(S3Effect::Hang) => std::future::pending().await,
        Some(S3Effect::Answer(status, code)) => {
            let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message></Error>");
            let mut response = HttpResponse::new(Body::from(text));
            *response.status_mut() = http::StatusCode::from_u16(status).expect("status");
            Ok(response)
        }
        Some(S3Effect::LoseAnswer) => {
            service.call(request).await?;
            Err(HttpError::new(Box::new(io::Error::other("answer lost"))))
        }
        Some(effect @ (S3Effect::CutBody(_) | S3Effect::FlipBody)) => {
            let (head, body) = service.call(request).await?.into_parts();
            let pieces: Vec<Bytes> = body.try_collect().await.map_err(HttpError::new)?;
            Ok(HttpResponse::from_parts(head, spoilt(pieces.concat(), effect)))
        }
    }
}

/// The effect of the first fault that fits.
fn meet(faults: &Mutex<Vec<S3Fault>>, request: &HttpRequest) -> Option<S3Effect> {
    let target = request.uri().to_string();
    let copies = request.headers().contains_key("x-amz-copy-source");
    let unsigned = request.headers().get("x-amz-content-sha256").is_some_and(|hash| hash == "UNSIGNED-PAYLOAD");
    let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |fault: &&mut S3Fault| {
        let matching = match fault.matching {
            "copy" => copies,
            "unsigned" => unsigned,
            part => target.contains(part),
        };
        fault.times > 0 && request.method() == fault.method && matching
    };
    let fault = faults.iter_mut().find(fits)?;
    fault.times -= 1;
    Some(fault.effect)
}

fn spoilt(mut whole: Vec<u8>, effect: S3Effect) -> Body {
    match effect {
        S3Effect::CutBody(at) => {
            whole.truncate(at);
            Body::http_body(Cut(Some(Bytes::from(whole))))
        }
        _ => {
            let middle = whole.len() / 2;
            whole.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1);
            Body::from(whole)
        }
    }
}

/// Some bytes, then an error, at which the server closes the connection.
struct Cut(Option<Bytes>);

impl hyper::body::Body for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(match self.0.take() {
            Some(bytes) => Ok(hyper::body::Frame::data(bytes)),
            None => Err(io::Error::other("cut")),
        }))
    }
}
