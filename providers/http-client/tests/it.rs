//! The client against servers that say exactly what they are told to, and write down what they
//! were asked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic"
)]

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use providers_http_client::{Config, HttpClientFactory, OutgoingHttp};
use providers_sdk::http::{Allowed, Body, HttpClient, full};
use providers_sdk::testing::context;
use providers_sdk::{CallContext, Factory, Provider, ProviderErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CLOSING: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// A server of canned answers: one for each request, in order, the last one again and again.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
    _tasks: JoinSet<()>,
}

/// Starts one; an empty answer means that none ever comes.
async fn start(answers: &'static [&'static str]) -> Result<Server> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (seen, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<usize>>::default());
    let (log, count) = (Arc::clone(&seen), Arc::clone(&connections));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut clients = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            *count.lock().unwrap() += 1;
            clients.spawn(serve(socket, answers, Arc::clone(&log)));
        }
    });
    Ok(Server { address, seen, connections, _tasks: tasks })
}

async fn serve(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    answers: &[&str],
    log: Arc<Mutex<Vec<String>>>,
) {
    while let Some(request) = read_request(&mut socket).await {
        let answer = {
            let mut log = log.lock().unwrap();
            log.push(request);
            answers[(log.len() - 1).min(answers.len() - 1)]
        };
        if answer.is_empty() {
            std::future::pending::<()>().await;
        }
        if socket.write_all(answer.as_bytes()).await.is_err() || answer.contains("Connection: close") {
            return;
        }
    }
}

/// Head and body; chunked ones up to their end, in the raw.
async fn read_request(socket: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = String::new();
    loop {
        let mut buffer = [0; 4096];
        let read = socket.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let whole = match length {
            Some(length) => body.len() >= length,
            None => !head.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n"),
        };
        if whole {
            return Some(text);
        }
    }
}

fn client() -> OutgoingHttp {
    OutgoingHttp::new(&Config::default()).unwrap()
}

fn allow(hosts: &[&str]) -> Allowed {
    Allowed { hosts: hosts.iter().map(|host| (*host).into()).collect(), methods: Vec::new() }
}

fn get(uri: &str) -> http::Request<Body> {
    http::Request::get(uri).body(full("")).unwrap()
}

async fn text(response: http::Response<Body>) -> Result<String> {
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().into())?)
}

fn cx() -> CallContext {
    context("shop/cart")
}

#[tokio::test]
async fn a_request_goes_out_rewritten_and_connections_are_used_again() -> Result<()> {
    rewritten_and_used_again(Arc::new(client())).await
}

#[tokio::test]
async fn a_client_in_a_process_of_its_own_does_the_same() -> Result<()> {
    let (bus, scope) = (lattice_io::memory::Memory::new().lattice().bus, lattice_io::TaskScope::new("test"));
    let far = providers_sdk::testing::far(Provider::HttpClient(Arc::new(client())), &bus, &scope).await;
    let Provider::HttpClient(client) = far else { anyhow::bail!("no client came back") };
    let denied = client.send(&cx(), &allow(&[]), get("http://127.0.0.1:1/")).await.err().context("denied")?;
    assert_eq!(denied.kind, ProviderErrorKind::Denied, "the grant goes with the call");
    rewritten_and_used_again(client).await
}

async fn rewritten_and_used_again(client: Arc<dyn HttpClient>) -> Result<()> {
    let server = start(&[OK]).await?;
    let cx = cx();
    let host = server.address.to_string();
    let allowed = allow(&[&host]);
    let request = http::Request::post(format!("http://{host}/a?b=c"))
        .header("host", "elsewhere")
        .header("content-length", "99")
        .header("connection", "x-mine")
        .header("x-mine", "1")
        .header("x-kept", "2")
        .body(full("four"))?;
    let response = client.send(&cx, &allowed, request).await?;
    assert_eq!((response.status().as_u16(), text(response).await?.as_str()), (200, "ok"));
    for _ in 0..5 {
        text(client.send(&cx, &allowed, get(&format!("http://{host}/"))).await?).await?;
    }
    let seen = server.seen.lock().unwrap().clone();
    let first = seen[0].to_ascii_lowercase();
    assert!(first.starts_with("post /a?b=c http/1.1\r\n") && first.ends_with("\r\n\r\nfour"), "{first}");
    assert!(first.contains(&format!("host: {host}\r\n")) && first.contains("x-kept: 2"), "{first}");
    assert!(
        first.matches("content-length: ").count() == 1 && first.contains("content-length: 4\r\n"),
        "{first}"
    );
    assert!(!first.contains("elsewhere") && !first.contains("x-mine"), "{first}");
    assert_eq!((seen.len(), *server.connections.lock().unwrap()), (6, 1));
    Ok(())
}

