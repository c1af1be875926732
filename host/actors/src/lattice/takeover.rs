//! Becoming the owner of a shard: the steps of [`lattice_journal::takeover`], carried out.

use super::stream::StreamLog;
use super::{Inner, OwnerValue, PAUSE, Part, owner_key};
use crate::history::History;
use crate::index::Schedule;
use crate::shard::Opened;
use lattice_io::log::{LogError, MAX_READ};
use lattice_journal::append::{AppendOutcome, LogAction};
use lattice_journal::begin::{Begin, BeginAction, Begun, Refusal};
use lattice_journal::chain::Invalid;
use lattice_journal::takeover::{ShardKey, ShardOwner, Takeover, TakeoverAction};
use lattice_journal::trim::SnapshotList;
use lattice_journal::{Position, RecordSeq, SessionId};
use lattice_protocol::{ErrorCode, Report};
use std::collections::VecDeque;
use std::time::Duration;

/// Patience of one append.
const APPEND: Duration = Duration::from_secs(2);

/// Why a shard was not taken over.
pub(super) enum Stuck {
    /// It is tried again at once.
    Passes(Report),
    /// Somebody has to do something: nobody may open it as it is.
    Closed(Report),
}

impl<E: Into<Report>> From<E> for Stuck {
    fn from(error: E) -> Self {
        Self::Passes(error.into())
    }
}

/// Takes a shard over; what it learnt on the way is what the shard is opened with.
///
/// # Errors
/// Somebody else has it, the lease ended, or the log does not answer or cannot be read.
pub(super) async fn run(
    inner: &Inner,
    part: &Part,
    session: SessionId,
    log: &StreamLog,
) -> Result<Opened, Stuck> {
    let (mut history, begun) = begin(part, log).await?;
    let checkpoint = begun.checkpoint.map(|(hint, document)| (hint.document, document));
    let first = checkpoint.as_ref().map_or(RecordSeq(1), |(_, document)| document.checkpoint.through.next());
    let mine = session.clone();
    let mut takeover = Takeover::new(session, begun.tail);
    let mut todo: VecDeque<TakeoverAction> = takeover.start().into();
    while let Some(action) = todo.pop_front() {
        if inner.state().lease.as_ref().is_none_or(|(_, until_ms)| inner.now_ms() >= *until_ms) {
            let what = "the host's lease ended during the takeover";
            return Err(Report::new(ErrorCode::Fenced, what).into());
        }
        match action {
            TakeoverAction::ReadKey => {
                let key = read_key(inner, part).await;
                // What was decided from was older than this: nobody takes a shard from a host that lives.
                if let Some((owner, _)) =
                    key.as_ref().filter(|(owner, _)| inner.lives(&part.0, &owner.session, &mine))
                {
                    let report = Report::new(ErrorCode::Fenced, "another host has the shard");
                    return Err(report.got(&owner.session).into());
                }
                todo.extend(takeover.key(key));
            }
            TakeoverAction::Claim { owner, over } => {
                let claimed = claim(inner, part, &owner, over).await;
                todo.extend(if claimed { takeover.claimed() } else { takeover.not_claimed() });
            }
            TakeoverAction::Log(LogAction::Append { attempt, expected, sealed }) => {
                let outcome = log.log.append(expected, sealed.bytes().clone(), APPEND).await;
                todo.extend(takeover.outcome(attempt, outcome.unwrap_or(AppendOutcome::Unknown)));
                // Found valid or not, it is the last one.
                log.remember(&sealed);
            }
            TakeoverAction::Log(LogAction::Read { attempt, after }) => {
                match log.log.read(after, MAX_READ).await {
                    Ok(back) => todo.extend(takeover.read(attempt, back)),
                    // Its owner lives, and has gone on: begin anew.
                    Err(error @ LogError::Trimmed { .. }) => return Err(error.into()),
                    Err(error) => {
                        tracing::debug!(%error, "log not read");
                        tokio::time::sleep(PAUSE).await;
                        todo.extend(takeover.read_failed(attempt));
                    }
                }
            }
            TakeoverAction::Fold(records) => {
                for sealed in &records {
                    history.take(sealed);
                    log.remember(sealed);
                }
            }
            TakeoverAction::Skipped(skipped) => tell_skipped(part, skipped),
            TakeoverAction::Opened => {
                let tail = takeover.into_tail();
                log.opened(tail.places.clone());
                log.shelf.opened(tail.chain.epoch(), checkpoint);
                if begun.troubles.is_empty() {
                    log.sweep();
                }
                return Ok(history.open(tail, first));
            }
            TakeoverAction::Lost { epoch } => {
                let what = "fenced: another host has the shard";
                return Err(Report::new(ErrorCode::Fenced, what).got(format!("epoch {epoch}")).into());
            }
            TakeoverAction::GaveUp => {
                return Err(Report::new(ErrorCode::OutcomeUnknown, "the shard's log does not answer").into());
            }
            TakeoverAction::Damaged { at, error } => {
                return Err(Stuck::Closed(Report::from(error).at(format!("position {at}"))));
            }
        }
    }
    Err(Report::new(ErrorCode::Internal, "a takeover that has nothing more to do").into())
}

