//! A durable consumer in process: what is under way, and when it is due again.

use super::{Core, StreamState, lock};
use crate::bus::{BusMessage, BusStatus};
use crate::stream::{Answer, Consumer, ConsumerOptions, Delivery, Pull, Retention, StreamError, Verdict};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use lattice_protocol::subject::matches;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct ConsumerState {
    options: ConsumerOptions,
    /// The next sequence that was never delivered.
    next: u64,
    pending: BTreeMap<u64, Pending>,
}

/// A message that was delivered and is not done.
struct Pending {
    attempts: u32,
    /// When it is delivered again.
    due: Instant,
}

/// What there is to deliver.
enum Take {
    Message {
        sequence: u64,
        attempt: u32,
        message: BusMessage,
    },
    /// Nothing before this time, unless something changes.
    Wait(Option<Instant>),
    /// Stream or consumer is not there any more.
    Gone,
}

impl ConsumerState {
    pub(super) fn new(options: ConsumerOptions) -> Self {
        Self { options, next: 1, pending: BTreeMap::new() }
    }

    fn wants(&self, subject: &str) -> bool {
        let filters = &self.options.filter_subjects;
        filters.is_empty() || filters.iter().any(|filter| matches(filter, subject))
    }
}

impl StreamState {
    fn take(&mut self, durable: &str, now: Instant) -> Take {
        let Some(consumer) = self.consumers.get_mut(durable) else { return Take::Gone };
        let messages = &self.messages;
        consumer.pending.retain(|sequence, pending| {
            let spent = pending.due <= now && pending.attempts >= consumer.options.max_deliver;
            if spent {
                tracing::warn!(stream = %self.options.name, consumer = durable, sequence, "given up after {} deliveries", pending.attempts);
            }
            !spent && messages.contains_key(sequence)
        });
        let due = now + consumer.options.ack_wait;
        if let Some((&sequence, pending)) =
            consumer.pending.iter_mut().find(|(_, pending)| pending.due <= now)
            && let Some(stored) = messages.get(&sequence)
        {
            pending.attempts += 1;
            pending.due = due;
            return Take::Message { sequence, attempt: pending.attempts, message: stored.message.clone() };
        }
        if consumer.pending.len() < consumer.options.max_ack_pending {
            let fresh =
                messages.range(consumer.next..).find(|(_, stored)| consumer.wants(&stored.message.subject));
            if let Some((&sequence, stored)) = fresh {
                consumer.next = sequence + 1;
                consumer.pending.insert(sequence, Pending { attempts: 1, due });
                return Take::Message { sequence, attempt: 1, message: stored.message.clone() };
            }
        }
        Take::Wait(consumer.pending.values().map(|pending| pending.due).min())
    }

    fn answer(&mut self, durable: &str, sequence: u64, verdict: Verdict) {
        let Some(consumer) = self.consumers.get_mut(durable) else { return };
        match verdict {
            Verdict::Ack | Verdict::Never => {
                consumer.pending.remove(&sequence);
                if self.options.retention == Retention::WorkQueue {
                    self.remove(sequence);
                }
            }
            Verdict::Again(pause) => {
                if let Some(pending) = consumer.pending.get_mut(&sequence) {
                    pending.due = Instant::now() + pause;
                }
            }
            Verdict::Working => {
                let due = Instant::now() + consumer.options.ack_wait;
                if let Some(pending) = consumer.pending.get_mut(&sequence) {
                    pending.due = due;
                }
            }
        }
    }
}

#[derive(Clone)]
pub(super) struct MemoryConsumer {
    pub(super) core: Arc<Core>,
    pub(super) stream: String,
    pub(super) durable: String,
}

impl MemoryConsumer {
    fn take(&self) -> Take {
        let mut streams = lock(&self.core.streams);
        match streams.get_mut(&self.stream) {
            Some(state) => state.take(&self.durable, Instant::now()),
            None => Take::Gone,
        }
    }

    fn delivery(&self, message: BusMessage, sequence: u64, attempt: u32) -> Delivery {
        let answer = MemoryAnswer {
            core: self.core.clone(),
            stream: self.stream.clone(),
            durable: self.durable.clone(),
            sequence,
        };
        Delivery::new(message, sequence, attempt, answer)
    }
}

impl Next for MemoryConsumer {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }
    async fn next(&self, end: Instant) -> Option<Delivery> {
        let (message, sequence, attempt) = wait(&self.core, end, || self.take()).await?;
        Some(self.delivery(message, sequence, attempt))
    }
}

