//! Key-value on NATS: a JetStream bucket per application and bucket name, shared by all hosts.
//!
//! Buckets are named by [`lattice_protocol::subject::Subjects::guest_bucket`] from the *calling*
//! actor's application, so no two applications meet in one. Keys are encoded into one token. A
//! version is the key's revision. Counters are compare-and-swap loops, bounded in tries and by the
//! deadline; a write whose outcome is not known is reported as a timeout and never repeated here.
//!
//! No tasks, no state: every call stands for itself.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | the key-value trait over `lattice_io` buckets |
//! | [`factory`] | configuration, and the connection: the lattice's, or one of its own |

pub mod factory;
pub mod store;

pub use factory::{Config, KIND, NatsKeyValueFactory};
pub use store::NatsKeyValue;
