//! The only crate that names wasmtime: engines, component cache, instances, limits, capabilities.
//!
//! ```text
//! Runtime ── load ──▶ Component (checked, compiled or from cache, imports classified, pre-linked)
//!    │                    │
//!    └──────────── Actor::start ──▶ Actor ── pool ──▶ Instance (one store) ──▶ guest
//!                                     │                                          │ import
//!                                  Wiring (links, swapped without a lock) ◀──────┘
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`config`], `engine` | what a host gives the runtime; the two engine profiles and their linkers |
//! | [`runtime`], `cache` | loading: compiled components on disk, authenticated before they are loaded |
//! | [`native`] | code that was compiled for this host elsewhere, or that this process compiles for others |
//! | [`component`] | load checks, import classes, the compiled and pre-linked component, let go while nobody calls it |
//! | [`actor`], `pool`, `instance`, `worker` | a running actor: its instances, their reuse, its queue |
//! | `overload` | which calls over HTTP begin, wait or are refused when the processors cannot keep up |
//! | `http`, `message` | calls that come in through `wasi:http` and `wasmcloud:messaging` |
//! | `state`, `limits`, `stdio`, `fault` | what one store holds, what it may use, why it failed |
//! | [`wiring`], `grants` | links as a running actor sees them, and what they narrow |
//! | `ambient` | what of WASI is always there |
//! | `capabilities` | the host side of every other standard interface |
//! | [`persistent`] | the live states of persistent actors: folded, asked to decide, saved |
//! | `typed` | calls from actor to actor by any interface |
//!
//! Tasks: one epoch ticker thread per runtime. A call runs on its caller's task; where a response
//! body outlives the call's head, or a component is concurrent, it runs on one task of its own.

pub mod actor;
mod ambient;
mod cache;
pub mod call;
mod capabilities;
pub mod component;
pub mod config;
mod engine;
mod fault;
#[cfg(test)]
mod fixtures;
mod grants;
mod http;
mod idle;
mod instance;
mod limits;
mod message;
pub mod native;
mod overload;
pub mod persistent;
mod pool;
pub mod runtime;
mod state;
mod stdio;
mod typed;
pub mod wiring;
mod worker;

pub use actor::{Actor, ActorOptions, ActorStats};
pub use call::CallInfo;
pub use component::{Component, Source, check_nesting};
pub use config::RuntimeConfig;
pub use persistent::{KindOptions, PersistentKind};
pub use runtime::Runtime;
pub use wiring::Wiring;
