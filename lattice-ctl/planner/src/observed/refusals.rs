//! What a host has said that it has no room for. It counts for a while, so that nothing is placed to
//! and fro; less, when what was asked for changes or the host itself does.

use lattice_protocol::heartbeat::{Heartbeat, RunState};
use lattice_protocol::{ActorId, AppName, ErrorCode};
use std::collections::BTreeMap;

/// Time after which a placement that a host had no room for may be tried there again.
const REFUSAL_MS: u64 = 300_000;

/// A host's word that it has no room for an actor, or for more of it.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    /// How long it counts.
    until_ms: u64,
    /// Replicas that run all the same.
    runs: u32,
}

/// All of one host's.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(BTreeMap<ActorId, Refusal>);

impl Refusals {
    /// Takes down what a heartbeat says. What it says about a decision that was forgiven
    /// ([`super::Observed::forgive`]) does not count.
    pub(super) fn note(&mut self, beat: &Heartbeat, forgiven: &BTreeMap<AppName, u64>, now_ms: u64) {
        self.0.retain(|_, refusal| now_ms < refusal.until_ms);
        for actor in &beat.actors {
            let refused = actor.reason.as_deref().is_some_and(|reason| {
                reason.contains("insufficient resources")
                    || reason.contains(ErrorCode::InsufficientResources.as_str())
            });
            let obeys = beat.apps.get(&actor.id.app).copied().unwrap_or(0);
            if refused && forgiven.get(&actor.id.app).is_none_or(|revision| obeys > *revision) {
                let runs = if actor.state == RunState::Running { actor.replicas } else { 0 };
                let until_ms = now_ms.saturating_add(REFUSAL_MS);
                self.0.insert(actor.id.clone(), Refusal { until_ms, runs });
            }
        }
    }

    pub(super) fn forget(&mut self, app: &AppName) {
        self.0.retain(|actor, _| actor.app != *app);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// If it has refused more of an actor: the replicas that it runs all the same.
    pub(super) fn runs_only(&self, actor: &ActorId, now_ms: u64) -> Option<u32> {
        self.0.get(actor).filter(|refusal| now_ms < refusal.until_ms).map(|refusal| refusal.runs)
    }

    /// All that count now, with those replicas.
    pub(super) fn in_force(&self, now_ms: u64) -> impl Iterator<Item = (&ActorId, u32)> {
        let all = self.0.iter().map(|(actor, refusal)| (actor, *refusal));
        all.filter(move |(_, refusal)| now_ms < refusal.until_ms)
            .map(|(actor, refusal)| (actor, refusal.runs))
    }
}
