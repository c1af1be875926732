//! Messages by subject (`wasmcloud:messaging@0.2.0`). Which subjects reach this actor, and to which it may publish,
//! its links decide; a reply subject is checked like any other.

use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::bindings::messaging::wasmcloud::messaging::consumer;
use crate::bindings::messaging::wasmcloud::messaging::types::BrokerMessage;

/// Why a message could not be sent, or brought no answer.
#[derive(Debug, Error)]
pub enum MessagingError {
    /// The publication was refused or failed.
    #[error("publish {subject}: {reason}")]
    Publish {
        /// Where it should have gone.
        subject: String,
        /// The host's words.
        reason: String,
    },
    /// No answer.
    #[error("request {subject}: {reason}")]
    Request {
        /// Whom it asked.
        subject: String,
        /// The host's words.
        reason: String,
    },
    /// A body that is not the JSON expected, or cannot become JSON.
    #[error("message {subject}: body: {reason}")]
    Json {
        /// The message's subject.
        subject: String,
        /// Where and what.
        reason: String,
    },
}

/// A message, received or to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Where it was sent.
    pub subject: String,
    /// What it says, as bytes.
    pub body: Vec<u8>,
    /// Where an answer is awaited, if one is.
    pub reply_to: Option<String>,
}

impl Message {
    /// The body as a `T`.
    ///
    /// # Errors
    /// [`MessagingError::Json`] says where the body is not one.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, MessagingError> {
        serde_json::from_slice(&self.body).map_err(|error| not_json(&self.subject, &error))
    }

    /// Answers it. `false` when nobody awaits an answer; then nothing is sent.
    ///
    /// # Errors
    /// [`MessagingError::Publish`] when the answer could not be sent.
    pub fn reply(&self, body: impl Into<Vec<u8>>) -> Result<bool, MessagingError> {
        match &self.reply_to {
            None => Ok(false),
            Some(subject) => publish(subject, body).map(|()| true),
        }
    }

    /// Answers it with JSON, as [`Message::reply`].
    ///
    /// # Errors
    /// As [`Message::reply`], and [`MessagingError::Json`] when `value` has no JSON form.
    pub fn reply_json<T: Serialize>(&self, value: &T) -> Result<bool, MessagingError> {
        let body = serde_json::to_vec(value).map_err(|error| not_json(&self.subject, &error))?;
        self.reply(body)
    }

    /// Sends it.
    ///
    /// # Errors
    /// [`MessagingError::Publish`].
    pub fn publish(self) -> Result<(), MessagingError> {
        let subject = self.subject.clone();
        consumer::publish(&self.into()).map_err(|reason| MessagingError::Publish { subject, reason })
    }
}

impl From<BrokerMessage> for Message {
    fn from(message: BrokerMessage) -> Self {
        Self { subject: message.subject, body: message.body, reply_to: message.reply_to }
    }
}

impl From<Message> for BrokerMessage {
    fn from(message: Message) -> Self {
        Self { subject: message.subject, body: message.body, reply_to: message.reply_to }
    }
}

/// Sends `body` to whoever subscribes to `subject`.
///
/// # Errors
/// [`MessagingError::Publish`] when the link refuses the subject, or the bus is not there.
pub fn publish(subject: &str, body: impl Into<Vec<u8>>) -> Result<(), MessagingError> {
    Message { subject: subject.to_owned(), body: body.into(), reply_to: None }.publish()
}

/// Sends a value as JSON, as [`publish`].
///
/// # Errors
/// As [`publish`], and [`MessagingError::Json`] when `value` has no JSON form.
pub fn publish_json<T: Serialize>(subject: &str, value: &T) -> Result<(), MessagingError> {
    publish(subject, serde_json::to_vec(value).map_err(|error| not_json(subject, &error))?)
}

/// Asks, and waits for one answer, at most `timeout` (whole milliseconds, at most 49 days).
///
/// # Errors
/// [`MessagingError::Request`] when nobody subscribes, or the time is over.
pub fn request(
    subject: &str,
    body: impl Into<Vec<u8>>,
    timeout: Duration,
) -> Result<Message, MessagingError> {
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    consumer::request(subject, &body.into(), timeout_ms)
        .map(Message::from)
        .map_err(|reason| MessagingError::Request { subject: subject.to_owned(), reason })
}

fn not_json(subject: &str, error: &serde_json::Error) -> MessagingError {
    MessagingError::Json { subject: subject.to_owned(), reason: error.to_string() }
}

/// What the exported handler does: gives the message to the actor's function, and its error as text to the host.
#[doc(hidden)]
pub fn deliver<E: Display>(
    message: BrokerMessage,
    handler: impl FnOnce(Message) -> Result<(), E>,
) -> Result<(), String> {
    handler(message.into()).map_err(|error| error.to_string())
}
