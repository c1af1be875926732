//! One command, one effect: what an actor remembers of the commands it has carried out.
//!
//! Of every sending actor it remembers the last message; messages of one sender have numbers without
//! a gap, so all earlier ones are known as well. Of other commands it remembers the last
//! [`MAX_IDS`] ids of the last [`MAX_AGE_MS`], with the first reply. What it forgets raises the
//! *floor*: an id at or below the floor that is not remembered may have been carried out, so it is
//! refused (`E_ID_EXPIRED`) and never executed.
//!
//! Invariant: a command that was carried out is remembered, or at or below the floor. All of this
//! follows from the commits alone, so it is the same on every host that folds them (law J3); that
//! is why the bounds are constants and no settings.

use crate::command::{CommandId, CommandRef};
use crate::commit::Commit;
use crate::ids::ActorSeq;
use bytes::Bytes;
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::collections::BTreeMap;

mod recent;

use recent::Recent;

/// Ids remembered of commands from outside.
pub const MAX_IDS: usize = 1_024;
/// Bytes remembered of their replies; the oldest ids go first.
pub const MAX_REPLY_BYTES: usize = 1 << 20;
/// How long an id is good for, milliseconds: 72 hours.
pub const MAX_AGE_MS: u64 = 72 * 3_600_000;
/// How far in the future an id may have been issued, milliseconds: clocks differ.
pub const MAX_AHEAD_MS: u64 = 5 * 60_000;
/// Most different actors that may send to one. New ones are refused beyond.
pub const MAX_SENDERS: usize = 65_536;

/// What became of a command the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// Which commit.
    pub seq: ActorSeq,
    /// Tells the command from another under the same id.
    pub digest: [u8; 8],
    /// What its sender was told.
    pub reply: Bytes,
}

/// What is known about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It has not been carried out: decide it.
    New,
    /// It has: answer the same.
    Repeated(First),
    /// It has, and its sender has gone on since: nobody waits for the answer any more.
    Settled,
}

/// Why a command is refused undecided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its id is older than what is remembered.
    #[error(
        "command id {id} is older than this actor remembers: it may have been carried out, and is not carried out now"
    )]
    Expired {
        /// Which.
        id: CommandId,
    },
    /// Its id was issued in the future.
    #[error("command id {id} was issued {ahead_ms} ms ahead of this host's clock")]
    Future {
        /// Which.
        id: CommandId,
        /// How far.
        ahead_ms: u64,
    },
    /// Its id stands for another command already.
    #[error("command id {reference} was used for another command")]
    Reused {
        /// Which.
        reference: String,
    },
    /// An earlier message of the same sender has not come yet.
    #[error("message {got} of {from} came before message {expected}")]
    Gap {
        /// Who.
        from: EntityKey,
        /// Which came.
        got: u64,
        /// Which is due.
        expected: u64,
    },
    /// Too many different senders.
    #[error("{from}: this actor has heard from too many others")]
    Senders {
        /// The one too many.
        from: EntityKey,
    },
}

impl From<Refused> for Report {
    fn from(refused: Refused) -> Self {
        let what = refused.to_string();
        match refused {
            Refused::Expired { .. } => Self::new(ErrorCode::IdExpired, what)
                .limit(format!("the last {MAX_IDS} ids of {} h", MAX_AGE_MS / 3_600_000))
                .hint(
                    "ask the actor what became of it; send it with a new id only if it must be done (again)",
                ),
            Refused::Future { ahead_ms, .. } => Self::new(ErrorCode::IdFuture, what)
                .got(format!("{ahead_ms} ms"))
                .limit(format!("{MAX_AHEAD_MS} ms"))
                .hint("set the clock of the sender, or of this host"),
            Refused::Reused { .. } => {
                Self::new(ErrorCode::IdReused, what).hint("give each command its own id")
            }
            Refused::Gap { .. } => Self::new(ErrorCode::SequenceGap, what),
            Refused::Senders { .. } => Self::new(ErrorCode::Limit, what).limit(MAX_SENDERS),
        }
    }
}

/// What one actor remembers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dedupe {
    pub(crate) ids: Recent,
    /// Every id at or below it that is not in `ids` has expired.
    pub(crate) floor: Option<CommandId>,
    pub(crate) senders: BTreeMap<EntityKey, (u64, First)>,
    reply_bytes: usize,
}

