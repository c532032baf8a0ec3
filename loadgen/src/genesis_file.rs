//! Reads the files of a network's genesis: `genesis.toml` and `allocations.bin` beside it.

use std::path::{Path, PathBuf};

use types::codec::{Decode as _, DecodeError, Reader};
use types::genesis::{Allocation, EpochConfig, Genesis, GenesisError};

/// A network as its genesis fixes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkGenesis {
    /// Genesis.
    pub genesis: Genesis,
    /// Its committees.
    pub epoch: EpochConfig,
    /// Allocations, in order.
    pub allocations: Vec<Allocation>,
}

/// Why a genesis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GenesisFileError {
    /// A file cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The file has not the key that holds the genesis.
    #[error(
        "{path}: {problem}; accepted is a file with `genesis = \"<hexadecimal>\"`, as `shardbench-node genesis` writes it"
    )]
    Shape {
        /// File.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The bytes are no genesis or no allocations.
    #[error("{path}: {source}")]
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
    #[error("{path}: {found} allocations with hash {hash}, the genesis names {count} with hash {named}")]
    Allocations {
        /// File.
        path: PathBuf,
        /// Number found.
        found: usize,
        /// Their hash.
        hash: types::Hash,
        /// Number that the genesis names.
        count: u32,
        /// Hash that it names.
        named: types::Hash,
    },
}

impl NetworkGenesis {
    /// Reads `genesis.toml` at this path and `allocations.bin` beside it.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, GenesisFileError> {
        let shape = |problem: String| GenesisFileError::Shape {
            path: path.to_owned(),
            problem,
        };
        let text = std::fs::read_to_string(path).map_err(|source| read_error(path, source))?;
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| shape(error.message().to_owned()))?;
        let hexadecimal = table
            .get("genesis")
            .and_then(toml::Value::as_str)
            .ok_or_else(|| shape("has no key `genesis`".to_owned()))?;
        let bytes = hex::decode(hexadecimal)
            .map_err(|error| shape(format!("genesis is not hexadecimal ({error})")))?;
        let genesis = Genesis::from_bytes(&bytes).map_err(|source| GenesisFileError::Encoding {
            path: path.to_owned(),
            source,
        })?;
        genesis.validate().map_err(|source| GenesisFileError::Rule {
            path: path.to_owned(),
            source,
        })?;
        let allocations = read_allocations(&path.with_file_name("allocations.bin"), &genesis)?;
        Ok(Self {
            epoch: crypto::placement::epoch_config(&genesis),
            genesis,
            allocations,
        })
    }
}

fn read_error(path: &Path, source: std::io::Error) -> GenesisFileError {
    GenesisFileError::Read {
        path: path.to_owned(),
        source,
    }
}

fn read_allocations(path: &Path, genesis: &Genesis) -> Result<Vec<Allocation>, GenesisFileError> {
    let bytes = std::fs::read(path).map_err(|source| read_error(path, source))?;
    let mut reader = Reader::new(&bytes);
    let decode = |reader: &mut Reader<'_>| {
        let count = reader.count("allocations", genesis.allocations as usize)?;
        let allocations = reader.items(count)?;
        reader.finish()?;
        Ok(allocations)
    };
    let allocations: Vec<Allocation> = decode(&mut reader).map_err(|source| GenesisFileError::Encoding {
        path: path.to_owned(),
        source,
    })?;
    let hash = crypto::hash::allocations_hash(&allocations);
    if hash != genesis.allocations_hash {
        return Err(GenesisFileError::Allocations {
            path: path.to_owned(),
            found: allocations.len(),
            hash,
            count: genesis.allocations,
            named: genesis.allocations_hash,
        });
    }
    Ok(allocations)
}

/// Writes allocations as `shardbench-node genesis --allocations` reads them.
///
/// # Errors
/// Those of the file system.
pub fn write_allocations(path: &Path, allocations: &[Allocation]) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    types::codec::encode_items(allocations, &mut bytes);
    std::fs::write(path, bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use types::codec::Encode as _;
    use types::genesis::{Allocation, FundingRule, Genesis};
    use types::policy::Policy;
    use types::{Amount, Hash, Owner};

    use super::{GenesisFileError, NetworkGenesis, write_allocations};

    fn write(folder: &Path) -> (Genesis, Vec<Allocation>) {
        let allocations: Vec<Allocation> = (1..=5)
            .map(|owner| Allocation {
                owner: Owner([owner; 32]),
                amount: Amount(9),
            })
            .collect();
        let genesis = Genesis {
            name: "files".into(),
            policy: Policy::lan(),
            shards: 1,
            randomness: Hash([3; 32]),
            validators: (0..4).map(|id| [id; 32]).collect(),
            funding: FundingRule {
                seed: 1,
                accounts: 5,
                amount: Amount(9),
            },
            allocations: 5,
            allocations_hash: crypto::hash::allocations_hash(&allocations),
        };
        let text = format!(
            "name = \"files\"\ngenesis = \"{}\"\n",
            hex::encode(genesis.to_bytes())
        );
        std::fs::write(folder.join("genesis.toml"), text).expect("genesis");
        write_allocations(&folder.join("allocations.bin"), &allocations).expect("allocations");
        (genesis, allocations)
    }

    #[test]
    fn a_network_is_read_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let (genesis, allocations) = write(folder.path());
        let network = NetworkGenesis::read(&folder.path().join("genesis.toml")).expect("read");
        assert_eq!((network.genesis, network.allocations), (genesis, allocations));
        assert_eq!(network.epoch.committees[0].size(), 4);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let (toml, bin) = (
            folder.path().join("genesis.toml"),
            folder.path().join("allocations.bin"),
        );
        let read = || NetworkGenesis::read(&toml).expect_err("wrong");
        assert!(matches!(read(), GenesisFileError::Read { .. }));
        let (genesis, mut allocations) = write(folder.path());
        allocations[2].amount = Amount(10);
        write_allocations(&bin, &allocations).expect("write");
        assert!(matches!(read(), GenesisFileError::Allocations { .. }));
        std::fs::write(&bin, [9, 0, 0, 0]).expect("write");
        assert!(matches!(read(), GenesisFileError::Encoding { .. }));
        let mut three = genesis;
        three.shards = 3;
        for (text, kind) in [
            ("name = 1".to_owned(), "no key"),
            ("genesis = \"zz\"".to_owned(), "not hexadecimal"),
            ("genesis = \"00\"".to_owned(), "truncated"),
            ("genesis = ".to_owned(), "genesis.toml"),
            (
                format!("genesis = \"{}\"", hex::encode(three.to_bytes())),
                "3 shards",
            ),
        ] {
            std::fs::write(&toml, text).expect("write");
            let error = read().to_string();
            assert!(error.contains(kind) && error.contains("genesis.toml"), "{error}");
        }
    }
}
