//! A deleted actor whose journal is forwarded: what has not arrived stays on the disk until it has, also through a
//! restart, and goes then.

use super::{HOUR, SECRET, delete, having, is_gone, look};
use crate::forward::{all_has_arrived, arrived, options, policy, status};
use crate::support::{Host, Settings, T0, host_with, key, until};
use anyhow::Result;
use host_actors::ForwardPolicy;
use lattice_io::Lattice;
use lattice_io::memory::Memory;
use lattice_journal::retain::Retention;
use std::path::Path;
use std::time::Duration;

fn start(path: &Path, lattice: &Lattice, at_ms: u64) -> Host {
    // Nothing is kept for people: only what waits for the lattice.
    let retain = Retention { age_ms: 0, bytes: 0 };
    let forward = options(lattice, ForwardPolicy { checkpoint_ms: u64::MAX, ..policy() });
    let mut settings = Settings { at_ms, forward: Some(forward), ..Settings::default() };
    settings.kind.retain = retain;
    host_with(path, settings)
}

/// Is it in the journal?
fn is_there(path: &Path) -> bool {
    !having(&path.join("journal"), SECRET.as_bytes()).is_empty()
}

#[tokio::test]
async fn what_a_deleted_actor_has_done_stays_until_it_was_forwarded_and_then_goes() -> Result<()> {
    for restarts in [false, true] {
        let memory = Memory::new();
        let lattice = memory.lattice();
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        let mut host = start(path, &lattice, T0);
        host.reply(1, "sum/other", "add", "7").await;
        all_has_arrived(&host).await;
        memory.set_connected(false);
        host.reply(2, "sum/secret", "add", SECRET).await;
        delete(&host, 3, "sum/secret").await.unwrap();
        host.reply(4, "sum/other", "add", "1").await;
        // Long after it would be gone.
        for _ in 0..50 {
            host.clock.advance(Duration::from_secs(120));
            look(&host).await;
        }
        assert!(is_there(path), "it has not arrived");
        if restarts {
            host.end().await;
            host = start(path, &lattice, T0 + 2 * 3_600_000);
            is_gone_when_open(&host).await;
            host.clock.advance(HOUR);
            look(&host).await;
            assert!(is_there(path), "nor has it now");
        }
        assert!(status(&host).records > 0);
        memory.set_connected(true);
        all_has_arrived(&host).await;
        until("nothing of it is on the disk", async || {
            host.clock.advance(Duration::from_secs(120));
            look(&host).await;
            having(path, SECRET.as_bytes()).is_empty()
        })
        .await;
        assert_eq!(host.query("sum/other", "balance").await.unwrap(), "8");
        assert_eq!(status(&host).dropped, 0);
        host.end().await;
        // It arrived, before it went.
        let (copy, records) = arrived(&lattice).await?;
        assert_eq!(copy.newest().map(|life| life.missing()), Some(0));
        let mut all = records.iter().flat_map(|sealed| sealed.record().commits());
        assert!(all.any(|commit| commit.key == key("sum/secret") && !commit.is_tombstone()));
    }
    Ok(())
}

async fn is_gone_when_open(host: &Host) {
    assert_eq!(host.query("sum/other", "balance").await.unwrap(), "8");
    is_gone(&host.door(), "sum/secret").await.unwrap();
}
