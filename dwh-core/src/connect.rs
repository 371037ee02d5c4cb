//! Connections to PostgreSQL, with libpq's settings and TLS by rustls.
//!
//! # Settings
//! A connection is a `postgresql://` URL or a `key=value` string. What it does not say comes from a service
//! (`service`, `PGSERVICE`), then from the variables `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGPASSWORD`,
//! `PGPASSFILE`, `PGSSLMODE`, `PGSSLROOTCERT`, `PGSSLCERT`, `PGSSLKEY`, `PGOPTIONS`, `PGAPPNAME`,
//! `PGCONNECT_TIMEOUT`, `PGCHANNELBINDING` and `PGTARGETSESSIONATTRS` of the [`Environment`], and a password at last
//! from `~/.pgpass`. Several hosts are tried in their order, the next one only if the one before was unreachable.
//!
//! # TLS
//! Without `sslmode`, a server on this machine is spoken to in the clear, and any other one under `verify-full`.
//! `allow` and `prefer` are refused: they give way to anyone who says that there is no TLS.
//!
//! # Silence
//! No wait for a server has no end. A connection on which nothing moves for the idle timeout, though something was asked,
//! is looked at from a second one: a server that works on the statement, or waits for a lock, is given as long again and
//! again; one that answers nobody, or whose session waits for us or is gone, counts as unreachable. Connections of which
//! nothing is asked may rest for ever. Behind a pooler the server's number of a session is not known: any session of the
//! same role, database and application name that works counts as the one.
//!
//! `tcp_user_timeout` is set only where the connection string says it: the system then also ends a connection whose
//! server is there and is too busy to take more.
//!
//! # PgBouncer
//! In transaction mode a `set` does not stay with the session, and stays with the server's for whoever comes next: what
//! depends on a setting begins its transaction with [`opening`](crate::plan::opening), which sets it there alone.
//!
//! Statements must be unnamed (`query_typed`), or be named only inside a transaction: before 1.21, PgBouncer does not
//! keep track of names, and two processes use the same ones. A source table with `query`, or with `select`, is
//! described by a prepared statement: its source needs PgBouncer 1.21 with `max_prepared_statements`, or none.

mod errors;
mod options;
mod parse;
mod passfile;
mod settings;
mod socket;
mod statement;
mod stream;
mod target;
mod timestamp;
mod tls;
mod watch;
mod wire;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::join;
use tokio_postgres::config::{ChannelBinding, SslMode as DriverSslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Client, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{Environment, IDLE_TIMEOUT, Secret, TargetConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::peer::Peer;
use crate::plan::{Isolation, opening};
use crate::watermark::Micros;
use errors::Attempt;
use settings::Settings;
use stream::{Clear, Watched, drive};
use target::Target;
use watch::{Dial, POOLER, Watch, last_row};

pub use errors::sort;
pub(crate) use errors::{in_the_drivers, of_tls, sort_named};
pub(crate) use stream::Dialled;

/// How long a look may wait for a lock: the server has other work.
const LOOK_LOCK_TIMEOUT: Micros = Micros::seconds(2);

/// What `question` answers, asked inside a transaction that cannot write, is rolled back, and has every setting as
/// [`opening`] says: the session may be a pooler's.
///
/// # Errors
/// Those of the question, and of the connection.
pub(crate) async fn look<T>(client: &Client, question: impl Future<Output = Result<T>>) -> Result<T> {
    look_for(client, "", question).await
}

/// The same with more to be set for the transaction, as `; set local …`.
///
/// # Errors
/// As [`look`].
pub(crate) async fn look_for<T>(client: &Client, more: &str, question: impl Future<Output = Result<T>>) -> Result<T> {
    let opening = opening(Isolation::Look, LOOK_LOCK_TIMEOUT) + more;
    // Polled, and so sent, in this order.
    let (begun, answer) = join!(client.batch_execute(&opening), question);
    let ended = client.batch_execute("rollback").await;
    begun.map_err(sort)?;
    let answer = answer?;
    ended.map_err(sort)?;
    Ok(answer)
}

/// What one question answers, as [`look_for`] has it, with one answer waited for: it is sent whole before it waits.
///
/// # Errors
/// As [`look`].
pub(crate) async fn look_once<T>(client: &Client, more: &str, question: impl Future<Output = Result<T>>) -> Result<T> {
    let opening = opening(Isolation::Look, LOOK_LOCK_TIMEOUT) + more;
    // Polled, and so sent, in this order. After an error in the middle, this is what ends the transaction.
    let (begun, answer, ended) =
        futures_util::join!(client.batch_execute(&opening), question, client.batch_execute("rollback"));
    begun.map_err(sort)?;
    let answer = answer?;
    ended.map_err(sort)?;
    Ok(answer)
}

/// What `work` gives, done inside a transaction that is as a run's, but waits for a lock as briefly as a look, ends a long
/// statement, and is rolled back.
///
/// # Errors
/// Those of the work, and of the connection.
pub(crate) async fn rolled_back<T>(
    client: &Client,
    isolation: Isolation,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let opening = opening(isolation, LOOK_LOCK_TIMEOUT) + "; set local statement_timeout = '5s'";
    client.batch_execute(&opening).await.map_err(sort)?;
    let done = work.await;
    let ended = client.batch_execute("rollback").await;
    let done = done?;
    ended.map_err(sort)?;
    Ok(done)
}

/// What is verified of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS with whoever answers.
    Require,
    /// TLS with a server whose certificate comes from a trusted CA.
    VerifyCa,
    /// The same, and the certificate is for the host that was asked for.
    VerifyFull,
}

impl SslMode {
    /// The word in a connection string.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    fn of(settings: &Settings, targets: &[Target]) -> Result<Self> {
        let modes = [Self::Disable, Self::Require, Self::VerifyCa, Self::VerifyFull];
        if let Some(weak @ ("allow" | "prefer")) = settings.get("sslmode") {
            return Err(Error::new(
                ErrorKind::Config,
                format!("`sslmode={weak}` goes on without TLS when anyone on the way says that there is none"),
            )
            .with_hint("say `sslmode=verify-full`, or `sslmode=disable` on a network that you trust"));
        }
        Ok(match settings.word("sslmode", &modes.map(|mode| (mode.as_str(), mode)))? {
            // As libpq does: whoever names a CA wants it to be looked at.
            Some(Self::Require) if settings.get("sslrootcert").is_some() => Self::VerifyCa,
            Some(mode) => mode,
            None if targets.iter().all(Target::is_local) => Self::Disable,
            None => Self::VerifyFull,
        })
    }
}

