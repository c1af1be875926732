//! Spreading pauses, so that many who failed together do not come back together. Deterministic:
//! the seed is the caller's.

/// A pause between half of `delay_ms` and all of it, chosen by the seed.
pub(crate) fn spread(delay_ms: u64, seed: u64) -> u64 {
    let half = delay_ms / 2;
    let room = delay_ms - half;
    half + mix(seed) % room.saturating_add(1)
}

/// One step of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
fn mix(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// `base_ms` doubled with each step after the first, at most `most_ms`.
pub(crate) fn doubled(base_ms: u64, step: u32, most_ms: u64) -> u64 {
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
