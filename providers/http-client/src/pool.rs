//! Idle connections, to be used again for the same target at the same address.
//!
//! Bounded twice: so many for one target, and each only for a while. A connection that its server
//! has closed meanwhile is found out when it is taken.

use crate::dial::Sender;
use crate::target::Target;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What connections are interchangeable by.
pub(crate) type Key = (Target, IpAddr);

struct Idle {
    sender: Sender,
    since: Instant,
}

/// The idle connections of one client.
pub(crate) struct Pool {
    idle: Mutex<BTreeMap<Key, Vec<Idle>>>,
    max_per_target: usize,
    max_age: Duration,
}

impl Pool {
    pub(crate) fn new(max_per_target: usize, max_age: Duration) -> Self {
        Self { idle: Mutex::default(), max_per_target, max_age }
    }

    /// The connection that was used last; it is the most likely to be alive.
    pub(crate) fn take(&self, key: &Key) -> Option<Sender> {
        let mut all = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = all.get_mut(key)?;
        while let Some(Idle { sender, since }) = idle.pop() {
            if since.elapsed() < self.max_age && !sender.is_closed() {
                return Some(sender);
            }
        }
        all.remove(key);
        None
    }

    /// Keeps a connection whose response was read to its end.
    pub(crate) fn give_back(&self, key: Key, sender: Sender) {
        let mut all = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = all.entry(key).or_default();
        idle.retain(|one| one.since.elapsed() < self.max_age && !one.sender.is_closed());
        if idle.len() < self.max_per_target && !sender.is_closed() {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    /// Lets go of everything idle, to make room for a new connection.
    pub(crate) fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        drop(idle);
    }
}
