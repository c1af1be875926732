//! People of three roles, over NATS and over HTTP, on a real server that holds each to its own subjects.

use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tests_harness::eventually;
use tests_lattice::{PATIENCE, SITE, TestLattice};

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
    let token = by(lattice, user, &["user", "token", method, target])?;
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

    // Whoever is taken out of the list is nobody at once, whichever way it comes.
    lattice.trellis(&["user", "remove", "dora"])?;
    let said = refusal(&lattice, "dora", &["app", "list"]);
    assert!(said.contains("E_UNAUTHENTICATED"), "{said}");
    assert_eq!(http(&lattice, address, "dora", ("GET", "/v1/apps"))?.0, 401);
    Ok(())
}
