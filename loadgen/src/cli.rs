//! The command line as it is written: every value a text, nothing checked yet ([`crate::config`] does that).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Open-loop load generator: measures from the intended send time, balances its accounts, gives a verdict.
///
/// Bare `loadgen --tps 5000` means `loadgen run --tps 5000`. Without --nodes it starts a local network, loads it,
/// audits it and stops it. stdout is the result, stderr the progress.
#[derive(Debug, Parser)]
#[command(
    name = "loadgen",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "EXIT  0 ok - 1 run failed - 2 usage or configuration - 3 objective breached - 4 run not valid - 130/143 interrupted"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Offers load, measures, audits, judges
    Run(Box<RunArgs>),
    /// This client's own ceiling against a sink that answers nothing
    Calibrate(CalibrateArgs),
    /// Prints a report
    Show(ShowArgs),
    /// Prints the JSON Schema of reports
    Schema,
    /// What this host lacks: files, socket buffers, disk, fsync, memory
    Doctor(DoctorArgs),
    /// Turns a real block into a workload file
    Import(ImportArgs),
    /// Prints completions for a shell
    Completions(CompletionArgs),
}

/// Flags of `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Everything that a report repeats.
    #[command(flatten)]
    pub values: RawConfig,
    /// Settings from a TOML file with the same keys, or from a report (.json), which repeats its run; flags win
    #[arg(
        long = "config",
        value_name = "FILE",
        env = "LOADGEN_CONFIG",
        help_heading = "Output"
    )]
    pub file: Option<PathBuf>,
    /// Check everything, print the plan, start nothing
    #[arg(long, help_heading = "Output")]
    pub dry_run: bool,
}

/// Flags of `calibrate`.
#[derive(Clone, Debug, Args)]
pub struct CalibrateArgs {
    /// Transactions to push through
    #[arg(long, value_name = "N", default_value = "1M")]
    pub count: String,
    /// Connections to the sink
    #[arg(long, value_name = "N", default_value = "4")]
    pub connections: String,
}

/// Flags of `show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Report
    #[arg(value_name = "R.json")]
    pub report: PathBuf,
    /// Form: text, json or md
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub format: String,
}

