//! The in-process bus: a subscription table, and routing over it.

use super::lock;
use super::stream::Core;
use crate::bus::{
    Bus, BusError, BusMessage, BusStatus, SUBSCRIPTION_CAPACITY, Subscription, SubscriptionSource,
    check_queue, check_subject,
};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use lattice_protocol::jetstream::INBOX;
use lattice_protocol::subject::matches;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Who is subscribed to what.
#[derive(Default)]
pub(super) struct Table {
    next: u64,
    /// Subscriptions without wildcards, by subject.
    literal: BTreeMap<String, Vec<Subscriber>>,
    /// Those with wildcards.
    wild: Vec<Subscriber>,
    /// Whose turn it is within queue groups.
    turn: usize,
}

struct Subscriber {
    id: u64,
    pattern: String,
    queue: Option<String>,
    sender: mpsc::Sender<BusMessage>,
}

impl Table {
    fn add(
        &mut self,
        pattern: &str,
        queue: Option<&str>,
        capacity: usize,
    ) -> (u64, mpsc::Receiver<BusMessage>) {
        self.next += 1;
        let (sender, receiver) = mpsc::channel(capacity);
        let subscriber = Subscriber {
            id: self.next,
            pattern: pattern.to_owned(),
            queue: queue.map(str::to_owned),
            sender,
        };
        if is_wild(pattern) {
            self.wild.push(subscriber);
        } else {
            self.literal.entry(pattern.to_owned()).or_default().push(subscriber);
        }
        (self.next, receiver)
    }

    fn remove(&mut self, pattern: &str, id: u64) {
        if is_wild(pattern) {
            self.wild.retain(|subscriber| subscriber.id != id);
        } else if let Some(list) = self.literal.get_mut(pattern) {
            list.retain(|subscriber| subscriber.id != id);
            if list.is_empty() {
                self.literal.remove(pattern);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.literal.clear();
        self.wild.clear();
    }

    /// Hands the message to every matching subscription, and to one of each queue group (a group is
    /// its name, whatever its members' patterns). Gives how many got it.
    pub(super) fn route(&mut self, message: &BusMessage) -> usize {
        let literal = self.literal.get(&message.subject).into_iter().flatten();
        let wild = self.wild.iter().filter(|one| matches(&one.pattern, &message.subject));
        let mut groups: BTreeMap<&str, Vec<&Subscriber>> = BTreeMap::new();
        let mut received = 0;
        for subscriber in literal.chain(wild) {
            match &subscriber.queue {
                Some(queue) => groups.entry(queue).or_default().push(subscriber),
                None => {
                    received += 1;
                    deliver(subscriber, message);
                }
            }
        }
        for members in groups.values() {
            if let Some(member) = members.get(self.turn % members.len().max(1)) {
                received += 1;
                deliver(member, message);
            }
        }
        self.turn = self.turn.wrapping_add(usize::from(!groups.is_empty()));
        received
    }
}

fn is_wild(pattern: &str) -> bool {
    pattern.split('.').any(|token| matches!(token, "*" | ">"))
}

fn deliver(subscriber: &Subscriber, message: &BusMessage) {
    if subscriber.sender.try_send(message.clone()).is_err() {
        tracing::warn!(subject = %message.subject, pattern = %subscriber.pattern, "slow subscription: message dropped");
    }
}

pub(super) struct MemoryBus {
    core: Arc<Core>,
    inboxes: AtomicU64,
}

impl MemoryBus {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, inboxes: AtomicU64::new(0) }
    }

    fn subscribe_now(
        &self,
        subject: &str,
        queue: Option<&str>,
        capacity: usize,
    ) -> Result<MemorySubscription, BusError> {
        if *self.core.link.status.borrow() == BusStatus::Closed {
            return Err(BusError::Closed);
        }
        let (id, receiver) = lock(&self.core.table).add(subject, queue, capacity);
        Ok(MemorySubscription { core: self.core.clone(), pattern: subject.to_owned(), id, receiver })
    }
}

impl Bus for MemoryBus {
    fn publish(&self, message: BusMessage) -> BoxFuture<'_, Result<(), BusError>> {
        let sent = self.core.send(&message).map(drop);
        std::future::ready(sent).boxed()
    }

    fn request(
        &self,
        mut message: BusMessage,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<BusMessage, BusError>> {
        async move {
            let inbox = self.new_inbox();
            let mut answers = self.subscribe_now(&inbox, None, 1)?;
            message.reply = Some(inbox);
            if self.core.send(&message)? == 0 {
                return Err(BusError::NoResponders { subject: message.subject });
            }
            let late = BusError::Timeout {
                subject: message.subject,
                waited_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            };
            match tokio::time::timeout(timeout, answers.receiver.recv()).await {
                Ok(answer) => answer.ok_or(BusError::Closed),
                Err(_) => Err(late),
            }
        }
        .boxed()
    }

    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
        queue: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Subscription, BusError>> {
        let checked = check_subject(subject, true).and_then(|()| queue.map_or(Ok(()), check_queue));
        let subscribed = checked
            .and_then(|()| self.subscribe_now(subject, queue, SUBSCRIPTION_CAPACITY))
            .map(Subscription::new);
        std::future::ready(subscribed).boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), BusError>> {
        std::future::ready(self.core.link.check()).boxed()
    }

    fn new_inbox(&self) -> String {
        format!("{INBOX}.{}", self.inboxes.fetch_add(1, Ordering::Relaxed))
    }

    fn max_payload(&self) -> usize {
        self.core.max_payload
    }

    fn status(&self) -> watch::Receiver<BusStatus> {
        self.core.link.status.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.core.link.status.send_replace(BusStatus::Closed);
        lock(&self.core.table).clear();
        std::future::ready(()).boxed()
    }
}

struct MemorySubscription {
    core: Arc<Core>,
    pattern: String,
    id: u64,
    receiver: mpsc::Receiver<BusMessage>,
}

impl Stream for MemorySubscription {
    type Item = BusMessage;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BusMessage>> {
        self.receiver.poll_recv(cx)
    }
}

impl SubscriptionSource for MemorySubscription {
    fn drain(&mut self) -> BoxFuture<'_, Result<(), BusError>> {
        lock(&self.core.table).remove(&self.pattern, self.id);
        std::future::ready(Ok(())).boxed()
    }
}

impl Drop for MemorySubscription {
    fn drop(&mut self) {
        lock(&self.core.table).remove(&self.pattern, self.id);
    }
}
