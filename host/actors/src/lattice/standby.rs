//! A shard that another host owns and this one stands by for: its log followed, its checkpoints kept up
//! with, its actors of late folded. A takeover then goes on from here: it asks the log's leader whether
//! this is still the log, and reads what came last.
//!
//! ```text
//!  beginning ─▶ following ── asked to hand over ─▶ (the owner's side: `takeover`)
//!     ▲            │ the log was trimmed, cannot be read, or is another one; too much to remember
//!     └── a pause ─┘
//! ```
//! Task: one per shard (`standby`), which owns everything here; it ends when nobody holds its [`Seat`] any
//! more. Channel: what is asked of it, at most [`ASKED`] at once.
//! | module | does |
//! |---|---|
//! | [`work`] | one step after the other: follows, keeps up with checkpoints, answers |
//! | [`folded`] | the actors that are folded |
//! | [`query`] | one query |
//!
//! Queries are answered by whoever accepts an answer that may be old; each says how old.
//!
//! Invariants: it appends nothing, answers no command, and lets out no effect: guests fold, which traps
//! whatever they import. Everything between two of its steps is whole, so that it can be asked to hand over
//! at any time. Bounds: [`crate::policy::StandbyPolicy`].

mod folded;
mod query;
mod work;

use super::Inner;
use super::stream::StreamLog;
use super::values::Part;
use crate::history::History;
use bytes::Bytes;
pub(super) use folded::Folded;
use lattice_io::TaskScope;
use lattice_journal::RecordSeq;
use lattice_journal::standby::{Lost, Standby};
use lattice_protocol::entity::Stale;
use lattice_protocol::{EntityKey, ErrorCode, Report};
use query::Query;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use work::Work;

/// Questions of one standby at once.
const ASKED: usize = 256;
/// Pause before a standby begins anew that could not go on.
const ANEW: Duration = Duration::from_secs(2);
/// Pause before it is looked whether there is room for what did not fit.
const FULL: Duration = Duration::from_secs(60);
/// Longest wait for a standby to hand over: it is between two steps, or has nothing to hand over.
const HAND_OVER: Duration = Duration::from_millis(500);

/// What may be asked of a standby.
enum Ask {
    /// Hand over everything, and end.
    HandOver(oneshot::Sender<Followers>),
    /// Answer a query from what is folded.
    Query(Query),
}

/// An answer from what is folded, and how old that may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleAnswer {
    /// The actor's.
    pub reply: Bytes,
    /// The actor's last commit in it.
    pub seq: u64,
    /// The epoch of the shard's last record that is known.
    pub epoch: u64,
    /// How old it may be.
    pub stale: Stale,
}

/// How far a standby is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandbyStats {
    /// The last record of the shard that it has.
    pub record: u64,
    /// Actors that are folded.
    pub folded: usize,
    /// Actors that wait to be folded.
    pub waiting: usize,
}

/// Who holds it has a standby at work.
pub(super) struct Seat {
    asks: mpsc::Sender<Ask>,
    progress: watch::Receiver<Progress>,
}

/// How a standby gets on.
#[derive(Debug, Clone)]
enum Progress {
    Begins,
    Follows(StandbyStats),
    /// It waits before it begins anew: why.
    Waits(Report),
}

/// What a takeover goes on from.
pub(super) struct Followers {
    pub(super) log: StreamLog,
    pub(super) scope: TaskScope,
    pub(super) history: History,
    pub(super) standby: Standby,
    pub(super) folded: Folded,
}

impl Seat {
    /// How far it is; none while it begins.
    pub(super) fn stats(&self) -> Option<StandbyStats> {
        match *self.progress.borrow() {
            Progress::Follows(stats) => Some(stats),
            Progress::Begins | Progress::Waits(_) => None,
        }
    }

    /// Returns when the standby has this record, with whatever came before it; or why it will not.
    pub(super) fn has(&self, record: RecordSeq) -> impl Future<Output = Result<(), Report>> + use<> {
        let mut progress = self.progress.clone();
        async move {
            let settled = |progress: &Progress| match progress {
                Progress::Begins => false,
                Progress::Follows(stats) => stats.record >= record.0,
                Progress::Waits(report) => report.code == ErrorCode::InsufficientResources,
            };
            let ended = |_| Report::new(ErrorCode::Moving, "the standby has ended");
            match &*progress.wait_for(settled).await.map_err(ended)? {
                Progress::Waits(report) => Err(report.clone()),
                Progress::Begins | Progress::Follows(_) => Ok(()),
            }
        }
    }

    /// What the standby has, if it is anywhere near.
    pub(super) async fn hand_over(self) -> Option<Followers> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::HandOver(reply)).await.ok()?;
        tokio::time::timeout(HAND_OVER, answer).await.ok()?.ok()
    }

    /// Asks an actor something; the answer, or none when the standby cannot give any now.
    pub(super) fn query(
        &self,
        key: EntityKey,
        query: (String, Bytes),
    ) -> oneshot::Receiver<Result<StaleAnswer, Report>> {
        let (reply, answer) = oneshot::channel();
        // Refused, the reply is dropped: whoever asked is told by that.
        drop(self.asks.try_send(Ask::Query(Query { key, query, reply })));
        answer
    }
}