/// Flags of `doctor`.
#[derive(Clone, Debug, Default, Args)]
pub struct DoctorArgs {
    /// Directory for data [the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Flags of `import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// Raw Bitcoin block
    #[arg(long, value_name = "BLOCK.raw")]
    pub bitcoin: PathBuf,
    /// Workload file to write
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Flags of `completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionArgs {
    /// Shell
    pub shell: clap_complete::Shell,
}

/// Settings of a run as texts. A missing one is taken from the configuration file, then from the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawConfig {
    /// Ledger design of the local network: pob or pbft [default: pob]
    #[arg(
        long,
        value_name = "NAME",
        env = "LOADGEN_PROTOCOL",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Shards, a power of two from 1 to 256 [default: 2; 1 for bitcoin:FILE]
    #[arg(
        long,
        value_name = "N",
        env = "LOADGEN_SHARDS",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<String>,
    /// Validators of each shard, voters and candidates; at least 4 vote [default: 5]
    #[arg(
        long,
        value_name = "N",
        env = "LOADGEN_VALIDATORS",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validators: Option<String>,
    /// Believable authors of each shard, who do not vote; pob only [default: 1]
    #[arg(
        long,
        value_name = "N",
        env = "LOADGEN_BELIEVABLE",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub believable: Option<String>,
    /// Candidates for their seats; those without one stand in [default: as many as --believable]
    #[arg(
        long,
        value_name = "N",
        env = "LOADGEN_CANDIDATES",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<String>,
    /// Probability with which a voter checks the signatures of a transaction [default: 0.25]
    #[arg(
        long,
        value_name = "SHARE",
        env = "LOADGEN_SAMPLING",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<String>,
    /// Bond of each validator, smallest units [default: so large that no payment has to be checked by all, and that twice
    /// what an author could take unseen at the requested rate is covered]
    #[arg(
        long,
        value_name = "UNITS",
        env = "LOADGEN_BOND",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bond: Option<String>,
    /// Authors that cheat, to watch them being caught: forge, equivocate, wrong-group, withhold, late; KIND[=RATE],..
    #[arg(
        long,
        value_name = "LIST",
        env = "LOADGEN_BYZANTINE",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byzantine: Option<String>,
    /// fsync, or async for comparison: labelled [default: fsync]
    #[arg(
        long,
        value_name = "MODE",
        env = "LOADGEN_DURABILITY",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<String>,
    /// Directory for its data, removed after success [default: under the user's cache folder]
    #[arg(
        long,
        value_name = "DIR",
        env = "LOADGEN_DATA_DIR",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<String>,
    /// Protocol parameters: lan, wan, or a TOML file with those that differ from lan [default: lan]
    #[arg(
        long,
        value_name = "lan|wan|FILE",
        env = "LOADGEN_POLICY",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Round-trip delay added between validators, up to 10s [default: 0]
    #[arg(
        long,
        value_name = "DURATION",
        env = "LOADGEN_RTT",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<String>,
    /// shardbench-node [default: beside loadgen]
    #[arg(
        long,
        value_name = "FILE",
        env = "LOADGEN_NODE_BIN",
        help_heading = "Local network (ignored with --nodes)"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_bin: Option<String>,

    /// Transactions per second over all shards: 5000, 100k, 1.5M, or A:B for a linear ramp
    #[arg(long, value_name = "RATE", env = "LOADGEN_TPS", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tps: Option<String>,
    /// Instead of --tps and --duration: RATE@DURATION,.. such as 20k@30s,50k:100k@1m
    #[arg(long, value_name = "LIST", env = "LOADGEN_STAGES", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<String>,
    /// Measured window: a duration, or a number of transactions [default: 60s]
    #[arg(
        long,
        value_name = "DURATION|COUNT",
        env = "LOADGEN_DURATION",
        help_heading = "Load"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// The same load before it, not measured [default: 10s]
    #[arg(long, value_name = "DURATION", env = "LOADGEN_WARMUP", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<String>,
    /// Longest wait for answers after the last send [default: 10s]
    #[arg(long, value_name = "DURATION", env = "LOADGEN_DRAIN", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<String>,
    /// Gaps between transactions: poisson or uniform [default: poisson]
    #[arg(long, value_name = "KIND", env = "LOADGEN_ARRIVAL", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival: Option<String>,
    /// When sends fall behind: queue sends late (shed when past the deadline), shed drops, stop ends the run [default: queue]
    #[arg(long, value_name = "MODE", env = "LOADGEN_OVERLOAD", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overload: Option<String>,
    /// Final later than this after the intended time counts as late [default: 10s]
    #[arg(
        long,
        value_name = "DURATION",
        env = "LOADGEN_DEADLINE",
        help_heading = "Load"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Most transactions sent and unanswered [default: rate x deadline]
    #[arg(long, value_name = "N", env = "LOADGEN_MAX_IN_FLIGHT", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<String>,
    /// Drives keys, transaction bytes and send times: a number, or random [default: 1]
    #[arg(long, value_name = "U64|random", env = "LOADGEN_SEED", help_heading = "Load")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,

    /// transfer, or bitcoin:FILE made by `loadgen import` [default: transfer]
    #[arg(
        long,
        value_name = "NAME",
        env = "LOADGEN_WORKLOAD",
        help_heading = "Workload"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Share of payments between shards: 0 [default: 0]
    #[arg(
        long,
        value_name = "SHARE",
        env = "LOADGEN_CROSS_SHARD",
        help_heading = "Workload"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_shard: Option<String>,
    /// Inputs of a transaction, N or A-B, 1 to 64 [default: 1]
    #[arg(long, value_name = "N|A-B", env = "LOADGEN_INPUTS", help_heading = "Workload")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
    /// Outputs of a transaction, N or A-B, 1 to 64 [default: 2]
    #[arg(
        long,
        value_name = "N|A-B",
        env = "LOADGEN_OUTPUTS",
        help_heading = "Workload"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<String>,
    /// Smallest units of each payment [default: equal parts]
    #[arg(long, value_name = "UNITS", env = "LOADGEN_AMOUNT", help_heading = "Workload")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Funded accounts [default: rate x 6 s, from 10k to 1M; with --nodes those of the genesis]
    #[arg(long, value_name = "N", env = "LOADGEN_ACCOUNTS", help_heading = "Workload")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounts: Option<String>,
    /// Transactions that each spend the change of the one before [default: 1]
    #[arg(
        long,
        value_name = "N",
        env = "LOADGEN_CHAIN_DEPTH",
        help_heading = "Workload"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_depth: Option<String>,
    /// Share of transactions that spend the coin of another one again, up to 0.5: one of the two must win [default: 0]
    #[arg(
        long,
        value_name = "SHARE",
        env = "LOADGEN_CONFLICTS",
        help_heading = "Workload"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflicts: Option<String>,
    /// Transactions that break a rule: SHARE of all kinds, or KIND=SHARE,.. of sig, missing, value, encoding [default: none]
    #[arg(
        long,
        value_name = "SHARE|LIST",
        env = "LOADGEN_INVALID",
        help_heading = "Workload"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid: Option<String>,

    /// Nodes of a network that runs: ADDRESS,.. or @FILE with one `ADDRESS KEY` a line
    #[arg(
        long,
        value_name = "ADDR,..|@FILE",
        env = "LOADGEN_NODES",
        help_heading = "Client"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// Genesis of that network [default: genesis.toml beside the hosts file]
    #[arg(long, value_name = "FILE", env = "LOADGEN_GENESIS", help_heading = "Client")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genesis: Option<String>,
    /// Connections to each node, 1 to 64 [default: 1]
    #[arg(long, value_name = "N", env = "LOADGEN_CONNECTIONS", help_heading = "Client")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<String>,
    /// Send to a node when this many are due for it, 1 to 4096: the wait counts as lag [default: 1]
    #[arg(long, value_name = "N", env = "LOADGEN_BATCH", help_heading = "Client")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Threads for connections, 1 to 64 [default: half of the cores]
    #[arg(long, value_name = "N", env = "LOADGEN_THREADS", help_heading = "Client")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<String>,
    /// Shortest sleep of the pacer, up to 100ms: fewer wake-ups, more lag [default: 1ms beside the nodes, else 0]
    #[arg(
        long,
        value_name = "DURATION",
        env = "LOADGEN_PACE_QUANTUM",
        help_heading = "Client"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pace_quantum: Option<String>,

    /// Objective, repeatable: 'final.p99<500ms', 'optimistic.p99<50ms', 'errors<0.1%', 'tps>=99%'; a breach exits 3
    #[arg(long, value_name = "EXPR", env = "LOADGEN_SLO", help_heading = "Gates")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slo: Vec<String>,
    /// End early when this holds for a while: EXPR or EXPR@DURATION over p50, p99, errors or tps [default hold: 5s]
    #[arg(
        long,
        value_name = "EXPR[@DURATION]",
        env = "LOADGEN_ABORT_ON",
        help_heading = "Gates"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_on: Option<String>,
    /// A run that is not VALID: strict exits 4, warn and off do not [default: strict]
    #[arg(long, value_name = "MODE", env = "LOADGEN_VALIDITY", help_heading = "Gates")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validity: Option<String>,

    /// Report [default: ./loadgen-TIME-ID.json]
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "LOADGEN_OUT",
        help_heading = "Output"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// stdout: text, json, md or quiet [default: text]
    #[arg(long, value_name = "FORM", env = "LOADGEN_FORMAT", help_heading = "Output")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// stderr: auto, line, json or off; auto is a bar on a terminal, else a line every 10 s [default: auto]
    #[arg(long, value_name = "KIND", env = "LOADGEN_PROGRESS", help_heading = "Output")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Rows of the report, 100ms to 1h [default: 1s]
    #[arg(
        long,
        value_name = "DURATION",
        env = "LOADGEN_INTERVAL",
        help_heading = "Output"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// Kept in the report, repeatable
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Output")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tag: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Cli, Command};

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bare_flags_mean_run() {
        let bare = Cli::try_parse_from(["loadgen", "--tps", "5k", "--slo", "p99<1s", "--slo", "errors<1%"])
            .expect("flags");
        assert!(bare.command.is_none());
        assert_eq!(bare.run.values.tps.as_deref(), Some("5k"));
        assert_eq!(bare.run.values.slo.len(), 2);
        let run = Cli::try_parse_from(["loadgen", "run", "--tps", "5k", "-o", "r.json"]).expect("run");
        let Some(Command::Run(run)) = run.command else {
            panic!("not run");
        };
        assert_eq!(run.values.out.as_deref(), Some("r.json"));
    }

    #[test]
    fn unknown_flags_are_answered_with_the_nearest() {
        let error = Cli::try_parse_from(["loadgen", "--tpss", "5"]).expect_err("typo");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--tps"), "{error}");
        for missing in ["search", "compare", "--html"] {
            assert!(
                Cli::try_parse_from(["loadgen", missing]).is_err(),
                "{missing} does not exist yet"
            );
        }
    }
}
