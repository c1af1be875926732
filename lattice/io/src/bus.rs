//! Messages: publish, request and answer, subscribe.
//!
//! Delivery is at most once and kept in order per publisher and subscription. Nothing is buffered
//! while the server is away: a publish or request then fails at once with
//! [`BusError::Disconnected`], so an offline host neither blocks its actors nor fills its memory. A
//! subscription may be made while disconnected; it is live as soon as the connection is.
//!
//! A subscription that is not read fast enough loses messages once its buffer
//! ([`SUBSCRIPTION_CAPACITY`]) is full; the loss is logged, the publisher is never blocked.

mod error;

pub use error::BusError;
pub(crate) use error::{invalid, megabytes};

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;

/// Messages that wait in one subscription before further ones are dropped.
pub const SUBSCRIPTION_CAPACITY: usize = 4_096;

/// Name and value of each header line; names may repeat. Only the order of values of one name is
/// kept on the way.
pub type Headers = Vec<(String, String)>;

/// One message, in either direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BusMessage {
    /// Subject it was, or shall be, published to.
    pub subject: String,
    /// Where an answer goes. [`Bus::request`] sets it itself.
    pub reply: Option<String>,
    /// Header lines.
    pub headers: Headers,
    /// Body.
    pub payload: Bytes,
}

impl BusMessage {
    /// A message without headers.
    #[must_use]
    pub fn new(subject: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { subject: subject.into(), reply: None, headers: Vec::new(), payload: payload.into() }
    }
    /// Adds a header line.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
    /// Replaces all header lines.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }
    /// Asks for answers on this subject.
    #[must_use]
    pub fn with_reply(mut self, reply: impl Into<String>) -> Self {
        self.reply = Some(reply.into());
        self
    }
    /// The answer to this message; none when it does not ask for one.
    #[must_use]
    pub fn answer(&self, payload: impl Into<Bytes>) -> Option<Self> {
        self.reply.as_ref().map(|reply| Self::new(reply.clone(), payload))
    }
    /// The first value of a header; names compare without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
    /// Bytes that count against the server's payload limit: headers and body.
    #[must_use]
    pub fn size(&self) -> usize {
        headers_size(&self.headers) + self.payload.len()
    }
}

/// Bytes of a header block on the wire: version line, `name: value` lines, empty line.
fn headers_size(headers: &Headers) -> usize {
    if headers.is_empty() {
        return 0;
    }
    let lines: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    lines + "NATS/1.0\r\n\r\n".len()
}

/// Can the server be reached?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusStatus {
    /// Yes.
    Connected,
    /// Not now; the client keeps trying.
    Disconnected,
    /// Closed for good by [`Bus::close`].
    Closed,
}

/// What a [`Subscription`] is made of; implemented by each bus.
pub trait SubscriptionSource: Stream<Item = BusMessage> + Send + Unpin {
    /// Stops the server from sending more; what has arrived can still be read, then the stream ends.
    fn drain(&mut self) -> BoxFuture<'_, Result<(), BusError>>;
}

/// Messages of one subscription. Dropping it unsubscribes.
pub struct Subscription {
    source: Box<dyn SubscriptionSource>,
}

impl Subscription {
    /// Over this source.
    #[must_use]
    pub fn new(source: impl SubscriptionSource + 'static) -> Self {
        Self { source: Box::new(source) }
    }
    /// The next message; none when drained or when the bus is closed.
    pub async fn next(&mut self) -> Option<BusMessage> {
        std::future::poll_fn(|cx| Pin::new(&mut self.source).poll_next(cx)).await
    }
    /// Stops the server from sending more; what has arrived can still be read, then the stream ends.
    /// On NATS a message that is on the wire at this moment may be lost (the client forgets the
    /// subscription before the server's last words): who asked gets a timeout.
    ///
    /// # Errors
    /// [`BusError::Closed`].
    pub async fn drain(&mut self) -> Result<(), BusError> {
        self.source.drain().await
    }

    /// The same messages until `stop` is done; then it is drained, and ends after what had arrived.
    #[must_use]
    pub fn until(self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::new(Until::Open { source: self.source, stop: Box::pin(stop) })
    }
}

