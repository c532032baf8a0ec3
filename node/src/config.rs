//! Configuration of one validator: a TOML file in which every key is commented.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crypto::placement;
use serde::Deserialize;
use store::Durability;
use types::ValidatorId;
use types::genesis::Committee;

use crate::driver::QueueBounds;
use crate::genesis_file::{self, GenesisFileError};
use crate::keys::{self, KeyFileError, KeySeed};
use crate::testnet::cores;

/// Longest round trip that links are shaped to.
pub(crate) const RTT_MAX: Duration = Duration::from_secs(10);
/// Threads of one kind: beyond, a typing error is likelier than such a machine.
pub(crate) const THREADS_MAX: usize = 1024;

/// What one validator runs with; checked, nothing started.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `genesis.toml` of the network.
    pub(crate) genesis: PathBuf,
    /// Secret key; of a validator of that genesis.
    pub(crate) key: KeySeed,
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
    /// Bounds of the queues between threads and sockets.
    pub(crate) queues: QueueBounds,
}

/// Why a validator cannot be configured. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {path} cannot be read: {source}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Not TOML, a key that is not known, or one that is missing.
    #[error("the configuration {path}: {problem}")]
    Shape {
        /// File.
        path: PathBuf,
        /// What is wrong, with its line.
        problem: String,
    },
    /// A value that is not accepted.
    #[error("the configuration {path}: {key} is {value}, accepted is {accepted}")]
    Value {
        /// File.
        path: PathBuf,
        /// Key.
        key: String,
        /// Value.
        value: String,
        /// What is accepted.
        accepted: String,
    },
    /// Members of the own committee without an address.
    #[error(
        "the configuration {path}: [peers] has no address for validator {missing}, accepted is one for everyone else in the committee of shard {shard}: {members}"
    )]
    Peer {
        /// File.
        path: PathBuf,
        /// The first one missing.
        missing: u16,
        /// Shard of this validator.
        shard: u16,
        /// Everyone else in the committee.
        members: String,
    },
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

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    genesis: PathBuf,
    key: PathBuf,
    data_dir: PathBuf,
    listen_peers: String,
    listen_clients: String,
    durability: Option<String>,
    apply_threads: Option<i64>,
    verify_threads: Option<i64>,
    rtt: Option<String>,
    #[serde(default)]
    queues: QueueBounds,
    peers: BTreeMap<String, String>,
}

impl Config {
    /// Reads a configuration, its key and the validators of its genesis. Paths in the file are relative to the file.
    ///
    /// # Errors
    /// Names the file, the key, its value and what is accepted.
    pub(crate) fn read(path: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.into(),
            source,
        })?;
        let raw: RawConfig = toml::from_str(&text).map_err(|error| ConfigError::Shape {
            path: path.into(),
            problem: toml_problem(&text, &error),
        })?;
        raw.validate(path, overrides)
    }
}

