//! What the store thread counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use blocklog::Durability;

/// Latencies kept for the percentiles: the last ones.
const SAMPLES: usize = 4096;

/// Counters since the store was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// What a durable sequence means here; a report that measured `Async` says so.
    pub durability: Durability,
    /// Calls of `fdatasync` on the log.
    pub fsyncs: u64,
    /// Median of the last 4096 of them, microseconds.
    pub fsync_us_p50: u64,
    /// 99th percentile of the last 4096 of them, microseconds.
    pub fsync_us_p99: u64,
    /// Persist commands that were written.
    pub persists: u64,
    /// Records that were written.
    pub records: u64,
    /// Bytes appended to the log.
    pub log_bytes: u64,
    /// Batches written to the state.
    pub state_writes: u64,
    /// Outputs created or deleted in the state.
    pub outputs_written: u64,
    /// Outputs that were created and spent before they were written.
    pub outputs_annihilated: u64,
    /// Height of the state, as written.
    pub state_height: u64,
    /// Commands that wait.
    pub queue_depth: u64,
}

/// Counters shared between the thread and its handles.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) persists: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) state_writes: AtomicU64,
    pub(crate) outputs_written: AtomicU64,
    pub(crate) outputs_annihilated: AtomicU64,
    pub(crate) state_height: AtomicU64,
    fsyncs: Mutex<Latencies>,
}

#[derive(Debug, Default)]
struct Latencies {
    count: u64,
    last_us: Vec<u64>,
}

impl Counters {
    pub(crate) fn fsync(&self, took: Duration) {
        let mut latencies = self.fsyncs.lock().unwrap_or_else(PoisonError::into_inner);
        let place = latencies.count as usize % SAMPLES;
        latencies.count += 1;
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        match latencies.last_us.get_mut(place) {
            Some(slot) => *slot = took_us,
            None => latencies.last_us.push(took_us),
        }
    }

    pub(crate) fn snapshot(&self, durability: Durability, queue_depth: u64) -> StoreStats {
        let (fsyncs, mut sorted) = {
            let latencies = self.fsyncs.lock().unwrap_or_else(PoisonError::into_inner);
            (latencies.count, latencies.last_us.clone())
        };
        sorted.sort_unstable();
        let percentile = |hundredths: usize| {
            let place = (sorted.len() * hundredths / 100).min(sorted.len().saturating_sub(1));
            sorted.get(place).copied().unwrap_or_default()
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStats {
            durability,
            fsyncs,
            fsync_us_p50: percentile(50),
            fsync_us_p99: percentile(99),
            persists: read(&self.persists),
            records: read(&self.records),
            log_bytes: read(&self.log_bytes),
            state_writes: read(&self.state_writes),
            outputs_written: read(&self.outputs_written),
            outputs_annihilated: read(&self.outputs_annihilated),
            state_height: read(&self.state_height),
            queue_depth,
        }
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use blocklog::Durability;

    use super::Counters;

    #[test]
    fn percentiles_are_of_the_last_samples() {
        let counters = Counters::default();
        assert_eq!(counters.snapshot(Durability::Fsync, 0).fsync_us_p50, 0);
        (0..4096).for_each(|_| counters.fsync(Duration::from_secs(1)));
        (1..=4096).for_each(|us| counters.fsync(Duration::from_micros(us)));
        let stats = counters.snapshot(Durability::Async, 3);
        assert_eq!(
            (stats.fsyncs, stats.fsync_us_p50, stats.fsync_us_p99),
            (8192, 2049, 4056)
        );
        assert_eq!((stats.durability, stats.queue_depth), (Durability::Async, 3));
    }
}
