//! Files that users and programs exchange: `genesis.toml` with `allocations.bin`, policies, hosts and the
//! configuration of a validator. One implementation for all programs.
//!
//! Each format has a function from bytes or text to a checked value, which touches no disk, and one that reads the
//! file and names it in its errors.
//!
//! Invariant: whatever a file holds, reading it ends with a value that was checked or with an error of one line; no
//! more is read than [`limits`] say, and no list is longer than the bytes that were read.

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod bounded;
pub mod config;
pub mod genesis;
pub mod hosts;
pub mod limits;
pub mod policy;
mod problem;
mod queues;

pub use config::{ConfigError, ConfigText, Durability, Settings};
pub use genesis::{GenesisFileError, NetworkGenesis};
pub use hosts::{Host, HostsError};
pub use policy::PolicyFileError;
pub use queues::QueueBounds;
