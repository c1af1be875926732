//! Key-value on a Redis server: one multiplexed connection, made when it is first needed and again
//! when it is lost.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | what may be set, and the factory |
//! | [`keys`] | how bucket and key become one Redis key, reversibly |
//! | [`connection`] | the connection, and which failures happened before anything was sent |
//! | [`store`] | the provider |
//!
//! Tasks: redis' own driver, one per connection. Channels: none of ours.
//!
//! Invariants: two applications never meet in one server unless both are told the same `prefix`;
//! [`Unreachable`](providers_sdk::ProviderErrorKind::Unreachable) is only said when no command left
//! this host; a swap compares the value byte for byte, in the server.

mod config;
mod connection;
mod keys;
mod store;

pub use config::{Config, KIND, RedisKeyValueFactory};
pub use store::RedisKeyValue;
