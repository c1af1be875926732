//! The bus over a NATS connection.

use super::core::{Core, header_lines, header_map};
use crate::bus::{
    Bus, BusError, BusMessage, BusStatus, Subscription, SubscriptionSource, check_message, check_queue,
    check_subject,
};
use async_nats::{Message, Subscriber};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// The server's errors come before its answer, but by way of another task: a moment later, on a machine that is busy.
const ERRORS_COME: Duration = Duration::from_millis(2);

pub(super) struct NatsBus {
    core: Arc<Core>,
}

impl NatsBus {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn send(&self, message: BusMessage) -> Result<(), BusError> {
        self.core.check()?;
        check_message(&message, self.core.client.max_payload())?;
        let failed = {
            let subject = message.subject.clone();
            |error: async_nats::PublishError| BusError::Io { subject, reason: error.to_string() }
        };
        let BusMessage { subject, reply, headers, payload } = message;
        let client = &self.core.client;
        match (reply, header_map(&headers)) {
            (None, None) => client.publish(subject, payload).await,
            (None, Some(headers)) => client.publish_with_headers(subject, headers, payload).await,
            (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
            (Some(reply), Some(headers)) => {
                client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            }
        }
        .map_err(failed)
    }

    async fn subscribe_now(&self, subject: &str, queue: Option<&str>) -> Result<Subscription, BusError> {
        check_subject(subject, true)?;
        if let Some(queue) = queue {
            check_queue(queue)?;
        }
        if *self.core.events.status.borrow() == BusStatus::Closed {
            return Err(BusError::Closed);
        }
        let mut denials = self.core.events.denials.subscribe();
        let client = &self.core.client;
        let subscriber = match queue {
            Some(queue) => client.queue_subscribe(subject.to_owned(), queue.to_owned()).await,
            None => client.subscribe(subject.to_owned()).await,
        }
        .map_err(|error| BusError::Io { subject: subject.to_owned(), reason: error.to_string() })?;
        // Without a connection it begins with the next one; otherwise the server shall know it before
        // we return. Its permission errors come before the answer, though by way of another task: if
        // we are too early for one, it is in the log.
        if self.core.check().is_ok() && self.core.round_trip().await.is_ok() {
            heard(&mut denials, subject).await?;
        }
        Ok(Subscription::new(NatsSubscription { subscriber }))
    }
}

/// After a round trip: has the server denied this subject meanwhile?
async fn heard(denials: &mut broadcast::Receiver<Arc<str>>, subject: &str) -> Result<(), BusError> {
    tokio::task::yield_now().await;
    while let Ok(denied) = denials.try_recv() {
        if &*denied == subject {
            return Err(BusError::Denied { subject: subject.to_owned() });
        }
    }
    Ok(())
}

impl Bus for NatsBus {
    fn publish(&self, message: BusMessage) -> BoxFuture<'_, Result<(), BusError>> {
        self.send(message).boxed()
    }

    fn deliver(&self, message: BusMessage) -> BoxFuture<'_, Result<(), BusError>> {
        async move {
            let subject = message.subject.clone();
            let mut denials = self.core.events.denials.subscribe();
            self.send(message).await?;
            self.core.round_trip().await?;
            // Whoever is told that the server has it does not send it again: no denial may be missed.
            tokio::time::sleep(ERRORS_COME).await;
            heard(&mut denials, &subject).await
        }
        .boxed()
    }

    fn request(&self, message: BusMessage, timeout: Duration) -> BoxFuture<'_, Result<BusMessage, BusError>> {
        async move {
            self.core.check()?;
            check_message(&message, self.core.client.max_payload())?;
            let headers = header_map(&message.headers);
            let answer = self.core.call(&message.subject, headers, message.payload, timeout).await?;
            Ok(received(answer))
        }
        .boxed()
    }

    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
        queue: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Subscription, BusError>> {
        self.subscribe_now(subject, queue).boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), BusError>> {
        self.core.round_trip().boxed()
    }

    fn new_inbox(&self) -> String {
        self.core.client.new_inbox()
    }

    fn max_payload(&self) -> usize {
        self.core.client.max_payload()
    }

    fn status(&self) -> watch::Receiver<BusStatus> {
        self.core.events.status.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            if self.core.check().is_ok() {
                // What was sent before is on the wire when this returns; if not, there is no wire.
                self.core.client.flush().await.ok();
            }
            self.core.client.drain().await.ok();
            self.core.events.set(BusStatus::Closed);
        }
        .boxed()
    }
}

pub(super) fn received(message: Message) -> BusMessage {
    BusMessage {
        headers: header_lines(message.headers.as_ref()),
        subject: message.subject.into_string(),
        reply: message.reply.map(async_nats::Subject::into_string),
        payload: message.payload,
    }
}

struct NatsSubscription {
    subscriber: Subscriber,
}

impl Stream for NatsSubscription {
    type Item = BusMessage;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BusMessage>> {
        self.subscriber.poll_next_unpin(cx).map(|message| message.map(received))
    }
}

impl SubscriptionSource for NatsSubscription {
    fn drain(&mut self) -> BoxFuture<'_, Result<(), BusError>> {
        async move { self.subscriber.drain().await.map_err(|_| BusError::Closed) }.boxed()
    }
}
