//! A network's genesis: `genesis.toml` and, beside it, `allocations.bin`.

mod text;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use crypto::keys::Scheme;
use crypto::placement::VotingKeyError;
use crypto::{hash, placement};
use serde::Deserialize;
use types::codec::{Decode as _, DecodeError, Reader, encode_items};
use types::genesis::{Allocation, EpochConfig, Genesis, GenesisError};
use types::{Hash, ShardId};

use crate::bounded::{self, BoundedError};
use crate::limits::{ALLOCATION_BYTES, ALLOCATIONS_FILE_BYTES_MAX, GENESIS_FILE_BYTES_MAX};
use crate::problem::toml_problem;

pub use text::{genesis_text, role_name};

/// Name of the genesis in its directory.
pub const GENESIS_FILE: &str = "genesis.toml";
/// Name of the allocations beside it.
pub const ALLOCATIONS_FILE: &str = "allocations.bin";

/// A network as its genesis fixes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkGenesis {
    /// Genesis.
    pub genesis: Genesis,
    /// Its hash.
    pub hash: Hash,
    /// Committees of the one epoch.
    pub epoch: EpochConfig,
    /// Allocations in order: the position fixes the outpoint.
    pub allocations: Vec<Allocation>,
}

/// Why a genesis cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GenesisFileError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A file larger than any that is accepted.
    #[error("{path} has more than {max} bytes, which no file of its kind has")]
    Size {
        /// File.
        path: PathBuf,
        /// Accepted, bytes.
        max: u64,
    },
    /// The file has not the one key that holds the genesis.
    #[error(
        "{path}: {problem}; accepted is the one key `genesis = \"<hexadecimal>\"`, as `shardbench-node genesis` writes it"
    )]
    Shape {
        /// File.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The bytes are no genesis or no allocations.
    #[error("{path} is damaged or cut short: {source}; copy it again or make the network anew")]
    Encoding {
        /// File.
        path: PathBuf,
        /// Cause.
        source: DecodeError,
    },
    /// A genesis that cannot run.
    #[error("{path}: {source}")]
    Rule {
        /// File.
        path: PathBuf,
        /// Cause.
        source: GenesisError,
    },
    /// Too few members of a shard have a bond that makes them believable.
    #[error(
        "{path}: shard {shard} has {found} members who are eligible as candidates, accepted are {accepted} or more; \
         bonds must reach bond_min and a believability of believability_min"
    )]
    Candidates {
        /// File, or the flags that fix the bonds.
        path: PathBuf,
        /// The shard.
        shard: ShardId,
        /// Eligible members.
        found: usize,
        /// Candidates that the policy asks for.
        accepted: u16,
    },
    /// A voting key without a proof that its holder knows the secret.
    #[error("{path}: {source}")]
    VotingKey {
        /// File.
        path: PathBuf,
        /// Cause.
        source: VotingKeyError,
    },
    /// The allocations are not those of the genesis.
    #[error(
        "{path} holds {found} allocations with hash {hash}, the genesis names {count} with hash {named}; copy the file that was made with it"
    )]
    Allocations {
        /// File.
        path: PathBuf,
        /// Number found.
        found: usize,
        /// Their hash.
        hash: Hash,
        /// Number that the genesis names.
        count: u32,
        /// Hash that it names.
        named: Hash,
    },
    /// An amount of zero.
    #[error("{path}: allocation {index} has amount 0, accepted is 1 to {}", u64::MAX)]
    Zero {
        /// File, or the flag that fixes the amount.
        path: PathBuf,
        /// Its position.
        index: usize,
    },
    /// More than an amount can say.
    #[error(
        "{path}: the allocations sum up to more than {}, the largest supply",
        u64::MAX
    )]
    Supply {
        /// File, or the flags that fix the amounts.
        path: PathBuf,
    },
}

/// What `genesis.toml` holds; everything for human eyes is a comment, so that there is one truth.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenesisToml {
    genesis: String,
}

impl NetworkGenesis {
    /// Reads a network: `genesis.toml` at this path and `allocations.bin` beside it.
    ///
    /// # Errors
    /// Names the file, what is wrong with it and what is accepted.
    pub fn load(genesis_toml: &Path) -> Result<Self, GenesisFileError> {
        let genesis = read_genesis(genesis_toml)?;
        let path = genesis_toml.with_file_name(ALLOCATIONS_FILE);
        let allocations = read_allocations(&path)?;
        Self::check(genesis, allocations, &path)
    }

    /// Holds allocations against their genesis; `path` is that of the allocations, for errors alone.
    ///
    /// # Errors
    /// `Allocations`, `Zero`, `Supply` or `VotingKey`.
    pub fn check(
        genesis: Genesis,
        allocations: Vec<Allocation>,
        path: &Path,
    ) -> Result<Self, GenesisFileError> {
        let found = hash::allocations_hash(&allocations);
        if allocations.len() != genesis.allocations as usize || found != genesis.allocations_hash {
            return Err(GenesisFileError::Allocations {
                path: path.into(),
                found: allocations.len(),
                hash: found,
                count: genesis.allocations,
                named: genesis.allocations_hash,
            });
        }
        check_amounts(path, &allocations)?;
        // Here, because whoever believes certificates of a network has come by.
        placement::check_voting_keys(Scheme::Ed25519, &genesis).map_err(|source| {
            GenesisFileError::VotingKey {
                path: path.with_file_name(GENESIS_FILE),
                source,
            }
        })?;
        Ok(Self {
            hash: hash::genesis_hash(&genesis),
            epoch: placement::epoch_config(&genesis),
            genesis,
            allocations,
        })
    }
}

