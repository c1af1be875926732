//! HTTP ingress: one listener, routes by host and path, nothing passed on that can be read twice.
//!
//! A gateway stands in the open. So a connection is bounded from its first byte, a request's
//! framing is checked before the parser sees it, and an actor gets it only with one authority, a
//! path in normal form and a body within its limit and pace.
//!
//! | module | holds |
//! |---|---|
//! | [`config`], [`limits`], [`factory`], [`tls`] | what may be set, and how a server is made |
//! | [`listener`] | binding, accepting, turning away; the provider itself |
//! | [`connection`] | one connection: TLS, which protocol, serving, ending |
//! | [`activity`] | the watch that ends connections that do nothing |
//! | [`io`], [`framing`] | the socket as the parser sees it; strict HTTP/1 framing (pure) |
//! | [`turn`] | when an answer is written: all that are ready, in a row |
//! | [`service`], [`request`], [`body`] | one request: head (pure), body, answer |
//! | [`routes`], [`shared`] | who answers; what the connections share |
//! | [`refusal`] | the answers given here |
//! | [`port_owner`] | who has a port that is taken |
//!
//! Tasks: one that accepts, one per connection, one per HTTP/2 stream (hyper's); none per HTTP/1
//! request. Channels: none. The route table is an immutable snapshot, swapped whole.
//!
//! Invariants: no lock is taken on the way of a request; a connection that begins no request for
//! `idle` or takes nothing for `stall` is ended; a request over a limit is answered, not dropped.

mod activity;
mod body;
mod config;
mod connection;
mod factory;
mod framing;
mod io;
mod limits;
mod listener;
mod port_owner;
mod refusal;
mod request;
mod routes;
mod service;
mod shared;
mod tls;
mod turn;

pub use config::{Config, TlsFiles};
pub use factory::{HttpServerFactory, KIND};
pub use limits::Limits;
pub use listener::{BindError, HttpListener};
pub use routes::RouteError;
pub use tls::{TlsError, acceptor};
