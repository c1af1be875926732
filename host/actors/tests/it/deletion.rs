//! Deleted actors: from the tombstone on nothing of them is to be found and nothing brings them back, on the
//! owner, on who stands by, after a restart and a takeover; and their history leaves the disk (here), the
//! stream and the store (`lattice`) when its time is over, while everybody else's state stays.

mod forwarded;
mod lattice;

use crate::support::{Host, PATIENCE, Settings, T0, host_with, key, until};
use bytes::Bytes;
use host_actors::inspect::Moment;
use host_actors::{Door, KindPolicy};
use lattice_journal::CommandId;
use lattice_journal::retain::Retention;
use lattice_journal::shard::Submitted;
use lattice_journal::snapshot::SnapshotPolicy;
use lattice_protocol::{ErrorCode, Report};
use std::path::Path;
use std::time::Duration;

/// What nobody else says.
const SECRET: &str = "918273645";
const GONE: ErrorCode = ErrorCode::ActorNotFound;

/// Files below a directory that have these bytes.
fn having(directory: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(having(&path, bytes));
        // It may have gone since it was listed.
        } else if std::fs::read(&path).unwrap_or_default().windows(bytes.len()).any(|part| part == bytes) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn host(directory: &Path, retain: Retention) -> Host {
    let mut settings = Settings::default();
    settings.policy.passivate_events = 1;
    let snapshots = SnapshotPolicy { events: 5, ..SnapshotPolicy::default() };
    settings.kind = KindPolicy { snapshots, retain, ..KindPolicy::default() };
    host_with(directory, settings)
}

pub(super) async fn delete(host: &Host, n: u8, actor: &str) -> Result<Submitted, Report> {
    host.door().delete(key(actor), CommandId::new(T0, [n; 10]), PATIENCE).await
}

/// Lets a period pass.
async fn look(host: &Host) {
    host.clock.advance(Duration::from_millis(50));
    tokio::time::sleep(Duration::from_millis(2)).await;
}

/// Whatever is asked of it, it is not there. An error: the shard closed meanwhile.
async fn is_gone(door: &Door, actor: &str) -> Result<(), Report> {
    let balance = door.query(key(actor), ("balance".to_owned(), Bytes::new()), PATIENCE).await.map(drop);
    let seen = [
        balance.map_err(|refused| {
            assert!(refused.code != GONE || refused.to_string().contains("was deleted"), "{refused}");
            refused
        }),
        door.state_at(key(actor), Moment::Last).await.map(drop),
        door.state_at(key(actor), Moment::Seq(1)).await.map(drop),
        door.journal(key(actor), 0, 100).await.map(drop),
        door.verify(key(actor)).await.map(drop),
    ];
    for answer in seen {
        match answer {
            Err(report) if report.code == GONE => {}
            Err(report) if is_closing(report.code) => return Err(report),
            other => panic!("{actor}: {other:?}"),
        }
    }
    let listed = door.list(None).await?;
    assert!(listed.actors.iter().all(|line| line.key != key(actor)), "{listed:?}");
    Ok(())
}

