//! Time behind a trait, so that what depends on it can be tested without waiting.
//!
//! Monotonic time counts from an arbitrary start and never goes back: use it for leases, timeouts
//! and liveness. Wall time may jump: use it only for what people read and for claims.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time.
pub trait Clock: Send + Sync {
    /// Time since an arbitrary start; never goes back.
    fn monotonic(&self) -> Duration;
    /// Milliseconds since 1970, UTC; may jump either way.
    fn unix_ms(&self) -> u64;

    /// [`Clock::monotonic`] in whole milliseconds, as the pure crates take it.
    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.monotonic().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Monotonic time counts from now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
    fn unix_ms(&self) -> u64 {
        // Before 1970 counts as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands until it is told to move.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<(Duration, u64)>,
}

impl ManualClock {
    /// Monotonic zero, at this wall time.
    #[must_use]
    pub fn new(unix_ms: u64) -> Self {
        Self { now: Mutex::new((Duration::ZERO, unix_ms)) }
    }
    fn with<T>(&self, change: impl FnOnce(&mut (Duration, u64)) -> T) -> T {
        // Two numbers cannot be left half-changed by a panic.
        change(&mut self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        self.with(|(monotonic, unix_ms)| {
            *monotonic = monotonic.saturating_add(by);
            *unix_ms = unix_ms.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
        });
    }
    /// Makes the wall clock jump, as NTP or a dead battery does.
    pub fn set_unix_ms(&self, to: u64) {
        self.with(|(_, unix_ms)| *unix_ms = to);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        self.with(|(monotonic, _)| *monotonic)
    }
    fn unix_ms(&self) -> u64 {
        self.with(|(_, unix_ms)| *unix_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_jump_does_not_move_monotonic_time() {
        let clock = ManualClock::new(1_000);
        clock.advance(Duration::from_millis(250));
        clock.set_unix_ms(5);
        assert_eq!((clock.monotonic_ms(), clock.unix_ms()), (250, 5));
    }

    #[test]
    fn the_system_clock_moves_forward() {
        let clock = SystemClock::new();
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before);
        assert!(clock.unix_ms() > 1_700_000_000_000);
    }
}
