//! Hybrid logical clock (Kulkarni and others, 2014): wall time that never goes back, with a counter
//! for what happens within one millisecond. A commit's time is later than that of every commit of
//! the shard before it, whatever the machine's clock does.

use std::fmt;

/// How far ahead of this machine's clock another's may be before it is not believed, milliseconds.
pub const MAX_DRIFT_MS: u64 = 60_000;

/// A time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc {
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// Which event within that millisecond.
    pub counter: u32,
}

/// A time so far ahead that to follow it would spoil this clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time {ahead_ms} ms ahead of this host's clock (limit {MAX_DRIFT_MS} ms)")]
pub struct FarFuture {
    /// How far.
    pub ahead_ms: u64,
}

impl Hlc {
    /// The next time after this one, at this wall time.
    #[must_use]
    pub fn tick(self, unix_ms: u64) -> Self {
        if unix_ms > self.wall_ms {
            return Self { wall_ms: unix_ms, counter: 0 };
        }
        match self.counter.checked_add(1) {
            Some(counter) => Self { wall_ms: self.wall_ms, counter },
            None => Self { wall_ms: self.wall_ms.saturating_add(1), counter: 0 },
        }
    }

    /// The later of the two, so that what follows is later than both.
    ///
    /// # Errors
    /// [`FarFuture`]: this clock stays as it is.
    pub fn observe(self, other: Self, unix_ms: u64) -> Result<Self, FarFuture> {
        let ahead_ms = other.wall_ms.saturating_sub(unix_ms);
        if ahead_ms > MAX_DRIFT_MS { Err(FarFuture { ahead_ms }) } else { Ok(self.max(other)) }
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.wall_ms, self.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_from_the_far_future_is_not_followed() {
        let mine = Hlc { wall_ms: 1_000, counter: 3 };
        let near = Hlc { wall_ms: 1_000 + MAX_DRIFT_MS, counter: 0 };
        assert_eq!(mine.observe(near, 1_000), Ok(near));
        let far = Hlc { wall_ms: near.wall_ms + 1, counter: 0 };
        assert_eq!(mine.observe(far, 1_000), Err(FarFuture { ahead_ms: MAX_DRIFT_MS + 1 }));
        assert_eq!(Hlc { wall_ms: 5, counter: u32::MAX }.tick(1), Hlc { wall_ms: 6, counter: 0 });
    }

    proptest! {
        #[test]
        fn each_tick_is_later_whatever_the_clock_does(walls in proptest::collection::vec(0u64..50, 1..50)) {
            let mut time = Hlc::default();
            for wall in walls {
                let next = time.tick(wall);
                prop_assert!(next > time);
                time = next;
            }
        }
    }
}
