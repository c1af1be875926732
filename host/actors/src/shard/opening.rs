//! What a shard is made of when it opens, and what it tells about itself.

use crate::activate::Ready;
use crate::index::Schedule;
use crate::kinds::Peers;
use crate::policy::Policy;
use crate::roster::Roster;
use host_store::{AsideStore, SnapshotStore};
use lattice_io::{Clock, TaskScope};
use lattice_journal::append::Tail;
use lattice_journal::outbox::OutboxPosition;
use lattice_journal::retain::Marks;
use lattice_journal::{Record, RecordSeq, ShardId};
use lattice_protocol::{EntityKey, KindName};
use std::collections::HashMap;
use std::sync::Arc;

/// What a shard is opened with.
pub(crate) struct Opened {
    pub(crate) tail: Tail,
    pub(crate) relayed: OutboxPosition,
    /// Records with effects that may not have been relayed.
    pub(crate) outgoing: Vec<Arc<Record>>,
    pub(crate) roster: Roster,
    pub(crate) schedule: Schedule,
    /// The first record that is kept.
    pub(crate) first: RecordSeq,
    /// Bytes of the records that are kept.
    pub(crate) bytes: u64,
    /// Their ages and sizes.
    pub(crate) marks: Marks,
    /// The last record among them that deleted an actor.
    pub(crate) tombstone: Option<RecordSeq>,
    /// When what stands for everything before them was made, milliseconds since 1970.
    pub(crate) checkpointed_ms: u64,
    /// Actors that are folded already, each up to this record.
    pub(crate) folded: HashMap<EntityKey, (Ready, RecordSeq)>,
}

/// What a shard needs of the host.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) policy: Policy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) aside: Arc<AsideStore>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) scope: TaskScope,
    pub(crate) realm: Realm,
    /// When the host's lease ends (monotonic); never, for what is pinned to it.
    pub(crate) lease_until_ms: u64,
}

/// Which actors are a shard's.
#[derive(Debug, Clone)]
pub(crate) enum Realm {
    /// All of the kinds that are pinned to this host.
    Host,
    /// Those of one kind whose id falls to this shard of so many.
    Part { kind: KindName, shard: ShardId, of: u16 },
}

impl Realm {
    pub(super) fn holds(&self, key: &EntityKey) -> bool {
        match self {
            Self::Host => true,
            Self::Part { kind, shard, of } => key.kind == *kind && ShardId::of(key, *of) == *shard,
        }
    }
}

/// Counters that others read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Actors in memory.
    pub actors: usize,
    /// Actors of which all that is known is on the disk.
    pub resting: usize,
    /// Effects that wait or are under way.
    pub outbox: usize,
    /// The last record.
    pub record: u64,
    /// Commands carried out since the shard was opened.
    pub commits: u64,
}
