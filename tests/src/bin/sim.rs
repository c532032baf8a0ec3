//! Runs simulator seeds: `cargo sim 17 --validators 4`, `cargo sim --seeds 500 --validators 4,7`.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use simulator::campaign::{Campaign, Design};
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
    /// Rules that the validators follow.
    #[arg(long, value_enum, default_value = "pbft")]
    design: Rules,
    /// Numbers of voters, each 4 to 256, above 16 certificates are aggregates: `4,7` runs every seed with each, `4..16` one seed after the other with the next.
    #[arg(long, alias = "voters", default_value = "4,7", value_parser = voters)]
    validators: Voters,
    /// Seats of believable authors, 1 to 8; drawn by seed when not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=8))]
    believable: Option<u16>,
    /// Candidates for the seats, from the seats to 16; as many as seats when not given.
    #[arg(long, requires = "believable", value_parser = clap::value_parser!(u16).range(1..=16))]
    candidates: Option<u16>,
    /// Length of the phase with faults, in simulated seconds, above 0.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// A fault to plant; needs the feature `planted-bugs`.
    #[arg(long)]
    planted: Option<String>,
}

/// Rules that the validators follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rules {
    /// One league for ever.
    Pbft,
    /// Two leagues: believable authors, voters that sample.
    Pob,
}

/// Numbers of voters, and whether seeds take them in turn.
#[derive(Clone, Debug)]
struct Voters {
    numbers: Vec<u16>,
    in_turn: bool,
}

fn voters(text: &str) -> Result<Voters, String> {
    let accepted = "accepted are numbers from 4 to 256 as in 4,7 or 4..16";
    let number = |text: &str| match text.trim().parse::<u16>() {
        Ok(number) if (4..=VOTERS_MAX).contains(&usize::from(number)) => Ok(number),
        _ => Err(accepted.to_owned()),
    };
    if let Some((low, high)) = text.split_once("..") {
        let numbers: Vec<u16> = (number(low)?..=number(high)?).collect();
        return match numbers.is_empty() {
            true => Err(accepted.into()),
            false => Ok(Voters {
                numbers,
                in_turn: true,
            }),
        };
    }
    let numbers = text.split(',').map(number).collect::<Result<_, _>>()?;
    Ok(Voters {
        numbers,
        in_turn: false,
    })
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
    let sizes = arguments
        .believable
        .map(|seats| (seats, arguments.candidates.unwrap_or(seats)));
    if let Some((seats, candidates)) = sizes
        && seats > candidates
    {
        eprintln!("{seats} seats for {candidates} candidates, accepted are at most as many seats");
        return ExitCode::from(2);
    }
    let design = match arguments.design {
        Rules::Pob => Design::Pob(sizes),
        Rules::Pbft if sizes.is_none() => Design::Pbft,
        Rules::Pbft => {
            eprintln!("--believable is of two leagues, accepted is --design pob with it");
            return ExitCode::from(2);
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
        design,
        validators: arguments.validators.numbers.clone(),
        in_turn: arguments.validators.in_turn,
        safety,
        planted,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    if arguments.seed.is_some() {
        for (seed, voters) in campaign.runs() {
            println!("{:#?}", campaign.options(seed, voters));
        }
    }
    println!(
        "seeds {} to {}, {:?} voters, {} s of faults each",
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
