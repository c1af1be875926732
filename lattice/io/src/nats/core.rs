//! The connection as all implementations here use it: requests that end early and say why, and
//! JetStream's JSON API over them.

use super::connect::NatsOptions;
use crate::bus::{BusError, BusStatus, Headers};
use async_nats::{Client, HeaderMap, Message, Request, RequestErrorKind};
use bytes::Bytes;
use lattice_protocol::{DomainName, jetstream};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};

/// A server hears of the subject of another domain's new stream a moment after that was made: until then it says
/// that nobody takes what is published there, which is certain, so it is published again.
const HEARD: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(20);
/// Denials that a slow listener may miss; it then times out instead.
const DENIALS: usize = 256;

/// What the connection tells.
pub(super) struct Events {
    pub(super) status: watch::Sender<BusStatus>,
    /// Subjects that the server did not let this user publish or subscribe to.
    pub(super) denials: broadcast::Sender<Arc<str>>,
}

impl Events {
    pub(super) fn new() -> Self {
        Self { status: watch::Sender::new(BusStatus::Disconnected), denials: broadcast::Sender::new(DENIALS) }
    }

    /// Closed is for ever.
    pub(super) fn set(&self, to: BusStatus) {
        self.status.send_if_modified(|status| {
            let change = *status != BusStatus::Closed && *status != to;
            if change {
                *status = to;
            }
            change
        });
    }

    /// `Permissions Violation for Publish to "a.b"`: tells whoever waits for that subject.
    pub(super) fn server_error(&self, text: &str) {
        let violation = text.to_ascii_lowercase().contains("permissions violation");
        match text.split('"').nth(1) {
            Some(subject) if violation => {
                tracing::warn!(subject, error = text, "NATS: permission denied");
                self.denials.send(subject.into()).ok();
            }
            _ => tracing::error!(error = text, "NATS"),
        }
    }
}

pub(super) struct Core {
    pub(super) client: Client,
    pub(super) events: Arc<Events>,
    pub(super) server: String,
    /// The JetStream domain, if it is not that of the server.
    pub(super) domain: Option<DomainName>,
    /// Prefix of its API.
    pub(super) api: String,
    /// What comes before a key's subject when another domain's buckets are written.
    pub(super) domain_prefix: String,
    pub(super) timeout: Duration,
}

impl Core {
    pub(super) fn new(client: Client, events: Arc<Events>, server: String, options: &NatsOptions) -> Self {
        let domain = options.domain.clone();
        let api = jetstream::api(domain.as_ref());
        let domain_prefix = domain.as_ref().map_or_else(String::new, |_| format!("{api}."));
        Self { client, events, server, domain, api, domain_prefix, timeout: options.request_timeout }
    }

    /// The same connection, in another domain.
    pub(super) fn in_domain(&self, domain: DomainName) -> Self {
        let api = jetstream::api(Some(&domain));
        Self {
            client: self.client.clone(),
            events: Arc::clone(&self.events),
            server: self.server.clone(),
            domain_prefix: format!("{api}."),
            api,
            domain: Some(domain),
            timeout: self.timeout,
        }
    }

    /// Is there a connection at this moment?
    pub(super) fn check(&self) -> Result<(), BusError> {
        if *self.events.status.borrow() == BusStatus::Closed {
            return Err(BusError::Closed);
        }
        if self.client.connection_state() == async_nats::connection::State::Connected {
            return Ok(());
        }
        Err(BusError::Disconnected { server: self.server.clone() })
    }

