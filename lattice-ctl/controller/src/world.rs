//! What a controller has seen. Pure bookkeeping: watches and heartbeats in, the planner's input
//! out. A record that cannot be read is reported and left out; it never stops the others.

use lattice_ctl_planner::Decision;
use lattice_ctl_planner::observed::Observed;
use lattice_io::{KvEntry, KvEvent};
use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::{AppName, HostId, HostSpec};
use std::collections::{BTreeMap, BTreeSet};

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

/// A record with the revision of its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Revised<T> {
    /// The record.
    pub value: T,
    /// Its KV revision: what a compare-and-set must name.
    pub revision: u64,
}

/// All that a controller knows.
pub struct World {
    /// What shall be.
    pub desired: BTreeMap<AppName, Revised<DesiredApp>>,
    /// The decisions.
    pub placements: BTreeMap<AppName, Revised<Placement>>,
    /// What hosts were told.
    pub specs: BTreeMap<HostId, Revised<HostSpec>>,
    /// What hosts say.
    pub observed: Observed,
    current: BTreeSet<Source>,
}

impl World {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(observed: Observed) -> Self {
        Self {
            desired: BTreeMap::new(),
            placements: BTreeMap::new(),
            specs: BTreeMap::new(),
            observed,
            current: BTreeSet::new(),
        }
    }

    /// Has every bucket told all it holds? Planning before that would take an empty view for an
    /// empty lattice.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.current.len() == 3
    }

    /// Every application, with the decision about it.
    pub fn apps(&self) -> impl Iterator<Item = (&DesiredApp, Option<&Placement>)> {
        let placement = |app: &AppName| self.placements.get(app).map(|have| &have.value);
        self.desired.iter().map(move |(app, have)| (&have.value, placement(app)))
    }

    /// Every decision in force of an application that is desired.
    pub fn decisions(&self) -> impl Iterator<Item = Decision<'_>> {
        self.placements.iter().filter_map(|(app, have)| {
            let desired = &self.desired.get(app)?.value;
            Some(Decision { desired, placement: &have.value, revision: have.revision })
        })
    }

    /// Takes one event of a watch. `true` when it may change a plan.
    pub fn apply(&mut self, source: Source, event: KvEvent) -> bool {
        match (source, event) {
            (_, KvEvent::Current) => self.current.insert(source),
            (Source::Desired, event) => {
                record(&mut self.desired, event, |entry| serde_json::from_slice(&entry.value))
            }
            (Source::Placement, event) => {
                record(&mut self.placements, event, |entry| serde_json::from_slice(&entry.value))
            }
            (Source::Specs, event) => record(&mut self.specs, event, |entry| {
                // Our own bucket: the hosts verify the signature, the controller only compares.
                let signed: keys::Signed = serde_json::from_slice(&entry.value)?;
                serde_json::from_slice(&signed.payload)
            }),
        }
    }
}

fn record<K: std::str::FromStr + Ord, T: PartialEq>(
    records: &mut BTreeMap<K, Revised<T>>,
    event: KvEvent,
    read: impl Fn(&KvEntry) -> Result<T, serde_json::Error>,
) -> bool {
    match event {
        KvEvent::Put(entry) => {
            let Ok(key) = entry.key.parse::<K>() else {
                tracing::warn!(key = entry.key, "record under a key that is no name");
                return false;
            };
            match read(&entry) {
                Ok(value) => {
                    let next = Revised { value, revision: entry.revision };
                    let newer = records.get(&key).is_none_or(|have| have.revision < next.revision);
                    if newer {
                        records.insert(key, next);
                    }
                    newer
                }
                Err(error) => {
                    tracing::error!(key = entry.key, %error, "record not readable: keeping the one before");
                    false
                }
            }
        }
        KvEvent::Deleted { key, .. } => key.parse::<K>().is_ok_and(|key| records.remove(&key).is_some()),
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
        let mut records: BTreeMap<AppName, Revised<u32>> = BTreeMap::new();
        let read = |entry: &KvEntry| serde_json::from_slice(&entry.value);
        assert!(record(&mut records, put("a", 2, "7"), read));
        assert!(!record(&mut records, put("a", 3, "{"), read));
        assert!(!record(&mut records, put("a", 1, "6"), read));
        assert!(!record(&mut records, put("a.b", 4, "6"), read));
        assert_eq!(records.values().map(|have| have.value).collect::<Vec<_>>(), [7]);
        assert!(record(&mut records, KvEvent::Deleted { key: "a".into(), revision: 5 }, read));
        assert!(records.is_empty());
    }
}
