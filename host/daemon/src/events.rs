//! CloudEvents of this host, published without waiting: an event that cannot be sent now is
//! logged here and lost; what must not be lost is state, and state is in heartbeats and KV.

use lattice_io::{Bus, BusMessage, Clock};
use lattice_protocol::LatticeName;
use lattice_protocol::event::Happening;
use lattice_protocol::subject::Subjects;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Events that wait to be sent.
const QUEUE: usize = 1_024;

/// Where a host says what happened.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<Happening>,
}

impl Events {
    /// Says it. Never blocks.
    pub fn emit(&self, kind: &'static str, subject: Option<String>, data: serde_json::Value) {
        if self.queue.try_send(Happening { kind, subject, data }).is_err() {
            tracing::debug!(kind, "event dropped: the queue is full");
        }
    }
}

/// Sends what is in the queue, until the last [`Events`] is dropped.
pub struct Publisher {
    queue: mpsc::Receiver<Happening>,
    lattice: LatticeName,
    origin: String,
    boot_id: String,
    count: AtomicU64,
}

/// A queue and its publisher.
#[must_use]
pub fn channel(lattice: LatticeName, origin: String, boot_id: String) -> (Events, Publisher) {
    let (sender, queue) = mpsc::channel(QUEUE);
    (Events { queue: sender }, Publisher { queue, lattice, origin, boot_id, count: AtomicU64::new(0) })
}

impl Publisher {
    /// Runs until the host ends.
    pub async fn run(mut self, bus: Arc<dyn Bus>, clock: Arc<dyn Clock>) {
        let subjects = Subjects::new(self.lattice.clone());
        while let Some(happening) = self.queue.recv().await {
            let id = format!("{}-{}", self.boot_id, self.count.fetch_add(1, Ordering::Relaxed));
            let subject = subjects.event(happening.kind);
            let event = happening.into_event(&self.lattice, &self.origin, id, clock.unix_ms());
            // A struct of strings and JSON: serialising cannot fail.
            let body = serde_json::to_vec(&event).unwrap_or_default();
            let message =
                BusMessage::new(subject, body).with_header("content-type", "application/cloudevents+json");
            if let Err(error) = bus.publish(message).await {
                tracing::debug!(%error, kind = event.kind, "event not sent");
            }
        }
    }
}
