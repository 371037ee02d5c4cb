//! [`Proxy`]: a way to a server that can go silent, as a cut cable or a hung machine does: nothing is closed, nothing comes.

use std::fmt;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// When it goes silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// When so many bytes of one connection have passed; the rest of them stays behind.
    Bytes(u64),
    /// When these bytes are to pass, which stay behind.
    Before(&'static str),
    /// When these bytes have passed.
    After(&'static str),
}

/// Who falls silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// All connections, and those that come later.
    Everyone,
    /// The one on which it happened; others and later ones pass.
    ThisOne,
    /// Each one on which it happens, now and later.
    EachOne,
}

/// Passes bytes on to a server on 127.0.0.1, until it is told not to. Runs in a thread of its own.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
}

struct Shared {
    silent: watch::Sender<bool>,
    rule: Mutex<Option<(Way, When, Whom)>>,
    /// The connections that are silent by themselves.
    alone: Mutex<Vec<Arc<watch::Sender<bool>>>>,
    /// Whether the rule was met.
    met: watch::Sender<bool>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.port)
    }
}

impl Proxy {
    /// A proxy before the server on this port.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn before(server: u16) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("address").port();
        listener.set_nonblocking(true).expect("socket");
        let shared = Arc::new(Shared {
            silent: watch::Sender::new(false),
            rule: Mutex::default(),
            alone: Mutex::default(),
            met: watch::Sender::new(false),
        });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, server, of_thread) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { port, shared, stop: Some(stop) }
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A URL of the server's that leads through this.
    #[must_use]
    pub fn on_the_way_to(&self, server: u16, url: &str) -> String {
        url.replacen(&format!(":{server}"), &format!(":{}", self.port), 1)
    }

    /// From now on nothing passes, and connections are accepted all the same.
    pub fn silence(&self) {
        self.shared.silent.send_replace(true);
    }

    /// Everything passes again that was held back.
    pub fn resume(&self) {
        *self.shared.rule.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for one in self.shared.alone.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            one.send_replace(false);
        }
        self.shared.silent.send_replace(false);
    }

    /// It goes silent when this happens on some connection.
    pub fn silence_when(&self, way: Way, when: When, whom: Whom) {
        self.shared.met.send_replace(false);
        *self.shared.rule.lock().unwrap_or_else(PoisonError::into_inner) = Some((way, when, whom));
    }

    /// Until that has happened.
    pub async fn is_silent(&self) {
        // The sender lives as long as this.
        let _ = self.shared.met.subscribe().wait_for(|met| *met).await;
    }

    /// Whether that has happened.
    #[must_use]
    pub fn has_been_silent(&self) -> bool {
        *self.shared.met.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself.
            let _ = stop.send(());
        }
    }
}

async fn accept(listener: StdListener, server: u16, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("socket");
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            passing(&mut shared.silent.subscribe()).await;
            let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server))).await else { return };
            let own = Arc::new(watch::Sender::new(false));
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            let up = pass(from_client, to_server, Way::Up, Arc::clone(&own), &shared);
            let down = pass(from_server, to_client, Way::Down, own, &shared);
            tokio::join!(up, down);
        });
    }
}

async fn passing(silent: &mut watch::Receiver<bool>) {
    // An error is the end of the proxy.
    let _ = silent.wait_for(|silent| !*silent).await;
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    own: Arc<watch::Sender<bool>>,
    shared: &Shared,
) {
    let (mut all, mut this) = (shared.silent.subscribe(), own.subscribe());
    let (mut passed, mut buffer) = (0_u64, vec![0; 64 << 10]);
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = buffer.get(..count).unwrap_or_default();
        passing(&mut all).await;
        passing(&mut this).await;
        let first = shared.meet(way, passed, bytes, &own).unwrap_or(count);
        let (now, held) = bytes.split_at(first.min(count));
        if to.write_all(now).await.is_err() {
            break;
        }
        passed += count as u64;
        if !held.is_empty() {
            passing(&mut all).await;
            passing(&mut this).await;
            if to.write_all(held).await.is_err() {
                break;
            }
        }
    }
    passing(&mut all).await;
    passing(&mut this).await;
    // The other side may be gone already.
    let _ = to.shutdown().await;
}

impl Shared {
    /// How many of these bytes still pass, if the rule is met by them.
    fn meet(&self, way: Way, passed: u64, bytes: &[u8], own: &Arc<watch::Sender<bool>>) -> Option<usize> {
        let mut rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, when, whom) = rule.filter(|(only, ..)| *only == way)?;
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        let first = match when {
            When::Bytes(limit) if passed + bytes.len() as u64 > limit => {
                usize::try_from(limit.saturating_sub(passed)).unwrap_or(0)
            }
            When::Before(text) if holds(text) => 0,
            When::After(text) if holds(text) => bytes.len(),
            _ => return None,
        };
        if whom != Whom::EachOne {
            *rule = None;
        }
        if whom == Whom::Everyone {
            self.silent.send_replace(true);
        } else {
            self.alone.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(own));
            own.send_replace(true);
        }
        self.met.send_replace(true);
        Some(first)
    }
}
