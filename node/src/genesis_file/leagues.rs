//! One league or two: the flags of a new network, and the bonds of its validators.

use std::fmt;

use clap::ValueEnum;
use crypto::league::{Believability, Caps, Record, believability};
use crypto::sampling::{full_from, survival};
use sizing::exposure::{EXPOSURE_SAFETY, Traffic, VALUE_SAFETY, exposure_margin};
use types::Amount;
use types::genesis::Allocation;
use types::policy::{Leagues, Policy};

use super::CreateError;
use crate::sizing::parts_per_million;

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
    /// Bond of each validator [default: large enough for --rate, --value-mean and --value-max, as far as the supply goes]
    #[arg(long, value_name = "UNITS")]
    pub(crate) bond: Option<u64>,
    /// Transactions per second that all shards together are to take; bonds then answer for all that an author has open
    /// between receipt and finality [default: bonds answer for single payments]
    #[arg(long, value_name = "TPS")]
    pub(crate) rate: Option<u64>,
    /// Mean value of a transaction [default: --value-max]
    #[arg(long, value_name = "UNITS")]
    pub(crate) value_mean: Option<u64>,
    /// Largest value of a common transaction [default: the largest allocation]
    #[arg(long, value_name = "UNITS")]
    pub(crate) value_max: Option<u64>,
}

/// What bonds are sized for, besides the policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale<'a> {
    pub(crate) shards: u16,
    /// Validators of each shard, voters and candidates.
    pub(crate) members: u16,
    pub(crate) allocations: &'a [Allocation],
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
                ("--rate", self.rate),
                ("--value-mean", self.value_mean),
                ("--value-max", self.value_max),
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
    pub(crate) fn bond(&self, policy: &Policy, scale: &Scale<'_>) -> Result<Option<Bond>, CreateError> {
        let Some(leagues) = &policy.leagues else {
            return Ok(None);
        };
        let traffic = self.traffic(scale.allocations);
        let voters = scale.members.saturating_sub(leagues.candidates);
        let honest = u32::from(voters - 2 * (voters.saturating_sub(1) / 3));
        let eligible = least_eligible(leagues);
        let wanted = traffic.bonds(policy, scale.shards, honest);
        let (units, reason) = match (self.bond, wanted.for_value) {
            (Some(units), _) if units >= eligible => (units, Reason::Given),
            (Some(units), _) => {
                return Err(CreateError::Flag {
                    flag: "--bond",
                    value: units.to_string(),
                    accepted: format!("{eligible} or more, which makes a validator believable"),
                });
            }
            (None, Some(for_value)) => {
                let exposure = (wanted.for_exposure, scale.bond_max());
                largest(eligible, for_value, exposure)
            }
            (None, None) => {
                return Err(CreateError::Flag {
                    flag: self.value_max.map_or("--amount", |_| "--value-max"),
                    value: traffic.value_max.to_string(),
                    accepted: "an amount against which a bond is large enough, or --bond".to_owned(),
                });
            }
        };
        let passes = survival(leagues.sampling_ppm, honest) as f64 / 2_f64.powi(64);
        let exposed = traffic.exposed_value(policy, scale.shards);
        Ok(Some(Bond {
            units,
            reason,
            full_from: full_from(Amount(units), leagues.sampling_ppm, honest),
            value_max: traffic.value_max,
            exposure: exposure_margin(units, exposed, passes),
            wanted: wanted.for_exposure,
        }))
    }

    fn traffic(&self, allocations: &[Allocation]) -> Traffic {
        let largest = allocations.iter().map(|allocation| allocation.amount.0).max();
        let value_max = self.value_max.or(largest).unwrap_or_default();
        Traffic {
            rate: self.rate.unwrap_or_default() as f64,
            value_mean: self.value_mean.unwrap_or(value_max),
            value_max,
        }
    }
}

impl Scale<'_> {
    /// The largest bond of which every validator can have one: bonds and allocations are one supply.
    fn bond_max(&self) -> u64 {
        let allocated = self
            .allocations
            .iter()
            .fold(0_u64, |sum, allocation| sum.saturating_add(allocation.amount.0));
        let validators = u64::from(self.shards) * u64::from(self.members);
        (u64::MAX - allocated) / validators.max(1)
    }
}

/// The largest of the bonds that make their holder believable, that keep payments in the sample, and that cover the
/// exposed value as far as the supply goes.
fn largest(eligible: u64, for_value: u64, (for_exposure, bond_max): (u64, u64)) -> (u64, Reason) {
    let exposure = if for_exposure > bond_max {
        (bond_max, Reason::Supply)
    } else {
        (for_exposure, Reason::Exposed)
    };
    let sampled = (for_value, Reason::Sampled);
    let mut chosen = (eligible, Reason::Eligible);
    for other in [sampled, exposure] {
        if other.0 > chosen.0 {
            chosen = other;
        }
    }
    chosen
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

/// Why a bond is as large as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `--bond` said so.
    Given,
    /// The largest payments are to be sampled like any other.
    Sampled,
    /// What an author has open is to be covered.
    Exposed,
    /// That would take more than the supply has room for.
    Supply,
    /// A smaller one would not make its holder believable.
    Eligible,
}