/// How to connect to one server: libpq's settings, understood in full, and TLS by rustls.
#[derive(Clone)]
pub struct Connector {
    name: String,
    targets: Vec<Target>,
    base: tokio_postgres::Config,
    mode: SslMode,
    tls: Option<MakeRustlsConnect>,
    timeout: Duration,
    peer: Arc<Peer>,
    password_from: String,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({}: {})", self.name, self.summary())
    }
}

impl Connector {
    /// The connector of a connection string. `name` goes before every error, such as ``source `fleet` ``.
    ///
    /// Reads the files that the settings name, and connects to nothing.
    ///
    /// # Errors
    /// `Config` for settings that cannot be used; no error holds a piece of the string that could be a password.
    pub fn new(name: &str, url: &Secret, environment: &Environment) -> Result<Self> {
        Self::patient(name, url, environment, IDLE_TIMEOUT)
    }

    /// The same for a server that may be silent for `idle_timeout` while something is asked of it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn patient(name: &str, url: &Secret, environment: &Environment, idle_timeout: Micros) -> Result<Self> {
        Self::build(name, url, environment, idle_timeout).map_err(|error| error.context(name))
    }

    /// The connector of the warehouse.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn to_target(target: &TargetConfig, environment: &Environment) -> Result<Self> {
        Self::patient("target", &target.url, environment, target.idle_timeout)
    }

    fn build(name: &str, url: &Secret, environment: &Environment, idle_timeout: Micros) -> Result<Self> {
        let settings = Settings::gather(url.expose(), environment)?;
        let mut targets = target::targets(&settings)?;
        let user = settings.get("user").or_else(|| environment.get("USER")).ok_or_else(|| {
            Error::new(ErrorKind::Config, "the connection has no user")
                .with_hint("put it before the `@`, or into `PGUSER`")
        })?;
        let database = settings.get("dbname").unwrap_or(user);
        let mode = SslMode::of(&settings, &targets)?;
        let mut password_from = settings.origin("password").unwrap_or_default().to_owned();
        match settings.get("password") {
            Some(password) => targets.iter_mut().for_each(|target| target.password = Some(Secret::new(password))),
            None => {
                if let Some(path) = settings.path("passfile").or_else(|| settings.in_home(".pgpass")) {
                    target::from_passfile(&path, &mut targets, user, database)?;
                    password_from = format!("passfile `{}`", path.display());
                }
            }
        }
        let tls = match mode {
            SslMode::Disable => None,
            _ => Some(tls::connector(mode, &settings, environment)?),
        };
        let peer = Arc::new(Peer::new(idle_timeout));
        let timeout = match settings.number("connect_timeout")?.unwrap_or(10) {
            seconds @ 1.. => Duration::from_secs(seconds.max(2).unsigned_abs()).min(peer.idle()),
            // For ever, says libpq.
            _ => peer.idle(),
        };
        let base = base(&settings, user, database, peer.idle())?;
        Ok(Self { name: name.to_owned(), targets, base, mode, tls, timeout, peer, password_from })
    }

    /// Connects, and sets nothing: what is set for a session stays in a pooler for whoever comes next. The connection is
    /// closed when the client is dropped.
    ///
    /// # Errors
    /// `Unreachable`, `Auth`, `Busy`, `NotFound` for a database that is not there. Credentials that a server refused
    /// are not tried again.
    pub async fn connect(&self) -> Result<Client> {
        self.dial().await.map(|(client, _)| client)
    }

    /// The same with the task that speaks to the server, for a pool that ends it.
    pub(crate) async fn dial(&self) -> Result<Dialled> {
        self.peer.ask()?;
        let mut last = None;
        let mut waited = false;
        for target in &self.targets {
            match self.connect_target(target, &mut waited).await {
                Err(error) if matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Busy) => last = Some(error),
                Ok(dialled) => {
                    self.peer.heard();
                    return Ok(dialled);
                }
                Err(error) => return Err(error),
            }
        }
        let error = last.unwrap_or_else(|| Error::new(ErrorKind::Config, format!("{}: no host", self.name)));
        // Each table would wait as long.
        Err(if waited { self.peer.silent(error) } else { error })
    }

    /// The server's silence, where it is known that there was one, in place of a connection that broke.
    pub(crate) fn explain(&self, error: Error) -> Error {
        self.peer.explain(error)
    }

    async fn connect_target(&self, target: &Target, waited: &mut bool) -> Result<Dialled> {
        let limit = self.timeout;
        let silent = || {
            let seconds = limit.as_secs();
            Error::new(
                ErrorKind::Unreachable,
                format!("{}: {} does not answer within {seconds} s", self.name, target.place()),
            )
            .with_hint(format!(
                "check host and port, and that no firewall is in between; `connect_timeout` sets the limit{}",
                if self.peer.open() > 0 { POOLER } else { "" }
            ))
        };
        let addresses = match (target.is_socket(), target.address) {
            (true, _) => vec![None],
            (false, Some(address)) => vec![Some(address)],
            (false, None) => {
                let found = tokio::net::lookup_host((target.host.as_str(), target.port));
                let found = tokio::time::timeout(limit, found).await.map_err(|_| silent())?;
                found.map_err(|_| self.unknown_host(target))?.map(|found: SocketAddr| Some(found.ip())).collect()
            }
        };
        let mut last = self.unknown_host(target);
        for address in addresses {
            match tokio::time::timeout(limit, self.connect_address(target, address)).await {
                Err(_) => (last, *waited) = (silent(), true),
                Ok(Err(error)) if error.kind() == ErrorKind::Unreachable => last = error,
                Ok(done) => return done,
            }
        }
        Err(last)
    }

    fn unknown_host(&self, target: &Target) -> Error {
        Error::new(ErrorKind::Unreachable, format!("{}: the host name `{}` is not known", self.name, target.host))
            .with_hint("check the name, and that this machine's name service answers")
    }

    async fn connect_address(&self, target: &Target, address: Option<IpAddr>) -> Result<Dialled> {
        let (connector, place) = (self.clone(), target.clone());
        let dial: Dial = Arc::new(move || {
            let (connector, place) = (connector.clone(), place.clone());
            Box::pin(async move { connector.session(&place, address, None).await.map(|(client, _)| client) })
        });
        let watch = Watch::new(Arc::clone(&self.peer), &self.name, &target.place(), dial);
        self.session(target, address, Some(Arc::new(watch))).await
    }

    /// A connection with its settings; one that is not watched has its limit from whoever asks for it.
    async fn session(&self, target: &Target, address: Option<IpAddr>, watch: Option<Arc<Watch>>) -> Result<Dialled> {
        let mut config = self.base.clone();
        config.port(target.port);
        match address {
            Some(address) => config.host(&target.host).hostaddr(address),
            None => config.host_path(&target.host),
        };
        if let Some(password) = &target.password {
            config.password(password.expose());
        }
        let (client, task) = match &self.tls {
            // Nobody can listen in on a Unix socket, and PostgreSQL has no TLS there.
            _ if target.is_socket() => socket::open(&config, &self.attempt(target), watch.clone(), &self.name).await,
            Some(tls) => {
                config.ssl_mode(DriverSslMode::Require);
                self.open(&config, Watched { tls: tls.clone(), watch: watch.clone() }, target).await
            }
            None => {
                config.ssl_mode(DriverSslMode::Require).ssl_negotiation(SslNegotiation::Direct);
                self.open(&config, Watched { tls: Clear, watch: watch.clone() }, target).await
            }
        }
        .map_err(|error| error.context(&self.name))?;
        let settings = "begin; set local statement_timeout = 0; select pg_catalog.pg_backend_pid(); commit";
        let answer = client.simple_query(settings).await.map_err(|error| sort_named(&self.name, error))?;
        if let (Some(watch), Some(row)) = (watch, last_row(&answer)) {
            let pid = row.first().and_then(|pid| pid.parse().ok());
            watch.pid.store(pid.unwrap_or(0), Ordering::Relaxed);
        }
        Ok((client, task))
    }

    async fn open<T>(&self, config: &tokio_postgres::Config, tls: T, target: &Target) -> Result<Dialled>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let dialled = config.connect(tls).await.map_err(|error| errors::at_connect(error, &self.attempt(target)))?;
        Ok(drive(&self.name, dialled))
    }

    /// Asks the server to cancel what the session of this token is doing. It may be over already.
    ///
    /// # Errors
    /// `Unreachable`, `Auth`: the server was not told.
    pub async fn cancel(&self, token: &CancelToken) -> Result<()> {
        self.peer.ask()?;
        let socket = self.targets.iter().find(|target| target.is_socket());
        let told = async {
            match (&self.tls, socket) {
                (_, Some(target)) => return socket::cancel(token, &self.attempt(target)).await,
                (Some(tls), None) => token.cancel_query(tls.clone()).await,
                (None, None) => token.cancel_query(Watched { tls: Clear, watch: None }).await,
            }
            .map_err(sort)
        };
        match tokio::time::timeout(self.timeout, told).await {
            Ok(told) => told.map_err(|error| error.context(&self.name)),
            Err(_) => Err(Error::new(ErrorKind::Unreachable, format!("{}: the server does not answer", self.name))),
        }
    }

    /// Where it connects to and as whom, without secrets: `host:port/database as user`.
    #[must_use]
    pub fn summary(&self) -> String {
        let places: Vec<String> = self.targets.iter().map(Target::place).collect();
        format!("{}/{} as {}", places.join(","), self.database(), self.user())
    }

    /// What is verified of the server.
    #[must_use]
    pub const fn sslmode(&self) -> SslMode {
        self.mode
    }

    /// Whether every place where the server may be is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.targets.iter().all(Target::is_local)
    }

    /// The user that it connects as.
    #[must_use]
    pub fn user(&self) -> &str {
        self.base.get_user().unwrap_or_default()
    }

    /// The password that it logs in with, if it has one.
    pub(crate) fn password(&self) -> Option<&Secret> {
        self.targets.iter().find_map(|target| target.password.as_ref())
    }

    /// The database that it connects to.
    #[must_use]
    pub fn database(&self) -> &str {
        self.base.get_dbname().unwrap_or_default()
    }

    fn attempt<'a>(&'a self, target: &'a Target) -> Attempt<'a> {
        Attempt {
            place: target.place(),
            port: target.port,
            host: &target.host,
            user: self.user(),
            database: self.database(),
            password_from: &self.password_from,
        }
    }
}

