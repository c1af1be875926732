//! Messaging: publish, request, and deliver to handlers.
//!
//! A subscription belongs to a link: replacing or deleting the link drops the old
//! [`Subscription`], which stops delivery. Delivery never runs more handlers at once than
//! [`SubscribeRequest::max_in_flight`]; what waits stays with the broker, not in the host's memory.

use crate::inbound::InboundTarget;
use crate::{BoxFuture, CallContext, ProviderError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The header in which the host says by which key a message is known again that it may send twice: an effect of a
/// persistent actor. Guests set no headers.
pub const KEY_HEADER: &str = "Trellis-Message-Key";

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Subject.
    pub subject: String,
    /// Body.
    pub body: Bytes,
    /// Where an answer goes.
    pub reply_to: Option<String>,
    /// Header lines; reserved `Nats-*` ones never pass from a guest. See [`KEY_HEADER`].
    pub headers: Vec<(String, String)>,
}

/// What a link wants to be handed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscribeRequest {
    /// Subjects, with NATS wildcards.
    pub subjects: Vec<String>,
    /// Replicas of one actor share a group, so that each message is handled once; none = each
    /// host gets every message.
    pub group: Option<String>,
    /// A durable consumer of this name on this stream, instead of a plain subscription.
    pub durable: Option<Durable>,
    /// Handlers at once, 1 to 10 000.
    pub max_in_flight: usize,
}

/// A durable consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Durable {
    /// Stream.
    pub stream: String,
    /// Consumer.
    pub name: String,
    /// Deliveries of one message before it is given up (and counted).
    pub max_deliver: u32,
    /// Time for a handler before redelivery.
    pub ack_wait: Duration,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// Done.
    Done,
    /// Not done; a durable consumer delivers again, after this pause.
    Again(Duration),
    /// Never will be; a durable consumer gives it up.
    Never(String),
}

/// Receives messages.
pub trait MessageHandler: Send + Sync {
    /// Handles one.
    fn handle(&self, message: Message) -> BoxFuture<'_, Handled>;
    /// Whom it calls, for a broker in another process: that calls the actor itself. None where
    /// only this object knows.
    fn target(&self) -> Option<InboundTarget> {
        None
    }
}

/// A running subscription: dropping it ends delivery; messages in hand are finished.
pub trait Subscription: Send + Sync {
    /// Stops taking messages and waits until those in hand are finished.
    fn drain(&self) -> BoxFuture<'_, ()>;
    /// How many messages wait for it with the broker, and are in nobody's hand; none where nothing
    /// keeps them, or nobody knows. Subscriptions of one durable consumer give one and the same number.
    fn lag(&self) -> BoxFuture<'_, Option<u64>> {
        Box::pin(std::future::ready(None))
    }
}

/// A message broker.
pub trait Messaging: Send + Sync {
    /// Sends one message; with a stream behind the subject, returns when it is stored.
    fn publish<'a>(
        &'a self,
        cx: &'a CallContext,
        message: Message,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;
    /// Sends one message and waits for one answer.
    fn request<'a>(
        &'a self,
        cx: &'a CallContext,
        message: Message,
    ) -> BoxFuture<'a, Result<Message, ProviderError>>;
    /// Begins to deliver.
    fn subscribe<'a>(
        &'a self,
        request: SubscribeRequest,
        handler: Arc<dyn MessageHandler>,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, ProviderError>>;
}
