//! Several controllers over one lattice, as processes: killed, frozen, thawed, while changes are made. Each
//! version is decided once, generations only grow, nothing moves that nobody asked to; and with all of
//! them dead, calls go on and commands still say what shall be.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lattice_io::nats::NatsLattice;
use lattice_io::{Kv, KvEvent, WatchKeys};
use lattice_protocol::subject::Subjects;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tests_harness::eventually;
use tests_lattice::{PATIENCE, SITE, TestLattice};
use tokio::task::JoinSet;

/// Everything that is written to two buckets, in order. They keep the newest record of a key only, so
/// it is read as it comes.
struct Written {
    _nats: Arc<NatsLattice>,
    _reading: JoinSet<()>,
    placements: Records,
    specs: Records,
}

/// Key and value.
type Records = Arc<Mutex<Vec<(String, Value)>>>;

impl Written {
    async fn watch(lattice: &TestLattice) -> Result<Self> {
        let nats = lattice.connect("admin").await?;
        let (kv, subjects) = (nats.lattice().kv, Subjects::new("test".parse()?));
        let mut reading = JoinSet::new();
        let mut read = |bucket: &str| -> Result<Records> {
            let records = Records::default();
            reading.spawn(keep(kv.assume(bucket)?, Arc::clone(&records)));
            Ok(records)
        };
        let (placements, specs) = (read(&subjects.placement_bucket())?, read(&subjects.spec_bucket())?);
        Ok(Self { _nats: nats, _reading: reading, placements, specs })
    }

    /// What was written since the last time, once the decision of this version is among it.
    async fn until(&self, version: u64) -> Result<[Vec<(String, Value)>; 2]> {
        eventually(PATIENCE, "the last decision to be read", || async {
            let last = lock(&self.placements).last().map(|(_, record)| record["desiredVersion"].clone());
            ensure!(last == Some(version.into()), "{last:?}");
            Ok(())
        })
        .await?;
        Ok([&self.placements, &self.specs].map(|records| std::mem::take(&mut *lock(records))))
    }
}

fn lock(records: &Records) -> MutexGuard<'_, Vec<(String, Value)>> {
    records.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn keep(bucket: Arc<dyn Kv>, records: Records) {
    let mut watch = bucket.watch(WatchKeys::All);
    while let Some(event) = watch.next().await {
        if let KvEvent::Put(entry) = event
            && let Ok(value) = serde_json::from_slice(&entry.value)
        {
            lock(&records).push((entry.key, value));
        }
    }
}

/// The decisions of a stretch of time: each version once, and each with the replicas that it says.
fn check_placements(placements: &[(String, Value)], versions: &BTreeMap<u64, u64>) -> Result<()> {
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    let mut last = 0;
    for (app, placement) in placements {
        ensure!(app == "site", "{app}");
        let version = placement["desiredVersion"].as_u64().context("no version")?;
        ensure!(version >= last, "decision of version {version} after one of {last}");
        last = version;
        *seen.entry(version).or_default() += 1;
        let hosts = placement["actors"]["site/web"].as_object().context("no actor")?;
        let replicas: u64 = hosts.values().filter_map(Value::as_u64).sum();
        ensure!(Some(&replicas) == versions.get(&version), "version {version}: {placement}");
    }
    for version in versions.keys() {
        ensure!(seen.get(version) == Some(&1), "version {version} was decided {:?} times", seen.get(version));
    }
    Ok(())
}

/// Each host's specs have generations that grow, one by one written by whoever was first.
fn check_specs(specs: &[(String, Value)], last: &mut BTreeMap<String, (u64, u64)>) -> Result<()> {
    for (host, signed) in specs {
        let payload = signed["payload"].as_str().context("no payload")?;
        let spec: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
        let number = |name: &str| spec["generation"][name].as_u64().unwrap_or_default();
        let generation = (number("incarnation"), number("n"));
        if let Some(before) = last.insert(host.clone(), generation) {
            ensure!(generation > before, "{host}: {generation:?} after {before:?}");
        }
    }
    Ok(())
}

/// Scales the site, waits until it is so on the hosts; gives the version.
async fn scale(lattice: &TestLattice, replicas: u64) -> Result<u64> {
    let said = lattice.json(&["scale", "actor", "site/web", "--max", &replicas.to_string()])?;
    let version = said["version"].as_u64().context("no version")?;
    eventually(PATIENCE, "the hosts run so many", || async {
        let actors = lattice.json(&["get", "actors"])?;
        let web = &actors[0];
        ensure!(web["running"] == replicas && web["wanted"] == replicas, "{actors}");
        Ok(())
    })
    .await?;
    Ok(version)
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_are_killed_and_frozen_and_each_version_is_decided_once() -> Result<()> {
    let mut lattice = TestLattice::start(2).await?;
    let mut second = lattice.spawn_controller("second", &[]).await?;
    let mut third = lattice.spawn_controller("third", &[]).await?;
    let written = Written::watch(&lattice).await?;
    lattice.deploy("http-hello", SITE)?;
    let first = lattice.json(&["app", "get", "site"])?["version"].as_u64().context("no version")?;
    let mut versions = BTreeMap::from([(first, 2)]);
    let mut generations = BTreeMap::new();

    // All three plan everything; one wins each time.
    for replicas in [4, 1, 3] {
        versions.insert(scale(&lattice, replicas).await?, replicas);
    }
    lattice.controller.kill()?;
    for replicas in [2, 5] {
        versions.insert(scale(&lattice, replicas).await?, replicas);
    }
    // A frozen one may be asked, and does not answer: another one is, and its own late answer is for a
    // version that is over.
    second.freeze()?;
    for replicas in [1, 4, 2] {
        versions.insert(scale(&lattice, replicas).await?, replicas);
    }
    second.thaw()?;
    for replicas in [3, 6] {
        versions.insert(scale(&lattice, replicas).await?, replicas);
    }
    let newest = versions.keys().copied().max().unwrap_or(first);
    let [placements, specs] = written.until(newest).await?;
    check_placements(&placements, &versions)?;
    check_specs(&specs, &mut generations)?;
    let history = lattice.json(&["app", "history", "site"])?;
    let made = history.as_array().context("no history")?.len();
    ensure!(made == versions.len(), "every change was made once: {history}");

    // All dead: calls go on, and what shall be can still be said.
    second.kill()?;
    third.kill()?;
    for _ in 0..20 {
        assert_eq!(lattice.http(1, "GET", "/", "")?.0, 200);
        assert_eq!(lattice.http(2, "GET", "/", "")?.0, 200);
    }
    lattice.trellis(&["scale", "actor", "site/web", "--max", "2"])?;
    let _fourth = lattice.spawn_controller("fourth", &[]).await?;
    eventually(PATIENCE, "a new controller does what was said", || async {
        let actors = lattice.json(&["get", "actors"])?;
        ensure!(actors[0]["running"] == 2 && actors[0]["wanted"] == 2, "{actors}");
        Ok(())
    })
    .await?;
    let made = lattice.json(&["app", "get", "site"])?["version"].as_u64().context("no version")?;
    let [placements, specs] = written.until(made).await?;
    ensure!(placements.len() == 1, "nothing else was written, though nobody asked: {placements:?}");
    check_specs(&specs, &mut generations)
}