/// A subscription that is drained by and by. `Gone` only while it is moved.
enum Until {
    Open { source: Box<dyn SubscriptionSource>, stop: BoxFuture<'static, ()> },
    Draining(BoxFuture<'static, Box<dyn SubscriptionSource>>),
    Rest(Box<dyn SubscriptionSource>),
    Gone,
}

/// Asks for the end; what cannot be asked any more ends by itself.
async fn drained(mut source: Box<dyn SubscriptionSource>) -> Box<dyn SubscriptionSource> {
    if let Err(error) = source.drain().await {
        tracing::debug!(%error, "subscription not drained");
    }
    source
}

impl Stream for Until {
    type Item = BusMessage;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BusMessage>> {
        loop {
            *self = match std::mem::replace(&mut *self, Self::Gone) {
                Self::Open { mut source, mut stop } => {
                    if stop.as_mut().poll(cx).is_pending() {
                        let polled = Pin::new(&mut source).poll_next(cx);
                        *self = Self::Open { source, stop };
                        return polled;
                    }
                    Self::Draining(Box::pin(drained(source)))
                }
                Self::Draining(mut draining) => match draining.as_mut().poll(cx) {
                    Poll::Ready(source) => Self::Rest(source),
                    Poll::Pending => {
                        *self = Self::Draining(draining);
                        return Poll::Pending;
                    }
                },
                Self::Rest(mut source) => {
                    let polled = Pin::new(&mut source).poll_next(cx);
                    *self = Self::Rest(source);
                    return polled;
                }
                Self::Gone => return Poll::Ready(None),
            };
        }
    }
}

impl SubscriptionSource for Until {
    fn drain(&mut self) -> BoxFuture<'_, Result<(), BusError>> {
        match self {
            Self::Open { source, .. } | Self::Rest(source) => source.drain(),
            Self::Draining(_) | Self::Gone => Box::pin(std::future::ready(Ok(()))),
        }
    }
}

impl Stream for Subscription {
    type Item = BusMessage;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BusMessage>> {
        Pin::new(&mut self.source).poll_next(cx)
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Subscription")
    }
}

/// A message bus.
pub trait Bus: Send + Sync {
    /// Sends one message. When it returns, the message is on its way, not delivered.
    ///
    /// Errors: [`BusError::Disconnected`], [`BusError::Closed`], [`BusError::TooLarge`],
    /// [`BusError::Invalid`].
    fn publish(&self, message: BusMessage) -> BoxFuture<'_, Result<(), BusError>>;

    /// Sends one message. When it returns, the server has it.
    ///
    /// Errors: as [`Bus::publish`], [`BusError::Denied`], and [`BusError::Timeout`] when it is not known.
    fn deliver(&self, message: BusMessage) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            self.publish(message).await?;
            self.flush().await
        })
    }

    /// Sends one message and waits for one answer.
    ///
    /// Errors: as [`Bus::publish`], and [`BusError::NoResponders`], [`BusError::Timeout`],
    /// [`BusError::Denied`].
    fn request(&self, message: BusMessage, timeout: Duration) -> BoxFuture<'_, Result<BusMessage, BusError>>;

    /// Begins to receive what matches `subject` (NATS wildcards). Of all subscriptions with the same
    /// `queue`, one receives each message. When it returns and the bus is connected, the server
    /// knows the subscription.
    ///
    /// Errors: [`BusError::Closed`], [`BusError::Invalid`], [`BusError::Denied`].
    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
        queue: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Subscription, BusError>>;

    /// Returns when the server has processed everything sent before.
    ///
    /// Errors: [`BusError::Disconnected`], [`BusError::Closed`], [`BusError::Timeout`].
    fn flush(&self) -> BoxFuture<'_, Result<(), BusError>>;

    /// A subject for answers that only this connection receives.
    fn new_inbox(&self) -> String;

    /// Largest message (headers and body), bytes.
    fn max_payload(&self) -> usize;

    /// The connection, as a level to wait on.
    fn status(&self) -> watch::Receiver<BusStatus>;

    /// Sends what is under way, ends all subscriptions and closes for good.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Refuses what cannot be a literal subject (`wildcards` false) or a pattern (true): empty or
/// blank-containing tokens, wildcards in the wrong place.
///
/// # Errors
/// [`BusError::Invalid`].
pub(crate) fn check_subject(subject: &str, wildcards: bool) -> Result<(), BusError> {
    let mut tokens = subject.as_bytes().split(|byte| *byte == b'.').peekable();
    while let Some(token) = tokens.next() {
        let wild = token == b"*" || (token == b">" && tokens.peek().is_none());
        let broken =
            token.is_empty() || token.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f | b'*' | b'>'));
        if broken && !(wild && wildcards) {
            return Err(invalid("subject", subject));
        }
    }
    Ok(())
}

/// Refuses a queue group that is not one word.
pub(crate) fn check_queue(queue: &str) -> Result<(), BusError> {
    if queue.is_empty() || queue.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(invalid("queue group", queue));
    }
    Ok(())
}

/// Refuses header lines that would break out of their line.
pub(crate) fn check_headers(headers: &Headers) -> Result<(), BusError> {
    for (name, value) in headers {
        let token =
            !name.is_empty() && name.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b':');
        if !token {
            return Err(invalid("header name", name));
        }
        if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(invalid("header value", value));
        }
    }
    Ok(())
}

/// Checks that a message may be sent at all.
pub(crate) fn check_message(message: &BusMessage, max_payload: usize) -> Result<(), BusError> {
    check_subject(&message.subject, false)?;
    if let Some(reply) = &message.reply {
        check_subject(reply, false)?;
    }
    check_headers(&message.headers)?;
    let size = message.size();
    if size > max_payload {
        return Err(BusError::TooLarge { subject: message.subject.clone(), size, limit: max_payload });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_subject_queue_or_header_is_refused_before_the_wire() {
        for bad in ["", ".", "a..b", "a b", "a\r\nPUB x", "a.*", "a.>", "a*"] {
            assert!(check_subject(bad, false).is_err(), "{bad:?}");
        }
        for good in ["a.*", "a.>", ">", "$KV.b.k=2F"] {
            assert!(check_subject(good, true).is_ok(), "{good:?}");
        }
        assert!(check_subject("a.>.b", true).is_err());
        assert!(check_queue("a b").is_err() && check_queue("serve").is_ok());
        let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert!(check_headers(&header("X: y", "v")).is_err());
        assert!(check_headers(&header("X", "v\r\nNats-Rollup: all")).is_err());
        assert!(check_headers(&header("X-Y", "v w")).is_ok());
    }
}
