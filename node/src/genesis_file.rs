//! Making the files of a network.

mod create;
mod leagues;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use files::PolicyFileError;
use types::genesis::GenesisError;

pub(crate) use create::{CreateOptions, Created, create};
#[cfg(test)]
pub(crate) use leagues::{LeagueOptions, Protocol, one_league};

use crate::keys::KeyFileError;

/// Why a network cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// Listed allocations, or amounts that make no supply.
    #[error(transparent)]
    File(#[from] files::GenesisFileError),
    /// A directory cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A flag out of its bounds.
    #[error("{flag} is {value}, accepted is {accepted}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is accepted.
        accepted: String,
    },
    /// The flags together make no network.
    #[error(transparent)]
    Network(#[from] GenesisError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Not one key for each validator.
    #[error("--keys {path} holds {found} files *.key, accepted are {expected}: one for each validator")]
    KeyCount {
        /// Directory.
        path: PathBuf,
        /// Found.
        found: usize,
        /// Validators of the network.
        expected: usize,
    },
    /// One key in two files.
    #[error("{path} and {other} hold the same key, each validator needs its own")]
    KeyTwice {
        /// File.
        path: PathBuf,
        /// File.
        other: PathBuf,
    },
    /// A file is there already.
    #[error("{path} exists already and is not overwritten; choose another directory with --out or remove it")]
    Exists {
        /// File.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The system gave no port, thread or entropy.
    #[error("the operating system gives no {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Cause.
        source: io::Error,
    },
}
