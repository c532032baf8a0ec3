//! The table for people.

use std::fmt;

use crate::{Deterrence, Failure, Sampling, Setup, Sizing, Voting};

impl fmt::Display for Sizing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        committee(&self.setup, &self.voting, out)?;
        failure(&self.setup, &self.failure, out)?;
        line(
            out,
            "checks per tx",
            format_args!("{:.2} signatures of one owner", self.checks_per_tx),
        )?;
        if let (Some(leagues), Some(figures)) = (&self.setup.leagues, &self.sampling) {
            sampling(leagues.sampling_ppm, figures, out)?;
        }
        if let Some(figures) = &self.deterrence {
            deterrence(&self.setup, figures, out)?;
        }
        Ok(())
    }
}

fn committee(setup: &Setup, voting: &Voting, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    line(
        out,
        "network",
        format_args!("shards {}, validators in each {}", setup.shards, setup.validators),
    )?;
    line(
        out,
        "voters",
        format_args!(
            "{} in each shard, of whom {} may be faulty; quorum {}",
            voting.voters, voting.faulty_max, voting.quorum
        ),
    )?;
    match &setup.leagues {
        None => line(out, "believable", "none: one league checks everything"),
        Some(leagues) => line(
            out,
            "believable",
            format_args!(
                "seats {}, candidates {} in each shard",
                leagues.seats, leagues.candidates
            ),
        ),
    }
}

fn failure(setup: &Setup, failure: &Failure, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let share = f64::from(setup.faulty_ppm) / 10_000.0;
    line(
        out,
        "faulty",
        format_args!("{} of {} ({share} %)", failure.faulty, failure.validators),
    )?;
    line(
        out,
        "a shard fails",
        format_args!(
            "with probability {} ({} if drawn from infinitely many)",
            Probability(failure.shard),
            Probability(failure.shard_unlimited)
        ),
    )?;
    line(
        out,
        "any shard fails",
        format_args!("with probability {} at most", Probability(failure.network_max)),
    )
}

fn sampling(ppm: u32, figures: &Sampling, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let share = f64::from(ppm) / 10_000.0;
    line(out, "sampled", format_args!("{share} % by each voter"))?;
    line(
        out,
        "a forgery passes",
        format_args!(
            "with probability {} ({} honest voters in any quorum), if timely {} ({})",
            Probability(figures.forgery_passes),
            figures.honest,
            Probability(figures.forgery_passes_if_timely),
            figures.honest_if_timely
        ),
    )?;
    let several: Vec<String> = figures
        .forgeries_pass
        .iter()
        .filter(|passing| passing.forgeries > 1)
        .map(|passing| format!("{}: {}", passing.forgeries, Probability(passing.probability)))
        .collect();
    line(out, "all of several", several.join(", "))?;
    match figures.break_even {
        Some(ratio) => line(
            out,
            "break-even",
            format_args!("bond {} times the value of a theft", Ratio(ratio)),
        ),
        None => line(out, "break-even", "none: nothing is ever caught by a sample"),
    }
}

fn deterrence(setup: &Setup, figures: &Deterrence, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let leagues = setup.leagues.as_ref();
    if let Some(value) = leagues.and_then(|leagues| leagues.value) {
        let required = figures
            .bond_required
            .map_or("no bond is enough".to_owned(), |bond| format!("{bond} or more"));
        let even = figures
            .bond_break_even
            .map_or(String::new(), |bond| format!(" (break-even {bond})"));
        line(
            out,
            "bond needed",
            format_args!("{required} so that {value} is only sampled{even}"),
        )?;
    }
    if let Some(bond) = leagues.and_then(|leagues| leagues.bond) {
        let full_from = figures.full_from.map_or("no value".to_owned(), |value| {
            let margin = figures.margin.map_or(String::new(), |margin| {
                format!(", {} times the value asked", Ratio(margin))
            });
            format!("values from {value}{margin}")
        });
        line(
            out,
            "always checked",
            format_args!("{full_from} under a bond of {bond}"),
        )?;
    }
    figures.gain_expected.map_or(Ok(()), |gain| {
        line(
            out,
            "one forgery",
            format_args!("gains {gain:.0} on average if only sampled"),
        )
    })
}

fn line(out: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(out, "{name:<16} {value}")
}

/// A probability with two digits, readable from certain to impossible.
struct Probability(f64);

impl fmt::Display for Probability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            zero if zero <= 0.0 => out.write_str("0"),
            small if small < 0.001 => write!(out, "{small:.1e}"),
            large => write!(out, "{large:.3}"),
        }
    }
}

/// A ratio with three digits.
struct Ratio(f64);

impl fmt::Display for Ratio {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            zero if zero <= 0.0 => out.write_str("0"),
            small if small < 0.01 => write!(out, "{small:.1e}"),
            medium if medium < 1e6 => write!(out, "{medium:.2}"),
            large => write!(out, "{large:.2e}"),
        }
    }
}
