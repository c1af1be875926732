//! The replay rule: which records of a stream count.
//!
//! A record is valid iff it follows the last valid one (`previous` is its hash, `seq` is the next)
//! and its epoch is that of the last [`Body::EpochOpened`] before it *in stream order*; an
//! `EpochOpened` must raise the epoch. Anything else that can be read is skipped whole and reported
//! (law J7). What cannot be read stops the reader instead (law J6).
//!
//! That is the whole fence. It needs no clock and no lease: two owners who both believe that they
//! are the one write into one stream, and every reader of the stream sees the same one of them win.

use crate::ids::{Epoch, Hash, RecordSeq, ShardId};
use crate::record::{Body, Checkpoint, Record, Sealed, SessionId};
use lattice_protocol::{ErrorCode, Report};
use std::collections::VecDeque;

/// How many of the last valid records are remembered, to tell a fork or a repetition from noise.
const REMEMBERED: usize = 1_024;

/// Why a record does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The same record, stored again.
    #[error("record {seq} again")]
    Repeated {
        /// Which.
        seq: RecordSeq,
    },
    /// Written by somebody who is not the owner any more, or not yet.
    #[error("fenced: epoch {got} where {current} is current")]
    Epoch {
        /// What it was written under.
        got: Epoch,
        /// What is current at that place of the stream.
        current: Epoch,
    },
    /// It follows a record that has another successor already: two histories.
    #[error("fork: follows record {after}, as another one does already")]
    Fork {
        /// The record both follow.
        after: RecordSeq,
    },
    /// It follows no record that is remembered.
    #[error("does not follow record {last}")]
    Unchained {
        /// The last valid one.
        last: RecordSeq,
    },
    /// It follows, but counts otherwise.
    #[error("numbered {got} where {expected} is due")]
    Sequence {
        /// What it says.
        got: RecordSeq,
        /// What is due.
        expected: RecordSeq,
    },
    /// Of another shard.
    #[error("of shard {got}")]
    Shard {
        /// Which.
        got: ShardId,
    },
    /// A checkpoint that contradicts the history it is about.
    #[error("checkpoint through record {through} is not of this history")]
    Checkpoint {
        /// What it is about.
        through: RecordSeq,
    },
}

impl Invalid {
    /// For the log and the console: what happened, and whether it needs somebody. A repetition is
    /// part of every retry, and fenced records of every takeover; a fork is not.
    #[must_use]
    pub fn report(&self, shard: ShardId) -> Report {
        let code = match self {
            Self::Epoch { .. } | Self::Repeated { .. } => ErrorCode::Fenced,
            Self::Fork { .. } => ErrorCode::Fork,
            _ => ErrorCode::Damaged,
        };
        Report::new(code, format!("record skipped: {self}")).at(format!("shard {shard}"))
    }
}

/// How far a shard's history has been followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    shard: ShardId,
    seq: RecordSeq,
    head: Hash,
    epoch: Epoch,
    owner: Option<SessionId>,
    /// The last valid ones, oldest first, the head included.
    recent: VecDeque<(RecordSeq, Hash)>,
}

impl Chain {
    /// Before the first record.
    #[must_use]
    pub fn new(shard: ShardId) -> Self {
        let recent = VecDeque::from([(RecordSeq(0), Hash::ZERO)]);
        Self { shard, seq: RecordSeq(0), head: Hash::ZERO, epoch: Epoch(0), owner: None, recent }
    }

    /// After everything that a checkpoint replaces. Whoever gives the checkpoint vouches for it.
    #[must_use]
    pub fn from_checkpoint(shard: ShardId, checkpoint: &Checkpoint) -> Self {
        let (seq, head) = (checkpoint.through, checkpoint.hash);
        Self { shard, seq, head, epoch: checkpoint.epoch, owner: None, recent: VecDeque::from([(seq, head)]) }
    }

