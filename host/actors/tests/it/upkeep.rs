//! Snapshots, idleness, trimming: what is kept small, and that nothing is lost by it.

use crate::deletion::delete;
use crate::support::{Host, Settings, host, host_with, key, until};
use host_actors::KindPolicy;
use host_actors::inspect::Moment;
use lattice_journal::snapshot::SnapshotPolicy;
use lattice_protocol::ErrorCode;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn snapshots(directory: &Path) -> usize {
    let parts = std::fs::read_dir(directory.join("snapshots")).unwrap();
    parts.map(|part| std::fs::read_dir(part.unwrap().path()).unwrap().count()).sum()
}

fn settings(events: u64) -> Settings {
    let snapshots = SnapshotPolicy { events, ..SnapshotPolicy::default() };
    Settings { kind: KindPolicy { snapshots, ..KindPolicy::default() }, ..Settings::default() }
}

async fn look(host: &Host) {
    host.clock.advance(Duration::from_millis(50));
    tokio::time::sleep(Duration::from_millis(2)).await;
}

#[tokio::test]
async fn a_start_folds_what_came_after_the_snapshot_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let first = host_with(directory.path(), settings(100));
    first.reply(1, "sum/a", "many", "150").await;
    until("there is a snapshot", async || {
        look(&first).await;
        snapshots(directory.path()) == 1
    })
    .await;
    first.reply(2, "sum/a", "many", "7").await;
    first.end().await;
    let second = host_with(directory.path(), settings(100));
    assert_eq!(second.query("sum/a", "count").await.unwrap(), "157");
    assert_eq!(second.sums.folded.load(Ordering::Relaxed), 7);
    let verified = second.door().verify(key("sum/a")).await.unwrap();
    assert_eq!(verified.ways, ["from the first commit", "from the snapshot at commit 1"]);
    second.end().await;
    // Without it everything is folded.
    for part in std::fs::read_dir(directory.path().join("snapshots")).unwrap() {
        std::fs::remove_dir_all(part.unwrap().path()).unwrap();
    }
    let third = host_with(directory.path(), settings(100));
    assert_eq!(third.query("sum/a", "count").await.unwrap(), "157");
    assert_eq!(third.sums.folded.load(Ordering::Relaxed), 157);
}

#[tokio::test]
async fn idle_actors_leave_memory_and_come_back_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(10_000);
    settings.kind.idle_ms = 1_000;
    let host = host_with(directory.path(), settings);
    host.reply(1, "sum/a", "many", "100").await;
    host.reply(1, "sum/b", "add", "3").await;
    let active = async || {
        let actors = host.door().list(None).await.unwrap().actors;
        actors.into_iter().filter(|line| line.active).count()
    };
    assert_eq!(active().await, 2);
    host.clock.advance(Duration::from_millis(1_100));
    until("both have left", async || {
        look(&host).await;
        active().await == 0
    })
    .await;
    assert_eq!(snapshots(directory.path()), 1, "a few events are folded again rather than saved");
    assert_eq!(host.query("sum/a", "count").await.unwrap(), "100");
    assert_eq!(host.query("sum/b", "balance").await.unwrap(), "3");
    host.reply(2, "sum/a", "passivate", "").await;
    until("it has left at its wish", async || {
        look(&host).await;
        active().await == 1
    })
    .await;
}

#[tokio::test]
async fn a_trimmed_journal_starts_from_its_checkpoint_with_state_timers_and_ids() {
    let directory = tempfile::tempdir().unwrap();
    let trims = |events| {
        let mut settings = settings(events);
        settings.policy.trim_records = 20;
        settings.journal.segment_bytes = 8 << 10;
        settings
    };
    let first = host_with(directory.path(), trims(10));
    first.reply(1, "sum/lazy", "add", "4").await;
    first.reply(2, "sum/lazy", "later", "ring 1000000 1").await;
    for n in 1..=200 {
        first.reply(n, "sum/busy", "many", "2").await;
        if n % 10 == 0 {
            look(&first).await;
        }
    }
    until("it is trimmed", async || {
        look(&first).await;
        let oldest = first.door().journal(key("sum/lazy"), 0, 1).await;
        oldest.is_ok_and(|commits| commits.is_empty())
    })
    .await;
    let refused = first.door().journal(key("sum/busy"), 1, 10).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::HistoryTrimmed, "{refused}");
    let refused = first.door().state_at(key("sum/lazy"), Moment::Seq(1)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::HistoryTrimmed, "{refused}");
    first.end().await;
    let second = host_with(directory.path(), trims(10));
    assert_eq!(second.query("sum/busy", "count").await.unwrap(), "400");
    assert_eq!(second.query("sum/lazy", "balance").await.unwrap(), "4");
    assert!(second.command(1, "sum/lazy", "add", "4").await.unwrap().repeated);
    second.clock.advance(Duration::from_secs(1_000));
    until("the timer of trimmed history fired", async || {
        second.query("sum/lazy", "balance").await.unwrap() == "5"
    })
    .await;
    second.end().await;
    // What stands for trimmed history must be there.
    for part in std::fs::read_dir(directory.path().join("snapshots")).unwrap() {
        std::fs::remove_dir_all(part.unwrap().path()).unwrap();
    }
    let third = host_with(directory.path(), trims(10));
    let refused = third.query("sum/lazy", "balance").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Damaged, "{refused}");
}

