//! Numbers that follow from a seed: `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom
//! Number Generators, 2014). Small, and the same on every machine. Nothing secret may hang on them.

/// Between two states of one sequence.
pub const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The first number of a seed. The next one is that of `seed + STEP`.
#[must_use]
pub fn first(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(STEP);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A sequence.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        let number = first(self.0);
        self.0 = self.0.wrapping_add(STEP);
        number
    }

    /// The next number, below the bound; 0 when that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number().checked_rem(bound).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_reference() {
        // The first three of the authors' program, seed 1234567.
        let mut numbers = Seeded::new(1_234_567);
        let three: Vec<u64> = (0..3).map(|_| numbers.number()).collect();
        assert_eq!(three, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        assert_eq!(Seeded::new(1).below(0), 0);
    }
}