    /// One request. It ends with the answer, when the server denies it, when the connection is
    /// lost, or when the time is over.
    pub(super) async fn call(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Message, BusError> {
        self.check()?;
        let mut denials = self.events.denials.subscribe();
        let mut status = self.events.status.subscribe();
        // A server of the domain itself names what the subject is there.
        let home = self.domain.as_ref().and_then(|domain| jetstream::at_home(domain, subject));
        let is_ours = |denied: &str| denied == subject || home.as_deref() == Some(denied);
        let mut request = Request::new().payload(payload).timeout(Some(timeout));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        tokio::select! {
            biased;
            answer = self.client.send_request(subject.to_owned(), request) => {
                answer.map_err(|error| self.request_error(subject, timeout, &error))
            }
            () = denied(&mut denials, is_ours) => Err(BusError::Denied { subject: subject.to_owned() }),
            () = lost(&mut status) => Err(BusError::Io {
                subject: subject.to_owned(),
                reason: "connection lost while waiting for the answer".to_owned(),
            }),
        }
    }

    fn request_error(&self, subject: &str, timeout: Duration, error: &async_nats::RequestError) -> BusError {
        let waited_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let subject = subject.to_owned();
        match error.kind() {
            RequestErrorKind::TimedOut => BusError::Timeout { subject, waited_ms },
            RequestErrorKind::NoResponders => BusError::NoResponders { subject },
            RequestErrorKind::InvalidSubject => crate::bus::invalid("subject", &subject),
            RequestErrorKind::MaxPayloadExceeded => {
                let limit = self.client.max_payload();
                BusError::TooLarge { subject, size: limit + 1, limit }
            }
            RequestErrorKind::Other => BusError::Io { subject, reason: error.to_string() },
        }
    }

    /// Returns when the server has processed what was sent before: it answers a request that nobody
    /// serves, or denies it.
    pub(super) async fn round_trip(&self) -> Result<(), BusError> {
        match self.call(&self.client.new_inbox(), None, Bytes::new(), self.timeout).await {
            Ok(_) | Err(BusError::NoResponders { .. } | BusError::Denied { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One request of JetStream's API: `operation` comes after the prefix.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        operation: &str,
        body: &serde_json::Value,
    ) -> Result<T, ApiError> {
        let subject = format!("{}.{operation}", self.api);
        let payload = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let answer = self.call(&subject, None, payload, self.timeout).await?;
        decode(&subject, &answer.payload)
    }

    /// Publishes to a stream; the answer is its confirmation.
    pub(super) async fn store(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<PublishAck, ApiError> {
        // Keys are written under the domain's API, which is heard of as soon as the domain is.
        let is_far = self.domain.is_some() && !subject.starts_with(&self.domain_prefix);
        let began = Instant::now();
        loop {
            match self.call(subject, headers.clone(), payload.clone(), timeout).await {
                Err(BusError::NoResponders { .. }) if is_far && began.elapsed() < HEARD.min(timeout) => {
                    tokio::time::sleep(AGAIN).await;
                }
                answer => return decode(subject, &answer?.payload),
            }
        }
    }
}

/// Where a stream put a message.
#[derive(Debug, serde::Deserialize)]
pub(super) struct PublishAck {
    pub(super) stream: String,
    pub(super) seq: u64,
    #[serde(default)]
    pub(super) duplicate: bool,
}

/// Why JetStream did not do it.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The request failed.
    Bus(BusError),
    /// The server said no.
    Refused { code: u64, description: String },
}

impl From<BusError> for ApiError {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

/// Codes of JetStream's errors that mean something here (server/errors.json of nats-server).
pub(super) mod code {
    /// Nobody leads the servers now: they have just begun, or lost each other.
    pub const NO_LEADER: [u64; 2] = [10_008, 10_009];
    /// The message is larger than the stream takes.
    pub const MESSAGE_TOO_LARGE: u64 = 10_054;
    /// No such message.
    pub const MESSAGE_NOT_FOUND: u64 = 10_037;
    /// No message there, to whoever wants to delete it.
    pub const SEQUENCE_NOT_FOUND: u64 = 10_043;
    /// The stream exists with other settings.
    pub const STREAM_EXISTS: u64 = 10_058;
    /// No such stream.
    pub const STREAM_NOT_FOUND: u64 = 10_059;
    /// No such consumer.
    pub const CONSUMER_NOT_FOUND: u64 = 10_014;
    /// The expected sequence is not the last one.
    pub const WRONG_LAST_SEQUENCE: u64 = 10_071;
    /// The same, of servers that do not name the last one.
    pub const WRONG_LAST_SEQUENCE_CONSTANT: u64 = 10_164;
}

#[derive(serde::Deserialize)]
struct Refusal {
    error: Option<RefusalDetail>,
}

#[derive(serde::Deserialize)]
struct RefusalDetail {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

pub(super) fn decode<T: DeserializeOwned>(subject: &str, payload: &[u8]) -> Result<T, ApiError> {
    let unreadable = |error: serde_json::Error| BusError::Io {
        subject: subject.to_owned(),
        reason: format!("answer: {error}"),
    };
    let refusal: Refusal = serde_json::from_slice(payload).map_err(unreadable)?;
    if let Some(error) = refusal.error {
        let code = if error.err_code == 0 { error.code } else { error.err_code };
        return Err(ApiError::Refused { code, description: error.description });
    }
    Ok(serde_json::from_slice(payload).map_err(unreadable)?)
}

/// Returns when the server denied one of our subjects.
pub(super) async fn denied(denials: &mut broadcast::Receiver<Arc<str>>, is_ours: impl Fn(&str) -> bool) {
    loop {
        match denials.recv().await {
            Ok(denied) if is_ours(&denied) => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Returns when the connection is lost.
pub(super) async fn lost(status: &mut watch::Receiver<BusStatus>) {
    // What was before this call does not count: it was checked already.
    status.mark_unchanged();
    while status.changed().await.is_ok() {
        if *status.borrow_and_update() != BusStatus::Connected {
            return;
        }
    }
    std::future::pending().await
}

/// Header lines for the wire; none for none. They were checked by [`crate::bus::check_headers`].
pub(super) fn header_map(headers: &Headers) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.as_str(), value.as_str());
    }
    (!map.is_empty()).then_some(map)
}

/// Header lines from the wire, sorted by name: the client keeps no order.
pub(super) fn header_lines(map: Option<&HeaderMap>) -> Headers {
    let mut lines: Headers = map
        .into_iter()
        .flat_map(HeaderMap::iter)
        .flat_map(|(name, values)| {
            values.iter().map(move |value| (name.to_string(), value.as_str().to_owned()))
        })
        .collect();
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    lines
}

/// The first value of a header, as a number.
pub(super) fn header_number(message: &Message, name: &str) -> Option<u64> {
    message.headers.as_ref()?.get(name)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_an_answer() {
        let refused = br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 4"}}"#;
        let error = decode::<PublishAck>("s", refused).unwrap_err();
        assert!(matches!(error, ApiError::Refused { code: code::WRONG_LAST_SEQUENCE, .. }));
        let ack: PublishAck = decode("s", br#"{"stream":"KV_b","seq":7}"#).unwrap();
        assert_eq!((ack.seq, ack.duplicate), (7, false));
        assert!(matches!(decode::<PublishAck>("s", b"+OK"), Err(ApiError::Bus(BusError::Io { .. }))));
    }

    #[tokio::test]
    async fn a_permission_error_reaches_whoever_waits_for_that_subject() {
        let events = Events::new();
        let mut denials = events.denials.subscribe();
        events.server_error(r#"Permissions Violation for Publish to "other""#);
        events.server_error(r#"Permissions Violation for Subscription to "a.b" using queue "q""#);
        denied(&mut denials, |subject| subject == "a.b").await;
    }
}
