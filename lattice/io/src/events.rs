//! CloudEvents into the lattice's audit stream: of hosts, of controllers, of people's commands.
//!
//! Who says something never waits: what happened goes into a bounded queue ([`Events::emit`]) with
//! the time at which it happened, and a [`Publisher`] stores one after the other, each acknowledged
//! by the stream. While the lattice cannot be reached the queue fills; what finds no room any more
//! is counted, and said as an event of its own (`events.dropped`) once there is a way again. An
//! event that was perhaps stored is sent again under the same id, which the stream remembers.
//!
//! Tasks: none here; the publisher is run in its owner's scope.

use crate::stream::{StreamError, StreamOptions};
use crate::{BusMessage, BusStatus, Clock, Lattice, Replicas};
use lattice_protocol::event::{AUDIT_AGE, AUDIT_BYTES, CloudEvent, Happening};
use lattice_protocol::subject::Subjects;
use lattice_protocol::{LatticeName, Report};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Events that wait to be stored.
pub const QUEUE: usize = 1_024;
/// Longest wait for the stream's word.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses between attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The audit stream: file storage, 64 MiB, 30 days, ids remembered for two minutes.
#[must_use]
pub fn audit_options(subjects: &Subjects) -> StreamOptions {
    StreamOptions {
        max_bytes: Some(AUDIT_BYTES),
        max_age: Some(AUDIT_AGE),
        duplicate_window: Duration::from_secs(120),
        replicas: Replicas::One,
        ..StreamOptions::new(subjects.audit_stream(), vec![subjects.events()])
    }
}

/// Stores one event; makes the stream if it is not there. On a lattice without streams the event
/// goes out once, for whoever listens.
///
/// # Errors
/// Not stored, or not known to be.
pub async fn record(lattice: &Lattice, subjects: &Subjects, event: &CloudEvent) -> Result<(), Report> {
    match store(lattice, subjects, event).await {
        Err(StreamError::NotFound { .. }) => {}
        other => return other.map_err(Report::from),
    }
    // A server without JetStream answers nobody.
    if lattice.streams.ensure(audit_options(subjects)).await.is_err() {
        return lattice.bus.publish(message(subjects, event)).await.map_err(Report::from);
    }
    store(lattice, subjects, event).await.map_err(Report::from)
}

async fn store(lattice: &Lattice, subjects: &Subjects, event: &CloudEvent) -> Result<(), StreamError> {
    lattice.streams.publish(message(subjects, event), Some(&event.id), PATIENCE).await.map(drop)
}

fn message(subjects: &Subjects, event: &CloudEvent) -> BusMessage {
    // A struct of strings and JSON: serialising cannot fail.
    let body = serde_json::to_vec(event).unwrap_or_default();
    BusMessage::new(subjects.event(event.origin(), event.short_kind()), body)
        .with_header("content-type", "application/cloudevents+json")
}

/// Where a part of the lattice says what happened.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<Happening>,
    dropped: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

impl Events {
    /// Says it. Never blocks.
    pub fn emit(&self, kind: &'static str, subject: Option<String>, data: serde_json::Value) {
        let happening = Happening { kind, subject, data, at_unix_ms: self.clock.unix_ms() };
        if self.queue.try_send(happening).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed);
            if dropped == 0 {
                tracing::warn!(kind, limit = QUEUE, "event dropped: too many wait for the lattice");
            }
        }
    }

    /// Events that found no room and were not told of yet.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Stores what is in the queue, until the last [`Events`] is dropped.
pub struct Publisher {
    queue: mpsc::Receiver<Happening>,
    dropped: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
    name: LatticeName,
    origin: String,
    boot_id: String,
    count: u64,
}

/// A queue and its publisher. Ids are `<boot id>-<n>`, unique per start of the process.
#[must_use]
pub fn channel(
    name: LatticeName,
    origin: String,
    boot_id: String,
    clock: Arc<dyn Clock>,
) -> (Events, Publisher) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let events = Events { queue: sender, dropped: Arc::clone(&dropped), clock: Arc::clone(&clock) };
    (events, Publisher { queue, dropped, clock, name, origin, boot_id, count: 0 })
}

