//! A lattice whose store was restored from an older copy: hosts refuse to go back, until its operator
//! begins the next life.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;
use tests_harness::eventually;
use tests_lattice::{PATIENCE, SITE, TestLattice};

const EXTRA: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: extra }
spec:
  actors:
    - { name: other, artifact: COMPONENT }
"#;

fn copy(from: &Path, to: &Path) -> Result<()> {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(done.success(), "cp -a: {done}");
    Ok(())
}

/// Incarnation of the spec in force, replicas of the site, and applications on the host.
fn runs(lattice: &TestLattice) -> Result<(u64, u64, Vec<String>)> {
    let inventory = lattice.json(&["get", "inventory", "H1"])?;
    let beat = &inventory[0]["heartbeat"];
    let actors = beat["actors"].as_array().context("no actors")?;
    let replicas = actors.iter().find(|actor| actor["id"] == "site/web");
    let replicas = replicas.and_then(|actor| actor["replicas"].as_u64()).unwrap_or(0);
    let apps = beat["apps"].as_object().context("no apps")?.keys().cloned().collect();
    Ok((beat["generation"]["incarnation"].as_u64().unwrap_or(0), replicas, apps))
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_obey_a_restored_lattice_only_after_its_operator_has_said_so() -> Result<()> {
    let mut lattice = TestLattice::start(1).await?;
    lattice.deploy("http-hello", SITE)?;
    let store = lattice.nats.dir().join("jetstream");
    let backup = lattice.path().join("backup");
    lattice.nats.kill()?;
    copy(&store, &backup)?;
    lattice.nats.restart_on_same_port().await?;

    // After the backup: more of one application, twice, and another one.
    lattice.trellis(&["scale", "actor", "site/web", "--max", "4", "--wait", "60"])?;
    lattice.trellis(&["scale", "actor", "site/web", "--max", "5", "--wait", "60"])?;
    lattice.deploy("http-hello", EXTRA)?;
    assert_eq!(runs(&lattice)?, (1, 5, vec!["extra".to_owned(), "site".to_owned()]));

    // The store is lost, and the older copy takes its place.
    lattice.nats.kill()?;
    std::fs::remove_dir_all(&store)?;
    copy(&backup, &store)?;
    lattice.nats.restart_on_same_port().await?;
    lattice.controller.kill()?;
    let mut controller = lattice.spawn_controller("after", &[]).await?;
    eventually(PATIENCE, "the records are the old ones", || async {
        let actors = lattice.json(&["get", "actors"])?;
        ensure!(actors.as_array().is_some_and(|all| all.len() == 1) && actors[0]["wanted"] == 2, "{actors}");
        Ok(())
    })
    .await?;
    // A change upon the old records would bear a revision that the host knows for something else: it is
    // refused, however often it is tried, and the host goes on with what it has seen.
    let scale = |count: &str| lattice.trellis(&["scale", "actor", "site/web", "--max", count]);
    eventually(PATIENCE, "the controller has seen that its store went back", || async {
        let said = scale("3").map_or_else(|error| error.to_string(), |said| format!("done: {said}"));
        ensure!(said.contains("E_FENCED: the lattice's store is older than what hosts have seen"), "{said}");
        ensure!(said.contains("trellis lattice recover"), "{said}");
        Ok(())
    })
    .await?;
    for count in ["4", "6", "7", "8"] {
        ensure!(scale(count).is_err(), "a change was taken");
    }
    let (life, replicas, _) = runs(&lattice)?;
    assert_eq!((life, replicas), (1, 5), "a host does not go back by itself");
    assert_eq!(lattice.http(1, "GET", "/", "")?.0, 200, "and it serves");

    let begun = lattice.json(&["lattice", "recover", "--reason", "disk lost"])?;
    assert_eq!(begun["incarnation"], 2);
    eventually(PATIENCE, "the host runs what the restored records say", || async {
        let wanted = lattice.json(&["get", "actors"])?[0]["wanted"].as_u64().context("no number")?;
        ensure!(wanted <= 3, "of what was refused nothing is left: {wanted}");
        ensure!(runs(&lattice)? == (2, wanted, vec!["site".to_owned()]), "{:?}", runs(&lattice)?);
        Ok(())
    })
    .await?;
    assert_eq!(lattice.http(1, "GET", "/", "")?.0, 200);
    controller.wait_for_line("begins a new life", PATIENCE).await?;

    // Whoever starts now begins in that life, and changes come into force again.
    controller.kill()?;
    let _next = lattice.spawn_controller("next", &[]).await?;
    lattice.trellis(&["scale", "actor", "site/web", "--max", "4", "--wait", "60"])?;
    assert_eq!(runs(&lattice)?.0, 2);
    let file = std::fs::read_to_string(lattice.path().join("trellis-lattice/lattice.json"))?;
    assert!(file.contains("\"incarnation\": 2"), "{file}");
    let again = lattice.json(&["lattice", "recover"])?;
    assert_eq!(again["incarnation"], 3);
    Ok(())
}
