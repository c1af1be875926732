//! What has arrived of a host's journal, read back: each record checked against the one before it, as on the
//! host itself.
//!
//! A copy has one *life* for each journal that the host has had; in a life records follow each other without a
//! gap, but for those that say of themselves why they are one, and those that were [erased](super::erased). A
//! record that is there twice counts once. A journal that was built anew from its copy goes on in the same life.

pub mod actor;

use super::erased::{self, Erased};
use super::frame::{Entry, Frame, Gap, Incarnation, Why};
use super::{ForwardPolicy, lane};
use futures::StreamExt;
use lattice_io::Lanes;
use lattice_journal::chain::Invalid;
use lattice_journal::record::{Body, Checkpoint};
use lattice_journal::{Chain, Epoch, Hash, Position, RecordSeq, Sealed, ShardId};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{ErrorCode, HostId, Report};
use std::time::Duration;

/// The one shard of a device's journal.
const SHARD: ShardId = ShardId(0);
/// Longest wait for the next message of a stream that has it.
const PATIENCE: Duration = Duration::from_secs(30);

/// One journal of a host, as far as it has arrived.
#[derive(Debug, Clone)]
pub struct Life {
    /// Which journals, in order: the first, and those that were built anew from this copy.
    pub incarnations: Vec<Incarnation>,
    /// The first record that is here.
    pub first: RecordSeq,
    /// Missing records.
    pub gaps: Vec<Gap>,
    /// Records that were there again.
    pub repeated: u64,
    /// When its last message was sent, milliseconds since 1970 by the host's clock.
    pub sent_ms: u64,
    chain: Chain,
}

impl Life {
    /// The last record.
    #[must_use]
    pub fn last(&self) -> RecordSeq {
        self.chain.seq()
    }
    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.chain.head()
    }
    /// Its epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.chain.epoch()
    }
    /// How far its records follow from each other.
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }
    /// Records that are missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.last.0 + 1 - gap.first.0).sum()
    }
}

/// What was read. Pure: messages in, records out.
#[derive(Debug, Clone, Default)]
pub struct Copy {
    /// The host's journals, oldest first.
    pub lives: Vec<Life>,
    /// The place of the last message.
    pub at: Position,
    /// What was erased of it.
    pub erased: Erased,
}

fn damaged(what: impl std::fmt::Display, at: Position) -> Report {
    Report::new(ErrorCode::Damaged, format!("forwarded journal: {what}"))
        .at(format!("message {at}"))
        .hint("what was stored there is not what the host sent: restore the stream from a copy")
}

/// As if everything before this record were known: what follows a gap cannot be checked against what is
/// missing.
pub(crate) fn behind(record: &Sealed) -> Chain {
    let record = record.record();
    let opens = matches!(record.body, Body::EpochOpened { .. });
    let epoch = Epoch(record.epoch.0.saturating_sub(u64::from(opens)));
    let through = RecordSeq(record.seq.0.saturating_sub(1));
    let checkpoint =
        Checkpoint { through, hash: record.previous, epoch, snapshots: 0, list: Hash::ZERO, kept: None };
    Chain::from_checkpoint(SHARD, &checkpoint)
}

impl Copy {
    /// The journal that the host had last.
    #[must_use]
    pub fn newest(&self) -> Option<&Life> {
        self.lives.last()
    }

    /// The next message. Its records that are new go to `visit`, with the number of their life.
    ///
    /// # Errors
    /// `E_MALFORMED`, `E_DAMAGED`: nothing behind it can be trusted.
    pub fn take(
        &mut self,
        at: Position,
        message: &[u8],
        visit: &mut dyn FnMut(usize, Sealed),
    ) -> Result<(), Report> {
        let frame = Frame::decode(message).map_err(|report| report.at(format!("message {at}")))?;
        let mut gap = None;
        for entry in frame.entries {
            match entry {
                Entry::Gap(found) => gap = Some(found),
                Entry::Record(bytes) => {
                    let sealed = Sealed::open(bytes).map_err(|error| damaged(error, at))?;
                    let is_new = self.record(&sealed, (at, frame.incarnation), gap.take())?;
                    if let Some(life) = self.lives.last_mut() {
                        life.sent_ms = frame.sent_ms;
                    }
                    if is_new {
                        visit(self.lives.len().saturating_sub(1), sealed);
                    }
                }
            }
        }
        self.at = at;
        Ok(())
    }

