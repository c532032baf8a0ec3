//! The schedule of a run with its window, fixed before anything starts.

use std::time::Duration;

use crate::config::{Load, WindowLength};
use crate::schedule::Profile;

/// When everything is meant to leave, and what is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Intended times, nanoseconds from the start.
    pub(crate) times: Vec<u64>,
    /// Start of the window.
    pub(crate) window_start_ns: u64,
    /// End of the window.
    pub(crate) window_end_ns: u64,
    /// The rate is not constant.
    pub(crate) is_ramp: bool,
}

/// Plans a load; a trace has `trace_count` transactions and all of its time is the window.
pub(crate) fn plan(load: &Load, trace_count: Option<u64>) -> Plan {
    let warmup = load.pieces.first().map(|(ramp, _)| {
        let start = crate::units::Ramp {
            from: ramp.from,
            to: ramp.from,
        };
        (start, load.warmup)
    });
    let window_start_ns = nanoseconds(load.warmup);
    let count = match (load.window, trace_count) {
        (_, Some(count)) | (WindowLength::Count(count), None) => count,
        (WindowLength::Time(length), None) => {
            let pieces: Vec<_> = warmup.into_iter().chain(load.pieces.iter().copied()).collect();
            let profile = Profile::new(&pieces);
            return Plan {
                times: profile.times(load.arrival, load.seed, u32::MAX as usize),
                window_start_ns,
                window_end_ns: window_start_ns + nanoseconds(length),
                is_ramp: !Profile::new(&load.pieces).is_constant(),
            };
        }
    };
    let rate = load
        .pieces
        .first()
        .map_or(1.0, |(ramp, _)| ramp.from.per_second());
    // Random gaps may need more than the mean; twice as long until they fit.
    let mut length = Duration::from_secs_f64((count as f64 / rate * 1.2).clamp(0.001, 1e9));
    loop {
        let window = load.pieces.first().map(|(ramp, _)| (*ramp, length));
        let profile = Profile::new(&warmup.into_iter().chain(window).collect::<Vec<_>>());
        let mut times = profile.times(load.arrival, load.seed, u32::MAX as usize);
        let before = times.partition_point(|time| *time < window_start_ns);
        let wanted = before.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
        if times.len() >= wanted || times.len() == u32::MAX as usize {
            times.truncate(wanted);
            let last = times.last().copied().unwrap_or(window_start_ns);
            return Plan {
                times,
                window_start_ns,
                // One gap after the last, so that the rate is that of the schedule.
                window_end_ns: last + ((1e9 / rate) as u64).max(1),
                is_ramp: false,
            };
        }
        length *= 2;
    }
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::plan;
    use crate::config::{Load, Overload, WindowLength};
    use crate::schedule::Arrival;
    use crate::units::{Ramp, Rate};

    fn load(window: WindowLength, to: u64) -> Load {
        let rate = |per_second: u64| Rate {
            milli: per_second * 1000,
        };
        let length = match window {
            WindowLength::Time(length) => length,
            WindowLength::Count(_) => Duration::ZERO,
        };
        let ramp = Ramp {
            from: rate(1000),
            to: rate(to),
        };
        Load {
            pieces: vec![(ramp, length)],
            window,
            warmup: Duration::from_secs(2),
            drain: Duration::from_secs(1),
            arrival: Arrival::Uniform,
            overload: Overload::Queue,
            deadline: Duration::from_secs(1),
            in_flight_max: 1000,
            seed: 1,
        }
    }

    #[test]
    fn windows_by_time_and_by_count() {
        let timed = plan(&load(WindowLength::Time(Duration::from_secs(3)), 1000), None);
        assert_eq!(timed.times.len(), 5000);
        assert_eq!(
            (timed.window_start_ns, timed.window_end_ns),
            (2_000_000_000, 5_000_000_000)
        );
        assert!(!timed.is_ramp);
        let counted = plan(&load(WindowLength::Count(500), 1000), None);
        assert_eq!(counted.times.len(), 2500);
        assert_eq!(counted.window_end_ns, 2_500_000_000);
        let mut random = load(WindowLength::Count(500), 1000);
        random.arrival = Arrival::Poisson;
        let random = plan(&random, None);
        let inside = random
            .times
            .iter()
            .filter(|time| **time >= random.window_start_ns)
            .count();
        assert_eq!(inside, 500);
        assert!(random.times.last().expect("times") < &random.window_end_ns);
    }

    #[test]
    fn ramps_warm_up_at_their_first_rate_and_traces_at_none() {
        let ramp = plan(&load(WindowLength::Time(Duration::from_secs(4)), 3000), None);
        assert!(ramp.is_ramp);
        assert_eq!(ramp.times.len(), 2000 + 8000);
        let mut trace = load(WindowLength::Count(0), 1000);
        trace.warmup = Duration::ZERO;
        let trace = plan(&trace, Some(77));
        assert_eq!((trace.times.len(), trace.window_start_ns), (77, 0));
        assert_eq!(trace.window_end_ns, 77_000_000);
    }
}
