//! The little of JetStream that providers need: a publish that returns when the message is stored,
//! and durable consumers that are pulled.
//!
//! A consumer never holds more than was asked for: the caller pulls as many messages as it has free
//! hands, and answers each with [`Delivery::ack`], [`Delivery::again`] or [`Delivery::never`]. What
//! is not answered within `ack_wait` is delivered again, at most `max_deliver` times.

use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use lattice_protocol::{ErrorCode, Report};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::bus::{BusError, BusMessage};
use crate::kv::Replicas;

/// What a stream keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Retention {
    /// All, within the limits.
    #[default]
    Limits,
    /// Until one consumer has acknowledged it.
    WorkQueue,
}

/// How a stream is made when it is not there yet. Every limit is explicit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// Name: `[A-Za-z0-9_=-]{1,200}`.
    pub name: String,
    /// Subjects it stores.
    pub subjects: Vec<String>,
    /// Most bytes; the oldest messages go first.
    pub max_bytes: Option<u64>,
    /// Oldest message.
    pub max_age: Option<Duration>,
    /// How long a message id is remembered.
    pub duplicate_window: Duration,
    /// What it keeps.
    pub retention: Retention,
    /// Copies.
    pub replicas: Replicas,
}

impl StreamOptions {
    /// One replica, 256 MiB (which the server reserves), seven days, ids remembered for two minutes.
    #[must_use]
    pub fn new(name: impl Into<String>, subjects: Vec<String>) -> Self {
        Self {
            name: name.into(),
            subjects,
            max_bytes: Some(256 << 20),
            max_age: Some(Duration::from_secs(7 * 24 * 3600)),
            duplicate_window: Duration::from_secs(120),
            retention: Retention::Limits,
            replicas: Replicas::One,
        }
    }
}

/// How a durable consumer is made when it is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// Its name, which it is found by again.
    pub durable: String,
    /// Only these subjects; empty = all of the stream.
    pub filter_subjects: Vec<String>,
    /// Messages under way at once, over all who pull.
    pub max_ack_pending: usize,
    /// Deliveries of one message before it is given up.
    pub max_deliver: u32,
    /// Time for an answer before it is delivered again.
    pub ack_wait: Duration,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// With the oldest message.
    All,
    /// With the first message stored at this time or later, Unix milliseconds.
    Since(u64),
    /// With the message at this place in the stream, or the first one after it.
    Sequence(u64),
    /// With what is stored from now on.
    Now,
}

/// Where a message was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Stream.
    pub stream: String,
    /// Its place there.
    pub sequence: u64,
    /// Was its id known already?
    pub duplicate: bool,
}

/// Why a stream operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// No such stream, or none stores this subject.
    #[error("stream not found: {what}")]
    NotFound {
        /// Stream or subject.
        what: String,
    },
    /// The bus failed; its `is_unsent` says what is known.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The server refused: nothing happened.
    #[error("stream refused: {what}: {reason}")]
    Refused {
        /// Stream, consumer or subject.
        what: String,
        /// The server's words.
        reason: String,
    },
}

impl StreamError {
    /// Is it certain that nothing was stored?
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::Refused { .. } => true,
            Self::Bus(error) => error.is_unsent(),
        }
    }
}

impl From<StreamError> for Report {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::NotFound { .. } => Self::new(ErrorCode::NotFound, error.to_string())
                .hint("make the stream first, or correct its name"),
            StreamError::Refused { .. } => Self::new(ErrorCode::Io, error.to_string()),
            StreamError::Bus(bus) => bus.into(),
        }
    }
}

/// Streams of a lattice.
pub trait Streams: Send + Sync {
    /// Makes a stream if it is not there; one that is keeps its settings.
    fn ensure(&self, options: StreamOptions) -> BoxFuture<'_, Result<(), StreamError>>;

    /// The stream that stores this literal subject; none when there is none.
    fn find<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Option<String>, StreamError>>;

    /// Sends a message and returns when it is stored. A `message_id` that the stream remembers is
    /// stored once.
    fn publish<'a>(
        &'a self,
        message: BusMessage,
        message_id: Option<&'a str>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Stored, StreamError>>;

