//! The promises of the main job on real processes: one killed host is missed by nobody, a link is a
//! grant and nothing else is, a host restarts with the lattice gone.

#![allow(clippy::indexing_slicing, reason = "a test that cannot go on should stop where it is")]

#[path = "it/artifacts.rs"]
mod artifacts;
#[path = "it/astray.rs"]
mod astray;
#[path = "it/compile.rs"]
mod compile;
#[path = "it/controllers.rs"]
mod controllers;
#[path = "it/failover.rs"]
mod failover;
#[path = "it/foreign.rs"]
mod foreign;
#[path = "it/forwarding.rs"]
mod forwarding;
#[path = "it/kills.rs"]
mod kills;
#[path = "it/measured.rs"]
mod measured;
#[path = "it/overload.rs"]
mod overload;
#[path = "it/people.rs"]
mod people;
#[path = "it/persistent.rs"]
mod persistent;
#[path = "it/providers.rs"]
mod providers;
#[path = "it/recover.rs"]
mod recover;
#[path = "it/reference.rs"]
mod reference;
#[path = "it/rollouts.rs"]
mod rollouts;
#[path = "it/sites.rs"]
mod sites;
#[path = "it/standbys.rs"]
mod standbys;

use anyhow::{Result, ensure};
use tests_harness::eventually;
use tests_lattice::{PATIENCE, TestLattice};

const COUNTER: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: shop }
spec:
  actors:
    - name: counter
      artifact: COMPONENT
      replicas: 2
      links:
        - { to: http, interface: "wasi:http/incoming-handler", config: { path: / } }
        - { to: store, interface: "wasi:keyvalue" }
  providers:
    - { name: http, kind: http-server, config: { port: "PORT" } }
    - { name: store, kind: keyvalue-embedded }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_is_replaced_and_requests_to_the_other_go_on() -> Result<()> {
    let mut lattice = TestLattice::start(2).await?;
    lattice.deploy("kv-counter", COUNTER)?;
    for host in [1, 2] {
        assert_eq!(lattice.http(host, "GET", "/a", "")?.0, 200);
    }
    lattice.hosts[1].kill()?;
    for _ in 0..50 {
        assert_eq!(lattice.http(1, "GET", "/a", "")?.0, 200);
    }
    eventually(PATIENCE, "both replicas run on the host that is left", || async {
        let actors = lattice.json(&["get", "actors"])?;
        ensure!(actors[0]["hosts"]["H1"] == 2 && actors[0]["hosts"].get("H2").is_none(), "{actors}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn unlinking_takes_a_capability_from_the_running_actor_and_linking_gives_it_back() -> Result<()> {
    let lattice = TestLattice::start(1).await?;
    lattice.deploy("kv-counter", COUNTER)?;
    assert_eq!(lattice.http(1, "GET", "/a", "")?.0, 200);
    lattice.trellis(&["link", "del", "shop/counter", "wasi:keyvalue"])?;
    eventually(PATIENCE, "the unlinked actor is denied", || async {
        let (status, body) = lattice.http(1, "GET", "/a", "")?;
        ensure!(status >= 500 && body.contains("E_CAPABILITY_DENIED"), "{status} {body}");
        Ok(())
    })
    .await?;
    lattice.trellis(&["link", "put", "shop/counter", "shop/store", "wasi:keyvalue", "default"])?;
    eventually(PATIENCE, "the linked actor serves again", || async {
        let (status, body) = lattice.http(1, "GET", "/a", "")?;
        ensure!(status == 200, "{status} {body}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_restarts_with_nats_and_controller_gone_and_keeps_its_data() -> Result<()> {
    let mut lattice = TestLattice::start(1).await?;
    lattice.deploy("kv-counter", COUNTER)?;
    let (_, first) = lattice.http(1, "GET", "/a", "")?;
    lattice.controller.kill()?;
    lattice.nats.kill()?;
    lattice.hosts[0].kill()?;
    lattice.hosts[0] = lattice.spawn_host(1).await?;
    let second = eventually(PATIENCE, "the host serves from its disk", || async {
        let (status, body) = lattice.http(1, "GET", "/a", "")?;
        ensure!(status == 200, "{status} {body}");
        Ok(body)
    })
    .await?;
    assert!(first.contains("\"count\":1"), "{first}");
    assert!(second.contains("\"count\":2"), "the counter must go on from where it was: {second}");
    Ok(())
}
