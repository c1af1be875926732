//! What a deleted actor had done is erased from its host's forwarded journal: on a real server, refused while anybody
//! would lose his state by it, taken up again where it was cut off; and told from damage ever after.

use crate::copies::{copy_of, guests_of, rebuilt, sum};
use crate::forward::{
    add, all_has_arrived, arrived, name, options, policy, status, subjects, trimming, users, work,
};
use crate::standing::{messages, stands};
use crate::support::{Host, PATIENCE, T0, as_user, host_with, key};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use host_actors::ForwardPolicy;
use host_actors::forward::erase::{Erasure, erase};
use host_actors::forward::frame::{Entry, Why};
use host_actors::forward::rebuild::Stands;
use host_actors::inspect::Moment;
use lattice_io::lane::{Lane, LaneInfo, LaneOptions, Lanes};
use lattice_io::log::Following;
use lattice_io::memory::Memory;
use lattice_io::{BoxFuture, Lattice, StreamError};
use lattice_journal::append::AppendOutcome;
use lattice_journal::{CommandId, Position, Sealed};
use lattice_protocol::{ErrorCode, Report};
use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tests_harness::NatsServer;

const SECRET: &str = "sum/secret";

/// Small messages, and no checkpoint but at first and after a deletion.
fn small() -> ForwardPolicy {
    ForwardPolicy { frame_bytes: 600, checkpoint_bytes: u64::MAX, checkpoint_ms: u64::MAX, ..policy() }
}

fn start(path: &Path, lattice: &Lattice) -> Host {
    host_with(path, trimming(options(lattice, small())))
}

async fn erased(lattice: &Lattice) -> Result<Erasure, Report> {
    erase(lattice, &subjects(), (&name(), &key(SECRET))).await
}

async fn delete(host: &Host, actor: &str) {
    host.door().delete(key(actor), CommandId::new(T0, [250; 10]), PATIENCE).await.unwrap();
}

/// Commits of the actor that are in the stream, those that say that it was deleted left out.
async fn commits(lattice: &Lattice) -> Result<usize> {
    let mut count = 0;
    for (_, frame) in messages(lattice).await? {
        for entry in frame.entries {
            let Entry::Record(bytes) = entry else { continue };
            let sealed = Sealed::open(bytes)?;
            let mine = sealed.record().commits().iter();
            count += mine.filter(|commit| commit.key == key(SECRET) && !commit.is_tombstone()).count();
        }
    }
    Ok(count)
}

