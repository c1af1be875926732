//! Becoming the owner of a shard: the steps of [`lattice_journal::takeover`], carried out; from what a
//! standby has followed, where there was one.

use super::standby::Folded;
use super::stream::{CACHE_BYTES, StreamLog};
use super::values::{owner_value, shard_owner};
use super::{Inner, PAUSE, Part, owner_key};
use crate::activate::Ready;
use crate::history::History;
use crate::index::Schedule;
use crate::shard::Opened;
use lattice_io::log::{LogError, MAX_READ};
use lattice_io::{BusError, StreamError};
use lattice_journal::append::{AppendOutcome, Followed, LogAction, Tail};
use lattice_journal::begin::{Begin, BeginAction, Begun, Hint, Refusal};
use lattice_journal::chain::Invalid;
use lattice_journal::document::Document;
use lattice_journal::record::Body;
use lattice_journal::standby::{Lost, Standby};
use lattice_journal::takeover::{ShardKey, ShardOwner, Takeover, TakeoverAction};
use lattice_journal::trim::SnapshotList;
use lattice_journal::{Position, RecordSeq, SessionId};
use lattice_protocol::ownership::OwnerValue;
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// What to do when this host may not write a shard's records.
const NOT_ENROLLED: &str =
    "enrol the host for the domain of the kind: trellis lattice enroll <host> --domain <name>";
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

pub(super) fn lease_ended() -> Stuck {
    Report::new(ErrorCode::Fenced, "the host's lease ended during the takeover").into()
}

/// What a standby has: the history that it folded, how far it followed the log, and actors in memory.
pub(super) type Ahead = (History, Standby, Folded);

