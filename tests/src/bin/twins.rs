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
    /// This many samples alone, of the committee that the next two options say.
    #[arg(long)]
    samples: Option<u64>,
    /// Identities of the samples.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(4..=16))]
    voters: u16,
    /// How many of them exist twice.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=4))]
    twins: u16,
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

fn plans(arguments: &Arguments) -> Vec<(&'static str, Plan)> {
    let from = arguments.from;
    if let Some(count) = arguments.samples {
        let plan = Plan::Sampled {
            voters: arguments.voters,
            twins: arguments.twins,
            from,
            count,
        };
        return vec![("sampled", plan)];
    }
    if arguments.long {
        Plan::every_long(from)
    } else {
        [Plan::every_tolerated(), Plan::every_excessive()].concat()
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
    for (name, plan) in plans(&arguments) {
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