impl RawConfig {
    fn validate(self, path: &Path, overrides: &Overrides) -> Result<Config, ConfigError> {
        let beside = |file: &Path| path.parent().unwrap_or(Path::new("")).join(file);
        let check = Check { path };
        let listen_peers = check.address("listen_peers", &self.listen_peers)?;
        let listen_clients = check.address("listen_clients", &self.listen_clients)?;
        if listen_peers == listen_clients && listen_peers.port() != 0 {
            return Err(check.value(
                "listen_clients",
                &self.listen_clients,
                "another port than that of listen_peers",
            ));
        }
        let durability = self.durability.as_deref().unwrap_or(Durability::Fsync.name());
        let durability = parse_durability(durability)
            .map_err(|accepted| check.value("durability", durability, &accepted))?;
        let rtt = self.rtt.as_deref().unwrap_or("0s");
        let rtt = parse_rtt(rtt).map_err(|accepted| check.value("rtt", rtt, &accepted))?;
        let apply_threads = check.threads("apply_threads", self.apply_threads.unwrap_or(1), 1)?;
        let verify_threads = check.threads("verify_threads", self.verify_threads.unwrap_or(0), 0)?;
        let peers = check.peers(&self.peers)?;
        if let Some((key, value, most)) = self.queues.out_of_range() {
            let key = format!("queues.{key}");
            return Err(check.value(&key, &value.to_string(), &format!("1 to {most}")));
        }

        let genesis_path = overrides.genesis.clone().unwrap_or_else(|| beside(&self.genesis));
        let key_path = beside(&self.key);
        let genesis = genesis_file::read_genesis(&genesis_path)?;
        let key = keys::read_key(&key_path)?;
        let Ok(id) = genesis.validators.binary_search(&key.public()) else {
            return Err(ConfigError::Foreign {
                key: key_path,
                genesis: genesis_path,
            });
        };
        if let Some(unknown) = peers
            .keys()
            .find(|id| usize::from(**id) >= genesis.validators.len())
        {
            let accepted = format!("the number of a validator, 0 to {}", genesis.validators.len() - 1);
            return Err(check.value("a key of [peers]", &unknown.to_string(), &accepted));
        }
        check.committee(
            ValidatorId(id as u16),
            &placement::epoch_config(&genesis).committees,
            &peers,
        )?;
        Ok(Config {
            genesis: genesis_path,
            key,
            data_dir: overrides
                .data_dir
                .clone()
                .unwrap_or_else(|| beside(&self.data_dir)),
            listen_peers,
            listen_clients,
            peers,
            durability,
            apply_threads,
            verify_threads: if verify_threads == 0 {
                cores()
            } else {
                verify_threads
            },
            rtt,
            queues: self.queues,
        })
    }
}

/// Checks of single values, which name the file.
struct Check<'a> {
    path: &'a Path,
}

