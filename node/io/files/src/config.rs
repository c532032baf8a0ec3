//! Configuration of one validator: a TOML file in which every key is commented.

mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use types::ValidatorId;
use types::genesis::{Committee, Genesis};

use crate::bounded::{self, BoundedError};
use crate::limits::{
    CONFIG_FILE_BYTES_MAX, RESERVE_MIB_DEFAULT, RESERVE_MIB_MAX, RESERVE_MIB_MIN, RTT_MAX, THREADS_MAX,
};
use crate::problem::toml_problem;
use crate::queues::QueueBounds;

pub use text::ConfigText;
pub use types::Durability;

/// What the file says; every value alone is in its bounds, nothing was held against the genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file, for errors.
    pub path: PathBuf,
    /// `genesis.toml` of the network; relative paths are beside the file.
    pub genesis: PathBuf,
    /// Key file of the validator.
    pub key: PathBuf,
    /// Block log and state.
    pub data_dir: PathBuf,
    /// UDP address for validators.
    pub listen_peers: SocketAddr,
    /// UDP address for clients.
    pub listen_clients: SocketAddr,
    /// Addresses of validators by number, each its own.
    pub peers: BTreeMap<u16, SocketAddr>,
    /// When votes may leave.
    pub durability: Durability,
    /// Threads that apply blocks, 1 to [`THREADS_MAX`].
    pub apply_threads: usize,
    /// Threads that check signatures, up to [`THREADS_MAX`]; 0 is one for each core.
    pub verify_threads: usize,
    /// Round trip that links are shaped to, up to [`RTT_MAX`]; zero for what the network gives.
    pub rtt: Duration,
    /// Free space of the data directory, MiB, below which the validator suspends.
    pub reserve_mib: u64,
    /// Bounds of queues, the `[queues]` section.
    pub queues: QueueBounds,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {path} cannot be read: {source}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A file larger than any that is accepted.
    #[error("the configuration {path} has more than {max} bytes, which no file of its kind has")]
    Size {
        /// File.
        path: PathBuf,
        /// Accepted, bytes.
        max: u64,
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
    reserve_mib: Option<i64>,
    #[serde(default)]
    queues: QueueBounds,
    peers: BTreeMap<String, String>,
}

impl Settings {
    /// Reads a configuration. Paths in it are relative to the file.
    ///
    /// # Errors
    /// Names the file, the key, its value and what is accepted.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = bounded::read_text(path, CONFIG_FILE_BYTES_MAX).map_err(|error| {
            let path = path.to_path_buf();
            match error {
                BoundedError::Io(source) => ConfigError::Read { path, source },
                BoundedError::Size => ConfigError::Size {
                    path,
                    max: CONFIG_FILE_BYTES_MAX,
                },
            }
        })?;
        Self::parse(path, &text)
    }

    /// The settings of a file's text; `path` is for errors and for what is beside it, nothing is opened.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let raw: RawConfig = toml::from_str(text).map_err(|error| ConfigError::Shape {
            path: path.into(),
            problem: toml_problem(text, &error),
        })?;
        let beside = |file: &Path| path.parent().unwrap_or(Path::new("")).join(file);
        let check = Check { path };
        let listen_peers = check.address("listen_peers", &raw.listen_peers)?;
        let listen_clients = check.address("listen_clients", &raw.listen_clients)?;
        if listen_peers == listen_clients && listen_peers.port() != 0 {
            return Err(check.value(
                "listen_clients",
                &raw.listen_clients,
                "another port than that of listen_peers",
            ));
        }
        let durability = raw.durability.as_deref().unwrap_or(Durability::Fsync.name());
        let durability = parse_durability(durability)
            .map_err(|accepted| check.value("durability", durability, &accepted))?;
        if let Some((key, value, most)) = raw.queues.out_of_range() {
            let key = format!("queues.{key}");
            return Err(check.value(&key, &value.to_string(), &format!("1 to {most}")));
        }
        let rtt = raw.rtt.as_deref().unwrap_or("0s");
        let rtt = parse_rtt(rtt).map_err(|accepted| check.value("rtt", rtt, &accepted))?;
        Ok(Self {
            genesis: beside(&raw.genesis),
            key: beside(&raw.key),
            data_dir: beside(&raw.data_dir),
            listen_peers,
            listen_clients,
            durability,
            rtt,
            reserve_mib: check.reserve(raw.reserve_mib)?,
            queues: raw.queues,
            apply_threads: check.threads("apply_threads", raw.apply_threads.unwrap_or(1), 1)?,
            verify_threads: check.threads("verify_threads", raw.verify_threads.unwrap_or(0), 0)?,
            peers: check.peers(&raw.peers)?,
            path: path.into(),
        })
    }

    /// Holds the addresses against the network: each of a validator, and all of one's own committee there.
    ///
    /// # Errors
    /// `Value` or `Peer`.
    pub fn check_peers(
        &self,
        genesis: &Genesis,
        committees: &[Committee],
        me: ValidatorId,
    ) -> Result<(), ConfigError> {
        let check = Check { path: &self.path };
        let unknown = |id: &&u16| usize::from(**id) >= genesis.validators.len();
        if let Some(unknown) = self.peers.keys().find(unknown) {
            let last = genesis.validators.len().saturating_sub(1);
            let accepted = format!("the number of a validator, 0 to {last}");
            return Err(check.value("a key of [peers]", &unknown.to_string(), &accepted));
        }
        let has_me = |committee: &&Committee| committee.members.iter().any(|(id, _)| *id == me);
        let Some(committee) = committees.iter().find(has_me) else {
            return Ok(());
        };
        let members = committee.members.iter().map(|(id, _)| id.0);
        let others: Vec<u16> = members.filter(|id| *id != me.0).collect();
        match others.iter().find(|id| !self.peers.contains_key(id)) {
            None => Ok(()),
            Some(missing) => Err(ConfigError::Peer {
                path: self.path.clone(),
                missing: *missing,
                shard: committee.shard.0,
                members: others.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
            }),
        }
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

    fn reserve(&self, stated: Option<i64>) -> Result<u64, ConfigError> {
        let Some(stated) = stated else {
            return Ok(RESERVE_MIB_DEFAULT);
        };
        u64::try_from(stated)
            .ok()
            .filter(|reserve| (RESERVE_MIB_MIN..=RESERVE_MIB_MAX).contains(reserve))
            .ok_or_else(|| {
                let accepted = format!("{RESERVE_MIB_MIN} to {RESERVE_MIB_MAX}");
                self.value("reserve_mib", &stated.to_string(), &accepted)
            })
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
}

/// `fsync` or `async`.
///
/// # Errors
/// What is accepted.
pub fn parse_durability(text: &str) -> Result<Durability, String> {
    let all = [Durability::Fsync, Durability::Async];
    all.into_iter()
        .find(|durability| durability.name() == text)
        .ok_or_else(|| "fsync or async".into())
}

/// A round-trip time up to [`RTT_MAX`]; `0` needs no unit.
///
/// # Errors
/// What is accepted.
pub fn parse_rtt(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).ok().filter(|rtt| *rtt <= RTT_MAX);
    parsed.ok_or_else(|| "a duration from 0s to 10s, such as 50ms".into())
}
