//! What one validator runs with: its configuration file, its key and the validators of its genesis.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crypto::placement;
use files::{GenesisFileError, QueueBounds, Settings, genesis};
use store::Durability;
use types::ValidatorId;

use crate::keys::{self, KeyFileError, KeySeed};
use crate::testnet::workers;

/// What one validator runs with; checked, nothing started.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `genesis.toml` of the network.
    pub(crate) genesis: PathBuf,
    /// Secret key; of a validator of that genesis.
    pub(crate) key: KeySeed,
    /// Its file.
    pub(crate) key_file: PathBuf,
    /// Block log and state.
    pub(crate) data_dir: PathBuf,
    /// UDP address for validators.
    pub(crate) listen_peers: SocketAddr,
    /// UDP address for clients.
    pub(crate) listen_clients: SocketAddr,
    /// Addresses of validators by number; everyone else in the own committee is there.
    pub(crate) peers: BTreeMap<u16, SocketAddr>,
    /// What durable means.
    pub(crate) durability: Durability,
    /// Threads that apply blocks, at least 1.
    pub(crate) apply_threads: usize,
    /// Threads that check signatures, at least 1.
    pub(crate) verify_threads: usize,
    /// Round trip that links are shaped to; zero for what the network gives.
    pub(crate) rtt: Duration,
    /// Free space below which the validator suspends, bytes.
    pub(crate) reserve_bytes: u64,
    /// Bounds of the queues between threads and sockets.
    pub(crate) queues: QueueBounds,
}

/// Why a validator cannot be configured. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The configuration file.
    #[error(transparent)]
    File(#[from] files::ConfigError),
    /// The genesis.
    #[error(transparent)]
    Genesis(#[from] GenesisFileError),
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A key of somebody else.
    #[error(
        "{key} is the key of no validator of {genesis}, accepted is one of those that the genesis was made with"
    )]
    Foreign {
        /// Key file.
        key: PathBuf,
        /// Genesis.
        genesis: PathBuf,
    },
}

/// Flags that win over the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// Genesis.
    pub(crate) genesis: Option<PathBuf>,
    /// Data directory.
    pub(crate) data_dir: Option<PathBuf>,
}

impl Config {
    /// Reads a configuration, its key and the validators of its genesis. Paths in the file are relative to the file.
    ///
    /// # Errors
    /// Names the file, the key, its value and what is accepted.
    pub(crate) fn read(path: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let settings = Settings::read(path)?;
        let genesis_path = overrides.genesis.as_ref().unwrap_or(&settings.genesis);
        let genesis = genesis::read_genesis(genesis_path)?;
        let key = keys::read_key(&settings.key)?;
        let Ok(id) = genesis.validators.binary_search(&key.public()) else {
            return Err(ConfigError::Foreign {
                key: settings.key,
                genesis: genesis_path.clone(),
            });
        };
        let committees = placement::epoch_config(&genesis).committees;
        settings.check_peers(&genesis, &committees, ValidatorId(id as u16))?;
        Ok(Self {
            genesis: genesis_path.clone(),
            key,
            key_file: settings.key,
            data_dir: overrides.data_dir.clone().unwrap_or(settings.data_dir),
            listen_peers: settings.listen_peers,
            listen_clients: settings.listen_clients,
            peers: settings.peers,
            durability: settings.durability,
            apply_threads: settings.apply_threads,
            verify_threads: workers(settings.verify_threads),
            rtt: settings.rtt,
            reserve_bytes: settings.reserve_mib << 20,
            queues: settings.queues,
        })
    }
}

#[cfg(test)]
mod tests;
