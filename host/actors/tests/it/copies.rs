//! What was forwarded of a host's journal, read without the host: an actor's history, its state at any moment,
//! whether it hangs together; and the host's journal built anew from it.

use crate::forward::{
    all_has_arrived, arrived, name, on_disk, options, policy, settings, subjects, trimming, work,
};
use crate::support::{Host, Settings, Shared, Sums, host_with, key, until};
use anyhow::Result;
use host_actors::forward::copy::actor::{self, ActorCopy};
use host_actors::forward::rebuild::{RebuildOptions, Rebuilt, rebuild};
use host_actors::inspect::Moment;
use host_actors::{ForwardPolicy, WhenFull};
use host_store::{DataDir, JournalOptions};
use lattice_io::Lattice;
use lattice_io::memory::Memory;
use lattice_journal::RecordSeq;
use lattice_protocol::{ErrorCode, Report};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub async fn copy_of(lattice: &Lattice, actor: &str) -> Result<ActorCopy, Report> {
    let wanted = actor::Wanted { host: &name(), key: &key(actor), snapshot_key: None };
    actor::read(&lattice.lanes, &subjects(), wanted).await
}

fn guests() -> (lattice_protocol::ActorId, Arc<Shared>) {
    ("test/sums".parse().unwrap(), Arc::new(Shared(Arc::new(Sums::default()))))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_host_an_actor_shows_what_it_has_done_and_what_it_was() -> Result<()> {
    let memory = Memory::new();
    let directory = tempfile::tempdir()?;
    let host = host_with(directory.path(), settings(options(&memory.lattice(), policy())));
    work(&host, 0..70).await;
    all_has_arrived(&host).await;
    let live = host.door().journal(key("sum/a-3"), 0, 100).await.unwrap();
    let verified = host.door().verify(key("sum/a-3")).await.unwrap();
    let state = host.door().state_at(key("sum/a-3"), Moment::Seq(4)).await.unwrap();
    host.end().await;
    let found = copy_of(&memory.lattice(), "sum/a-3").await?;
    assert_eq!(found.journal(0, 100)?, live);
    assert_eq!(found.journal(9, 1)?.iter().map(|commit| commit.seq).collect::<Vec<_>>(), [9]);
    let of_copy = found.verify()?;
    assert_eq!((of_copy.commits, of_copy.missing_commits), ((1, 10), 0));
    assert_eq!(of_copy.history.as_ref(), Some(&verified.history), "the host's own hash of it");
    let (actor, guests) = guests();
    assert_eq!(found.state((actor.clone(), guests.clone()), Moment::Seq(4)).await?, state);
    let last = found.state((actor.clone(), guests.clone()), Moment::Last).await?;
    assert_eq!((last.seq, last.history), (10, verified.history));
    let nothing = found.state((actor, guests), Moment::Seq(0)).await.unwrap_err();
    assert_eq!(nothing.code, ErrorCode::ActorNotFound);
    let label = found.label();
    assert!(label.host == name() && label.record >= found.record.0 && label.sent_ms > 0 && label.is_newest);
    assert_eq!(copy_of(&memory.lattice(), "sum/nobody").await.unwrap_err().code, ErrorCode::ActorNotFound);
    let empty = Memory::new();
    assert_eq!(copy_of(&empty.lattice(), "sum/a-3").await.unwrap_err().code, ErrorCode::NotFound);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_with_a_gap_says_what_is_missing_and_folds_nothing_from_it() -> Result<()> {
    let memory = Memory::new();
    let directory = tempfile::tempdir()?;
    let few = ForwardPolicy { keep_bytes: 4 << 10, full: WhenFull::DropOldest, ..policy() };
    let host = host_with(directory.path(), trimming(options(&memory.lattice(), few)));
    work(&host, 0..20).await;
    all_has_arrived(&host).await;
    memory.set_connected(false);
    let mut n = 20;
    // More than the message on its way has: that may arrive all the same.
    until("much is dropped", async || {
        host.clock.advance(Duration::from_millis(50));
        work(&host, n..n + 10).await;
        n += 10;
        host.actors.forwarding().unwrap().dropped > 60
    })
    .await;
    memory.set_connected(true);
    all_has_arrived(&host).await;
    host.end().await;
    let mut missing = 0;
    for actor in 0..7 {
        let found = copy_of(&memory.lattice(), &format!("sum/a-{actor}")).await?;
        let verified = found.verify()?;
        missing += verified.missing_commits;
        assert!(!verified.gaps.is_empty() && verified.gaps[0].2.contains("let go"), "{:?}", verified.gaps);
        let state = found.state(guests_of(), Moment::Last).await;
        // A snapshot may stand for what is missing.
        let is_whole = verified.missing_commits == 0;
        assert!(state.is_ok() == is_whole || (state.is_ok() && verified.snapshot.is_some()), "{verified:?}");
        assert!(state.is_ok() || state.is_err_and(|report| report.code == ErrorCode::HistoryTrimmed));
    }
    assert!(missing > 0);
    Ok(())
}

pub fn guests_of() -> (lattice_protocol::ActorId, Arc<dyn host_core::guest::GuestKind>) {
    let (actor, guests) = guests();
    (actor, guests)
}

pub async fn rebuilt(
    lattice: &Lattice,
    directory: &Path,
    journal: JournalOptions,
) -> Result<Rebuilt, Report> {
    let data = DataDir::open(directory).unwrap();
    let (host, now_ms) = (&name(), 7);
    let options = RebuildOptions { host, data: &data, journal, snapshot_key: None, now_ms };
    rebuild(lattice, &subjects(), options).await
}

fn damage(directory: &Path, segment: u64, at: usize) {
    let segment = directory.join(format!("journal/segment-{segment:016}"));
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
}

pub async fn sum(host: &Host) -> u64 {
    let mut sum = 0;
    for actor in 0..7 {
        sum += host.query(&format!("sum/a-{actor}"), "balance").await.unwrap().parse::<u64>().unwrap();
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_lost_journal_is_built_anew_and_goes_on_in_the_same_life() -> Result<()> {
    let memory = Memory::new();
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let journal = Settings::default().journal;
    let start = || host_with(path, settings(options(&memory.lattice(), policy())));
    let host = start();
    work(&host, 0..60).await;
    all_has_arrived(&host).await;
    host.end().await;
    let before = on_disk(path, journal);
    // A healthy one stays as it is.
    let healthy = rebuilt(&memory.lattice(), path, journal).await.unwrap_err();
    assert_eq!(healthy.code, ErrorCode::Conflict, "{healthy}");
    assert_eq!(on_disk(path, journal), before);
    damage(path, 1, 900);
    let host = start();
    until("it is refused", async || {
        host.actors.door().err().is_some_and(|report| report.code == ErrorCode::Damaged)
    })
    .await;
    host.end().await;
    let anew = rebuilt(&memory.lattice(), path, journal).await?;
    assert_eq!((anew.first, anew.last), (RecordSeq(1), RecordSeq(before.len() as u64)));
    assert_eq!((anew.from_copy, anew.from_disk, anew.lost_at_least), (before.len() as u64, 0, 0));
    assert!(anew.aside.join("journal/journal").exists());
    assert_eq!(on_disk(path, journal), before);
    let host = start();
    assert_eq!(sum(&host).await, 60);
    work(&host, 60..70).await;
    all_has_arrived(&host).await;
    // The disk is lost, after commands that had not arrived.
    memory.set_connected(false);
    work(&host, 70..75).await;
    host.end().await;
    let host = start();
    work(&host, 75..76).await;
    host.end().await;
    std::fs::remove_dir_all(path.join("journal"))?;
    memory.set_connected(true);
    let anew = rebuilt(&memory.lattice(), path, journal).await?;
    assert!(anew.lost_at_least > 0, "{anew:?}");
    let host = start();
    assert_eq!(sum(&host).await, 70);
    // What is repeated under its id is carried out, what was kept is not.
    work(&host, 65..80).await;
    assert_eq!(sum(&host).await, 80);
    all_has_arrived(&host).await;
    host.end().await;
    let (copy, records) = arrived(&memory.lattice()).await?;
    assert_eq!(copy.lives.len(), 1, "{:?}", copy.lives);
    assert_eq!(copy.lives[0].incarnations.len(), 3);
    assert_eq!(records.len(), on_disk(path, journal).len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_still_be_read_on_the_disk_is_kept_and_a_checkpoint_stands_for_what_is_missing() -> Result<()>
{
    let memory = Memory::new();
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let journal = trimming(options(&memory.lattice(), policy())).journal;
    let start = || host_with(path, trimming(options(&memory.lattice(), policy())));
    // Forwarded from the middle of its life on: what is before is behind a checkpoint.
    let host = host_with(path, Settings { forward: None, ..trimming(options(&memory.lattice(), policy())) });
    let mut n = 0;
    until("history is trimmed", async || {
        host.clock.advance(Duration::from_millis(50));
        work(&host, n..n + 10).await;
        n += 10;
        host.door()
            .journal(key("sum/a-0"), 1, 1)
            .await
            .is_err_and(|error| error.code == ErrorCode::HistoryTrimmed)
    })
    .await;
    host.end().await;
    let host = start();
    work(&host, n..n + 1).await;
    all_has_arrived(&host).await;
    memory.set_connected(false);
    work(&host, n + 1..n + 31).await;
    host.end().await;
    memory.set_connected(true);
    let before = on_disk(path, journal);
    let last = before.last().unwrap().0;
    // The last record is not what was written, and what came before it had not arrived.
    let segments = std::fs::read_dir(path.join("journal"))?;
    let numbers = segments.filter_map(|entry| {
        entry.unwrap().file_name().to_str().unwrap().strip_prefix("segment-")?.parse::<u64>().ok()
    });
    let newest = numbers.max().unwrap();
    let content = std::fs::read(path.join(format!("journal/segment-{newest:016}")))?;
    let bytes = &before[before.len() - 2].1;
    let at = content.windows(bytes.len()).position(|window| window == &bytes[..]).unwrap();
    damage(path, newest, at + 10);
    let anew = rebuilt(&memory.lattice(), path, journal).await?;
    assert_eq!((anew.last, anew.from_disk > 0), (RecordSeq(last - 2), true), "{anew:?}");
    assert!(anew.first > RecordSeq(1));
    let host = start();
    work(&host, 0..n + 31).await;
    assert_eq!(sum(&host).await, n + 31, "each once, those that were lost as well");
    all_has_arrived(&host).await;
    host.end().await;
    // Without the checkpoint there is not enough.
    for file in ["checkpoint", "checkpoint.previous"] {
        drop(std::fs::remove_file(path.join(file)));
    }
    std::fs::remove_dir_all(path.join("journal"))?;
    let refused = rebuilt(&memory.lattice(), path, journal).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::HistoryTrimmed, "{refused}");
    assert!(!path.join("journal").exists());
    Ok(())
}
