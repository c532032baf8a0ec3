//! The report of a run: nested keys with their unit in the name or beside the value, one schema with a version.
//!
//! Invariant: additive only within a major version of the schema; what was not measured is absent, never zero.

mod audit;
mod faults;
pub mod markdown;
pub mod show;
pub mod text;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sizing::Sizing;

use crate::accounting::Counts;
use crate::cli::RawConfig;
use crate::latency::LatencyFigures;
use crate::verdict::{Check, Status};

pub use audit::AuditSection;
pub use faults::{FaultsSection, MODE_CHANGES_MAX, ModeChangeSection, MoneySection};

/// Version of the report's schema (SemVer).
pub const SCHEMA_VERSION: &str = "3.0.0";

/// Everything that a run leaves behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `SCHEMA_VERSION` of the writer.
    pub schema_version: String,
    /// What ran.
    pub run: RunSection,
    /// On what it ran.
    pub env: EnvSection,
    /// Whether the numbers may be used.
    pub verdict: VerdictSection,
    /// The balance.
    pub counts: CountsSection,
    /// Rates over the measured window.
    pub rate: RateSection,
    /// Latencies of the transactions intended inside the measured window.
    pub latency: LatencySection,
    /// The same by kind of transaction: `intra_shard`.
    pub by_kind: BTreeMap<String, PartFigures>,
    /// The same by shard.
    pub by_shard: BTreeMap<String, PartFigures>,
    /// What was asked of the workload beside what was measured.
    pub mix: MixSection,
    /// What was measured.
    pub system: SystemSection,
    /// What it cost.
    pub cost: CostSection,
    /// What the machine allows; only what is measured.
    pub limit: LimitSection,
    /// The end audit over the chains of all validators; absent when the run ended before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditSection>,
    /// What the network's size and bonds promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<SecuritySection>,
    /// What cheating was caught and who paid for it; absent with one league, and without an audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultsSection>,
    /// By shard: where its supply is at the end; empty without an audit.
    #[serde(default)]
    pub money: BTreeMap<String, MoneySection>,
    /// Objectives.
    pub slo: Vec<SloResult>,
    /// By interval.
    pub intervals: Vec<Interval>,
}

/// `run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSection {
    /// Short random name.
    pub id: String,
    /// Start of the load, UTC, RFC 3339.
    pub start_utc: String,
    /// True when a signal or `--abort-on` ended it early.
    pub interrupted: bool,
    /// Why, when it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruption: Option<String>,
    /// Command line.
    pub argv: Vec<String>,
    /// Every setting as resolved; `--config` of this file repeats the run.
    pub config: RawConfig,
    /// `--tag k=v`.
    pub tags: BTreeMap<String, String>,
    /// Seed.
    pub seed: u64,
    /// blake3 of all transaction bytes in order, hexadecimal.
    pub workload_digest: String,
    /// Transactions prepared before the run.
    pub prepared_count: u64,
    /// Bytes of them.
    pub prepared_bytes: u64,
    /// Wall time of signing them, seconds.
    pub signing_s: f64,
    /// Measured window, seconds.
    pub window_s: f64,
    /// Load before it, seconds.
    pub warmup_s: f64,
    /// Dependent transactions that waited for their parent's send, and for how long.
    pub dependency_wait: DependencyWait,
}

/// `run.dependency_wait`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DependencyWait {
    /// Transactions whose intended time was moved to their parent's send.
    pub count: u64,
    /// Mean shift of these, nanoseconds.
    pub mean_ns: u64,
    /// Longest shift, nanoseconds.
    pub max_ns: u64,
}

/// `env`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnvSection {
    /// Versions by program.
    pub versions: BTreeMap<String, String>,
    /// Source revision, where the build knew it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_sha: Option<String>,
    /// Kernel.
    pub kernel: String,
    /// CPU model.
    pub cpu_model: String,
    /// Logical processors that this process may use.
    pub cores: u64,
    /// Physical memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// CPU features that matter here.
    pub features: Vec<String>,
    /// Frequency governor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub governor: Option<String>,
    /// True when generator and nodes share this host.
    pub shared_host: bool,
    /// Warnings of the doctor.
    pub warnings: Vec<String>,
    /// By validator.
    pub nodes: Vec<NodeSection>,
}

/// `env.nodes[]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSection {
    /// Validator.
    pub validator: u16,
    /// Shard that it serves.
    pub shard: u16,
    /// Address for clients.
    pub address: String,
    /// Version and revision of its build.
    pub build: String,
    /// Verification backend in use.
    pub backend: String,
    /// Best one that its machine allows.
    pub backend_best: String,
    /// File system of its data.
    pub fs: String,
    /// `fsync` or `async`.
    pub durability: String,
    /// Median duration of an fsync, nanoseconds.
    pub fsync_p50_ns: u64,
}

