//! What a network of a given size promises, for people and programs.

use clap::ValueEnum;
use files::policy::{self, SHARE_WORDS};
use sizing::{Leagues, Setup, SetupError, Sizing};

/// Flags of `sizing`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SizingOptions {
    /// Validators of each shard, voters and candidates
    #[arg(long, value_name = "N")]
    validators: u32,
    /// Shards
    #[arg(long, value_name = "M", default_value_t = 1)]
    shards: u32,
    /// Share of faulty validators in the whole network, 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0.25", value_parser = parts_per_million)]
    alpha: u32,
    /// Seats for believable authors in each shard; 0 is one league (pbft)
    #[arg(long, value_name = "N", default_value_t = 1)]
    believable: u32,
    /// Candidates for the seats, who do not vote [default: as many as seats]
    #[arg(long, value_name = "N")]
    candidates: Option<u32>,
    /// Probability with which a voter checks the signatures of a transaction, 0 to 1 [default: 0.25]
    #[arg(long, value_name = "SHARE", value_parser = parts_per_million)]
    sampling: Option<u32>,
    /// Bond of an author, units of the ledger
    #[arg(long, value_name = "UNITS")]
    bond: Option<u64>,
    /// What one forged transaction would steal, units of the ledger
    #[arg(long, value_name = "UNITS")]
    value: Option<u64>,
    /// A table for people, or everything for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How the result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table.
    Text,
    /// One object.
    Json,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SizingError {
    /// No network can have this size.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A flag of two leagues for one.
    #[error("{0} says something of believable authors, accepted is --believable 1 or more with it")]
    OneLeague(&'static str),
    /// The figures cannot be written as JSON.
    #[error("the figures cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
}

/// The figures, in the format that was asked for.
///
/// # Errors
/// `SizingError`.
pub(crate) fn sizing(options: &SizingOptions) -> Result<String, SizingError> {
    let sizing = Sizing::of(&setup(options)?)?;
    Ok(match options.format {
        Format::Text => sizing.to_string(),
        Format::Json => serde_json::to_string_pretty(&sizing)? + "\n",
    })
}

fn setup(options: &SizingOptions) -> Result<Setup, SizingError> {
    /// As the policies have it.
    const SAMPLING_PPM: u32 = 250_000;
    let leagues = (options.believable > 0).then(|| Leagues {
        seats: options.believable,
        candidates: options.candidates.unwrap_or(options.believable),
        sampling_ppm: options.sampling.unwrap_or(SAMPLING_PPM),
        bond: options.bond,
        value: options.value,
    });
    let without_meaning = [
        ("--candidates", options.candidates.is_some_and(|count| count > 0)),
        ("--sampling", options.sampling.is_some()),
        ("--bond", options.bond.is_some()),
        ("--value", options.value.is_some()),
    ];
    let given = without_meaning.iter().find(|(_, given)| *given);
    if let (None, Some((flag, _))) = (&leagues, given) {
        return Err(SizingError::OneLeague(flag));
    }
    Ok(Setup {
        shards: options.shards,
        validators: options.validators,
        faulty_ppm: options.alpha,
        leagues,
    })
}

/// A share as parts per million, exactly.
pub(crate) fn parts_per_million(text: &str) -> Result<u32, String> {
    let share = text.parse().ok().and_then(policy::parts_per_million);
    share.ok_or_else(|| format!("accepted is {SHARE_WORDS}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use sizing::Sizing;

    use super::{SizingError, SizingOptions, parts_per_million, sizing};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: SizingOptions,
    }

    fn run(line: &str) -> Result<String, SizingError> {
        let words = std::iter::once("sizing").chain(line.split_whitespace());
        sizing(&Line::try_parse_from(words).expect(line).options)
    }

    #[test]
    fn the_table_says_what_was_asked() {
        let text = run("--validators 5 --shards 2 --bond 1800 --value 100").expect("sized");
        for words in [
            "network          shards 2, validators in each 5",
            "voters           4 in each shard, of whom 1 may be faulty; quorum 3",
            "faulty           2 of 10 (25 %)",
            "with probability 0.222 (0.367 if drawn from infinitely many)",
            "with probability 0.444 at most",
            "checks per tx    2.00 signatures",
            "with probability 0.562 (2 honest voters in any quorum), if timely 0.422 (3)",
            "2: 0.316, 5: 0.056",
            "bond 1.29 times the value of a theft",
            "260 or more so that 100 is only sampled (break-even 129)",
            "values from 700, 7.00 times the value asked under a bond of 1800",
            "gains -731 on average",
        ] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
        let one = run("--validators 600 --shards 4 --believable 0").expect("sized");
        assert!(one.contains("6.3e-8 (3.0e-6 if drawn"), "{one}");
        assert!(one.contains("one league"), "{one}");
    }

    #[test]
    fn programs_get_every_figure() {
        let line =
            "--validators 64 --shards 4 --alpha 0.2 --believable 8 --candidates 16 --sampling 0.05 --value 7";
        let json = run(&format!("{line} --format json")).expect("sized");
        let sizing: Sizing = serde_json::from_str(&json).expect("read");
        let leagues = sizing.setup.leagues.as_ref().expect("two leagues");
        assert_eq!((sizing.setup.shards, sizing.setup.validators), (4, 64));
        assert_eq!((sizing.setup.faulty_ppm, leagues.sampling_ppm), (200_000, 50_000));
        assert_eq!((leagues.seats, leagues.candidates), (8, 16));
        // h_w = 18 of 48 voters, as the rules' example has it.
        let sampling = sizing.sampling.as_ref().expect("two leagues");
        assert_eq!((sampling.honest, sampling.honest_if_timely), (18, 33));
    }

    #[test]
    fn what_no_network_can_be_is_refused_by_name() {
        for (line, words) in [
            ("--validators 4", "candidates is 1, accepted is none"),
            ("--validators 3 --believable 0", "validators is 3"),
            (
                "--validators 8 --believable 2 --candidates 1",
                "believable is 2, accepted is 1 to 1",
            ),
            ("--validators 8 --believable 0 --bond 1", "--bond"),
            ("--validators 8 --believable 0 --candidates 2", "--candidates"),
            ("--validators 8 --believable 0 --sampling 0.1", "--sampling"),
            ("--validators 8 --believable 0 --value 1", "--value"),
            ("--validators 8 --shards 0", "shards is 0"),
        ] {
            let error = run(line).expect_err(line).to_string();
            assert!(
                error.contains(words) && error.contains("accepted is"),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn shares_are_exact() {
        for (text, parts) in [
            ("0", 0),
            ("1", 1_000_000),
            ("0.25", 250_000),
            ("0.29", 290_000),
            ("0.000001", 1),
            ("0.999999", 999_999),
        ] {
            assert_eq!(parts_per_million(text), Ok(parts));
        }
        for text in ["", "-0.1", "1.000001", "0.0000005", "25%", "NaN", "inf"] {
            let words = parts_per_million(text).expect_err(text);
            assert!(words.contains("0 to 1"), "{text}: {words}");
        }
    }
}
