//! HTTP into an actor. `incoming` serves `wasi:http` 0.2 on the caller's own task, `service`
//! serves 0.3 in a worker; `body` bounds what passes either way.
//!
//! Failures are [`Report`]s as long as the response has not begun; after that they end its body.

pub(crate) mod body;
pub(crate) mod incoming;
pub(crate) mod service;

use http::header::CONTENT_LENGTH;
use lattice_protocol::Report;

/// Refuses a body that says it is too large, before any of it is read.
pub(crate) fn check_length(headers: &http::HeaderMap, limit: u64) -> Result<(), Report> {
    let said = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match said.and_then(|text| text.parse::<u64>().ok()) {
        Some(length) if length > limit => Err(body::too_large("request body", length, limit)),
        _ => Ok(()),
    }
}
