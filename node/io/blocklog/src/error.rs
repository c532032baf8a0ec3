//! What can go wrong, one enum per operation.

use std::io;
use std::path::{Path, PathBuf};

use types::Sequence;

use crate::identity::IdentityError;

/// What the operating system said, in words.
fn words(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "the filesystem is read-only".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::StorageFull => "no space left on the device".into(),
        _ => source.to_string(),
    }
}

/// A directory or log that cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the directory {path} is in use by another process; stop it or choose another directory")]
    InUse {
        /// Directory.
        path: PathBuf,
    },
    /// Another genesis, validator or format.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Bytes that were once on disk are wrong. A validator whose log is damaged must never vote again under its key
    /// (`ios` 20.6).
    #[error(
        "{path} is damaged at byte {offset}: {reason}; this validator must not vote again, restore the disk or retire its key"
    )]
    Damaged {
        /// File.
        path: PathBuf,
        /// Offset in the file, bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The directory was in use before and its log is gone, and with it the promises of this validator.
    #[error(
        "{path} holds no block log, but the data directory was in use before; this validator must not vote again"
    )]
    LogMissing {
        /// Directory of the log.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {}", words(source))]
    Io {
        /// Verb.
        action: &'static str,
        /// File or directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The directory is there, its content cannot be made durable.
    #[error(transparent)]
    Sync(#[from] SyncFailed),
}

impl OpenError {
    /// Maps what the operating system said about an action on a path, in the order in which it reads.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// Records that were not appended. Unless said otherwise the log is as before and may be used on.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Sequences rise.
    #[error("sequence {given} is not above {last}, the last one in the log")]
    SequenceOrder {
        /// Given.
        given: Sequence,
        /// Last of the log.
        last: Sequence,
    },
    /// A record too large.
    #[error("a record of kind {kind} has {bytes} bytes, at most {max} are accepted")]
    RecordSize {
        /// Kind.
        kind: u8,
        /// Its payload, bytes.
        bytes: usize,
        /// Accepted.
        max: usize,
    },
    /// The log can no longer be written to: what its end holds is not known.
    #[error("cannot append to {path}: {}; the log takes no more records", words(source))]
    Io {
        /// Segment.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// An earlier failure.
    #[error("the log takes no more records after an earlier failure")]
    Closed,
    /// A sealed segment could not be made durable.
    #[error(transparent)]
    Sync(#[from] SyncFailed),
}

/// `fdatasync` failed. What reached the disk is unknown and asking again would lie, so the log takes no more
/// records: the process must end (reliability: never retry an fsync).
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot make {path} durable: {}; what reached the disk is unknown, the node must stop",
    words(source)
)]
pub struct SyncFailed {
    /// File or directory.
    pub path: PathBuf,
    /// Cause.
    pub source: io::Error,
}

/// A record that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Bytes are wrong.
    #[error("{path} is damaged at byte {offset}: {reason}")]
    Damaged {
        /// File.
        path: PathBuf,
        /// Offset in the file, bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot read {path}: {}", words(source))]
    Io {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::OpenError;

    #[test]
    fn causes_are_said_in_words() {
        for (kind, expected) in [
            (
                io::ErrorKind::ReadOnlyFilesystem,
                "cannot create /d/log: the filesystem is read-only",
            ),
            (
                io::ErrorKind::PermissionDenied,
                "cannot create /d/log: permission denied",
            ),
            (
                io::ErrorKind::StorageFull,
                "cannot create /d/log: no space left on the device",
            ),
        ] {
            let error = OpenError::io("create", Path::new("/d/log"))(kind.into());
            assert_eq!(error.to_string(), expected);
        }
    }
}
