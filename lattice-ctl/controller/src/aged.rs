//! Has the lattice's store gone back? A host says which revision of each decision it obeys, and a revision
//! is a place in the store: one that the store has not come to was there before it was restored from an
//! older copy. Whatever is decided upon such a store bears numbers that hosts know for something else,
//! and sooner or later they would take it. So nothing is decided, and no change is taken, until the
//! operator has begun the lattice's next life (`trellis lattice recover`), in which revisions begin anew.
//!
//! There is no false alarm in it: what a host obeys was written before it was told, and the store only
//! grows.

use lattice_io::{Events, Streams};
use lattice_protocol::heartbeat::Heartbeat;
use lattice_protocol::{AppName, ErrorCode, HostId, Report};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;

/// What keeps changes from being taken; none while nothing does.
pub type Held = watch::Receiver<Option<Report>>;

/// Compares what hosts obey with how far the store has come.
pub(crate) struct Aged {
    streams: Arc<dyn Streams>,
    /// Where decisions are.
    stream: String,
    /// The highest revision that a host of this life obeys, and whose it is.
    seen: Option<(u64, AppName, HostId)>,
    /// The store is known to have come so far.
    known: u64,
    held: watch::Sender<Option<Report>>,
}

impl Aged {
    /// Nothing is known yet: a life begins.
    pub(crate) fn new(
        streams: Arc<dyn Streams>,
        stream: String,
        held: watch::Sender<Option<Report>>,
    ) -> Self {
        held.send_replace(None);
        Self { streams, stream, seen: None, known: 0, held }
    }

    /// Takes what a host of this life says.
    pub(crate) fn hear(&mut self, beat: &Heartbeat, incarnation: u64) {
        if beat.generation.incarnation != incarnation {
            return;
        }
        for (app, revision) in &beat.apps {
            if self.seen.as_ref().is_none_or(|(seen, ..)| seen < revision) {
                self.seen = Some((*revision, app.clone(), beat.host.clone()));
            }
        }
    }

    /// May something be decided now? What cannot be found out holds nothing up: nothing can be written
    /// then either.
    pub(crate) async fn may_decide(&mut self, events: &Events) -> bool {
        let Some((seen, app, host)) = &self.seen else { return true };
        if *seen <= self.known {
            return true;
        }
        let Ok(last) = self.streams.last(&self.stream).await else { return true };
        self.known = last;
        if *seen <= last {
            if self.held.send_replace(None).is_some() {
                tracing::warn!("the store has come to where hosts are: deciding again");
            }
            return true;
        }
        if self.held.borrow().is_none() {
            let report = report(&self.stream, (*seen, app, host), last);
            tracing::error!(error = %report, "nothing is decided");
            events.emit("lattice.store-went-back", Some(host.to_string()), json!({ "error": report }));
            self.held.send_replace(Some(report));
        }
        false
    }
}

fn report(stream: &str, (seen, app, host): (u64, &AppName, &HostId), last: u64) -> Report {
    Report::new(ErrorCode::Fenced, "the lattice's store is older than what hosts have seen")
        .at(stream)
        .got(format!("revision {last}"))
        .limit(format!("{seen} or more, which {host} obeys for {app}"))
        .hint("if it was restored from a backup, begin its next life: trellis lattice recover")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_io::memory::Memory;
    use lattice_io::{BusMessage, StreamOptions, SystemClock};
    use lattice_protocol::Generation;
    use std::time::Duration;

    fn beat(incarnation: u64, revision: u64) -> Heartbeat {
        let mut beat = Heartbeat::new("test".parse().unwrap(), "H1".parse().unwrap(), "b1");
        beat.generation = Generation { incarnation, n: 1 };
        beat.apps.insert("shop".parse().unwrap(), revision);
        beat
    }

    #[tokio::test]
    async fn what_the_store_has_not_come_to_was_there_before_it_went_back() {
        let lattice = Memory::new().lattice();
        let options = StreamOptions::new("KV_decisions", vec!["decision.*".to_owned()]);
        lattice.streams.ensure(options).await.unwrap();
        let write =
            || lattice.streams.publish(BusMessage::new("decision.shop", "x"), None, Duration::from_secs(5));
        write().await.unwrap();
        let (sender, held) = watch::channel(None);
        let (events, _publisher) = lattice_io::events::channel(
            "test".parse().unwrap(),
            "controller".to_owned(),
            "boot".to_owned(),
            Arc::new(SystemClock::new()),
        );
        let mut aged = Aged::new(Arc::clone(&lattice.streams), "KV_decisions".to_owned(), sender);
        assert!(aged.may_decide(&events).await, "nobody has said anything");
        aged.hear(&beat(1, 1), 1);
        aged.hear(&beat(0, 9), 1);
        assert!(aged.may_decide(&events).await, "what is of another life does not count");
        aged.hear(&beat(1, 3), 1);
        assert!(!aged.may_decide(&events).await);
        let said = held.borrow().as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(
            said.starts_with("E_FENCED: the lattice's store is older")
                && said.contains("which H1 obeys for shop"),
            "{said}"
        );
        assert!(!aged.may_decide(&events).await, "once more: still so");
        // Somebody who does not know has written on.
        write().await.unwrap();
        write().await.unwrap();
        assert!(aged.may_decide(&events).await && held.borrow().is_none());
    }
}
