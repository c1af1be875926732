//! What stands for the older part of a forwarded journal: on a real server, from a host whose disk is lost, behind an
//! uplink that flaps; and what is not what was stored, refused by name.

use crate::copies::{copy_of, guests_of, rebuilt, sum};
use crate::forward::{
    add, all_has_arrived, arrived, client, name, options, policy, status, subjects, trimming, work,
};
use crate::support::{Host, Settings, host_with, key, until};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::StreamExt;
use host_actors::ForwardPolicy;
use host_actors::forward::frame::Frame;
use host_actors::forward::rebuild::{RebuildOptions, Rebuilt, Stands, rebuild};
use host_actors::forward::{checkpoint, lane};
use host_actors::inspect::Moment;
use host_store::{DataDir, Envelope, SnapshotKey};
use keys::Digest;
use lattice_io::log::LogOptions;
use lattice_io::memory::Memory;
use lattice_io::{Lattice, Replicas};
use lattice_journal::{Position, RecordSeq};
use lattice_protocol::subject::DeviceCell;
use lattice_protocol::{ErrorCode, Report};
use std::path::Path;
use std::time::Duration;
use tests_harness::{ChaosProxy, NatsServer};

/// A checkpoint after each kilobyte or so.
fn often() -> ForwardPolicy {
    // What is too little for one comes with the next in time.
    ForwardPolicy { checkpoint_bytes: 1_000, checkpoint_ms: 5_000, frame_bytes: 1_000, ..policy() }
}

fn start(path: &Path, lattice: &Lattice) -> Host {
    host_with(path, trimming(options(lattice, often())))
}

/// Waits for a checkpoint through this record at least.
pub async fn stands(host: &Host, record: u64) {
    until("a checkpoint stands", async || {
        host.clock.advance(Duration::from_millis(50));
        status(host).checkpoint.is_some_and(|checkpoint| checkpoint.through >= record)
    })
    .await;
}

/// How far the checkpoint stands that counts now, all of which can be read.
async fn counts(lattice: &Lattice) -> Result<Option<u64>, Report> {
    loop {
        let of = (&name(), Envelope::default());
        let Some(found) = checkpoint::read::read(&lattice.lanes, &subjects(), of).await? else {
            return Ok(None);
        };
        match found.each(&mut |_, _, _| Ok(())).await {
            Ok(()) => return Ok(Some(found.through().0)),
            // What a host that has died had sent came in only now.
            Err(_) if !found.counts().await? => {}
            Err(report) => return Err(report),
        }
    }
}

/// The messages of the host's journal.
pub async fn messages(lattice: &Lattice) -> Result<Vec<(Position, Frame)>> {
    let options = lane(&subjects(), &name(), &policy());
    let lane = lattice.lanes.find(options).await?.context("the lane")?;
    let end = lane.last().await?.context("its end")?.0;
    let (mut messages, mut following) = (Vec::new(), lane.follow(Position(0)).await?);
    while messages.last().is_none_or(|(at, _)| *at < end) {
        let (at, bytes) = following.next().await.context("a message")?;
        messages.push((at, Frame::decode(&bytes)?));
    }
    Ok(messages)
}

/// Purges what is older than a record that is beyond this one, as an administrator would.
async fn purge(lattice: &Lattice, through: u64) -> Result<()> {
    let mut last = None;
    for (at, frame) in messages(lattice).await? {
        if frame.last()?.record().seq.0 <= through {
            last = Some(at);
        }
    }
    let (name, subject) = (subjects().device_stream(), subjects().device_journal(&name()));
    let options = LogOptions { name, subject, max_bytes: None, replicas: Replicas::One };
    let log = lattice.logs.find(options).await?.context("the stream")?;
    Ok(log.trim(last.context("nothing is that old")?).await?)
}