/// `verdict`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictSection {
    /// The worst of all checks.
    pub status: Status,
    /// Every check.
    pub checks: Vec<Check>,
    /// What a reader of the headline must know.
    pub labels: Vec<String>,
}

/// `counts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CountsSection {
    /// The whole run, warm-up included.
    #[serde(flatten)]
    pub run: Counts,
    /// Both equations hold, and pacer and receivers counted the same.
    pub balanced: bool,
    /// By intended time inside the measured window.
    pub window: Counts,
}

/// `rate`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RateSection {
    /// Scheduled in the window, per second.
    pub scheduled_tps: f64,
    /// Of these, sent before the window ended, per second.
    pub sent_tps: f64,
    /// `sent_tps / scheduled_tps`.
    pub sent_ratio: f64,
    /// Transactions intended in the window that became final at any time, per second of the window.
    pub final_tps: FinalRate,
    /// Transactions that became final during the window, per second.
    pub final_in_window_tps: f64,
}

/// `rate.final_tps`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FinalRate {
    /// Mean.
    pub mean: f64,
    /// Half width of the 95 % confidence interval over whole intervals; absent with fewer than three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<f64>,
    /// Slowest whole interval of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_interval: Option<f64>,
}

/// `latency`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencySection {
    /// First optimistic receipt, from the intended send time; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimistic: Option<LatencyFigures>,
    /// Final, from the intended send time.
    #[serde(rename = "final")]
    pub finalised: LatencyFigures,
    /// Final, from the actual send time: what other tools report.
    pub final_service: LatencyFigures,
    /// Actual send time minus the intended one: the client's own delay.
    pub lag: LatencyFigures,
}

/// Figures of a part of the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartFigures {
    /// Scheduled in the window.
    pub scheduled: u64,
    /// Of these, sent.
    pub sent: u64,
    /// Of these, final.
    #[serde(rename = "final")]
    pub finalised: u64,
    /// Final, per second of the window.
    pub final_tps: f64,
    /// Median of the final latency, nanoseconds.
    pub p50_ns: u64,
    /// 99 % of the final latency, nanoseconds.
    pub p99_ns: u64,
}

/// A share that was asked for and what was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// As asked for.
    pub requested: String,
    /// Share of the sent transactions, `0..=1`.
    pub measured: f64,
}

/// `mix`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MixSection {
    /// Rate that was asked for and the one sent, transactions per second.
    pub rate: Asked,
    /// Transactions that touch more than one shard.
    pub cross_shard: Asked,
    /// Shards that a transaction touches, mean.
    pub shards_touched_mean: f64,
    /// Deliberate double spends.
    pub conflicts: Asked,
    /// Deliberately invalid transactions.
    pub invalid: Asked,
    /// Busiest shard's transactions over the mean of all shards.
    pub shard_imbalance: f64,
    /// Bytes of a transaction, mean.
    pub tx_bytes_mean: f64,
}

/// `system`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SystemSection {
    /// Ledger design.
    pub protocol: String,
    /// Shards.
    pub shards: u16,
    /// Validators of each shard, voters and candidates.
    pub validators_per_shard: u16,
    /// Seats of believable authors in each shard; absent with one league, as all that follows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub believable: Option<u16>,
    /// Candidates for them in each shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<u16>,
    /// Probability with which a voter checks the signatures of a transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<f64>,
    /// Smallest bond of a candidate, smallest units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bond: Option<u64>,
    /// `fsync` or `async`.
    pub durability: String,
    /// Delay between validators that was added, round trip, milliseconds; 0 if none.
    pub added_rtt_ms: f64,
    /// Hash of the genesis, hexadecimal.
    pub genesis: String,
    /// Name of the network.
    pub network: String,
}

/// `cost`: over the whole run; absent keys could not be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CostSection {
    /// CPU time of all validators from the start of the load to the end of the drain, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_cpu_s: Option<f64>,
    /// CPU time of this program over the same time, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loadgen_cpu_s: Option<f64>,
    /// Wall time that both refer to, seconds.
    pub wall_s: f64,
    /// Final transactions per CPU second of the validators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_tps_per_core: Option<f64>,
    /// Signatures that entered a verification equation, all validators together, per final transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sig_checks_per_tx: Option<f64>,
    /// What the rules say it should be: `o (1 + p n_n)`, with one league `o n`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sig_checks_model: Option<f64>,
    /// `sig_checks_per_tx` over the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sig_checks_ratio: Option<f64>,
    /// Bytes that all validators received, from clients and from one another, per final transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_bytes_received_per_tx: Option<f64>,
    /// What the rules say these should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_bytes_model: Option<f64>,
    /// `net_bytes_received_per_tx` over the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_bytes_ratio: Option<f64>,
    /// Bytes that all validators sent, per final transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_bytes_per_tx: Option<f64>,
    /// Fsyncs of one validator per 1000 final transactions of its shard, mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsyncs_per_validator_per_1000_tx: Option<f64>,
    /// Heights in flight when a block was proposed, mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heights_in_flight_mean: Option<f64>,
    /// View changes that validators took part in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view_changes: Option<u64>,
    /// Messages that validators refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_messages: Option<u64>,
    /// Resident memory of all node processes at the end, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Resident memory of this program at the end, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loadgen_rss_bytes: Option<u64>,
}

