//! A local network for one run: `shardbench-node testnet` as a child that ends when this program does.
//!
//! Contract with the child: `genesis` writes the files and prints nothing; `testnet` prints one JSON line when it is
//! ready and runs until its stdin ends, so that it also ends when this program is killed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use files::genesis::write_allocations;
use files::{GenesisFileError, NetworkGenesis};
use serde::Deserialize;
use sizing::exposure::Traffic;
use types::genesis::Allocation;

use crate::config::{ACCOUNT_AMOUNT, Design, LocalNetwork};
use crate::units::{show_duration, show_share};

/// Name of the node program.
const NODE_BIN: &str = "shardbench-node";
/// Name of the network; fixed, because genesis and with it all transaction bytes depend on it.
const NETWORK_NAME: &str = "local";
/// How much less the child is favoured by the scheduler than the pacer.
const CHILD_NICE: i32 = 5;
/// Longest wait for the child, besides a millisecond for every hundred accounts.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Longest wait for its end.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a message of the child that are shown.
const SHOWN_BYTES: usize = 2000;

/// Why there is no local network.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No node program.
    #[error(
        "{path}: no such file; build it with `cargo build --release -p node`, or name it with --node-bin"
    )]
    NoBinary {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A directory or file that cannot be made.
    #[error("{path}: {source}; name another place with --data-dir")]
    Folder {
        /// Place.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The child could not be started.
    #[error("{path} could not be started: {source}")]
    Start {
        /// Program.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The child failed.
    #[error("{NODE_BIN} {command} failed ({status}): {message}")]
    Failed {
        /// Its command.
        command: &'static str,
        /// How it ended.
        status: String,
        /// What it said.
        message: String,
    },
    /// The child did not get ready.
    #[error("{NODE_BIN} testnet was not ready within {} s: {message}", seconds)]
    NotReady {
        /// Time given.
        seconds: u64,
        /// What it said.
        message: String,
    },
    /// The child speaks otherwise than expected.
    #[error("{NODE_BIN} testnet said {line:?} where one JSON line with `ready` is expected: {problem}")]
    Protocol {
        /// The line.
        line: String,
        /// What is wrong.
        problem: String,
    },
    /// Two builds.
    #[error("{path} is build {theirs}, this program is build {ours}; build both from the same sources")]
    Build {
        /// Program.
        path: PathBuf,
        /// Its build.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// Its genesis cannot be read.
    #[error(transparent)]
    Genesis(#[from] GenesisFileError),
}

#[derive(Debug, Deserialize)]
struct Ready {
    ready: bool,
    build: String,
    nodes: Vec<ReadyNode>,
}

#[derive(Debug, Deserialize)]
struct ReadyNode {
    key: String,
    address: SocketAddr,
}

/// A directory for one run's data.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Makes a fresh directory under this parent, or under the user's cache folder.
    ///
    /// # Errors
    /// `Folder`.
    pub fn create(parent: Option<&Path>, id: &str) -> Result<Self, EmbeddedError> {
        let path = parent
            .map_or_else(cache_folder, Path::to_owned)
            .join(format!("run-{id}"));
        std::fs::create_dir_all(&path).map_err(|source| EmbeddedError::Folder {
            path: path.clone(),
            source,
        })?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all that is in it.
    pub fn remove(self) {
        // What cannot be removed is under the cache folder and named after this run: nothing else uses it.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Where data goes by default.
#[must_use]
pub fn cache_folder() -> PathBuf {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = from("XDG_CACHE_HOME")
        .or_else(|| {
            let folder = if cfg!(target_os = "macos") {
                "Library/Caches"
            } else {
                ".cache"
            };
            from("HOME").map(|home| home.join(folder))
        })
        .unwrap_or_else(std::env::temp_dir);
    base.join("shardbench")
}

/// The node program: as named, else beside this one.
///
/// # Errors
/// `NoBinary`.
pub fn find_node(named: Option<&Path>) -> Result<PathBuf, EmbeddedError> {
    let path = named.map_or_else(
        || {
            let own = std::env::current_exe().unwrap_or_default();
            own.with_file_name(format!("{NODE_BIN}{}", std::env::consts::EXE_SUFFIX))
        },
        Path::to_owned,
    );
    if path.is_file() {
        Ok(path)
    } else {
        Err(EmbeddedError::NoBinary { path })
    }
}

/// What the genesis of a local network holds besides validators.
#[derive(Clone, Copy, Debug)]
pub struct Funding<'a> {
    /// Seed of the accounts, and of the validators' keys.
    pub seed: u64,
    /// Accounts by the rule.
    pub accounts: u32,
    /// Further allocations: those of a trace.
    pub listed: &'a [Allocation],
    /// What the bonds are sized for.
    pub traffic: Traffic,
}

/// Writes genesis, allocations and keys into the directory and reads them back.
///
/// # Errors
/// `Start`, `Failed`, `Folder` or `Genesis`.
pub fn make_genesis(
    node: &Path,
    network: &LocalNetwork,
    funding: &Funding<'_>,
    folder: &Path,
) -> Result<NetworkGenesis, EmbeddedError> {
    let mut command = Command::new(node);
    command
        .arg("genesis")
        .arg("--out")
        .arg(folder)
        .args(["--shards", &network.shards.to_string()])
        .args(["--validators", &network.validators.to_string()])
        .args(["--seed", &funding.seed.to_string()])
        .args(["--accounts", &funding.accounts.to_string()])
        .args(["--amount", &ACCOUNT_AMOUNT.to_string()])
        .args(["--policy", &network.policy])
        .args(["--name", NETWORK_NAME])
        .args(design_flags(&network.design, &funding.traffic))
        // Equal flags give equal transaction bytes: the genesis hash is in every signature.
        .arg("--reproducible")
        .stdin(Stdio::null());
    if !funding.listed.is_empty() {
        let path = folder.join("listed.bin");
        write_allocations(&path, funding.listed).map_err(|source| EmbeddedError::Folder {
            path: path.clone(),
            source,
        })?;
        command.arg("--allocations").arg(path);
    }
    let output = command.output().map_err(|source| EmbeddedError::Start {
        path: node.to_owned(),
        source,
    })?;
    if !output.status.success() {
        return Err(EmbeddedError::Failed {
            command: "genesis",
            status: output.status.to_string(),
            message: shown(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    Ok(NetworkGenesis::load(&folder.join("genesis.toml"))?)
}

/// Flags of the genesis for a ledger design and its traffic; what is left to the policy is not said.
fn design_flags(design: &Design, traffic: &Traffic) -> Vec<String> {
    let Design::TwoLeagues(leagues) = design else {
        return vec!["--protocol".to_owned(), "pbft".to_owned()];
    };
    let mut flags = vec!["--protocol".to_owned(), "pob".to_owned()];
    let values = [
        ("--believable", leagues.seats.map(|seats| seats.to_string())),
        ("--candidates", leagues.candidates.map(|count| count.to_string())),
        ("--sampling", leagues.sampling_ppm.map(show_share)),
        ("--bond", leagues.bond.map(|bond| bond.to_string())),
        ("--rate", Some((traffic.rate.ceil() as u64).to_string())),
        ("--value-mean", Some(traffic.value_mean.to_string())),
        ("--value-max", Some(traffic.value_max.to_string())),
    ];
    for (flag, value) in values {
        flags.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
    }
    flags
}

/// A local network that runs.
#[derive(Debug)]
pub struct Embedded {
    child: Child,
    /// Its end ends the child.
    stdin: Option<ChildStdin>,
    /// By validator key.
    addresses: BTreeMap<[u8; 32], SocketAddr>,
    log: PathBuf,
}

impl Embedded {
    /// Starts the network whose genesis is in this directory and waits until it is ready.
    ///
    /// # Errors
    /// `Start`, `Failed`, `NotReady`, `Protocol` or `Build`; the child has ended then.
    pub fn start(
        node: &Path,
        network: &LocalNetwork,
        accounts: u32,
        folder: &Path,
    ) -> Result<Self, EmbeddedError> {
        let log = folder.join("node.log");
        let log_file = std::fs::File::create(&log).map_err(|source| EmbeddedError::Folder {
            path: log.clone(),
            source,
        })?;
        let mut command = Command::new(node);
        command
            .arg("testnet")
            .arg("--dir")
            .arg(folder)
            .args(["--durability", network.durability])
            .args(["--rtt", &show_duration(network.rtt)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file);
        if let Some(profiles) = &network.byzantine {
            command.args(["--byzantine", profiles]);
        }
        // A group of its own: Ctrl-C is for this program, which ends the child in its own time.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|source| EmbeddedError::Start {
            path: node.to_owned(),
            source,
        })?;
        lower_priority(&child);
        let stdin = child.stdin.take();
        let mut embedded = Self {
            stdin,
            child,
            addresses: BTreeMap::new(),
            log,
        };
        let deadline = READY_DEADLINE + Duration::from_millis(u64::from(accounts) / 100);
        match embedded.wait_ready(node, deadline) {
            Ok(addresses) => {
                embedded.addresses = addresses;
                Ok(embedded)
            }
            Err(error) => {
                embedded.kill();
                Err(error)
            }
        }
    }

    fn wait_ready(
        &mut self,
        node: &Path,
        deadline: Duration,
    ) -> Result<BTreeMap<[u8; 32], SocketAddr>, EmbeddedError> {
        let (sender, lines) = channel();
        if let Some(stdout) = self.child.stdout.take() {
            // Reads on after the first line, so that the child never blocks on a full pipe.
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        match lines.recv_timeout(deadline) {
            Ok(line) => parse_ready(&line, node, &crate::build_info::build()),
            Err(RecvTimeoutError::Timeout) => Err(EmbeddedError::NotReady {
                seconds: deadline.as_secs(),
                message: self.last_words(),
            }),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self
                    .wait(STOP_DEADLINE)
                    .map_or("still running".to_owned(), |status| status.to_string());
                Err(EmbeddedError::Failed {
                    command: "testnet",
                    status,
                    message: self.last_words(),
                })
            }
        }
    }

    /// Addresses by validator key.
    #[must_use]
    pub const fn addresses(&self) -> &BTreeMap<[u8; 32], SocketAddr> {
        &self.addresses
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// True while it runs; `Failed` when it has ended by itself.
    ///
    /// # Errors
    /// `Failed`.
    pub fn check(&mut self) -> Result<(), EmbeddedError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(EmbeddedError::Failed {
                command: "testnet",
                status: status.to_string(),
                message: self.last_words(),
            }),
            _ => Ok(()),
        }
    }

    /// Asks it to end and waits; kills it when it does not.
    ///
    /// # Errors
    /// `Failed` when it ends with an error or had to be killed.
    pub fn stop(mut self) -> Result<(), EmbeddedError> {
        self.stdin = None;
        match self.wait(STOP_DEADLINE) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(EmbeddedError::Failed {
                command: "testnet",
                status: status.to_string(),
                message: self.last_words(),
            }),
            None => {
                self.kill();
                Err(EmbeddedError::Failed {
                    command: "testnet",
                    status: format!("not ended within {} s", STOP_DEADLINE.as_secs()),
                    message: self.last_words(),
                })
            }
        }
    }

    fn wait(&mut self, longest: Duration) -> Option<std::process::ExitStatus> {
        let deadline = Instant::now() + longest;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        self.stdin = None;
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The end of what it wrote to stderr.
    fn last_words(&self) -> String {
        let mut text = Vec::new();
        match std::fs::File::open(&self.log).and_then(|mut file| file.read_to_end(&mut text)) {
            Ok(_) => shown(&String::from_utf8_lossy(&text)),
            Err(error) => format!("{}: {error}", self.log.display()),
        }
    }
}

/// The last lines of a message, on one line.
fn shown(text: &str) -> String {
    let text = text.trim();
    let start = text
        .char_indices()
        .rev()
        .map(|(at, _)| at)
        .take(SHOWN_BYTES)
        .last()
        .unwrap_or(0);
    let text = text.get(start..).unwrap_or_default();
    if text.is_empty() {
        "it said nothing".to_owned()
    } else {
        text.lines().collect::<Vec<_>>().join(" / ")
    }
}

fn lower_priority(child: &Child) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    // Refused only by a sandbox; the lag checks then show whether it mattered.
    let _ = rustix::process::setpriority_process(pid, CHILD_NICE);
}

fn parse_ready(line: &str, node: &Path, ours: &str) -> Result<BTreeMap<[u8; 32], SocketAddr>, EmbeddedError> {
    let fail = |problem: String| EmbeddedError::Protocol {
        line: shown(line),
        problem,
    };
    let ready: Ready = serde_json::from_str(line).map_err(|error| fail(error.to_string()))?;
    if !ready.ready {
        return Err(fail("`ready` is not true".to_owned()));
    }
    if ready.build != ours {
        return Err(EmbeddedError::Build {
            path: node.to_owned(),
            theirs: ready.build,
            ours: ours.to_owned(),
        });
    }
    let mut addresses = BTreeMap::new();
    for entry in ready.nodes {
        let mut key = [0; 32];
        hex::decode_to_slice(&entry.key, &mut key)
            .map_err(|error| fail(format!("key {}: {error}", entry.key)))?;
        addresses.insert(key, entry.address);
    }
    Ok(addresses)
}

#[cfg(all(test, unix))]
mod tests;
