//! Forwarding: the journal of a host's pinned actors (durability `device`) goes into one stream of the
//! lattice, record by record, in order, whenever the lattice can be reached. It is behind the disk and never
//! on a turn's path: a command is acknowledged when it is on this host's disk.
//!
//! ```text
//!  journal ── on disk ──▶ Forward (backlog, last records) ──▶ task: ask · compare · send one frame ─▶ lane
//!     ▲                        │                                          ▲        │ arrived
//!     └── trim: no further ────┘ than what has arrived,                   └────────┘
//!                                or than the limit says
//! ```
//! One stream for all hosts, each host one subject of it ([`lattice_io::lane`]): thousands of gateways are
//! thousands of subjects, which cost a server little, and not thousands of streams; and NATS itself holds a
//! host to its own subject. A message is a [`frame`] of many records, compressed, and one is on its way at a
//! time: over a slow uplink that is one header, one answer and one sync of the server for hundreds of records,
//! and nothing can come out of order. When little waits, it waits for [`ForwardPolicy::linger_ms`] so that
//! more can go with it.
//!
//! | module | holds |
//! |---|---|
//! | [`frame`] | messages as bytes |
//! | `machine` | pure: what is done next, and what an answer means |
//! | `room` | pure: how many records go into a frame |
//! | `divergence` | two histories of one journal |
//! | `backlog` | pure: how much waits, since when, and what may be let go |
//! | `state` | what the journal, the task and those who ask share |
//! | `task` | the IO |
//! | [`checkpoint`] | what stands for the older part of the journal, forwarded beside it |
//! | [`copy`] | what has arrived, read back and checked; one actor of it |
//! | [`erase`], [`erased`] | what a deleted actor had done, erased from it; what was |
//! | [`rebuild`] | a journal built anew from what has arrived |
//!
//! Invariants: the truth about what has arrived is the stream itself, which is asked after each start, each
//! lost connection and each answer that says nothing; a record that has arrived is never sent again, and none
//! is left out but what was let go, which a *gap* in the stream says; a journal that does not go on from what
//! has arrived (an older copy, a second host) is reported and sends nothing.

mod backlog;
pub mod checkpoint;
pub mod copy;
mod divergence;
pub mod erase;
pub mod erased;
pub mod frame;
mod machine;
pub mod rebuild;
mod room;
mod state;
mod task;

use lattice_io::lane::Kept;
use lattice_io::{Events, LaneOptions, Lattice, Replicas};
use lattice_protocol::HostId;
use lattice_protocol::subject::Subjects;
use std::time::Duration;

pub(crate) use backlog::Found;
pub(crate) use state::Forward;
pub(crate) use task::{run, upkeep};

/// What becomes of commands and records when more waits than may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Records that no actor needs any more are let go before they have arrived, oldest first; counted, and a
    /// gap in the stream. Actors work on: what they are is on this host. The default, because a gateway that
    /// stops working when its uplink is away is none.
    #[default]
    DropOldest,
    /// Commands are refused (`E_INSUFFICIENT_RESOURCES`) until there is room: for records that must not be
    /// missing anywhere, such as what is billed.
    Refuse,
}

/// How much may wait, and how it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardPolicy {
    /// Bytes of records that are kept until they have arrived.
    pub keep_bytes: u64,
    /// What happens beyond that.
    pub full: WhenFull,
    /// Bytes of records of one message, before they are compressed; one that is larger goes alone.
    pub frame_bytes: usize,
    /// How long less than [`Self::linger_bytes`] waits for more, milliseconds.
    pub linger_ms: u64,
    /// So much waits for nothing.
    pub linger_bytes: u64,
    /// Bytes of the last records that are remembered, so that they need not be read from the disk.
    pub recent_bytes: usize,
    /// Patience for the lattice's word on one message.
    pub patience: Duration,
    /// Pauses after failures, milliseconds: the first, and the longest.
    pub pauses_ms: (u64, u64),
    /// Time between two looks at what may be let go.
    pub period: Duration,
    /// Most bytes of the stream of all hosts, if this host is the first and makes it. When it is full it refuses,
    /// and hosts keep their records.
    pub stream_bytes: u64,
    /// Most bytes of the stream of what stands beside the journals of all hosts, likewise.
    pub states_bytes: u64,
    /// Servers that keep a copy of both.
    pub replicas: Replicas,
    /// A checkpoint is forwarded after so many bytes of records, …
    pub checkpoint_bytes: u64,
    /// … or after this time, if anything has come since, milliseconds; when an actor was deleted or records were let
    /// go, at once.
    pub checkpoint_ms: u64,
}

impl Default for ForwardPolicy {
    /// 256 MiB wait at most; messages of 256 KiB; five small ones a second. The streams have 1 GiB and a quarter of
    /// that on one server: a server promises that much when they are made.
    fn default() -> Self {
        Self {
            keep_bytes: 256 << 20,
            full: WhenFull::default(),
            frame_bytes: 256 << 10,
            linger_ms: 200,
            linger_bytes: 32 << 10,
            recent_bytes: 1 << 20,
            patience: Duration::from_secs(30),
            pauses_ms: (500, 60_000),
            period: Duration::from_secs(5),
            stream_bytes: 1 << 30,
            states_bytes: 256 << 20,
            replicas: Replicas::One,
            checkpoint_bytes: 8 << 20,
            checkpoint_ms: 3_600_000,
        }
    }
}

/// Where a host forwards its journal to.
#[derive(Clone)]
pub struct ForwardOptions {
    /// This host.
    pub host: HostId,
    /// The lattice.
    pub lattice: Lattice,
    /// Its subjects.
    pub subjects: Subjects,
    /// Where it is said what was let go, and what does not fit together.
    pub events: Option<Events>,
    /// How much, how fast.
    pub policy: ForwardPolicy,
}

/// The lane of a host's journal.
#[must_use]
pub fn lane(subjects: &Subjects, host: &HostId, policy: &ForwardPolicy) -> LaneOptions {
    LaneOptions {
        stream: subjects.device_stream(),
        subjects: subjects.device_journals(),
        subject: subjects.device_journal(host),
        max_bytes: Some(policy.stream_bytes),
        replicas: policy.replicas,
        kept: Kept::All,
    }
}
