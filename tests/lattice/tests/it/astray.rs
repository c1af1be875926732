//! A host that runs another spec than the store has under the same generation: nobody's content is
//! wrong, so only what the host says of itself can bring them together.

use anyhow::{Context, Result, ensure};
use keys::{KeyPair, Signed, sign_document};
use lattice_protocol::spec::HOST_SPEC_KIND;
use lattice_protocol::subject::Subjects;
use lattice_protocol::{Generation, HostSpec};
use tests_harness::eventually;
use tests_lattice::{PATIENCE, SITE, TestLattice};

fn runs(lattice: &TestLattice) -> Result<(Generation, u64)> {
    let inventory = lattice.json(&["get", "inventory", "H1"])?;
    let beat = &inventory[0]["heartbeat"];
    let generation = serde_json::from_value(beat["generation"].clone())?;
    Ok((generation, beat["actors"][0]["replicas"].as_u64().context("no replicas")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_another_spec_of_the_stores_generation_is_told_a_newer_one() -> Result<()> {
    let mut lattice = TestLattice::start(1).await?;
    lattice.deploy("http-hello", SITE)?;
    lattice.controller.kill()?;
    let dir = lattice.path().join("trellis-lattice");
    let client = lattice.connect("admin").await?;
    let specs = client.lattice().kv.assume(&Subjects::new("test".parse()?).spec_bucket())?;
    let record = specs.get_latest("H1").await?.context("it was told something")?;
    let signed: Signed = serde_json::from_slice(&record.value)?;
    let told: HostSpec = serde_json::from_slice(&signed.payload)?;
    let signer = KeyPair::from_seed(std::fs::read_to_string(dir.join("keys/controller.nk"))?.trim())?;
    let tell = async |spec: &HostSpec| -> Result<()> {
        let signed = sign_document(HOST_SPEC_KIND, serde_json::to_vec(spec)?, &signer)?;
        specs.put("H1", serde_json::to_vec(&signed)?.into()).await?;
        Ok(())
    };

    // Two controllers of a store that went back: each signs the next generation, the host has one, the
    // store the other, and that one is what follows from the decisions.
    let next = Generation { n: told.generation.n + 1, ..told.generation };
    let right = HostSpec { generation: next, ..told };
    let mut wrong = right.clone();
    wrong.actors[0].replicas = 5;
    tell(&wrong).await?;
    eventually(PATIENCE, "the host obeys", || async {
        ensure!(runs(&lattice)? == (next, 5), "{:?}", runs(&lattice)?);
        Ok(())
    })
    .await?;
    tell(&right).await?;
    lattice.hosts[0].wait_for_line("two host specs of one generation", PATIENCE).await?;
    assert_eq!(runs(&lattice)?, (next, 5), "it keeps what it had first");

    lattice.controller = lattice.spawn_controller("after", &[]).await?;
    eventually(PATIENCE, "the host is told a newer one", || async {
        let (generation, replicas) = runs(&lattice)?;
        ensure!(generation > next && replicas == 2, "{generation} {replicas}");
        Ok(())
    })
    .await?;
    client.close().await;
    Ok(())
}