/// Takes the next message when there is one, before `end`.
async fn wait(core: &Core, end: Instant, mut take: impl FnMut() -> Take) -> Option<(BusMessage, u64, u32)> {
    let mut changes = core.changes.subscribe();
    let mut status = core.link.status.subscribe();
    loop {
        changes.mark_unchanged();
        let now = *status.borrow_and_update();
        let due = match now {
            BusStatus::Closed => return None,
            BusStatus::Disconnected => None,
            BusStatus::Connected => match take() {
                Take::Message { sequence, attempt, message } => return Some((message, sequence, attempt)),
                Take::Wait(due) => due,
                Take::Gone => return None,
            },
        };
        tokio::select! {
            // Both senders live in `core`, which the caller holds.
            _ = changes.changed() => {}
            _ = status.changed() => {}
            () = tokio::time::sleep_until(due.map_or(end, |due| due.min(end))) => {}
        }
        if Instant::now() >= end {
            return None;
        }
    }
}

/// Reads a stream without taking anything away.
#[derive(Clone)]
pub(super) struct MemoryReader {
    pub(super) core: Arc<Core>,
    pub(super) stream: String,
    /// The next sequence to read; each is given once.
    pub(super) next: Arc<AtomicU64>,
}

impl MemoryReader {
    fn take(&self) -> Take {
        let streams = lock(&self.core.streams);
        let Some(state) = streams.get(&self.stream) else { return Take::Gone };
        let next = self.next.load(Ordering::Relaxed);
        match state.messages.range(next..).next() {
            Some((&sequence, stored)) => {
                self.next.store(sequence + 1, Ordering::Relaxed);
                Take::Message { sequence, attempt: 1, message: stored.message.clone() }
            }
            None => Take::Wait(None),
        }
    }
}

impl Next for MemoryReader {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }
    async fn next(&self, end: Instant) -> Option<Delivery> {
        let (message, sequence, attempt) = wait(&self.core, end, || self.take()).await?;
        Some(Delivery::new(message, sequence, attempt, Nothing))
    }
}

/// A reader's deliveries need no answer.
struct Nothing;

impl Answer for Nothing {
    fn answer(&self, _: Verdict) -> BoxFuture<'_, Result<(), StreamError>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// What hands out deliveries one by one.
trait Next: Clone + Send + Sync + 'static {
    fn core(&self) -> &Arc<Core>;
    /// The next delivery before `end`.
    fn next(&self, end: Instant) -> impl Future<Output = Option<Delivery>> + Send;
}

fn pull<N: Next>(from: &N, max: usize, wait: Duration) -> Result<Pull, StreamError> {
    from.core().link.check()?;
    let end = Instant::now() + wait;
    let deliveries = futures::stream::unfold((from.clone(), max), move |(from, left)| async move {
        let left = left.checked_sub(1)?;
        let delivery = from.next(end).await?;
        Some((delivery, (from, left)))
    });
    Ok(Pull::new(deliveries.boxed()))
}

impl Consumer for MemoryConsumer {
    fn pull(&self, max: usize, wait: Duration) -> BoxFuture<'_, Result<Pull, StreamError>> {
        std::future::ready(pull(self, max, wait)).boxed()
    }

    fn waiting(&self) -> BoxFuture<'_, Result<u64, StreamError>> {
        let streams = lock(&self.core.streams);
        let state = streams.get(&self.stream);
        let waiting = state.and_then(|state| {
            let consumer = state.consumers.get(&self.durable)?;
            let fresh = state.messages.range(consumer.next..);
            Some(fresh.filter(|(_, stored)| consumer.wants(&stored.message.subject)).count())
        });
        std::future::ready(counted(self, &self.stream, waiting)).boxed()
    }
}

impl Consumer for MemoryReader {
    fn pull(&self, max: usize, wait: Duration) -> BoxFuture<'_, Result<Pull, StreamError>> {
        std::future::ready(pull(self, max, wait)).boxed()
    }

    fn waiting(&self) -> BoxFuture<'_, Result<u64, StreamError>> {
        let streams = lock(&self.core.streams);
        let next = self.next.load(Ordering::Relaxed);
        let waiting = streams.get(&self.stream).map(|state| state.messages.range(next..).count());
        std::future::ready(counted(self, &self.stream, waiting)).boxed()
    }
}

/// A number of messages, unless the bus is away or what would hold them is gone.
fn counted<N: Next>(from: &N, stream: &str, waiting: Option<usize>) -> Result<u64, StreamError> {
    from.core().link.check()?;
    match waiting {
        Some(count) => Ok(u64::try_from(count).unwrap_or(u64::MAX)),
        None => Err(StreamError::NotFound { what: stream.to_owned() }),
    }
}

struct MemoryAnswer {
    core: Arc<Core>,
    stream: String,
    durable: String,
    sequence: u64,
}

impl Answer for MemoryAnswer {
    fn answer(&self, verdict: Verdict) -> BoxFuture<'_, Result<(), StreamError>> {
        async move {
            self.core.link.check()?;
            if let Some(state) = lock(&self.core.streams).get_mut(&self.stream) {
                state.answer(&self.durable, self.sequence, verdict);
            }
            self.core.changed();
            Ok(())
        }
        .boxed()
    }
}
