//! Profiles of cheating authors, for a local network that is to be seen catching them.
//!
//! The node program carries them out; this side checks what is asked, sets accounts aside for thefts, and reports what
//! became of it.

use std::ops::Range;

use crate::units::parse_share;
use crate::usage::UsageError;

/// What `--byzantine` accepts.
pub const ACCEPTED: &str = "KIND or KIND=RATE separated by commas, such as forge=0.01; kinds are forge, equivocate, wrong-group, withhold, late";

/// How a believable author cheats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cheat {
    /// Spends coins of others under signatures that are not theirs; the rate counts transactions.
    Forge,
    /// Signs two blocks for one position; the rate counts blocks, as for all that follow.
    Equivocate,
    /// Takes transactions of owners of other groups or shards.
    WrongGroup,
    /// Sends headers whose bodies it keeps.
    Withhold,
    /// Sends its blocks so late that they may not be included.
    Late,
}

/// Kinds by the words of the flag.
const KINDS: [(&str, Cheat); 5] = [
    ("forge", Cheat::Forge),
    ("equivocate", Cheat::Equivocate),
    ("wrong-group", Cheat::WrongGroup),
    ("withhold", Cheat::Withhold),
    ("late", Cheat::Late),
];

/// One profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How.
    pub cheat: Cheat,
    /// How often, parts per million; `None` = as the node program has it.
    pub rate_ppm: Option<u32>,
}

/// Parses a list of profiles, each kind at most once.
///
/// # Errors
/// Names the flag, the part that cannot be used, and what is accepted.
pub fn parse_profiles(flag: &str, text: &str) -> Result<Vec<Profile>, UsageError> {
    let words = KINDS.map(|(word, _)| word);
    let mut profiles: Vec<Profile> = Vec::new();
    for part in text.split(',') {
        let (word, rate) = part
            .split_once('=')
            .map_or((part, None), |(word, rate)| (word, Some(rate)));
        let kind = KINDS.iter().find(|(known, _)| *known == word);
        let (_, cheat) =
            kind.ok_or_else(|| UsageError::new(flag, part, "unknown way to cheat", ACCEPTED).near(&words))?;
        if profiles.iter().any(|profile| profile.cheat == *cheat) {
            return Err(UsageError::new(flag, part, "named twice", ACCEPTED));
        }
        let rate_ppm = rate.map(|rate| parse_share(flag, rate)).transpose()?;
        if rate_ppm == Some(0) {
            return Err(UsageError::new(
                flag,
                part,
                "a rate of 0 never cheats",
                "a rate above 0 up to 1",
            ));
        }
        profiles.push(Profile {
            cheat: *cheat,
            rate_ppm,
        });
    }
    Ok(profiles)
}

/// Accounts of the funding rule that are left alone, so that what a forger steals from them is nobody's payment: the
/// last sixteenth, at least one and never all.
#[must_use]
pub const fn victims(accounts: u32) -> Range<u32> {
    let count = accounts / 16;
    let count = if count == 0 && accounts > 1 { 1 } else { count };
    accounts - count..accounts
}

#[cfg(test)]
mod tests {
    use super::{Cheat, Profile, parse_profiles, victims};

    #[test]
    fn profiles_are_kinds_with_rates() {
        let parsed = parse_profiles("--byzantine", "forge=0.01,equivocate,late=5%").expect("profiles");
        let profile = |cheat, rate_ppm| Profile { cheat, rate_ppm };
        assert_eq!(
            parsed,
            [
                profile(Cheat::Forge, Some(10_000)),
                profile(Cheat::Equivocate, None),
                profile(Cheat::Late, Some(50_000)),
            ]
        );
        for (text, words) in [
            ("", "unknown way"),
            ("forg", "did you mean 'forge'"),
            ("forge=2", "not a share"),
            ("forge=0", "never cheats"),
            ("forge,forge=0.1", "named twice"),
            ("forge,", "unknown way"),
        ] {
            let error = parse_profiles("--byzantine", text).expect_err(text).to_string();
            assert!(
                error.starts_with("--byzantine") && error.contains(words),
                "{error}"
            );
        }
    }

    #[test]
    fn some_accounts_are_set_aside_and_never_all() {
        assert_eq!(victims(1600), 1500..1600);
        assert_eq!(victims(10), 9..10);
        assert_eq!(victims(1), 1..1);
        assert_eq!(victims(0), 0..0);
    }
}
