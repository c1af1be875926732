//! Persistent actors on a host: the shell of [`lattice_journal::Shard`]. It gives that state machine
//! its commands, guests, log, clock and timers, and lets out what the journal has acknowledged.
//! wasmtime is not named here: guests come through [`host_core::guest`].
//!
//! ```text
//!  call ─▶ inbox ─▶ shard loop ── decide ──▶ guest (a cell's task) ─▶ inbox
//!                      │  ▲ ready   └ append ─▶ log (the journal's thread) ─▶ inbox
//!                      ▼  │
//!                    activate          durable ─▶ reply · relay · timers · snapshots
//! ```
//! | module | holds |
//! |---|---|
//! | [`device`] | durability `device`: one local journal for all of a host's pinned actors; its restarts |
//! | [`door`] | what others ask of one open shard |
//! | [`shard`] | the loop of one shard: turns, replies, queries, timers, relay, snapshots, idleness |
//! | [`lattice`] | durability `lattice`, by JetStream domain: a stream for each shard, leases, takeover |
//! | `activate` | bringing actors into memory |
//! | [`forward`] | the journal of pinned actors, sent into the lattice behind their backs |
//! | [`log`] | what the loop needs of a log |
//! | [`index`], `roster` | what is known of each actor, in memory or not: at hand, or on the disk |
//! | [`checkpoint`] | what stands for trimmed history |
//! | `bury` | what is left of deleted actors, and what must not be |
//! | [`aside`] | what was set aside for a person to look at |
//! | [`inspect`] | histories, read back: journal, time travel, verification |
//! | [`kinds`], [`policy`] | what runs here, and how it is treated |
//!
//! Tasks: per shard the loop (essential: its end ends the shard, and its owner starts it anew) and
//! `activate`; one short task per effect on its way. Channel: one inbox per shard, unbounded: every
//! sender has one message in it at most, and callers are bounded by the shard's own queues.
//!
//! Invariants: nothing that a turn has produced leaves before its record is durable; after a failed
//! write nothing is acknowledged any more until the disk was read anew; an actor's live state is
//! never asked while one of its commits is on its way.

mod activate;
pub mod aside;
mod bury;
pub mod checkpoint;
pub mod device;
pub mod door;
pub mod forward;
mod history;
pub mod index;
pub mod inspect;
pub mod kinds;
pub mod lattice;
pub mod log;
pub mod policy;
mod roster;
pub mod shard;

pub use device::{Actors, DeviceOptions};
pub use door::Door;
pub use forward::{ForwardOptions, ForwardPolicy, WhenFull};
pub use kinds::{Effects, Kind, Peers, Room};
pub use lattice::{DomainActors, LatticeActors, LatticeOptions, StaleAnswer, StandbyStats};
pub use policy::{KindPolicy, Policy, StandbyPolicy};