    /// Of which shard.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }
    /// The last valid record's place.
    #[must_use]
    pub fn seq(&self) -> RecordSeq {
        self.seq
    }
    /// The last valid record's hash.
    #[must_use]
    pub fn head(&self) -> Hash {
        self.head
    }
    /// The current epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
    /// Who opened it; none before the first, and after a checkpoint until the next.
    #[must_use]
    pub fn owner(&self) -> Option<&SessionId> {
        self.owner.as_ref()
    }
    /// The hash of a valid record, while it is remembered (the last 1 024).
    #[must_use]
    pub fn hash_of(&self, seq: RecordSeq) -> Option<Hash> {
        self.recent.iter().rev().find(|(known, _)| *known == seq).map(|(_, hash)| *hash)
    }

    /// The record that would follow now, with this body, under the current epoch.
    #[must_use]
    pub fn next(&self, body: Body) -> Record {
        Record { shard: self.shard, seq: self.seq.next(), previous: self.head, epoch: self.epoch, body }
    }

    /// The record by which this session would become the owner.
    #[must_use]
    pub fn opening(&self, epoch: Epoch, owner: SessionId) -> Record {
        Record { epoch, ..self.next(Body::EpochOpened { owner }) }
    }

    /// The next record of the stream. When it is valid the chain has moved to it.
    ///
    /// # Errors
    /// [`Invalid`]: skip it whole; the chain stays.
    pub fn offer(&mut self, sealed: &Sealed) -> Result<(), Invalid> {
        let record = sealed.record();
        self.check(record, sealed.hash())?;
        self.seq = record.seq;
        self.head = sealed.hash();
        self.epoch = record.epoch;
        if let Body::EpochOpened { owner } = &record.body {
            self.owner = Some(owner.clone());
        }
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((self.seq, self.head));
        Ok(())
    }

    fn check(&self, record: &Record, hash: Hash) -> Result<(), Invalid> {
        if record.shard != self.shard {
            return Err(Invalid::Shard { got: record.shard });
        }
        if self.hash_of(record.seq) == Some(hash) {
            return Err(Invalid::Repeated { seq: record.seq });
        }
        let opens = matches!(record.body, Body::EpochOpened { .. });
        let epoch_fits = if opens { record.epoch > self.epoch } else { record.epoch == self.epoch };
        if !epoch_fits {
            return Err(Invalid::Epoch { got: record.epoch, current: self.epoch });
        }
        if record.previous != self.head {
            return Err(match self.recent.iter().rev().find(|(_, hash)| *hash == record.previous) {
                Some((after, _)) => Invalid::Fork { after: *after },
                None => Invalid::Unchained { last: self.seq },
            });
        }
        if record.seq != self.seq.next() {
            return Err(Invalid::Sequence { got: record.seq, expected: self.seq.next() });
        }
        if let Body::Checkpoint(checkpoint) = &record.body {
            self.check_checkpoint(checkpoint)?;
        }
        Ok(())
    }

    /// A checkpoint is about the past, and agrees with what of it is remembered.
    fn check_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), Invalid> {
        let through = checkpoint.through;
        let agrees = self.hash_of(through).is_none_or(|hash| hash == checkpoint.hash);
        if through <= self.seq && checkpoint.epoch <= self.epoch && agrees {
            Ok(())
        } else {
            Err(Invalid::Checkpoint { through })
        }
    }
}

/// The first record in which two copies of one shard differ; `None` when one is a beginning of the
/// other. Copies are given as (sequence, hash) of their valid records, ascending.
#[must_use]
pub fn divergence(left: &[(RecordSeq, Hash)], right: &[(RecordSeq, Hash)]) -> Option<RecordSeq> {
    let mut others = right.iter().peekable();
    left.iter().find_map(|(seq, hash)| {
        while others.peek().is_some_and(|(other, _)| other < seq) {
            others.next();
        }
        others.peek().is_some_and(|(other, theirs)| other == seq && theirs != hash).then_some(*seq)
    })
}

#[cfg(test)]
mod tests;
