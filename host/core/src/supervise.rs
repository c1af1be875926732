//! When is something that failed started again? After a pause that doubles from 100 ms to 30 s;
//! five failures within a minute are a crash loop, which is tried again only at the longest pause
//! until it has run a quiet minute.
//!
//! Invariants: memory is bounded (the last few failures); a crash loop is left only by running
//! without a failure for [`RestartPolicy::quiet_ms`], so the slow retries themselves do not end it.

use crate::jitter;
use std::collections::VecDeque;

/// Intensity per period, and pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// First pause, milliseconds.
    pub base_ms: u64,
    /// Longest pause, milliseconds.
    pub max_ms: u64,
    /// Failures within [`Self::window_ms`] that make a crash loop.
    pub intensity: usize,
    /// The period, milliseconds.
    pub window_ms: u64,
    /// Time of running without failure that forgives everything, milliseconds.
    pub quiet_ms: u64,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { base_ms: 100, max_ms: 30_000, intensity: 5, window_ms: 60_000, quiet_ms: 60_000 }
    }
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// Earliest time to try again, on the caller's clock.
    pub at_ms: u64,
    /// It failed too often: show it as crash-looping.
    pub crash_looping: bool,
}

/// The memory of one actor's, provider's or task's failures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supervisor {
    policy: RestartPolicy,
    /// Times of the last failures, at most `policy.intensity`.
    recent: VecDeque<u64>,
    /// Failures since it was last forgiven.
    failures: u32,
    running_since_ms: Option<u64>,
    crash_looping: bool,
}

impl Supervisor {
    /// Of something that never failed.
    #[must_use]
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// It runs.
    pub fn started(&mut self, now_ms: u64) {
        self.running_since_ms = Some(now_ms);
    }

    /// It failed, at starting or while it ran. `jitter_seed` spreads the pauses of many.
    pub fn failed(&mut self, now_ms: u64, jitter_seed: u64) -> Restart {
        self.forgive(now_ms);
        self.running_since_ms = None;
        self.failures = self.failures.saturating_add(1);
        self.recent.push_back(now_ms);
        while self.recent.len() > self.policy.intensity {
            self.recent.pop_front();
        }
        let within =
            self.recent.front().is_some_and(|first| now_ms.saturating_sub(*first) <= self.policy.window_ms);
        self.crash_looping |= within && self.recent.len() >= self.policy.intensity;
        let step = if self.crash_looping { u32::MAX } else { self.failures };
        let longest = jitter::doubled(self.policy.base_ms, step, self.policy.max_ms);
        let pause = jitter::spread(longest, jitter_seed.wrapping_add(u64::from(self.failures)));
        Restart { at_ms: now_ms.saturating_add(pause), crash_looping: self.crash_looping }
    }

    /// Is it in a crash loop at this time? A quiet period of running ends one.
    pub fn is_crash_looping(&mut self, now_ms: u64) -> bool {
        self.forgive(now_ms);
        self.crash_looping
    }

    fn forgive(&mut self, now_ms: u64) {
        let quiet =
            self.running_since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= self.policy.quiet_ms);
        if quiet {
            self.recent.clear();
            self.failures = 0;
            self.crash_looping = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fails as soon as it is started, `times` times; the pauses between.
    fn fail_at_once(supervisor: &mut Supervisor, now_ms: &mut u64, times: usize) -> Vec<(u64, bool)> {
        (0..times)
            .map(|_| {
                supervisor.started(*now_ms);
                let restart = supervisor.failed(*now_ms, 7);
                let pause = restart.at_ms - *now_ms;
                *now_ms = restart.at_ms;
                (pause, restart.crash_looping)
            })
            .collect()
    }

    #[test]
    fn pauses_double_and_the_fifth_failure_in_a_minute_is_a_crash_loop() {
        let (mut supervisor, mut now) = (Supervisor::default(), 0);
        let seen = fail_at_once(&mut supervisor, &mut now, 5);
        for ((pause, looping), (longest, expected)) in
            seen.into_iter().zip([(100, false), (200, false), (400, false), (800, false), (30_000, true)])
        {
            assert!((longest / 2..=longest).contains(&pause), "{pause} of {longest}");
            assert_eq!(looping, expected);
        }
    }

    #[test]
    fn slow_retries_do_not_end_a_crash_loop_but_a_quiet_minute_does() {
        let (mut supervisor, mut now) = (Supervisor::default(), 0);
        fail_at_once(&mut supervisor, &mut now, 5);
        for (pause, looping) in fail_at_once(&mut supervisor, &mut now, 10) {
            assert!(looping && pause >= 15_000);
        }
        supervisor.started(now);
        assert!(supervisor.is_crash_looping(now + 59_999));
        assert!(!supervisor.is_crash_looping(now + 60_000));
        let restart = supervisor.failed(now + 60_000, 7);
        assert!(!restart.crash_looping && restart.at_ms <= now + 60_100);
    }

    #[test]
    fn four_failures_a_minute_are_no_crash_loop() {
        let mut supervisor = Supervisor::default();
        for times in 1..20 {
            assert!(!supervisor.failed(times * 15_001, 0).crash_looping);
        }
    }

    proptest! {
        #[test]
        fn pauses_and_memory_are_bounded(steps in proptest::collection::vec((0u64..100_000, any::<u64>()), 0..100)) {
            let (mut supervisor, mut now) = (Supervisor::default(), 0);
            for (later, seed) in steps {
                now += later;
                supervisor.started(now);
                let restart = supervisor.failed(now, seed);
                prop_assert!((now + 50..=now + 30_000).contains(&restart.at_ms));
                prop_assert!(supervisor.recent.len() <= 5);
            }
        }
    }
}
