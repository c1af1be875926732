//! The controller: it watches what shall be and what is, plans, and writes down the decision.
//!
//! ```text
//! desired.<app>  ─watch─▶ ┐
//! placement.<app> ─watch─▶├─ world ─ plan ─ check ─▶ placement.<app>   (compare-and-set)
//! hostspec.<host> ─watch─▶│                      └─▶ hostspec.<host>   (signed, compare-and-set)
//! heartbeats ────────────▶┘                      └─▶ observed.<host>
//! ```
//!
//! It holds nothing that KV and heartbeats do not give back (I5): it can be killed at any time, and
//! any number may run. Two that race both plan; compare-and-set lets one placement win, and the
//! loser sees it in its watch and plans again from there. Nothing is on the request path.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | what a controller is told |
//! | [`lives`] | starts it; begins anew after a restore from a backup |
//! | [`incarnation`] | which life of the lattice this is, and how the next one begins |
//! | [`api`] | what people and tools ask, over HTTP and over NATS |
//! | [`records`], [`views`] | the lattice as people see and change it: used by the API and by `trellis` |
//! | [`world`] | what it has seen: pure bookkeeping of watches and heartbeats |
//! | [`run`] | the loop: one owner of the world, one planner at a time |
//! | `ears`, `probe` | whether it hears at all, and whether a late host is still connected |
//! | [`aged`] | whether the store has gone back |
//! | `release` | when a host that leaves is let go |
//! | `events` | what it tells the audit stream |
//! | [`write`] | placements, specs and verdicts into KV |

pub mod aged;
pub mod api;
pub mod config;
mod ears;
mod events;
pub mod incarnation;
pub mod lives;
mod probe;
pub mod records;
mod release;
pub mod run;
pub mod views;
pub mod world;
pub mod write;

pub use config::{ControllerConfig, ControllerDeps};
pub use lives::{ControllerHandle, start};
