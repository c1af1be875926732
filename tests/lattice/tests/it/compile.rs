//! Hosts that compile nothing: they run what a compiler that they trust has left for them in the lattice.

use super::COUNTER;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use tests_harness::eventually;
use tests_lattice::{PATIENCE, TestLattice};

/// The same, once: there is one host for it.
fn once() -> String {
    COUNTER.replace("replicas: 2", "replicas: 1")
}

/// What a host says it needs code for.
fn code_for(lattice: &TestLattice, host: &str) -> Result<Option<String>> {
    let hosts = lattice.json(&["get", "hosts"])?;
    let hosts = hosts.as_array().context("no hosts")?;
    let found = hosts.iter().find(|one| one["host"] == host).context("no such host")?;
    Ok(found["codeFor"].as_str().map(str::to_owned))
}

/// Why the only actor does not run.
fn reason(lattice: &TestLattice) -> Result<String> {
    let actors: Value = lattice.json(&["get", "actors"])?;
    Ok(actors[0]["reason"].as_str().context("no reason")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_compiles_nothing_runs_what_deploying_leaves_for_it_even_offline() -> Result<()> {
    let mut lattice = TestLattice::prepare(2).await?;
    let url = lattice.url();
    let gateway = lattice.spawn_host_by(1, &url, &["--no-compiler"]).await?;
    let other = lattice.spawn_host(2).await?;
    lattice.hosts.extend([gateway, other]);
    eventually(PATIENCE, "both hosts are there", || async {
        let needs = code_for(&lattice, "H1")?.context("H1 needs nothing")?;
        ensure!(needs.starts_with(std::env::consts::ARCH) && code_for(&lattice, "H2")?.is_none(), "{needs}");
        Ok(())
    })
    .await?;
    let said = lattice.deploy("kv-counter", COUNTER)?;
    ensure!(said.contains("compiled shop/counter for"), "{said}");
    for host in [1, 2] {
        assert_eq!(lattice.http(host, "GET", "/a", "")?.0, 200);
    }
    // It is there: nothing is left to do.
    let again = lattice.json(&["compile"])?;
    ensure!(again[0]["made"] == false && again.as_array().is_some_and(|all| all.len() == 1), "{again}");
    // Whoever has lost everybody else has its code on its own disk.
    lattice.controller.kill()?;
    lattice.nats.kill()?;
    lattice.hosts[0].kill()?;
    lattice.hosts[0] = lattice.spawn_host_by(1, &url, &["--no-compiler"]).await?;
    eventually(PATIENCE, "the host serves from its disk", || async {
        let (status, body) = lattice.http(1, "GET", "/a", "")?;
        ensure!(status == 200, "{status} {body}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_without_code_says_so_and_runs_when_a_trusted_compiler_has_made_it() -> Result<()> {
    let mut lattice = TestLattice::prepare(1).await?;
    let host = lattice.spawn_host_by(1, &lattice.url(), &["--no-compiler"]).await?;
    lattice.hosts.push(host);
    // Who deploys has no compiler key.
    let keys = lattice.path().join("trellis-lattice/keys");
    fs::rename(keys.join("compiler.nk"), lattice.path().join("kept.nk"))?;
    lattice.sign("kv-counter", &once())?;
    lattice.trellis(&["app", "deploy", "app.yaml", "--no-wait"])?;
    eventually(PATIENCE, "the actor says what it lacks", || async {
        let reason = reason(&lattice)?;
        ensure!(reason.starts_with("E_NOT_COMPILED") && reason.contains("trellis compile"), "{reason}");
        Ok(())
    })
    .await?;
    let refused = lattice.trellis(&["compile"]).map(drop).unwrap_err().to_string();
    ensure!(refused.contains("no compiler key here"), "{refused}");
    // The key of somebody whose claims count, and whose code does not.
    let issuer = keys.join("issuer.nk").display().to_string();
    let made = lattice.json(&["compile", "--key", &issuer])?;
    ensure!(made[0]["made"] == true, "{made}");
    eventually(PATIENCE, "code of an issuer is refused", || async {
        let reason = reason(&lattice)?;
        ensure!(reason.starts_with("E_UNTRUSTED"), "{reason}");
        Ok(())
    })
    .await?;
    lattice.trellis(&["compile", "--key", "kept.nk", "--again"])?;
    eventually(PATIENCE, "the actor runs", || async {
        let (status, body) = lattice.http(1, "GET", "/a", "")?;
        ensure!(status == 200, "{status} {body}");
        Ok(())
    })
    .await?;
    // For gateways that have not come yet.
    let targets = ["--target", "aarch64", "--target", "aarch64-128m"];
    let made = lattice.json(&[&["compile", "kv-counter.wasm", "--key", "kept.nk"], &targets[..]].concat())?;
    let sizes: Vec<_> = made.as_array().context("no list")?.iter().map(|one| one["bytes"].as_u64()).collect();
    ensure!(sizes.len() == 2 && sizes.iter().all(|size| size.is_some_and(|size| size > 10_000)), "{made}");
    Ok(())
}
