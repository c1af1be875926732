//! Bytes on a socket, and everything that comes back until the server closes.

use crate::judge::Outcome;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far longer than any bound of the listener.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an attacker hopes to have executed beside the request that is looked at.
pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends these bytes on a connection of their own. One answer at most may come: a second one is the
/// smuggled request's.
///
/// # Errors
/// No connection, or it stays open.
pub async fn send(address: SocketAddr, bytes: &[u8]) -> Result<Outcome> {
    let begin = Instant::now();
    let mut socket = TcpStream::connect(address).await?;
    // A server that refuses in the middle may have closed already.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = socket.read(&mut buffer).await {
            answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
    };
    tokio::time::timeout(PATIENCE, read).await.context("the server keeps the connection open")?;
    let said = String::from_utf8_lossy(&answer).into_owned();
    let status = match said.matches("HTTP/1.1 ").count() {
        0 => 0,
        1 => said.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(-1),
        // Smuggled: no status that a case could expect.
        _ => -2,
    };
    Ok(Outcome { status: Some(status), said, took: begin.elapsed(), ..Outcome::default() })
}

/// One good request: `PUT /path`, for this host, with this body.
///
/// # Errors
/// As [`send`].
pub async fn ask(address: SocketAddr, host: &str, line: &str, body: &[u8]) -> Result<Outcome> {
    let head = format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    send(address, &[head.as_bytes(), body].concat()).await
}