/// What others did, and here and there the actor.
async fn mixed(host: &Host) {
    for n in 0..60 {
        work(host, n..n + 1).await;
        if n % 20 == 10 {
            add(host, 1_000 + n, SECRET).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_gone_from_the_stream_and_nobody_else_has_lost_his_state() -> Result<()> {
    let options = tests_harness::NatsOptions { operator_config: Some(users()), ..Default::default() };
    let server = NatsServer::start(options).await?;
    let (mine, all) = (as_user(&server, "NTEST").await?, as_user(&server, "all").await?);
    let (directory, new) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let host = start(directory.path(), &mine);
    mixed(&host).await;
    all_has_arrived(&host).await;
    let refused = erased(&all).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict, "{refused}");
    assert!(refused.to_string().contains("not deleted"), "{refused}");
    assert_eq!(commits(&all).await?, 3);
    delete(&host, SECRET).await;
    work(&host, 60..61).await;
    all_has_arrived(&host).await;
    stands(&host, status(&host).through - 1).await;
    // A host may do none of it, whoever asks it to.
    let denied = erased(&mine).await.unwrap_err();
    assert_eq!(denied.code, ErrorCode::Denied, "{denied}");
    assert_eq!(commits(&all).await?, 3);
    let done = erased(&all).await?;
    assert!(done.messages > 0 && done.messages <= 3 && done.records >= done.messages, "{done:?}");
    assert_eq!(commits(&all).await?, 0);
    assert_eq!(erased(&all).await?, Erasure::default(), "said again");
    let (copy, _) = arrived(&all).await?;
    let life = copy.newest().context("a life")?;
    assert_eq!((copy.lives.len(), life.missing()), (1, done.records));
    ensure!(life.gaps.iter().all(|gap| gap.why == Why::Erased), "{:?}", life.gaps);
    assert_eq!(copy_of(&all, SECRET).await.unwrap_err().code, ErrorCode::ActorNotFound);
    // Others: what is missing is said, and what they are is there.
    let mut total = 0;
    for actor in 0..7 {
        let found = copy_of(&all, &format!("sum/a-{actor}")).await?;
        let verified = found.verify()?;
        ensure!(verified.gaps.iter().all(|(_, _, why)| why.contains("erased")), "{verified:?}");
        let state = found.state(guests_of(), Moment::Last).await?;
        let live = host.door().state_at(key(&format!("sum/a-{actor}")), Moment::Last).await.unwrap();
        assert_eq!((state.seq, &state.state), (live.seq, &live.state));
        total += state.seq;
    }
    assert_eq!(total, 61);
    // The host goes on, and sends nothing again.
    host.end().await;
    let host = start(directory.path(), &mine);
    work(&host, 61..70).await;
    all_has_arrived(&host).await;
    host.end().await;
    let (copy, _) = arrived(&all).await?;
    assert_eq!((copy.lives.len(), commits(&all).await?), (1, 0));
    // And it can be built anew, without what is gone.
    let journal = trimming(crate::forward::options(&all, small())).journal;
    let anew = rebuilt(&all, new.path(), journal).await?;
    assert_eq!(anew.stands, Stands::Forwarded);
    let host = start(new.path(), &mine);
    assert_eq!(sum(&host).await, 70);
    let gone = host.query(SECRET, "balance").await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::ActorNotFound);
    host.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_erased_before_a_checkpoint_stands_for_it_nor_the_last_message() -> Result<()> {
    let memory = Memory::new();
    let lattice = memory.lattice();
    let directory = tempfile::tempdir()?;
    let host = start(directory.path(), &lattice);
    mixed(&host).await;
    all_has_arrived(&host).await;
    let before = status(&host).checkpoint.map_or(0, |checkpoint| checkpoint.through);
    // An effect that nobody takes holds every checkpoint back.
    *host.outside.refuses.lock().unwrap() = Some(Report::new(ErrorCode::Connection, "not now"));
    host.command(1, "sum/a-0", "publish", "topic x").await.unwrap();
    delete(&host, SECRET).await;
    work(&host, 60..61).await;
    all_has_arrived(&host).await;
    let refused = erased(&lattice).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict, "{refused}");
    assert!(refused.to_string().contains(&format!("through {before}")), "{refused}");
    assert_eq!(commits(&lattice).await?, 3);
    *host.outside.refuses.lock().unwrap() = None;
    host.clock.advance(Duration::from_secs(60));
    stands(&host, status(&host).through - 2).await;
    all_has_arrived(&host).await;
    host.end().await;
    // As if everything behind the actor's last commits had not been sent yet.
    let all = messages(&lattice).await?;
    let lane = lattice.lanes.find(host_actors::forward::lane(&subjects(), &name(), &policy())).await?;
    let lane = lane.context("the lane")?;
    let has = |frame: &host_actors::forward::frame::Frame| {
        frame.entries.iter().any(|entry| match entry {
            Entry::Record(bytes) => Sealed::open(bytes.clone()).is_ok_and(|sealed| {
                sealed.record().commits().iter().any(|one| one.key == key(SECRET) && !one.is_tombstone())
            }),
            Entry::Gap(_) => false,
        })
    };
    let last = all.iter().rposition(|(_, frame)| has(frame)).context("a message of it")?;
    let kept: Vec<(Position, Bytes)> = {
        let mut kept = Vec::new();
        for (at, frame) in &all[last + 1..] {
            kept.push((*at, frame.encode()?));
            lane.erase(*at).await?;
        }
        kept
    };
    let refused = erased(&lattice).await.unwrap_err();
    assert!(refused.to_string().contains("newest message"), "{refused}");
    let mut at = all[last].0;
    for (n, (_, message)) in kept.iter().enumerate() {
        match lane.append(at, &format!("again {n}"), message.clone(), PATIENCE).await? {
            AppendOutcome::Stored(stored) => at = stored,
            other => anyhow::bail!("{other:?}"),
        }
    }
    erased(&lattice).await?;
    assert_eq!(commits(&lattice).await?, 0);
    Ok(())
}

/// Lanes that fail after so many entries were erased.
struct Failing {
    inner: Arc<dyn Lanes>,
    left: Arc<AtomicU32>,
}

struct FailingLane {
    inner: Arc<dyn Lane>,
    left: Arc<AtomicU32>,
}

impl Failing {
    fn lane(&self, inner: Arc<dyn Lane>) -> Arc<dyn Lane> {
        Arc::new(FailingLane { inner, left: Arc::clone(&self.left) })
    }
}

impl Lanes for Failing {
    fn open(&self, options: LaneOptions) -> BoxFuture<'_, Result<Arc<dyn Lane>, StreamError>> {
        Box::pin(async move { Ok(self.lane(self.inner.open(options).await?)) })
    }
    fn find(&self, options: LaneOptions) -> BoxFuture<'_, Result<Option<Arc<dyn Lane>>, StreamError>> {
        Box::pin(async move { Ok(self.inner.find(options).await?.map(|lane| self.lane(lane))) })
    }
    fn list<'a>(
        &'a self,
        stream: &'a str,
        subjects: &'a str,
    ) -> BoxFuture<'a, Result<Vec<LaneInfo>, StreamError>> {
        self.inner.list(stream, subjects)
    }
}

