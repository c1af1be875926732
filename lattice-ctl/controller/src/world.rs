//! What a controller has seen. Pure bookkeeping: watches and heartbeats in, what the planner keeps
//! out. A record that cannot be read is reported and left out; it never stops the others.

use lattice_ctl_planner::observed::{Applied, Observed};
use lattice_ctl_planner::{Known, Revised};
use lattice_io::{KvEntry, KvEvent};
use lattice_protocol::heartbeat::Heartbeat;
use std::collections::BTreeSet;

/// Which bucket an event is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// What shall be.
    Desired,
    /// The decisions.
    Placement,
    /// What hosts were told.
    Specs,
}

/// All that a controller knows.
pub struct World {
    /// What shall be, the decisions, what hosts were told.
    pub known: Known,
    /// What hosts say.
    pub observed: Observed,
    current: BTreeSet<Source>,
}

impl World {
    /// Nothing seen yet of this life of the lattice.
    #[must_use]
    pub fn new(incarnation: u64, observed: Observed) -> Self {
        Self { known: Known::of_life(incarnation), observed, current: BTreeSet::new() }
    }

    /// Has every bucket told all it holds? Planning before that would take an empty view for an
    /// empty lattice.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.current.len() == 3
    }

    /// Takes one event of a watch. `true` when it may change a plan.
    pub fn apply(&mut self, source: Source, event: KvEvent) -> bool {
        let known = &mut self.known;
        if source == Source::Desired {
            known.saw_desired(event.revision());
        }
        match (source, event) {
            (_, KvEvent::Current) => self.current.insert(source),
            (Source::Desired, event) => record(event, json, |app, record| {
                let is_news = known.desire(app, record);
                if is_news {
                    let revision = known.placements().get(app).map_or(0, |have| have.revision);
                    self.observed.forgive(app, revision);
                }
                is_news
            }),
            (Source::Placement, event) => record(event, json, |app, record| known.place(app, record)),
            (Source::Specs, event) => {
                // Our own bucket: the hosts verify the signature, the controller only compares.
                let read = |entry: &KvEntry| {
                    let signed: keys::Signed = serde_json::from_slice(&entry.value)?;
                    serde_json::from_slice(&signed.payload)
                };
                record(event, read, |host, record| known.tell(host, record))
            }
        }
    }

    /// Takes a heartbeat that has arrived now. With what it did: does it say anything new, besides how
    /// busy its host is?
    pub fn hear(&mut self, mut heartbeat: Heartbeat, now_ms: u64) -> (Applied, bool) {
        self.known.heard(&mut heartbeat);
        let is_news = self.observed.is_news(&heartbeat, now_ms);
        let applied = self.observed.apply(heartbeat, now_ms);
        (applied, is_news || applied != Applied::Heard)
    }
}

fn json<T: serde::de::DeserializeOwned>(entry: &KvEntry) -> Result<T, serde_json::Error> {
    serde_json::from_slice(&entry.value)
}

fn record<K: std::str::FromStr, T>(
    event: KvEvent,
    read: impl Fn(&KvEntry) -> Result<T, serde_json::Error>,
    take: impl FnOnce(&K, Option<Revised<T>>) -> bool,
) -> bool {
    match event {
        KvEvent::Put(entry) => {
            let Ok(key) = entry.key.parse::<K>() else {
                tracing::warn!(key = entry.key, "record under a key that is no name");
                return false;
            };
            match read(&entry) {
                Ok(value) => take(&key, Some(Revised::new(value, entry.revision))),
                Err(error) => {
                    tracing::error!(key = entry.key, %error, "record not readable: keeping the one before");
                    false
                }
            }
        }
        KvEvent::Deleted { key, .. } => key.parse::<K>().is_ok_and(|key| take(&key, None)),
        KvEvent::Current => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, revision: u64, value: &str) -> KvEvent {
        KvEvent::Put(KvEntry { key: key.into(), value: value.to_owned().into(), revision })
    }

    #[test]
    fn an_unreadable_record_leaves_the_one_before_and_an_older_revision_changes_nothing() {
        let mut world = World::new(1, Observed::new(lattice_ctl_planner::Profile::FAST, 0));
        let app = |version: u64| {
            let empty = lattice_protocol::desired::DesiredApp::empty("a".parse().unwrap());
            let record = lattice_protocol::desired::DesiredApp { version, ..empty };
            serde_json::to_string(&record).unwrap()
        };
        let mut take = |event| world.apply(Source::Desired, event);
        assert!(take(put("a", 2, &app(7))));
        assert!(!take(put("a", 3, "{")));
        assert!(!take(put("a", 1, &app(6))));
        assert!(!take(put("a.b", 4, &app(6))));
        let versions = |world: &World| -> Vec<u64> {
            world.known.desired().values().map(|have| have.value.version).collect()
        };
        assert_eq!(versions(&world), [7]);
        assert!(world.apply(Source::Desired, KvEvent::Deleted { key: "a".into(), revision: 5 }));
        assert!(versions(&world).is_empty());
    }
}
