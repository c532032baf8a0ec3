//! From texts to a checked configuration. Nothing starts before every value is known to be good.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::RawConfig;
use crate::hosts::NodeList;
use crate::schedule::Arrival;
use crate::slo::Objective;
use crate::units::Ramp;
use crate::usage::UsageError;
use crate::workload::InvalidShares;

mod file;
mod resolve;
#[cfg(test)]
mod tests;

pub use file::merge_file;

/// Amount of every funded account of a local network, smallest units.
pub const ACCOUNT_AMOUNT: u64 = 1_000_000_000;

/// Two leagues; what is `None` is left to the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leagues {
    /// Seats for believable authors in each shard.
    pub seats: Option<u16>,
    /// Candidates for them in each shard.
    pub candidates: Option<u16>,
    /// Probability with which a voter checks the signatures of a transaction, parts per million.
    pub sampling_ppm: Option<u32>,
    /// Bond of each validator, smallest units; `None` = sized by the genesis.
    pub bond: Option<u64>,
}

/// Ledger design of a local network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Design {
    /// `pbft`.
    OneLeague,
    /// `pob`.
    TwoLeagues(Leagues),
}

/// A network to start here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNetwork {
    /// Shards, a power of two.
    pub shards: u16,
    /// Validators of each shard, voters and candidates.
    pub validators: u16,
    /// Ledger design.
    pub design: Design,
    /// How its believable authors cheat, as `--byzantine` says it.
    pub byzantine: Option<String>,
    /// `fsync` or `async`.
    pub durability: &'static str,
    /// Parent of its data; `None` = the user's cache folder.
    pub data_dir: Option<PathBuf>,
    /// `lan`, `wan` or a file.
    pub policy: String,
    /// Added round trip between validators.
    pub rtt: Duration,
    /// Node program; `None` = beside this one.
    pub node_bin: Option<PathBuf>,
}

/// A network that runs already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteNetwork {
    /// Its nodes.
    pub nodes: NodeList,
    /// Its genesis file.
    pub genesis: PathBuf,
}

/// What is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// Started for this run.
    Local(LocalNetwork),
    /// Found.
    Remote(RemoteNetwork),
}

/// Length of the measured window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowLength {
    /// For this long.
    Time(Duration),
    /// For this many transactions.
    Count(u64),
}

/// What happens when sends fall behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// Send late; shed what is past its deadline.
    Queue,
    /// Do not send what cannot leave at its time.
    Shed,
    /// End the run.
    Stop,
}

/// The offered load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Pieces of the measured window; a single one with `Count` has the length of zero until it is planned.
    pub pieces: Vec<(Ramp, Duration)>,
    /// Length of the measured window.
    pub window: WindowLength,
    /// Load before it.
    pub warmup: Duration,
    /// Longest wait after the last send.
    pub drain: Duration,
    /// Gaps.
    pub arrival: Arrival,
    /// When sends fall behind.
    pub overload: Overload,
    /// When a final transaction is late.
    pub deadline: Duration,
    /// Most in flight.
    pub in_flight_max: u64,
    /// Seed of everything.
    pub seed: u64,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadChoice {
    /// Generated payments.
    Transfer {
        /// Inputs, least and most.
        inputs: (u8, u8),
        /// Outputs, least and most.
        outputs: (u8, u8),
        /// Of each payment.
        amount: Option<u64>,
        /// Transactions of a chain.
        chain_depth: u32,
        /// Shares of transactions that break a rule on purpose.
        invalid: InvalidShares,
        /// Share of transactions that spend the coin of another one again, parts per million.
        conflicts_ppm: u32,
    },
    /// A trace.
    Bitcoin(PathBuf),
}

/// How it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Connections to each node.
    pub connections: u16,
    /// Transactions that are waited for.
    pub batch: u16,
    /// Threads of the connections.
    pub threads: usize,
    /// Shortest sleep of the pacer.
    pub pace_quantum: Duration,
}

/// What a run that is not valid leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Exit 4.
    Strict,
    /// The verdict is printed, the exit code is not touched.
    Warn,
    /// As `warn`, and failed checks are not printed.
    Off,
}

/// Form of stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text block.
    Text,
    /// The report.
    Json,
    /// A table for a page.
    Markdown,
    /// Nothing.
    Quiet,
}

/// Form of stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A bar on a terminal, lines elsewhere.
    Auto,
    /// Lines.
    Line,
    /// One JSON object a second.
    Json,
    /// Nothing.
    Off,
}

/// When a run ends early.
#[derive(Clone, Debug, PartialEq)]
pub struct AbortRule {
    /// What must hold.
    pub objective: Objective,
    /// For how long.
    pub hold: Duration,
}

/// Gates and output.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Objectives.
    pub slo: Vec<Objective>,
    /// When the run ends early.
    pub abort_on: Option<AbortRule>,
    /// What a run that is not valid leads to.
    pub validity: Validity,
    /// Report file; `None` = named after time and id.
    pub out: Option<PathBuf>,
    /// Form of stdout.
    pub format: Format,
    /// Form of stderr.
    pub progress: Progress,
    /// Rows of the report.
    pub interval: Duration,
    /// Kept in the report.
    pub tags: BTreeMap<String, String>,
}

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What is loaded.
    pub network: Network,
    /// The load.
    pub load: Load,
    /// What is sent.
    pub workload: WorkloadChoice,
    /// Funded accounts of a local network.
    pub accounts: u32,
    /// How it is sent.
    pub client: Client,
    /// Gates and output.
    pub output: Output,
    /// Every setting with its default filled in: what the report keeps.
    pub resolved: RawConfig,
}

impl Config {
    /// Checks everything. `random` is taken as the seed when one is asked for at random.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn resolve(raw: &RawConfig, random: u64) -> Result<Self, UsageError> {
        resolve::resolve(raw.clone(), random)
    }

    /// True when the network is started by this run.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self.network, Network::Local(_))
    }
}
