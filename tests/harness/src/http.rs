//! The smallest HTTP client that can ask a monitoring endpoint, or see whether an actor answers: one
//! request, one answer, one connection. Not for anything else; tests of our own ingress use a real client.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than any monitoring page; a runaway answer is an error, not memory.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// The body of `GET path`.
///
/// # Errors
/// No connection, an answer that is not HTTP, or a status other than 200 (shown with its body).
pub async fn get(address: SocketAddr, path: &str) -> Result<String> {
    ask(address, ("GET", path), &[], "").await
}

/// What `POST path` with this body is answered. Headers are whole lines.
///
/// # Errors
/// As [`get`].
pub async fn post(address: SocketAddr, path: &str, headers: &[&str], body: &str) -> Result<String> {
    ask(address, ("POST", path), headers, body).await
}

async fn ask(
    address: SocketAddr,
    (method, path): (&str, &str),
    headers: &[&str],
    body: &str,
) -> Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
    // HTTP/1.0: the server closes when it is done, so there is no framing to parse.
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    if method != "GET" {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer).context("the answer is not UTF-8")?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("{method} {path} at {address}: no HTTP answer (got {answer:?})");
    };
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("{method} {path} at {address}: {status}: {body}");
    }
    Ok(body.to_owned())
}
