//! Whose files these are: every file of a data directory names its genesis, its validator and its format.

use std::path::PathBuf;

use types::Hash;

/// Version of the format of a data directory: block log, state and `FORMAT` together.
pub const FORMAT_VERSION: u32 = 4;

/// Owner of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Hash of the genesis.
    pub genesis: Hash,
    /// Id key of the validator.
    pub validator: [u8; 32],
}

/// Files that belong to something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Another network.
    #[error(
        "{path} belongs to genesis {found}, this node runs genesis {expected}; choose another data directory"
    )]
    Genesis {
        /// File or directory.
        path: PathBuf,
        /// Genesis that it names.
        found: Hash,
        /// Genesis of this node.
        expected: Hash,
    },
    /// Another validator.
    #[error(
        "{path} belongs to validator {found}, this node is validator {expected}; choose another data directory"
    )]
    Validator {
        /// File or directory.
        path: PathBuf,
        /// Id key that it names.
        found: Hash,
        /// Id key of this node.
        expected: Hash,
    },
    /// Another format.
    #[error("{path} has format version {found}, this program reads and writes version {accepted}")]
    Version {
        /// File or directory.
        path: PathBuf,
        /// Version that it names.
        found: u32,
        /// Version of this program.
        accepted: u32,
    },
}

impl Identity {
    /// Compares what a file names with this identity.
    ///
    /// # Errors
    /// Names both sides.
    pub fn check(&self, path: impl Into<PathBuf>, version: u32, found: Self) -> Result<(), IdentityError> {
        let path = path.into();
        if version != FORMAT_VERSION {
            return Err(IdentityError::Version {
                path,
                found: version,
                accepted: FORMAT_VERSION,
            });
        }
        if found.genesis != self.genesis {
            return Err(IdentityError::Genesis {
                path,
                found: found.genesis,
                expected: self.genesis,
            });
        }
        if found.validator != self.validator {
            let (found, expected) = (Hash(found.validator), Hash(self.validator));
            return Err(IdentityError::Validator {
                path,
                found,
                expected,
            });
        }
        Ok(())
    }
}
