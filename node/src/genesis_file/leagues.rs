//! One league or two: the flags of a new network, and the bonds of its validators.

use std::fmt;

use clap::ValueEnum;
use crypto::league::{Believability, Caps, Record, believability};
use crypto::sampling::{bond_against, full_from};
use types::Amount;
use types::genesis::Allocation;
use types::policy::{Leagues, Policy};

use super::CreateError;
use crate::sizing::parts_per_million;

/// How far the largest allocation stays below the value from which every voter checks every payment (`ios` 7.12).
const MARGIN: u64 = 10;

/// Which protocol a network runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Two leagues: believable authors first, voters sample and finalise.
    #[default]
    Pob,
    /// One league: every voter is an author, everybody checks everything.
    Pbft,
}

/// Flags of two leagues.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct LeagueOptions {
    /// pob: two leagues, believable authors and voters that sample; pbft: one league that checks everything
    #[arg(long, value_enum, default_value_t)]
    pub(crate) protocol: Protocol,
    /// Seats for believable authors in each shard [default: the policy's, 1]
    #[arg(long, value_name = "N")]
    pub(crate) believable: Option<u16>,
    /// Validators of each shard that are candidates for the seats and do not vote [default: as many as seats]
    #[arg(long, value_name = "N")]
    pub(crate) candidates: Option<u16>,
    /// Probability with which a voter checks the signatures of a transaction, 0 to 1 [default: the policy's, 0.25]
    #[arg(long, value_name = "SHARE", value_parser = parts_per_million)]
    pub(crate) sampling: Option<u32>,
    /// Bond of each validator [default: large enough for the amounts of this genesis]
    #[arg(long, value_name = "UNITS")]
    pub(crate) bond: Option<u64>,
}

impl LeagueOptions {
    /// The policy of the network: that of `--policy` with what the flags say.
    ///
    /// # Errors
    /// A flag of two leagues for one.
    pub(crate) fn apply(&self, mut policy: Policy) -> Result<Policy, CreateError> {
        if self.protocol == Protocol::Pbft {
            policy.leagues = None;
            let given = [
                ("--believable", self.believable.map(u64::from)),
                ("--candidates", self.candidates.map(u64::from)),
                ("--sampling", self.sampling.map(u64::from)),
                ("--bond", self.bond),
            ];
            let given = given.into_iter().find_map(|(flag, value)| Some((flag, value?)));
            return match given {
                None => Ok(policy),
                Some((flag, _)) => Err(CreateError::Flag {
                    flag,
                    value: "given".to_owned(),
                    accepted: "nothing with --protocol pbft, which has one league".to_owned(),
                }),
            };
        }
        let mut policy = if policy.leagues.is_some() {
            policy
        } else {
            policy.with_leagues()
        };
        if let Some(leagues) = &mut policy.leagues {
            leagues.sampling_ppm = self.sampling.unwrap_or(leagues.sampling_ppm);
            leagues.candidates = self.candidates.or(self.believable).unwrap_or(leagues.candidates);
            leagues.seats = self.believable.unwrap_or(leagues.seats);
        }
        Ok(policy)
    }

    /// The bond of each validator; nothing with one league.
    ///
    /// # Errors
    /// `--bond`, when no candidate could be drawn with it, or none is large enough.
    pub(crate) fn bond(
        &self,
        policy: &Policy,
        members: u16,
        allocations: &[Allocation],
    ) -> Result<Option<Bond>, CreateError> {
        let Some(leagues) = &policy.leagues else {
            return Ok(None);
        };
        let voters = members.saturating_sub(leagues.candidates);
        let honest = u32::from(voters - 2 * (voters.saturating_sub(1) / 3));
        let largest = allocations.iter().map(|allocation| allocation.amount.0).max();
        let largest = largest.unwrap_or_default();
        let eligible = least_eligible(leagues);
        let (units, reason) = match self.bond {
            Some(units) if units >= eligible => (units, Reason::Given),
            Some(units) => {
                return Err(CreateError::Flag {
                    flag: "--bond",
                    value: units.to_string(),
                    accepted: format!("{eligible} or more, which makes a validator believable"),
                });
            }
            None => sized(leagues, honest, largest, eligible)?,
        };
        Ok(Some(Bond {
            units,
            reason,
            full_from: full_from(Amount(units), leagues.sampling_ppm, honest),
            largest,
        }))
    }
}

/// The smallest bond whose holder may be drawn as a candidate; the cap when not even that one may.
fn least_eligible(leagues: &Leagues) -> u64 {
    let caps = Caps {
        bond_min: Amount(leagues.bond_min),
        bond: Amount(leagues.bond_cap),
        ..Caps::default()
    };
    let minimum = Believability::from_ppm(leagues.believability_min.max(1));
    let is_eligible = |bond| {
        let record = Record {
            bond: Amount(bond),
            ..Record::default()
        };
        believability(&record, &caps) >= minimum
    };
    // Believability never falls with the bond.
    let (mut low, mut high) = (leagues.bond_min, leagues.bond_cap);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_eligible(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}

/// A bond under which payments up to `MARGIN` times the largest allocation are sampled like any other, and whose holder
/// may be drawn.
fn sized(leagues: &Leagues, honest: u32, largest: u64, eligible: u64) -> Result<(u64, Reason), CreateError> {
    let value = largest.saturating_mul(MARGIN);
    if leagues.sampling_ppm == 0 {
        // Nothing is ever checked, whatever the bond is.
        return Ok((eligible, Reason::Eligible));
    }
    let against = bond_against(Amount(value.saturating_sub(1)), leagues.sampling_ppm, honest);
    match against {
        Some(Amount(bond)) if bond > eligible => Ok((bond, Reason::Sampled)),
        Some(_) => Ok((eligible, Reason::Eligible)),
        None => Err(CreateError::Flag {
            flag: "--amount",
            value: largest.to_string(),
            accepted: "an amount against which a bond is large enough, or --bond".to_owned(),
        }),
    }
}

/// Why a bond is as large as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `--bond` said so.
    Given,
    /// The largest payments are to be sampled like any other.
    Sampled,
    /// A smaller one would not make its holder believable.
    Eligible,
}

