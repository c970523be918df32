//! Numbers at random, the same for the same seed: SplitMix64 (Steele, Lea and Flood, 2014), which
//! passes the usual tests and takes a nanosecond.

use std::time::Duration;

/// A sequence of numbers at random.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end`, without `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let scaled = (u128::from(self.next()) * end as u128) >> 64;
        usize::try_from(scaled).expect("it is below `end`")
    }

    /// A time between two others.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let micros = usize::try_from(to.saturating_sub(from).as_micros()).unwrap_or(usize::MAX);
        from + Duration::from_micros(self.below(micros) as u64)
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn choose<'p, T>(&mut self, pool: &'p [T]) -> &'p T {
        &pool[self.below(pool.len())]
    }

    /// A number between 0 and 1, without both.
    pub(super) fn unit(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).expect("32 bits are left");
        (f64::from(bits) + 0.5) / 4_294_967_296.0
    }

    /// Exponentially distributed around the mean 1: the time between independent events.
    pub(super) fn exponential(&mut self) -> f64 {
        -self.unit().ln()
    }

    /// Normally distributed around 0 with the deviation 1 (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A member of `pool`, the first ones far more often than the last, yet each now and then.
    pub(super) fn choose_popular<'p, T>(&mut self, pool: &'p [T]) -> &'p T {
        if self.below(10) < 3 {
            return self.choose(pool);
        }
        let rank = whole(self.unit().powf(-1.0 / 0.9)) - 1;
        &pool[usize::try_from(rank).map_or(pool.len() - 1, |rank| rank.min(pool.len() - 1))]
    }
}

/// The integer part.
#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
pub(super) fn whole(number: f64) -> i64 {
    number as i64
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
