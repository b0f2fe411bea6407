//! Random numbers that are the same in every run.

use crate::Time;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// At least 0 and less than 1.
    pub fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Between half and one and a half of `mean`.
    pub fn around(&mut self, mean: Time) -> Time {
        (mean as f64 * (0.5 + self.fraction())) as Time
    }

    /// The time until the next of events that come independently of one another, so many a second.
    pub fn until_next(&mut self, rate: f64) -> Time {
        (self.exponential() / rate * 1e9) as Time
    }

    /// Distributed exponentially with mean 1, after von Neumann: a logarithm may differ from one machine to another.
    fn exponential(&mut self) -> f64 {
        let mut whole = 0.0;
        loop {
            let first = self.fraction();
            let (mut last, mut falls) = (first, 0);
            loop {
                let next = self.fraction();
                if next >= last {
                    break;
                }
                (last, falls) = (next, falls + 1);
            }
            if falls % 2 == 0 {
                return whole + first;
            }
            whole += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_as_often_as_they_should_and_independently() {
        let mut random = Random::new(7);
        let gaps: Vec<f64> = (0..100_000).map(|_| random.exponential()).collect();
        let mean = gaps.iter().sum::<f64>() / 1e5;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
