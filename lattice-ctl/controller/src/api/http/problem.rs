//! Answers: JSON, and problems as RFC 9457 says, with all that a report says.

use super::Body;
use ::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use lattice_protocol::error::Class;
use lattice_protocol::{ErrorCode, Report};
use serde_json::{Value, json};

/// Bytes as a body.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// An answer of a media type.
pub(super) fn answer(status: StatusCode, media: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A value.
pub(super) fn json_answer(value: &Value) -> Response<Body> {
    // JSON from JSON: serialising cannot fail.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    answer(StatusCode::OK, "application/json", whole(text))
}

/// Whose fault it is, and whether to try again.
pub(super) fn status(code: ErrorCode) -> StatusCode {
    match (code, code.class()) {
        (ErrorCode::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (ErrorCode::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
        (ErrorCode::Overloaded | ErrorCode::Connection, _) => StatusCode::SERVICE_UNAVAILABLE,
        (_, Class::Usage) => StatusCode::BAD_REQUEST,
        (_, Class::Denied | Class::Trust) => StatusCode::FORBIDDEN,
        (_, Class::NotFound) => StatusCode::NOT_FOUND,
        (_, Class::State | Class::Resources) => StatusCode::CONFLICT,
        (_, Class::Timeout) => StatusCode::GATEWAY_TIMEOUT,
        (_, Class::Internal | Class::Io) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A problem, with the status that follows from its code.
pub(super) fn problem(report: &Report) -> Response<Body> {
    problem_of(status(report.code), report)
}

/// A problem with a status of its own.
pub(super) fn problem_of(status: StatusCode, report: &Report) -> Response<Body> {
    let mut fields = json!({
        "type": format!("urn:trellis:error:{}", report.code), "title": report.what,
        "status": status.as_u16(), "detail": report.to_string(), "code": report.code,
    });
    if let Some(fields) = fields.as_object_mut() {
        for (name, value) in
            [("place", &report.place), ("got", &report.got), ("limit", &report.limit), ("hint", &report.hint)]
        {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value.as_str().into());
            }
        }
    }
    let text = serde_json::to_vec(&fields).unwrap_or_default();
    let mut response = answer(status, "application/problem+json", whole(text));
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"trellis\""));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