/// What is said when the shard closes: its host may have lost its lease on a machine that has much to do.
fn is_closing(code: ErrorCode) -> bool {
    use ErrorCode::{Fenced, JournalStopped, Moving, OutcomeUnknown};
    matches!(code, Fenced | JournalStopped | Moving | OutcomeUnknown)
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_deleted_actor_is_gone_at_once_stays_so_and_leaves_the_disk_when_its_history_does() {
    let directory = tempfile::tempdir().unwrap();
    let retain = Retention { age_ms: 3_600_000, bytes: u64::MAX };
    let first = host(directory.path(), retain);
    first.reply(1, "sum/secret", "add", SECRET).await;
    first.reply(2, "sum/other", "add", "7").await;
    first.reply(3, "sum/secret", "later", &format!("ring 1000000 {SECRET}")).await;
    first.reply(4, "sum/secret", "many", "9").await;
    // A message that nobody takes, and a command that is set aside.
    *first.outside.refuses.lock().unwrap() = Some(Report::new(ErrorCode::Connection, "not now"));
    first.reply(5, "sum/secret", "publish", &format!("topic {SECRET}")).await;
    for _ in 0..3 {
        assert_eq!(first.command(6, "sum/secret", "trap", SECRET).await.unwrap_err().code, ErrorCode::Trap);
    }
    until("it is set aside, and there are snapshots", async || {
        look(&first).await;
        !first.actors.set_aside().await.unwrap().is_empty()
            && !having(&directory.path().join("snapshots"), SECRET.as_bytes()).is_empty()
    })
    .await;
    assert_eq!(delete(&first, 7, "sum/nobody").await.unwrap_err().code, GONE, "there is nothing to delete");
    let answer = delete(&first, 8, "sum/secret").await.unwrap();
    assert_eq!((answer.seq.0, answer.repeated), (5, false));
    is_gone(&first.door(), "sum/secret").await.unwrap();
    assert!(delete(&first, 9, "sum/secret").await.unwrap().repeated);
    // Ids of before, and new ones.
    for (n, amount) in [(1, SECRET), (200, "1")] {
        assert_eq!(first.command(n, "sum/secret", "add", amount).await.unwrap_err().code, GONE);
    }
    until("what the host has beside the journal is gone", async || {
        look(&first).await;
        having(&directory.path().join("snapshots"), SECRET.as_bytes()).is_empty()
            && first.actors.set_aside().await.unwrap().is_empty()
    })
    .await;
    // Nothing goes out of it, and no timer of it rings.
    *first.outside.refuses.lock().unwrap() = None;
    let left = first.outside.left().len();
    first.clock.advance(Duration::from_secs(1_500));
    first.reply(10, "sum/other", "publish", "topic x").await;
    until("others are heard", async || {
        look(&first).await;
        first.outside.left().len() > left
    })
    .await;
    assert!(first.outside.left()[left..].iter().all(|what| !what.contains(SECRET)));
    assert!(!having(directory.path(), SECRET.as_bytes()).is_empty(), "history is kept for an hour");
    first.end().await;
    let later = Settings::default().at_ms + 2_000_000;
    let second = {
        let mut settings = Settings { at_ms: later, ..Settings::default() };
        settings.kind.retain = retain;
        host_with(directory.path(), settings)
    };
    assert_eq!(second.query("sum/other", "balance").await.unwrap(), "7");
    is_gone(&second.door(), "sum/secret").await.unwrap();
    let answer = delete(&second, 11, "sum/secret").await.unwrap();
    assert_eq!((answer.seq.0, answer.repeated), (5, true));
    second.clock.advance(HOUR);
    let mut left = Vec::new();
    let waiting = async {
        loop {
            // The file goes when all that came into it is an hour old.
            second.clock.advance(Duration::from_secs(120));
            tokio::time::sleep(Duration::from_millis(20)).await;
            left = having(directory.path(), SECRET.as_bytes());
            if left.is_empty() {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "still in {left:?}");
    is_gone(&second.door(), "sum/secret").await.unwrap();
    assert_eq!(second.reply(12, "sum/other", "add", "1").await, "8");
    second.end().await;
    // From the checkpoint alone.
    let third = host(directory.path(), retain);
    assert_eq!(third.query("sum/other", "balance").await.unwrap(), "8");
    is_gone(&third.door(), "sum/secret").await.unwrap();
    assert_eq!(third.command(1, "sum/secret", "add", SECRET).await.unwrap_err().code, GONE);
    assert!(third.door().verify(key("sum/other")).await.is_ok());
}

/// Files of a host's journal that are in use.
fn segments(directory: &Path) -> usize {
    let names = std::fs::read_dir(directory.join("journal")).unwrap();
    names.filter(|name| name.as_ref().unwrap().file_name().to_str().unwrap().starts_with("segment-")).count()
}

#[tokio::test]
async fn a_deleted_actor_leaves_a_quiet_device_a_sixteenth_after_its_time_however_often_that_restarts() {
    const MINUTE: u64 = 60_000;
    let directory = tempfile::tempdir().unwrap();
    let retain = Retention { age_ms: 60 * MINUTE, bytes: u64::MAX };
    let at = |at_ms| {
        let mut settings = Settings { at_ms, ..Settings::default() };
        settings.kind.retain = retain;
        host_with(directory.path(), settings)
    };
    let mut life = at(T0);
    let mut now_ms = T0;
    life.reply(1, "sum/other", "add", "0").await;
    // Several, of which only the first has a file closed at once.
    for n in 0..8 {
        let actor = format!("sum/secret-{n}");
        life.reply(10 + n, &actor, "add", SECRET).await;
        delete(&life, 20 + n, &actor).await.unwrap();
        life.clock.advance(Duration::from_secs(1));
        life.reply(30 + n, "sum/other", "add", "1").await;
    }
    now_ms += 8_000;
    let last_ms = now_ms;
    until("the first file is closed", async || segments(directory.path()) == 2).await;
    // A command each minute; each tenth minute it is started anew.
    for minute in 1..=60 + 60 / 16 + 1 {
        life.clock.advance(Duration::from_millis(MINUTE));
        now_ms += MINUTE;
        assert_eq!(life.reply(100 + minute, "sum/other", "add", "1").await, (8 + minute).to_string());
        if minute % 10 == 0 {
            life.end().await;
            life = at(now_ms);
        }
        assert!(segments(directory.path()) <= 3, "one file more at most for all of them");
        if minute < 59 {
            assert!(!having(directory.path(), SECRET.as_bytes()).is_empty(), "kept for an hour");
        }
    }
    until("nothing has it", async || {
        look(&life).await;
        having(directory.path(), SECRET.as_bytes()).is_empty()
    })
    .await;
    // An hour, a sixteenth of it, and the minute that is the grain of ages.
    assert!(now_ms - last_ms <= 60 * MINUTE + 60 * MINUTE / 16 + 2 * MINUTE);
    assert_eq!(segments(directory.path()), 1);
    is_gone(&life.door(), "sum/secret-7").await.unwrap();
    life.end().await;
    let next = at(now_ms);
    assert_eq!(next.reply(1, "sum/other", "add", "0").await, "0", "an answer of before");
    assert_eq!(next.query("sum/other", "balance").await.unwrap(), "72");
}

#[tokio::test]
async fn what_was_trimmed_before_its_actor_was_deleted_is_in_no_file_that_is_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.policy.trim_records = 5;
    settings.journal.segment_bytes = 16 << 10;
    settings.kind.snapshots = SnapshotPolicy { events: 5, ..SnapshotPolicy::default() };
    let host = host_with(directory.path(), settings);
    let journal = directory.path().join("journal");
    // About 10 KiB each: one of them in a file of 16 KiB, and the secret behind the first.
    host.reply(1, "sum/other", "many", "1000").await;
    host.reply(2, "sum/secret", "add", SECRET).await;
    for n in 3..40 {
        host.reply(n, "sum/other", "many", "1000").await;
    }
    until("it is trimmed, and its file is used again or will be", async || {
        look(&host).await;
        host.door().journal(key("sum/secret"), 0, 1).await.is_ok_and(|commits| commits.is_empty())
    })
    .await;
    assert!(!having(&journal, SECRET.as_bytes()).is_empty());
    delete(&host, 50, "sum/secret").await.unwrap();
    let mut n = 50;
    until("nothing has it", async || {
        n += 1;
        host.reply(n, "sum/other", "many", "1000").await;
        look(&host).await;
        having(directory.path(), SECRET.as_bytes()).is_empty()
    })
    .await;
    is_gone(&host.door(), "sum/secret").await.unwrap();
}
