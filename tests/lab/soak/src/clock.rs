//! The server's clock, which may run faster than the true one.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use sessiond_support::process;
use tokio::process::Command;

/// A day.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a server takes for the time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    begun: Instant,
    /// Milliseconds since 1970 when it began.
    at: i64,
    /// Seconds that pass on it in one true second.
    pub speed: f64,
}

impl Clock {
    /// The true one.
    pub fn true_one() -> Result<Self> {
        Self::beginning(Duration::ZERO, 1.0)
    }

    /// One that begins a day in the past and is right again after so long.
    pub fn day_in(length: Duration) -> Result<Self> {
        let behind = DAY - length;
        Self::beginning(behind, 1.0 + behind.as_secs_f64() / length.as_secs_f64())
    }

    fn beginning(behind: Duration, speed: f64) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)? - behind;
        Ok(Self { begun: Instant::now(), at: i64::try_from(now.as_millis())?, speed })
    }

    /// Gives a command this clock.
    pub fn give(&self, command: &mut Command) -> Result<()> {
        if self.speed > 1.0 {
            let behind = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() - self.now() as f64 / 1e3;
            process::set_clock(command, &format!("-{behind:.3} x{:.6}", self.speed))?;
        }
        Ok(())
    }

    /// What it shows now, in milliseconds since 1970.
    pub fn now(&self) -> i64 {
        self.at + self.passed(self.begun.elapsed()).as_millis() as i64
    }

    /// Since it began, as it shows.
    pub fn since_begin(&self) -> Duration {
        self.passed(self.begun.elapsed())
    }

    /// How long a true span is on it.
    pub fn passed(&self, span: Duration) -> Duration {
        span.mul_f64(self.speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_days_clock_is_right_again_when_its_time_is_over() -> Result<()> {
        let length = Duration::from_secs(1200);
        let clock = Clock::day_in(length)?;
        assert_eq!(clock.passed(length), DAY);
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let behind = now - clock.now();
        let expected = i64::try_from((DAY - length).as_millis())?;
        assert!((behind - expected).abs() < 60_000, "{behind}");
        assert_eq!(Clock::true_one()?.passed(length), length);
        Ok(())
    }
}
