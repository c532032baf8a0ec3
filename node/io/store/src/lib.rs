//! Durable edges of a validator: the block log, the written-behind state, and the thread that owns both.
//!
//! A data directory holds `log/` (an append-only, checksummed [`BlockLog`]), `state/` (a [`StateStore`]: the exact
//! UTXO state after some final height) and `FORMAT` (whose it is, in plain text). What a message waits for is on
//! disk in the log; the state is written behind and restart replays the log over it (`ios` 20.6).

mod changes;
mod directory;
mod error;
mod identity;
mod log;
mod mounts;
#[cfg(test)]
mod samples;
mod service;
mod state;
mod stats;

pub use changes::{Output, StateChanges};
pub use error::{AppendError, OpenError, ReadError, StateError, SyncFailed};
pub use identity::{FORMAT_VERSION, Identity, IdentityError};
pub use log::{BlockLog, Cut, LogOptions, RECORD_BYTES_MAX, Replay, TornTail};
pub use mounts::{filesystem_name, free_bytes};
pub use service::{CommittedRead, Opened, Store, StoreEvent, StoreHandle, StoreOptions, StoreStopped};
pub use state::{Snapshot, SnapshotHead, StateOptions, StateStore};
pub use stats::StoreStats;

/// What a durable sequence means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Durable is reported after `fdatasync`: it survives power loss.
    #[default]
    Fsync,
    /// Durable is reported after `write`: it survives the end of the process, not of the machine. For comparison
    /// only; a report that used it says so.
    Async,
}

impl Durability {
    /// Name as flags and reports spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Async => "async",
        }
    }
}
