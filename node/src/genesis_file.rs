//! The files of a network's genesis: `genesis.toml` and, beside it, `allocations.bin`.

mod create;
mod policy_file;
#[cfg(test)]
mod tests;
mod text;

use std::io;
use std::path::{Path, PathBuf};

use crypto::{hash, placement};
use serde::Deserialize;
use types::Hash;
use types::codec::{Decode, DecodeError, Reader};
use types::genesis::{Allocation, EpochConfig, Genesis, GenesisError};
use types::limits::VALIDATORS_MAX;

pub(crate) use create::{CreateOptions, create};
pub(crate) use policy_file::PolicyFileError;

use crate::keys::KeyFileError;

/// Name of the genesis in its directory.
pub(crate) const GENESIS_FILE: &str = "genesis.toml";
/// Name of the allocations beside it.
const ALLOCATIONS_FILE: &str = "allocations.bin";
/// Allocations of one network: 64 Mi take 2.7 GB of memory while they are read.
pub(crate) const ALLOCATIONS_MAX: u32 = 1 << 26;
/// Bytes of the largest `genesis.toml`: keys of all validators twice in hexadecimal, and words.
const GENESIS_FILE_BYTES_MAX: u64 = (VALIDATORS_MAX * 512 + (64 << 10)) as u64;

/// A network as its genesis fixes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// Genesis.
    pub(crate) genesis: Genesis,
    /// Its hash.
    pub(crate) hash: Hash,
    /// Committees of the one epoch.
    pub(crate) epoch: EpochConfig,
    /// Allocations in order: the position fixes the outpoint.
    pub(crate) allocations: Vec<Allocation>,
}

/// Why a genesis cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GenesisFileError {
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

impl GenesisFileError {
    fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read {
            path: path.into(),
            source,
        }
    }

    fn encoding(path: &Path) -> impl FnOnce(DecodeError) -> Self {
        move |source| Self::Encoding {
            path: path.into(),
            source,
        }
    }
}

/// What `genesis.toml` holds; everything for human eyes is a comment, so that there is one truth.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenesisToml {
    genesis: String,
}

/// Reads a network: `genesis.toml` at this path and `allocations.bin` beside it.
///
/// # Errors
/// Names the file, what is wrong with it and what is accepted.
pub(crate) fn load(genesis_toml: &Path) -> Result<Network, GenesisFileError> {
    let genesis = read_genesis(genesis_toml)?;
    let path = genesis_toml.with_file_name(ALLOCATIONS_FILE);
    let allocations = read_allocations(&path)?;
    let found = hash::allocations_hash(&allocations);
    if allocations.len() != genesis.allocations as usize || found != genesis.allocations_hash {
        return Err(GenesisFileError::Allocations {
            path,
            found: allocations.len(),
            hash: found,
            count: genesis.allocations,
            named: genesis.allocations_hash,
        });
    }
    check_amounts(&path, &allocations)?;
    Ok(Network {
        hash: hash::genesis_hash(&genesis),
        epoch: placement::epoch_config(&genesis),
        genesis,
        allocations,
    })
}

/// Reads the genesis alone: enough to know who its validators are.
///
/// # Errors
/// As `load`.
pub(crate) fn read_genesis(path: &Path) -> Result<Genesis, GenesisFileError> {
    let shape = |problem: String| GenesisFileError::Shape {
        path: path.into(),
        problem,
    };
    let bytes = read_bounded(path, GENESIS_FILE_BYTES_MAX)?;
    let text = String::from_utf8(bytes).map_err(|_| shape("it is not text".into()))?;
    let file: GenesisToml =
        toml::from_str(&text).map_err(|error| shape(crate::config::toml_problem(&text, &error)))?;
    let bytes = hex::decode(file.genesis.trim())
        .map_err(|error| shape(format!("`genesis` is not hexadecimal or is cut short ({error})")))?;
    let genesis = Genesis::from_bytes(&bytes).map_err(GenesisFileError::encoding(path))?;
    genesis.validate().map_err(|source| GenesisFileError::Rule {
        path: path.into(),
        source,
    })?;
    Ok(genesis)
}

/// Reads allocations: a count (u32) and the items.
fn read_allocations(path: &Path) -> Result<Vec<Allocation>, GenesisFileError> {
    let bytes = read_bounded(path, u64::from(ALLOCATIONS_MAX) * 40 + 4)?;
    let decode = || {
        let mut reader = Reader::new(&bytes);
        // The vector is as large as the file allows, whatever the count says.
        let count = reader.count("allocations", bytes.len() / 40)?;
        let mut allocations = Vec::with_capacity(count);
        for _ in 0..count {
            allocations.push(Allocation::decode(&mut reader)?);
        }
        reader.finish()?;
        Ok(allocations)
    };
    decode().map_err(GenesisFileError::encoding(path))
}

fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, GenesisFileError> {
    let file = std::fs::File::open(path).map_err(GenesisFileError::read(path))?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, max + 1), &mut bytes)
        .map_err(GenesisFileError::read(path))?;
    if bytes.len() as u64 > max {
        return Err(GenesisFileError::Size {
            path: path.into(),
            max,
        });
    }
    Ok(bytes)
}

/// Refuses amounts of zero and a supply that no amount can say.
fn check_amounts(path: &Path, allocations: &[Allocation]) -> Result<(), GenesisFileError> {
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
