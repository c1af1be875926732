//! The journal of a device on real processes: a host that is killed while it forwards sends each record once; its
//! actors are read without it; and its journal is built anew from what it had forwarded.

use super::persistent::{bank_of, call, id_at};
use anyhow::{Context, Result, ensure};
use host_actors::forward::copy;
use lattice_protocol::subject::Subjects;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tests_harness::eventually;
use tests_lattice::{PATIENCE, TestLattice};

const BANK: &str = r#"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: bank }
spec:
  actors:
    - name: account
      artifact: account.wasm
      persistent: { durability: device }
"#;

/// Adds 1 under the n-th id, again until it is answered.
async fn add(lattice: &TestLattice, n: u64) -> Result<()> {
    eventually(PATIENCE, "an answer", || async {
        call(lattice, &format!("account/a-{}", n % 3), "add", "1", &id_at(900, n)).map(drop)
    })
    .await
}

/// What a command says that must fail.
fn refused(lattice: &TestLattice, args: &[&str]) -> Result<String> {
    match lattice.trellis(args) {
        Ok(said) => anyhow::bail!("{args:?} was done: {said}"),
        Err(error) => Ok(error.to_string()),
    }
}

fn forwarding(lattice: &TestLattice) -> Result<Value> {
    let all = lattice.json(&["actor", "forwarded"])?;
    let mine = all.as_array().and_then(|all| all.iter().find(|one| one["host"] == "H1"));
    Ok(mine.context("nothing of H1")?["forwarding"].clone())
}

/// Waits until the host says that everything has arrived.
async fn all_has_arrived(lattice: &TestLattice) -> Result<()> {
    eventually(PATIENCE, "everything has arrived", || async {
        let now = forwarding(lattice)?;
        ensure!(now["state"] == "current" && now["records"] == 0 && now["through"] != 0, "{now}");
        Ok(())
    })
    .await
}

/// Commits by actor, in the order in which they arrived; in how many lives.
async fn commits(lattice: &TestLattice) -> Result<(BTreeMap<String, Vec<u64>>, usize)> {
    let nats = lattice.connect("admin").await?;
    let subjects = Subjects::new("test".parse()?);
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let read = copy::read(&*nats.lattice().lanes, &subjects, &"H1".parse()?, &mut |_, sealed| {
        for commit in sealed.record().commits() {
            found.entry(commit.key.to_string()).or_default().push(commit.seq.0);
        }
    })
    .await?;
    nats.close().await;
    ensure!(read.lives.iter().all(|life| life.gaps.is_empty() && life.repeated == 0), "{:?}", read.lives);
    Ok((found, read.lives.len()))
}

