//! What hosts measure reaches the planner: how far a region is, and how slow an actor answers.

use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tests_harness::{ChaosProxy, eventually};
use tests_lattice::{PATIENCE, TestLattice};

/// Wants to be near region eu, at most 60 ms away.
const NEAR: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: near }
spec:
  actors:
    - name: web
      artifact: COMPONENT
      placement: { preferredRegion: eu, maxLatencyMs: 60 }
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: / } }
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_on_latency_holds_by_what_hosts_have_measured() -> Result<()> {
    let mut lattice = TestLattice::start(2).await?;
    // The host of region eu lies behind a slow line: 50 ms each way.
    let line = ChaosProxy::start(lattice.nats.address()).await?;
    lattice.hosts[1].kill()?;
    let far = format!("nats://{}", line.address());
    lattice.hosts[1] = lattice.spawn_host_by(2, &far, &["--label", "region=eu"]).await?;
    line.set_delay(Duration::from_millis(50));
    eventually(PATIENCE, "the other host has measured how far eu is", || async {
        let inventory = lattice.json(&["get", "inventory", "H1"])?;
        let ms = inventory[0]["heartbeat"]["latencyMs"]["eu"].as_u64().context("not measured")?;
        ensure!(ms >= 100, "{ms} ms");
        Ok(())
    })
    .await?;
    lattice.deploy("http-hello", NEAR)?;
    eventually(PATIENCE, "the far host is refused by that", || async {
        let why = lattice.json(&["why", "near/web"])?;
        let hosts = why["hosts"].as_array().context("no hosts")?;
        let of = |name: &str| hosts.iter().find(|host| host["host"] == name).context("no such host");
        let (far, near) = (of("H1")?, of("H2")?);
        let said = far["why"].as_str().unwrap_or_default();
        ensure!(far["fit"] == false && said.contains("ms from the preferred region, at most 60"), "{why}");
        ensure!(near["replicas"] == 1, "{why}");
        Ok(())
    })
    .await?;
    // The actor's own answers are measured too.
    assert_eq!(lattice.http(2, "GET", "/", "")?.0, 200);
    eventually(PATIENCE, "the host says how slow the actor answers", || async {
        let inventory = lattice.json(&["get", "inventory", "H2"])?;
        let actors = inventory[0]["heartbeat"]["actors"].as_array().context("no actors")?;
        ensure!(
            actors.iter().any(|actor| actor["latencyMs"].as_u64().is_some_and(|ms| ms >= 1)),
            "{inventory}"
        );
        Ok(())
    })
    .await
}
