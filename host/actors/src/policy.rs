//! How much, how often, how long. Every bound of this crate that somebody may want to change.

use lattice_io::Replicas;
use lattice_journal::outbox::RelayPolicy;
use lattice_journal::retain::Retention;
use lattice_journal::shard::ShardPolicy;
use lattice_journal::snapshot::SnapshotPolicy;
use std::time::Duration;

/// How actors of one kind are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindPolicy {
    /// When a snapshot is taken.
    pub snapshots: SnapshotPolicy,
    /// How long an actor may do nothing before it leaves memory, milliseconds.
    pub idle_ms: u64,
    /// How much history is kept behind the snapshots, while the log has room.
    pub retain: Retention,
    /// Servers that keep a copy of each stream, of durability `lattice`.
    pub replicas: Replicas,
}

impl Default for KindPolicy {
    /// Idle actors leave after five minutes; nothing is kept longer than it has to be.
    fn default() -> Self {
        let retain = Retention { age_ms: 0, bytes: u64::MAX };
        Self { snapshots: SnapshotPolicy::default(), idle_ms: 300_000, retain, replicas: Replicas::One }
    }
}

/// What a host remembers of shards that others own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandbyPolicy {
    /// How many hosts stand by for a shard: the first ones in rank after its owner.
    pub hosts: u64,
    /// Shards that this host stands by for at most.
    pub shards: usize,
    /// Bytes of the last records of one shard.
    pub record_bytes: usize,
    /// Actors of one shard that are folded.
    pub actors: usize,
    /// Places of commits, snapshots' names, timers and waiting effects of all those shards together: about
    /// 200 bytes each.
    pub entries: usize,
}

impl Default for StandbyPolicy {
    /// At most 32 MiB of records, 50 MiB of entries, and 2 048 folded actors on a host.
    fn default() -> Self {
        Self { hosts: 1, shards: 64, record_bytes: 512 << 10, actors: 32, entries: 262_144 }
    }
}

/// How a shard works on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Bounds of the shard.
    pub shard: ShardPolicy,
    /// Repetition of effects.
    pub relay: RelayPolicy,
    /// Patience of one attempt to carry an effect out.
    pub effect: Duration,
    /// An actor that leaves memory with at least this many events since its last snapshot gets one.
    pub passivate_events: u64,
    /// Actors that have left memory of which everything is at hand all the same; of others it is on the disk.
    pub resting: usize,
    /// Snapshots that are taken or stored at once.
    pub snapshots_at_once: usize,
    /// Records that are trimmed at once at least: each trimming writes a checkpoint.
    pub trim_records: u64,
    /// Records of a stream of the lattice that one checkpoint stands for at least: who takes over reads
    /// those behind the last one.
    pub checkpoint_records: u64,
    /// Or so many bytes of them.
    pub checkpoint_bytes: u64,
    /// Snapshots that such a shard takes or stores at once: those of one checkpoint are stored together.
    pub checkpoint_snapshots: usize,
    /// What is remembered of shards that others own.
    pub standby: StandbyPolicy,
    /// Pause between two shards that are handed to hosts that have fewer; none: none are.
    pub balance: Option<Duration>,
    /// How full a log may be, percent, before what would be kept for people goes as well.
    pub full_percent: u8,
    /// Time between two looks at what is idle, due or trimmable.
    pub period: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            shard: ShardPolicy::default(),
            relay: RelayPolicy::default(),
            effect: Duration::from_secs(30),
            passivate_events: 64,
            resting: 4_096,
            snapshots_at_once: 16,
            trim_records: 50_000,
            checkpoint_records: 1_000,
            checkpoint_bytes: 8 << 20,
            checkpoint_snapshots: 512,
            standby: StandbyPolicy::default(),
            balance: Some(Duration::from_secs(1)),
            full_percent: 75,
            period: Duration::from_secs(1),
        }
    }
}