/// `security`: computed for this network, its smallest bond and the largest value that was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SecuritySection {
    /// Failure of shards, forgeries that pass the samples, bonds that deter.
    #[serde(flatten)]
    pub sizing: Sizing,
    /// Largest value of a transaction that was sent, smallest units.
    pub value_max: u64,
    /// Value of an author's transactions that are not final, mean of the busiest shard, smallest units; absent with one
    /// league.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_value: Option<f64>,
    /// Bond over what of that value could be forged unseen: above 1 the bond covers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposure_margin: Option<f64>,
    /// Bond that the requested rate asks for: twice what one author could take unseen while its transactions are open
    /// as long as the policy allows, smallest units; absent with one league.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond_for_rate: Option<u64>,
    /// Why the bond is smaller than that; absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond_limit: Option<String>,
}

/// `limit`: what a model or a reference says is possible here; absent = not measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitSection {
    /// Signatures alone with the best library on all cores, transactions per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_tps: Option<f64>,
    /// Share of it that was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached: Option<f64>,
    /// What the product of the stage costs would allow, transactions per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_tps: Option<f64>,
}

/// `slo[]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SloResult {
    /// As written.
    pub expr: String,
    /// Measured: nanoseconds, a share or a rate, as in `limit`; absent if nothing was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Limit in the same unit.
    pub limit: f64,
    /// Unit of both.
    pub unit: String,
    /// True when it is met.
    pub ok: bool,
}

/// `intervals[]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Start, seconds from the start of the load.
    pub t_s: f64,
    /// Length, seconds.
    pub length_s: f64,
    /// `warmup`, `window` or `drain`.
    pub phase: String,
    /// Scheduled in it.
    pub scheduled: u64,
    /// Sent in it.
    pub sent: u64,
    /// Final in it.
    #[serde(rename = "final")]
    pub finalised: u64,
    /// Refused in it.
    pub rejected: u64,
    /// Sent and unanswered at its end.
    pub in_flight: u64,
    /// Median latency of those final in it, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ns: Option<u64>,
    /// 99 % of those final in it, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ns: Option<u64>,
}

/// A report that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The file is not a report.
    #[error("{path}: not a report of this program: {source}")]
    Parse {
        /// File.
        path: PathBuf,
        /// Cause.
        source: serde_json::Error,
    },
    /// The file is of another schema.
    #[error("{path}: schema version {found}, this program reads {SCHEMA_VERSION}")]
    Version {
        /// File.
        path: PathBuf,
        /// Version in the file.
        found: String,
    },
    /// The file cannot be written.
    #[error("{path}: cannot be written: {source}; name another file with --out")]
    Write {
        /// File.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
}

impl Report {
    /// Reads a report; the major version of its schema must be ours.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let text = std::fs::read_to_string(path).map_err(|source| ReportError::Read {
            path: path.to_owned(),
            source,
        })?;
        let parse = |source| ReportError::Parse {
            path: path.to_owned(),
            source,
        };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(parse)?;
        let found = value.get("schema_version").and_then(|version| version.as_str());
        if let Some(found) = found
            && found.split('.').next() != SCHEMA_VERSION.split('.').next()
        {
            return Err(ReportError::Version {
                path: path.to_owned(),
                found: found.to_owned(),
            });
        }
        serde_json::from_value(value).map_err(parse)
    }

    /// Writes the report so that a reader never sees half of it: a file beside it, then a rename.
    ///
    /// # Errors
    /// Names the file.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        let fail = |source| ReportError::Write {
            path: path.to_owned(),
            source,
        };
        let text = serde_json::to_string_pretty(self).map_err(|error| fail(error.into()))?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let mut file = std::fs::File::create(&partial).map_err(fail)?;
        file.write_all(text.as_bytes()).map_err(fail)?;
        file.write_all(b"\n").map_err(fail)?;
        file.sync_all().map_err(fail)?;
        std::fs::rename(&partial, path).map_err(fail)
    }

    /// The JSON Schema of reports.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

#[cfg(test)]
pub(crate) mod tests;
