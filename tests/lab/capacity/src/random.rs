//! Random spans of time, the same in every run.

use sessiond_support::random::Random;

use crate::Time;

/// Between half and one and a half of `mean`.
pub fn around(random: &mut Random, mean: Time) -> Time {
    (mean as f64 * (0.5 + random.fraction())) as Time
}

/// The time until the next of events that come independently of one another, so many a second.
pub fn until_next(random: &mut Random, rate: f64) -> Time {
    (exponential(random) / rate * 1e9) as Time
}

/// Distributed exponentially with mean 1, after von Neumann: a logarithm may differ from one machine to another.
fn exponential(random: &mut Random) -> f64 {
    let mut whole = 0.0;
    loop {
        let first = random.fraction();
        let (mut last, mut falls) = (first, 0);
        loop {
            let next = random.fraction();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_as_often_as_they_should_and_independently() {
        let mut random = Random::seeded(7);
        let gaps: Vec<f64> = (0..100_000).map(|_| exponential(&mut random)).collect();
        let mean = gaps.iter().sum::<f64>() / 1e5;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