impl Dedupe {
    pub(crate) fn from_parts(
        ids: BTreeMap<CommandId, First>,
        floor: Option<CommandId>,
        senders: BTreeMap<EntityKey, (u64, First)>,
    ) -> Self {
        let own = |first: First| First { reply: own(&first.reply), ..first };
        let senders = senders.into_iter().map(|(key, (number, first))| (key, (number, own(first)))).collect();
        let ids: Recent = ids.into_iter().map(|(id, first)| (id, own(first))).collect();
        let reply_bytes = ids.iter().map(|(_, first)| first.reply.len()).sum();
        Self { ids, floor, senders, reply_bytes }
    }

    /// What is known about a command from outside or from another actor. Timers and answers are
    /// the [`Ledger`](crate::ledger::Ledger)'s to know.
    ///
    /// # Errors
    /// [`Refused`]: it must not be decided.
    pub fn check(&self, reference: &CommandRef, digest: [u8; 8], unix_ms: u64) -> Result<Known, Refused> {
        match reference {
            CommandRef::Id(id) => self.check_id(*id, digest, unix_ms),
            CommandRef::Sent { from, sequence } => self.check_sent(from, *sequence, digest),
            CommandRef::Timer { .. } | CommandRef::Answer { .. } => Ok(Known::New),
        }
    }

    fn check_id(&self, id: CommandId, digest: [u8; 8], unix_ms: u64) -> Result<Known, Refused> {
        if let Some(first) = self.ids.get(id) {
            return repeated(first, digest, || id.to_string());
        }
        let ahead_ms = id.issued_ms().saturating_sub(unix_ms);
        if ahead_ms > MAX_AHEAD_MS {
            return Err(Refused::Future { id, ahead_ms });
        }
        let too_old = unix_ms.saturating_sub(id.issued_ms()) > MAX_AGE_MS;
        if too_old || self.floor.is_some_and(|floor| id <= floor) {
            return Err(Refused::Expired { id });
        }
        Ok(Known::New)
    }

    fn check_sent(&self, from: &EntityKey, got: u64, digest: [u8; 8]) -> Result<Known, Refused> {
        let last = self.senders.get(from);
        let expected = last.map_or(0, |(sequence, _)| *sequence).saturating_add(1);
        match last {
            Some((sequence, first)) if got == *sequence => {
                repeated(first, digest, || format!("{from}#{got}"))
            }
            _ if got < expected => Ok(Known::Settled),
            _ if got > expected => Err(Refused::Gap { from: from.clone(), got, expected }),
            None if self.senders.len() >= MAX_SENDERS => Err(Refused::Senders { from: from.clone() }),
            _ => Ok(Known::New),
        }
    }

    /// Remembers a commit's command, and forgets what is too much or too old.
    pub(crate) fn remember(&mut self, commit: &Commit) {
        let first = First { seq: commit.seq, digest: commit.command_digest, reply: own(&commit.reply) };
        match &commit.command {
            CommandRef::Id(id) => {
                self.reply_bytes = self.reply_bytes.saturating_add(first.reply.len());
                if let Some(before) = self.ids.insert(*id, first) {
                    self.reply_bytes = self.reply_bytes.saturating_sub(before.reply.len());
                }
                self.forget(commit.hlc.wall_ms);
            }
            CommandRef::Sent { from, sequence } => {
                self.senders.insert(from.clone(), (*sequence, first));
            }
            CommandRef::Timer { .. } | CommandRef::Answer { .. } => {}
        }
    }

    fn forget(&mut self, unix_ms: u64) {
        while let Some((id, first)) = self.ids.front() {
            let too_old = unix_ms.saturating_sub(id.issued_ms()) > MAX_AGE_MS;
            let too_much = self.ids.len() > MAX_IDS || self.reply_bytes > MAX_REPLY_BYTES;
            if !too_old && !too_much {
                return;
            }
            self.reply_bytes = self.reply_bytes.saturating_sub(first.reply.len());
            self.floor = self.floor.max(Some(*id));
            self.ids.pop_front();
        }
    }
}

/// A copy that does not keep the record, or the snapshot, around it in memory.
pub(crate) fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn repeated(first: &First, digest: [u8; 8], name: impl FnOnce() -> String) -> Result<Known, Refused> {
    if first.digest == digest {
        Ok(Known::Repeated(first.clone()))
    } else {
        Err(Refused::Reused { reference: name() })
    }
}

#[cfg(test)]
mod tests;
