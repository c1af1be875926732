//! Routes, overload, draining, TLS, and a port that is taken.

use crate::support::{Echo, Server, echo, everything, start, status, until_closed};
use anyhow::{Context, Result};
use providers_http_server::{HttpListener, HttpServerFactory, Limits, TlsFiles, acceptor};
use providers_sdk::http::{Body, HttpHandler, HttpServer, RouteRequest, full};
use providers_sdk::{BoxFuture, BuildContext, Factory, Provider, ProviderErrorKind};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

/// Answers when it is let.
struct Held {
    entered: Semaphore,
    go: Semaphore,
}

impl Held {
    fn new() -> Arc<Self> {
        Arc::new(Self { entered: Semaphore::new(0), go: Semaphore::new(0) })
    }
    async fn wait_until_entered(&self) {
        self.entered.acquire().await.unwrap().forget();
    }
}

impl HttpHandler for Held {
    fn handle(&self, _: http::Request<Body>) -> BoxFuture<'_, http::Response<Body>> {
        Box::pin(async {
            self.entered.add_permits(1);
            self.go.acquire().await.unwrap().forget();
            http::Response::builder()
                .header("connection", "keep-alive")
                .header("transfer-encoding", "gzip")
                .header("x", "y")
                .body(full("held"))
                .unwrap()
        })
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn routes_come_and_go_while_serving() -> Result<()> {
    let server = echo().await;
    let shop = |path: &str| RouteRequest {
        hosts: vec!["shop.example".into()],
        path: path.into(),
        max_body_bytes: 10,
    };
    let held = Held::new();
    let route = server.listener.add_route(shop("/held"), held.clone()).await?;
    let taken = server.listener.add_route(shop("/held/"), held.clone()).await.err().context("taken")?;
    assert_eq!(taken.kind, ProviderErrorKind::Conflict);
    let bad = server.listener.add_route(shop("held"), held.clone()).await.err().context("bad")?;
    assert_eq!(bad.kind, ProviderErrorKind::Invalid);

    let request = b"GET /held/x HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    let mut socket = server.connect().await;
    socket.write_all(request).await?;
    held.wait_until_entered().await;
    let mut drain = route.drain();
    assert!(futures::poll!(&mut drain).is_pending());
    let refused = server.say(request).await;
    assert!(status(&refused) == 503 && refused.contains("retry-after: 1"), "{refused}");
    held.go.add_permits(1);
    drain.await;
    let answer = until_closed(&mut socket).await;
    assert!(answer.ends_with("held"), "{answer}");
    assert!(
        !answer.contains("gzip") && !answer.contains("keep-alive") && answer.contains("x: y"),
        "{answer}"
    );

    drop(route);
    assert!(
        server.say(request).await.ends_with("GET http://shop.example/held/x 0"),
        "the route for every host"
    );
    Ok(())
}

#[tokio::test]
async fn without_a_route_the_answer_is_404_and_the_connection_lives() -> Result<()> {
    let listener = HttpListener::bind("127.0.0.1:0".parse()?, None, Limits::default()).await?;
    let only = RouteRequest { path: "/only".into(), ..everything() };
    let _route = listener.add_route(only, Arc::new(Echo)).await?;
    let mut socket = tokio::net::TcpStream::connect(listener.local_address()).await?;
    socket.write_all(GET).await?;
    socket.write_all(b"GET /only/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
    let answer = until_closed(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("E_NOT_FOUND"), "{answer}");
    assert!(answer.ends_with("GET http://a/only/x 0"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn what_is_too_much_is_told_so_at_once() -> Result<()> {
    let limits = Limits { max_connections_per_address: 2, max_requests: 1, ..Limits::default() };
    let held = Held::new();
    let server = start(limits, held.clone()).await;
    let mut first = server.connect().await;
    first.write_all(GET_CLOSE).await?;
    held.wait_until_entered().await;
    let second = server.say(GET_CLOSE).await;
    assert!(status(&second) == 503 && second.contains("retry-after"), "{second}");
    let mut idle = server.connect().await;
    let third = server.say(b"").await;
    assert!(status(&third) == 503 && third.contains("connections"), "{third}");
    held.go.add_permits(1);
    assert!(until_closed(&mut first).await.ends_with("held"));
    idle.write_all(GET_CLOSE).await?;
    held.go.add_permits(1);
    assert!(until_closed(&mut idle).await.ends_with("held"));
    Ok(())
}

#[tokio::test]
async fn a_listener_that_goes_answers_what_it_has_and_frees_its_port() -> Result<()> {
    let held = Held::new();
    let server = start(Limits::default(), held.clone()).await;
    let (mut busy, mut idle) = (server.connect().await, server.connect().await);
    idle.write_all(GET).await?;
    held.wait_until_entered().await;
    held.go.add_permits(1);
    let mut begin = [0; 12];
    idle.read_exact(&mut begin).await?;
    busy.write_all(GET).await?;
    held.wait_until_entered().await;
    let address = server.address;
    drop(server);
    until_closed(&mut idle).await;
    let _again = HttpListener::bind(address, None, Limits::default()).await?;
    held.go.add_permits(1);
    let answer = until_closed(&mut busy).await;
    assert!(answer.contains("connection: close") && answer.ends_with("held"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_taken_port_names_its_owner() -> Result<()> {
    let other = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = other.local_addr()?.port().to_string();
    let config = [("port".to_owned(), port.clone())].into();
    let context = BuildContext { id: "shop/web".parse()?, data_dir: "unused".into(), config };
    let error = HttpServerFactory.build(context).await.err().context("taken")?;
    let pid = format!("pid {}", std::process::id());
    assert_eq!(error.kind, ProviderErrorKind::Conflict);
    assert!(error.message.contains(&port) && error.message.contains(&pid), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_factory_builds_what_the_configuration_says() -> Result<()> {
    let config = [("address".to_owned(), "127.0.0.1:0".to_owned())].into();
    let context = BuildContext { id: "shop/web".parse()?, data_dir: "unused".into(), config };
    let Provider::HttpServer(server) = HttpServerFactory.build(context).await? else {
        anyhow::bail!("not an HTTP server")
    };
    let _route = server.add_route(everything(), Arc::new(Echo)).await?;
    let mut socket = tokio::net::TcpStream::connect(server.local_address()).await?;
    socket.write_all(GET_CLOSE).await?;
    assert!(until_closed(&mut socket).await.ends_with("GET http://a/ 0"));
    Ok(())
}

/// A listener with a certificate of its own for `localhost`, and the certificate.
async fn tls() -> Result<(HttpListener, rustls::RootCertStore, tempfile::TempDir)> {
    let directory = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let files =
        TlsFiles { certificate: directory.path().join("cert.pem"), key: directory.path().join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem())?;
    std::fs::write(&files.key, made.signing_key.serialize_pem())?;
    let address = "127.0.0.1:0".parse()?;
    let listener = HttpListener::bind(address, Some(acceptor(&files)?), Limits::default()).await?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    Ok((listener, roots, directory))
}

#[tokio::test]
async fn tls_serves_both_versions_by_alpn_and_plain_text_gets_nothing() -> Result<()> {
    let (listener, roots, _directory) = tls().await?;
    let _route = listener.add_route(everything(), Arc::new(Echo)).await?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    for alpn in ["http/1.1", "h2"] {
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.into()];
        let socket = tokio::net::TcpStream::connect(listener.local_address()).await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect("localhost".try_into()?, socket).await?;
        let answer = match alpn {
            "h2" => crate::http2::get(stream, "https://localhost/x").await?,
            _ => {
                let mut stream = stream;
                stream.write_all(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await?;
                answer
            }
        };
        assert!(answer.ends_with("GET https://localhost/x 0"), "{alpn}: {answer}");
    }
    let mut plain = tokio::net::TcpStream::connect(listener.local_address()).await?;
    plain.write_all(GET).await?;
    assert!(!until_closed(&mut plain).await.contains("HTTP"));
    Ok(())
}

#[test]
fn tls_files_that_are_none_are_refused_by_name() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let files = TlsFiles { certificate: directory.path().join("a.pem"), key: directory.path().join("b.pem") };
    assert!(acceptor(&files).err().context("absent")?.to_string().contains("a.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(&files.certificate, made.cert.pem())?;
    std::fs::write(&files.key, "not a key")?;
    assert!(acceptor(&files).err().context("no key")?.to_string().contains("b.pem"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_do_not_stop_good_ones() -> Result<()> {
    let server: Server = echo().await;
    let mut slow = Vec::new();
    for _ in 0..500 {
        let mut socket = server.connect().await;
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ").await?;
        slow.push(socket);
    }
    for _ in 0..50 {
        server.check().await;
    }
    Ok(())
}
