//! Runs Twins scenarios: `cargo run --release --package simulator --bin twins -- --long`, or one by its line.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use consensus::PlantedBug;
use simulator::twins::{Campaign, Plan, Scenario, run};

/// Scripted rounds over real consensus machines, some identities running twice.
#[derive(Debug, Parser)]
#[command(name = "twins", version)]
struct Arguments {
    /// One scenario, as a failure prints it.
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Every loss, every division into groups, and ten times the samples: over five million scenarios.
    #[arg(long)]
    long: bool,
    /// First seed of the samples.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// A rule to leave out, e.g. SecondNewView; needs the feature `planted-bugs`. Failures are counted.
    #[arg(long, value_parser = planted)]
    planted: Option<PlantedBug>,
}

fn planted(name: &str) -> Result<PlantedBug, String> {
    if !cfg!(feature = "planted-bugs") {
        return Err("this build plants no faults, accepted is a build with the feature planted-bugs".into());
    }
    let known = PlantedBug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    known.ok_or_else(|| format!("accepted are {:?}", PlantedBug::ALL))
}

fn plans(long: bool, from: u64) -> Vec<(&'static str, Plan)> {
    let sampled = |voters, twins, count| Plan::Sampled {
        voters,
        twins,
        from,
        count,
    };
    if long {
        vec![
            ("4 voters, 1 twice, every loss", Plan::every_loss()),
            ("4 voters, 1 twice, every division", Plan::every_division()),
            ("4 voters, 1 twice, sampled", sampled(4, 1, 2_000_000)),
            ("7 voters, 2 twice, sampled", sampled(7, 2, 500_000)),
            ("4 voters, 2 twice, sampled", sampled(4, 2, 200_000)),
        ]
    } else {
        Plan::every_test(from)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(scenario) = &arguments.scenario {
        return match run(scenario, arguments.planted) {
            Ok(seen) => {
                println!("{seen:?}");
                ExitCode::SUCCESS
            }
            Err(violation) => {
                println!("{violation}");
                ExitCode::FAILURE
            }
        };
    }
    for (name, plan) in plans(arguments.long, arguments.from) {
        let mut campaign = Campaign::new(plan);
        campaign.planted = arguments.planted;
        campaign.first_only = arguments.planted.is_none();
        let began = Instant::now();
        let outcome = campaign.run();
        let failed: u64 = outcome.failed.values().sum();
        let ran = outcome.seen.scenarios + failed;
        let speed = ran as f64 / began.elapsed().as_secs_f64();
        println!(
            "{name}: {ran} scenarios, {speed:.0}/s, failed {:?}",
            outcome.failed
        );
        println!("  held: {:?}", outcome.seen);
        simulator::record::append("twins", &outcome.seen.counters());
        if let Some((_, failure)) = outcome.first {
            println!("{failure}");
            if arguments.planted.is_none() {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