/// Reads the genesis alone: enough to know who its validators are.
///
/// # Errors
/// As [`NetworkGenesis::load`].
pub fn read_genesis(path: &Path) -> Result<Genesis, GenesisFileError> {
    parse_genesis(path, read_file(path, GENESIS_FILE_BYTES_MAX)?)
}

/// The genesis of a file's bytes, checked; `path` is for errors alone.
///
/// # Errors
/// `Shape`, `Encoding`, `Rule` or `Candidates`.
pub fn parse_genesis(path: &Path, bytes: Vec<u8>) -> Result<Genesis, GenesisFileError> {
    let shape = |problem: String| GenesisFileError::Shape {
        path: path.into(),
        problem,
    };
    let text = String::from_utf8(bytes).map_err(|_| shape("it is not text".into()))?;
    let file: GenesisToml = toml::from_str(&text).map_err(|error| shape(toml_problem(&text, &error)))?;
    let bytes = hex::decode(file.genesis.trim())
        .map_err(|error| shape(format!("`genesis` is not hexadecimal or is cut short ({error})")))?;
    let genesis = Genesis::from_bytes(&bytes).map_err(|source| encoding(path, source))?;
    genesis.validate().map_err(|source| GenesisFileError::Rule {
        path: path.into(),
        source,
    })?;
    check_candidates(path, &genesis)?;
    Ok(genesis)
}

/// Refuses a network whose seats nobody could ever take; `path` is for errors alone.
///
/// # Errors
/// `Candidates`.
pub fn check_candidates(path: &Path, genesis: &Genesis) -> Result<(), GenesisFileError> {
    let accepted = genesis.policy.candidates();
    let committees = placement::epoch_config(genesis).committees;
    let short = committees
        .iter()
        .find(|committee| committee.candidates.len() < accepted.into());
    short.map_or(Ok(()), |committee| {
        Err(GenesisFileError::Candidates {
            path: path.into(),
            shard: committee.shard,
            found: committee.candidates.len(),
            accepted,
        })
    })
}

/// Reads allocations: a count (u32) and the items.
///
/// # Errors
/// `Read`, `Size` or `Encoding`.
pub fn read_allocations(path: &Path) -> Result<Vec<Allocation>, GenesisFileError> {
    let bytes = read_file(path, ALLOCATIONS_FILE_BYTES_MAX)?;
    decode_allocations(&bytes).map_err(|source| encoding(path, source))
}

/// The allocations of a file's bytes; their amounts are not checked.
///
/// # Errors
/// Names what is not canonical.
pub fn decode_allocations(bytes: &[u8]) -> Result<Vec<Allocation>, DecodeError> {
    let mut reader = Reader::new(bytes);
    // The vector is as large as the file allows, whatever the count says.
    let count = reader.count("allocations", bytes.len() / ALLOCATION_BYTES)?;
    let allocations = reader.items(count)?;
    reader.finish()?;
    Ok(allocations)
}

/// The bytes of `allocations.bin`.
#[must_use]
pub fn encode_allocations(allocations: &[Allocation]) -> Vec<u8> {
    let bytes = allocations
        .len()
        .saturating_mul(ALLOCATION_BYTES)
        .saturating_add(4);
    let mut out = Vec::with_capacity(bytes);
    encode_items(allocations, &mut out);
    out
}

/// Writes allocations as `shardbench-node genesis --allocations` reads them.
///
/// # Errors
/// Those of the file system.
pub fn write_allocations(path: &Path, allocations: &[Allocation]) -> io::Result<()> {
    std::fs::write(path, encode_allocations(allocations))
}

/// Refuses amounts of zero and a supply that no amount can say; `path` is for errors alone.
///
/// # Errors
/// `Zero` or `Supply`.
pub fn check_amounts(path: &Path, allocations: &[Allocation]) -> Result<(), GenesisFileError> {
    let mut supply = types::Amount(0);
    for (index, allocation) in allocations.iter().enumerate() {
        if allocation.amount.0 == 0 {
            return Err(GenesisFileError::Zero {
                path: path.into(),
                index,
            });
        }
        supply = supply
            .checked_add(allocation.amount)
            .ok_or_else(|| GenesisFileError::Supply { path: path.into() })?;
    }
    Ok(())
}

fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, GenesisFileError> {
    bounded::read(path, max).map_err(|error| {
        let path = path.to_path_buf();
        match error {
            BoundedError::Io(source) => GenesisFileError::Read { path, source },
            BoundedError::Size => GenesisFileError::Size { path, max },
        }
    })
}

fn encoding(path: &Path, source: DecodeError) -> GenesisFileError {
    GenesisFileError::Encoding {
        path: path.into(),
        source,
    }
}
