//! Subscriptions: pumps that take messages with a free hand, and hands that finish them.
//!
//! ```text
//!  broker ──▶ pump ── acquire a permit, then take a message ──▶ handler, begun on the pump's task
//!               ▲                                                 │ waits: goes on in a hand (one task)
//!               │                                                 ▼
//!               └───────────────────────────────────── permit back, answer to broker
//! ```
//!
//! Handlers are begun in a row ([`Row`]): most wait for nothing, and what they publish then goes out together.
//!
//! Draining stops the pumps first and then waits for the hands. A plain pump that is stopped still
//! hands over what the broker had sent it already; a durable one leaves it to be delivered again.

use super::{incoming, stream_failed};
use crate::messaging::{Durable, Handled, MessageHandler, SubscribeRequest, Subscription};
use crate::{BoxFuture, ProviderError, ProviderErrorKind};
use futures::FutureExt;
use lattice_io::row::Row;
use lattice_io::stream::{Consumer, ConsumerOptions, Delivery, Streams};
use lattice_io::task::{CancellationToken, RestartPolicy};
use lattice_io::{Bus, Kind, TaskScope};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most handlers at once.
const MAX_IN_FLIGHT: usize = 10_000;
/// How long one pull waits for messages.
const PULL: Duration = Duration::from_secs(30);
/// Pauses when a durable consumer cannot be pulled from.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Silence after which a subscription that was ended is taken to be empty.
const TAIL: Duration = Duration::from_secs(2);
/// Time for the messages in hand when a subscription ends; the host bounds each handler itself.
const DRAIN: Duration = Duration::from_secs(60);

/// A handler that holds the pump for longer leaves the ones behind it to tasks, where processors share them. A task
/// costs some microseconds, here and by what it sends by itself.
const SHORT: Duration = Duration::from_micros(20);
/// The same of a message behind which none waited when it was taken.
const SHORT_ALONE: Duration = Duration::from_micros(200);

/// What pumps and hands share.
#[derive(Clone)]
struct Work {
    handler: Arc<dyn MessageHandler>,
    permits: Arc<Semaphore>,
    hands: TaskScope,
}

pub(super) async fn subscribe(
    bus: &Arc<dyn Bus>,
    streams: &Arc<dyn Streams>,
    scope: &TaskScope,
    request: SubscribeRequest,
    handler: Arc<dyn MessageHandler>,
) -> Result<Box<dyn Subscription>, ProviderError> {
    check(&request)?;
    let pumps = scope.child("subscription");
    let work = Work {
        handler,
        permits: Arc::new(Semaphore::new(request.max_in_flight)),
        hands: scope.child("messages"),
    };
    let ends = Ends { pumps, hands: work.hands.clone() };
    let mut running = Running { scope: scope.clone(), inner: Some(ends), consumer: None };
    // From here on a failure drops `running`, which takes back what was begun.
    match request.durable.clone() {
        Some(durable) => {
            let options = consumer_options(&request, &durable);
            let consumer = streams.consumer(&durable.stream, options.clone()).await.map_err(stream_failed)?;
            running.consumer = Some(Arc::clone(&consumer));
            let pump = DurablePump { streams: streams.clone(), stream: durable.stream, options, work };
            running.start_durable(pump, consumer);
        }
        None => {
            for subject in &request.subjects {
                let subscribed =
                    bus.subscribe(subject, request.group.as_deref()).await.map_err(ProviderError::from)?;
                running.start_plain(subject, subscribed, work.clone());
            }
        }
    }
    Ok(Box::new(running))
}

fn check(request: &SubscribeRequest) -> Result<(), ProviderError> {
    let invalid = |message: String| Err(ProviderError::new(ProviderErrorKind::Invalid, message));
    if !(1..=MAX_IN_FLIGHT).contains(&request.max_in_flight) {
        return invalid(format!("max in flight {} (limit 1..{MAX_IN_FLIGHT})", request.max_in_flight));
    }
    if request.subjects.is_empty() && request.durable.is_none() {
        return invalid("a subscription without a subject".to_owned());
    }
    if request.durable.as_ref().is_some_and(|durable| durable.max_deliver == 0) {
        return invalid("max deliver 0: no message would ever be delivered".to_owned());
    }
    Ok(())
}

fn consumer_options(request: &SubscribeRequest, durable: &Durable) -> ConsumerOptions {
    ConsumerOptions {
        durable: durable.name.clone(),
        filter_subjects: request.subjects.clone(),
        // Over all hosts that share the consumer; each takes no more than its own hands.
        max_ack_pending: request.max_in_flight.saturating_mul(64).min(MAX_IN_FLIGHT),
        max_deliver: durable.max_deliver,
        ack_wait: durable.ack_wait,
    }
}

/// A running subscription. Dropping it drains it in the background.
struct Running {
    scope: TaskScope,
    inner: Option<Ends>,
    /// Where messages wait, if they are kept.
    consumer: Option<Arc<dyn Consumer>>,
}

#[derive(Clone)]
struct Ends {
    pumps: TaskScope,
    hands: TaskScope,
}

impl Ends {
    async fn drain(&self) {
        self.pumps.shutdown(DRAIN).await;
        self.hands.shutdown(DRAIN).await;
    }
}

impl Running {
    fn start_plain(&self, subject: &str, mut subscribed: lattice_io::Subscription, work: Work) {
        let Some(ends) = &self.inner else { return };
        let name = format!("pump {subject}");
        ends.pumps.spawn_essential(name, move |stop| async move {
            plain_pump(&mut subscribed, &work, &stop).await;
        });
    }

