//! The clock of a run: nanoseconds since its start, and sleeping to an absolute time.

use std::time::{Duration, Instant};

/// Priority of the pacer where it may be raised.
#[cfg(target_os = "linux")]
const PACER_NICE: i32 = -10;

/// Time as the pacer sees it.
pub trait Clock {
    /// Nanoseconds since the start of the run; 0 before it.
    fn now_ns(&self) -> u64;
    /// Returns at this time or later; at once when it is past.
    fn sleep_until(&self, at_ns: u64);
}

/// The monotonic clock of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
    /// The start on the clock that sleeping takes absolute times of.
    #[cfg(target_os = "linux")]
    start_raw_ns: u64,
}

impl RunClock {
    /// A run that starts this long from now.
    #[must_use]
    pub fn starting_in(delay: Duration) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            start_raw_ns: monotonic_ns() + u64::try_from(delay.as_nanos()).unwrap_or(0),
            start: Instant::now() + delay,
        }
    }

    /// The start.
    #[must_use]
    pub const fn start(&self) -> Instant {
        self.start
    }

    /// Nanoseconds from the start to an instant; 0 before it.
    #[must_use]
    pub fn at(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Lets this thread wake without the slack of 50 us that the kernel adds by default, and before others where
    /// that is permitted.
    pub fn tighten_this_thread() {
        #[cfg(target_os = "linux")]
        {
            // Refused only by a sandbox; the run then shows a larger lag.
            let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
            // On Linux the calling thread alone; needs CAP_SYS_NICE.
            let _ = rustix::process::setpriority_process(None, PACER_NICE);
        }
    }
}

impl Clock for RunClock {
    fn now_ns(&self) -> u64 {
        self.at(Instant::now())
    }

    #[cfg(target_os = "linux")]
    fn sleep_until(&self, at_ns: u64) {
        let target = self.start_raw_ns.saturating_add(at_ns);
        let request = rustix::thread::Timespec {
            tv_sec: i64::try_from(target / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (target % 1_000_000_000) as _,
        };
        // A signal ends the sleep early: the caller looks at the clock anyway.
        let _ = rustix::thread::clock_nanosleep_absolute(rustix::thread::ClockId::Monotonic, &request);
    }

    #[cfg(not(target_os = "linux"))]
    fn sleep_until(&self, at_ns: u64) {
        let until = self.start + Duration::from_nanos(at_ns);
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

/// `Instant` is this clock on Linux.
#[cfg(target_os = "linux")]
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
