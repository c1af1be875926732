//! HTTP into an actor. `incoming` serves `wasi:http` 0.2 on the caller's own task, `service`
//! serves 0.3 in a worker; `body` bounds what passes either way.
//!
//! Failures are [`Report`]s as long as the response has not begun; after that they end its body.

pub(crate) mod body;
pub(crate) mod incoming;
pub(crate) mod service;

use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use lattice_protocol::{ErrorCode, Report};
use providers_sdk::http::{Body, full};

/// Refuses a body that says it is too large, before any of it is read.
pub(crate) fn check_length(headers: &http::HeaderMap, limit: u64) -> Result<(), Report> {
    let said = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match said.and_then(|text| text.parse::<u64>().ok()) {
        Some(length) if length > limit => Err(body::too_large("request body", length, limit)),
        _ => Ok(()),
    }
}

/// The response that a failed call becomes: the status of its code, and the report in one line.
/// What the client sees names no file and no address; the log has the rest.
#[must_use]
pub fn error_response(report: &Report) -> http::Response<Body> {
    let status = match report.code {
        ErrorCode::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Overloaded
        | ErrorCode::CrashLooping
        | ErrorCode::CircuitOpen
        | ErrorCode::InsufficientResources => http::StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Timeout | ErrorCode::StartTimeout => http::StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::ActorNotFound => http::StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Guest => http::StatusCode::BAD_GATEWAY,
        _ => http::StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = http::Response::new(full(format!("{}: {}\n", report.code, first_line(&report.what))));
    *response.status_mut() = status;
    if status == http::StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    response
}

fn first_line(text: &str) -> String {
    text.chars().take_while(|character| !character.is_control()).take(200).collect()
}
