//! An ARM gateway that compiles nothing, in a lattice with a host of another kind: the gateway's own program, run by an
//! emulator, with code that was compiled for it here. `cargo xtask test --full` builds the program first.

#![allow(clippy::indexing_slicing, reason = "a test that cannot go on should stop where it is")]

use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tests_harness::process::LogMark;
use tests_harness::{Process, ProcessSpec, eventually, tools, workspace};
use tests_lattice::TestLattice;

/// An emulated host takes ten times as long for everything.
const PATIENCE: Duration = Duration::from_secs(120);

const SHOP: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: shop }
spec:
  actors:
    - name: counter
      artifact: COMPONENT
      placement: { hosts: [GATEWAY] }
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: / } }
        - { to: store, interface: "wasi:keyvalue" }
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
    - { name: store, kind: keyvalue-embedded }
"#;

const BANK: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: bank }
spec:
  actors:
    - name: account
      artifact: account.wasm
      replicas: 2
      persistent: { durability: lattice, turnMs: 5000 }
"#;

/// Host `H2` of the lattice, on ARM.
async fn gateway(lattice: &TestLattice) -> Result<Process> {
    let program = workspace::root().join("target/aarch64-unknown-linux-gnu/debug/trellis");
    ensure!(program.is_file(), "{}: not built; run `cargo xtask test --full`", program.display());
    let log = lattice.path().join("H2.log");
    let mark = LogMark::end_of(&log);
    let mut process = ProcessSpec::new("H2", tools::ensure_aarch64()?, log)
        .args(["-L", "/usr/aarch64-linux-gnu"])
        .arg(program)
        .args(["host", "--host-id", "H2", "--heartbeat-ms", "1000", "--listen", "127.0.0.2"])
        // The emulator's own memory counts as the host's.
        .args(["--memory-mib", "4096"])
        .env("TRELLIS_NATS_URL", lattice.url())
        .current_dir(lattice.path())
        .spawn()?;
    process.wait_for_line_since(mark, "is up", PATIENCE).await?;
    Ok(process)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arm_gateway_serves_what_was_compiled_for_it_and_folds_events_as_any_other_host() -> Result<()> {
    let mut lattice = TestLattice::prepare(2).await?;
    let host = lattice.spawn_host(1).await?;
    let arm = gateway(&lattice).await?;
    lattice.hosts.extend([host, arm]);
    eventually(PATIENCE, "the gateway says what it needs", || async {
        let hosts = lattice.json(&["get", "hosts"])?;
        let gateway = hosts.as_array().context("no hosts")?.iter().find(|one| one["host"] == "H2");
        ensure!(gateway.is_some_and(|one| one["arch"] == "aarch64" && one["codeFor"].is_string()), "{hosts}");
        Ok(())
    })
    .await?;
    lattice.sign("kv-counter", &SHOP.replace("GATEWAY", "H2"))?;
    let said = lattice.trellis(&["app", "deploy", "app.yaml", "--wait-for", "120"])?;
    ensure!(said.contains("compiled shop/counter for aarch64"), "{said}");
    for count in 1..=3 {
        let (status, body) = lattice.http(2, "GET", "/a", "")?;
        ensure!(status == 200 && body.contains(&format!("\"count\":{count}")), "{status} {body}");
    }
    // Persistent actors that go from one kind of processor to the other and back: the same history, the same state.
    lattice.write_accounts(BANK)?;
    lattice.trellis(&["app", "deploy", "app.yaml", "--wait-for", "120"])?;
    let add = |amount: &str| lattice.trellis(&["call", "account/a-1", "add", "--data", amount]);
    eventually(PATIENCE, "its shard has an owner", || async { add("5").map(drop) }).await?;
    let mut balance: u64 = lattice.trellis(&["query", "account/a-1", "balance"])?.trim().parse()?;
    for host in ["H2", "H1", "H2"] {
        let before = lattice.trellis(&["actor", "verify", "account/a-1"])?;
        eventually(PATIENCE, "it has moved", || async {
            lattice.trellis(&["migrate", "account/a-1", "--to", host, "--timeout", "60000"]).map(drop)
        })
        .await?;
        let after = lattice.trellis(&["actor", "verify", "account/a-1"])?;
        ensure!(before == after, "the same events, folded on another processor: {before} {after}");
        add("7")?;
        balance += 7;
        let found = lattice.trellis(&["query", "account/a-1", "balance"])?;
        ensure!(found.trim() == balance.to_string(), "on {host}: {found}, not {balance}");
    }
    Ok(())
}
