//! What one connection is doing, for the watch that ends it when it does nothing.
//!
//! Timers per request would cost more than many a request. Instead whoever moves a connection
//! forward counts here, and one watch per connection looks a few times per limit: a count that
//! has not changed while nobody on our side is busy means that the peer keeps us waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Looks per idle limit: a connection ends between three and four quarters of it.
const LOOKS_PER_LIMIT: u32 = 4;

/// Counters of one connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    progress: AtomicU64,
    busy: AtomicUsize,
    answers: AtomicUsize,
    write_blocked: AtomicBool,
}

/// Something on our side is working; dropping it ends that.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

/// An answer is on its way to the peer; dropping it ends that.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Activity>);

impl Activity {
    /// The connection has moved forward.
    pub(crate) fn advance(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }
    /// The peer has to wait for us.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
    /// The peer is being sent an answer.
    pub(crate) fn answering(self: &Arc<Self>) -> Answering {
        self.answers.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }
    /// Whether the peer's window is full.
    pub(crate) fn write_blocked(&self, blocked: bool) {
        self.write_blocked.store(blocked, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
        self.0.advance();
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answers.fetch_sub(1, Ordering::Relaxed);
        self.0.advance();
    }
}

/// Watches one connection.
#[derive(Debug)]
pub(crate) struct Watch {
    activity: Arc<Activity>,
    /// Between two looks.
    pub(crate) pause: Duration,
    idle_looks: u32,
    stalled_looks: u32,
    seen: u64,
    unchanged: u32,
}

impl Watch {
    /// Ends a connection that begins no request for `idle`, or takes nothing of its answers for
    /// `stall`.
    pub(crate) fn new(activity: Arc<Activity>, idle: Duration, stall: Duration) -> Self {
        let pause = (idle / LOOKS_PER_LIMIT).max(Duration::from_millis(1));
        let stalled_looks = u32::try_from(stall.as_millis() / pause.as_millis().max(1)).unwrap_or(u32::MAX);
        Self { activity, pause, idle_looks: LOOKS_PER_LIMIT - 1, stalled_looks, seen: u64::MAX, unchanged: 0 }
    }

    /// One look, [`Self::pause`] after the last: is it over?
    pub(crate) fn is_over(&mut self) -> bool {
        let progress = self.activity.progress.load(Ordering::Relaxed);
        let waits_for_us = self.activity.busy.load(Ordering::Relaxed) > 0;
        if waits_for_us || (progress != self.seen && self.seen != u64::MAX) {
            self.unchanged = 0;
        } else {
            self.unchanged += 1;
        }
        self.seen = progress;
        let sending = self.activity.answers.load(Ordering::Relaxed) > 0
            || self.activity.write_blocked.load(Ordering::Relaxed);
        self.unchanged >= if sending { self.stalled_looks } else { self.idle_looks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(watch: &mut Watch) -> u32 {
        (1..1_000).find(|_| watch.is_over()).unwrap_or(0)
    }

    #[test]
    fn silence_ends_a_connection_within_its_limit_and_work_of_ours_does_not() {
        let activity = Arc::new(Activity::default());
        let mut watch = Watch::new(Arc::clone(&activity), Duration::from_secs(10), Duration::from_secs(30));
        assert_eq!(watch.pause, Duration::from_millis(2_500));
        assert_eq!(looks(&mut watch), 3);
        let busy = activity.busy();
        assert_eq!(looks(&mut watch), 0);
        drop(busy);
        assert!(!watch.is_over(), "the end of work is progress");
        assert_eq!(looks(&mut watch), 3);
        activity.advance();
        assert!(!watch.is_over());
    }

    #[test]
    fn a_peer_that_takes_nothing_has_longer_but_not_for_ever() {
        let activity = Arc::new(Activity::default());
        let mut watch = Watch::new(Arc::clone(&activity), Duration::from_secs(10), Duration::from_secs(30));
        let _answering = activity.answering();
        assert_eq!(looks(&mut watch), 12);
    }
}
