//! People of three roles, over NATS and over HTTP, on a real server that holds each to its own subjects.

use anyhow::{Context, Result, ensure};
use lattice_io::BusStatus;
use lattice_io::nats::{ConnectError, NatsAuth, NatsOptions, connect};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tests_harness::{eventually, fixtures};
use tests_lattice::{PATIENCE, SITE, TestLattice};

/// Bytes of a component beyond the window of one reader, which is two megabytes at most.
const LARGE: u32 = 12 << 20;

fn creds(user: &str) -> String {
    format!("trellis-lattice/users/{user}.creds")
}

fn by(lattice: &TestLattice, user: &str, args: &[&str]) -> Result<String> {
    lattice.trellis(&[&["--nats-creds", &creds(user)], args].concat())
}

fn refusal(lattice: &TestLattice, user: &str, args: &[&str]) -> String {
    by(lattice, user, args).map_or_else(|error| error.to_string(), |said| format!("done: {said}"))
}

/// One request with a token of a user.
fn http(
    lattice: &TestLattice,
    address: SocketAddr,
    user: &str,
    (method, target): (&str, &str),
) -> Result<(u16, String)> {
    http_as(lattice, address, &creds(user), (method, target))
}

/// The same with a file of credentials.
fn http_as(
    lattice: &TestLattice,
    address: SocketAddr,
    creds: &str,
    (method, target): (&str, &str),
) -> Result<(u16, String)> {
    let token = lattice.trellis(&["--nats-creds", creds, "user", "token", method, target])?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        token.trim()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no complete answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_does_what_its_role_may_and_no_more() -> Result<()> {
    let lattice = TestLattice::start(1).await?;
    let mut with_api = lattice.spawn_controller("with-api", &["--api", "127.0.0.1:0"]).await?;
    let line = with_api.wait_for_line("API: http://", PATIENCE).await?;
    let address: SocketAddr = line
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .context("no address")?
        .parse()?;
    for (user, role) in [("vera", "viewer"), ("dora", "deployer"), ("anna", "admin")] {
        lattice.trellis(&["user", "add", user, "--role", role])?;
    }

    // A deployer brings its component and runs it, without a right to any record.
    lattice.sign("http-hello", SITE)?;
    by(&lattice, "dora", &["app", "deploy", "app.yaml"])?;
    by(&lattice, "dora", &["scale", "actor", "site/web", "--max", "3", "--wait", "60"])?;
    let history = lattice.json(&["app", "history", "site"])?;
    assert_eq!(history[0]["by"], "dora", "{history}");
    // A viewer sees all that and changes none of it.
    let seen = by(&lattice, "vera", &["app", "status", "site"])?;
    assert!(seen.contains("site/web"), "{seen}");
    assert!(by(&lattice, "vera", &["get", "hosts"])?.contains("H1"));
    assert!(by(&lattice, "vera", &["why", "site/web"])?.contains("H1"));
    assert!(by(&lattice, "vera", &["get", "events"])?.contains("app-change"));
    for args in [
        &["scale", "actor", "site/web", "--max", "1"][..],
        &["app", "delete", "site"],
        &["stop", "host", "H1"],
    ] {
        let said = refusal(&lattice, "vera", args);
        assert!(said.contains("E_DENIED"), "{args:?}: {said}");
    }
    let said = refusal(&lattice, "dora", &["stop", "host", "H1"]);
    assert!(said.contains("E_DENIED"), "{said}");
    // What is not asked of a controller, the server itself refuses.
    let said = refusal(&lattice, "vera", &["push", "http-hello.wasm"]);
    assert!(said.contains("E_"), "{said}");
    let said = refusal(&lattice, "dora", &["secret", "list"]);
    assert!(said.contains("E_"), "{said}");

    // The same over HTTP, by tokens for single requests.
    let (status, body) = http(&lattice, address, "vera", ("GET", "/v1/apps/site/status"))?;
    assert!(status == 200 && body.contains("\"site/web\""), "{status} {body}");
    let (status, body) = http(&lattice, address, "vera", ("POST", "/v1/apps/site/undeploy"))?;
    assert!(status == 403 && body.contains("E_DENIED"), "{status} {body}");
    let (status, body) = http(&lattice, address, "dora", ("POST", "/v1/apps/site/undeploy?expect=1"))?;
    assert!(status == 409 && body.contains("E_CONFLICT"), "{status} {body}");
    let (status, body) = http(&lattice, address, "dora", ("POST", "/v1/apps/site/undeploy"))?;
    assert!(status == 200 && body.contains("\"changed\":true"), "{status} {body}");
    assert_eq!(http(&lattice, address, "anna", ("GET", "/v1/users"))?.0, 200);
    eventually(PATIENCE, "the refusals are told", || async {
        let events = lattice.json(&["get", "events", "--kind", "admin.refused"])?;
        let of = |user: &str| {
            events.as_array().is_some_and(|all| all.iter().any(|event| event["data"]["user"] == user))
        };
        ensure!(of("vera") && of("dora"), "{events}");
        Ok(())
    })
    .await?;

    // Whoever is taken out is nobody at once, whichever way it comes: a copy of its credentials too.
    let stolen = "stolen.creds";
    std::fs::copy(lattice.path().join(creds("dora")), lattice.path().join(stolen))?;
    let text = std::fs::read_to_string(lattice.path().join(stolen))?;
    let as_dora = || NatsOptions {
        auth: NatsAuth::Creds(text.clone()),
        inbox_prefix: Some("_INBOX_dora".to_owned()),
        ..NatsOptions::new(lattice.nats.url())
    };
    let connected = connect(as_dora()).await?;
    let mut status = connected.lattice().bus.status();
    assert_eq!(*status.borrow_and_update(), BusStatus::Connected);
    lattice.trellis(&["user", "remove", "dora"])?;
    tokio::time::timeout(PATIENCE, status.wait_for(|now| *now != BusStatus::Connected)).await??;
    ensure!(!lattice.path().join(creds("dora")).exists(), "its credentials are gone from the directory");
    let said = lattice
        .trellis(&["--nats-creds", stolen, "app", "list"])
        .map_or_else(|e| e.to_string(), |_| String::new());
    ensure!(said.contains("E_DENIED: NATS: authorization violation"), "{said}");
    let refused = connect(as_dora()).await.err().context("let in")?;
    ensure!(matches!(refused, ConnectError::Unauthorized { .. }), "{refused}");
    assert_eq!(http_as(&lattice, address, stolen, ("GET", "/v1/apps"))?.0, 401);
    // Nobody else is concerned, and nobody takes away its own access.
    assert!(by(&lattice, "vera", &["get", "hosts"])?.contains("H1"));
    let own = lattice.trellis(&["user", "remove", "admin"]).map_or_else(|e| e.to_string(), |_| String::new());
    ensure!(own.contains("not the user of a person"), "{own}");
    // A server that starts again reads it in the lattice's configuration.
    let auth = std::fs::read_to_string(lattice.path().join("trellis-lattice/nats/auth.conf"))?;
    let mut lattice = lattice;
    lattice.nats.set_operator_config(auth);
    lattice.nats.restart_on_same_port().await?;
    let options = NatsOptions { auth: NatsAuth::Creds(text.clone()), ..NatsOptions::new(lattice.nats.url()) };
    ensure!(matches!(connect(options).await.err(), Some(ConnectError::Unauthorized { .. })));
    assert!(by(&lattice, "anna", &["get", "hosts"])?.contains("H1"));
    // A user of that name can be made again, and is another.
    lattice.trellis(&["user", "add", "dora", "--role", "viewer"])?;
    by(&lattice, "dora", &["app", "list"])?;
    Ok(())
}

/// More than the server sends without being told that it was read: what a deployer stores is read back,
/// and what is larger than a window is read under flow control.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_stores_and_fetches_what_is_larger_than_a_window() -> Result<()> {
    let lattice = TestLattice::start(1).await?;
    lattice.trellis(&["user", "add", "dora", "--role", "deployer"])?;
    lattice.sign("http-hello", SITE)?;
    // A custom section in front of the claims makes any component as large as one likes.
    let file = lattice.path().join("http-hello.wasm");
    let mut large = std::fs::read(fixtures::guest("http-hello")?)?;
    let padding: Vec<u8> =
        (0..LARGE).map(|byte: u32| byte.to_le_bytes()[0] ^ byte.to_le_bytes()[1]).collect();
    let mut section = vec![4];
    section.extend(b"fill");
    section.extend(padding);
    large.push(0);
    large.extend(leb128(section.len()));
    large.extend(section);
    std::fs::write(&file, &large)?;
    let sign = ["claim", "sign", "http-hello.wasm", "--name", "http-hello", "--rev", "2"];
    let keys =
        ["--subject", "trellis-lattice/keys/http-hello.nk", "--issuer", "trellis-lattice/keys/issuer.nk"];
    lattice.trellis(&[&sign[..], &keys].concat())?;
    by(&lattice, "dora", &["app", "deploy", "app.yaml", "--wait-for", "120"])?;
    assert_eq!(lattice.http(1, "GET", "/", "")?.0, 200);
    // The same once more: what is stored is found and read.
    by(&lattice, "dora", &["push", "http-hello.wasm"])?;
    Ok(())
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}
