//! Real servers and processes for tests, the benchmark and the demo: started on free ports in
//! temporary directories, watched through their logs, killed on drop.
//!
//! Invariants:
//! * A server started here never outlives the test that started it: dropping the handle kills it,
//!   and the kernel kills it when the whole test process dies (see [`process`]).
//! * Only processes started here are ever signalled, by their own process id.
//! * Nothing waits for a fixed time. Every wait is for a level (a line, an answer, a state) and
//!   has a deadline whose error says what was last seen.
//! * A missing tool is an error that says how to get it, never a skipped test.

mod cargo;
pub mod eventually;
pub mod fixtures;
pub mod http;
pub mod nats;
pub mod process;
pub mod proxy;
pub mod raw_http2;
pub mod redis;
pub mod registry;
pub mod sizes;
pub mod tools;
pub mod wire;
pub mod workspace;

pub use cargo::cargo;
pub use eventually::eventually;
pub use nats::{Cluster, JetStream, Leaf, LeafRemote, NatsOptions, NatsServer, Site, SiteOptions, Uplink};
pub use process::{Process, ProcessSpec};
pub use proxy::ChaosProxy;
pub use redis::RedisServer;
pub use registry::OciRegistry;
pub use wire::{Cut, Wires};
