//! Worlds from a seed: hosts, one to three controllers, a network that loses, delays, doubles and
//! reorders, a key-value store with compare-and-set, crashes, partitions, jumping clocks and
//! people who change their minds; over the very functions that decide in the real programs
//! (`lattice_ctl_planner`, `host_core`). Nothing here is a task, a socket or a clock: a world is a
//! loop over a queue of events, so a seed gives one trace, always.
//!
//! ```text
//! editor ─CAS─▶ ┌────┐ ─watch─▶ controllers: see, hear ─ plan ─ check ─▶ CAS decisions, specs
//!               │ KV │                                                        │
//!               └────┘ ◀──────────────────────────────────────────────────────┘
//!                 └──watch──▶ hosts: accept, admit, run ──heartbeats──▶ controllers
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`world`] | the queue, the network, the faults as they happen, the laws |
//! | [`many`] | many worlds, on several threads |
//! | [`faults`] | what goes wrong, drawn before the run |
//! | [`steady`] | nothing goes wrong: noise alone moves nothing |
//! | [`host`], [`controller`], [`kv`] | who takes part |
//! | [`scale`] | what planning costs in a large lattice |

mod apps;
pub mod controller;
pub mod faults;
pub mod host;
pub mod kv;
pub mod many;
pub mod random;
pub mod scale;
pub mod trace;
pub mod world;

pub use many::run_all;
pub use world::{Noise, run, steady};

use std::collections::BTreeMap;

/// How large a world is.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Hosts.
    pub hosts: usize,
    /// Applications, of one actor each.
    pub actors: usize,
    /// Keep the whole trace.
    pub verbose: bool,
}

/// A world in which every law held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Digest of the trace.
    pub trace: u64,
    /// How long it took after the last fault until everything was as desired, milliseconds.
    pub healed_ms: u64,
    /// How often each kind of fault happened.
    pub faults: BTreeMap<&'static str, u64>,
}

/// A law that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Of the world.
    pub seed: u64,
    /// When, milliseconds.
    pub at_ms: u64,
    /// Which, in words.
    pub what: String,
    /// The end of the trace.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.trace {
            writeln!(formatter, "{line}")?;
        }
        write!(formatter, "seed {} at {} ms: {}", self.seed, self.at_ms, self.what)
    }
}
