//! How long an actor's calls take: 99 of 100 are faster than what this says. Counted at every call, so
//! it is two atomic adds and no lock.
//!
//! Counts lie in buckets a quarter of a power of two wide, in two windows of [`WINDOW_S`] that take
//! turns: what is said is about the last one or two windows, at most a quarter too much. Calls that
//! end just while a window begins may be lost or counted twice; nothing depends on one call.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// Length of one window, seconds.
const WINDOW_S: u64 = 15;
/// Four for each power of two of microseconds, up to 2^32 (71 minutes).
const BUCKETS: usize = 4 * 33;

#[derive(Debug)]
pub(super) struct Latency {
    began: Instant,
    /// Which window the last call fell into, from 1; 0 before the first.
    window: AtomicU64,
    counts: [[AtomicU32; BUCKETS]; 2],
}

impl Default for Latency {
    fn default() -> Self {
        let counts = std::array::from_fn(|_| std::array::from_fn(|_| AtomicU32::new(0)));
        Self { began: Instant::now(), window: AtomicU64::new(0), counts }
    }
}

impl Latency {
    /// A call that began then ends now.
    pub(super) fn count(&self, call_began: Instant) {
        let now = Instant::now();
        let took_us = now.saturating_duration_since(call_began).as_micros();
        let seconds = now.saturating_duration_since(self.began).as_secs();
        self.add(seconds, u64::try_from(took_us).unwrap_or(u64::MAX));
    }

    fn add(&self, seconds: u64, took_us: u64) {
        let window = seconds / WINDOW_S + 1;
        let before = self.window.load(Ordering::Relaxed);
        if before < window
            && self.window.compare_exchange(before, window, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.clear(window);
            // A window in which nothing was called leaves nothing behind either.
            if before + 1 < window {
                self.clear(window + 1);
            }
        }
        if let Some(count) = self.counts_of(window).get(bucket(took_us)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts_of(&self, window: u64) -> &[AtomicU32; BUCKETS] {
        let [even, odd] = &self.counts;
        if window.is_multiple_of(2) { even } else { odd }
    }

    fn clear(&self, window: u64) {
        self.counts_of(window).iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// The latency that 99 of 100 calls lately stayed below, milliseconds, at least 1; none when there
    /// was no call.
    pub(super) fn p99_ms(&self) -> Option<u32> {
        self.read(self.began.elapsed().as_secs())
    }

    fn read(&self, seconds: u64) -> Option<u32> {
        let (now, last) = (seconds / WINDOW_S + 1, self.window.load(Ordering::Relaxed));
        let windows: &[u64] = match now.saturating_sub(last) {
            0 => &[0, 1],
            1 => &[0],
            _ => &[],
        };
        let mut sums = [0u64; BUCKETS];
        for back in windows {
            for (sum, count) in sums.iter_mut().zip(self.counts_of(last.saturating_sub(*back))) {
                *sum += u64::from(count.load(Ordering::Relaxed));
            }
        }
        let all: u64 = sums.iter().sum();
        let mut slower = all / 100;
        let found = sums.iter().enumerate().rev().find(|(_, count)| {
            let is_it = slower < **count;
            slower = slower.saturating_sub(**count);
            is_it
        });
        let (index, _) = found?;
        let ms = upper_us(index).div_ceil(1_000).max(1);
        Some(u32::try_from(ms).unwrap_or(u32::MAX))
    }
}

/// Which bucket a duration falls into: two bits after the leading one.
fn bucket(us: u64) -> usize {
    let us = us.clamp(1, u64::from(u32::MAX));
    let power = us.ilog2();
    let quarter = if power >= 2 { us >> (power - 2) } else { us << (2 - power) } & 3;
    usize::try_from(u64::from(power) * 4 + quarter).unwrap_or(BUCKETS)
}

/// The longest duration of a bucket, microseconds.
fn upper_us(bucket: usize) -> u64 {
    let (power, quarter) = (bucket / 4, u64::try_from(bucket % 4).unwrap_or(0));
    ((1u64 << power) * (5 + quarter)).div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_at_most_a_quarter_too_much() {
        for us in [1, 2, 3, 4, 5, 7, 8, 9, 99, 1_000, 123_456, 10_000_000, u64::from(u32::MAX)] {
            let upper = upper_us(bucket(us));
            assert!(upper >= us && upper <= us + us / 4 + 1, "{us} {upper}");
        }
        assert!(bucket(u64::MAX) < BUCKETS && bucket(0) == 0);
    }

    #[test]
    fn one_in_a_hundred_may_be_slower() {
        let latency = Latency::default();
        assert_eq!(latency.read(0), None);
        (0..990).for_each(|_| latency.add(1, 2_000));
        (0..9).for_each(|_| latency.add(2, 500_000));
        assert_eq!(latency.read(3), Some(3), "nine of a thousand are slower");
        (0..2).for_each(|_| latency.add(3, 500_000));
        assert!(latency.read(3).unwrap() >= 500);
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let latency = Latency::default();
        latency.add(1, 900_000);
        assert!(latency.read(WINDOW_S + 1).unwrap() >= 900, "the window before counts");
        assert_eq!(latency.read(2 * WINDOW_S), None, "and not the one before that");
        latency.add(2 * WINDOW_S, 1_000);
        assert_eq!(latency.read(2 * WINDOW_S), Some(2));
        latency.add(3 * WINDOW_S, 900_000);
        assert!(latency.read(3 * WINDOW_S).unwrap() >= 900);
        latency.add(4 * WINDOW_S, 1_000);
        latency.add(5 * WINDOW_S, 1_000);
        assert_eq!(latency.read(5 * WINDOW_S), Some(2));
    }
}
