//! The frame of one call between hosts: a small JSON head and the payload as it is.
//!
//! ```text
//! request   1 byte version · 4 bytes big-endian head length · head (JSON) · payload
//! reply     1 byte version · 1 byte status (0 value, 1 error) · value bytes or Report (JSON)
//! ```
//! A payload is what its interface says: component-model values ([`crate::value`]) for typed calls,
//! the forms below for HTTP and messages.

use crate::error::{ErrorCode, Report};
use crate::name::{ActorId, LinkName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of the frame.
pub const FRAME_VERSION: u8 = 1;
/// Largest head, bytes.
pub const MAX_HEAD_BYTES: usize = 16 << 10;
/// Calls nested deeper than this are refused with `E_CALL_DEPTH`.
pub const MAX_CALL_DEPTH: u8 = 16;

/// Head of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invocation {
    /// Called actor.
    pub target: ActorId,
    /// `namespace:package/interface@version` of the export.
    pub interface: String,
    /// Function of the interface.
    pub function: String,
    /// Time the caller will still wait, milliseconds: relative, because clocks differ.
    pub remaining_ms: u64,
    /// How deep this call is nested; the outermost is 0.
    pub depth: u8,
    /// Calling actor, when one calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<ActorId>,
    /// Link the caller came by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkName>,
    /// W3C traceparent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Stable over every retry of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

pub(crate) fn malformed(what: &str) -> Report {
    Report::new(ErrorCode::Malformed, format!("call frame: {what}"))
}

impl Invocation {
    /// The frame of this call.
    ///
    /// # Errors
    /// `E_LIMIT` when the head is over [`MAX_HEAD_BYTES`].
    pub fn encode(&self, payload: &[u8]) -> Result<Vec<u8>, Report> {
        encode_frame(self, payload)
    }

    /// Reads a frame: the head, and where the payload begins.
    ///
    /// # Errors
    /// `E_MALFORMED`.
    pub fn decode(frame: &[u8]) -> Result<(Self, usize), Report> {
        decode_frame(frame)
    }
}

/// Joins version, head and payload.
///
/// # Errors
/// `E_LIMIT` when the head is over [`MAX_HEAD_BYTES`].
pub(crate) fn encode_frame<H: Serialize>(head: &H, payload: &[u8]) -> Result<Vec<u8>, Report> {
    let head = serde_json::to_vec(head).map_err(|error| malformed(&error.to_string()))?;
    if head.len() > MAX_HEAD_BYTES {
        return Err(Report::new(ErrorCode::Limit, "call head too large")
            .got(head.len())
            .limit(MAX_HEAD_BYTES));
    }
    let length = u32::try_from(head.len()).map_err(|_| malformed("head length"))?;
    let mut frame = Vec::with_capacity(5 + head.len() + payload.len());
    frame.push(FRAME_VERSION);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&head);
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Reads version and head, and says where the payload begins.
///
/// # Errors
/// `E_MALFORMED`.
pub(crate) fn decode_frame<H: DeserializeOwned>(frame: &[u8]) -> Result<(H, usize), Report> {
    let (version, rest) = frame.split_first().ok_or_else(|| malformed("empty"))?;
    if *version != FRAME_VERSION {
        return Err(malformed("unknown version").got(version).limit(FRAME_VERSION));
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(|| malformed("truncated"))?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| malformed("head length"))?;
    if length > MAX_HEAD_BYTES {
        return Err(malformed("head too large").got(length).limit(MAX_HEAD_BYTES));
    }
    let head = rest.get(..length).ok_or_else(|| malformed("truncated"))?;
    let head = serde_json::from_slice(head).map_err(|error| malformed(&error.to_string()))?;
    Ok((head, 5 + length))
}

/// Encodes the answer to a call.
#[must_use]
pub fn encode_reply(reply: &Result<bytes::Bytes, Report>) -> Vec<u8> {
    match reply {
        Ok(value) => {
            let mut frame = Vec::with_capacity(2 + value.len());
            frame.extend_from_slice(&[FRAME_VERSION, 0]);
            frame.extend_from_slice(value);
            frame
        }
        Err(report) => {
            let mut frame = vec![FRAME_VERSION, 1];
            // A report is plain strings: serialising it cannot fail.
            frame.extend_from_slice(&serde_json::to_vec(report).unwrap_or_default());
            frame
        }
    }
}

/// Reads the answer to a call.
///
/// # Errors
/// The target's own report, or `E_MALFORMED`.
pub fn decode_reply(frame: bytes::Bytes) -> Result<bytes::Bytes, Report> {
    match frame.get(..2) {
        Some([FRAME_VERSION, 0]) => Ok(frame.slice(2..)),
        Some([FRAME_VERSION, 1]) => {
            Err(serde_json::from_slice(&frame.slice(2..))
                .unwrap_or_else(|error| malformed(&error.to_string())))
        }
        _ => Err(malformed("not a reply")),
    }
}

/// An HTTP request or response between hosts: head as JSON, body behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpHead {
    /// Request method; empty in a response.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Request target with scheme and authority; empty in a response.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// Response status; 0 in a request.
    #[serde(default)]
    pub status: u16,
    /// Header lines, in order; values are bytes, as Latin-1.
    pub headers: Vec<(String, String)>,
}

