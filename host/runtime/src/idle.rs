//! What nobody has called for a while, and lets go of what it keeps for calls. Looked at now and then by
//! the ticker, so that a call itself has nothing to write down for it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What keeps instances and code for calls to come, and lets them go when none comes.
pub(crate) trait Idles: Send + Sync {
    /// Drops instances that have been idle for too long.
    fn reap(&self, now: Instant);
    /// Lets go of its component's code when nobody has called it for long enough; true if it did.
    fn unload_unused(&self, now: Instant) -> bool;
}

/// The calls that had ended by the last look, and since when there were no more.
#[derive(Debug)]
pub(crate) struct Unused(Mutex<(u64, Instant)>);

impl Unused {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new((0, now)))
    }

    /// A look: for how long there has been no call. `ended` counts those that have ended; `busy` says
    /// that one is under way, or an instance kept for the next.
    pub(crate) fn look(&self, ended: u64, busy: bool, now: Instant) -> Duration {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if busy || last.0 != ended {
            *last = (ended, now);
        }
        now.saturating_duration_since(last.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_unused_since_its_last_call_was_seen_and_while_nothing_is_under_way() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let unused = Unused::new(start);
        assert_eq!(unused.look(0, false, at(5)), Duration::from_secs(5));
        assert_eq!(unused.look(1, false, at(6)), Duration::ZERO);
        assert_eq!(unused.look(1, false, at(8)), Duration::from_secs(2));
        // A call that takes long is no rest.
        assert_eq!(unused.look(1, true, at(60)), Duration::ZERO);
        assert_eq!(unused.look(1, false, at(61)), Duration::from_secs(1));
    }
}
