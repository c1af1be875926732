//! One connection from its first byte to its last, in one task.
//!
//! ```text
//! accepted ──TLS──► sniffed ──► serving ──► closed
//!                                 │ idle or stalled: HTTP/1 closed at once, HTTP/2 told GOAWAY first
//!                                 └ listener going: told so, then as long as `drain` for what is in hand
//! ```
//!
//! The watch over the connection sits in a `FuturesUnordered`, so that it is polled when it is
//! due, not each time the connection moves.

use crate::activity::{Activity, Watch};
use crate::io::{Begin, Io};
use crate::limits::Limits;
use crate::request::{MAX_HEADERS_BYTES, Origin};
use crate::service::Link;
use crate::shared::Shared;
use crate::turn::Turn;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::uri::{Authority, Scheme};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use providers_sdk::BoxFuture;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What an HTTP/1 connection buffers of a request's head and of an answer.
const BUFFER_BYTES: usize = 32 << 10;
/// Streams at once on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 128;
/// Streams that the peer may reset before we have taken them.
const HTTP2_PENDING_RESETS: usize = 20;
/// Streams that we may have to reset before the connection is not worth keeping.
const HTTP2_LOCAL_RESETS: usize = 256;
const HTTP2_STREAM_WINDOW_BYTES: u32 = 64 << 10;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
const HTTP2_SEND_BYTES: usize = 64 << 10;
const HTTP2_PING: Duration = Duration::from_secs(20);
const HTTP2_PONG: Duration = Duration::from_secs(10);
/// From GOAWAY to the end, for a peer that does nothing anyway.
const HTTP2_FAREWELL: Duration = Duration::from_secs(1);

/// What a connection needs of its listener.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) local: Authority,
    pub(crate) going: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// Serves one accepted connection until it ends.
pub(crate) async fn serve(setup: Setup, socket: TcpStream) {
    let limit = setup.shared.limits.first_byte;
    // Small answers must not wait for the acknowledgement of earlier ones.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "connection lost");
        return;
    }
    let Some(acceptor) = setup.tls.clone() else {
        return begin(setup, socket, Scheme::HTTP, limit).await;
    };
    match timeout(limit, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => begin(setup, stream, Scheme::HTTPS, limit).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake timed out"),
    }
}

async fn begin<S>(setup: Setup, mut socket: S, scheme: Scheme, limit: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(Ok((begin, is_http2))) = timeout(limit, Begin::read(&mut socket)).await else {
        tracing::debug!("connection without a first byte");
        return;
    };
    let activity = Arc::<Activity>::default();
    let io = Io::new(socket, begin, Arc::clone(&activity));
    let link = Link {
        shared: Arc::clone(&setup.shared),
        activity,
        origin: Origin { scheme, local: setup.local.clone() },
    };
    if is_http2 { over_http2(setup, io, link).await } else { over_http1(setup, io, link).await }
}

async fn over_http1<S>(setup: Setup, io: Io<S>, link: Link)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let link = Arc::new(link);
    let watch = Control::new(&setup, &link);
    let turn = Turn::new(Arc::clone(&setup.shared));
    let service = service_fn(move |request| {
        let link = Arc::clone(&link);
        async move { Ok::<_, Infallible>(link.respond(request).await) }
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .max_header_size(MAX_HEADERS_BYTES)
        // The watch does this without a timer per request.
        .header_read_timeout(None)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(io.strict(turn)), service);
    if drive(&mut connection, watch, |connection| connection.graceful_shutdown(), None).await {
        connection.into_parts().io.into_inner().close().await;
    }
}

async fn over_http2<S>(setup: Setup, io: Io<S>, link: Link)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let link = Arc::new(link);
    let watch = Control::new(&setup, &link);
    let service = service_fn(move |request| {
        let link = Arc::clone(&link);
        async move { Ok::<_, Infallible>(link.respond(request).await) }
    });
    let mut connection = http2::Builder::new(Tracked(setup.tasks.clone()))
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS)
        .max_local_error_reset_streams(HTTP2_LOCAL_RESETS)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(HTTP2_SEND_BYTES)
        .max_header_list_size(u32::try_from(MAX_HEADERS_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PONG)
        .serve_connection(TokioIo::new(io), service);
    let goaway = |connection: Pin<&mut _>| http2::Connection::graceful_shutdown(connection);
    drive(&mut connection, watch, goaway, Some(HTTP2_FAREWELL)).await;
}

/// Runs HTTP/2 streams as tasks of the listener.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// What happens to a connection from outside.
enum Event {
    /// The listener goes.
    Going,
    /// It does nothing.
    Silent,
    /// Its time is up.
    Over,
}

/// What watches a connection.
struct Control {
    watch: Watch,
    going: CancellationToken,
    drain: Duration,
}

impl Control {
    fn new(setup: &Setup, link: &Link) -> Self {
        let Limits { idle, stall, drain, .. } = setup.shared.limits;
        let watch = Watch::new(Arc::clone(&link.activity), idle, stall);
        Self { watch, going: setup.going.clone(), drain }
    }
}

async fn going(token: CancellationToken) -> Event {
    token.cancelled().await;
    Event::Going
}

async fn silent(mut watch: Watch) -> Event {
    loop {
        tokio::time::sleep(watch.pause).await;
        if watch.is_over() {
            return Event::Silent;
        }
    }
}

async fn over(after: Duration) -> Event {
    tokio::time::sleep(after).await;
    Event::Over
}

/// Runs a connection to its end; false when it was cut off. `farewell` is how long a silent
/// connection has after it was asked to end; none ends it at once.
async fn drive<C>(
    connection: &mut C,
    control: Control,
    ask_to_end: impl Fn(Pin<&mut C>),
    farewell: Option<Duration>,
) -> bool
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut events: FuturesUnordered<BoxFuture<'static, Event>> = FuturesUnordered::new();
    events.push(Box::pin(going(control.going)));
    events.push(Box::pin(silent(control.watch)));
    loop {
        tokio::select! {
            biased;
            result = &mut *connection => {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection ended");
                }
                return true;
            }
            Some(event) = events.next() => {
                let left = match event {
                    Event::Over => return false,
                    Event::Going => control.drain,
                    Event::Silent => match farewell {
                        Some(farewell) => farewell,
                        None => return false,
                    },
                };
                ask_to_end(Pin::new(connection));
                events.push(Box::pin(over(left)));
            }
        }
    }
}
