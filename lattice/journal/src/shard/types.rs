//! What goes into a shard and what comes out.

use crate::append::{AppendOutcome, LogAction, ReadBack};
use crate::chain::Invalid;
use crate::command::Command;
use crate::error::DecodeError;
use crate::ids::{ActorSeq, Epoch, Position, RecordSeq};
use crate::ledger::{Decision, Ledger};
use crate::outbox::OutboxPosition;
use crate::record::{Checkpoint, Sealed};
use bytes::Bytes;
use keys::Digest;
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::sync::Arc;

/// Bounds of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardPolicy {
    /// Commands that wait at one actor.
    pub queue: usize,
    /// Actors in memory, or on their way there.
    pub actors: usize,
    /// Commits of one record.
    pub record_commits: usize,
    /// Bytes of one record, about.
    pub record_bytes: usize,
    /// Traps of one command before it is set aside.
    pub traps: u32,
}

impl Default for ShardPolicy {
    fn default() -> Self {
        Self { queue: 1_024, actors: 100_000, record_commits: 1_024, record_bytes: 512 << 10, traps: 3 }
    }
}

/// Names who waits for an answer. The shell chooses it; it must be new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A command for an actor of this shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who waits.
    pub token: Token,
    /// For whom it is.
    pub key: EntityKey,
    /// What; whoever handles it shares it.
    pub command: Arc<Command>,
}

/// What an actor is asked between two of its turns, when its state is what its journal says.
/// Nothing is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A query; its answer goes out as [`Action::Reply`].
    Query {
        /// Which.
        name: String,
        /// With what.
        body: Bytes,
    },
    /// Save the state, with the ledger as it is now: a snapshot. The shell keeps what was saved.
    Save,
}

/// What came of a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This.
    Given(Bytes),
    /// The actor refuses it, or the shell could not ask; the state is as it was.
    Refused(Report),
    /// The guest trapped, or ran over a limit: the live state is spoilt.
    Trapped(Report),
}

/// Answer to a command or a query, as [`Action::Reply`] carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// What the actor said, the first time.
    pub reply: Bytes,
    /// In which commit.
    pub seq: ActorSeq,
    /// The epoch of the owner that answers.
    pub epoch: Epoch,
    /// Was it carried out before?
    pub repeated: bool,
    /// Only of timers, answers and other actors' messages, which must not come again for ever: it
    /// was refused (or set aside), and that is what was stored. Keep the command where a person
    /// can see it.
    pub refused: Option<Report>,
}

/// What the guest made of a command. Anything but [`Outcome::Decided`] leaves nothing behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was decided, and the events are applied to the live state.
    Decided {
        /// What.
        decision: Decision,
        /// The component that decided.
        component: Digest,
    },
    /// The actor refuses it, by its own rules. Its state is unchanged. A command from outside may be
    /// sent again and is decided anew; any other is settled by a commit without events.
    Refused(Report),
    /// It could not be asked now, through no fault of actor or command; its state is unchanged.
    Unavailable(Report),
    /// The guest trapped, or ran over a limit: the live state is spoilt.
    Trapped(Report),
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A command arrived.
    Submit(Request),
    /// An actor is to be deleted, for good; the command's id is what tells a repetition, its name and body
    /// say nothing. Answered as a command is; an actor that was deleted before is deleted.
    Delete(Request),
    /// Somebody asks an actor something.
    Ask {
        /// Who waits.
        token: Token,
        /// Whom.
        key: EntityKey,
        /// What.
        question: Question,
    },
    /// Answer to [`Action::Ask`].
    Answered {
        /// Whose.
        key: EntityKey,
        /// Which.
        token: Token,
        /// What came of it.
        answer: Answer,
    },
    /// An actor is in memory, folded up to the shard's last valid record.
    Activated {
        /// What the host keeps of it.
        ledger: Box<Ledger>,
    },
    /// An actor could not be brought into memory.
    NotActivated {
        /// Which.
        key: EntityKey,
        /// Why.
        report: Report,
    },
    /// Answer to [`Action::Decide`].
    Decided {
        /// Whose.
        key: EntityKey,
        /// Which.
        token: Token,
        /// What came of it.
        outcome: Outcome,
    },
    /// Answer to [`LogAction::Append`].
    Appended {
        /// Which.
        attempt: u64,
        /// What the log said.
        outcome: AppendOutcome,
    },
    /// Answer to [`LogAction::Read`].
    Read {
        /// Which.
        attempt: u64,
        /// What was there.
        back: ReadBack,
    },
    /// No answer to [`LogAction::Read`].
    ReadFailed {
        /// Which.
        attempt: u64,
    },
    /// The lease holds until then, monotonic milliseconds.
    Lease {
        /// When.
        until_ms: u64,
    },
    /// The outbox has got so far; the next commits carry it.
    Relayed(OutboxPosition),
    /// Write the outbox's position even without commits (before a rest, and at times).
    SaveRelayed,
    /// Write a checkpoint.
    Checkpoint(Checkpoint),
    /// Forget which commands of this actor have trapped: there is another component now.
    Forgive {
        /// Which.
        key: EntityKey,
    },
    /// Let an idle actor leave memory.
    Passivate {
        /// Which.
        key: EntityKey,
    },
    /// Take no more commands (a migration); answered by [`Action::Drained`].
    CloseIntake,
    /// Take commands again.
    OpenIntake,
    /// Stop for good.
    Stop(StopReason),
    /// Time has passed.
    Tick,
}