impl Lane for FailingLane {
    fn last(&self) -> BoxFuture<'_, Result<Option<(Position, Bytes)>, StreamError>> {
        self.inner.last()
    }
    fn append<'a>(
        &'a self,
        expected: Position,
        id: &'a str,
        entry: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<AppendOutcome, StreamError>> {
        self.inner.append(expected, id, entry, timeout)
    }
    fn follow(&self, after: Position) -> BoxFuture<'_, Result<Following, StreamError>> {
        self.inner.follow(after)
    }
    fn beside(&self, subject: &str) -> Result<Arc<dyn Lane>, StreamError> {
        self.inner.beside(subject)
    }
    fn clear(&self, timeout: Duration) -> BoxFuture<'_, Result<(), StreamError>> {
        self.inner.clear(timeout)
    }
    fn erase(&self, at: Position) -> BoxFuture<'_, Result<bool, StreamError>> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match left {
            Ok(_) => self.inner.erase(at),
            Err(_) => {
                let (what, reason) = ("test".to_owned(), "cut off".to_owned());
                Box::pin(ready(Err(StreamError::Refused { what, reason })))
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_cut_off_anywhere_is_no_damage_and_goes_on_when_it_is_said_again() -> Result<()> {
    let memory = Memory::new();
    let lattice = memory.lattice();
    let directory = tempfile::tempdir()?;
    let host = start(directory.path(), &lattice);
    mixed(&host).await;
    delete(&host, SECRET).await;
    work(&host, 60..61).await;
    all_has_arrived(&host).await;
    stands(&host, status(&host).through - 1).await;
    host.end().await;
    for before in [3, 2, 1] {
        assert_eq!(commits(&lattice).await?, before);
        // Each attempt gets one further, and then none.
        for left in [0, 1] {
            let left = Arc::new(AtomicU32::new(left));
            let failing = Failing { inner: Arc::clone(&lattice.lanes), left };
            let cut = erased(&Lattice { lanes: Arc::new(failing), ..lattice.clone() }).await;
            let (copy, _) = arrived(&lattice).await?;
            let life = copy.newest().context("a life")?;
            ensure!(life.gaps.iter().all(|gap| gap.why == Why::Erased), "{:?}", life.gaps);
            ensure!(cut.is_err() || commits(&lattice).await? == 0, "{cut:?}");
        }
    }
    assert_eq!(commits(&lattice).await?, 0);
    assert_eq!(erased(&lattice).await?, Erasure::default());
    Ok(())
}
