//! From providers to actors: what an HTTP server or a message broker calls.
//!
//! A failed call becomes an answer here, once: HTTP gets a status by the kind of failure and a
//! short text with the code (never the guest's words, which may hold anything); a message is
//! redelivered only where nothing can have happened yet.

use crate::directory::Directory;
use bytes::Bytes;
use host_runtime::{Actor, CallInfo};
use lattice_protocol::{ActorId, ErrorCode, LinkDefinition, Report};
use providers_sdk::BoxFuture;
use providers_sdk::http::{Body, HttpHandler, full};
use providers_sdk::messaging::{Handled, Message, MessageHandler};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Seconds a refused caller is asked to wait.
const RETRY_AFTER_S: &str = "1";
/// Pause before a message that could not be handled now is delivered again.
const REDELIVERY: Duration = Duration::from_millis(500);

/// One inbound link: an actor's export, as a provider sees it.
pub struct Inbound {
    directory: Arc<Directory>,
    actor: ActorId,
    patience: Duration,
}

impl Inbound {
    /// For this link; the actor is looked up at each call, so that an update needs no new route.
    #[must_use]
    pub fn new(directory: Arc<Directory>, link: &LinkDefinition) -> Self {
        Self {
            directory,
            actor: link.source.clone(),
            patience: Duration::from_millis(link.policy.timeout_ms),
        }
    }

    fn actor(&self) -> Result<Arc<Actor>, Report> {
        self.directory
            .get(&self.actor)
            .ok_or_else(|| Report::new(ErrorCode::ActorNotFound, "actor is not running here").at(&self.actor))
    }

    fn info(&self, traceparent: Option<&str>) -> CallInfo {
        CallInfo {
            deadline: Instant::now() + self.patience,
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
            answer.unwrap_or_else(|report| refusal(&self.actor, &report))
        })
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
            match result {
                Ok(()) => Handled::Done,
                Err(report) => {
                    tracing::warn!(actor = %self.actor, error = %report, "message not handled");
                    match report.code {
                        ErrorCode::Guest => Handled::Never(report.what),
                        _ => Handled::Again(REDELIVERY),
                    }
                }
            }
        })
    }
}

/// The status that says whose fault it is and whether to try again.
fn status(code: ErrorCode) -> http::StatusCode {
    match code {
        ErrorCode::Overloaded
        | ErrorCode::CircuitOpen
        | ErrorCode::ActorNotFound
        | ErrorCode::CrashLooping => http::StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Timeout | ErrorCode::StartTimeout => http::StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::TooLarge | ErrorCode::Limit => http::StatusCode::PAYLOAD_TOO_LARGE,
        _ => http::StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer to a caller whose call failed on our side.
#[must_use]
pub fn refusal(actor: &ActorId, report: &Report) -> http::Response<Body> {
    let status = status(report.code);
    if status == http::StatusCode::INTERNAL_SERVER_ERROR {
        tracing::warn!(%actor, error = %report, "call failed");
    }
    let mut response = http::Response::new(full(Bytes::from(format!("{}\n", report.code))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == http::StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(http::header::RETRY_AFTER, http::HeaderValue::from_static(RETRY_AFTER_S));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overloaded_actor_asks_to_come_back_and_a_trap_tells_only_its_code() {
        let actor = "shop/cart".parse().unwrap();
        let busy = refusal(&actor, &Report::new(ErrorCode::Overloaded, "queue full"));
        assert_eq!((busy.status().as_u16(), busy.headers().contains_key("retry-after")), (503, true));
        let trap = refusal(&actor, &Report::new(ErrorCode::Trap, "unreachable: secret in a panic message"));
        assert_eq!((trap.status().as_u16(), trap.headers().contains_key("retry-after")), (500, false));
        assert_eq!(refusal(&actor, &Report::new(ErrorCode::Timeout, "x")).status().as_u16(), 504);
    }
}
