//! Key-value without a server: everything in memory for reading, a SQLite file for keeping.
//!
//! A gateway with its uplink down still has this store, and a read through a link must cost little
//! more than the call itself. So reads are served from a [`mirror`] of ordered maps and never touch
//! the disk; writes go to one writer thread, which decides a batch against the mirror, commits it
//! as one transaction, and only then shows it to readers and answers the callers.
//!
//! | module | holds |
//! |---|---|
//! | [`mirror`] | what readers see: only what is committed |
//! | [`change`] | what a write does, decided without IO on the mirror and the batch so far |
//! | [`file`] | the SQLite file: opened by one process only, loaded whole, committed in batches |
//! | [`writer`] | the writer thread and its queue (1 024 jobs, 256 to a batch) |
//! | [`store`] | the provider |
//! | [`factory`] | its configuration |
//!
//! Tasks: one thread, `kv-<app>-<name>`, which ends when the provider is dropped. Channels: the
//! job queue, and one oneshot per job.
//!
//! Invariants: a reader never sees what is not durable; an acknowledged write is in the file;
//! after a failed commit nothing more is written until the file is opened again (a file system
//! that lost one `fsync` may lose others silently); memory is bounded by `max_bytes`.

mod change;
mod factory;
mod file;
mod mirror;
mod store;
mod writer;

pub use factory::{Config, EmbeddedKeyValueFactory, KIND};
pub use file::FileError;
pub use store::EmbeddedKeyValue;
