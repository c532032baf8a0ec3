//! What a network of a given size promises: how likely a shard fails, how likely a forgery passes the samples, and the
//! bond that makes it a loss (`ios` 4.4, 7.12).
//!
//! For people and reports. The one rule that consensus computes too, `v_full`, is taken from `crypto::sampling`;
//! everything else may use floats here.

pub mod exposure;
pub mod limits;
pub mod probability;

mod setup;
mod text;

use crypto::sampling::{bond_against, full_from, survival};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use types::Amount;

pub use setup::{Leagues, Setup, SetupError};

/// Numbers of forgeries whose probability to pass all is shown.
const FORGERIES_SHOWN: [u32; 5] = [1, 2, 5, 10, 20];

/// What a setup promises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sizing {
    /// What was asked.
    pub setup: Setup,
    /// The voters of each shard.
    pub voting: Voting,
    /// How likely a shard has more faulty members than its voters tolerate.
    pub failure: Failure,
    /// Signature checks per transaction of one input shard: the author's and those of the voters who sample it; with
    /// one league every member's.
    pub checks_per_tx: f64,
    /// What samples catch; absent with one league, where everything is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// What bonds deter; absent without a bond and a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deterrence: Option<Deterrence>,
}

/// The voters of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Voting {
    /// `n_n`, members that vote: all but the candidates.
    pub voters: u32,
    /// `f_n`, faulty voters that are tolerated.
    pub faulty_max: u32,
    /// `q`, votes of a certificate.
    pub quorum: u32,
}

/// How likely a random shard fails. The faulty members of a shard may all be voters, so that it is safe exactly when
/// there are no more of them than its voters tolerate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Validators of all shards.
    pub validators: u32,
    /// Faulty ones among them, rounded down.
    pub faulty: u32,
    /// Probability that one shard fails: hypergeometric, exact but for rounding.
    pub shard: f64,
    /// The same with infinitely many validators to draw from: binomial.
    pub shard_unlimited: f64,
    /// At most the probability that any shard of the network fails: the sum over all.
    pub network_max: f64,
}

/// What samples catch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sampling {
    /// `h_w`, honest voters inside any quorum: they have sampled what is final, whatever the schedule was.
    pub honest: u32,
    /// `U`, probability that one forgery passes them.
    pub forgery_passes: f64,
    /// `h_n`, all honest voters; they count only while bodies and proofs are timely.
    pub honest_if_timely: u32,
    /// Probability that one forgery passes these: a hope and not a promise.
    pub forgery_passes_if_timely: f64,
    /// Probability that several forgeries pass, all of them.
    pub forgeries_pass: Vec<Passing>,
    /// `U / (1 - U)`: forgeries that pass, on average, before the first is caught, and the bond over the stolen value
    /// at which theft gains nothing; absent when nothing is ever caught.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub break_even: Option<f64>,
}

/// Several forgeries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Passing {
    /// How many.
    pub forgeries: u32,
    /// Probability that all of them pass.
    pub probability: f64,
}

/// What bonds deter. What cannot be told from what was asked is absent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deterrence {
    /// `v_full` of the bond: transactions worth this or more are checked by every voter. Absent when the value plays
    /// no part: nothing is sampled, or everything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_from: Option<u64>,
    /// `v_full` over the value; above 1 the value is sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Bond at which a theft of the value gains nothing on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bond_break_even: Option<u64>,
    /// Smallest bond under which the value is sampled: the rule asks for twice the break-even.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bond_required: Option<u64>,
    /// What a forger of one transaction of the value gains on average if it is only sampled: `U v - (1 - U) S`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain_expected: Option<f64>,
}