/// Follows the log to its end, from a checkpoint if there is one.
async fn begin(part: &Part, log: &StreamLog) -> Result<(History, Begun), Stuck> {
    let mut history = History::new(Schedule::default(), SnapshotList::default());
    let mut begin = Begin::new(part.1, log.hints().await?);
    let mut todo: VecDeque<BeginAction> = begin.start().into();
    while let Some(action) = todo.pop_front() {
        match action {
            BeginAction::Read { after, one } => {
                match log.log.read(after, if one { 1 } else { MAX_READ }).await {
                    Ok(back) => todo.extend(begin.read(back)),
                    Err(LogError::Trimmed { first }) => todo.extend(begin.trimmed(first)),
                    Err(error) => return Err(error.into()),
                }
            }
            BeginAction::Fetch(name) => {
                let document = log.shelf.document(name).await?;
                todo.extend(begin.document(document));
            }
            BeginAction::Restart(document) => {
                log.forget();
                let (mut schedule, mut list) = (Schedule::default(), SnapshotList::default());
                if let Some(document) = document {
                    list = document.list();
                    document.timers.into_iter().for_each(|(key, name, timer)| schedule.set(key, name, timer));
                }
                history = History::new(schedule, list);
            }
            BeginAction::Fold(records) => {
                for sealed in &records {
                    history.take(sealed);
                    log.remember(sealed);
                }
            }
            BeginAction::Skipped(skipped) => tell_skipped(part, skipped),
            BeginAction::Begun => {
                let begun = begin.into_begun();
                for trouble in &begun.troubles {
                    tracing::error!(kind = %part.0, shard = %part.1, trouble, "checkpoint passed over");
                }
                return Ok((history, begun));
            }
            BeginAction::Refused(refusal @ Refusal::Restless) => return Err(refusal.into()),
            BeginAction::Refused(refusal) => {
                let at = format!("shard {} of kind {}", part.1, part.0);
                return Err(Stuck::Closed(Report::from(refusal).at(at)));
            }
        }
    }
    Err(Report::new(ErrorCode::Internal, "a beginning that has nothing more to do").into())
}

fn tell_skipped(part: &Part, skipped: Vec<(Position, Invalid)>) {
    for (at, invalid) in skipped {
        tracing::warn!(%at, error = %invalid.report(part.1), "record skipped");
    }
}

async fn read_key(inner: &Inner, part: &Part) -> ShardKey {
    loop {
        match inner.owners.get_latest(&owner_key(part)).await {
            Ok(Some(entry)) => {
                // Unreadable, it is written over: the epochs in the log are what counts, and a claim that is
                // not above them is made again.
                let value = serde_json::from_slice::<OwnerValue>(&entry.value);
                let value = value.unwrap_or_else(|_| OwnerValue::nobody());
                return Some((value.read(&inner.options.host), entry.revision));
            }
            Ok(None) => return None,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn claim(inner: &Inner, part: &Part, owner: &ShardOwner, over: Option<u64>) -> bool {
    let key = owner_key(part);
    // Plain strings and numbers: this cannot fail.
    let value = serde_json::to_vec(&OwnerValue::new(owner)).unwrap_or_default().into();
    let written = match over {
        None => inner.owners.create(&key, value).await,
        Some(revision) => inner.owners.update(&key, value, revision).await,
    };
    written.inspect_err(|error| tracing::debug!(%error, key, "shard not claimed")).is_ok()
}
