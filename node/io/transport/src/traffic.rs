//! Bytes on the wire, for the cost figures.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, PoisonError};

/// UDP payload bytes and datagrams since an endpoint started, all its connections together,
/// acknowledgements and retransmissions included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes handed to the socket.
    pub sent_bytes: u64,
    /// Bytes received and attributed to a connection.
    pub received_bytes: u64,
    /// Datagrams handed to the socket.
    pub sent_datagrams: u64,
    /// Datagrams received and attributed to a connection.
    pub received_datagrams: u64,
    /// Packets considered lost.
    pub lost_packets: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.sent_datagrams += other.sent_datagrams;
        self.received_datagrams += other.received_datagrams;
        self.lost_packets += other.lost_packets;
    }
}

impl From<&quinn::Connection> for Traffic {
    fn from(connection: &quinn::Connection) -> Self {
        let stats = connection.stats();
        Self {
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            sent_datagrams: stats.udp_tx.datagrams,
            received_datagrams: stats.udp_rx.datagrams,
            lost_packets: stats.path.lost_packets,
        }
    }
}

/// Sums the traffic of an endpoint's connections, living and ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrafficMeter(Arc<Mutex<Totals>>);

#[derive(Debug, Default)]
struct Totals {
    ended: Traffic,
    living: BTreeMap<usize, quinn::Connection>,
}

impl TrafficMeter {
    /// Counts `connection` until the returned guard is dropped, and its final figures for ever.
    pub(crate) fn count(&self, connection: &quinn::Connection) -> TrafficGuard {
        let id = connection.stable_id();
        self.totals().living.insert(id, connection.clone());
        TrafficGuard {
            meter: self.clone(),
            id,
        }
    }

    pub(crate) fn total(&self) -> Traffic {
        let totals = self.totals();
        let mut sum = totals.ended;
        for connection in totals.living.values() {
            sum += connection.into();
        }
        sum
    }

    fn totals(&self) -> std::sync::MutexGuard<'_, Totals> {
        // The figures stay usable after a panic elsewhere: every update is one statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves a connection's figures to the ended ones when dropped.
#[derive(Debug)]
pub(crate) struct TrafficGuard {
    meter: TrafficMeter,
    id: usize,
}

impl Drop for TrafficGuard {
    fn drop(&mut self) {
        let mut totals = self.meter.totals();
        if let Some(connection) = totals.living.remove(&self.id) {
            totals.ended += (&connection).into();
        }
    }
}