impl Sizing {
    /// Computes everything.
    ///
    /// # Errors
    /// A setup that no network can have.
    pub fn of(setup: &Setup) -> Result<Self, SetupError> {
        setup.validate()?;
        let voting = Voting::of(setup);
        let sampling = setup
            .leagues
            .as_ref()
            .map(|leagues| Sampling::of(&voting, leagues.sampling_ppm));
        Ok(Self {
            setup: setup.clone(),
            voting,
            failure: Failure::of(setup, &voting),
            checks_per_tx: checks_per_tx(setup, &voting),
            deterrence: setup
                .leagues
                .as_ref()
                .and_then(|leagues| Deterrence::of(&voting, leagues)),
            sampling,
        })
    }
}

impl Voting {
    fn of(setup: &Setup) -> Self {
        let candidates = setup.leagues.as_ref().map_or(0, |leagues| leagues.candidates);
        let voters = setup.validators - candidates;
        let faulty_max = (voters - 1) / 3;
        Self {
            voters,
            faulty_max,
            quorum: voters - faulty_max,
        }
    }

    /// `h_w`, honest voters inside any quorum.
    #[must_use]
    pub const fn honest_in_quorum(&self) -> u32 {
        self.quorum - self.faulty_max
    }
}

impl Failure {
    fn of(setup: &Setup, voting: &Voting) -> Self {
        let validators = setup.validators * setup.shards;
        let faulty = (u64::from(validators) * u64::from(setup.faulty_ppm) / 1_000_000) as u32;
        let shard = probability::shard_fails(validators, faulty, setup.validators, voting.faulty_max);
        Self {
            validators,
            faulty,
            shard,
            shard_unlimited: probability::shard_fails_unlimited(
                setup.faulty_ppm,
                setup.validators,
                voting.faulty_max,
            ),
            network_max: (f64::from(setup.shards) * shard).min(1.0),
        }
    }
}

fn checks_per_tx(setup: &Setup, voting: &Voting) -> f64 {
    let voters = f64::from(voting.voters);
    setup
        .leagues
        .as_ref()
        .map_or(voters, |leagues| 1.0 + share(leagues.sampling_ppm) * voters)
}

impl Sampling {
    fn of(voting: &Voting, ppm: u32) -> Self {
        let honest = voting.honest_in_quorum();
        let passes = passes(ppm, honest);
        let several = FORGERIES_SHOWN.map(|forgeries| Passing {
            forgeries,
            probability: passes.powf(forgeries.into()),
        });
        Self {
            honest,
            forgery_passes: passes,
            honest_if_timely: voting.quorum,
            forgery_passes_if_timely: self::passes(ppm, voting.quorum),
            forgeries_pass: several.into(),
            break_even: (passes < 1.0).then(|| passes / (1.0 - passes)),
        }
    }
}

impl Deterrence {
    fn of(voting: &Voting, leagues: &Leagues) -> Option<Self> {
        let (bond, value) = (leagues.bond, leagues.value);
        if bond.is_none() && value.is_none() {
            return None;
        }
        let (ppm, honest) = (leagues.sampling_ppm, voting.honest_in_quorum());
        let passes = passes(ppm, honest);
        let sampled = 0 < ppm && ppm < 1_000_000;
        let full_from = bond
            .filter(|_| sampled)
            .map(|bond| full_from(Amount(bond), ppm, honest));
        let break_even = value
            .filter(|_| passes < 1.0)
            .map(|value| (value as f64 * passes / (1.0 - passes)).ceil() as u64);
        Some(Self {
            full_from,
            margin: full_from
                .zip(value.filter(|value| *value > 0))
                .map(|(full_from, value)| full_from as f64 / value as f64),
            bond_break_even: break_even,
            bond_required: value
                .and_then(|value| bond_against(Amount(value), ppm, honest))
                .map(|bond| bond.0),
            gain_expected: bond
                .zip(value)
                .map(|(bond, value)| passes * value as f64 - (1.0 - passes) * bond as f64),
        })
    }
}

fn share(ppm: u32) -> f64 {
    f64::from(ppm) / 1e6
}

/// `U`, as consensus rounds it.
fn passes(ppm: u32, honest: u32) -> f64 {
    survival(ppm, honest) as f64 / 2_f64.powi(64)
}

#[cfg(test)]
mod tests;
