//! Numbers at random, the same for the same seed: what a run did can be done again.

use std::time::Duration;

/// A sequence of numbers at random: SplitMix64 (Steele, Lea and Flood, 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end`, without `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let scaled = (u128::from(self.next()) * end as u128) >> 64;
        usize::try_from(scaled).unwrap_or_default()
    }

    /// A time between two others.
    pub(super) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let micros = usize::try_from(to.saturating_sub(from).as_micros()).unwrap_or(usize::MAX);
        from + Duration::from_micros(self.below(micros) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            let (from, to) = (Duration::from_millis(2), Duration::from_millis(3));
            (random.below(1_000), random.between(from, to), random.below(1_000))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!((2_000..3_000).contains(&draw(7).1.as_micros()));
    }
}