    /// Opens a durable consumer, and makes it if it is not there.
    fn consumer<'a>(
        &'a self,
        stream: &'a str,
        options: ConsumerOptions,
    ) -> BoxFuture<'a, Result<Arc<dyn Consumer>, StreamError>>;

    /// Reads a stream: a consumer of this caller's own, which takes nothing away and which a server
    /// forgets half a minute after its last pull.
    fn read<'a>(
        &'a self,
        stream: &'a str,
        from: ReadFrom,
    ) -> BoxFuture<'a, Result<Arc<dyn Consumer>, StreamError>>;

    /// The sequence of the last message that was stored; 0 when there was none.
    fn last<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<u64, StreamError>>;

    /// Deletes a stream and all in it; `false` when it was not there.
    fn delete<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<bool, StreamError>>;
}

/// A durable consumer. Several may pull from the same one: each message goes to one of them.
pub trait Consumer: Send + Sync {
    /// Asks for at most `max` messages (1 to 10 000). They are yielded as they come; the pull ends
    /// when all have come or `wait` has passed. Drop it to hear no more: what arrived unseen is
    /// delivered again after `ack_wait`.
    fn pull(&self, max: usize, wait: Duration) -> BoxFuture<'_, Result<Pull, StreamError>>;

    /// How many messages there are for it that it has not been given yet.
    fn waiting(&self) -> BoxFuture<'_, Result<u64, StreamError>>;
}

/// Messages of one pull.
pub struct Pull {
    deliveries: BoxStream<'static, Delivery>,
}

impl Pull {
    /// Over these deliveries.
    #[must_use]
    pub fn new(deliveries: BoxStream<'static, Delivery>) -> Self {
        Self { deliveries }
    }
    /// The next message; none when this pull is over.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| self.deliveries.as_mut().poll_next(cx)).await
    }
}

impl Stream for Pull {
    type Item = Delivery;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.deliveries.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for Pull {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pull")
    }
}

/// How a delivery is answered; implemented by each kind of stream.
pub trait Answer: Send + Sync {
    /// Sends the answer.
    fn answer(&self, verdict: Verdict) -> BoxFuture<'_, Result<(), StreamError>>;
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Done with it.
    Ack,
    /// Deliver again after this pause.
    Again(Duration),
    /// Never deliver it again.
    Never,
    /// Still at work: the time for an answer begins anew.
    Working,
}

/// One message from a consumer.
pub struct Delivery {
    /// The message as it was published; its `reply` is the publisher's, not the server's.
    pub message: BusMessage,
    /// Its place in the stream.
    pub sequence: u64,
    /// Which delivery this is, from 1.
    pub attempt: u32,
    answer: Box<dyn Answer>,
}

impl Delivery {
    /// A delivery that is answered this way.
    #[must_use]
    pub fn new(message: BusMessage, sequence: u64, attempt: u32, answer: impl Answer + 'static) -> Self {
        Self { message, sequence, attempt, answer: Box::new(answer) }
    }
    /// Done with it.
    ///
    /// # Errors
    /// [`StreamError::Bus`]: it will be delivered again.
    pub async fn ack(&self) -> Result<(), StreamError> {
        self.answer.answer(Verdict::Ack).await
    }
    /// Deliver it again after this pause.
    ///
    /// # Errors
    /// [`StreamError::Bus`]: it will be delivered again, only later.
    pub async fn again(&self, pause: Duration) -> Result<(), StreamError> {
        self.answer.answer(Verdict::Again(pause)).await
    }
    /// Never deliver it again.
    ///
    /// # Errors
    /// [`StreamError::Bus`]: it will be delivered again.
    pub async fn never(&self) -> Result<(), StreamError> {
        self.answer.answer(Verdict::Never).await
    }
    /// Still at work on it: the time for an answer begins anew.
    ///
    /// # Errors
    /// [`StreamError::Bus`].
    pub async fn working(&self) -> Result<(), StreamError> {
        self.answer.answer(Verdict::Working).await
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Delivery")
            .field("message", &self.message)
            .field("sequence", &self.sequence)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