/// A message between hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageHead {
    /// Subject.
    pub subject: String,
    /// Where an answer goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Header lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

/// Joins a head and the bytes behind it: 4 bytes big-endian length, JSON, bytes.
///
/// # Errors
/// `E_LIMIT` when the head is over 64 KiB.
pub fn join<H: Serialize>(head: &H, body: &[u8]) -> Result<Vec<u8>, Report> {
    const MAX: usize = 64 << 10;
    let head = serde_json::to_vec(head).map_err(|error| malformed(&error.to_string()))?;
    if head.len() > MAX {
        return Err(Report::new(ErrorCode::Limit, "head too large").got(head.len()).limit(MAX));
    }
    let length = u32::try_from(head.len()).map_err(|_| malformed("head length"))?;
    let mut out = Vec::with_capacity(4 + head.len() + body.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(body);
    Ok(out)
}

/// The inverse of [`join`].
///
/// # Errors
/// `E_MALFORMED`.
pub fn split<H: DeserializeOwned>(frame: &bytes::Bytes) -> Result<(H, bytes::Bytes), Report> {
    let length = frame.first_chunk::<4>().ok_or_else(|| malformed("truncated"))?;
    let end = usize::try_from(u32::from_be_bytes(*length))
        .ok()
        .and_then(|length| length.checked_add(4))
        .filter(|end| *end <= frame.len())
        .ok_or_else(|| malformed("truncated"))?;
    let head = serde_json::from_slice(&frame.slice(4..end)).map_err(|error| malformed(&error.to_string()))?;
    Ok((head, frame.slice(end..)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call() -> Invocation {
        Invocation {
            target: "a/b".parse().unwrap(),
            interface: "example:pong/pingpong@0.1.0".into(),
            function: "ping".into(),
            remaining_ms: 5_000,
            depth: 0,
            caller: None,
            link: None,
            traceparent: None,
            idempotency_key: None,
        }
    }

    #[test]
    fn a_frame_reads_back() {
        let frame = call().encode(b"payload").unwrap();
        let (head, at) = Invocation::decode(&frame).unwrap();
        assert_eq!((head, &frame[at..]), (call(), b"payload".as_slice()));
        for end in 0..frame.len() - 7 {
            assert!(Invocation::decode(&frame[..end]).is_err());
        }
    }

    #[test]
    fn errors_cross_with_their_code() {
        let report = Report::new(ErrorCode::CallDepth, "too deep").limit(MAX_CALL_DEPTH);
        assert_eq!(decode_reply(encode_reply(&Err(report.clone())).into()), Err(report));
        assert_eq!(decode_reply(encode_reply(&Ok("x".into())).into()), Ok("x".into()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Invocation::decode(&frame);
            let _ = decode_reply(frame.clone().into());
            let _ = split::<HttpHead>(&frame.into());
        }
    }
}
