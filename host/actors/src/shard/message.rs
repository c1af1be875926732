//! What comes to a shard, and who waits for its answers.

use super::Look;
use super::relay::Relayed;
use crate::activate::Ready;
use crate::kinds::Kind;
use crate::log::Trimmed;
use bytes::Bytes;
use host_core::guest::{GuestFault, Saved, Verdict};
use keys::Digest;
use lattice_journal::outbox::Outgoing;
use lattice_journal::record::SnapshotRef;
use lattice_journal::shard::{Input, StopReason, Submitted, Token};
use lattice_journal::{Command, Epoch, Ledger, RecordSeq, Sealed};
use lattice_protocol::{EntityKey, KindName, Report};
use tokio::sync::{mpsc, oneshot};

/// Where an answer goes.
pub type Reply = oneshot::Sender<Result<Submitted, Report>>;

/// What happens to a shard.
pub(crate) enum Message {
    Submit {
        key: EntityKey,
        command: Command,
        reply: Reply,
    },
    Delete {
        key: EntityKey,
        command: Command,
        reply: Reply,
    },
    Query {
        key: EntityKey,
        name: String,
        body: Bytes,
        reply: Reply,
    },
    Log(Input),
    LogFailed(Report),
    Ready {
        key: EntityKey,
        result: Result<Ready, Report>,
    },
    Decided {
        key: EntityKey,
        token: Token,
        component: Digest,
        result: Result<Verdict, GuestFault>,
    },
    Queried {
        key: EntityKey,
        token: Token,
        result: Result<Result<Bytes, Report>, GuestFault>,
    },
    Saved {
        key: EntityKey,
        token: Token,
        at: Box<(Ledger, RecordSeq, Digest)>,
        result: Result<Saved, GuestFault>,
    },
    Stored {
        key: EntityKey,
        snapshot: Result<(SnapshotRef, RecordSeq), Report>,
    },
    Relayed {
        item: Box<Outgoing>,
        result: Relayed,
    },
    Trimmed {
        through: RecordSeq,
        result: Result<Trimmed, Report>,
    },
    /// Another host has claimed the shard under this epoch.
    Claimed {
        by: Epoch,
    },
    /// What goes with a checkpoint.
    Settled {
        result: Result<(), Report>,
    },
    CutAt {
        sealed: Result<Sealed, Report>,
    },
    StandAt {
        sealed: Result<Sealed, Report>,
    },
    Stood {
        result: Result<(), Report>,
    },
    /// Records of which actors at rest need everything from there on.
    Laggards {
        records: Result<Vec<Sealed>, Report>,
    },
    PutKind(KindName, Box<Kind>),
    RemoveKind(KindName, lattice_protocol::ActorId),
    Forgive {
        key: EntityKey,
    },
    Look(Look),
    /// The host's lease holds until then (monotonic).
    Lease(u64),
    Stop(StopReason),
}

/// Sends messages to a shard.
#[derive(Clone)]
pub(crate) struct Inbox(pub(crate) mpsc::UnboundedSender<Message>);

impl Inbox {
    /// A shard that has ended drops what waits; whoever waits is told by that.
    pub(crate) fn send(&self, message: Message) {
        drop(self.0.send(message));
    }
}

/// Who waits for an answer of the shard.
pub(super) enum Waiter {
    Caller(Reply),
    /// An effect of this shard whose target is an actor of this shard.
    Relay(Box<Outgoing>),
    /// The answer to a call, coming back.
    Answer(Box<Outgoing>),
    Timer(EntityKey, Command),
    Snapshot(EntityKey),
}