async fn rebuilt_in(path: &Path, lattice: &Lattice) -> Result<Rebuilt, Report> {
    rebuilt(lattice, path, trimming(options(lattice, often())).journal).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_disk_is_lost_is_rebuilt_from_a_checkpoint_when_older_records_are_gone() -> Result<()> {
    let server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
    let far = client(server.url()).await?;
    let lattice = far.lattice();
    ensure!(far.connected().await);
    let (lost, new) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let host = start(lost.path(), &lattice);
    work(&host, 0..60).await;
    host.command(200, "sum/a-2", "later", "ring 100000000 5").await.unwrap();
    let ringing = status(&host).through + status(&host).records;
    stands(&host, ringing).await;
    work(&host, 60..75).await;
    all_has_arrived(&host).await;
    let last = status(&host).through;
    host.end().await;
    drop(lost);
    let through = counts(&lattice).await?.context("a checkpoint")?;
    assert!(through >= ringing);
    purge(&lattice, through).await?;
    // All of them, and none of those before the checkpoint.
    let anew = rebuilt_in(new.path(), &lattice).await?;
    assert_eq!(
        (anew.stands, anew.first, anew.last),
        (Stands::Forwarded, RecordSeq(through + 1), RecordSeq(last))
    );
    assert_eq!((anew.from_disk, anew.lost_at_least), (0, 0));
    let host = start(new.path(), &lattice);
    assert_eq!(sum(&host).await, 75);
    // Each command under its id: what was carried out is acknowledged, and not done again.
    for n in 0..75 {
        let again = add(&host, n, &format!("sum/a-{}", n % 7)).await.unwrap();
        assert!(again.repeated, "{n}");
    }
    assert_eq!(sum(&host).await, 75);
    // The timer that was set before the checkpoint rings.
    host.clock.advance(Duration::from_secs(200_000));
    until("it rings", async || sum(&host).await == 80).await;
    work(&host, 75..80).await;
    all_has_arrived(&host).await;
    stands(&host, last).await;
    host.end().await;
    let (copy, _) = arrived(&lattice).await?;
    assert_eq!((copy.lives.len(), copy.lives[0].incarnations.len()), (1, 2));
    // An actor is read from it without a host, though its older commits are gone.
    let found = copy_of(&lattice, "sum/a-3").await?;
    let state = found.state(guests_of(), Moment::Last).await?;
    let verified = found.verify()?;
    assert!(verified.snapshot.is_some() && verified.history.is_none(), "{verified:?}");
    let host = start(new.path(), &lattice);
    assert_eq!(sum(&host).await, 85);
    assert_eq!(host.door().state_at(key("sum/a-3"), Moment::Last).await.unwrap().state, state.state);
    host.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_comes_over_an_uplink_that_flaps_from_a_host_that_dies() -> Result<()> {
    let server = NatsServer::start(tests_harness::NatsOptions::default()).await?;
    let proxy = ChaosProxy::start(server.address()).await?;
    proxy.set_delay(Duration::from_millis(2));
    let (directory, new) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let near = client(server.url()).await?;
    ensure!(near.connected().await);
    let (mut commands, mut seen) = (0, 0);
    for _ in 0..tests_harness::sizes::pick(6, 40) {
        let far = client(format!("nats://{}", proxy.address())).await?;
        let host = start(directory.path(), &far.lattice());
        let disturbed = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(15)).await;
                host.clock.advance(Duration::from_millis(100));
                proxy.drop_connections();
            }
        };
        tokio::join!(work(&host, commands..commands + 40), disturbed);
        commands += 40;
        host.die(directory.path()).await;
        far.close().await;
        // Whatever counts at any moment can be read, and is never older than what counted before.
        let now = counts(&near.lattice()).await?.unwrap_or_default();
        assert!(now >= seen, "{now} {seen}");
        seen = now;
    }
    let far = client(format!("nats://{}", proxy.address())).await?;
    let host = start(directory.path(), &far.lattice());
    work(&host, commands..commands + 1).await;
    all_has_arrived(&host).await;
    stands(&host, status(&host).through).await;
    let through = status(&host).through;
    host.end().await;
    purge(&near.lattice(), through - 1).await?;
    let anew = rebuilt_in(new.path(), &near.lattice()).await?;
    assert_eq!(anew.stands, Stands::Forwarded);
    let host = start(new.path(), &near.lattice());
    assert_eq!(sum(&host).await, commands + 1);
    host.end().await;
    Ok(())
}

