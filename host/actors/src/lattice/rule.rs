//! Which shards this host takes over, and when: whoever is first in rank at once, the next ones a step
//! later each, so that hosts that see the same decide the same without asking each other. And which ones
//! it stands by for: those for which it would be first if their owners died.

use super::standby::{self, Seat};
use super::values::{Part, SessionValue, owner_key};
use super::{Inner, SHARDS, State};
use lattice_journal::lease::Sighting;
use lattice_journal::{Hash, SessionId, ShardId};
use lattice_protocol::ownership::OwnerValue;
use lattice_protocol::{HostId, KindName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait before it is looked whether a shard needs an owner: it is looked as well when an owner or a
/// session has changed, when a session's time is over, and when a rank's turn comes.
const LOOK: Duration = Duration::from_millis(100);
/// How long the next in rank waits for the one before, milliseconds.
const STEP_MS: u64 = 700;
/// How many steps longer everybody else waits for who was named.
const GIVEN: u64 = 5;

impl Inner {
    /// Takes over what is this host's turn to take over.
    pub(super) async fn rule(self: Arc<Self>) {
        // Those that have shards are heard of first.
        self.until(|state| state.hears_sessions && state.hears_owners).await;
        tokio::time::sleep(LOOK).await;
        let mut picture = None;
        loop {
            let changed = self.changed.notified();
            let (due, wake_ms) = self.due();
            for (part, session, seat) in due {
                let inner = Arc::clone(&self);
                self.scope.spawn_best_effort("shard", async move {
                    inner.own(&part, session, seat).await;
                    inner.gone(&part);
                });
            }
            self.stand_by(&mut picture);
            let wait = Duration::from_millis(wake_ms.saturating_sub(self.now_ms())).min(LOOK);
            // Elapsed: somebody's time is over.
            drop(tokio::time::timeout(wait, changed).await);
        }
    }

    /// Takes the seats that are this host's, and leaves the others; when the picture is another than before.
    fn stand_by(self: &Arc<Self>, before: &mut Option<Picture>) {
        let mut state = self.state();
        let Some((session, _)) = state.lease.clone() else { return };
        let alive = self.alive(&state, &session);
        let parts = state.parts.keys().cloned().collect();
        let kinds = state.kinds.keys().cloned().collect();
        let now_ms = self.now_ms();
        let reserved = state.reserved.take_if(|(_, until_ms)| now_ms >= *until_ms);
        drop(reserved);
        let reserved = state.reserved.as_ref().map(|(part, _)| part.clone());
        let picture = Picture { session, kinds, alive, owners: state.owners.clone(), parts, reserved };
        if before.as_ref() == Some(&picture) {
            return;
        }
        let seats = picture.seats(self.options.policy.standby.hosts);
        let left: Vec<Part> =
            state.standing.keys().filter(|part| !seats.contains_key(*part)).cloned().collect();
        left.iter().for_each(|part| drop(state.standing.remove(part)));
        for (part, _) in seats.into_iter().filter(|(_, seat)| *seat == Seated::Begins) {
            if !state.standing.contains_key(&part)
                && state.standing.len() < self.options.policy.standby.shards
            {
                let seat = standby::sit(self, part.clone());
                state.standing.insert(part, seat);
            }
        }
        *before = Some(picture);
    }

    /// The host that would be first if a shard's owner died.
    pub(super) fn first_beside_owner(&self, part: &Part) -> Option<HostId> {
        let state = self.state();
        let (session, _) = state.lease.clone()?;
        let mut others = self.alive(&state, &session);
        if let Some(owner) = state.owners.get(&owner_key(part)) {
            others.remove(&owner.session);
        }
        let first = others.keys().find(|one| {
            others.get(*one).is_some_and(|kinds| kinds.contains(&part.0)) && rank(part, one, &others) == 0
        })?;
        first.split('.').next()?.parse().ok()
    }

    /// Sessions that live, this host's among them, and the kinds that they run.
    fn alive(&self, state: &State, session: &SessionId) -> BTreeMap<String, BTreeSet<KindName>> {
        let (now_ms, lease) = (self.now_ms(), self.options.lease);
        let lives = |(value, seen): &&(SessionValue, Sighting)| {
            value.session == session.as_str() || seen.lives(&lease, now_ms)
        };
        let alive = state.seen.values().filter(lives);
        alive.map(|(value, ..)| (value.session.clone(), value.kinds.clone())).collect()
    }

    /// The shards to take over now, marked as being taken, each with the seat of who stood by for it; and when
    /// to look again if nothing changes.
    fn due(&self) -> (Vec<(Part, SessionId, Option<Seat>)>, u64) {
        let now_ms = self.now_ms();
        let mut wake_ms = u64::MAX;
        let mut state = self.state();
        let Some((session, until_ms)) = state.lease.clone() else { return (Vec::new(), wake_ms) };
        if now_ms >= until_ms {
            return (Vec::new(), wake_ms);
        }
        let ends = state.seen.values().map(|(_, seen)| seen.ends_ms(&self.options.lease));
        wake_ms = ends.filter(|end| *end > now_ms).fold(wake_ms, u64::min);
        let alive = self.alive(&state, &session);
        let kinds: Vec<KindName> =
            state.kinds.keys().filter(|kind| state.named.contains(*kind)).cloned().collect();
        let parts = kinds.iter().flat_map(|kind| (0..SHARDS).map(|shard| (kind.clone(), ShardId(shard))));
        let mut due = Vec::new();
        for part in parts {
            let is_closed = state.closed.get(&part).is_some_and(|(_, again_ms)| now_ms < *again_ms);
            if is_closed || state.parts.contains_key(&part) {
                continue;
            }
            let owner = state.owners.get(&owner_key(&part));
            let is_owned = owner.is_some_and(|owner| {
                owner.session != session.as_str()
                    && alive.get(&owner.session).is_some_and(|kinds| kinds.contains(&part.0))
            });
            if is_owned {
                state.orphaned.remove(&part);
                continue;
            }
            let given = owner.filter(|owner| owner.is_released()).and_then(|owner| owner.to.as_ref());
            let rank = match given {
                Some(to) if *to == self.options.host => 0,
                Some(_) => rank(&part, session.as_str(), &alive).saturating_add(GIVEN),
                None => rank(&part, session.as_str(), &alive),
            };
            let since = *state.orphaned.entry(part.clone()).or_insert(now_ms);
            let turn_ms = since.saturating_add(rank.saturating_mul(STEP_MS));
            if now_ms < turn_ms {
                wake_ms = wake_ms.min(turn_ms);
            } else {
                state.orphaned.remove(&part);
                state.parts.insert(part.clone(), None);
                let seat = state.standing.remove(&part);
                due.push((part, session.clone(), seat));
            }
        }
        (due, wake_ms)
    }
}

/// Everything that says which seats are this host's.
#[derive(PartialEq)]
struct Picture {
    session: SessionId,
    kinds: Vec<KindName>,
    alive: BTreeMap<String, BTreeSet<KindName>>,
    owners: BTreeMap<String, OwnerValue>,
    parts: BTreeSet<Part>,
    /// It comes here next, whatever its rank.
    reserved: Option<Part>,
}

/// A seat that is this host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seated {
    Begins,
    /// Nobody that lives owns the shard: who stands by for it stays until somebody does.
    Stays,
}

