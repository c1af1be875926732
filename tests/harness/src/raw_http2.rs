//! HTTP/2 in frames written by hand, as no well-behaved client would write them: floods, bombs and
//! single bad requests, and what a server did about them. For tests of ingress, whoever serves it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a client begins.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
/// The error code for peers that overdo it.
pub const ENHANCE_YOUR_CALM: u32 = 11;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// `:method GET`, `:scheme http`, `:path /` by index, `:authority a` spelt out.
pub const GOOD_HEAD: &[u8] = b"\x82\x86\x84\x41\x01a";

/// One frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Preface and settings.
#[must_use]
pub fn begin() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()
}

/// Preface, settings and one request of this header block.
#[must_use]
pub fn request(head: &[u8]) -> Vec<u8> {
    [begin(), frame(HEADERS, END_STREAM | END_HEADERS, 1, head)].concat()
}

/// Streams opened and reset at once, ten thousand of them.
#[must_use]
pub fn rapid_reset() -> Vec<u8> {
    let mut bytes = begin();
    for stream in (1..20_000).step_by(2) {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, GOOD_HEAD));
        bytes.extend(frame(RESET, 0, stream, &8u32.to_be_bytes()));
    }
    bytes
}

/// A header block without end.
#[must_use]
pub fn continuation_flood() -> Vec<u8> {
    let mut bytes = begin();
    bytes.extend(frame(HEADERS, END_STREAM, 1, GOOD_HEAD));
    for _ in 0..20_000 {
        // A header `x: y`, never indexed, again and again.
        bytes.extend(frame(CONTINUATION, 0, 1, &b"\x10\x01x\x01y".repeat(50)));
    }
    bytes
}

/// A body of nothing, in 200 000 pieces.
#[must_use]
pub fn empty_data_flood() -> Vec<u8> {
    let mut bytes = begin();
    bytes.extend(frame(HEADERS, END_HEADERS, 1, GOOD_HEAD));
    for _ in 0..200_000 {
        bytes.extend(frame(DATA, 0, 1, b""));
    }
    bytes
}

/// Settings to be acknowledged, 200 000 times, by a peer whose window for answers stays shut.
#[must_use]
pub fn settings_flood() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, b"").repeat(200_000)].concat()
}

/// One header of 4 000 bytes into the dynamic table, then a hundred references to it.
#[must_use]
pub fn headers_bomb() -> Vec<u8> {
    let mut block = GOOD_HEAD.to_vec();
    block.extend(b"\x40\x01x\x7f\xa1\x1e");
    block.extend([b'a'; 4_000]);
    block.extend([0xbe; 100]);
    request(&block)
}

/// A good request whose answer can never be sent: SETTINGS_INITIAL_WINDOW_SIZE is 0.
#[must_use]
pub fn shut_window() -> Vec<u8> {
    let settings = frame(SETTINGS, 0, 0, b"\x00\x04\x00\x00\x00\x00");
    [PREFACE, &settings, &frame(HEADERS, END_STREAM | END_HEADERS, 1, GOOD_HEAD)].concat()
}

/// What a server did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The connection ended.
    pub ended: bool,
    /// The error code of a GOAWAY; 0 is no error.
    pub goaway: Option<u32>,
    /// Streams reset.
    pub resets: usize,
    /// Streams answered.
    pub answers: usize,
    /// The first answer's header block.
    pub head: Option<Vec<u8>>,
}

/// Writes these bytes while reading frames, until the server ends, or resets or answers a stream
/// when `one` is set.
///
/// # Errors
/// No connection, or the server goes on longer than `patience`.
pub async fn watch(address: SocketAddr, bytes: Vec<u8>, one: bool, patience: Duration) -> Result<Seen> {
    let (mut read, mut write) = TcpStream::connect(address).await?.into_split();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        // The server may cut it off in the middle, which is the point.
        let _ = write.write_all(&bytes).await;
        // A reset of what is unread must not take away what it has said.
        std::future::pending::<()>().await;
        drop(write);
    });
    let mut seen = Seen::default();
    let frames = async {
        while let Ok((kind, payload)) = next_frame(&mut read).await {
            if kind == GOAWAY {
                seen.goaway =
                    payload.get(4..8).and_then(|code| Some(u32::from_be_bytes(code.try_into().ok()?)));
            }
            seen.resets += usize::from(kind == RESET);
            seen.answers += usize::from(kind == HEADERS);
            if kind == HEADERS {
                seen.head.get_or_insert(payload);
            }
            if one && (seen.resets + seen.answers > 0 || seen.goaway.is_some()) {
                return;
            }
        }
        seen.ended = true;
    };
    tokio::time::timeout(patience, frames).await.context("the server goes on for ever")?;
    Ok(seen)
}

async fn next_frame(read: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    read.read_exact(&mut head).await?;
    let [_, high, low, kind, ..] = head;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    read.read_exact(&mut payload).await?;
    Ok((kind, payload))
}

impl Seen {
    /// The status of the first answer. It is read as servers' encoders write it: by index, or spelt
    /// out in ASCII or Huffman code.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        decode_status(self.head.as_deref()?)
    }
}

/// `:status` comes first in a block: RFC 7541 appendix A has it from 8 (200) to 14 (500).
fn decode_status(block: &[u8]) -> Option<u16> {
    // A change of the table's size may come before it.
    let block = if block.first()? & 0xe0 == 0x20 { block.get(1..)? } else { block };
    let indexed = [(0x88, 200), (0x8c, 400), (0x8d, 404), (0x8e, 500)];
    if let Some((_, status)) = indexed.iter().find(|(byte, _)| Some(byte) == block.first()) {
        return Some(*status);
    }
    let length = block.get(1)?;
    let text = block.get(2..)?.get(..usize::from(length & 0x7f))?;
    if length & 0x80 == 0 { std::str::from_utf8(text).ok()?.parse().ok() } else { Some(huffman_number(text)) }
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
