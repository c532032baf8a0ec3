//! What a run came to.

use types::time::Duration;

use crate::clients::Seen;
use crate::network::Traffic;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Hash over every event in order: equal for equal options.
    pub trace: u64,
    /// Events handled.
    pub events: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Highest final height.
    pub height: u64,
    /// View changes, over all nodes and lives.
    pub view_changes: u64,
    /// Restarts from a disk.
    pub recoveries: u64,
    /// Resets of runs that became final, as one node counts them.
    pub resets: u64,
    /// Proposals made with more than one height in flight, at least.
    pub pipelined: u64,
    /// Transactions excluded from final blocks, as the nodes count them.
    pub excluded: u64,
    /// Times that a node's timer was due again at once.
    pub hot_timers: u64,
    /// What clients saw.
    pub seen: Seen,
    /// What the network did.
    pub traffic: Traffic,
}