/// The settings that are the same wherever the server is.
fn base(settings: &Settings, user: &str, database: &str, idle: Duration) -> Result<tokio_postgres::Config> {
    let mut base = tokio_postgres::Config::new();
    base.user(user).dbname(database);
    let name = settings.get("application_name").or_else(|| settings.get("fallback_application_name"));
    base.application_name(name.unwrap_or("dwh"));
    if let Some(options) = settings.get("options") {
        base.options(options);
    }
    let seconds = |name: &str, default: u64| -> Result<Duration> {
        let found =
            settings.number(name)?.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        Ok(Duration::from_secs(found.unwrap_or(default)))
    };
    // A peer that vanished is noticed after the idle timeout; the system's own default is two hours.
    let idle = idle.as_secs();
    base.keepalives(settings.number("keepalives")? != Some(0))
        .keepalives_idle(seconds("keepalives_idle", (idle / 2).max(1))?)
        .keepalives_interval(seconds("keepalives_interval", (idle / 12).max(1))?)
        .keepalives_retries(settings.number("keepalives_count")?.and_then(|n| u32::try_from(n).ok()).unwrap_or(6));
    if let Some(limit) = settings.number("tcp_user_timeout")?.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0)
    {
        base.tcp_user_timeout(Duration::from_millis(limit));
    }
    let bindings = [
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    if let Some(binding) = settings.word("channel_binding", &bindings)? {
        base.channel_binding(binding);
    }
    let sessions = [
        ("any", TargetSessionAttrs::Any),
        ("read-write", TargetSessionAttrs::ReadWrite),
        ("read-only", TargetSessionAttrs::ReadOnly),
    ];
    if let Some(session) = settings.word("target_session_attrs", &sessions)? {
        base.target_session_attrs(session);
    }
    let ways = [("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];
    if let Some(way) = settings.word("sslnegotiation", &ways)? {
        base.ssl_negotiation(way);
    }
    Ok(base)
}
