//! Outgoing HTTP: to the hosts that a link names, and to the very address that was checked.
//!
//! An actor may be handed a URL by anyone. So a request leaves only for a host on its link's list,
//! the name is resolved here, every address that is not of the public internet is left out (unless
//! the link says `private`, or names the address itself), and the connection goes to an address
//! that passed: nobody can answer the check with one address and the connection with another.
//!
//! | module | holds |
//! |---|---|
//! | [`address`] | which addresses are public (pure) |
//! | [`target`] | scheme, host and port of a request, and whether a link allows them (pure) |
//! | [`message`] | what a request and a response may carry over (pure) |
//! | [`dial`] | resolving, checking, connecting, TLS |
//! | [`pool`] | idle connections, bounded in number and age |
//! | [`body`] | a response's body, which gives its connection back |
//! | [`client`] | the provider |
//! | [`config`] | what may be set, and the factory |
//!
//! Tasks: one per open connection (hyper's driver). Channels: hyper's, one per connection.
//!
//! Invariants: HTTP/1.1 in origin form, lengths recomputed, nothing hop-by-hop passed on, no
//! redirect followed; a connection is used again only for the same scheme, name, port and address.

mod address;
mod body;
mod client;
mod config;
mod dial;
mod message;
mod pool;
mod target;

pub use client::OutgoingHttp;
pub use config::{CaError, Config, HttpClientFactory, KIND};