fn segments(lattice: &TestLattice) -> Result<Vec<PathBuf>> {
    let journal = lattice.path().join("trellis-lattice/data/H1/journal");
    let files = std::fs::read_dir(journal)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files: Vec<PathBuf> = files.collect::<std::io::Result<_>>()?;
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("segment-")));
    files.sort();
    Ok(files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_killed_while_it_forwards_is_read_without_it_and_gets_its_journal_back() -> Result<()> {
    let mut lattice = bank_of(1, BANK).await?;
    for n in 0..24 {
        add(&lattice, n).await?;
        if n % 8 == 7 {
            // In the middle of whatever it sends.
            lattice.hosts[0].kill()?;
            lattice.hosts[0] = lattice.spawn_host(1).await?;
        }
    }
    // The server dies, too.
    lattice.nats.kill()?;
    lattice.nats.restart_on_same_port().await?;
    for n in 24..30 {
        add(&lattice, n).await?;
    }
    all_has_arrived(&lattice).await?;
    let (found, lives) = commits(&lattice).await?;
    let each: Vec<u64> = (1..=10).collect();
    let expected: BTreeMap<String, Vec<u64>> =
        (0..3).map(|n| (format!("account/a-{n}"), each.clone())).collect();
    assert_eq!((found, lives), (expected, 1));
    let hosts = lattice.json(&["get", "hosts"])?;
    assert_eq!(hosts[0]["forwarding"]["dropped"], 0, "{hosts}");
    let live = lattice.json(&["actor", "journal", "account/a-1"])?;
    let before = lattice.json(&["actor", "history", "account/a-1", "--at", "4"])?;
    ensure!(live[0].get("copy").is_none() && before.get("copy").is_none());

    lattice.hosts[0].kill()?;
    let away = lattice.json(&["actor", "journal", "account/a-1"])?;
    let copied = away.as_array().context("commits")?;
    assert_eq!(copied.len(), 10);
    for (one, other) in copied.iter().zip(live.as_array().context("commits")?) {
        let mut one = one.clone();
        let label = one.as_object_mut().and_then(|fields| fields.remove("copy")).context("its label")?;
        ensure!(
            label["host"] == "H1" && label["missing"] == 0 && label["record"].as_u64() > Some(10),
            "{label}"
        );
        assert_eq!(&one, other);
    }
    let mut folded = lattice.json(&["actor", "history", "account/a-1", "--at", "4", "--copy"])?;
    folded.as_object_mut().context("a state")?.remove("copy");
    assert_eq!(folded, before);
    let verified = lattice.json(&["actor", "verify", "account/a-1", "--host", "H1"])?;
    assert_eq!(
        (&verified["commits"], &verified["missingCommits"]),
        (&json!([1, 10]), &json!(0)),
        "{verified}"
    );
    ensure!(lattice.trellis(&["actor", "verify", "account/a-1"])?.contains("commits 1 to 10"));
    let nobody = refused(&lattice, &["actor", "journal", "account/nobody"])?;
    ensure!(nobody.contains("no host runs actors of kind account"), "{nobody}");
    let other = refused(&lattice, &["actor", "journal", "account/a-1", "--host", "H9"])?;
    ensure!(other.contains("E_NOT_FOUND") && other.contains("H9"), "{other}");

    rebuild(&mut lattice).await
}

/// A bit of its journal turns over; and it gets it back.
async fn rebuild(lattice: &mut TestLattice) -> Result<()> {
    let command = ["host", "--host-id", "H1", "--rebuild-journal"];
    let healthy = refused(lattice, &command)?;
    ensure!(healthy.contains("E_CONFLICT") && healthy.contains("healthy"), "{healthy}");
    let segment = segments(lattice)?.into_iter().next().context("a segment")?;
    let mut bytes = std::fs::read(&segment)?;
    bytes[700] ^= 1;
    std::fs::write(&segment, bytes)?;
    lattice.hosts[0] = lattice.spawn_host(1).await?;
    eventually(PATIENCE, "it is refused", || async {
        let said = refused(lattice, &["query", "account/a-1", "balance"])?;
        ensure!(said.contains("E_DAMAGED"), "{said}");
        Ok(())
    })
    .await?;
    let running = refused(lattice, &command)?;
    ensure!(running.contains("data directory"), "{running}");
    lattice.hosts[0].kill()?;
    let said = lattice.json(&command)?;
    ensure!(said["lostAtLeast"] == 0 && said["first"] == 1, "{said}");
    lattice.hosts[0] = lattice.spawn_host(1).await?;
    for n in 0..33 {
        add(lattice, n).await?;
    }
    assert_eq!(lattice.trellis(&["query", "account/a-1", "balance"])?.trim(), "11");
    all_has_arrived(lattice).await?;
    let (found, lives) = commits(lattice).await?;
    ensure!(lives == 1 && found.values().all(|seqs| *seqs == (1..=11).collect::<Vec<u64>>()), "{found:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_actor_is_erased_and_a_host_whose_disk_is_lost_comes_back_from_its_checkpoint() -> Result<()>
{
    let mut lattice = bank_of(1, BANK).await?;
    for n in 0..24 {
        add(&lattice, n).await?;
    }
    all_has_arrived(&lattice).await?;
    let erase = ["actor", "erase", "account/a-1", "--yes"];
    let alive = refused(&lattice, &erase)?;
    ensure!(alive.contains("E_CONFLICT") && alive.contains("not deleted"), "{alive}");
    lattice.trellis(&["actor", "delete", "account/a-1", "--yes"])?;
    // The checkpoint that stands for what goes is made soon; until then it is refused.
    eventually(PATIENCE, "it is erased", || async {
        let erased = lattice.json(&erase)?;
        ensure!(erased[0]["host"] == "H1" && erased[0]["messages"].as_u64() > Some(0), "{erased}");
        Ok(())
    })
    .await?;
    assert_eq!(lattice.json(&erase)?[0]["messages"], 0, "there is nothing more");
    let gone = refused(&lattice, &["actor", "journal", "account/a-1", "--copy"])?;
    ensure!(gone.contains("E_ACTOR_NOT_FOUND") && gone.contains("was deleted"), "{gone}");
    let verified = lattice.trellis(&["actor", "verify", "account/a-2", "--copy"])?;
    ensure!(verified.contains("erased with a deleted actor"), "{verified}");
    let state = ["actor", "state", "account/a-2"];
    let live = lattice.json(&state)?;
    let mut copied = lattice.json(&[&state[..], &["--copy"]].concat())?;
    ensure!(copied.as_object_mut().and_then(|fields| fields.remove("copy")).is_some(), "{copied}");
    assert_eq!(copied, live);
    for n in [24, 26] {
        add(&lattice, n).await?;
    }
    all_has_arrived(&lattice).await?;

    lattice.hosts[0].kill()?;
    std::fs::remove_dir_all(lattice.path().join("trellis-lattice/data/H1"))?;
    let said = lattice.json(&["host", "--host-id", "H1", "--rebuild-journal"])?;
    ensure!(said["checkpoint"] == "lattice" && said["lostAtLeast"] == 0, "{said}");
    lattice.hosts[0] = lattice.spawn_host(1).await?;
    // Each under its id: what was carried out is not carried out again.
    for n in (0..30).filter(|n| n % 3 != 1) {
        add(&lattice, n).await?;
    }
    for actor in ["account/a-0", "account/a-2"] {
        assert_eq!(lattice.trellis(&["query", actor, "balance"])?.trim(), "10");
    }
    let gone = refused(&lattice, &["query", "account/a-1", "balance"])?;
    ensure!(gone.contains("was deleted"), "{gone}");
    all_has_arrived(&lattice).await
}
