//! Late hosts, asked for. A host whose process has died has no connection any more, and the server says
//! so at once: that nobody listens. That is a hint, confirmed by a second question; a host that is cut
//! off silently says nothing, and its silence decides.
//!
//! Tasks: *probe*, one for each late host, as many at once as [`AT_ONCE`].

use crate::run::Input;
use bytes::Bytes;
use lattice_ctl_planner::observed::HostView;
use lattice_io::{Bus, BusError, BusMessage, TaskScope};
use lattice_protocol::HostId;
use lattice_protocol::desired::Verdict;
use lattice_protocol::subject::Subjects;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Hosts that are asked for at once.
const AT_ONCE: usize = 64;
/// Longest wait for an answer. Whoever answers lives; whoever does not may.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between the two questions: a client whose connection broke is back sooner.
const PAUSE: Duration = Duration::from_millis(150);

/// A word of a host: which life of it, and which heartbeat.
pub(crate) type Word = (String, u64);

/// Asks for late hosts.
pub(crate) struct Probes {
    bus: Arc<dyn Bus>,
    subjects: Subjects,
    scope: TaskScope,
    /// Where it is told that nobody listens for a host any more, since this word of it.
    vanished: mpsc::Sender<Input>,
    hands: Arc<Semaphore>,
    /// Since which word each late host was asked for.
    asked: BTreeMap<HostId, Word>,
}

impl Probes {
    /// Nobody is late yet.
    pub(crate) fn new(
        bus: Arc<dyn Bus>,
        subjects: Subjects,
        scope: TaskScope,
        vanished: mpsc::Sender<Input>,
    ) -> Self {
        let hands = Arc::new(Semaphore::new(AT_ONCE));
        Self { bus, subjects, scope, vanished, hands, asked: BTreeMap::new() }
    }

    /// Asks for a host if it is late, once since its last word.
    pub(crate) fn look(&mut self, view: &HostView<'_>) {
        let beat = view.heartbeat;
        let late_ms = beat.interval_ms.saturating_add(beat.interval_ms / 2);
        let is_heard = !matches!(view.verdict, Verdict::Lost | Verdict::CutOff);
        if !is_heard || view.silent_ms < late_ms {
            return;
        }
        let word = (beat.boot_id.clone(), beat.seq);
        if self.asked.get(view.id) == Some(&word) {
            return;
        }
        self.asked.insert(view.id.clone(), word.clone());
        let question = BusMessage::new(self.subjects.host(view.id, "probe"), Bytes::new());
        let (bus, hands) = (Arc::clone(&self.bus), Arc::clone(&self.hands));
        let (host, vanished) = (view.id.clone(), self.vanished.clone());
        self.scope.spawn_best_effort("probe", async move {
            // The semaphore is never closed.
            let Ok(_hand) = hands.acquire().await else { return };
            if nobody(&*bus, &question).await {
                tokio::time::sleep(PAUSE).await;
                if nobody(&*bus, &question).await {
                    // A closed inbox means that the controller is ending.
                    let _ = vanished.send(Input::Vanished(host, word)).await;
                }
            }
        });
    }
}

async fn nobody(bus: &dyn Bus, question: &BusMessage) -> bool {
    matches!(bus.request(question.clone(), PATIENCE).await, Err(BusError::NoResponders { .. }))
}
