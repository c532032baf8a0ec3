//! Bounds of the queues between a validator's threads and sockets, in one value that a configuration can lower.

use serde::Deserialize;
use types::limits::{
    ADMISSION_RING_BATCHES_MAX, CLIENT_ANSWERS_MAX, INTAKE_TXS_MAX, PEER_EVENTS_MAX, PEER_LANE_FRAMES_MAX,
    PERSIST_QUEUE_MAX, VERIFY_JOBS_MAX,
};

/// Bounds of a validator's queues, each at least 1. [`QueueBounds::default`] is also the most that is accepted:
/// what a validator may need in memory is computed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueBounds {
    /// Events of one lane of one member that wait at each of two stations for the replica; the member waits then.
    pub peer_events: usize,
    /// Frames that wait for one lane to one member; more are dropped, and the member asks for what it lacks.
    pub peer_frames: usize,
    /// Requests of all clients that wait for ingress; their readers wait then.
    pub client_requests: usize,
    /// Answer frames that wait for one client; a client that lets it fill is disconnected.
    pub client_frames: usize,
    /// Questions of clients that wait for the replica; ingress waits then.
    pub queries: usize,
    /// Transactions that wait for verification, and again for the replica; beyond, clients are answered `Busy`.
    pub intake_txs: usize,
    /// Verified batches that wait for the replica; beyond, clients are answered `Busy`.
    pub admission_batches: usize,
    /// Bodies under verification; the replica's thread holds the others back.
    pub verify_jobs: usize,
    /// Commands that wait for the store; the replica's turn waits then.
    pub persist: usize,
}

/// Questions of clients that wait for the replica by default.
const QUERIES_MAX: usize = 256;
/// Requests of clients that wait for ingress by default.
const CLIENT_REQUESTS_MAX: usize = 1024;

impl Default for QueueBounds {
    fn default() -> Self {
        Self {
            peer_events: PEER_EVENTS_MAX,
            peer_frames: PEER_LANE_FRAMES_MAX,
            client_requests: CLIENT_REQUESTS_MAX,
            client_frames: CLIENT_ANSWERS_MAX,
            queries: QUERIES_MAX,
            intake_txs: INTAKE_TXS_MAX,
            admission_batches: ADMISSION_RING_BATCHES_MAX,
            verify_jobs: VERIFY_JOBS_MAX,
            persist: PERSIST_QUEUE_MAX,
        }
    }
}

impl QueueBounds {
    /// Keys and values, in the order of the fields.
    const fn entries(&self) -> [(&'static str, usize); 9] {
        [
            ("peer_events", self.peer_events),
            ("peer_frames", self.peer_frames),
            ("client_requests", self.client_requests),
            ("client_frames", self.client_frames),
            ("queries", self.queries),
            ("intake_txs", self.intake_txs),
            ("admission_batches", self.admission_batches),
            ("verify_jobs", self.verify_jobs),
            ("persist", self.persist),
        ]
    }

    /// The first bound that is not accepted: its key, its value and the most that is accepted.
    #[must_use]
    pub fn out_of_range(&self) -> Option<(&'static str, usize, usize)> {
        let most = Self::default().entries();
        let pairs = self.entries().into_iter().zip(most);
        pairs
            .map(|((key, value), (_, most))| (key, value, most))
            .find(|(_, value, most)| !(1..=*most).contains(value))
    }

    /// Lines of a configuration, commented out.
    #[must_use]
    pub fn as_comments(&self) -> String {
        self.entries()
            .iter()
            .map(|(key, value)| format!("# {key} = {value}\n"))
            .collect()
    }
}
