//! HTTP and messages as bytes, for calls over the lattice: a head in JSON and the body behind it
//! (`lattice_protocol::invocation`). Bodies are whole, and bounded by what one message carries; a
//! larger one is `E_TOO_LARGE` before anything is sent.

use crate::ProviderError;
use crate::http::{Body, full};
use crate::messaging::Message;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use lattice_protocol::invocation::{HttpHead, MAX_HEAD_BYTES, MessageHead, join, split};
use lattice_protocol::provider::FRAME_OVERHEAD_BYTES;
use lattice_protocol::{ErrorCode, Report};

/// Largest body that fits a message of this size, with the heads before it.
#[must_use]
pub fn max_body(max_payload: usize) -> usize {
    // An HTTP head may be four times as long as that of a call.
    max_payload.saturating_sub(FRAME_OVERHEAD_BYTES + 4 * MAX_HEAD_BYTES)
}

fn malformed(what: impl std::fmt::Display) -> Report {
    Report::new(ErrorCode::Malformed, format!("forwarded HTTP: {what}"))
}

/// Header values are bytes; JSON has them as Latin-1.
fn lines(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

fn headers(lines: &[(String, String)]) -> Result<http::HeaderMap, Report> {
    let mut headers = http::HeaderMap::with_capacity(lines.len());
    for (name, text) in lines {
        let value: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
        let name = http::HeaderName::try_from(name.as_str()).map_err(malformed)?;
        headers.append(name, http::HeaderValue::try_from(value.map_err(malformed)?).map_err(malformed)?);
    }
    Ok(headers)
}

async fn whole(body: Body, limit: usize) -> Result<Bytes, Report> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Report::new(ErrorCode::TooLarge, "body too large for one message over the lattice")
                .limit(format!("{limit} bytes")))
        }
        Err(error) => Err(match error.downcast::<ProviderError>() {
            Ok(error) => (*error).into(),
            Err(error) => malformed(error),
        }),
    }
}

/// A request as bytes.
///
/// # Errors
/// `E_TOO_LARGE`, or what the body itself reports.
pub async fn write_request(request: http::Request<Body>, limit: usize) -> Result<Bytes, Report> {
    let (parts, body) = request.into_parts();
    let head = HttpHead {
        method: parts.method.as_str().to_owned(),
        uri: parts.uri.to_string(),
        status: 0,
        headers: lines(&parts.headers),
    };
    join(&head, &whole(body, limit).await?).map(Bytes::from)
}

/// A request from bytes.
///
/// # Errors
/// `E_MALFORMED`.
pub fn read_request(bytes: &Bytes) -> Result<http::Request<Body>, Report> {
    let (head, body) = split::<HttpHead>(bytes)?;
    let request = http::Request::builder().method(head.method.as_str()).uri(head.uri.as_str());
    let mut request = request.body(full(body)).map_err(malformed)?;
    *request.headers_mut() = headers(&head.headers)?;
    Ok(request)
}

/// A response as bytes.
///
/// # Errors
/// `E_TOO_LARGE`, or what the body itself reports.
pub async fn write_response(response: http::Response<Body>, limit: usize) -> Result<Bytes, Report> {
    let (parts, body) = response.into_parts();
    let head = HttpHead {
        method: String::new(),
        uri: String::new(),
        status: parts.status.as_u16(),
        headers: lines(&parts.headers),
    };
    join(&head, &whole(body, limit).await?).map(Bytes::from)
}

/// A response from bytes.
///
/// # Errors
/// `E_MALFORMED`.
pub fn read_response(bytes: &Bytes) -> Result<http::Response<Body>, Report> {
    let (head, body) = split::<HttpHead>(bytes)?;
    let mut response = http::Response::new(full(body));
    *response.status_mut() = http::StatusCode::from_u16(head.status).map_err(malformed)?;
    *response.headers_mut() = headers(&head.headers)?;
    Ok(response)
}

/// A message as bytes.
///
/// # Errors
/// `E_LIMIT` when its head is over 64 KiB.
pub fn write_message(message: Message) -> Result<Bytes, Report> {
    let head = MessageHead { subject: message.subject, reply_to: message.reply_to, headers: message.headers };
    join(&head, &message.body).map(Bytes::from)
}

/// A message from bytes.
///
/// # Errors
/// `E_MALFORMED`.
pub fn read_message(bytes: &Bytes) -> Result<Message, Report> {
    let (head, body) = split::<MessageHead>(bytes)?;
    Ok(Message { subject: head.subject, body, reply_to: head.reply_to, headers: head.headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_and_responses_read_back_whatever_bytes_their_headers_hold() {
        let value = http::HeaderValue::from_bytes(b"caf\xe9").unwrap();
        let request = http::Request::post("http://a.test/x?y=z").header("x", value.clone());
        let written = write_request(request.body(full("body")).unwrap(), 4).await.unwrap();
        let read = read_request(&written).unwrap();
        assert_eq!((read.method().as_str(), read.uri().path(), &read.headers()["x"]), ("POST", "/x", &value));
        let response = http::Response::builder().status(418).header("x", value.clone());
        let written = write_response(response.body(full("body")).unwrap(), 4).await.unwrap();
        let read = read_response(&written).unwrap();
        assert_eq!((read.status().as_u16(), &read.headers()["x"]), (418, &value));
        assert_eq!(read.into_body().collect().await.unwrap().to_bytes(), "body");
    }

    #[tokio::test]
    async fn a_body_that_fits_no_message_is_refused_and_one_that_breaks_keeps_its_reason() {
        let large = write_response(http::Response::new(full("12345")), 4).await.unwrap_err();
        assert_eq!((large.code, large.limit.as_deref()), (ErrorCode::TooLarge, Some("4 bytes")));
        let broken = futures::stream::iter([Err::<http_body::Frame<Bytes>, _>(ProviderError::new(
            crate::ProviderErrorKind::Timeout,
            "too slow",
        ))]);
        let body = http_body_util::StreamBody::new(broken).boxed_unsync();
        let error = write_response(http::Response::new(body), 4).await.unwrap_err();
        assert_eq!((error.code, error.what.as_str()), (ErrorCode::Timeout, "too slow"));
        for broken in [&b""[..], b"\0\0\0\x09{}", b"\0\0\0\x02{}x"] {
            assert!(read_response(&Bytes::from_static(broken)).is_err());
        }
    }
}
