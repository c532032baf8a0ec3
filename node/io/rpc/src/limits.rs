//! Bounds of one node towards its clients.
//!
//! The number of connections, the answers that wait for one client (1024 frames, 2 MiB) and the time that a
//! write or a started frame may take are bounds of the listener and its links; see the `transport` crate.

use std::time::Duration;

use types::limits::TAGS_IN_FLIGHT_MAX;

/// Bounds of a [`Server`](crate::Server) beyond those of its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tags in flight on one connection; a submission that would exceed it is answered `Busy` as a whole.
    /// Default 65 536.
    pub tags_in_flight_max: u32,
    /// From the first bytes of a client to its complete `Hello`. Default 5 s.
    pub hello_deadline: Duration,
    /// `retry_ms` of the `Busy` that the server answers itself, milliseconds. Default 100.
    pub busy_retry_ms: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tags_in_flight_max: TAGS_IN_FLIGHT_MAX,
            hello_deadline: Duration::from_secs(5),
            busy_retry_ms: 100,
        }
    }
}
