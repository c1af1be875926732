//! Messaging on NATS: core for what is passed on, JetStream for what is stored.
//!
//! What messages go through is [`providers_sdk::over_lattice`], the same as in `messaging-embedded`;
//! here is the connection, the lattice's or one of its own, and its configuration.

pub mod factory;

pub use factory::{Config, KIND, NatsMessagingFactory};
