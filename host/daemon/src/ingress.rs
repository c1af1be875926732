//! From providers in this process to actors on this host: what an HTTP server or a message broker
//! calls. A provider in a process of its own calls the actor over the lattice instead, wherever it
//! runs; what becomes of a failed call is the same ([`providers_sdk::inbound`]).

use crate::directory::Directory;
use host_runtime::{Actor, CallInfo};
use lattice_protocol::{ErrorCode, LinkDefinition, Report};
use providers_sdk::BoxFuture;
use providers_sdk::http::{Body, HttpHandler};
use providers_sdk::inbound::{InboundTarget, handled, refusal};
use providers_sdk::messaging::{Handled, Message, MessageHandler};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One inbound link: an actor's export, as a provider sees it.
pub struct Inbound {
    directory: Arc<Directory>,
    target: InboundTarget,
}

impl Inbound {
    /// For this link; the actor is looked up at each call, so that an update needs no new route.
    #[must_use]
    pub fn new(directory: Arc<Directory>, link: &LinkDefinition) -> Self {
        Self { directory, target: InboundTarget::from(link) }
    }

    fn actor(&self) -> Result<Arc<Actor>, Report> {
        let actor = &self.target.actor;
        self.directory
            .get(actor)
            .ok_or_else(|| Report::new(ErrorCode::ActorNotFound, "actor is not running here").at(actor))
    }

    fn info(&self, traceparent: Option<&str>) -> CallInfo {
        CallInfo {
            deadline: Instant::now() + Duration::from_millis(self.target.timeout_ms),
            depth: 0,
            caller: None,
            traceparent: traceparent.map(Arc::from),
            idempotency_key: None,
        }
    }
}

impl HttpHandler for Inbound {
    fn handle(&self, request: http::Request<Body>) -> BoxFuture<'_, http::Response<Body>> {
        Box::pin(async move {
            let info = self.info(request.headers().get("traceparent").and_then(|value| value.to_str().ok()));
            let answer = match self.actor() {
                Ok(actor) => actor.handle_http(request, info).await,
                Err(report) => Err(report),
            };
            answer.unwrap_or_else(|report| refusal(&self.target.actor, &report))
        })
    }

    fn target(&self) -> Option<InboundTarget> {
        Some(self.target.clone())
    }
}

impl MessageHandler for Inbound {
    fn handle(&self, message: Message) -> BoxFuture<'_, Handled> {
        Box::pin(async move {
            let trace = message.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("traceparent"));
            let info = self.info(trace.map(|(_, value)| value.as_str()));
            let result = match self.actor() {
                Ok(actor) => actor.handle_message(message, info).await,
                Err(report) => Err(report),
            };
            handled(&self.target.actor, result)
        })
    }

    fn target(&self) -> Option<InboundTarget> {
        Some(self.target.clone())
    }
}
