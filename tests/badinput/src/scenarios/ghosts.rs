//! Ghosts: host ids that are enrolled and that no machine has. What a host would say is said in
//! their name here, truly or not, on a real bus with the ghost's own rights.

use super::{Played, words};
use crate::case::Case;
use crate::command::trellis;
use crate::judge::Outcome;
use crate::world::{GHOST, Lab, SOON, World};
use anyhow::{Context, Result, bail, ensure};
use lattice_io::{Bus, BusMessage};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tests_harness::eventually;

/// Time between two heartbeats of a ghost: well under what counts as silence.
const BEAT: Duration = Duration::from_millis(200);

/// Ghosts so far: each scenario has one of its own, for a host that comes and goes is not believed.
static BORN: AtomicU64 = AtomicU64::new(1);

/// A manifest whose one actor must run on the ghost.
const PINNED: &str = "\
apiVersion: trellis.dev/v1
kind: Application
metadata: { name: haunted }
spec:
  actors:
    - { name: a, artifact: app.wasm, placement: { hosts: [ME] } }
";

/// A heartbeat of the ghost.
fn heartbeat(me: &str, seq: u64, used_mib: u32) -> Value {
    json!({
        "lattice": "test", "host": me, "bootId": "00000000000000b1", "seq": seq, "intervalMs": 200, "atUnixMs": 0,
        "version": "0.1.0", "arch": "x86_64", "labels": {}, "generation": { "incarnation": 0, "n": 0 },
        "apps": {}, "actors": [], "providers": [],
        "load": { "cpuMillis": 2000, "cpuUsedMillis": 0, "memoryMib": 1024, "memoryUsedMib": used_mib },
        "uptimeS": 1, "errors": 0,
    })
}

fn subject(host: &str) -> String {
    lattice_protocol::subject::Subjects::new(lattice()).heartbeat(&id(host))
}

fn lattice() -> lattice_protocol::LatticeName {
    // A constant: every test that uses it would fail.
    "test".parse().unwrap_or_else(|_| unreachable!("a name"))
}

fn id(host: &str) -> lattice_protocol::HostId {
    host.parse().unwrap_or_else(|_| unreachable!("a name"))
}

/// What the ghost says again and again while something is tried.
async fn saying<T>(
    (bus, me): (&dyn Bus, &str),
    mut next: impl FnMut(u64) -> Vec<Vec<u8>>,
    meanwhile: impl Future<Output = Result<T>>,
) -> Result<T> {
    let say = async {
        let mut seq = 1;
        loop {
            for payload in next(seq) {
                bus.publish(BusMessage::new(subject(me), payload)).await?;
            }
            seq += 1;
            tokio::time::sleep(BEAT).await;
        }
        #[allow(unreachable_code, reason = "gives the block its type")]
        anyhow::Ok(())
    };
    tokio::select! {
        done = meanwhile => done,
        said = say => { said?; bail!("the ghost fell silent") }
    }
}

/// `with`: what the ghost does.
pub async fn ghost(world: &World, case: &Case) -> Played {
    let me = format!("{GHOST}-{}", BORN.fetch_add(1, Ordering::Relaxed));
    world.lattice.lattice.trellis(&["lattice", "enroll", &me])?;
    let (me, client) = (me.as_str(), world.lattice.connect(&me).await?);
    let bus = client.lattice().bus;
    let lab = &world.lattice;
    let line = |beat: Value| vec![beat.to_string().into_bytes()];
    let outcome = match case.with.as_str() {
        "uses more than it has" => {
            let beat = |seq| line(heartbeat(me, seq, 2_048));
            saying((&*bus, me), beat, deploy(lab, me)).await?
        }
        "repeats an old heartbeat" => {
            // The old one says that there is no room; were it believed, nothing would be placed.
            let beat = |seq| {
                let (now, old) = (heartbeat(me, seq + 1, 0), heartbeat(me, 1, 2_048));
                if seq == 1 { line(old) } else { [line(now), line(old)].concat() }
            };
            saying((&*bus, me), beat, deploy(lab, me)).await?
        }
        "speaks for another" => speaks_for_another(lab, &*bus, me).await?,
        "falls silent" => falls_silent(lab, &*bus, me).await?,
        text => {
            // Its words, as they are; then good ones, so that the bad ones have been read.
            let before = controller_log(lab)?.len();
            let beat = |seq| [vec![text.as_bytes().to_vec()], line(heartbeat(me, seq, 0))].concat();
            words(0, saying((&*bus, me), beat, logged(lab, before, "heartbeat not readable")).await?)
        }
    };
    client.close().await;
    Ok(vec![(String::new(), outcome)])
}

