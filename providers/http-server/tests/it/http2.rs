//! BAD_INPUT row 98: hostile HTTP/2 in frames written by hand. Whatever it is, the connection (or
//! the one stream) ends, nothing is answered with success, and the listener stays well.

use crate::support::{Echo, PATIENCE, Server, echo, start};
use anyhow::Result;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use providers_http_server::Limits;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// The error code for peers that overdo it.
const ENHANCE_YOUR_CALM: u32 = 11;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:method GET`, `:scheme http`, `:path /` by index, `:authority a` spelt out.
const GOOD_HEAD: &[u8] = b"\x82\x86\x84\x41\x01a";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn begin() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()
}

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

/// What the server did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    ended: bool,
    /// The error code of a GOAWAY; 0 is no error.
    goaway: Option<u32>,
    resets: usize,
    answers: usize,
}

/// Writes these bytes while reading frames, until the server ends, or resets or answers a stream
/// when `one` is set.
async fn watch(server: &Server, bytes: Vec<u8>, one: bool) -> Seen {
    let (mut read, mut write) = server.connect().await.into_split();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        // The server may cut it off in the middle, which is the point.
        let _ = write.write_all(&bytes).await;
        std::future::pending::<()>().await;
    });
    let mut seen = Seen::default();
    let frames = async {
        while let Ok((kind, payload)) = next_frame(&mut read).await {
            if kind == GOAWAY {
                seen.goaway = payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().unwrap()));
            }
            seen.resets += usize::from(kind == RESET);
            seen.answers += usize::from(kind == HEADERS);
            if one && seen.resets + seen.answers > 0 {
                return;
            }
        }
        seen.ended = true;
    };
    tokio::time::timeout(PATIENCE, frames).await.expect("the server goes on for ever");
    seen
}

async fn next_frame(read: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    read.read_exact(&mut head).await?;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    read.read_exact(&mut payload).await?;
    Ok((head[3], payload))
}

fn rapid_reset() -> Vec<u8> {
    let mut bytes = begin();
    for stream in (1..20_000).step_by(2) {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, GOOD_HEAD));
        bytes.extend(frame(RESET, 0, stream, &8u32.to_be_bytes()));
    }
    bytes
}

fn continuation_flood() -> Vec<u8> {
    let mut bytes = begin();
    bytes.extend(frame(HEADERS, END_STREAM, 1, GOOD_HEAD));
    for _ in 0..20_000 {
        // A header `x: y`, never indexed, again and again.
        bytes.extend(frame(CONTINUATION, 0, 1, &b"\x10\x01x\x01y".repeat(50)));
    }
    bytes
}

fn empty_data_flood() -> Vec<u8> {
    let mut bytes = begin();
    bytes.extend(frame(HEADERS, END_HEADERS, 1, GOOD_HEAD));
    for _ in 0..200_000 {
        bytes.extend(frame(DATA, 0, 1, b""));
    }
    bytes
}

fn headers_bomb() -> Vec<u8> {
    // One header of 4 000 bytes into the dynamic table, then a hundred references to it.
    let mut block = GOOD_HEAD.to_vec();
    block.extend(b"\x40\x01x\x7f\xa1\x1e");
    block.extend([b'a'; 4_000]);
    block.extend([0xbe; 100]);
    [begin(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)].concat()
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
        let bytes = [begin(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &head)].concat();
        let status = first_status(&server, bytes).await;
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{name}: {status:?}");
    }
    let good = [begin(), frame(HEADERS, END_STREAM | END_HEADERS, 1, GOOD_HEAD)].concat();
    assert_eq!(first_status(&server, good).await, Some(200), "the same, well-formed");
    let bomb = watch(&server, headers_bomb(), true).await;
    assert!(bomb.ended || bomb.resets + bomb.answers > 0, "{bomb:?}");
    server.check().await;
}

/// The status of the first answer, none when the stream or connection ends without one. Statuses
/// are read as the server's encoder writes them: by index, or spelt out in ASCII or Huffman code.
async fn first_status(server: &Server, bytes: Vec<u8>) -> Option<u16> {
    let mut socket = server.connect().await;
    socket.write_all(&bytes).await.unwrap();
    let read = async {
        loop {
            match next_frame(&mut socket).await.ok()? {
                (HEADERS, block) => return Some(decode_status(&block)),
                (RESET | GOAWAY, _) => return None,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer or an end")
}

/// `:status` comes first in a block: RFC 7541 appendix A has it from 8 (200) to 14 (500).
fn decode_status(block: &[u8]) -> u16 {
    // A change of the table's size may come before it.
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    let indexed = [(0x88, 200), (0x8c, 400), (0x8d, 404), (0x8e, 500)];
    if let Some((_, status)) = indexed.iter().find(|(byte, _)| *byte == block[0]) {
        return *status;
    }
    let (length, text) = (usize::from(block[1] & 0x7f), &block[2..]);
    if block[1] & 0x80 == 0 {
        return std::str::from_utf8(&text[..length]).unwrap().parse().unwrap();
    }
    huffman_number(&text[..length])
}

/// Three digits in Huffman code (appendix B): `0` to `2` are 00000 to 00010, `3` to `9` are
/// 011001 to 011111.
fn huffman_number(bytes: &[u8]) -> u16 {
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)));
    let mut take = |count: usize| bits.by_ref().take(count).fold(0, |number, bit| number << 1 | bit);
    (0..3).fold(0, |number, _| {
        let five = take(5);
        let digit = if five < 3 { five } else { (five << 1 | take(1)) - 0b01_1001 + 3 };
        number * 10 + digit
    })
}

#[tokio::test]
async fn a_window_that_stays_shut_does_not_keep_a_connection() {
    let limits =
        Limits { idle: Duration::from_millis(400), stall: Duration::from_millis(800), ..Limits::default() };
    let server = start(limits, Arc::new(Echo)).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0: the answer's body can never be sent.
    let settings = frame(SETTINGS, 0, 0, b"\x00\x04\x00\x00\x00\x00");
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, GOOD_HEAD);
    let seen = watch(&server, [PREFACE, &settings, &request].concat(), false).await;
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
