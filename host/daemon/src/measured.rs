//! What heartbeats carry and only asking others can tell: how many messages wait for each actor, how
//! far other regions are, and what an actor on trial answers ([`checks`]).
//!
//! Tasks: *lag* asks brokers once between two heartbeats; *regions* asks one host of each region now
//! and then, and keeps the shortest of the last round trips: what is longer was queueing, not distance;
//! *region probes* answers for this host's own region.

mod checks;
mod regions;

pub use checks::Asked;
pub use regions::{Regions, answer_probes};

use crate::control::Snapshot;
use arc_swap::ArcSwap;
use lattice_protocol::ActorId;
use lattice_protocol::heartbeat::ActorStatus;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// Longest wait for a broker's answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Brokers are not asked more often.
const SHORTEST: Duration = Duration::from_secs(1);

/// What was measured last.
#[derive(Default)]
pub struct Measured {
    lag: ArcSwap<BTreeMap<ActorId, u64>>,
    checks: ArcSwap<checks::Answers>,
    regions: ArcSwap<BTreeMap<String, u32>>,
}

impl Measured {
    /// Adds to what heartbeats say of actors.
    pub fn complete(&self, actors: &mut [ActorStatus]) {
        let (lag, checks) = (self.lag.load(), self.checks.load());
        if lag.is_empty() && checks.is_empty() {
            return;
        }
        for status in actors {
            status.lag = lag.get(&status.id).copied();
            let answered = checks.get(&status.id).filter(|(digest, _)| *digest == status.digest);
            status.check = answered.map(|(_, checked)| Box::new(checked.clone()));
        }
    }

    /// Round trips to other regions, milliseconds.
    #[must_use]
    pub fn regions(&self) -> BTreeMap<String, u32> {
        BTreeMap::clone(&self.regions.load())
    }

    fn set_regions(&self, regions: BTreeMap<String, u32>) {
        self.regions.store(Arc::new(regions));
    }

    /// Asks how many messages wait for each actor that subscribes, once in each interval.
    pub async fn watch_lag(self: Arc<Self>, snapshot: watch::Receiver<Arc<Snapshot>>, interval: Duration) {
        let mut tick = tokio::time::interval(interval.max(SHORTEST));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let now = Arc::clone(&snapshot.borrow());
            let asking = now.subscriptions().map(|(actor, held)| async move {
                let answers = futures::future::join_all(held.iter().map(waiting)).await;
                let known = answers.into_iter().flatten().reduce(u64::saturating_add)?;
                Some((actor.clone(), known))
            });
            let found = futures::future::join_all(asking).await;
            self.lag.store(Arc::new(found.into_iter().flatten().collect()));
        }
    }
}

/// What waits for one subscription, while it is held and its broker answers.
async fn waiting(held: &Weak<dyn providers_sdk::messaging::Subscription>) -> Option<u64> {
    let subscription = held.upgrade()?;
    tokio::time::timeout(PATIENCE, subscription.lag()).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_protocol::heartbeat::Checked;

    #[test]
    fn only_what_is_known_of_an_actor_is_said_of_it() {
        let measured = Measured::default();
        let status = |id: &str| ActorStatus::running(id.parse().unwrap(), "sha256:x", 1);
        let mut actors = [status("a/x"), status("a/y")];
        measured.complete(&mut actors);
        assert_eq!(actors.clone().map(|actor| actor.lag), [None, None]);
        measured.lag.store(Arc::new([("a/y".parse().unwrap(), 7)].into()));
        measured.complete(&mut actors);
        assert_eq!(actors.clone().map(|actor| actor.lag), [None, Some(7)]);
        let checked = Checked { well: true, reason: None };
        let of = |digest: &str| [("a/x".parse().unwrap(), (digest.into(), checked.clone()))].into();
        measured.checks.store(Arc::new(of("sha256:x")));
        measured.complete(&mut actors);
        assert_eq!(actors.clone().map(|actor| actor.check), [Some(Box::new(checked.clone())), None]);
        measured.checks.store(Arc::new(of("sha256:before")));
        measured.complete(&mut actors);
        assert_eq!(actors.map(|actor| actor.check), [None, None], "another component has said that");
    }
}