#[tokio::test]
async fn what_is_not_granted_opens_no_connection() -> Result<()> {
    let server = start(&[OK]).await?;
    let (client, cx, port) = (client(), cx(), server.address.port());
    let rows: &[(&str, &[&str], &str)] = &[
        ("127.0.0.1", &[], "capability denied: host 127.0.0.1:"),
        ("127.0.0.1", &["private"], "capability denied: host 127.0.0.1:"),
        ("127.0.0.1", &["127.0.0.1:1"], "capability denied: host 127.0.0.1:"),
        ("127.0.0.1", &["*"], "not public (loopback)"),
        ("localhost", &["localhost"], "not public (loopback)"),
        ("localhost", &["*"], "not public (loopback)"),
        ("[::ffff:127.0.0.1]", &["*"], "not public (loopback)"),
        ("0.0.0.0", &["*"], "not public (this network)"),
        ("169.254.169.254", &["*"], "not public (link-local)"),
    ];
    for (host, hosts, expected) in rows {
        let error = client.send(&cx, &allow(hosts), get(&format!("http://{host}:{port}/"))).await.err();
        let error = error.with_context(|| format!("{host} {hosts:?}"))?;
        assert_eq!(error.kind, ProviderErrorKind::Denied, "{error}");
        assert!(
            error.message.starts_with("capability denied: ") && error.message.contains(expected),
            "{error}"
        );
    }
    assert_eq!(*server.connections.lock().unwrap(), 0);
    let private = allow(&["localhost", "private"]);
    let granted = client.send(&cx, &private, get(&format!("http://localhost:{port}/")));
    assert_eq!(text(granted.await?).await?, "ok");
    Ok(())
}

#[tokio::test]
async fn redirects_are_answers_and_a_stream_goes_out_in_chunks() -> Result<()> {
    let server = start(&["HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nKeep-Alive: timeout=5\r\n\r\n"]).await?;
    let host = server.address.to_string();
    let stream = http_body_util::StreamBody::new(futures_iter(["one", "two"]));
    let request = http::Request::put(format!("http://{host}/")).body(Body::new(stream))?;
    let response = client().send(&cx(), &allow(&[&host]), request).await?;
    assert_eq!(response.status(), 302);
    assert!(response.headers().contains_key("location") && !response.headers().contains_key("keep-alive"));
    let seen = server.seen.lock().unwrap()[0].clone();
    assert!(
        seen.contains("transfer-encoding: chunked") && seen.contains("one") && seen.contains("two"),
        "{seen}"
    );
    Ok(())
}

