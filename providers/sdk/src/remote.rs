//! A provider in a process of its own: [`serve`] it there, and call it here by [`Remote`], which
//! gives the same traits as a provider in this process. One request and one answer per operation.
//!
//! ```text
//! host                                            process
//! actor ─▶ link ─▶ Remote ── rpc.prov.<name> ───▶ Provider          (queue group: they share)
//! link of an export ─▶ Lease ── rpc.links.<name> ─▶ bindings ─▶ Provider     (each of them)
//! actor, on any host ◀── rpc.actor.<app>.<actor> ──── route or subscription
//! ```
//!
//! **Which links are the process's own.** It is not told of links that actors call it by: source,
//! link name and link configuration come with each call, and the host has already checked the
//! grant, so putting or deleting such a link works at the next call. What calls actors has to know
//! them before: the host asks for each route and subscription of the actors *it runs* ([`Lease`]),
//! and asks again every [`RENEWAL`]. So the process needs no right to read what the lattice shall
//! be, and verifies no spec; what a host asks for ends with that host, [`LEASE`] after its last
//! word; a process that was restarted has its bindings back within one renewal. (Rejected: the
//! process watching placements, which would make every provider a reader of the whole lattice and
//! a second judge of what links mean.)
//!
//! **Limits.** What does not fit one message (NATS: 1 MiB) is `E_TOO_LARGE` before it is sent, in
//! both directions; bodies are whole, not streamed. A process answers [`MAX_IN_HAND`] calls at
//! once and holds [`MAX_BINDINGS`] bindings.
//!
//! **Who answers.** NATS lets only the provider's own user subscribe to its subjects and lets it
//! answer only what it received; an answer that comes late, twice, or to nobody is dropped with
//! its inbox. An answer that is none is the provider's failure, said to the actor that called.

mod actor;
mod bindings;
mod blob;
mod client;
mod http;
mod keyvalue;
mod lease;
mod messaging;
mod serve;
mod wire;

pub use client::{Ends, Remote, describe};
pub use lease::Lease;
pub use serve::{Served, serve};
pub use wire::{Capability, Description};

use std::time::Duration;

/// Calls that one process has in hand at once.
pub const MAX_IN_HAND: usize = 1_024;
/// Routes and subscriptions that one process holds.
pub const MAX_BINDINGS: usize = 10_000;
/// How long a binding outlives the last word of the host that asked for it.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often a host asks again.
pub const RENEWAL: Duration = Duration::from_secs(2);
