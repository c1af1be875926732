//! Becoming the owner of a shard: the steps of [`lattice_journal::takeover`], carried out.

use super::stream::StreamLog;
use super::{Inner, OwnerValue, PAUSE, Part, owner_key};
use crate::history::History;
use crate::index::Schedule;
use crate::log::ShardLog;
use crate::shard::Opened;
use lattice_io::log::MAX_READ;
use lattice_journal::append::{AppendOutcome, LogAction, Tail};
use lattice_journal::takeover::{ShardKey, ShardOwner, Takeover, TakeoverAction};
use lattice_journal::trim::SnapshotList;
use lattice_journal::{Chain, RecordSeq, SessionId};
use lattice_protocol::{ErrorCode, Report};
use std::collections::VecDeque;
use std::time::Duration;

/// Patience of one append.
const APPEND: Duration = Duration::from_secs(2);

/// Takes a shard over; what it learnt on the way is what the shard is opened with.
///
/// # Errors
/// Somebody else has it, the lease ended, or the log does not answer or cannot be read.
pub(super) async fn run(
    inner: &Inner,
    part: &Part,
    session: SessionId,
    log: &StreamLog,
) -> Result<Opened, Report> {
    let mut takeover = Takeover::new(session, Tail::new(Chain::new(part.1)));
    let mut history = History::new(Schedule::default(), SnapshotList::default());
    let mut todo: VecDeque<TakeoverAction> = takeover.start().into();
    while let Some(action) = todo.pop_front() {
        if inner.state().lease.as_ref().is_none_or(|(_, until_ms)| inner.now_ms() >= *until_ms) {
            return Err(Report::new(ErrorCode::Fenced, "the host's lease ended during the takeover"));
        }
        match action {
            TakeoverAction::ReadKey => todo.extend(takeover.key(read_key(inner, part).await)),
            TakeoverAction::Claim { owner, over } => {
                let claimed = claim(inner, part, &owner, over).await;
                todo.extend(if claimed { takeover.claimed() } else { takeover.not_claimed() });
            }
            TakeoverAction::Log(LogAction::Append { attempt, expected, sealed }) => {
                let outcome = log.log.append(expected, sealed.bytes().clone(), APPEND).await;
                todo.extend(takeover.outcome(attempt, outcome.unwrap_or(AppendOutcome::Unknown)));
                // Found valid or not, it is the last one.
                log.durable(&sealed);
            }
            TakeoverAction::Log(LogAction::Read { attempt, after }) => {
                match log.log.read(after, MAX_READ).await {
                    Ok(back) => todo.extend(takeover.read(attempt, back)),
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
                    log.durable(sealed);
                }
            }
            TakeoverAction::Skipped(skipped) => {
                for (at, invalid) in skipped {
                    tracing::warn!(%at, error = %invalid.report(part.1), "record skipped");
                }
            }
            TakeoverAction::Opened => return Ok(history.open(takeover.into_tail(), RecordSeq(1))),
            TakeoverAction::Lost { epoch } => {
                let what = "fenced: another host has the shard";
                return Err(Report::new(ErrorCode::Fenced, what).got(format!("epoch {epoch}")));
            }
            TakeoverAction::GaveUp => {
                return Err(Report::new(ErrorCode::OutcomeUnknown, "the shard's log does not answer"));
            }
            TakeoverAction::Damaged { at, error } => {
                return Err(Report::from(error).at(format!("position {at}")));
            }
        }
    }
    Err(Report::new(ErrorCode::Internal, "a takeover that has nothing more to do"))
}

async fn read_key(inner: &Inner, part: &Part) -> ShardKey {
    loop {
        match inner.owners.get_latest(&owner_key(part)).await {
            Ok(Some(entry)) => {
                // Unreadable, it is written over: the epochs in the log are what counts.
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
