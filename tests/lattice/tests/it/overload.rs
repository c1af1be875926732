//! More to compute than the processors can: what is too much is refused and told so, the rest is answered.

use anyhow::{Context, Result, ensure};
use std::net::{Ipv4Addr, SocketAddr};
use tests_harness::eventually;
use tests_lattice::{PATIENCE, TestLattice};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const BUSY: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: busy }
spec:
  actors:
    - name: web
      artifact: COMPONENT
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: / } }
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
"#;

/// Several ticks of an engine, on any machine: once a call computes, others are seen to wait.
const STEPS: u64 = 50_000_000;
/// Requests at once for each processor, of which two may wait. While one computes no more than a few others can
/// begin, so that most come to a full line, whenever they come.
const AT_ONCE: usize = 64;
const WAITING: &str = "2";

/// What the guest says after so many steps.
fn result(steps: u64) -> String {
    let step = |state: u64| state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    format!("{}\n", (0..steps).fold(1, |state, _| step(state)))
}

/// Head and body of one answer.
async fn ask(address: SocketAddr, steps: u64) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /?steps={steps} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no complete answer")?;
    Ok((head.to_ascii_lowercase(), body.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_processors_cannot_do_is_refused_and_the_rest_is_answered_right() -> Result<()> {
    let mut lattice = TestLattice::prepare(1).await?;
    let limits = ["--max-waiting", WAITING, "--max-wait-ms", "600000"];
    let host = lattice.spawn_host_by(1, &lattice.url(), &limits).await?;
    lattice.hosts.push(host);
    lattice.deploy("fixture-busy", BUSY)?;
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 1), lattice.port()));
    eventually(PATIENCE, "it answers", || async {
        let (head, body) = ask(address, 1).await?;
        ensure!(head.contains(" 200 ") && body == result(1), "{head} {body}");
        Ok(())
    })
    .await?;

    let right = result(STEPS);
    let mut asking = JoinSet::new();
    for _ in 0..AT_ONCE * std::thread::available_parallelism()?.get() {
        asking.spawn(ask(address, STEPS));
    }
    let (mut served, mut refused) = (0, 0);
    while let Some(answer) = asking.join_next().await {
        let (head, body) = answer??;
        if head.contains(" 200 ") {
            ensure!(body == right, "{body}");
            served += 1;
        } else {
            ensure!(head.contains(" 503 ") && head.contains("\r\nretry-after: 1\r\n"), "{head}");
            ensure!(body == "E_OVERLOADED\n", "{body}");
            refused += 1;
        }
    }
    ensure!(served > 0 && refused > 0, "{served} served, {refused} refused");
    // What was refused has left nothing behind: there is room again.
    let (head, body) = ask(address, 1).await?;
    ensure!(head.contains(" 200 ") && body == result(1), "{head} {body}");
    Ok(())
}
