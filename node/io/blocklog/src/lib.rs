//! The block log of a validator: what a message waits for is on disk here (`ios` 9.6, 20.6).
//!
//! An append-only sequence of checksummed records in segment files, [`BlockLog`], which whoever opens it again gets
//! back as a prefix that holds every record that was durable, or not at all.

pub mod directory;
mod disk;
mod error;
mod faulty;
mod identity;
mod log;
pub mod samples;

pub use disk::{Disk, SystemDisk};
pub use error::{AppendError, OpenError, ReadError, SyncFailed};
pub use faulty::{Calls, Fault, FaultyDisk};
pub use identity::{FORMAT_VERSION, Identity, IdentityError};
pub use log::{BlockLog, Cut, LogOptions, RECORD_BYTES_MAX, Replay, TornTail};

pub use types::Durability;
