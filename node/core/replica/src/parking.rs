//! Transactions that wait for an input which does not exist yet (`ios` 7.4).

use std::collections::BTreeMap;

use types::limits::{PARKED_BYTES_MAX, PARKED_TXS_MAX};
use types::time::Duration;
use types::{ConnectionId, OutPoint, Time, TxId};

use crate::event::Admission;

#[derive(Debug)]
struct Parked {
    admission: Admission,
    missing: OutPoint,
    since: Time,
}

/// Parked transactions, by arrival and by the first missing input.
///
/// Bounds: `PARKED_TXS_MAX` transactions and `PARKED_BYTES_MAX` bytes; beyond, the oldest of the connection with
/// most parked is evicted.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    by_arrival: BTreeMap<u64, Parked>,
    by_outpoint: BTreeMap<OutPoint, Vec<u64>>,
    by_connection: BTreeMap<ConnectionId, u32>,
    bytes: usize,
    arrivals: u64,
}

impl Parking {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_arrival.is_empty()
    }

    /// Parks a transaction; returns those that had to make room.
    pub(crate) fn park(&mut self, now: Time, admission: Admission, missing: OutPoint) -> Vec<Admission> {
        let mut evicted = Vec::new();
        while self.by_arrival.len() >= PARKED_TXS_MAX || self.bytes + admission.bytes.len() > PARKED_BYTES_MAX
        {
            let Some(oldest) = self.evict() else { break };
            evicted.push(oldest);
        }
        self.arrivals += 1;
        self.bytes += admission.bytes.len();
        *self.by_connection.entry(admission.connection).or_default() += 1;
        self.by_outpoint.entry(missing).or_default().push(self.arrivals);
        self.by_arrival.insert(
            self.arrivals,
            Parked {
                admission,
                missing,
                since: now,
            },
        );
        evicted
    }

    fn evict(&mut self) -> Option<Admission> {
        let (connection, _) = self.by_connection.iter().max_by_key(|(_, count)| **count)?;
        let connection = *connection;
        let oldest = self
            .by_arrival
            .iter()
            .find(|(_, parked)| parked.admission.connection == connection)?;
        self.remove(*oldest.0)
    }

    fn remove(&mut self, arrival: u64) -> Option<Admission> {
        let parked = self.by_arrival.remove(&arrival)?;
        self.bytes -= parked.admission.bytes.len();
        if let Some(waiting) = self.by_outpoint.get_mut(&parked.missing) {
            waiting.retain(|other| *other != arrival);
            if waiting.is_empty() {
                self.by_outpoint.remove(&parked.missing);
            }
        }
        let connection = parked.admission.connection;
        if let Some(count) = self.by_connection.get_mut(&connection) {
            *count -= 1;
            if *count == 0 {
                self.by_connection.remove(&connection);
            }
        }
        Some(parked.admission)
    }

    /// Takes out what waits for an output that exists now.
    pub(crate) fn wake(&mut self, outpoint: &OutPoint) -> Vec<Admission> {
        let waiting = self.by_outpoint.get(outpoint).cloned().unwrap_or_default();
        waiting
            .into_iter()
            .filter_map(|arrival| self.remove(arrival))
            .collect()
    }

    /// Takes out what waits for any output of a transaction.
    pub(crate) fn wake_children(&mut self, txid: TxId) -> Vec<Admission> {
        if self.is_empty() {
            return Vec::new();
        }
        let outputs = OutPoint { txid, index: 0 }..=OutPoint {
            txid,
            index: u16::MAX,
        };
        let waiting: Vec<OutPoint> = self
            .by_outpoint
            .range(outputs)
            .map(|(outpoint, _)| *outpoint)
            .collect();
        waiting.iter().flat_map(|outpoint| self.wake(outpoint)).collect()
    }

    /// Takes out what waited for longer than `timeout`.
    pub(crate) fn expire(&mut self, now: Time, timeout: Duration) -> Vec<Admission> {
        let late = |parked: &Parked| now.since(parked.since) >= timeout;
        let arrivals: Vec<u64> = self
            .by_arrival
            .iter()
            .take_while(|(_, parked)| late(parked))
            .map(|(arrival, _)| *arrival)
            .collect();
        arrivals
            .into_iter()
            .filter_map(|arrival| self.remove(arrival))
            .collect()
    }

    /// When the oldest will have waited for `timeout`.
    pub(crate) fn next_expiry(&self, timeout: Duration) -> Option<Time> {
        self.by_arrival
            .first_key_value()
            .map(|(_, parked)| parked.since + timeout)
    }

    /// Takes out everything.
    pub(crate) fn drain(&mut self) -> Vec<Admission> {
        self.by_outpoint.clear();
        self.by_connection.clear();
        self.bytes = 0;
        let parked = std::mem::take(&mut self.by_arrival).into_values();
        parked.map(|parked| parked.admission).collect()
    }

    /// Forgets what a connection parked.
    pub(crate) fn forget(&mut self, connection: ConnectionId) -> Vec<Admission> {
        let arrivals: Vec<u64> = self
            .by_arrival
            .iter()
            .filter(|(_, parked)| parked.admission.connection == connection)
            .map(|(arrival, _)| *arrival)
            .collect();
        arrivals
            .into_iter()
            .filter_map(|arrival| self.remove(arrival))
            .collect()
    }
}
