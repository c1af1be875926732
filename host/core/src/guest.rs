//! What runs the guests of persistent actors, as whoever runs their turns sees it: a kind opens live
//! states, a live state folds, decides, answers and saves. `host/runtime` implements it with
//! components; tests implement it with what they like.
//!
//! Nothing here waits: every operation gets a [`Done`] that is called once, on a thread of the
//! implementer's, and must not block. A live state does one thing at a time, in the order in which
//! it was asked. Dropped, it is gone; what was asked before is done all the same.
//!
//! Failures are told apart by what is left: after [`GuestFault::Unavailable`] everything is as it
//! was; after any other the live state is gone and has to be opened and folded again.

use keys::Digest;
use lattice_journal::{Command, Decision, Event};
use lattice_protocol::{EntityKey, ErrorCode, Report};
use std::sync::Arc;

/// Called once with what came of an operation.
pub type Done<T> = Box<dyn FnOnce(Result<T, GuestFault>) + Send>;

/// Why an operation gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestFault {
    /// The guest trapped, ran over a limit, or said that an event or a snapshot is not its own.
    Trapped(Report),
    /// What it shared an instance with trapped, or the host let the instance go: open it again.
    Gone,
    /// There is no room now; nothing was begun.
    Unavailable(Report),
}

impl GuestFault {
    /// For whoever waits.
    #[must_use]
    pub fn report(self) -> Report {
        match self {
            Self::Trapped(report) | Self::Unavailable(report) => report,
            Self::Gone => {
                Report::new(ErrorCode::Overloaded, "the actor's instance ended; it is folded again")
                    .hint("send the same command id again")
            }
        }
    }
}

/// A state as the guest saved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Version of its form.
    pub version: u32,
    /// The bytes.
    pub state: bytes::Bytes,
}

/// What a live state begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Whose.
    pub key: EntityKey,
    /// Its last snapshot; none: the first state.
    pub snapshot: Option<Saved>,
    /// In an instance of its own: its traps shall not be felt by others.
    pub alone: bool,
}

/// What a decision may know beyond state and command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// Which commit of the actor it would be.
    pub seq: u64,
    /// For what has to look random.
    pub seed: u64,
    /// The command, in one line.
    pub command_id: String,
    /// The actor that sent it.
    pub sender: Option<EntityKey>,
}

/// What a guest made of a command, its events applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is so decided.
    Decided(Decision),
    /// The actor's own no; the state is as it was.
    Refused(Report),
}

/// A kind of persistent actor: one component.
pub trait GuestKind: Send + Sync {
    /// The component: it stands in every commit that it decides.
    fn component(&self) -> Digest;
    /// Opens a live state.
    fn open(&self, opening: Opening, done: Done<Arc<dyn Guest>>);
}

/// The live state of one actor.
pub trait Guest: Send + Sync {
    /// Takes events in, in order.
    fn fold(&self, events: Vec<Event>, done: Done<()>);
    /// Decides, and takes the events of the decision in.
    fn decide(&self, turn: Turn, command: Arc<Command>, done: Done<Verdict>);
    /// Answers from the state. The inner error is the actor's own no.
    fn query(&self, now_ms: u64, query: (String, bytes::Bytes), done: Done<Result<bytes::Bytes, Report>>);
    /// Saves the state, canonically.
    fn save(&self, done: Done<Saved>);
}