/// To be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Bring an actor into memory: last snapshot, then the log up to [`Shard::tail`](super::Shard::tail);
    /// answer with [`Input::Activated`] or [`Input::NotActivated`].
    Activate {
        /// Which.
        key: EntityKey,
    },
    /// Let the guest decide and apply; answer with [`Input::Decided`].
    Decide {
        /// Whose.
        key: EntityKey,
        /// Goes back with the answer.
        token: Token,
        /// What.
        command: Arc<Command>,
    },
    /// Ask the guest; answer with [`Input::Answered`]. Until then no turn of this actor begins.
    Ask {
        /// Whom.
        key: EntityKey,
        /// Goes back with the answer.
        token: Token,
        /// What.
        question: Question,
    },
    /// Do this to the log.
    Log(LogAction),
    /// A record of this owner is durable and valid: its outgoing effects may go, timers be set,
    /// caches and standbys be fed.
    Durable(Sealed),
    /// The command is carried out.
    Reply {
        /// Who waits.
        token: Token,
        /// What to tell.
        answer: Submitted,
    },
    /// It is not, or not certainly.
    Refuse {
        /// Who waits.
        token: Token,
        /// Why, and whether it is worth trying again.
        report: Report,
    },
    /// Drop the live state of this actor; it is activated anew when needed.
    Drop {
        /// Which.
        key: EntityKey,
    },
    /// A command keeps trapping: it was set aside. Keep it where a person can see and replay it.
    Quarantined {
        /// Whose.
        key: EntityKey,
        /// Which.
        command: Arc<Command>,
    },
    /// Records that do not count: report them.
    Skipped(Vec<(Position, Invalid)>),
    /// No turn is under way, none will begin; this is the last record.
    Drained {
        /// Which.
        last: RecordSeq,
    },
    /// The shard does nothing more.
    Stopped(StopReason),
}

/// Why a shard does nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// Another owner opened this epoch.
    Fenced {
        /// Which.
        by: Epoch,
    },
    /// The lease ended before it was renewed.
    LeaseEnded,
    /// The log did not say what became of a record.
    OutcomeUnknown,
    /// The log cannot be read on.
    Damaged {
        /// Where.
        at: Position,
        /// What is wrong there.
        error: DecodeError,
    },
    /// The log takes no more writes (a full or failing disk).
    Log(Report),
    /// A commit of ours did not fit what it was made from: a defect.
    Defect(String),
    /// The shard went to another host.
    Moved,
    /// The host ends.
    Shutdown,
}

impl StopReason {
    /// For those whose command was certainly not carried out.
    #[must_use]
    pub fn report(&self) -> Report {
        match self {
            Self::Fenced { by } => {
                Report::new(ErrorCode::Fenced, "fenced: this host does not own the shard any more")
                    .got(format!("epoch {by} in the log"))
                    .hint("send the same command id again: it goes to the new owner")
            }
            Self::LeaseEnded => Report::new(ErrorCode::Fenced, "fenced: the host's lease ended")
                .hint("send the same command id again when the lattice can be reached"),
            Self::OutcomeUnknown => Report::new(ErrorCode::OutcomeUnknown, "the shard's log does not answer"),
            Self::Damaged { at, error } => Report::from(error.clone()).at(format!("log position {at}")),
            Self::Log(report) => report.clone(),
            Self::Defect(what) => Report::new(ErrorCode::Internal, what.clone()),
            Self::Moved | Self::Shutdown => moving(),
        }
    }

    /// For those whose command is in a record that was sent.
    pub(super) fn unknown(&self) -> Report {
        match self {
            // It was overtaken: nobody will ever see it as valid.
            Self::Fenced { .. } => self.report(),
            _ => Report::new(
                ErrorCode::OutcomeUnknown,
                format!("outcome unknown: the command may have been carried out ({})", self.report().what),
            )
            .hint(
                "send the same command id again: it is answered with the first result, or carried out once",
            ),
        }
    }
}

pub(super) fn moving() -> Report {
    Report::new(ErrorCode::Moving, "the actor is moving to another host")
        .hint("send the same command id again: it goes to the new owner")
}
