//! History is kept for people up to a size, on a host's disk and in the lattice; state is never touched by it.

use crate::lattice::{node_with, policy, submit};
use crate::support::{Host, Settings, host_with, key, until};
use host_actors::{KindPolicy, Policy};
use lattice_io::memory::Memory;
use lattice_journal::retain::Retention;
use lattice_journal::snapshot::SnapshotPolicy;
use lattice_protocol::ErrorCode;
use std::time::Duration;

/// Lets a period pass.
async fn look(host: &Host) {
    host.clock.advance(Duration::from_millis(50));
    tokio::time::sleep(Duration::from_millis(2)).await;
}

#[tokio::test]
async fn history_is_kept_up_to_a_size_and_the_state_is_not_touched_by_it() {
    let directory = tempfile::tempdir().unwrap();
    let settings = |bytes| {
        let mut settings = Settings::default();
        settings.policy.trim_records = 20;
        settings.journal.segment_bytes = 16 << 10;
        let snapshots = SnapshotPolicy { events: 100, ..SnapshotPolicy::default() };
        let retain = Retention { age_ms: u64::MAX, bytes };
        settings.kind = KindPolicy { snapshots, retain, ..KindPolicy::default() };
        settings
    };
    let work = async |host: &Host, from: u8| {
        for n in from..from + 100 {
            // About 10 KiB each.
            host.reply(n, "sum/a", "many", "1000").await;
        }
    };
    let first = async |host: &Host| {
        // It may be trimmed while it is read.
        let commits = host.door().journal(key("sum/a"), 0, 1).await.unwrap_or_default();
        commits.first().map_or(0, |first| first.seq)
    };
    let host = host_with(directory.path(), settings(200 << 10));
    work(&host, 1).await;
    until("what is more than it should be is gone", async || {
        look(&host).await;
        first(&host).await > 20
    })
    .await;
    host.clock.advance(Duration::from_secs(3_600));
    for _ in 0..20 {
        look(&host).await;
    }
    let kept = first(&host).await;
    assert!(kept <= 80, "200 KiB are kept: from commit {kept} of 100");
    assert_eq!(host.query("sum/a", "count").await.unwrap(), "100000");
    assert_eq!(host.door().journal(key("sum/a"), 90, 1).await.unwrap()[0].seq, 90);
    host.end().await;
    // Nothing is kept: all but what is needed goes.
    let none = host_with(directory.path(), settings(0));
    assert_eq!(none.query("sum/a", "count").await.unwrap(), "100000");
    until("only snapshots are kept", async || {
        look(&none).await;
        none.door().journal(key("sum/a"), 90, 1).await.is_err()
    })
    .await;
    assert_eq!(none.query("sum/a", "count").await.unwrap(), "100000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_lattice_is_kept_up_to_a_size() {
    let lattice = Memory::new().lattice();
    let kind = |bytes| {
        let policy = Policy { period: Duration::from_millis(5), checkpoint_records: 10, ..policy() };
        let snapshots = SnapshotPolicy { events: 7, ..SnapshotPolicy::default() };
        (
            policy,
            KindPolicy { snapshots, retain: Retention { age_ms: u64::MAX, bytes }, ..KindPolicy::default() },
        )
    };
    // About 20 KiB a record.
    let one = format!("{}1", "0".repeat(20 << 10));
    let node = node_with("H1", &lattice, kind(1 << 20));
    until("it owns the shard", async || node.actors.door(&key("sum/a")).is_some()).await;
    let door = node.actors.door(&key("sum/a")).unwrap();
    let first = async || {
        let commits = door.journal(key("sum/a"), 0, 1).await.unwrap_or_default();
        commits.first().map_or(0, |first| first.seq)
    };
    for n in 1..=40 {
        submit(&[&node], n, "sum/a", &one).await;
    }
    assert_eq!(first().await, 1, "that was less");
    let mut n = 40;
    until("what is more than it should be is gone", async || {
        n += 1;
        submit(&[&node], n, "sum/a", &one).await;
        first().await > 1
    })
    .await;
    // Much has to have come since the checkpoint behind which the stream begins now.
    assert!(n > 60, "{n} commands are more than 1 MiB");
    let kept = (n - first().await) * (20 << 10);
    assert!(kept > 1 << 20, "{kept} bytes are kept");
    let refused = door.journal(key("sum/a"), 1, 1).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::HistoryTrimmed);
    for more in 1..=120 {
        submit(&[&node], n + more, "sum/a", &one).await;
    }
    until("it is no more than twice as much, and two checkpoints", async || {
        (n + 120 - first().await) * (20 << 10) < (2 << 20) + (20 << 20) / 40
    })
    .await;
    node.scope.shutdown(Duration::ZERO).await;
    let next = node_with("H2", &lattice, kind(1 << 20));
    assert!(submit(&[&next], n, "sum/a", &one).await.repeated);
    assert_eq!(submit(&[&next], 1_000, "sum/a", "1").await.reply, (n + 121).to_string());
}
