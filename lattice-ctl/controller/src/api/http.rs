//! The API over HTTP/1.1: loopback unless it is told otherwise, no session, no cookie. TLS is a
//! proxy's; a token signs its request, body included, so that a proxy can change nothing.
//!
//! Limits, each with a clear answer: connections, time for a head and for a body, size of both, streams
//! at once, time for an operation. What hyper refuses by itself (a broken or too large head) gets its
//! bare status.

mod problem;
mod route;
mod stream;

use super::{Api, ApiConfig};
use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lattice_io::TaskScope;
use lattice_protocol::{ErrorCode, Report};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at once.
const MAX_CONNECTIONS: usize = 256;
/// Streams of events at once.
const MAX_STREAMS: usize = 64;
/// Time for a request's head, idle time before it included.
const HEAD: Duration = Duration::from_secs(15);
/// Largest head, bytes.
const MAX_HEAD: usize = 32 << 10;
/// Pause after a connection could not be accepted: there are no files left, or the like.
const PAUSE: Duration = Duration::from_millis(200);
/// What one connection too many is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The body of an answer.
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What requests share.
struct Server {
    api: Arc<Api>,
    /// Where streams run.
    scope: TaskScope,
    streams: Arc<Semaphore>,
}

/// Begins to serve; gives where.
///
/// # Errors
/// `E_IO` when the port is taken or the address is not this machine's.
pub async fn serve(api: Arc<Api>, config: ApiConfig, scope: &TaskScope) -> Result<SocketAddr, Report> {
    let failed = |error: std::io::Error| {
        Report::new(ErrorCode::Io, format!("API does not listen: {error}"))
            .at(config.listen)
            .hint("end what has the port, or choose another: --api 127.0.0.1:<port>")
    };
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "the API listens beyond this machine without TLS: put a TLS proxy before it");
    }
    let scope = scope.child("api http");
    let server =
        Arc::new(Server { api, scope: scope.clone(), streams: Arc::new(Semaphore::new(MAX_STREAMS)) });
    scope.clone().spawn_until_cancelled("accept", accept(server, listener, scope));
    Ok(address)
}

async fn accept(server: Arc<Server>, listener: TcpListener, scope: TaskScope) {
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let mut connection = match listener.accept().await {
            Ok((connection, _)) => connection,
            Err(error) => {
                tracing::warn!(%error, "connection to the API not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&free).try_acquire_owned() else {
            // A client that does not read gets no answer.
            let _ = tokio::time::timeout(PAUSE, connection.write_all(FULL)).await;
            continue;
        };
        let server = Arc::clone(&server);
        scope.spawn_until_cancelled("connection", async move {
            serve_connection(server, connection).await;
            drop(place);
        });
    }
}

async fn serve_connection(server: Arc<Server>, connection: TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let server = Arc::clone(&server);
        async move { Ok::<Response<Body>, Infallible>(server.answer(request).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(connection), service);
    if let Err(error) = serving.await {
        tracing::debug!(%error, "connection to the API ended");
    }
}
