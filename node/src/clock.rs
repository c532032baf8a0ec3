//! The one clock of a process: UNIX time at its start plus monotonic time since, so that it never jumps.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use types::Time;
use types::time::Duration;

/// Clock handed to everything in the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_unix_ns: u64,
}

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            start: Instant::now(),
            start_unix_ns: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Nanoseconds since the UNIX epoch, never falling.
    pub(crate) fn now(&self) -> Time {
        Time(self.start_unix_ns) + self.start.elapsed()
    }

    /// How long until `time`; zero when it has passed.
    pub(crate) fn until(&self, time: Time) -> Duration {
        time.since(self.now())
    }
}
