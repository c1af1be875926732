//! What an actor in Rust is written with: attributes for what it serves, plain functions for what it uses.
//!
//! ```no_run
//! use trellis_guest::{Error, Request, Response, kv};
//!
//! #[trellis_guest::http]
//! fn count(request: Request) -> Result<Response, Error> {
//!     let visits = kv::open("default")?.increment(request.path(), 1)?;
//!     Ok(Response::text(format!("{visits}\n")))
//! }
//! ```
//!
//! A component imports exactly the interfaces whose functions it calls: an actor that never calls [`kv`] does not
//! import `wasi:keyvalue`, and needs no claim and no link for it. Every call that leaves the actor goes through a
//! link; without one it fails with the host's words, `capability denied: <interface>`.
//!
//! | module | interface |
//! |---|---|
//! | [`http`] (attribute), [`Request`], [`Response`] | exports `wasi:http/incoming-handler@0.2` |
//! | [`fetch`] | `wasi:http/outgoing-handler@0.2` |
//! | [`message`] (attribute), [`messaging`] | exports `wasmcloud:messaging/handler@0.2.0`, uses `consumer` |
//! | [`kv`] | `wasi:keyvalue@0.2.0-draft` store, atomics, batch |
//! | [`config`] | `wasi:config/store@0.2.0-rc.1` |
//! | [`log`] | `wasi:logging/logging@0.1.0-draft` |
//! | [`link`] | `wasmcloud:bus/lattice@1.0.0` |
//! | [`client`] | asks persistent actors: `trellis:actor/client@0.1.0` |
//! | [`actor`](mod@actor) | a persistent actor: exports `trellis:actor/entity` and `behaviour@0.1.0` |
//!
//! Nothing here starts a task, keeps a global, or retries: an actor may live for one call, and links retry.

extern crate self as trellis_guest;

pub mod actor;
mod bindings;
pub mod client;
pub mod config;
mod error;
pub mod http;
pub mod kv;
mod link;
pub mod log;
pub mod messaging;

pub use error::Error;
pub use http::{FetchError, IntoResponse, Request, Response, fetch};
pub use link::{Interface, Link, LinkScope, link};
pub use messaging::Message;
pub use trellis_guest_macros::{actor, commands, events, http, kv_actor, message, state};

/// What the attributes expand to. Not for use by hand.
#[doc(hidden)]
pub mod private {
    pub use crate::actor::export::{Held, decide, query};
    pub use crate::bindings::actor as actor_types;
    pub use crate::bindings::actor::export_persistent_actor;
    pub use crate::bindings::actor::exports::trellis::actor::{behaviour, entity};
    /// Where the exported types live: the export macro asks for the path.
    pub use crate::bindings::messaging as messaging_types;
    pub use crate::bindings::messaging::{export_messaging, exports::wasmcloud::messaging::handler};
    pub use crate::http::incoming::answer;
    pub use crate::messaging::deliver;
    pub use serde;
    pub use trellis_guest_macros::{Event, State};
    pub use wasip2;
}

/// Exports `wasi:http/incoming-handler`, answered by the function named.
#[doc(hidden)]
#[macro_export]
macro_rules! export_http {
    ($function:ident) => {
        const _: () = {
            struct Served;

            impl $crate::private::wasip2::exports::http::incoming_handler::Guest for Served {
                fn handle(
                    request: $crate::private::wasip2::http::types::IncomingRequest,
                    out: $crate::private::wasip2::http::types::ResponseOutparam,
                ) {
                    $crate::private::answer(request, out, $function);
                }
            }

            $crate::private::wasip2::http::proxy::export!(
                Served with_types_in $crate::private::wasip2
            );
        };
    };
}

/// Exports `wasmcloud:messaging/handler`, answered by the function named.
#[doc(hidden)]
#[macro_export]
macro_rules! export_message {
    ($function:ident) => {
        const _: () = {
            struct Served;

            impl $crate::private::handler::Guest for Served {
                fn handle_message(
                    message: $crate::private::handler::BrokerMessage,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    $crate::private::deliver(message, $function)
                }
            }

            $crate::private::export_messaging!(
                Served with_types_in $crate::private::messaging_types
            );
        };
    };
}
