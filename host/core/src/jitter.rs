//! Spreading pauses, so that many who failed together do not come back together. Deterministic:
//! the seed is the caller's.

use lattice_protocol::seeded;

/// A pause between half of `delay_ms` and all of it, chosen by the seed.
#[must_use]
pub fn spread(delay_ms: u64, seed: u64) -> u64 {
    let half = delay_ms / 2;
    let room = delay_ms - half;
    half + seeded::first(seed) % room.saturating_add(1)
}

/// `base_ms` doubled with each step after the first, at most `most_ms`.
#[must_use]
pub fn doubled(base_ms: u64, step: u32, most_ms: u64) -> u64 {
    let factor = 1u64.checked_shl(step.saturating_sub(1)).unwrap_or(u64::MAX);
    base_ms.saturating_mul(factor).min(most_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubling_begins_with_the_base_and_ends_at_the_most() {
        assert_eq!([1, 2, 3, 4, 5].map(|step| doubled(100, step, 1_000)), [100, 200, 400, 800, 1_000]);
        assert_eq!(doubled(100, u32::MAX, 1_000), 1_000);
    }

    proptest! {
        #[test]
        fn a_pause_stays_between_half_and_all(delay in any::<u64>(), seed in any::<u64>()) {
            let pause = spread(delay, seed);
            prop_assert!(pause >= delay / 2 && pause <= delay);
        }
    }
}