impl Publisher {
    /// Runs until its owner ends.
    pub async fn run(mut self, lattice: Lattice) {
        let subjects = Subjects::new(self.name.clone());
        while let Some(happening) = self.queue.recv().await {
            self.send(&lattice, &subjects, happening).await;
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(dropped, "events were dropped while the lattice was away");
                let lost = Happening {
                    kind: "events.dropped",
                    subject: None,
                    data: json!({ "count": dropped, "limit": QUEUE }),
                    at_unix_ms: self.clock.unix_ms(),
                };
                self.send(&lattice, &subjects, lost).await;
            }
        }
    }

    /// Stores one event, however long that takes.
    async fn send(&mut self, lattice: &Lattice, subjects: &Subjects, happening: Happening) {
        self.count += 1;
        let id = format!("{}-{}", self.boot_id, self.count);
        let event = happening.into_event(&self.name, &self.origin, id);
        let (mut pause, mut status) = (PAUSES.0, lattice.bus.status());
        loop {
            // Closed for good: the process is ending, and nobody will ever connect again.
            if *status.borrow_and_update() == BusStatus::Closed {
                return;
            }
            match record(lattice, subjects, &event).await {
                Ok(()) => return,
                Err(report) => tracing::debug!(error = %report, kind = event.kind, "event not stored yet"),
            }
            // Elapsed, or the connection changed: try again.
            let _ = tokio::time::timeout(pause, status.changed()).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::{ReadFrom, SystemClock};

    fn setup() -> (Memory, Lattice, Events, Publisher) {
        let memory = Memory::new();
        let lattice = memory.lattice();
        let name: LatticeName = "t".parse().unwrap();
        let (events, publisher) =
            channel(name, "NEDGE01".to_owned(), "b007".to_owned(), Arc::new(SystemClock::new()));
        (memory, lattice, events, publisher)
    }

    async fn stored(lattice: &Lattice, count: usize) -> Vec<CloudEvent> {
        let subjects = Subjects::new("t".parse().unwrap());
        let audit = lattice.streams.read(&subjects.audit_stream(), ReadFrom::All).await.unwrap();
        let mut pull = audit.pull(count, Duration::from_secs(5)).await.unwrap();
        let mut found = Vec::new();
        while let Some(delivery) = pull.next().await {
            assert!(subjects_match(&delivery.message.subject), "{}", delivery.message.subject);
            found.push(serde_json::from_slice(&delivery.message.payload).unwrap());
        }
        found
    }

    fn subjects_match(subject: &str) -> bool {
        subject.starts_with("trellis.t.evt.NEDGE01.")
    }

    #[tokio::test]
    async fn what_happens_while_the_lattice_is_away_is_told_when_it_is_back_and_what_is_lost_is_counted() {
        let (memory, lattice, events, publisher) = setup();
        memory.set_connected(false);
        for n in 0..QUEUE + 7 {
            events.emit("actor.started", Some(format!("a/{n}")), json!({ "n": n }));
        }
        assert_eq!(events.dropped(), 7);
        let scope = crate::TaskScope::new("test");
        scope.spawn_until_cancelled("events", publisher.run(lattice.clone()));
        memory.set_connected(true);
        // The publisher makes the stream with the first event.
        let subjects = Subjects::new("t".parse().unwrap());
        lattice.streams.ensure(audit_options(&subjects)).await.unwrap();
        let found = stored(&lattice, QUEUE + 1).await;
        assert_eq!(found.len(), QUEUE + 1);
        assert_eq!(found[0].short_kind(), "actor.started");
        let lost = found.iter().find(|event| event.short_kind() == "events.dropped").unwrap();
        assert_eq!(lost.data["count"], 7);
        assert_eq!((lost.origin(), lost.source.as_str()), ("NEDGE01", "trellis://t/NEDGE01"));
        scope.shutdown(Duration::from_secs(1)).await;
    }
}
