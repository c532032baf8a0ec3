//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use files::config::{parse_durability, parse_rtt};
use files::limits::THREADS_MAX;
use store::Durability;

use crate::config::Overrides;
use crate::genesis_file::CreateOptions;
use crate::inspect::InspectOptions;
use crate::sizing::SizingOptions;
use crate::testnet::TestnetOptions;

/// One validator of a sharded ledger, or a whole local test network.
#[derive(Debug, Parser)]
#[command(
    name = "shardbench-node",
    version = crate::BUILD,
    after_help = "EXIT  0 ended as asked - 2 an error, named on stderr. RUST_LOG=info tells more."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes new secret keys for validators and prints their public keys
    Keys(KeysArgs),
    /// Makes a network: genesis, allocations, keys, a configuration for each validator, hosts for loadgen
    Genesis(CreateOptions),
    /// Runs one validator until SIGINT or SIGTERM
    Run(RunArgs),
    /// Runs all validators of a network in this process until standard input ends
    Testnet(TestnetArgs),
    /// Says what a data directory of a stopped validator holds
    Inspect(InspectOptions),
    /// Computes how likely a shard of this size fails, a forgery passes the samples, and the bond that deters it
    Sizing(SizingOptions),
    /// Prints version, protocol versions and the signature backend in use
    Version,
}

/// Flags of `keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// Directory to write 000.key, 001.key, .. into; no file is overwritten
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Number of keys
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) count: u16,
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Configuration, as `genesis` writes it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Genesis, instead of the one that the configuration names
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,
    /// Data directory, instead of the one that the configuration names
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl RunArgs {
    /// What wins over the file.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            genesis: self.genesis.clone(),
            data_dir: self.data_dir.clone(),
        }
    }
}

/// Flags of `testnet`.
#[derive(Debug, Args)]
pub(crate) struct TestnetArgs {
    /// Directory that `genesis` wrote; data goes to DIR/data
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// When votes may leave: fsync (they survive power loss) or async (for comparison only)
    #[arg(long, value_name = "fsync|async", default_value = "fsync", value_parser = durability)]
    durability: Durability,
    /// Round trip that links between validators are shaped to, up to 10s
    #[arg(long, value_name = "DUR", default_value = "0s", value_parser = rtt)]
    rtt: Duration,
    /// Threads that check signatures; 0 is one for each core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads)]
    threads: usize,
}

impl TestnetArgs {
    /// What the network is told.
    pub(crate) fn options(self) -> TestnetOptions {
        TestnetOptions {
            dir: self.dir,
            durability: self.durability,
            rtt: self.rtt,
            workers: self.threads,
        }
    }
}

fn accepted(accepted: String) -> String {
    format!("accepted is {accepted}")
}

fn durability(text: &str) -> Result<Durability, String> {
    parse_durability(text).map_err(accepted)
}

fn rtt(text: &str) -> Result<Duration, String> {
    parse_rtt(text).map_err(accepted)
}

fn threads(text: &str) -> Result<usize, String> {
    let threads = text.parse().ok().filter(|threads| *threads <= THREADS_MAX);
    threads.ok_or_else(|| accepted(format!("0 to {THREADS_MAX}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::error::ErrorKind;
    use clap::{CommandFactory, Parser};
    use store::Durability;

    use super::{Cli, Command};
    use crate::genesis_file::Protocol;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("shardbench-node").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_lines_of_a_load_generator_are_understood() {
        let line = "genesis --out d --shards 2 --validators 4 --seed 7 --accounts 10 --amount 5 --allocations l.bin \
                    --policy lan --name bench";
        let Command::Genesis(options) = parse(line).expect("genesis").command else {
            panic!("another command")
        };
        assert_eq!(
            (options.shards, options.validators, options.seed, options.accounts),
            (2, 4, 7, 10)
        );
        assert_eq!(
            (options.amount, options.policy.as_str(), options.name.as_str()),
            (5, "lan", "bench")
        );
        assert_eq!(options.allocations.as_deref(), Some("l.bin".as_ref()));
        assert_eq!(options.leagues.protocol, Protocol::Pob);
        let line = "genesis --out d --protocol pbft --validators 4";
        let Command::Genesis(options) = parse(line).expect("genesis").command else {
            panic!("another command")
        };
        assert_eq!(options.leagues.protocol, Protocol::Pbft);
        let line = "genesis --out d --believable 2 --candidates 3 --sampling 0.05 --bond 7";
        let Command::Genesis(options) = parse(line).expect("genesis").command else {
            panic!("another command")
        };
        let leagues = &options.leagues;
        assert_eq!((leagues.believable, leagues.candidates), (Some(2), Some(3)));
        assert_eq!((leagues.sampling, leagues.bond), (Some(50_000), Some(7)));
        let line = "testnet --dir d --durability async --rtt 200ms";
        let Command::Testnet(args) = parse(line).expect("testnet").command else {
            panic!("another command")
        };
        let options = args.options();
        assert_eq!(
            (options.durability, options.rtt, options.workers),
            (Durability::Async, Duration::from_millis(200), 0)
        );
        let Command::Testnet(args) = parse("testnet --dir d --rtt 0s").expect("testnet").command else {
            panic!("another command")
        };
        assert_eq!(args.options().durability, Durability::Fsync);
    }

    #[test]
    fn flags_of_run_win_over_the_file() {
        let line = "run --config c.toml --genesis g.toml --data-dir d";
        let Command::Run(args) = parse(line).expect("run").command else {
            panic!("another command")
        };
        let overrides = args.overrides();
        assert_eq!(overrides.genesis.as_deref(), Some("g.toml".as_ref()));
        assert_eq!(overrides.data_dir.as_deref(), Some("d".as_ref()));
    }

    #[test]
    fn every_bad_flag_is_named_with_what_is_accepted() {
        for (line, flag, words) in [
            (
                "testnet --dir d --durability maybe",
                "--durability",
                "fsync or async",
            ),
            ("testnet --dir d --rtt 11s", "--rtt", "0s to 10s"),
            ("testnet --dir d --rtt fast", "--rtt", "0s to 10s"),
            ("testnet --dir d --threads 2000", "--threads", "0 to 1024"),
            ("genesis --out d --protocol both", "--protocol", "pob, pbft"),
            ("genesis --out d --sampling 2", "--sampling", "0 to 1"),
            (
                "genesis --out d --believable few",
                "--believable",
                "invalid digit",
            ),
            ("genesis --out d --shards many", "--shards", "invalid digit"),
            ("genesis --out d --seed -1", "-1", "unexpected argument"),
            ("genesis --out d --base-port 70000", "--base-port", "65535"),
            ("genesis --out d --addresses here", "--addresses", "invalid IP"),
            ("run", "--config", "required"),
            ("inspect", "--data-dir", "required"),
            ("sizing", "--validators", "required"),
            ("sizing --validators 5 --alpha 2", "--alpha", "0 to 1"),
            ("sizing --validators 5 --sampling x", "--sampling", "0 to 1"),
            ("sizing --validators 5 --format xml", "--format", "text, json"),
            ("start", "start", "unrecognized"),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            let text = error.to_string();
            assert!(text.contains(flag) && text.contains(words), "{line}: {text}");
        }
        assert_eq!(
            parse("--version").expect_err("shown").kind(),
            ErrorKind::DisplayVersion
        );
    }
}
