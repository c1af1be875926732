//! Is an attempt at a call repeated, and when? Only what is safe (DESIGN §4): always when the
//! target cannot have received it, afterwards only what may be done twice. Pauses double, are
//! jittered, and never reach past the call's deadline.

use crate::jitter;
use lattice_protocol::{CallPolicy, ErrorCode};

/// How often and how patiently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Patience per attempt, milliseconds.
    pub timeout_ms: u64,
    /// Further attempts after the first.
    pub retries: u32,
    /// Pause before the second attempt, milliseconds; doubles with each further one.
    pub delay_ms: u64,
    /// The link says that its target may be called twice.
    pub idempotent: bool,
}

impl From<&CallPolicy> for RetryPolicy {
    fn from(policy: &CallPolicy) -> Self {
        Self {
            timeout_ms: policy.timeout_ms,
            retries: policy.retries,
            delay_ms: policy.retry_delay_ms,
            idempotent: policy.idempotent,
        }
    }
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The target cannot have received it: nobody there, or refused before it began.
    Unsent,
    /// The target may have received it, and may have acted on it.
    Sent,
}

impl Outcome {
    /// What a code says about the attempt; `None` when the target has answered and another
    /// attempt would be answered in the same way. The code must be about this attempt's own
    /// target; one that the target passes on from something behind it says nothing here.
    #[must_use]
    pub fn of(code: ErrorCode) -> Option<Self> {
        match code {
            ErrorCode::Connection | ErrorCode::Overloaded => Some(Self::Unsent),
            ErrorCode::Timeout | ErrorCode::Provider | ErrorCode::Io => Some(Self::Sent),
            _ => None,
        }
    }
}

/// The attempt that has just failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Which one; the first is 1.
    pub number: u32,
    /// How it failed.
    pub outcome: Outcome,
    /// The operation itself may be done twice (GET, exists, set, …).
    pub idempotent: bool,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Try again after this pause, milliseconds.
    After(u64),
    /// Give the error to the caller.
    GiveUp,
}

impl RetryPolicy {
    /// Whether to try again after this attempt. `deadline_ms` is the caller's, on the clock of
    /// `now_ms`; a pause that would reach it is not begun.
    #[must_use]
    pub fn next(&self, attempt: Attempt, now_ms: u64, deadline_ms: u64, jitter_seed: u64) -> Retry {
        let safe = attempt.outcome == Outcome::Unsent || attempt.idempotent || self.idempotent;
        if !safe || attempt.number > self.retries {
            return Retry::GiveUp;
        }
        let longest = jitter::doubled(self.delay_ms, attempt.number, CallPolicy::MAX_RETRY_DELAY_MS);
        let pause = jitter::spread(longest, jitter_seed.wrapping_add(u64::from(attempt.number)));
        if now_ms.saturating_add(pause) >= deadline_ms { Retry::GiveUp } else { Retry::After(pause) }
    }

    /// Patience for an attempt that begins now: the link's, but never past the deadline. 0 means
    /// that there is no time left.
    #[must_use]
    pub fn attempt_timeout_ms(&self, now_ms: u64, deadline_ms: u64) -> u64 {
        self.timeout_ms.min(deadline_ms.saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FAR: u64 = u64::MAX;
    const POLICY: RetryPolicy =
        RetryPolicy { timeout_ms: 5_000, retries: 3, delay_ms: 1_000, idempotent: false };

    fn failed(number: u32, outcome: Outcome, idempotent: bool) -> Attempt {
        Attempt { number, outcome, idempotent }
    }

    #[test]
    fn what_may_have_arrived_is_repeated_only_when_it_may_be_done_twice() {
        let next = |policy: RetryPolicy, outcome, idempotent| {
            policy.next(failed(1, outcome, idempotent), 0, FAR, 0) != Retry::GiveUp
        };
        assert!(next(POLICY, Outcome::Unsent, false));
        assert!(!next(POLICY, Outcome::Sent, false));
        assert!(next(POLICY, Outcome::Sent, true));
        assert!(next(RetryPolicy { idempotent: true, ..POLICY }, Outcome::Sent, false));
    }

    #[test]
    fn three_retries_are_four_attempts() {
        let next = |number| POLICY.next(failed(number, Outcome::Unsent, false), 0, FAR, 0);
        assert!((1..=3).all(|number| next(number) != Retry::GiveUp));
        assert_eq!(next(4), Retry::GiveUp);
    }

    #[test]
    fn an_answer_is_not_a_failure_to_repeat() {
        assert_eq!(Outcome::of(ErrorCode::Guest), None);
        assert_eq!(Outcome::of(ErrorCode::CapabilityDenied), None);
        assert_eq!(Outcome::of(ErrorCode::Trap), None);
        assert_eq!(Outcome::of(ErrorCode::Connection), Some(Outcome::Unsent));
        assert_eq!(Outcome::of(ErrorCode::Timeout), Some(Outcome::Sent));
    }

    #[test]
    fn the_last_attempt_gets_what_is_left() {
        assert_eq!(POLICY.attempt_timeout_ms(1_000, 10_000), 5_000);
        assert_eq!(POLICY.attempt_timeout_ms(9_000, 10_000), 1_000);
        assert_eq!(POLICY.attempt_timeout_ms(11_000, 10_000), 0);
    }

    proptest! {
        /// Each pause lies between half and all of the doubled delay, and ends before the deadline.
        #[test]
        fn pauses_double_and_stay_before_the_deadline(
            number in 1u32..=3, now in 0u64..1_000_000, left in 0u64..20_000, seed in any::<u64>(),
        ) {
            let longest = 1_000 << (number - 1);
            match POLICY.next(failed(number, Outcome::Unsent, false), now, now + left, seed) {
                Retry::After(pause) => {
                    prop_assert!((longest / 2..=longest).contains(&pause));
                    prop_assert!(pause < left);
                }
                Retry::GiveUp => prop_assert!(left <= longest),
            }
        }
    }
}