#[tokio::test]
async fn actors_at_rest_are_on_the_disk_and_hold_back_what_only_the_journal_has_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let trims = |records| {
        let mut settings = settings(10_000);
        settings.kind.idle_ms = 1_000;
        settings.policy.trim_records = records;
        settings.journal.segment_bytes = 8 << 10;
        settings
    };
    let many = (1..=40_u8).map(|n| (n, format!("sum/a-{n}"))).collect::<Vec<_>>();
    let first = host_with(directory.path(), trims(u64::MAX));
    for (n, actor) in &many {
        first.reply(*n, actor, "add", &n.to_string()).await;
    }
    first.reply(1, "sum/gone", "add", "1").await;
    let rest = async |host: &Host, count: usize| {
        host.clock.advance(Duration::from_millis(1_100));
        until("they are at rest", async || {
            look(host).await;
            host.actors.stats().is_some_and(|stats| stats.resting == count && stats.actors == 0)
        })
        .await;
    };
    rest(&first, 41).await;
    // Some of them are wanted, and one is not wanted any more.
    first.reply(100, "sum/a-7", "add", "1").await;
    assert_eq!(first.door().journal(key("sum/a-7"), 1, 10).await.unwrap().len(), 2);
    assert_eq!(first.door().journal(key("sum/a-8"), 1, 10).await.unwrap().len(), 1);
    first.door().verify(key("sum/a-9")).await.unwrap();
    delete(&first, 200, "sum/gone").await.unwrap();
    let listed = first.door().list(None).await.unwrap();
    let names: Vec<String> = listed.actors.iter().map(|line| line.key.to_string()).collect();
    let mut expected: Vec<String> = many.iter().map(|(_, actor)| actor.clone()).collect();
    expected.sort();
    assert_eq!((names, listed.more), (expected, false));
    rest(&first, 40).await;
    first.end().await;
    // After a start they are at rest at once; the journal is trimmed when each of them has a snapshot.
    let second = host_with(directory.path(), trims(20));
    rest(&second, 40).await;
    for n in 1..=200 {
        second.reply(n, "sum/busy", "many", "2").await;
    }
    until("it is trimmed", async || {
        look(&second).await;
        let oldest = second.door().journal(key("sum/a-1"), 0, 1).await;
        oldest.is_ok_and(|commits| commits.is_empty())
    })
    .await;
    rest(&second, 41).await;
    second.end().await;
    let third = host_with(directory.path(), trims(20));
    for (n, actor) in &many {
        let more = u8::from(*n == 7);
        assert_eq!(third.query(actor, "balance").await.unwrap(), (n + more).to_string());
        assert!(third.command(*n, actor, "add", &n.to_string()).await.unwrap().repeated);
    }
    assert_eq!(third.query("sum/gone", "balance").await.unwrap_err().code, ErrorCode::ActorNotFound);
    assert_eq!(third.door().list(None).await.unwrap().actors.len(), 41);
}

#[tokio::test]
async fn a_damaged_journal_is_refused_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let first = host_with(directory.path(), settings(10_000));
    for n in 1..=20 {
        first.reply(n, "sum/a", "add", "1").await;
    }
    first.end().await;
    let segment = directory.path().join("journal/segment-0000000000000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[700] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let second = host_with(directory.path(), settings(10_000));
    let refused = second.query("sum/a", "balance").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Damaged, "{refused}");
    assert!(refused.what.contains("offset"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_has_gone_is_not_begun_anew_until_its_loss_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let first = host(path);
    first.reply(1, "sum/a", "add", "5").await;
    let older = path.join("older");
    first.end().await;
    std::fs::rename(path.join("journal"), &older).unwrap();
    let second = host(path);
    until("it is told", async || {
        second.actors.door().err().is_some_and(|report| report.code == ErrorCode::Damaged)
    })
    .await;
    let report = second.actors.door().err().unwrap();
    assert!(report.hint.as_ref().is_some_and(|hint| hint.contains("journal-mark")), "{report}");
    assert!(!path.join("journal").exists(), "nothing is made in its place");
    second.end().await;
    // Put back, it is as it was.
    std::fs::rename(&older, path.join("journal")).unwrap();
    let third = host(path);
    assert_eq!(third.reply(2, "sum/a", "add", "1").await, "6");
    third.end().await;
    for gone in ["journal", "journal-mark", "journal-mark.previous", "snapshots"] {
        let gone = path.join(gone);
        if gone.is_dir() {
            std::fs::remove_dir_all(gone).unwrap()
        } else {
            std::fs::remove_file(gone).unwrap()
        }
    }
    let fourth = host(path);
    assert_eq!(fourth.reply(3, "sum/a", "add", "2").await, "2");
    fourth.end().await;
}