/// Takes a shard over; what it learnt on the way is what the shard is opened with.
///
/// # Errors
/// Somebody else has it, the lease ended, or the log does not answer or cannot be read.
pub(super) async fn run(
    inner: &Inner,
    part: &Part,
    session: SessionId,
    log: &StreamLog,
    followed: Option<Ahead>,
) -> Result<Opened, Stuck> {
    let Start { mut history, tail, checkpoint, is_sound, folded } = start(part, log, followed).await?;
    let checkpoint = checkpoint.map(|(hint, document)| (hint.document, document));
    let first = checkpoint
        .as_ref()
        .map_or((RecordSeq(1), 0), |(_, document)| (document.checkpoint.through.next(), document.at_ms));
    let mine = session.clone();
    let mut takeover = Takeover::new(session, tail);
    let mut todo: VecDeque<TakeoverAction> = takeover.start().into();
    while let Some(action) = todo.pop_front() {
        if inner.state().holds_until(&mine).is_none_or(|until_ms| inner.now_ms() >= until_ms) {
            return Err(lease_ended());
        }
        match action {
            TakeoverAction::ReadKey => {
                let key = read_key(inner, part).await;
                if let Some((owner, _)) = &key
                    && inner.may_act(&owner.session, &part.0).await?
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
                if let Err(error @ StreamError::Bus(BusError::Denied { .. })) = outcome {
                    return Err(Stuck::Closed(Report::from(error).hint(NOT_ENROLLED)));
                }
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
                    // What a checkpoint stands on is not here, and what the one before stands on may be gone:
                    // an owner clears away what its own does not name.
                    if !matches!(&sealed.record().body, Body::Commits { .. }) {
                        let what = "the shard had another owner, or checkpoint, during the takeover";
                        return Err(Report::new(ErrorCode::Fenced, what).into());
                    }
                    history.take(sealed);
                    log.remember(sealed);
                }
            }
            TakeoverAction::Skipped(skipped) => tell_skipped(part, skipped),
            TakeoverAction::Opened => {
                let tail = takeover.into_tail();
                log.follows(tail.places.clone());
                log.shelf.opened(tail.chain.epoch(), checkpoint);
                if is_sound {
                    log.sweep();
                }
                return Ok(history.open(tail, first, folded)?);
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

/// Where a takeover goes on from.
struct Start {
    history: History,
    tail: Tail,
    checkpoint: Option<(Hint, Document)>,
    /// No checkpoint had to be passed over.
    is_sound: bool,
    folded: HashMap<EntityKey, (Ready, RecordSeq)>,
}

/// From what a standby has followed, if the log is still that one; else from the log alone.
async fn start(part: &Part, log: &StreamLog, followed: Option<Ahead>) -> Result<Start, Stuck> {
    if let Some((mut history, mut standby, folded)) = followed {
        match check(log, &mut standby).await {
            Ok(since) => {
                tell_skipped(part, since.skipped);
                for sealed in &since.valid {
                    history.take(sealed);
                    log.remember(sealed);
                }
                log.keep_in_memory(CACHE_BYTES);
                // A checkpoint came last of all: what it stands on is not here.
                if standby.wanted().is_none() {
                    let (tail, checkpoint) = standby.into_parts();
                    return Ok(Start {
                        history,
                        tail,
                        checkpoint,
                        is_sound: true,
                        folded: folded.into_ready(),
                    });
                }
            }
            Err(error) => {
                tracing::warn!(kind = %part.0, shard = %part.1, %error, "what was followed is not used");
            }
        }
        log.forget();
        log.keep_in_memory(CACHE_BYTES);
    }
    let (history, begun) = begin(part, log).await?;
    let Begun { tail, checkpoint, troubles, .. } = begun;
    Ok(Start { history, tail, checkpoint, is_sound: troubles.is_empty(), folded: HashMap::new() })
}

/// Asks the log's leader for what was followed last, and what came since; and whether the checkpoint that it
/// stands on is still kept.
async fn check(log: &StreamLog, standby: &mut Standby) -> Result<Followed, Report> {
    let nothing = || Report::new(ErrorCode::Internal, "nothing was followed");
    let after = standby.check_after().ok_or_else(nothing)?;
    let lost = |lost: Lost| Report::new(ErrorCode::Damaged, lost.to_string());
    let document = standby.checkpoint();
    let (back, there) = tokio::join!(log.log.read(after, MAX_READ), log.shelf.has(document));
    if !there? {
        let what = "the document of the checkpoint that was followed has gone";
        return Err(Report::new(ErrorCode::Damaged, what));
    }
    let mut back = back?;
    let mut complete = back.complete;
    let mut since = standby.check(back).map_err(lost)?;
    while !complete {
        back = log.log.read(standby.tail().position, MAX_READ).await?;
        complete = back.complete;
        let further = standby.follow(back.entries).map_err(lost)?;
        since.valid.extend(further.valid);
        since.skipped.extend(further.skipped);
    }
    Ok(since)
}

/// Follows the log to its end, from a checkpoint if there is one.
pub(super) async fn begin(part: &Part, log: &StreamLog) -> Result<(History, Begun), Stuck> {
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

pub(super) fn tell_skipped(part: &Part, skipped: Vec<(Position, Invalid)>) {
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
                return Some((shard_owner(&value, &inner.options.host), entry.revision));
            }
            Ok(None) => return None,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn claim(inner: &Inner, part: &Part, owner: &ShardOwner, over: Option<u64>) -> bool {
    let key = owner_key(part);
    // Plain strings and numbers: this cannot fail.
    // A person's word holds for this host only, from the move on.
    let host = &inner.options.host;
    let chosen = inner.state().owners.get(&key).is_some_and(|known| {
        let is_here = known.host() == Some(host.as_str());
        known.chosen && (is_here || known.to.as_ref() == Some(host))
    });
    let value = OwnerValue { chosen, ..owner_value(owner) };
    let value = serde_json::to_vec(&value).unwrap_or_default().into();
    let written = match over {
        None => inner.owners.create(&key, value).await,
        Some(revision) => inner.owners.update(&key, value, revision).await,
    };
    written.inspect_err(|error| tracing::debug!(%error, key, "shard not claimed")).is_ok()
}
