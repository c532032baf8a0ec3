//! Durable edges of a validator: the block log, the written-behind state, and the thread that owns both.
//!
//! A data directory holds `log/` (an append-only, checksummed [`BlockLog`]), `state/` (a [`StateStore`]: the exact
//! UTXO state after some final height) and `FORMAT` (whose it is, in plain text). What a message waits for is on
//! disk in the log; the state is written behind and restart replays the log over it (`ios` 20.6).

mod changes;
mod error;
mod format;
mod mounts;
mod service;
mod state;
mod stats;

pub use blocklog::{
    AppendError, BlockLog, Cut, Durability, FORMAT_VERSION, Identity, IdentityError, LogOptions,
    RECORD_BYTES_MAX, ReadError, Replay, SyncFailed, TornTail,
};
pub use changes::{Output, StateChanges};
pub use error::{OpenError, StateError};
pub use mounts::{filesystem_name, free_bytes};
pub use service::{CommittedRead, Opened, Store, StoreEvent, StoreHandle, StoreOptions, StoreStopped};
pub use state::{Snapshot, SnapshotHead, StateOptions, StateStore};
pub use stats::StoreStats;