    fn record(
        &mut self,
        sealed: &Sealed,
        (at, incarnation): (Position, Incarnation),
        gap: Option<Gap>,
    ) -> Result<bool, Report> {
        let record = sealed.record();
        if let Some(gap) = gap.filter(|gap| gap.last.next() != record.seq) {
            return Err(damaged(format!("record {} behind a gap up to {}", record.seq, gap.last), at));
        }
        // The first record that is spoken of.
        let start = gap.map_or(record.seq, |gap| gap.first);
        if self.begins(sealed, (start, gap), incarnation) {
            return self.begin(sealed, (start, gap), incarnation).map_err(|what| damaged(what, at));
        }
        let Some(life) = self.lives.last_mut() else { return Ok(false) };
        let due = life.last().next();
        let mut gaps = Vec::new();
        if start > due {
            let erased = Gap { first: due, last: RecordSeq(start.0 - 1), why: Why::Erased };
            let of = [life.incarnations.as_slice(), &[incarnation]].concat();
            if self.erased.covers(&of, (erased.first, erased.last)) {
                gaps.push(erased);
            }
        }
        gaps.extend(gap);
        let is_new = life.take(sealed, &gaps).map_err(|what| damaged(what, at))?;
        if life.incarnations.last() != Some(&incarnation) {
            life.incarnations.push(incarnation);
        }
        Ok(is_new)
    }

    /// Is it of another journal than the last one: not of one that goes on from that?
    fn begins(
        &self,
        sealed: &Sealed,
        (start, gap): (RecordSeq, Option<Gap>),
        incarnation: Incarnation,
    ) -> bool {
        let Some(life) = self.lives.last() else { return true };
        let Some(before) = life.incarnations.last().filter(|before| **before != incarnation) else {
            return false;
        };
        let due = life.last().next();
        if start <= due {
            return gap.is_some() || sealed.record().seq != due || sealed.record().previous != life.hash();
        }
        let missing = RecordSeq(start.0 - 1);
        // One that goes on from the other has nothing before that.
        self.erased.covers(&[incarnation], (RecordSeq(1), missing))
            || !self.erased.covers(&[*before, incarnation], (due, missing))
    }

    fn begin(
        &mut self,
        sealed: &Sealed,
        (start, gap): (RecordSeq, Option<Gap>),
        incarnation: Incarnation,
    ) -> Result<bool, String> {
        let mut gaps = Vec::new();
        if start > RecordSeq(1) {
            let (first, last) = (RecordSeq(1), RecordSeq(start.0 - 1));
            let why = if self.erased.covers(&[incarnation], (first, last)) {
                Why::Erased
            } else if self.lives.is_empty() && gap.is_none_or(|gap| gap.why != Why::Before) {
                // What is old goes first, when somebody has bounded the stream by age or purged it.
                Why::Trimmed
            } else {
                return Err(format!("begins with record {start} where 1 is due"));
            };
            gaps.push(Gap { first, last, why });
        }
        gaps.extend(gap);
        let last = RecordSeq(sealed.record().seq.0.saturating_sub(1));
        let chain = if gaps.is_empty() { Chain::new(SHARD) } else { behind(sealed) };
        let (incarnations, first) = (vec![incarnation], last.next());
        let mut life = Life { incarnations, first, gaps, repeated: 0, sent_ms: 0, chain };
        let is_new = life.take(sealed, &[])?;
        self.lives.push(life);
        Ok(is_new)
    }
}

