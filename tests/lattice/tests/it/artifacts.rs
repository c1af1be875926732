//! What the lattice's store keeps, and what of it may go.

use super::COUNTER;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests_harness::eventually;
use tests_lattice::{PATIENCE, SITE, TestLattice};

/// Of each thing in this list: what kind it is, and who needs it.
fn kinds(list: &Value) -> Result<Vec<(String, Vec<String>)>> {
    let all = list.as_array().context("no list")?;
    let mut kinds = Vec::new();
    for one in all {
        let kind = one["kind"].as_str().context("no kind")?.to_owned();
        let who: Option<Vec<String>> = one["neededBy"]
            .as_array()
            .context("nobody")?
            .iter()
            .map(|who| who.as_str().map(str::to_owned))
            .collect();
        kinds.push((kind, who.context("not names")?));
    }
    Ok(kinds)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|one| one["artifact"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_removes_what_nobody_needs_and_nothing_else() -> Result<()> {
    let lattice = TestLattice::start(1).await?;
    lattice.version("http-hello", 1, SITE)?;
    eventually(PATIENCE, "the first version runs", || async {
        ensure!(lattice.http(1, "GET", "/", "")?.0 == 200);
        Ok(())
    })
    .await?;
    lattice.version("http-hello", 2, SITE)?;
    let target = ["--target", "aarch64"];
    lattice.trellis(&[&["compile", "version-1.wasm"], &target[..]].concat())?;
    // Pushed by itself, and compiled; deployed by nobody.
    lattice.sign("kv-counter", COUNTER)?;
    lattice.trellis(&["push", "kv-counter.wasm"])?;
    lattice.trellis(&[&["compile", "kv-counter.wasm"], &target[..]].concat())?;

    let list = lattice.json(&["artifact", "list"])?;
    let have = kinds(&list)?;
    ensure!(have.len() == 5 && have.iter().filter(|(kind, _)| kind == "code").count() == 2, "{list}");
    let needed: Vec<_> = have.iter().filter(|(_, who)| !who.is_empty()).collect();
    ensure!(
        needed.len() == 2 && needed.iter().any(|(_, who)| who.contains(&"site/web".to_owned())),
        "{list}"
    );
    ensure!(needed.iter().any(|(_, who)| who.contains(&"site version 1".to_owned())), "{list}");

    // All of it is young; and it is for administrators.
    ensure!(names(&lattice.json(&["artifact", "prune"])?).is_empty());
    lattice.trellis(&["user", "add", "dora", "--role", "deployer"])?;
    let as_dora = ["--nats-creds", "trellis-lattice/users/dora.creds", "artifact"];
    for command in ["prune", "list"] {
        let refused =
            lattice.trellis(&[&as_dora[..], &[command]].concat()).map(drop).unwrap_err().to_string();
        ensure!(refused.contains("E_DENIED"), "{refused}");
    }

    let now = ["artifact", "prune", "--older-than-h", "0"];
    let said = lattice.json(&[&now[..], &["--dry-run"]].concat())?;
    ensure!(names(&said).len() == 2, "the component that nobody deployed, and its code: {said}");
    ensure!(names(&lattice.json(&["artifact", "list"])?).len() == 5);
    assert_eq!(lattice.json(&now)?, said);
    let list = lattice.json(&["artifact", "list"])?;
    ensure!(
        names(&list).len() == 3 && !names(&list).iter().any(|left| names(&said).contains(left)),
        "{list}"
    );
    ensure!(names(&lattice.json(&now)?).is_empty());

    // What was kept is whole; what was not is brought back by deploying it.
    let version_1 = list.as_array().into_iter().flatten().find(|one| one["neededBy"][0] == "site version 1");
    let digest = version_1.context("no version 1")?["artifact"].as_str().context("no digest")?;
    lattice.trellis(&["pull", digest, "--to", "back.wasm"])?;
    lattice.trellis(&["app", "delete", "site"])?;
    eventually(PATIENCE, "what the deleted application needed can go", || async {
        lattice.json(&now)?;
        let list = lattice.json(&["artifact", "list"])?;
        ensure!(names(&list).is_empty(), "{list}");
        Ok(())
    })
    .await?;
    lattice.deploy("kv-counter", COUNTER)?;
    let list = lattice.json(&["artifact", "list"])?;
    let have = kinds(&list)?;
    ensure!(have.len() == 1 && have[0].1.contains(&"shop/counter".to_owned()), "{list}");
    assert_eq!(lattice.http(1, "GET", "/a", "")?.0, 200);
    let events = lattice.json(&["get", "events", "--kind", "admin.artifact-prune"])?;
    ensure!(events.as_array().is_some_and(|all| all.len() >= 2), "{events}");
    Ok(())
}
