//! What a message may carry from one connection to the next. Pure.

use crate::target::Target;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Uri, Version};
use providers_sdk::{ProviderError, ProviderErrorKind};

/// Headers of one connection only (RFC 9110 §7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// Takes away what belongs to the connection that a message came by.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Turns an actor's request into what goes over the wire: origin form, our own `Host`, a length
/// that is counted and not claimed.
///
/// # Errors
/// The authority is none that a header can hold.
pub(crate) fn prepare<B>(request: Request<B>, target: &Target) -> Result<Request<B>, ProviderError> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from(path);
    parts.version = Version::HTTP_11;
    strip(&mut parts.headers);
    for name in [CONTENT_LENGTH, EXPECT] {
        parts.headers.remove(name);
    }
    let host = HeaderValue::try_from(target.authority()).map_err(|_| {
        ProviderError::new(ProviderErrorKind::Invalid, "outgoing HTTP: host is no header value")
    })?;
    parts.headers.insert(HOST, host);
    Ok(Request::from_parts(parts, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_in_origin_form_with_our_host_and_nothing_hop_by_hop() {
        let request = Request::post("https://a.example:8443/x?y=1")
            .header("host", "other")
            .header("connection", "keep-alive, x-private")
            .header("x-private", "1")
            .header("transfer-encoding", "chunked")
            .header("content-length", "999")
            .header("te", "gzip")
            .header("upgrade", "websocket")
            .header("proxy-authorization", "secret")
            .header("expect", "100-continue")
            .header("x-kept", "1")
            .body(())
            .unwrap();
        let target = Target::of(request.uri()).unwrap();
        let prepared = prepare(request, &target).unwrap();
        assert_eq!(prepared.uri(), "/x?y=1");
        let names: Vec<&str> = prepared.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(prepared.headers().get("host").unwrap(), "a.example:8443");
        assert!(prepared.headers().contains_key("x-kept"));
    }

    #[test]
    fn an_empty_path_is_the_root() {
        let request = Request::get("http://a?q").body(()).unwrap();
        let target = Target::of(request.uri()).unwrap();
        assert_eq!(prepare(request, &target).unwrap().uri(), "/?q");
    }
}
