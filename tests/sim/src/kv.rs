//! The lattice's key-value store as hosts and controllers see it: compare-and-set by revision, and
//! watches that resume where they were and never go back. Every decision that ever won is kept, to
//! hold hosts against.

use lattice_protocol::desired::{DesiredApp, Placement};
use lattice_protocol::{AppName, HostId, HostSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A key, with its bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// What shall be.
    Desired(AppName),
    /// The decision.
    Placement(AppName),
    /// What a host is told.
    Spec(HostId),
}

impl Key {
    /// Its bucket: 0 desired, 1 placements, 2 specs.
    #[must_use]
    pub fn bucket(&self) -> usize {
        match self {
            Self::Desired(_) => 0,
            Self::Placement(_) => 1,
            Self::Spec(_) => 2,
        }
    }
}

/// A value.
#[derive(Debug, Clone)]
pub enum Value {
    /// Of a desired key.
    Desired(Arc<DesiredApp>),
    /// Of a placement key.
    Placement(Arc<Placement>),
    /// Of a spec key.
    Spec(Arc<HostSpec>),
    /// The key is gone.
    Deleted,
}

/// One change.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place in order.
    pub revision: u64,
    /// Of what.
    pub key: Key,
    /// To what.
    pub value: Value,
}

/// The store.
#[derive(Debug, Default)]
pub struct Kv {
    log: Vec<Entry>,
    latest: BTreeMap<Key, usize>,
}

impl Kv {
    /// Writes when the key is at this revision (`None`: absent). The new revision, or nothing.
    pub fn cas(&mut self, key: &Key, expected: Option<u64>, value: Value) -> Option<u64> {
        let have = self.latest(key).filter(|entry| !matches!(entry.value, Value::Deleted));
        if have.map(|entry| entry.revision) != expected {
            return None;
        }
        let revision = self.revision() + 1;
        self.latest.insert(key.clone(), self.log.len());
        self.log.push(Entry { revision, key: key.clone(), value });
        Some(revision)
    }

    /// The last revision of all.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.log.last().map_or(0, |entry| entry.revision)
    }

    /// The record of a key, deleted or not.
    #[must_use]
    pub fn latest(&self, key: &Key) -> Option<&Entry> {
        self.log.get(*self.latest.get(key)?)
    }

    /// The last change of each key after a revision, in order: what a watch delivers.
    pub fn since(&self, cursor: u64) -> impl Iterator<Item = &Entry> {
        let from = usize::try_from(cursor).unwrap_or(usize::MAX);
        let newer = self.log.get(from..).unwrap_or_default().iter();
        newer.filter(move |entry| self.latest(&entry.key).is_some_and(|last| last.revision == entry.revision))
    }

    /// The spec under a key, if it is one.
    #[must_use]
    pub fn spec(&self, key: &Key) -> Option<Arc<HostSpec>> {
        match &self.latest(key)?.value {
            Value::Spec(spec) => Some(Arc::clone(spec)),
            _ => None,
        }
    }

    /// Some earlier spec of a host, for deliveries that repeat or overtake.
    pub fn old_spec(&self, host: &HostId, choose: u64) -> Option<Arc<HostSpec>> {
        let mine = Key::Spec(host.clone());
        let specs: Vec<&Arc<HostSpec>> = self
            .log
            .iter()
            .filter(|entry| entry.key == mine)
            .filter_map(|entry| if let Value::Spec(spec) = &entry.value { Some(spec) } else { None })
            .collect();
        let index = choose.checked_rem(u64::try_from(specs.len()).ok()?)?;
        specs.get(usize::try_from(index).ok()?).map(|spec| Arc::clone(spec))
    }

    /// The decision that won this revision.
    #[must_use]
    pub fn decision(&self, app: &AppName, revision: u64) -> Option<&Placement> {
        let entry = self.log.get(usize::try_from(revision.checked_sub(1)?).ok()?)?;
        match (&entry.key, &entry.value) {
            (Key::Placement(of), Value::Placement(placement)) if of == app => Some(placement),
            _ => None,
        }
    }

    /// The desired record of an application at one of its versions.
    #[must_use]
    pub fn desired_at(&self, app: &AppName, version: u64) -> Option<&DesiredApp> {
        self.log.iter().rev().find_map(|entry| match (&entry.key, &entry.value) {
            (Key::Desired(of), Value::Desired(desired)) if of == app && desired.version == version => {
                Some(&**desired)
            }
            _ => None,
        })
    }

    /// The decision in force about an application.
    #[must_use]
    pub fn placement(&self, app: &AppName) -> Option<&Placement> {
        match &self.latest(&Key::Placement(app.clone()))?.value {
            Value::Placement(placement) => Some(placement),
            _ => None,
        }
    }

    /// Every desired record in force.
    pub fn desired(&self) -> impl Iterator<Item = &Arc<DesiredApp>> {
        self.latest.values().filter_map(|index| match &self.log.get(*index)?.value {
            Value::Desired(desired) => Some(desired),
            _ => None,
        })
    }
}
