//! Clocks of nodes: what a replica takes for the time.
//!
//! A process reads the wall clock once, at its start, and goes on from there with a monotonic clock. So within a
//! life a node's time never falls; it may be far from everybody else's, run too fast or too slow, and be another
//! one after a restart.

use types::Time;
use types::time::Duration;

/// Where the right wall clock stands when a run begins: far enough from zero that a clock may be behind.
pub const WALL_START: Time = Time(1_700_000_000_000_000_000);
/// A rate of one.
const EXACT: u64 = 1000;

/// One life's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The world's time when the clock was read, and what it said.
    read_at: Time,
    said: Time,
    /// Thousandths of a second that pass here in a second of the world.
    rate: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            read_at: Time(0),
            said: WALL_START,
            rate: EXACT,
        }
    }
}

impl Clock {
    /// A clock that is read now, is `ahead` nanoseconds ahead of the right one and runs at `rate` thousandths.
    #[must_use]
    pub fn new(now: Time, ahead: i64, rate: u64) -> Self {
        let right = WALL_START + now.since(Time(0));
        Self {
            read_at: now,
            said: Time(right.0.saturating_add_signed(ahead)),
            rate: rate.max(1),
        }
    }

    /// What this clock says at a time of the world.
    #[must_use]
    pub fn at(&self, world: Time) -> Time {
        let passed = u128::from(world.0.saturating_sub(self.read_at.0)) * u128::from(self.rate);
        self.said + Duration::from_nanos((passed / u128::from(EXACT)) as u64)
    }

    /// First time of the world at which this clock says `local` or more.
    #[must_use]
    pub fn world(&self, local: Time) -> Time {
        let ahead = u128::from(local.0.saturating_sub(self.said.0)) * u128::from(EXACT);
        let passed = u64::try_from(ahead.div_ceil(u128::from(self.rate))).unwrap_or(u64::MAX);
        Time(self.read_at.0.saturating_add(passed))
    }
}

#[cfg(test)]
mod tests {
    use types::Time;

    use super::{Clock, WALL_START};

    #[test]
    fn a_timer_is_due_at_the_first_moment_that_the_clock_shows_it() {
        for rate in [500, 777, 1000, 1999, 2000] {
            for ahead in [-3_600_000_000_000, -1, 0, 7, 3_600_000_000_000] {
                let clock = Clock::new(Time(12_345), ahead, rate);
                for wanted in [1, 999, 123_456_789] {
                    let local = Time(clock.at(Time(12_345)).0 + wanted);
                    let due = clock.world(local);
                    assert!(clock.at(due) >= local, "rate {rate}");
                    assert!(clock.at(Time(due.0 - 1)) < local, "rate {rate}");
                }
            }
        }
    }

    #[test]
    fn an_exact_clock_shows_the_world() {
        let clock = Clock::new(Time(5), 0, 1000);
        assert_eq!(clock.at(Time(1_005)).0, WALL_START.0 + 1_005);
        assert_eq!(clock.at(Time(1_005)), Clock::default().at(Time(1_005)));
    }
}