impl Picture {
    /// Of each shard that is another's, the first so many in rank beside its owner.
    fn seats(&self, hosts: u64) -> BTreeMap<Part, Seated> {
        let all = self.kinds.iter().flat_map(|kind| (0..SHARDS).map(|shard| (kind.clone(), ShardId(shard))));
        let seat = |part: Part| {
            let runs = |owner: &&OwnerValue| {
                self.alive.get(&owner.session).is_some_and(|kinds| kinds.contains(&part.0))
            };
            match self.owners.get(&owner_key(&part)).filter(runs) {
                None => Some((part, Seated::Stays)),
                Some(owner) => {
                    let mut others = self.alive.clone();
                    others.remove(&owner.session);
                    let rank = rank(&part, self.session.as_str(), &others);
                    let is_reserved = self.reserved.as_ref() == Some(&part);
                    (rank < hosts || is_reserved).then_some((part, Seated::Begins))
                }
            }
        };
        all.filter(|part| !self.parts.contains(part)).filter_map(seat).collect()
    }
}

/// This session's place among those that could own a shard: by the highest hash of shard and session's
/// host (rendezvous hashing, Thaler and Ravishankar, 1998), so that shards spread and a host's death
/// moves only its own.
fn rank(part: &Part, session: &str, alive: &BTreeMap<String, BTreeSet<KindName>>) -> u64 {
    let weight = |session: &str| {
        let host = session.split('.').next().unwrap_or_default();
        Hash::of(format!("{} {} {host}", part.0, part.1).as_bytes())
    };
    let mine = weight(session);
    let could = alive.iter().filter(|(other, kinds)| *other != session && kinds.contains(&part.0));
    u64::try_from(could.filter(|(other, _)| weight(other) > mine).count()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_by_is_who_takes_over_and_one_only_and_stays_until_it_is_done() {
        let kind: KindName = "meter".parse().unwrap();
        let hosts = ["H1", "H2", "H3", "H4"];
        let session = |host: &str| SessionId::new(&host.parse().unwrap(), [7; 16]);
        let alive: BTreeMap<String, BTreeSet<KindName>> =
            hosts.iter().map(|host| (session(host).to_string(), BTreeSet::from([kind.clone()]))).collect();
        for shard in (0..SHARDS).map(|shard| (kind.clone(), ShardId(shard))) {
            for owner in hosts {
                let value = OwnerValue::new(session(owner).as_str(), 3);
                let picture = |host: &str| Picture {
                    session: session(host),
                    kinds: vec![kind.clone()],
                    alive: alive.clone(),
                    owners: BTreeMap::from([(owner_key(&shard), value.clone())]),
                    parts: BTreeSet::new(),
                    reserved: None,
                };
                let seated = |host: &&&str| picture(host).seats(1).get(&shard) == Some(&Seated::Begins);
                let others: Vec<&&str> = hosts.iter().filter(|host| **host != owner).collect();
                let standing: Vec<_> = others.iter().copied().filter(seated).collect();
                assert_eq!(standing.len(), 1);
                let mut left = alive.clone();
                left.remove(&value.session);
                assert_eq!(rank(&shard, session(standing[0]).as_str(), &left), 0, "it is first then");
                for host in &others {
                    let reserved = Picture { reserved: Some(shard.clone()), ..picture(host) };
                    assert_eq!(reserved.seats(1).get(&shard), Some(&Seated::Begins));
                    let dead = Picture { alive: left.clone(), ..picture(host) };
                    assert_eq!(dead.seats(1).get(&shard), Some(&Seated::Stays));
                }
                let owned = Picture { parts: BTreeSet::from([shard.clone()]), ..picture(standing[0]) };
                assert_eq!(owned.seats(1).get(&shard), None);
            }
        }
    }

    #[test]
    fn each_shard_has_one_first_and_the_death_of_a_host_moves_only_its_own() {
        let kind: KindName = "meter".parse().unwrap();
        let alive = |hosts: &[&str]| -> BTreeMap<String, BTreeSet<KindName>> {
            hosts.iter().map(|host| (format!("{host}.00"), BTreeSet::from([kind.clone()]))).collect()
        };
        let (all, left) = (alive(&["H1", "H2", "H3"]), alive(&["H1", "H2"]));
        let first = |alive: &BTreeMap<String, BTreeSet<KindName>>, shard| {
            let firsts: Vec<_> = alive
                .keys()
                .filter(|session| rank(&(kind.clone(), ShardId(shard)), session, alive) == 0)
                .collect();
            assert_eq!(firsts.len(), 1);
            firsts[0].clone()
        };
        let mut owners = BTreeSet::new();
        for shard in 0..SHARDS {
            let owner = first(&all, shard);
            if owner != "H3.00" {
                assert_eq!(first(&left, shard), owner);
            }
            owners.insert(owner);
        }
        assert_eq!(owners.len(), 3, "they spread");
    }
}