impl Life {
    /// The next record, behind what is missing before it; was it new?
    fn take(&mut self, sealed: &Sealed, gaps: &[Gap]) -> Result<bool, String> {
        let seq = sealed.record().seq;
        if seq <= self.chain.seq() {
            return match self.chain.hash_of(seq) {
                Some(hash) if hash != sealed.hash() => Err(format!("two different records {seq}")),
                // The same again, or too old to be told from that.
                _ => {
                    self.repeated += 1;
                    Ok(false)
                }
            };
        }
        let invalid = |invalid: Invalid| format!("record {seq}: {invalid}");
        let Some(first) = gaps.first() else {
            return self.chain.offer(sealed).map(|()| true).map_err(invalid);
        };
        if first.first != self.chain.seq().next() {
            return Err(format!("a gap from {} behind record {}", first.first, self.chain.seq()));
        }
        let mut chain = behind(sealed);
        chain.offer(sealed).map_err(invalid)?;
        self.chain = chain;
        self.gaps.extend(gaps);
        Ok(true)
    }
}

/// Reads all that has arrived of a host's journal. Its records go to `visit`, each with the number of its life.
///
/// # Errors
/// `E_NOT_FOUND`: nothing has arrived. `E_DAMAGED`, `E_TIMEOUT`, and what the lattice says.
pub async fn read(
    lanes: &dyn Lanes,
    subjects: &Subjects,
    host: &HostId,
    visit: &mut (dyn FnMut(usize, Sealed) + Send),
) -> Result<Copy, Report> {
    read_messages(lanes, subjects, host, &mut |copy, at, message| copy.take(at, message, visit)).await
}

/// Takes one message.
type Take<'a> = dyn FnMut(&mut Copy, Position, &[u8]) -> Result<(), Report> + Send + 'a;

/// Reads all messages of a host's journal; `take` has to [take](Copy::take) each.
pub(crate) async fn read_messages(
    lanes: &dyn Lanes,
    subjects: &Subjects,
    host: &HostId,
    take: &mut Take<'_>,
) -> Result<Copy, Report> {
    let nothing = || {
        Report::new(ErrorCode::NotFound, "nothing of this host's journal has been forwarded").at(host).hint(
            "a host forwards the journal of its actors of durability device when it reaches the lattice",
        )
    };
    let lane = lanes.find(lane(subjects, host, &ForwardPolicy::default())).await?.ok_or_else(nothing)?;
    let (end, _) = lane.last().await?.ok_or_else(nothing)?;
    let mut copy = Copy { erased: erased::read(lanes, subjects, host).await?, ..Copy::default() };
    let mut following = lane.follow(Position(0)).await?;
    while copy.at < end {
        let next = tokio::time::timeout(PATIENCE, following.next()).await;
        let next = next.map_err(|_| {
            Report::new(ErrorCode::Timeout, "the forwarded journal was not read in time")
                .at(host)
                .limit(format!("{} s for a message", PATIENCE.as_secs()))
        })?;
        let Some((at, message)) = next else {
            let what = "the connection was lost while the forwarded journal was read";
            return Err(Report::new(ErrorCode::Connection, what).at(host).hint("try again"));
        };
        if let Err(report) = take(&mut copy, at, &message) {
            // What is missing may have been erased since this was begun.
            let erased = erased::read(lanes, subjects, host).await?;
            if erased == copy.erased {
                return Err(report);
            }
            copy.erased = erased;
            take(&mut copy, at, &message)?;
        }
    }
    Ok(copy)
}

/// Hosts of which something has arrived, and in how many messages.
///
/// # Errors
/// What the lattice says.
pub async fn hosts(lanes: &dyn Lanes, subjects: &Subjects) -> Result<Vec<(HostId, u64)>, Report> {
    let found = lanes.list(&subjects.device_stream(), &subjects.device_journals()).await?;
    let host =
        |lane: lattice_io::LaneInfo| Some((subjects.parse_device_journal(&lane.subject)?, lane.entries));
    Ok(found.into_iter().filter_map(host).collect())
}

#[cfg(test)]
mod tests;
