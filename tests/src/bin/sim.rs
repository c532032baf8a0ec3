//! Runs simulator seeds: `cargo sim 17 --validators 4`, `cargo sim --seeds 500 --validators 4,7`.

use std::process::ExitCode;

use clap::Parser;
use simulator::campaign::Campaign;
use simulator::faults::Options;
use simulator::planted::planted_faults;
use types::limits::VOTERS_MAX;
use types::time::Duration;

/// Runs from which on a campaign must have seen everything that can happen.
const VACUITY_RUNS: u64 = 400;

/// Deterministic simulation of a shard under faults.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Arguments {
    /// One seed; its options are printed in full.
    #[arg(conflicts_with = "seeds")]
    seed: Option<u64>,
    /// How many seeds, for each size of the committee.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seeds: u64,
    /// First seed, at most 2^63.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1 << 63))]
    from: u64,
    /// Sizes of the committee, each 4 to 256; above 16 certificates are aggregates.
    #[arg(long, value_delimiter = ',', default_value = "4,7", value_parser = clap::value_parser!(u16).range(4..=VOTERS_MAX as i64))]
    validators: Vec<u16>,
    /// Length of the phase with faults, in simulated seconds, above 0.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// A fault to plant; needs the feature `planted-bugs`.
    #[arg(long)]
    planted: Option<String>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let accepted = "accepted is a number above 0 and at most 3600";
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err(accepted.into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let planted = match &arguments.planted {
        None => None,
        Some(name) => {
            let faults = planted_faults();
            let Some(found) = faults.iter().find(|known| known.name == name) else {
                let accepted: Vec<_> = faults.iter().map(|known| known.name).collect();
                eprintln!(
                    "no fault {name:?} in this build, accepted are [{}]",
                    accepted.join(", ")
                );
                return ExitCode::from(2);
            };
            Some(*found)
        }
    };
    let safety = Duration::from_secs_f64(arguments.seconds);
    let campaign = Campaign {
        from: arguments.seed.unwrap_or(arguments.from),
        seeds: if arguments.seed.is_some() {
            1
        } else {
            arguments.seeds
        },
        validators: arguments.validators.clone(),
        safety,
        planted,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    if let Some(seed) = arguments.seed {
        for validators in &arguments.validators {
            let options = Options::of_seed(seed, *validators, safety, planted.map(|fault| fault.planted));
            println!("{options:#?}");
        }
    }
    println!(
        "seeds {} to {}, {:?} validators, {} s of faults each",
        campaign.from,
        campaign.from + campaign.seeds - 1,
        campaign.validators,
        arguments.seconds
    );
    match campaign.run() {
        Ok(summary) => {
            println!("{}", summary.json());
            match summary.check_not_vacuous() {
                Err(what) if summary.runs >= VACUITY_RUNS => {
                    println!(
                        "in {} runs there was no {what}: they prove nothing about it",
                        summary.runs
                    );
                    ExitCode::FAILURE
                }
                _ => ExitCode::SUCCESS,
            }
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}
