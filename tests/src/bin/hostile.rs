//! Attacks a running network: `hostile bad-signatures --nodes @net/hosts --rate 500 --bad-share 0.01`.
//!
//! Prints one line of JSON: what was sent and how it was answered.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simulator::hostile::{Attack, Plan, run};

/// Attacks a running network as hostile clients would.
#[derive(Debug, Parser)]
#[command(name = "hostile", version)]
struct Arguments {
    /// What the attackers do.
    #[arg(value_enum)]
    attack: Attack,
    /// Nodes as `loadgen --nodes` takes them: ADDRESS:PORT separated by commas, or @FILE.
    #[arg(long)]
    nodes: String,
    /// The network's genesis.toml; by default the one beside the hosts file.
    #[arg(long)]
    genesis: Option<PathBuf>,
    /// Connections at a time, dealt to the nodes in turn, 1 to 4096.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Transactions per second over all connections (bad-signatures).
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Share of transactions with a bad signature, 0 to 1 (bad-signatures).
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    bad_share: f64,
    /// Seconds, 1 to 86400.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Whatever is random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn share(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    parsed.ok_or_else(|| "accepted is a number from 0 to 1".into())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = Plan {
        attack: arguments.attack,
        nodes: arguments.nodes,
        genesis: arguments.genesis,
        connections: arguments.connections.into(),
        rate: arguments.rate,
        bad_share: arguments.bad_share,
        duration: Duration::from_secs(arguments.seconds.into()),
        seed: arguments.seed,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hostile: {error}");
            return ExitCode::from(2);
        }
    };
    match runtime.block_on(run(plan)) {
        Ok(outcome) => {
            println!("{outcome}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::from(2)
        }
    }
}
