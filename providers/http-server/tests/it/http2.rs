//! BAD_INPUT row 98: hostile HTTP/2 in frames written by hand. Whatever it is, the connection (or
//! the one stream) ends, nothing is answered with success, and the listener stays well.

use crate::support::{Echo, PATIENCE, Server, echo, start};
use anyhow::Result;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use providers_http_server::Limits;
use std::sync::Arc;
use std::time::Duration;
use tests_harness::raw_http2::{
    self, ENHANCE_YOUR_CALM, GOOD_HEAD, Seen, continuation_flood, empty_data_flood, headers_bomb,
    rapid_reset, request,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// One GET through hyper's own client.
pub async fn get(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, uri: &str) -> Result<String> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let request = http::Request::get(uri).body(Empty::<bytes::Bytes>::new())?;
    let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

async fn watch(server: &Server, bytes: Vec<u8>, one: bool) -> Seen {
    raw_http2::watch(server.address, bytes, one, PATIENCE).await.unwrap()
}

#[tokio::test]
async fn floods_end_the_connection_and_nothing_else() {
    let server = start(
        Limits { idle: Duration::from_secs(2), body_grace: Duration::from_millis(500), ..Limits::default() },
        Arc::new(Echo),
    )
    .await;
    for (name, bytes) in [
        ("rapid reset", rapid_reset()),
        ("CONTINUATION flood", continuation_flood()),
        ("empty DATA flood", empty_data_flood()),
    ] {
        let seen = watch(&server, bytes, false).await;
        assert!(seen.ended && seen.answers == 0, "{name}: {seen:?}");
        // Not the watch over idle connections: HTTP/2 itself has had enough.
        assert_eq!(seen.goaway, Some(ENHANCE_YOUR_CALM), "{name}");
    }
    let seen = watch(&server, b"PRI * HTTP/2.0\r\n\r\nXX".to_vec(), false).await;
    assert!(seen.ended && seen.answers == 0, "not HTTP/2 after all: {seen:?}");
    server.check().await;
}

#[tokio::test]
async fn one_bad_request_ends_its_stream_or_is_answered_4xx() {
    let server = echo().await;
    let with = |more: &[u8]| [GOOD_HEAD, more].concat();
    let heads: Vec<(&str, Vec<u8>)> = vec![
        ("empty :path", b"\x82\x86\x44\x00\x41\x01a".to_vec()),
        ("no :path", b"\x82\x86\x41\x01a".to_vec()),
        ("two :path", with(b"\x84")),
        ("upper-case name", with(b"\x00\x01X\x01y")),
        ("connection header", with(b"\x00\x0aconnection\x05close")),
        ("transfer-encoding", with(b"\x00\x11transfer-encoding\x07chunked")),
        ("line feed in a value", with(b"\x00\x01x\x03a\nb")),
        ("another host", with(b"\x00\x04host\x01b")),
        ("user in :authority", b"\x82\x86\x84\x41\x03u@a".to_vec()),
        ("other scheme", b"\x82\x87\x84\x41\x01a".to_vec()),
        ("dot segments", b"\x82\x86\x44\x03/..\x41\x01a".to_vec()),
        ("TRACE", b"\x42\x05TRACE\x86\x84\x41\x01a".to_vec()),
    ];
    for (name, head) in heads {
        let status = watch(&server, request(&head), true).await.status();
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{name}: {status:?}");
    }
    assert_eq!(watch(&server, request(GOOD_HEAD), true).await.status(), Some(200), "the same, well-formed");
    let bomb = watch(&server, headers_bomb(), true).await;
    let refused = bomb.ended || bomb.goaway.is_some() || bomb.resets + bomb.answers > 0;
    assert!(refused, "{bomb:?}");
    server.check().await;
}

#[tokio::test]
async fn a_window_that_stays_shut_does_not_keep_a_connection() {
    let limits =
        Limits { idle: Duration::from_millis(400), stall: Duration::from_millis(800), ..Limits::default() };
    let server = start(limits, Arc::new(Echo)).await;
    let seen = watch(&server, raw_http2::shut_window(), false).await;
    assert!(seen.ended && seen.answers == 1, "{seen:?}");
}

#[tokio::test]
async fn many_streams_share_one_connection() -> Result<()> {
    let server = echo().await;
    let io = TokioIo::new(TcpStream::connect(server.address).await?);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { connection.await.map_err(anyhow::Error::from).map(|()| String::new()) });
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..300 {
        let mut sender = sender.clone();
        calls.spawn(async move {
            let uri = format!("http://a/{n}");
            let request =
                http::Request::post(&uri).body(http_body_util::Full::new(bytes::Bytes::from(vec![1; n])))?;
            let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
            anyhow::ensure!(body == format!("POST {uri} {n}"), "{body:?}");
            anyhow::Ok(())
        });
    }
    while let Some(call) = calls.join_next().await {
        call??;
    }
    Ok(())
}
