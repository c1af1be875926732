//! BAD_INPUT rows 95–97, 99 and 100 on a raw socket: each gets its status, exactly one answer,
//! and the end of the connection; nothing behind it on the same connection is executed.

use crate::support::{BODY_LIMIT, Echo, echo, start, status, until_closed};
use providers_http_server::Limits;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What an attacker hopes to have executed beside the request that is looked at.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn post(headers: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}{SMUGGLED}")
}

fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{headers}\r\n\r\n{SMUGGLED}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked", body)
}

fn framing() -> Vec<(String, u16)> {
    [
        post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
        post("Content-Length: 5\r\nContent-Length: 5", "hello"),
        post("Content-Length: 5\r\nContent-Length: 6", "hello"),
        post("Content-Length: 5,5", "hello"),
        post("Content-Length: +5", "hello"),
        post("Content-Length: 0x5", "hello"),
        post("Content-Length: 5 5", "hello"),
        post("Content-Length: -1", ""),
        post("Content-Length: 18446744073709551616", ""),
        post("Content-Length:", ""),
        post("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        post("Transfer-Encoding: identity", "0\r\n\r\n"),
        post("Transfer-Encoding: xchunked", "0\r\n\r\n"),
        post("Transfer-Encoding: \x0bchunked", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        post("Transfer-Encoding : chunked", "0\r\n\r\n"),
        post("Content-Length : 5", "hello"),
        post("X: a\r\n Content-Length: 5", "hello"),
        post("X: a\r\n\tb", ""),
        post("X: a\nContent-Length: 5", "hello"),
        post("X: a\rContent-Length: 5", "hello"),
        post("X: a\0b", ""),
        post("X\0: a", ""),
        post(": a", ""),
        post("no colon", ""),
        "GET / HTTP/1.1\nHost: a\n\n".into(),
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET /\r\nHost: a\r\n\r\n".into(),
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n".into(),
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "\x16\x03\x01\x02\x00\x01\x00".into(),
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        chunked("5;\nhello\r\n0\r\n\r\n"),
        chunked("5 \r\nhello\r\n0\r\n\r\n"),
        chunked("0x5\r\nhello\r\n0\r\n\r\n"),
        chunked("ffffffffffffffff1\r\nhello\r\n0\r\n\r\n"),
        chunked("-5\r\nhello\r\n0\r\n\r\n"),
        chunked("5\nhello\r\n0\r\n\r\n"),
        chunked("4\r\nhello\r\n0\r\n\r\n"),
        chunked("5\r\nhello\n0\r\n\r\n"),
        chunked("5;a=\x01\r\nhello\r\n0\r\n\r\n"),
        chunked("\r\nhello\r\n0\r\n\r\n"),
    ]
    .into_iter()
    .map(|request| (request, 400))
    .collect()
}

fn targets() -> Vec<(String, u16)> {
    let host = "Host: a";
    let long = format!("/{}", "a".repeat(9 << 10));
    let many: String = (0..101).map(|n| format!("\r\nX-{n}: v")).collect();
    let rows: Vec<(String, u16)> = vec![
        (get("/", "X: a"), 400),
        (get("/", "Host: a\r\nHost: a"), 400),
        (get("/", "Host: a\r\nhost: b"), 400),
        (get("http://b/", host), 400),
        (get("https://a/", host), 400),
        (get("http://u:p@a/", host), 400),
        (get("ftp://a/", host), 400),
        (get("/", "Host: u@a"), 400),
        (get("/", "Host: a:99999"), 400),
        (get("/", "Host: a:b"), 400),
        (get("/", "Host: a b"), 400),
        (get("/", "Host: a, b"), 400),
        (get("/", "Host:"), 400),
        (get("/..", host), 400),
        (get("/a/%2e%2e/b", host), 400),
        (get("/%2E./b", host), 400),
        (get("/a%2f..%2fb", host), 400),
        (get("/%00", host), 400),
        (get("/%", host), 400),
        (get("a", host), 400),
        (get("*", host), 400),
        (get(&long, host), 414),
        (get("/", &format!("Host: a\r\nX: {}", "a".repeat(17 << 10))), 431),
        (get("/", &format!("Host: a\r\nX: {}", "a".repeat(64 << 10))), 431),
        (get("/", &format!("Host: a{many}")), 431),
        (format!("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n{SMUGGLED}"), 405),
        (format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n{SMUGGLED}"), 405),
        (get("/", "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket"), 501),
        (post(&format!("Content-Length: {}", BODY_LIMIT + 1), ""), 413),
        (post(&format!("Expect: 100-continue\r\nContent-Length: {}", BODY_LIMIT + 1), ""), 413),
        (
            chunked(&format!("{:x}\r\n{}\r\n0\r\n\r\n", BODY_LIMIT + 1, "a".repeat(BODY_LIMIT as usize + 1))),
            413,
        ),
    ];
    rows
}

#[tokio::test]
async fn every_bad_request_gets_its_status_once_and_the_connection_ends() {
    let server = echo().await;
    let mut wrong = Vec::new();
    for (request, expected) in framing().into_iter().chain(targets()) {
        let answer = server.say(request.as_bytes()).await;
        let shown: String = request.escape_debug().take(120).collect();
        if answer.matches("HTTP/1.1 ").count() != 1 || status(&answer) != expected {
            let answer: String = answer.escape_debug().take(200).collect();
            wrong.push(format!("{shown}\n    expected {expected}, got {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    server.check().await;
}

#[tokio::test]
async fn the_same_bytes_one_by_one_are_read_the_same() {
    let server = echo().await;
    for (request, expected) in framing() {
        let mut socket = server.connect().await;
        socket.set_nodelay(true).unwrap();
        for byte in request.as_bytes() {
            if socket.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        let answer = until_closed(&mut socket).await;
        assert_eq!(status(&answer), expected, "{}: {answer}", request.escape_debug());
    }
}

#[tokio::test]
async fn good_requests_are_answered_in_normal_form_on_one_connection() {
    let server = echo().await;
    let rows = [
        (
            "GET /a//b?x=//y HTTP/1.1\r\nHost: Shop.example:80\r\n\r\n",
            "GET http://Shop.example:80/a/b?x=//y 0",
        ),
        ("GET http://a/x HTTP/1.1\r\nHost: A\r\n\r\n", "GET http://A/x 0"),
        ("GET /a;b/%20%2f HTTP/1.1\r\nHost: [::1]\r\n\r\n", "GET http://[::1]/a;b/%20%2f 0"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\n\n\n\n\n", "POST http://a/ 5"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\n\n\n\r\n0\r\nT: v\r\n\r\n",
            "POST http://a/ 5",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "GET http://a/ 0"),
        ("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", "PROPFIND http://a/ 0"),
    ];
    let mut all: String = rows.iter().map(|(request, _)| *request).collect();
    all.push_str("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = server.say(all.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), rows.len() + 1, "{answer}");
    let mut rest = answer.as_str();
    for (_, expected) in rows {
        let at = rest.find(expected).unwrap_or_else(|| panic!("{expected} not in {rest}"));
        rest = &rest[at + expected.len()..];
    }
}

#[tokio::test]
async fn http_1_0_without_a_host_is_answered_and_closed() {
    let server = echo().await;
    let answer = server.say(b"GET /old HTTP/1.0\r\n\r\n").await;
    assert!(
        answer.contains("200 OK") && answer.contains(&format!("http://{}/old", server.address)),
        "{answer}"
    );
}

#[tokio::test]
async fn a_trickled_body_is_answered_408_and_a_cut_one_400() {
    let limits = Limits { body_grace: Duration::from_millis(150), ..Limits::default() };
    let server = start(limits, Arc::new(Echo)).await;
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n1");
        assert_eq!(status(&server.say(request.as_bytes()).await), 408, "{framing}");
    }
    let mut socket = server.connect().await;
    socket.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
    socket.shutdown().await.unwrap();
    let answer = until_closed(&mut socket).await;
    assert!(matches!(status(&answer), 0 | 400), "never a success: {answer}");
}

#[tokio::test]
async fn a_body_is_asked_for_only_when_it_is_wanted() {
    let server = echo().await;
    let mut socket = server.connect().await;
    socket
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut line = [0; 21];
    socket.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue");
    socket.write_all(b"ok").await.unwrap();
    assert!(until_closed(&mut socket).await.ends_with("POST http://a/ 2"));
}

#[tokio::test]
async fn connections_that_say_nothing_little_or_never_listen_are_ended() {
    let limits = Limits {
        first_byte: Duration::from_millis(200),
        idle: Duration::from_millis(400),
        stall: Duration::from_millis(600),
        ..Limits::default()
    };
    let server = start(limits, Arc::new(Flood)).await;
    for begin in ["", "G", "P", "PRI ", "GET / HTTP/1.1\r\nHost: a\r\nX:"] {
        let mut socket = server.connect().await;
        socket.write_all(begin.as_bytes()).await.unwrap();
        until_closed(&mut socket).await;
    }
    // Keeps the head coming, a byte at a time: only whole requests count.
    let mut socket = server.connect().await;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let trickle = async {
        while socket.write_all(b"X").await.is_ok() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, trickle).await.expect("cut off");
    // Asks for far more than it reads.
    let mut socket = server.connect().await;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let stopped = crate::support::PATIENCE;
    tokio::time::timeout(stopped, Flood::ended().notified()).await.expect("the answer is given up");
}

/// Answers without end, and tells when it is given up.
struct Flood;

impl Flood {
    fn ended() -> &'static tokio::sync::Notify {
        static ENDED: tokio::sync::Notify = tokio::sync::Notify::const_new();
        &ENDED
    }
}

impl providers_sdk::http::HttpHandler for Flood {
    fn handle(
        &self,
        _: http::Request<providers_sdk::http::Body>,
    ) -> providers_sdk::BoxFuture<'_, http::Response<providers_sdk::http::Body>> {
        Box::pin(async { http::Response::new(providers_sdk::http::Body::new(Endless)) })
    }
}

struct Endless;

impl http_body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = providers_sdk::ProviderError;
    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(vec![0; 64 << 10].into()))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        Flood::ended().notify_one();
    }
}
