//! What somebody does to the files and streams of persistent actors while their host is down: each on a
//! lattice of its own, whose one host is killed, and started again over what was changed.

use super::Played;
use crate::case::Case;
use crate::command::trellis;
use crate::judge::Outcome;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tests_harness::eventually;
use tests_lattice::{PATIENCE, TestLattice};

const BANK: &str = r"
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: bank }
spec:
  actors:
    - name: account
      artifact: account.wasm
      persistent: { durability: device, snapshots: { events: 4 } }
";

/// Commands that an actor had acknowledged before the damage.
const ADDED: usize = 10;

/// `with`: what is done.
pub async fn journal(case: &Case) -> Played {
    let (done, key) = case.with.split_once(" by ").unwrap_or((&case.with, ""));
    let mut lattice = bank(key).await?;
    for actor in ["account/a-1", "account/a-2"] {
        for _ in 0..ADDED {
            lattice.trellis(&["call", actor, "add", "--data", "5"])?;
        }
    }
    let data = lattice.path().join("trellis-lattice/data/H1");
    eventually(PATIENCE, "both have snapshots", || async {
        for actor in ["account/a-1", "account/a-2"] {
            newest(&data.join("snapshots"), actor)?;
        }
        Ok(())
    })
    .await?;
    lattice.hosts[0].kill()?;
    damage(done, &lattice, &data)?;
    let before = fs::read(lattice.hosts[0].log_path())?.len();
    let flags = if done == "another key" { flags(&lattice, "0e")? } else { flags_of(&lattice, key)? };
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let url = lattice.url();
    lattice.hosts[0] = lattice.spawn_host_by(1, &url, &flags).await?;
    let lattice = Arc::new(lattice);
    let asked = Arc::clone(&lattice);
    let mut outcome = settled(asked).await?;
    let log = fs::read(lattice.hosts[0].log_path())?;
    outcome.aside.push_str(&String::from_utf8_lossy(log.get(before..).unwrap_or_default()));
    Ok(vec![(String::new(), outcome)])
}

/// What the balance is said to be, once the host has the actor's code again.
async fn settled(lattice: Arc<TestLattice>) -> Result<Outcome> {
    eventually(PATIENCE, "the host has an answer", || {
        let lattice = Arc::clone(&lattice);
        async move {
            let ask = move || trellis(lattice.path(), "query account/a-1 balance", &[]);
            let outcome = tokio::task::spawn_blocking(ask).await??;
            let passes = ["E_OVERLOADED", "E_ACTOR_NOT_FOUND", "E_CONNECTION", "E_TIMEOUT", "no host runs"];
            ensure!(!passes.iter().any(|code| outcome.said.contains(code)), "{}", outcome.said);
            Ok(outcome)
        }
    })
    .await
}

/// A lattice of one host that runs accounts; it encrypts snapshots when there is a key.
async fn bank(key: &str) -> Result<TestLattice> {
    let mut lattice = TestLattice::prepare(1).await?;
    let flags = flags_of(&lattice, key)?;
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let host = lattice.spawn_host_by(1, &lattice.url(), &flags).await?;
    lattice.hosts.push(host);
    lattice.deploy_accounts(BANK)?;
    Ok(lattice)
}

fn flags_of(lattice: &TestLattice, key: &str) -> Result<Vec<String>> {
    if key.is_empty() { Ok(Vec::new()) } else { flags(lattice, key) }
}

/// A key file of this byte, repeated.
fn flags(lattice: &TestLattice, byte: &str) -> Result<Vec<String>> {
    use std::os::unix::fs::PermissionsExt;
    let path = lattice.path().join(format!("{byte}.key"));
    fs::write(&path, byte.repeat(32))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(vec!["--snapshot-key".to_owned(), path.display().to_string()])
}

fn damage(what: &str, lattice: &TestLattice, data: &Path) -> Result<()> {
    let segment = data.join("journal/segment-0000000000000001");
    let newest = |actor| newest(&data.join("snapshots"), actor);
    match what {
        "nothing" | "another key" => Ok(()),
        "a bit of the journal" => flip(&segment, 700),
        "the journal's last bytes" => {
            let mut bytes = fs::read(&segment)?;
            let end = bytes.iter().rposition(|byte| *byte != 0).context("an empty journal")?;
            bytes.get_mut(end.saturating_sub(3)..=end).context("a longer journal")?.fill(0);
            Ok(fs::write(&segment, bytes)?)
        }
        "a bit of the snapshot" => flip(&newest("account/a-1")?, 60),
        "a bit of every snapshot" => {
            files(&data.join("snapshots"))?.iter().try_for_each(|snapshot| flip(snapshot, 60))
        }
        "another actor's snapshot" => Ok(fs::copy(newest("account/a-2")?, newest("account/a-1")?).map(drop)?),
        "a snapshot of 2 GB" => {
            let file = fs::OpenOptions::new().write(true).open(newest("account/a-1")?)?;
            Ok(file.set_len(2 << 30)?)
        }
        other => bail!("{} knows no damage {other:?}", lattice.path().display()),
    }
}

fn flip(path: &Path, at: usize) -> Result<()> {
    let mut bytes = fs::read(path)?;
    *bytes.get_mut(at).with_context(|| format!("{} is shorter", path.display()))? ^= 1;
    Ok(fs::write(path, bytes)?)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

/// The newest snapshot of an actor, by the name that its store gives it.
fn newest(folder: &Path, actor: &str) -> Result<PathBuf> {
    let hex = blake3::hash(actor.as_bytes()).to_hex();
    let prefix = hex.get(2..32).context("a hash")?.to_owned();
    let mut of_actor = files(folder)?;
    // Not one that the host was killed over: it has another name until it is whole.
    let is_whole = |name: &str| name.starts_with(&prefix) && !name.ends_with(".tmp");
    of_actor.retain(|path| path.file_name().is_some_and(|name| is_whole(&name.to_string_lossy())));
    of_actor.sort();
    of_actor.pop().with_context(|| format!("no snapshot of {actor}"))
}
