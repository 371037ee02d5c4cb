//! The stream below the driver and above TLS: it sees every message pass, and notices when none comes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Client, Connection, Socket};

use super::errors::{SILENT, sort};
use super::watch::Watch;
use super::wire::Wire;
use crate::error::Error;

/// A connection, and the task that speaks to the server.
pub(crate) type Dialled = (Client, JoinHandle<()>);

/// Starts the task of a connection.
pub(super) fn drive<S, T>(name: &str, dialled: (Client, Connection<S, T>)) -> Dialled
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ((client, connection), name) = (dialled, name.to_owned());
    let task = tokio::spawn(async move {
        match connection.await {
            Ok(()) => tracing::debug!(name, "connection closed"),
            Err(error) => tracing::debug!(name, error = %sort(error), "connection ended"),
        }
    });
    (client, task)
}

/// TLS with the stream watched inside it; without `tls`, the stream as it is.
///
/// The driver calls nobody for a connection in the clear, but it does for one whose TLS begins at once.
#[derive(Clone)]
pub(super) struct Watched<T> {
    pub(super) tls: T,
    pub(super) watch: Option<Arc<Watch>>,
}

impl<T> MakeTlsConnect<Socket> for Watched<T>
where
    T: MakeTlsConnect<Socket>,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send + 'static,
    T::Stream: 'static,
{
    type Stream = WatchedStream<T::Stream>;
    type TlsConnect = Watched<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        Ok(Watched { tls: self.tls.make_tls_connect(domain)?, watch: self.watch.clone() })
    }
}

impl<T> TlsConnect<Socket> for Watched<T>
where
    T: TlsConnect<Socket>,
    T::Future: Send + 'static,
{
    type Stream = WatchedStream<T::Stream>;
    type Error = T::Error;
    type Future = BoxFuture<'static, Result<Self::Stream, Self::Error>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let (shaken, watch) = (self.tls.connect(stream), self.watch);
        Box::pin(async move { Ok(WatchedStream::new(shaken.await?, watch)) })
    }
}

/// In place of TLS: nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clear;

/// A stream in the clear.
pub(super) struct ClearStream(Socket);

impl MakeTlsConnect<Socket> for Clear {
    type Stream = ClearStream;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _: &str) -> io::Result<Self> {
        Ok(Self)
    }
}

impl TlsConnect<Socket> for Clear {
    type Stream = ClearStream;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<ClearStream>>;

    fn connect(self, stream: Socket) -> Self::Future {
        std::future::ready(Ok(ClearStream(stream)))
    }
}

impl TlsStream for ClearStream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for ClearStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClearStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A stream that ends when the server says nothing and does not work either.
///
/// Its last message is an error of the server's, as far as the driver can tell: that is the only way on which the reason
/// reaches whoever waits for the answer.
pub(super) struct WatchedStream<S> {
    inner: S,
    silence: Option<Silence>,
    farewell: Option<Bytes>,
}

impl<S> WatchedStream<S> {
    pub(super) fn new(inner: S, watch: Option<Arc<Watch>>) -> Self {
        Self { inner, silence: watch.map(Silence::new), farewell: None }
    }
}

impl<S: TlsStream + Unpin> TlsStream for WatchedStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(farewell) = &mut self.farewell {
            let now = farewell.len().min(buf.remaining());
            buf.put_slice(&farewell.split_to(now));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        let Some(silence) = &mut self.silence else { return read };
        if read.is_ready() {
            silence.received(buf.filled().get(before..).unwrap_or_default());
            return read;
        }
        let error = ready!(silence.poll(cx));
        if !silence.wire.takes_message() {
            return Poll::Ready(Err(io::Error::other(error)));
        }
        self.farewell = Some(farewell(&error));
        self.poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Some(silence) = &mut self.silence {
            match &wrote {
                Poll::Ready(Ok(count)) => silence.sent(bytes.get(..*count).unwrap_or_default(), cx),
                Poll::Ready(Err(_)) => {}
                Poll::Pending => silence.blocked(cx),
            }
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        if let Some(silence) = self.silence.as_mut().filter(|_| flushed.is_pending()) {
            silence.blocked(cx);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// How long nothing has moved while something should.
struct Silence {
    watch: Arc<Watch>,
    wire: Wire,
    /// Whether the server does not take what we send.
    is_blocked: bool,
    /// Since when nothing moves that should; `None` if nothing should, or something just did.
    since: Option<Instant>,
    /// When the server was last asked and works.
    asked: Option<Instant>,
    look: Option<BoxFuture<'static, Option<Error>>>,
    clock: Pin<Box<Sleep>>,
}

impl Silence {
    fn new(watch: Arc<Watch>) -> Self {
        let clock = Box::pin(tokio::time::sleep_until(Instant::now()));
        let wire = Wire::to(&watch.end);
        Self { watch, wire, is_blocked: false, since: None, asked: None, look: None, clock }
    }

    fn received(&mut self, bytes: &[u8]) {
        self.wire.received(bytes);
        self.watch.peer.heard();
        self.moved();
    }

    fn sent(&mut self, bytes: &[u8], cx: &Context<'_>) {
        let owed = self.wire.owes();
        self.wire.sent(bytes);
        self.is_blocked = false;
        self.moved();
        if !owed && self.wire.owes() {
            // Nothing was read for at this point any more: the clock must be set.
            cx.waker().wake_by_ref();
        }
    }

    fn blocked(&mut self, cx: &Context<'_>) {
        if !self.is_blocked {
            self.is_blocked = true;
            cx.waker().wake_by_ref();
        }
    }

    fn moved(&mut self) {
        (self.since, self.asked, self.look) = (None, None, None);
    }

    /// Ready with the reason once the connection must be given up. Sets a clock in any other case.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if !self.wire.is_ready() || !(self.wire.owes() || self.is_blocked) {
            self.moved();
            return Poll::Pending;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        loop {
            if let Some(look) = &mut self.look {
                let seen = ready!(look.as_mut().poll(cx));
                self.look = None;
                match seen {
                    Some(error) => return Poll::Ready(error),
                    None => self.asked = Some(Instant::now()),
                }
            }
            let due = self.asked.unwrap_or(since) + self.watch.peer.patience();
            if Instant::now() >= due {
                let watch = Arc::clone(&self.watch);
                self.look = Some(Box::pin(watch.look(self.wire.pid(), since.into_std())));
                continue;
            }
            // In steps, since the patience is shorter as soon as others find the server silent.
            self.clock.as_mut().reset(due.min(Instant::now() + self.watch.peer.idle() / 12));
            ready!(self.clock.as_mut().poll(cx));
        }
    }
}

/// The error as the server would send it.
fn farewell(error: &Error) -> Bytes {
    let mut body = BytesMut::new();
    for (field, text) in
        [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', SILENT), (b'M', &error.to_string()), (b'H', error.hint())]
    {
        body.put_u8(field);
        body.put_slice(text.replace('\0', "").as_bytes());
        body.put_u8(0);
    }
    body.put_u8(0);
    let mut message = BytesMut::new();
    message.put_u8(b'E');
    message.put_u32(u32::try_from(body.remaining() + 4).unwrap_or(u32::MAX));
    message.put(body);
    message.freeze()
}
