//! From providers to actors: whom an inbound link calls, and what becomes of a call that failed.
//! The same in the host's process and in the provider's own.
//!
//! A failed call becomes an answer here, once: HTTP gets a status by the kind of failure and a
//! short text with the code (never the guest's words, which may hold anything); a message is
//! redelivered only where nothing can have happened yet.

use crate::http::{Body, full};
use crate::messaging::Handled;
use bytes::Bytes;
use lattice_protocol::{ActorId, ErrorCode, LinkDefinition, LinkName, Report};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Seconds a refused caller is asked to wait.
const RETRY_AFTER_S: &str = "1";
/// Pause before a message that could not be handled now is delivered again.
const REDELIVERY: Duration = Duration::from_millis(500);

/// An inbound link, as a provider sees it: whom to call, and with which patience.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundTarget {
    /// The actor.
    pub actor: ActorId,
    /// Its link to the provider.
    pub link: LinkName,
    /// What the link is for, as written.
    pub interface: String,
    /// Longest call, milliseconds.
    pub timeout_ms: u64,
}

impl From<&LinkDefinition> for InboundTarget {
    fn from(link: &LinkDefinition) -> Self {
        Self {
            actor: link.source.clone(),
            link: link.name.clone(),
            interface: link.interface.to_string(),
            timeout_ms: link.policy.timeout_ms,
        }
    }
}

/// The status that says whose fault it is and whether to try again.
fn status(code: ErrorCode) -> http::StatusCode {
    match code {
        ErrorCode::Overloaded
        | ErrorCode::CircuitOpen
        | ErrorCode::ActorNotFound
        | ErrorCode::Connection
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

/// What a broker is told of a message that an actor was handed.
#[must_use]
pub fn handled(actor: &ActorId, result: Result<(), Report>) -> Handled {
    match result {
        Ok(()) => Handled::Done,
        Err(report) => {
            tracing::warn!(%actor, error = %report, "message not handled");
            match report.code {
                ErrorCode::Guest => Handled::Never(report.what),
                _ => Handled::Again(REDELIVERY),
            }
        }
    }
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

    #[test]
    fn a_message_that_an_actor_refuses_is_given_up_and_one_that_it_did_not_get_comes_again() {
        let actor = "shop/cart".parse().unwrap();
        assert_eq!(handled(&actor, Ok(())), Handled::Done);
        let refused = handled(&actor, Err(Report::new(ErrorCode::Guest, "no")));
        assert_eq!(refused, Handled::Never("no".to_owned()));
        let nobody = handled(&actor, Err(Report::new(ErrorCode::Connection, "no host runs this actor")));
        assert_eq!(nobody, Handled::Again(REDELIVERY));
    }
}
