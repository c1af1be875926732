//! The references: the same answer from plain hyper or a plain NATS client, no sandbox, two workers.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lattice_io::nats::{self, NatsAuth, NatsLattice, NatsOptions};
use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// What [`echo`] says when it answers.
pub const READY: &str = "echo answers";

/// As many workers as a host has here.
pub fn workers() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Serves `body` on a port of loopback (0: any free one) until the process ends; prints the address
/// first.
pub fn serve(port: u16, body: &'static str) -> Result<()> {
    let answer = move |_| std::future::ready(Response::new(Full::new(Bytes::from_static(body.as_bytes()))));
    workers()?.block_on(accept(port, answer))
}

/// Serves what `answer` gives, as [`serve`].
pub async fn accept<A>(
    port: u16,
    answer: impl Fn(Request<Incoming>) -> A + Clone + Send + 'static,
) -> Result<()>
where
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", listener.local_addr()?)?;
    out.flush()?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(connection(stream, answer.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// A connection to a lattice's server by a `.creds` file.
pub async fn connect(url: &str, credentials: &Path, inbox: String) -> Result<Arc<NatsLattice>> {
    let mut options = NatsOptions::new(url);
    options.auth = NatsAuth::Creds(std::fs::read_to_string(credentials)?);
    options.inbox_prefix = Some(inbox);
    Ok(nats::connect(options).await?)
}

/// Answers each message with its own body until the process ends; prints a line first.
pub fn echo(url: &str, credentials: &Path, inbox: String, subject: &str) -> Result<()> {
    workers()?.block_on(async move {
        let client = connect(url, credentials, inbox).await?;
        let bus = client.lattice().bus;
        let mut messages = bus.subscribe(subject, None).await?;
        let mut out = std::io::stdout();
        writeln!(out, "{READY}")?;
        out.flush()?;
        while let Some(message) = messages.next().await {
            let body = message.payload.clone();
            if let Some(answer) = message.answer(body) {
                bus.publish(answer).await?;
            }
        }
        Ok(())
    })
}

async fn connection<A>(stream: tokio::net::TcpStream, answer: impl Fn(Request<Incoming>) -> A)
where
    A: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // A client that goes away in the middle is no failure of the server.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
