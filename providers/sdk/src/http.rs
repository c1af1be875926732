//! HTTP in both directions. Bodies are streams of frames (`http_body`), bounded by whoever
//! enforces the limit on its side.

use crate::inbound::InboundTarget;
use crate::{BoxFuture, CallContext, ProviderError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A body of either direction.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, ProviderError>;

/// A body of these bytes.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    use http_body_util::BodyExt;
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Serves requests: an actor with an HTTP handler export, as the server sees it.
pub trait HttpHandler: Send + Sync {
    /// Answers one request. Failures of the actor become responses (500, 503, 504) here: the
    /// server only ever writes what it is given.
    fn handle(&self, request: http::Request<Body>) -> BoxFuture<'_, http::Response<Body>>;
    /// Whom it calls, for a server in another process: that calls the actor itself. None where
    /// only this object knows.
    fn target(&self) -> Option<InboundTarget> {
        None
    }
}

/// What a link asks of an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRequest {
    /// Host names (without port) it answers for; empty means every host.
    pub hosts: Vec<String>,
    /// Path prefix on segment borders; `/` is everything.
    pub path: String,
    /// Largest request body, bytes.
    pub max_body_bytes: u64,
}

/// A route in force: dropping it takes it away.
pub trait Route: Send + Sync {
    /// Refuses new requests and waits until those in hand are answered.
    fn drain(&self) -> BoxFuture<'_, ()>;
}

/// An HTTP listener with routes.
pub trait HttpServer: Send + Sync {
    /// Adds a route. The longest path wins, a named host wins over any host.
    fn add_route(
        &self,
        route: RouteRequest,
        handler: Arc<dyn HttpHandler>,
    ) -> BoxFuture<'_, Result<Box<dyn Route>, ProviderError>>;
    /// The address it listens on, as bound.
    fn local_address(&self) -> std::net::SocketAddr;
    /// Takes no further connections, ends those that do nothing, and returns when what was in hand is
    /// answered. One that others run has nothing to close here.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What outgoing HTTP of one link may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// `host`, `host:port`, `*.domain`; `private` admits private addresses.
    pub hosts: Vec<String>,
    /// Methods; empty means all.
    pub methods: Vec<String>,
}

/// Sends requests out.
pub trait HttpClient: Send + Sync {
    /// Sends one request, without following redirects.
    fn send<'a>(
        &'a self,
        cx: &'a CallContext,
        allowed: &'a Allowed,
        request: http::Request<Body>,
    ) -> BoxFuture<'a, Result<http::Response<Body>, ProviderError>>;
}