    fn start_durable(&self, pump: DurablePump, consumer: Arc<dyn Consumer>) {
        let Some(ends) = &self.inner else { return };
        let name = format!("pump {}/{}", pump.stream, pump.options.durable);
        let pump = Arc::new(pump);
        ends.pumps.spawn(name, Kind::Restart(RestartPolicy::default()), move |stop| {
            let (pump, consumer) = (pump.clone(), consumer.clone());
            async move { pump.run(consumer, &stop).await }
        });
    }
}

impl Subscription for Running {
    fn lag(&self) -> BoxFuture<'_, Option<u64>> {
        async move { self.consumer.as_ref()?.waiting().await.ok() }.boxed()
    }

    fn drain(&self) -> BoxFuture<'_, ()> {
        async move {
            if let Some(ends) = &self.inner {
                ends.drain().await;
            }
        }
        .boxed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(ends) = self.inner.take() {
            ends.pumps.token().cancel();
            self.scope.spawn_best_effort("end subscription", async move { ends.drain().await });
        }
    }
}

impl Work {
    /// A free hand; none when the semaphore is closed, which nobody does.
    async fn hand(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().acquire_owned().await.ok()
    }

    fn handle(
        &self,
        message: lattice_io::BusMessage,
        permit: OwnedSemaphorePermit,
    ) -> BoxFuture<'static, ()> {
        let handler = self.handler.clone();
        Box::pin(async move {
            let subject = message.subject.clone();
            // Nobody delivers it again: whatever became of it, that was it.
            if let Handled::Never(reason) = handler.handle(incoming(message)).await {
                tracing::warn!(%subject, %reason, "message not handled");
            }
            drop(permit);
        })
    }

    fn handle_delivery(&self, delivery: Delivery, permit: OwnedSemaphorePermit) -> BoxFuture<'static, ()> {
        let handler = self.handler.clone();
        Box::pin(async move {
            let outcome = handler.handle(incoming(delivery.message.clone())).await;
            let answered = match &outcome {
                Handled::Done => delivery.ack().await,
                Handled::Again(pause) => delivery.again(*pause).await,
                Handled::Never(reason) => {
                    tracing::warn!(subject = %delivery.message.subject, sequence = delivery.sequence, %reason, "message given up");
                    delivery.never().await
                }
            };
            if let Err(error) = answered {
                tracing::warn!(sequence = delivery.sequence, %error, "answer lost: it will be delivered again");
            }
            drop(permit);
        })
    }
}

async fn plain_pump(subscribed: &mut lattice_io::Subscription, work: &Work, stop: &CancellationToken) {
    let mut row = Row::new(work.hands.clone(), "message");
    while !stop.is_cancelled() {
        let Some(Some(permit)) = stop.run_until_cancelled(work.hand()).await else { break };
        let (taken, short) = match subscribed.next().now_or_never() {
            Some(taken) => (taken, SHORT),
            None => match stop.run_until_cancelled(subscribed.next()).await {
                Some(taken) => (taken, SHORT_ALONE),
                None => break,
            },
        };
        let Some(message) = taken else {
            // The bus was closed: there is nothing more to come, and nothing wrong with us.
            stop.cancelled().await;
            return;
        };
        row.begin(work.handle(message, permit), short).await;
    }
    if subscribed.drain().await.is_err() {
        return;
    }
    // Without a connection the end is never told: what is silent for a while is over.
    while let Ok(Some(message)) = tokio::time::timeout(TAIL, subscribed.next()).await {
        let Some(permit) = work.hand().await else { return };
        row.begin(work.handle(message, permit), SHORT).await;
    }
}

struct DurablePump {
    streams: Arc<dyn Streams>,
    stream: String,
    options: ConsumerOptions,
    work: Work,
}

impl DurablePump {
    async fn run(&self, mut consumer: Arc<dyn Consumer>, stop: &CancellationToken) {
        let mut pause = PAUSES.0;
        while !stop.is_cancelled() {
            let began = tokio::time::Instant::now();
            let received = tokio::select! {
                received = self.pull(consumer.as_ref(), stop) => received,
                () = stop.cancelled() => return,
            };
            if received > 0 || began.elapsed() >= PULL {
                pause = PAUSES.0;
                continue;
            }
            // Over too soon, and nothing came: the connection or the consumer is gone.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            pause = (pause * 2).min(PAUSES.1);
            match self.streams.consumer(&self.stream, self.options.clone()).await {
                Ok(again) => consumer = again,
                Err(error) => {
                    tracing::warn!(stream = %self.stream, consumer = %self.options.durable, %error, "cannot consume; will try again");
                }
            }
        }
    }

    /// Takes as many messages as there are free hands; gives how many came.
    async fn pull(&self, consumer: &dyn Consumer, stop: &CancellationToken) -> usize {
        let Some(mut permits) = self.work.hand().await else { return 0 };
        let free = u32::try_from(self.work.permits.available_permits()).unwrap_or(u32::MAX);
        if let Ok(more) = self.work.permits.clone().try_acquire_many_owned(free) {
            permits.merge(more);
        }
        let Ok(mut pull) = consumer.pull(permits.num_permits(), PULL).await else { return 0 };
        let (mut received, mut row) = (0, Row::new(self.work.hands.clone(), "delivery"));
        while !stop.is_cancelled() {
            let Some(delivery) = pull.next().await else { break };
            received += 1;
            match permits.split(1) {
                Some(permit) => row.begin(self.work.handle_delivery(delivery, permit), SHORT).await,
                // More than was asked for: it is delivered again.
                None => break,
            }
        }
        received
    }
}
