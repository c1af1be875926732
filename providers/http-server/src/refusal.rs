//! Answers that the server gives itself, before any actor is asked.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use providers_sdk::http::{Body, full};

/// One such answer: a status and a line that says what to do. Nothing of the request is repeated
/// in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Status.
    pub status: StatusCode,
    /// `CODE: what; what to do`.
    pub text: &'static str,
    /// Whether the connection can be used again: not when the rest of it cannot be trusted.
    pub close: bool,
}

macro_rules! refusals {
    ($($name:ident = $status:ident, $close:literal, $text:literal;)*) => {
        #[allow(missing_docs, reason = "each says itself what it is")]
        impl Refusal {
            $(pub const $name: Self =
                Self { status: StatusCode::$status, text: concat!($text, "\n"), close: $close };)*
        }
    };
}

refusals! {
    HOST_MISSING = BAD_REQUEST, true, "E_USAGE: Host: missing; send exactly one Host header";
    HOST_TWICE = BAD_REQUEST, true, "E_USAGE: Host: given twice; send exactly one Host header";
    HOST_INVALID = BAD_REQUEST, true, "E_USAGE: Host: not a name with an optional port 0..65535";
    HOST_DIFFERS = BAD_REQUEST, true, "E_USAGE: Host: differs from the request target; send the same in both";
    SCHEME = BAD_REQUEST, true, "E_USAGE: request target: scheme is not that of this connection";
    TARGET = BAD_REQUEST, true, "E_USAGE: request target: no normal form; send an absolute path without dot segments, control characters or broken escapes";
    BODY = BAD_REQUEST, true, "E_USAGE: request body: broken framing, or cut short";
    TARGET_TOO_LONG = URI_TOO_LONG, true, "E_LIMIT: request target: too long (limit 8192 bytes)";
    HEADERS_TOO_LARGE = REQUEST_HEADER_FIELDS_TOO_LARGE, true, "E_LIMIT: request headers: too large (limit 16384 bytes)";
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE, true, "E_LIMIT: request body: over the limit of this route; send less";
    BODY_TOO_SLOW = REQUEST_TIMEOUT, true, "E_TIMEOUT: request body: too slow; send it again at a better rate";
    METHOD = METHOD_NOT_ALLOWED, true, "E_USAGE: method: not served here";
    UPGRADE = NOT_IMPLEMENTED, true, "E_USAGE: Upgrade: not served here; leave the header out";
    NO_ROUTE = NOT_FOUND, false, "E_NOT_FOUND: no route for this host and path";
    DRAINING = SERVICE_UNAVAILABLE, false, "E_OVERLOADED: this route is going away; try again";
    OVERLOADED = SERVICE_UNAVAILABLE, false, "E_OVERLOADED: too many requests at once; try again";
    STATUS = BAD_GATEWAY, false, "E_GUEST: the actor answered with an informational status";
}

impl Refusal {
    /// The whole answer for a connection that is turned away before HTTP begins.
    pub(crate) const CONNECTIONS: &'static [u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 50\r\n\r\nE_OVERLOADED: too many connections; try again now\n";

    /// As a response. `may_close` is false on HTTP/2, where `connection` is forbidden and a
    /// stream ends without ending the others.
    #[must_use]
    pub fn response(self, may_close: bool) -> Response<Body> {
        let mut response = Response::new(full(Bytes::from_static(self.text.as_bytes())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.close && may_close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            StatusCode::METHOD_NOT_ALLOWED => headers
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")),
            _ => None,
        };
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_before_http_declares_its_length() {
        let text = std::str::from_utf8(Refusal::CONNECTIONS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