/// The bond of each validator of a new network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bond {
    /// Its size.
    pub(crate) units: u64,
    reason: Reason,
    full_from: u64,
    value_max: u64,
    /// Bond over what of the exposed value could pass unseen; absent without a rate.
    exposure: Option<f64>,
    /// What the rate asks for.
    wanted: u64,
}

impl fmt::Display for Bond {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::Given => "as --bond says".to_owned(),
            Reason::Sampled => {
                format!("so that {VALUE_SAFETY} times the largest value is sampled like any other payment")
            }
            Reason::Exposed => {
                format!(
                    "so that it covers {EXPOSURE_SAFETY} times what an author could take unseen at --rate"
                )
            }
            Reason::Supply => format!(
                "the most that a supply of {} has room for; --rate asks for {}",
                u64::MAX,
                self.wanted
            ),
            Reason::Eligible => {
                "the least that makes its holder believable by bond_cap and believability_min".to_owned()
            }
        };
        write!(formatter, "bond of each validator {}, {reason}; ", self.units)?;
        if self.full_from == u64::MAX {
            formatter.write_str("no payment is checked by all voters for its value")?;
        } else {
            let margin = self.full_from as f64 / self.value_max.max(1) as f64;
            write!(
                formatter,
                "payments from {} on are checked by all voters, {margin:.1} times the largest value",
                self.full_from
            )?;
        }
        match self.exposure {
            Some(margin) => write!(
                formatter,
                "; {margin:.1} times what an author could take unseen at --rate"
            ),
            None => Ok(()),
        }
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

    use super::{Bond, LeagueOptions, Reason, Scale, least_eligible, one_league};
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

    /// The bond in one shard of five validators.
    fn sized(options: &LeagueOptions, policy: &Policy, amounts: &[u64]) -> Result<Option<Bond>, CreateError> {
        let scale = Scale {
            shards: 1,
            members: 5,
            allocations: &allocations(amounts),
        };
        options.bond(policy, &scale)
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
            ("--rate", |flags| flags.rate = Some(1)),
            ("--value-mean", |flags| flags.value_mean = Some(1)),
            ("--value-max", |flags| flags.value_max = Some(1)),
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
        let bond = |amounts: &[u64]| sized(&options(), &policy, amounts);
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
        assert_eq!(sized(&none, &pbft, &[1]).expect("none"), None);
        let CreateError::Flag { flag, .. } = bond(&[u64::MAX]).expect_err("no bond is") else {
            panic!("a flag")
        };
        assert_eq!(flag, "--amount");
        let given = |units| LeagueOptions {
            bond: Some(units),
            ..options()
        };
        let error = sized(&given(least - 1), &policy, &[]).expect_err("too small");
        assert!(error.to_string().contains(&least.to_string()), "{error}");
        let kept = sized(&given(least), &policy, &[]).expect("enough");
        assert_eq!(kept.expect("two leagues").units, least);
    }

    #[test]
    fn bonds_cover_what_an_author_has_open_at_the_rate_as_far_as_the_supply_goes() {
        let policy = Policy::lan().with_leagues();
        let at = |rate, amount| {
            let options = LeagueOptions {
                rate: Some(rate),
                ..options()
            };
            sized(&options, &policy, &[amount])
                .expect("sized")
                .expect("two leagues")
        };
        let amount = 1_000_000_000;
        // Lag and window are 25 heights of 100 ms; U = 9/16 with four voters: 10,000 * 2.5 s * amount * 2 * 9/16.
        let bond = at(10_000, amount);
        assert_eq!((bond.units, bond.reason), (28_125_000_000_000, Reason::Exposed));
        assert!((bond.exposure.expect("a rate") - 2.0).abs() < 1e-9);
        assert!(bond.to_string().contains("2.0 times what an author"), "{bond}");
        assert_eq!(at(20_000, amount).units, 2 * bond.units);
        // A rate at which the value from which all are checked asks for more.
        assert_eq!(at(1, 100 * amount).reason, Reason::Sampled);
        let two_shards = Scale {
            shards: 2,
            members: 5,
            allocations: &allocations(&[amount]),
        };
        let mean = LeagueOptions {
            rate: Some(10_000),
            value_mean: Some(amount / 5),
            ..options()
        };
        let halved = mean
            .bond(&policy, &two_shards)
            .expect("sized")
            .expect("two leagues");
        assert_eq!(halved.units, bond.units / 10);
        // All five bonds and the one allocation are the largest supply.
        let poor = at(u64::MAX / 1_000_000_000, amount);
        assert_eq!(
            (poor.units, poor.reason),
            ((u64::MAX - amount) / 5, Reason::Supply)
        );
        assert!(poor.exposure.expect("a rate") < 1.0);
        assert!(poor.to_string().contains("--rate asks for"), "{poor}");
    }
}
