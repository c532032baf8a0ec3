//! What can go wrong with a data directory and its state.

use std::path::PathBuf;

use blocklog::IdentityError;

/// A data directory, log or state that cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory or the block log.
    #[error(transparent)]
    Log(#[from] blocklog::OpenError),
    /// Another genesis, validator or format.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// `FORMAT` is not what this program writes.
    #[error("{path} is not a format file of shardbench: {reason}")]
    Format {
        /// File.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The state cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// RocksDB refused.
    #[error("cannot {action} the state in {path}: {source}")]
    Database {
        /// Verb.
        action: &'static str,
        /// Directory.
        path: PathBuf,
        /// Cause.
        source: rocksdb::Error,
    },
    /// A key or value that this program never writes.
    #[error("the state in {path} is damaged: {what}")]
    Damaged {
        /// Directory.
        path: PathBuf,
        /// What was found.
        what: &'static str,
    },
    /// Changes of later blocks say nothing of the outputs of genesis: without those the state would be short of them
    /// after a restart.
    #[error("the state in {path} is empty; it begins with the outputs of genesis, not with height {given}")]
    NotBegun {
        /// Directory.
        path: PathBuf,
        /// Height given.
        given: types::Height,
    },
    /// A state begins once, at height 0.
    #[error("the state in {path} cannot begin at height {given}: it begins empty and at height 0")]
    BegunBefore {
        /// Directory.
        path: PathBuf,
        /// Height given.
        given: types::Height,
    },
    /// Heights rise.
    #[error("changes up to height {given} do not follow height {held}, which the state holds")]
    HeightOrder {
        /// Given.
        given: types::Height,
        /// Held.
        held: types::Height,
    },
}