/// The bond of each validator of a new network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bond {
    /// Its size.
    pub(crate) units: u64,
    reason: Reason,
    full_from: u64,
    largest: u64,
}

impl fmt::Display for Bond {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::Given => "as --bond says",
            Reason::Sampled => "so that ten times the largest allocation is sampled like any other payment",
            Reason::Eligible => {
                "the least that makes its holder believable by bond_cap and believability_min"
            }
        };
        write!(formatter, "bond of each validator {}, {reason}; ", self.units)?;
        if self.full_from == u64::MAX {
            return formatter.write_str("no payment is checked by all voters for its value");
        }
        let margin = self.full_from as f64 / self.largest.max(1) as f64;
        write!(
            formatter,
            "payments from {} on are checked by all voters, {margin:.1} times the largest allocation",
            self.full_from
        )
    }
}

/// The flags of a network of one league.
#[cfg(test)]
pub(crate) fn one_league() -> LeagueOptions {
    LeagueOptions {
        protocol: Protocol::Pbft,
        ..LeagueOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use types::genesis::Allocation;
    use types::policy::Policy;
    use types::{Amount, Owner};

    use super::{LeagueOptions, least_eligible, one_league};
    use crate::genesis_file::CreateError;

    fn options() -> LeagueOptions {
        LeagueOptions::default()
    }

    fn allocations(amounts: &[u64]) -> Vec<Allocation> {
        let owner = Owner([1; 32]);
        amounts
            .iter()
            .map(|amount| Allocation {
                owner,
                amount: Amount(*amount),
            })
            .collect()
    }

    #[test]
    fn flags_win_over_the_policy_and_one_league_takes_none() {
        let policy = Policy::lan().with_leagues();
        assert_eq!(options().apply(policy.clone()).expect("pob"), policy);
        let seats = LeagueOptions {
            believable: Some(3),
            sampling: Some(1),
            ..options()
        };
        let leagues = seats.apply(policy.clone()).expect("pob").leagues.expect("two");
        assert_eq!(
            (leagues.seats, leagues.candidates, leagues.sampling_ppm),
            (3, 3, 1)
        );
        let stand_ins = LeagueOptions {
            candidates: Some(5),
            ..seats
        };
        let leagues = stand_ins.apply(policy.clone()).expect("pob").leagues;
        let leagues = leagues.expect("two");
        assert_eq!((leagues.seats, leagues.candidates), (3, 5));
        let pbft = one_league();
        assert_eq!(pbft.apply(policy.clone()).expect("pbft"), Policy::lan());
        for (flag, set) in [
            (
                "--believable",
                (|flags: &mut LeagueOptions| flags.believable = Some(1)) as fn(&mut LeagueOptions),
            ),
            ("--candidates", |flags| flags.candidates = Some(1)),
            ("--sampling", |flags| flags.sampling = Some(0)),
            ("--bond", |flags| flags.bond = Some(0)),
        ] {
            let mut given = pbft.clone();
            set(&mut given);
            let error = given.apply(policy.clone()).expect_err("refused").to_string();
            assert!(error.contains(flag) && error.contains("pbft"), "{error}");
        }
    }

    #[test]
    fn bonds_keep_the_largest_payments_in_the_sample_and_their_holders_eligible() {
        let policy = Policy::lan().with_leagues();
        let leagues = policy.leagues.clone().expect("two");
        let least = least_eligible(&leagues);
        // B = 0.4 s reaches 50,000 at an eighth of the cap.
        assert_eq!(least, leagues.bond_cap / 8);
        let bond = |amounts: &[u64]| options().bond(&policy, 5, &allocations(amounts));
        let small = bond(&[7, 100, 8]).expect("sized").expect("two leagues");
        assert_eq!(small.units, least);
        let large = bond(&[7, 100_000_000_000, 8])
            .expect("sized")
            .expect("two leagues");
        assert!(large.units > least);
        assert!(large.full_from >= 10 * 100_000_000_000);
        // U = 0.75^2 with four voters: v_full is 0.38.. of the bond.
        assert!(large.full_from < large.units);
        let words = large.to_string();
        assert!(words.contains("10.0 times"), "{words}");
        let none = one_league();
        let pbft = none.apply(policy.clone()).expect("pbft");
        assert_eq!(none.bond(&pbft, 4, &allocations(&[1])).expect("none"), None);
        let CreateError::Flag { flag, .. } = bond(&[u64::MAX]).expect_err("no bond is") else {
            panic!("a flag")
        };
        assert_eq!(flag, "--amount");
        let given = |units| LeagueOptions {
            bond: Some(units),
            ..options()
        };
        let error = given(least - 1).bond(&policy, 5, &[]).expect_err("too small");
        assert!(error.to_string().contains(&least.to_string()), "{error}");
        let kept = given(least).bond(&policy, 5, &[]).expect("enough");
        assert_eq!(kept.expect("two leagues").units, least);
    }
}
