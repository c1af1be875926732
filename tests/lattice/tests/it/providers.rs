//! Providers in processes of their own: a child of the host, and one that somebody runs by hand.

use anyhow::{Context, Result, ensure};
use std::fs;
use tests_harness::{ProcessSpec, RedisServer, eventually, fixtures};
use tests_lattice::{PATIENCE, TestLattice};

const COUNTER: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: shop }
spec:
  actors:
    - name: counter
      artifact: COMPONENT
      replicas: 1
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: / } }
        - { to: store, interface: "wasi:keyvalue", retryDelayMs: 50 }
  providers:
    - { name: http, kind: http-server, run: process, config: { port: "PORT" } }
    - { name: store, kind: keyvalue-redis, run: WAY, config: { CONFIG } }
"#;

/// The processes that this one has started, each with its command line.
fn children(parent: u32) -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let parent_of: u32 = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
        let command = fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?.replace('\0', " ");
        (parent_of == parent).then_some((id, command))
    })
    .collect()
}

fn is_alive(id: u32) -> bool {
    // A zombie has ended.
    fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

fn kill(id: u32) -> Result<()> {
    let status = std::process::Command::new("kill").args(["-9", &id.to_string()]).status()?;
    ensure!(status.success(), "kill {id}");
    Ok(())
}

fn count(lattice: &TestLattice) -> Result<u64> {
    let (status, body) = lattice.http(1, "GET", "/a", "")?;
    ensure!(status == 200, "{status} {body}");
    let body: serde_json::Value = serde_json::from_str(&body)?;
    body["count"].as_u64().context("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_provider_processes_come_back_and_die_with_their_host() -> Result<()> {
    let redis = RedisServer::start().await?;
    let mut lattice = TestLattice::start(1).await?;
    let config = format!("url: {:?}", redis.url());
    lattice.deploy("kv-counter", &COUNTER.replace("WAY", "process").replace("CONFIG", &config))?;
    let first = eventually(PATIENCE, "the actor answers through two processes", || async { count(&lattice) });
    assert_eq!(first.await?, 1);
    let host = lattice.hosts[0].id();
    let started = children(host);
    ensure!(started.len() == 2, "a server and a store: {started:?}");
    for (_, command) in &started {
        ensure!(command.contains("provider serve") && !command.contains("redis://"), "{command}");
    }
    let environment = |id: u32| fs::read_to_string(format!("/proc/{id}/environ"));
    ensure!(started.iter().all(|(id, _)| environment(*id).is_ok_and(|text| !text.contains("TRELLIS"))));

    for (id, _) in &started {
        kill(*id)?;
    }
    let next = eventually(PATIENCE, "both are started again", || async { count(&lattice) }).await?;
    assert!(next > 1, "the data is Redis's: {next}");
    let again = children(host);
    ensure!(again.len() == 2 && again.iter().all(|(id, _)| !started.iter().any(|(old, _)| old == id)));
    let inventory = lattice.trellis(&["get", "inventory"])?;
    ensure!(lattice.hosts[0].try_wait()?.is_none(), "the host is well: {inventory}");

    lattice.trellis(&["link", "del", "shop/counter", "wasi:keyvalue"])?;
    eventually(PATIENCE, "the unlinked actor is denied", || async {
        let (status, body) = lattice.http(1, "GET", "/a", "")?;
        ensure!(status >= 500 && body.contains("E_CAPABILITY_DENIED"), "{status} {body}");
        Ok(())
    })
    .await?;
    lattice.trellis(&["link", "put", "shop/counter", "shop/store", "wasi:keyvalue", "default"])?;
    eventually(PATIENCE, "the linked actor serves again", || async { count(&lattice) }).await?;

    lattice.nats.kill()?;
    lattice.nats.restart_on_same_port().await?;
    eventually(PATIENCE, "they come back to a server that was away", || async { count(&lattice) }).await?;

    let living = children(host);
    lattice.hosts[0].kill()?;
    eventually(PATIENCE, "they die with their host", || async {
        ensure!(living.iter().all(|(id, _)| !is_alive(*id)), "{living:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_somebody_runs_serves_whoever_is_linked_to_it() -> Result<()> {
    let redis = RedisServer::start().await?;
    let lattice = TestLattice::start(1).await?;
    let enrolled = lattice.json(&[
        "provider",
        "enroll",
        "shop/store",
        "--kind",
        "keyvalue-redis",
        "--to",
        "store.membership",
    ])?;
    let key = enrolled["key"].as_str().context("a key")?;
    let start = || {
        let config = format!("url={}", redis.url());
        ProcessSpec::new("store", fixtures::program("trellis")?, lattice.path().join("store.log"))
            .args(["provider", "run", "--membership", "store.membership", "--config", &config])
            .current_dir(lattice.path())
            .spawn()
    };
    let mut store = start()?;
    store.wait_for_line("is up", PATIENCE).await?;
    let config = format!("key: {key}");
    lattice.deploy("kv-counter", &COUNTER.replace("WAY", "remote").replace("CONFIG", &config))?;
    let first = eventually(PATIENCE, "the actor reaches it", || async { count(&lattice) }).await?;
    store.kill()?;
    let (status, body) = lattice.http(1, "GET", "/a", "")?;
    ensure!(status >= 500 && body.contains("E_"), "a typed error while nobody runs it: {status} {body}");
    let mut store = start()?;
    store.wait_for_line("is up", PATIENCE).await?;
    let next = eventually(PATIENCE, "it is back, with its data", || async { count(&lattice) }).await?;
    assert!(next > first);
    store.terminate()?;
    let ended = store.wait_for_exit(PATIENCE).await?;
    ensure!(ended.success(), "it leaves in order: {ended}");
    Ok(())
}
