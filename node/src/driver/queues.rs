//! Bounds of the queues between a validator's threads and sockets, in one value that a configuration can lower.

use serde::Deserialize;
use transport::{CLIENT_QUEUE_FRAMES, PEER_QUEUE_FRAMES};
use types::limits::{
    ADMISSION_RING_BATCHES_MAX, INTAKE_TXS_MAX, PEER_EVENTS_MAX, PERSIST_QUEUE_MAX, VERIFY_JOBS_MAX,
};

/// Bounds of a validator's queues, each at least 1. [`QueueBounds::default`] is also the most that is accepted:
/// what a validator may need in memory is computed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QueueBounds {
    /// Events of one lane of one member that wait at each of two stations for the replica; the member waits then.
    pub(crate) peer_events: usize,
    /// Frames that wait for one lane to one member; more are dropped, and the member asks for what it lacks.
    pub(crate) peer_frames: usize,
    /// Requests of all clients that wait for ingress; their readers wait then.
    pub(crate) client_requests: usize,
    /// Answer frames that wait for one client; a client that lets it fill is disconnected.
    pub(crate) client_frames: usize,
    /// Questions of clients that wait for the replica; ingress waits then.
    pub(crate) queries: usize,
    /// Transactions that wait for verification, and again for the replica; beyond, clients are answered `Busy`.
    pub(crate) intake_txs: usize,
    /// Verified batches that wait for the replica; beyond, clients are answered `Busy`.
    pub(crate) admission_batches: usize,
    /// Bodies under verification; the replica's thread holds the others back.
    pub(crate) verify_jobs: usize,
    /// Commands that wait for the store; the replica's turn waits then.
    pub(crate) persist: usize,
}

/// Questions of clients that wait for the replica by default.
const QUERIES_MAX: usize = 256;
/// Requests of clients that wait for ingress by default.
const CLIENT_REQUESTS_MAX: usize = 1024;

impl Default for QueueBounds {
    fn default() -> Self {
        Self {
            peer_events: PEER_EVENTS_MAX,
            peer_frames: PEER_QUEUE_FRAMES,
            client_requests: CLIENT_REQUESTS_MAX,
            client_frames: CLIENT_QUEUE_FRAMES,
            queries: QUERIES_MAX,
            intake_txs: INTAKE_TXS_MAX,
            admission_batches: ADMISSION_RING_BATCHES_MAX,
            verify_jobs: VERIFY_JOBS_MAX,
            persist: PERSIST_QUEUE_MAX,
        }
    }
}

impl QueueBounds {
    /// The first bound that is not accepted: its key, its value and the most that is accepted.
    pub(crate) fn out_of_range(&self) -> Option<(&'static str, usize, usize)> {
        let most = Self::default();
        [
            ("peer_events", self.peer_events, most.peer_events),
            ("peer_frames", self.peer_frames, most.peer_frames),
            ("client_requests", self.client_requests, most.client_requests),
            ("client_frames", self.client_frames, most.client_frames),
            ("queries", self.queries, most.queries),
            ("intake_txs", self.intake_txs, most.intake_txs),
            (
                "admission_batches",
                self.admission_batches,
                most.admission_batches,
            ),
            ("verify_jobs", self.verify_jobs, most.verify_jobs),
            ("persist", self.persist, most.persist),
        ]
        .into_iter()
        .find(|(_, value, most)| !(1..=*most).contains(value))
    }
}