impl Check<'_> {
    fn value(&self, key: &str, value: &str, accepted: &str) -> ConfigError {
        ConfigError::Value {
            path: self.path.into(),
            key: key.into(),
            value: format!("{value:?}"),
            accepted: accepted.into(),
        }
    }

    fn address(&self, key: &str, value: &str) -> Result<SocketAddr, ConfigError> {
        value
            .parse()
            .map_err(|_| self.value(key, value, "IP:PORT such as 127.0.0.1:21000 or [::1]:21000"))
    }

    fn threads(&self, key: &str, value: i64, min: usize) -> Result<usize, ConfigError> {
        let threads = usize::try_from(value)
            .ok()
            .filter(|threads| (min..=THREADS_MAX).contains(threads));
        threads.ok_or_else(|| self.value(key, &value.to_string(), &format!("{min} to {THREADS_MAX}")))
    }

    fn peers(&self, raw: &BTreeMap<String, String>) -> Result<BTreeMap<u16, SocketAddr>, ConfigError> {
        let mut peers = BTreeMap::new();
        for (number, address) in raw {
            let id: u16 = number
                .parse()
                .map_err(|_| self.value("a key of [peers]", number, "the number of a validator"))?;
            let key = format!("peers.{number}");
            let parsed = self.address(&key, address)?;
            if parsed.port() == 0 {
                return Err(self.value(&key, address, "an address with a port above 0"));
            }
            if peers.values().any(|other| *other == parsed) {
                return Err(self.value(&key, address, "an address of its own for each validator"));
            }
            if peers.insert(id, parsed).is_some() {
                return Err(self.value("a key of [peers]", number, "each validator once"));
            }
        }
        Ok(peers)
    }

    fn committee(
        &self,
        me: ValidatorId,
        committees: &[Committee],
        peers: &BTreeMap<u16, SocketAddr>,
    ) -> Result<(), ConfigError> {
        let has_me = |committee: &&Committee| committee.members.iter().any(|(id, _)| *id == me);
        let Some(committee) = committees.iter().find(has_me) else {
            return Ok(());
        };
        let others: Vec<u16> = committee
            .members
            .iter()
            .map(|(id, _)| id.0)
            .filter(|id| *id != me.0)
            .collect();
        match others.iter().find(|id| !peers.contains_key(id)) {
            None => Ok(()),
            Some(missing) => Err(ConfigError::Peer {
                path: self.path.into(),
                missing: *missing,
                shard: committee.shard.0,
                members: others.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

/// `fsync` or `async`.
///
/// # Errors
/// What is accepted.
pub(crate) fn parse_durability(text: &str) -> Result<Durability, String> {
    let all = [Durability::Fsync, Durability::Async];
    all.into_iter()
        .find(|durability| durability.name() == text)
        .ok_or_else(|| "fsync or async".into())
}

/// A round-trip time up to `RTT_MAX`; `0` needs no unit.
///
/// # Errors
/// What is accepted.
pub(crate) fn parse_rtt(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).ok().filter(|rtt| *rtt <= RTT_MAX);
    parsed.ok_or_else(|| "a duration from 0s to 10s, such as 50ms".into())
}

/// What is wrong with a TOML file, on one line.
pub(crate) fn toml_problem(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    match error.span() {
        // A key that is not there has no line.
        Some(span) if !message.starts_with("missing field") => {
            let before = text.get(..span.start).unwrap_or(text);
            format!("line {}: {message}", before.matches('\n').count() + 1)
        }
        _ => message,
    }
}

/// A configuration to be written.
#[derive(Clone, Debug)]
pub(crate) struct ConfigText<'a> {
    /// Number of the validator.
    pub(crate) validator: u16,
    /// Its public key.
    pub(crate) public: [u8; 32],
    /// Its key file, relative to the configuration.
    pub(crate) key: &'a str,
    /// Address for validators.
    pub(crate) listen_peers: SocketAddr,
    /// Address for clients.
    pub(crate) listen_clients: SocketAddr,
    /// Addresses of all validators.
    pub(crate) peers: &'a BTreeMap<u16, SocketAddr>,
}

impl ConfigText<'_> {
    /// The file, every key with a comment.
    pub(crate) fn render(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut text = format!(
            "# Validator {id}, public key {public}.\n\
             # Start it with: shardbench-node run --config validator-{id:03}.toml\n\
             # Paths are relative to this file.\n\n\
             # Genesis of the network; allocations.bin must lie beside it.\n\
             genesis = {genesis}\n\
             # Secret key: 64 hexadecimal digits. Whoever has it can speak for this validator.\n\
             key = {key}\n\
             # Block log and state; created at the first start.\n\
             data_dir = \"data/{id:03}\"\n\
             # UDP address on which other validators are awaited. On a machine of its own: 0.0.0.0:PORT.\n\
             listen_peers = \"{peers}\"\n\
             # UDP address on which clients are awaited.\n\
             listen_clients = \"{clients}\"\n\
             # \"fsync\": votes leave after they would survive power loss. \"async\": for comparison only.\n\
             durability = \"fsync\"\n\
             # Threads that apply a block, 1 to {THREADS_MAX}.\n\
             apply_threads = 1\n\
             # Threads that check signatures, up to {THREADS_MAX}; 0 is one for each core.\n\
             verify_threads = 0\n\
             # Round trip that links to other validators are shaped to, up to 10s; 0s is what the network gives.\n\
             rtt = \"0s\"\n\n\
             # Where other validators are reached: number = \"IP:PORT\". The own committee is needed, others may be missing.\n\
             # Bounds of queues, each from 1 to the default; lower ones save memory and answer `Busy` earlier. The defaults:\n\
             # [queues]\n\
             # peer_events = 1024, of one lane of one validator, twice on the way; the sender waits\n\
             # peer_frames = 4096, to one lane of one validator; more are dropped and asked for again\n\
             # client_requests = 1024, of all clients; their readers wait\n\
             # client_frames = 1024, answers to one client; beyond, it is disconnected\n\
             # queries = 256, questions to the replica; ingress waits\n\
             # intake_txs = 65536, before verification and again behind it; beyond, Busy\n\
             # admission_batches = 1024, verified and waiting for the replica; beyond, Busy\n\
             # verify_jobs = 1024, bodies under verification; the replica holds others back\n\
             # persist = 1024, commands to the store; the replica waits\n\n\
             [peers]\n",
            id = self.validator,
            public = hex::encode(self.public),
            genesis = quoted(genesis_file::GENESIS_FILE),
            key = quoted(self.key),
            peers = self.listen_peers,
            clients = self.listen_clients,
        );
        for (id, address) in self.peers {
            text.push_str(&format!("{id} = \"{address}\"\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests;
