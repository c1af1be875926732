//! A listener with an echoing actor behind it, and sockets that say exactly what they are told.

use http_body_util::BodyExt;
use providers_http_server::{HttpListener, Limits};
use providers_sdk::BoxFuture;
use providers_sdk::http::{Body, HttpHandler, HttpServer, Route, RouteRequest, full};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far longer than anything here takes; only a hang meets it.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Largest body of the echo's route.
pub const BODY_LIMIT: u64 = 1 << 20;

/// Says what it was asked; a body that breaks off is a success to it, so that only the server can
/// tell the client otherwise.
pub struct Echo;

impl HttpHandler for Echo {
    fn handle(&self, request: http::Request<Body>) -> BoxFuture<'_, http::Response<Body>> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let length = match body.collect().await {
                Ok(body) => body.to_bytes().len().to_string(),
                Err(_) => "broken".into(),
            };
            http::Response::new(full(format!("{} {} {length}", parts.method, parts.uri)))
        })
    }
}

/// A listener on a free port with the echo on every host and path.
pub struct Server {
    pub listener: HttpListener,
    pub address: SocketAddr,
    _route: Box<dyn Route>,
}

pub fn everything() -> RouteRequest {
    RouteRequest { hosts: Vec::new(), path: "/".into(), max_body_bytes: BODY_LIMIT }
}

pub async fn start(limits: Limits, handler: Arc<dyn HttpHandler>) -> Server {
    let listener = HttpListener::bind("127.0.0.1:0".parse().unwrap(), None, limits).await.unwrap();
    let route = listener.add_route(everything(), handler).await.unwrap();
    Server { address: listener.local_address(), listener, _route: route }
}

pub async fn echo() -> Server {
    start(Limits::default(), Arc::new(Echo)).await
}

impl Server {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes and gives everything that comes until the server closes.
    pub async fn say(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect().await;
        // A server that refuses in the middle may have closed already.
        let _ = socket.write_all(bytes).await;
        until_closed(&mut socket).await
    }

    /// Is it still well?
    pub async fn check(&self) {
        let answer = self.say(b"GET /well HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(answer.ends_with("GET http://a/well 0"), "{answer}");
    }
}

/// Everything until the end of the stream, which must come.
pub async fn until_closed(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = socket.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..read]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server keeps the connection open");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of the one answer in this text; 0 for none.
pub fn status(answer: &str) -> u16 {
    assert!(answer.matches("HTTP/1.1 ").count() <= 1, "more than one answer: {answer}");
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok()).unwrap_or(0)
}