/// Why a standby does not go on.
enum Setback {
    /// The log cannot be followed from where it was.
    Lost(Lost),
    /// The lattice does not answer now, or says no.
    Refused(Report),
    /// It would have to remember more than it may.
    Full(usize),
}

impl From<Lost> for Setback {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<Setback> for Report {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::Lost(lost) => Self::new(ErrorCode::Damaged, lost.to_string()),
            Setback::Refused(report) => report,
            Setback::Full(size) => {
                let what = "the host would have to remember more of other hosts' shards than it may";
                Self::new(ErrorCode::InsufficientResources, what)
                    .got(format!("{size} entries of the shard"))
                    .hint("name another host, or keep less history for people: persistent.retainHours, retainMib")
            }
        }
    }
}

/// Takes a seat: a standby begins.
pub(super) fn sit(inner: &Arc<Inner>, part: Part) -> Seat {
    let (asks, asked) = mpsc::channel(ASKED);
    let (told, progress) = watch::channel(Progress::Begins);
    let of = Arc::clone(inner);
    inner.scope.spawn_until_cancelled("standby", async move { run(&of, &part, asked, told).await });
    Seat { asks, progress }
}

async fn run(inner: &Arc<Inner>, part: &Part, mut asked: mpsc::Receiver<Ask>, told: watch::Sender<Progress>) {
    loop {
        told.send_replace(Progress::Begins);
        let scope = inner.scope.child(format_args!("standby {}.{}", part.0, part.1));
        let began = tokio::select! {
            biased;
            // Asked to hand over, it has nothing yet; or nobody wants it any more.
            () = until_dismissed(&mut asked) => None,
            began = work::begin(inner, part, &scope) => Some(began),
        };
        let setback = match began {
            None => return end(&scope).await,
            Some(Ok(following)) => {
                tracing::debug!(kind = %part.0, shard = %part.1, record = %following.seq(), "standing by");
                match follow(following, &mut asked, &told).await {
                    None => return,
                    Some(setback) => setback,
                }
            }
            Some(Err(setback)) => setback,
        };
        end(&scope).await;
        let pause = tell(part, &setback);
        told.send_replace(Progress::Waits(setback.into()));
        tokio::select! {
            () = until_dismissed(&mut asked) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Answers no query: there is nothing yet.
async fn until_dismissed(asked: &mut mpsc::Receiver<Ask>) {
    while let Some(Ask::Query(_)) = asked.recv().await {}
}

/// Nothing in it is worth waiting for.
async fn end(scope: &TaskScope) {
    let report = scope.shutdown(Duration::ZERO).await;
    tracing::trace!(?report, "standby ended");
}

/// How long to wait after it.
fn tell((kind, shard): &Part, setback: &Setback) -> Duration {
    match setback {
        Setback::Lost(lost @ (Lost::Gap { .. } | Lost::Owner { .. })) => {
            tracing::debug!(%kind, %shard, %lost, "standby begins anew");
            Duration::ZERO
        }
        Setback::Lost(lost) => {
            tracing::warn!(%kind, %shard, %lost, "standby begins anew");
            ANEW
        }
        Setback::Refused(report) => {
            tracing::debug!(%kind, %shard, error = %report, "standby begins anew");
            ANEW
        }
        Setback::Full(size) => {
            tracing::warn!(%kind, %shard, size, "no standby: more to remember than this host may");
            FULL
        }
    }
}

/// The next thing asked that is no query; those are put aside, as many as may be.
async fn but_queries(asked: &mut mpsc::Receiver<Ask>, queries: &mut Vec<Query>) -> Option<Ask> {
    loop {
        match asked.recv().await {
            Some(Ask::Query(query)) if queries.len() < ASKED => queries.push(query),
            Some(Ask::Query(_)) => {}
            other => return other,
        }
    }
}

/// Until it has handed over, or nobody wants it any more (none); or cannot go on.
async fn follow(
    mut following: Work,
    asked: &mut mpsc::Receiver<Ask>,
    told: &watch::Sender<Progress>,
) -> Option<Setback> {
    loop {
        told.send_replace(Progress::Follows(following.stats()));
        let mut queries = Vec::new();
        let step = if following.is_idle() {
            tokio::select! {
                biased;
                ask = asked.recv() => Err(ask),
                step = following.wait() => Ok(step),
            }
        } else {
            // Queries wait until the step is done; nothing else does.
            tokio::select! {
                biased;
                ask = but_queries(asked, &mut queries) => Err(ask),
                step = following.step() => Ok(step),
            }
        };
        following.queries.append(&mut queries);
        match step {
            Ok(Ok(())) => {}
            Ok(Err(setback)) => return Some(setback),
            Err(Some(Ask::HandOver(reply))) if following.standby.wanted().is_none() => {
                // Whoever asked may have stopped waiting.
                if let Err(followers) = reply.send(following.hand_over()) {
                    end(&followers.scope).await;
                }
                return None;
            }
            Err(Some(Ask::Query(query))) => following.queries.push(query),
            // What the last checkpoint stands on is not here; or nobody wants anything any more.
            Err(Some(Ask::HandOver(_)) | None) => {
                end(&following.scope).await;
                return None;
            }
        }
    }
}
