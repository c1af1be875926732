//! The journal of persistent actors: what is stored, when it counts, and what follows from it.
//! Pure: no IO, no clock, no randomness; time and answers come in as arguments, what to do comes
//! out. A whole failover, with pauses, lost answers and repeated writes, is a test without a socket.
//!
//! An actor is a kind and an id. Its truth is a journal of commits, its state a fold of their
//! events. Commits of many actors share a [`Record`]; the records of a shard form a chain of hashes,
//! in one stream or file, and only its owner's count (DESIGN §8).
//!
//! | module | holds |
//! |---|---|
//! | [`ids`] | sequences, epochs, positions, hashes, the shard of an actor |
//! | [`command`], [`commit`] | what is asked; what one turn changes: events, effects, reply |
//! | [`record`] | [`Record`], [`Sealed`] (with bytes and hash), [`record::Checkpoint`] |
//! | [`chain`] | the replay rule: which records of a stream are valid; forks |
//! | [`dedupe`], [`ledger`] | one command, one effect; what the host keeps of an actor |
//! | [`fold`], [`snapshot`] | state from commits, and from a snapshot and the rest |
//! | [`append`] | one record into a log, until it is known whether it is valid there |
//! | [`shard`] | **a shard at work**: turns from command to reply |
//! | [`lease`], [`takeover`] | who owns a shard, and how that changes |
//! | [`model`] | what a log means: the model and the scripts that every log is held to |
//! | [`outbox`] | effects on their way out, from the journal itself |
//! | [`trim`] | how much history may go, and the checkpoint that anchors the rest |
//! | [`retain`] | how much of it is kept for people |
//! | [`document`], [`begin`] | what stands in the lattice for it, and where reading begins then |
//! | [`standby`] | following a log without owning it |
//! | [`places`] | where records are in their log |
//! | [`hlc`] | time that never goes back |
//! | [`error`] | what is wrong with bytes, and with what they say |
//!
//! # How a host uses it
//!
//! To own a shard: [`takeover::Takeover`] from a [`append::Tail`] until `Opened`, folding what it
//! gives; then a [`shard::Shard`] from its tail. Commands go in as [`shard::Input::Submit`]; each
//! [`shard::Action`] is performed and its answer fed back. `Action::Durable` feeds an
//! [`outbox::Outbox`], whose [`outbox::Outbox::position`] goes back as `Input::Relayed`. A
//! [`lease::Session`] gives `Input::Lease`. A kind of durability `device` does the same over its
//! local log, as the only owner, without a lease. Shards that share one local journal have no places
//! of their own in it: the place of a record is then its [`RecordSeq`], as every one of them is valid.
//!
//! # Laws, each a property test (`src/tests/laws.rs`)
//!
//! J1 append-only, dense sequence · J2 an append names what it expects; a conflict is read again ·
//! J3 state = fold(commits), total and deterministic · J4 fold(snapshot@n, rest) = fold(all) ·
//! J5 replay performs no effect · J6 an unknown or damaged record stops with a typed error ·
//! J7 stale epochs are refused, whole records at a time.

pub mod append;
pub mod begin;
pub mod chain;
mod codec;
pub mod command;
pub mod commit;
pub mod dedupe;
pub mod document;
pub mod error;
pub mod fold;
pub mod hlc;
pub mod ids;
pub mod lease;
pub mod ledger;
pub mod model;
pub mod outbox;
pub mod places;
pub mod record;
pub mod retain;
pub mod shard;
pub mod snapshot;
pub mod standby;
pub mod takeover;
pub mod trim;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

pub use chain::Chain;
pub use command::{Command, CommandId, CommandRef};
pub use commit::{Commit, Effect, Event};
pub use fold::{Entity, Fold};
pub use ids::{ActorSeq, Epoch, Hash, Now, Position, RecordSeq, ShardId};
pub use ledger::{Decision, Ledger};
pub use record::{Record, Sealed, SessionId};
pub use shard::Shard;
pub use snapshot::Snapshot;
