//! From a provider's process to an actor, wherever it runs: the call that hosts make to one another.

use crate::BoxFuture;
use crate::forward::{max_body, read_response, write_message, write_request};
use crate::http::{Body, HttpHandler};
use crate::inbound::{InboundTarget, handled, refusal};
use crate::messaging::{Handled, Message, MessageHandler};
use bytes::Bytes;
use lattice_io::Bus;
use lattice_io::call::request;
use lattice_protocol::Report;
use lattice_protocol::invocation::Invocation;
use lattice_protocol::subject::Subjects;
use std::sync::Arc;
use std::time::Duration;

/// One inbound link's actor.
pub(super) struct FarActor {
    bus: Arc<dyn Bus>,
    subject: String,
    target: InboundTarget,
}

impl FarActor {
    pub(super) fn new(bus: Arc<dyn Bus>, subjects: &Subjects, target: InboundTarget) -> Self {
        Self { bus, subject: subjects.actor_call(&target.actor), target }
    }

    async fn call(
        &self,
        (interface, function): (&str, &str),
        traceparent: Option<String>,
        payload: &[u8],
    ) -> Result<Bytes, Report> {
        let call = Invocation {
            target: self.target.actor.clone(),
            interface: interface.to_owned(),
            function: function.to_owned(),
            remaining_ms: self.target.timeout_ms,
            depth: 0,
            caller: None,
            link: Some(self.target.link.clone()),
            traceparent,
            idempotency_key: None,
        };
        request(&*self.bus, &self.subject, &call, payload).await
    }

    async fn http(&self, asked: http::Request<Body>) -> Result<http::Response<Body>, Report> {
        let trace = asked.headers().get("traceparent").and_then(|value| value.to_str().ok());
        let trace = trace.map(str::to_owned);
        let patience = Duration::from_millis(self.target.timeout_ms);
        let write = write_request(asked, max_body(self.bus.max_payload()));
        let payload = tokio::time::timeout(patience, write).await.map_err(|_| {
            Report::new(lattice_protocol::ErrorCode::Timeout, "request body not there in time")
        })??;
        let answer = self.call(("wasi:http/incoming-handler", "handle"), trace, &payload).await?;
        read_response(&answer)
    }

    async fn message(&self, message: Message) -> Result<(), Report> {
        let trace = message.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("traceparent"));
        let trace = trace.map(|(_, value)| value.clone());
        let payload = write_message(message)?;
        self.call(("wasmcloud:messaging/handler", "handle-message"), trace, &payload).await.map(drop)
    }
}

impl HttpHandler for FarActor {
    fn handle(&self, request: http::Request<Body>) -> BoxFuture<'_, http::Response<Body>> {
        Box::pin(async move {
            self.http(request).await.unwrap_or_else(|report| refusal(&self.target.actor, &report))
        })
    }
}

impl MessageHandler for FarActor {
    fn handle(&self, message: Message) -> BoxFuture<'_, Handled> {
        Box::pin(async move { handled(&self.target.actor, self.message(message).await) })
    }
}