/// Deploys what only the ghost may run, and gives it up again.
async fn deploy(lab: &Arc<Lab>, me: &str) -> Result<Outcome> {
    seen(lab, me).await?;
    let (lab, me) = (Arc::clone(lab), me.to_owned());
    let deployed = tokio::task::spawn_blocking(move || {
        let desk = lab.desk()?;
        desk.write("app.wasm", crate::make::good())?;
        desk.write("app.yaml", PINNED.replace("ME", &me))?;
        let url = lab.lattice.nats.url();
        let env = [("TRELLIS_NATS_URL", url.as_str())];
        let outcome = trellis(desk.path(), "app deploy app.yaml --sign --wait-for 3", &env)?;
        trellis(desk.path(), "app delete haunted", &env)?;
        Ok(outcome)
    });
    deployed.await?
}

/// Waits until the ghost is in the list of hosts.
async fn seen(lab: &Arc<Lab>, me: &str) -> Result<()> {
    eventually(SOON, "the host to be listed", || async {
        let hosts = lab.lattice.trellis(&["get", "hosts"])?;
        ensure!(hosts.contains(me), "{hosts}");
        Ok(())
    })
    .await
}

/// Waits until the controller's log has a line with these words, after what it held before.
async fn logged(lab: &Arc<Lab>, before: usize, words: &str) -> Result<String> {
    eventually(SOON, words, || async {
        let log = controller_log(lab)?;
        let line = log.get(before..).unwrap_or_default().lines().find(|line| line.contains(words));
        Ok(line.context("not said yet")?.to_owned())
    })
    .await
}

/// Heartbeats in the name of `H1`: on its subject, which the server forbids, and within one's own.
async fn speaks_for_another(lab: &Arc<Lab>, bus: &dyn Bus, me: &str) -> Result<Outcome> {
    let forged = || {
        let mut beat = heartbeat(me, 1_000_000, 0);
        beat["host"] = json!("H1");
        beat["labels"] = json!({ "forged": "yes" });
        beat.to_string().into_bytes()
    };
    // Whether the client is told or not: the server drops it.
    let _ = bus.publish(BusMessage::new(subject("H1"), forged())).await;
    let before = controller_log(lab)?.len();
    let beat = |seq| vec![forged(), heartbeat(me, seq, 0).to_string().into_bytes()];
    let dropped = saying((bus, me), beat, logged(lab, before, "heartbeat for another host")).await?;
    let hosts = lab.lattice.trellis(&["get", "hosts"])?;
    ensure!(!hosts.contains("forged"), "believed: {hosts}");
    Ok(Outcome { aside: hosts, ..words(0, dropped) })
}

/// The ghost is given an actor that only it may run, and says nothing any more.
async fn falls_silent(lab: &Arc<Lab>, bus: &dyn Bus, me: &str) -> Result<Outcome> {
    let (desk, url) = (lab.desk()?, lab.lattice.nats.url());
    desk.write("app.wasm", crate::make::good())?;
    desk.write("app.yaml", PINNED.replace("ME", me))?;
    let given = async {
        seen(lab, me).await?;
        let (path, url) = (desk.path().to_owned(), url.clone());
        let run =
            move || trellis(&path, "app deploy app.yaml --sign --no-wait", &[("TRELLIS_NATS_URL", &url)]);
        let outcome = tokio::task::spawn_blocking(run).await??;
        ensure!(outcome.status == Some(0), "{}", outcome.said);
        placed(lab, me).await
    };
    let beat = |seq| vec![heartbeat(me, seq, 0).to_string().into_bytes()];
    saying((bus, me), beat, given).await.context("before it fell silent")?;
    let said = status(lab, "failover failed").await;
    lab.lattice.trellis(&["app", "delete", "haunted"])?;
    Ok(Outcome { aside: controller_log(lab)?, ..words(0, said?) })
}

/// Waits until the controller has decided to put the actor on the ghost.
async fn placed(lab: &Arc<Lab>, me: &str) -> Result<()> {
    logged(lab, 0, &format!("Scheduled haunted/a -> {me}")).await.map(drop)
}

async fn status(lab: &Arc<Lab>, words: &str) -> Result<String> {
    eventually(SOON, words, || async {
        let status = lab.lattice.trellis(&["app", "status", "haunted", "--output", "json"])?;
        ensure!(status.contains(words), "{status}");
        Ok(status)
    })
    .await
}

fn controller_log(lab: &Lab) -> Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(lab.lattice.controller.log_path())?).into_owned())
}
