//! What a provider is to a host: one trait per capability, and how a provider is built and served.
//!
//! A provider crate implements one of these traits and a [`Factory`]. The host calls it in its own
//! process; the same object can be served over the lattice by its own process ([`remote`]). A
//! provider never sees a guest: grants and limits are enforced by the host before it is called, so
//! what arrives here is already allowed. It must bound its own time by [`CallContext::deadline`].
//!
//! | module | holds |
//! |---|---|
//! | [`context`] | who calls, by which link, until when |
//! | [`error`] | the one error a provider gives |
//! | [`keyvalue`], [`messaging`], [`http`], [`blob`] | the capability traits |
//! | [`factory`] | building a provider from its configuration |
//! | [`inbound`] | whom a provider calls, and what becomes of a call that failed |
//! | [`forward`] | HTTP and messages as bytes, for calls over the lattice |
//! | [`remote`] | a provider in a process of its own: served, and called as if it were here |
//! | [`process`] | what such a process is told, and its life |
//! | [`over_lattice`] | messaging over a lattice's bus and streams, for the providers that are that |
//! | `testing` | one suite for all key-value providers (feature `testing`) |

pub mod blob;
pub mod context;
pub mod error;
pub mod factory;
pub mod forward;
pub mod http;
pub mod inbound;
pub mod keyvalue;
pub mod messaging;
pub mod over_lattice;
pub mod process;
pub mod remote;
#[cfg(feature = "testing")]
pub mod testing;

pub use context::CallContext;
pub use error::{ProviderError, ProviderErrorKind};
pub use factory::{BuildContext, Factory, Provider, Settings};
pub use futures::future::BoxFuture;