/// Puts other bytes into a cell.
async fn overwrite(lattice: &Lattice, subject: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<()> {
    let head = lattice.lanes.find(checkpoint::head_lane(&subjects(), &name(), &policy())).await?;
    let cell = head.context("the stream")?.beside(subject)?;
    let (at, bytes) = cell.last().await?.context("the cell")?;
    let bytes = Bytes::from(change(bytes.to_vec()));
    cell.append(at, &format!("damage {at}"), bytes, Duration::from_secs(5)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_was_stored_is_refused_by_name_and_another_key_is() -> Result<()> {
    let memory = Memory::new();
    let lattice = memory.lattice();
    let (directory, new) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let with_key = |byte| Settings {
        snapshot_key: SnapshotKey::new(&[byte; 32]),
        ..trimming(options(&lattice, often()))
    };
    let host = host_with(directory.path(), with_key(7));
    work(&host, 0..60).await;
    all_has_arrived(&host).await;
    stands(&host, status(&host).through).await;
    let through = status(&host).through;
    work(&host, 60..61).await;
    all_has_arrived(&host).await;
    host.end().await;
    // The stream of the memory lattice keeps everything: as if the oldest had been let go.
    let options_of_lane = lane(&subjects(), &name(), &policy());
    let journal = lattice.lanes.find(options_of_lane).await?.context("the lane")?;
    for (at, frame) in messages(&lattice).await? {
        if frame.last()?.record().seq.0 < through {
            journal.erase(at).await?;
        }
    }
    let rebuild_with = async |byte: u8| {
        let data = DataDir::open(new.path())?;
        let (host, snapshot_key) = (&name(), SnapshotKey::new(&[byte; 32]));
        let journal = with_key(byte).journal;
        rebuild(&lattice, &subjects(), RebuildOptions { host, data: &data, journal, snapshot_key, now_ms: 7 })
            .await
    };
    let is_untouched = || !new.path().join("journal").exists() && !new.path().join("checkpoint").exists();
    let refused = rebuild_with(8).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Damaged, "{refused}");
    assert!(refused.to_string().contains("another key") && is_untouched(), "{refused}");
    let cells =
        lattice.lanes.list(&subjects().device_state_stream(), &subjects().device_cells(&name())).await?;
    ensure!(cells.len() >= 2, "{cells:?}");
    for cell in &cells {
        let blob = subjects().parse_device_cell(&name(), &cell.subject).context("a cell")?.blob;
        overwrite(&lattice, &cell.subject, |mut bytes| {
            bytes[20] ^= 1;
            bytes
        })
        .await?;
        let refused = rebuild_with(7).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Damaged, "{refused}");
        assert!(refused.to_string().contains(&blob) && is_untouched(), "{refused}");
        overwrite(&lattice, &cell.subject, |mut bytes| {
            bytes[20] ^= 1;
            bytes
        })
        .await?;
    }
    // The host finds what cannot be read, and sends another one: the head, and the document.
    let head = subjects().device_head(&name());
    overwrite(&lattice, &head, |_| b"{}".to_vec()).await?;
    let refused = rebuild_with(7).await.unwrap_err();
    assert!(refused.to_string().contains("head") && is_untouched(), "{refused}");
    let mends = async |n: u64| {
        let host = host_with(directory.path(), with_key(7));
        work(&host, n..n + 1).await;
        all_has_arrived(&host).await;
        until("it is mended", async || {
            host.clock.advance(Duration::from_millis(50));
            let of = (&name(), Envelope::default());
            let found = checkpoint::read::read(&lattice.lanes, &subjects(), of).await;
            found.is_ok_and(|found| found.is_some())
        })
        .await;
        host.end().await;
    };
    mends(61).await;
    for cell in
        lattice.lanes.list(&subjects().device_state_stream(), &subjects().device_cells(&name())).await?
    {
        overwrite(&lattice, &cell.subject, |_| b"?".to_vec()).await?;
    }
    assert_eq!(rebuild_with(7).await.unwrap_err().code, ErrorCode::Damaged);
    mends(62).await;
    let anew = rebuild_with(7).await?;
    assert_eq!(anew.stands, Stands::Forwarded);
    let host = host_with(new.path(), with_key(7));
    assert_eq!(sum(&host).await, 63);
    host.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_has_changed_is_sent_and_what_nothing_names_is_taken_away() -> Result<()> {
    let memory = Memory::new();
    let lattice = memory.lattice();
    let directory = tempfile::tempdir()?;
    let rarely = ForwardPolicy { checkpoint_bytes: u64::MAX, checkpoint_ms: 3_600_000, ..policy() };
    let host = host_with(directory.path(), trimming(options(&lattice, rarely)));
    for n in 0..40 {
        add(&host, n, &format!("sum/many-{n}")).await.unwrap();
    }
    all_has_arrived(&host).await;
    stands(&host, 1).await;
    let parts = async || -> Result<Vec<String>> {
        let (stream, cells) = (subjects().device_state_stream(), subjects().device_cells(&name()));
        Ok(lattice.lanes.list(&stream, &cells).await?.into_iter().map(|cell| cell.subject).collect())
    };
    // It may have been made before the last of them.
    host.clock.advance(Duration::from_secs(3_600));
    add(&host, 40, "sum/many-0").await.unwrap();
    all_has_arrived(&host).await;
    stands(&host, status(&host).through).await;
    let before = parts().await?;
    host.clock.advance(Duration::from_secs(3_600));
    add(&host, 41, "sum/many-3").await.unwrap();
    all_has_arrived(&host).await;
    stands(&host, status(&host).through).await;
    let after = parts().await?;
    let kept = after.iter().filter(|part| before.contains(part)).count();
    assert!(kept > 0 && after.len() <= before.len() + 1, "{before:?} {after:?}");
    assert!(before.len() - kept >= 1, "the document before is gone");
    host.end().await;
    // What a host that died has left of one that never came to count goes when the next host finds nothing due.
    let head = lattice.lanes.find(checkpoint::head_lane(&subjects(), &name(), &policy())).await?;
    let left = DeviceCell { blob: Digest::of(b"left behind").hex(), part: 0, of: 2 };
    let left = head.context("the stream")?.beside(&subjects().device_cell(&name(), &left))?;
    left.append(Position(0), "left", Bytes::from_static(b"behind"), Duration::from_secs(5)).await?;
    assert_eq!(parts().await?.len(), after.len() + 1);
    let host = host_with(directory.path(), trimming(options(&lattice, rarely)));
    until("it is swept", async || parts().await.is_ok_and(|parts| parts == after)).await;
    assert!(counts(&lattice).await?.is_some(), "what counts can still be read");
    host.end().await;
    Ok(())
}