fn futures_iter(
    pieces: [&'static str; 2],
) -> impl futures::Stream<Item = Result<http_body::Frame<bytes::Bytes>, providers_sdk::ProviderError>> + Send
{
    futures::stream::iter(pieces.map(|piece| Ok(http_body::Frame::data(piece.into()))))
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced_unnoticed() -> Result<()> {
    let server = start(&[OK, CLOSING]).await?;
    let host = server.address.to_string();
    let (client, cx, allowed) = (client(), cx(), allow(&[&host]));
    for _ in 0..6 {
        let request = http::Request::post(format!("http://{host}/")).body(full("x"))?;
        assert_eq!(text(client.send(&cx, &allowed, request).await?).await?, "ok");
    }
    assert_eq!(server.seen.lock().unwrap().len(), 6, "each once");
    Ok(())
}

#[tokio::test]
async fn failures_say_whether_anything_can_have_arrived() -> Result<()> {
    let client = client();
    let kind = async |host: &str, cx: &CallContext| {
        client.send(cx, &allow(&[host]), get(&format!("http://{host}/"))).await.err().map(|error| error.kind)
    };
    let free = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string();
    assert_eq!(kind(&free, &cx()).await, Some(ProviderErrorKind::Unreachable));
    let silent = start(&[""]).await?;
    let soon = CallContext { deadline: Instant::now() + Duration::from_millis(300), ..cx() };
    assert_eq!(kind(&silent.address.to_string(), &soon).await, Some(ProviderErrorKind::Timeout));
    for broken in [&["HTTP/1.1 Connection: close\r\n\r\n"], &["SSH-2.0 Connection: close\r\n"]] {
        let server = start(broken).await?;
        assert_eq!(kind(&server.address.to_string(), &cx()).await, Some(ProviderErrorKind::Failed));
    }
    let cut = start(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nok"]).await?;
    let host = cut.address.to_string();
    let response = client.send(&cx(), &allow(&[&host]), get(&format!("http://{host}/"))).await?;
    assert!(text(response).await.is_err(), "half a body is no body");
    Ok(())
}

#[tokio::test]
async fn connections_are_bounded_and_idle_ones_make_room() -> Result<()> {
    let (one, two) = (start(&[OK]).await?, start(&[OK]).await?);
    let client = OutgoingHttp::new(&Config { max_connections: 1, ..Config::default() })?;
    let hosts = [one.address.to_string(), two.address.to_string()];
    let (cx, allowed) = (cx(), allow(&[&hosts[0], &hosts[1]]));
    let held = client.send(&cx, &allowed, get(&format!("http://{}/", hosts[0]))).await?;
    let error =
        client.send(&cx, &allowed, get(&format!("http://{}/", hosts[1]))).await.err().context("full")?;
    assert_eq!(error.kind, ProviderErrorKind::Limit);
    assert_eq!(text(held).await?, "ok");
    // Its connection goes when it is noticed that nobody holds it any more.
    let soon = Instant::now() + Duration::from_secs(10);
    loop {
        match client.send(&cx, &allowed, get(&format!("http://{}/", hosts[1]))).await {
            Ok(response) => {
                assert_eq!(text(response).await?, "ok");
                return Ok(());
            }
            Err(error) => assert!(Instant::now() < soon, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn tls_trusts_the_file_and_the_name_and_nothing_else() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, made.cert.pem())?;
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(socket).await {
                serve(stream, &[CLOSING], Arc::default()).await;
            }
        }
    });
    let trusting = OutgoingHttp::new(&Config { ca_file: Some(ca_file), ..Config::default() })?;
    let (cx, allowed) = (cx(), allow(&["localhost", "127.0.0.1", "private"]));
    let ours = trusting.send(&cx, &allowed, get(&format!("https://localhost:{port}/"))).await?;
    assert_eq!(text(ours).await?, "ok");
    for (client, host) in [(&trusting, "127.0.0.1"), (&client(), "localhost")] {
        let error = client.send(&cx, &allowed, get(&format!("https://{host}:{port}/"))).await.err();
        let error = error.with_context(|| host)?;
        assert!(error.kind == ProviderErrorKind::Failed && error.message.contains("TLS failed"), "{error}");
    }
    Ok(())
}

#[test]
fn a_configuration_is_checked_and_its_files_are_named() {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    assert!(HttpClientFactory.check(&map(&[])).is_empty());
    assert_eq!(HttpClientFactory.check(&map(&[("max_connections", "0"), ("ca", "x")])).len(), 2);
    let absent = Config { ca_file: Some("/nowhere/ca.pem".into()), ..Config::default() };
    assert!(OutgoingHttp::new(&absent).err().unwrap().to_string().contains("/nowhere/ca.pem"));
}
