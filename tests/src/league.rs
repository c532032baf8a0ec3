//! Two leagues in a run: how many author and stand in, how much is sampled, and how authors and leaders cheat.

use std::collections::BTreeSet;

use types::MemberIndex;
use types::policy::{Leagues, Policy};
use types::time::Duration;

use crate::rng::SimRng;

/// Heights before the current one that tell who authors (`ios` 10.2).
pub const LIVELY_HEIGHTS: u64 = 16;
/// Heights between two changes of the mode, at least (`ios` 10.2, 10.3).
pub const SWITCH_HEIGHTS: u64 = 64;

/// A way to cheat that one league does not know: of a candidate that authors, or of a voter that leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cheat {
    /// F1: an author takes spends of coins whose owners never signed.
    Forge,
    /// F2: a block holds what is no transaction.
    Encoding,
    /// F3: a block spends what is not there, what is spent, or makes value.
    State,
    /// F4: two blocks at one position, each to some.
    TwoHeaders,
    /// F5: a block spends for an owner of another group.
    Group,
    /// Some get the header alone.
    Withhold,
    /// Blocks leave late, and in any order.
    Late,
    /// A block says that its author knows only a height far below.
    StaleBase,
    /// An author says nothing for a while.
    Mute,
    /// Faults are claimed of members that did nothing wrong.
    FalseEvidence,
    /// A leader proposes a switch of the mode, a stand-in or a fault without cause.
    FalseRecord,
    /// A leader leaves faults out of its proposals.
    OmitEvidence,
}

impl Cheat {
    /// Every way.
    pub const ALL: [Self; 12] = [
        Self::Forge,
        Self::Encoding,
        Self::State,
        Self::TwoHeaders,
        Self::Group,
        Self::Withhold,
        Self::Late,
        Self::StaleBase,
        Self::Mute,
        Self::FalseEvidence,
        Self::FalseRecord,
        Self::OmitEvidence,
    ];

    /// Name in summaries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forge => "cheat_forge",
            Self::Encoding => "cheat_encoding",
            Self::State => "cheat_state",
            Self::TwoHeaders => "cheat_two_headers",
            Self::Group => "cheat_group",
            Self::Withhold => "cheat_withhold",
            Self::Late => "cheat_late",
            Self::StaleBase => "cheat_stale_base",
            Self::Mute => "cheat_mute",
            Self::FalseEvidence => "cheat_false_evidence",
            Self::FalseRecord => "cheat_false_record",
            Self::OmitEvidence => "cheat_omit_evidence",
        }
    }

    /// Whether a block that shows it costs its author the bond.
    #[must_use]
    pub const fn is_slashed(self) -> bool {
        matches!(
            self,
            Self::Forge | Self::Encoding | Self::State | Self::TwoHeaders | Self::Group
        )
    }
}

/// Everything that two leagues add to the options of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeagueOptions {
    /// Seats, `n_b`, at least 1.
    pub seats: u16,
    /// Candidates, `n_c`, at least as many; members behind the voters.
    pub candidates: u16,
    /// Live authors below which one league takes over.
    pub seats_min: u16,
    /// Signatures that a voter checks, parts per million.
    pub sampling_ppm: u32,
    /// Bond of every validator.
    pub bond: u64,
    /// Heights within which an exposed author's transactions are checked again.
    pub recheck_heights: u64,
    /// Client actions that go to the slow lane, of 1000; only with several seats.
    pub slow: u64,
    /// How members that lie cheat.
    pub cheats: BTreeSet<Cheat>,
    /// Author blocks of a cheating author that are not what they should be, of 1000.
    pub spoiled: u64,
    /// Mean pause between forged transactions of a cheating author.
    pub forge_pause: Duration,
    /// Mean pause between times at which all candidates are down; none without.
    pub outage_pause: Option<Duration>,
}

impl LeagueOptions {
    /// Draws what a seed has; the rest of its options are drawn from another stream. `sizes` are seats and candidates.
    #[must_use]
    pub fn of_seed(seed: u64, sizes: Option<(u16, u16)>) -> Self {
        let mut rng = SimRng::new(seed, 2);
        let drawn = (rng.between(1, 3) as u16, rng.below(3) as u16);
        let (seats, candidates) = sizes.unwrap_or((drawn.0, drawn.0 + drawn.1));
        let cheats = Cheat::ALL.into_iter().filter(|_| rng.chance(300)).collect();
        let outage_pause = rng.micros(400_000, 3_000_000);
        Self {
            seats,
            candidates,
            seats_min: if rng.chance(700) {
                1
            } else {
                rng.between(1, seats.into()) as u16
            },
            sampling_ppm: match rng.below(8) {
                0 => 0,
                1 => 1_000_000,
                2 | 3 => 50_000,
                _ => 250_000,
            },
            bond: match rng.below(4) {
                // Too little for what is at stake: nearly everything is checked by all, and victims go short.
                0 => rng.between(1, 500),
                _ => rng.between(10_000, 1_000_000),
            },
            recheck_heights: rng.between(16, 64),
            slow: if seats > 1 { rng.below(150) } else { 0 },
            cheats,
            spoiled: rng.between(2, 40),
            forge_pause: rng.micros(5_000, 200_000),
            outage_pause: rng.chance(250).then_some(outage_pause),
        }
    }

    /// Which candidates lie, each with one chance in three, in two seeds of three.
    pub(crate) fn liars(&self, seed: u64, voters: u16) -> BTreeSet<MemberIndex> {
        let mut rng = SimRng::new(seed, 3);
        let share = if rng.chance(650) { 400 } else { 0 };
        (voters..voters + self.candidates)
            .map(MemberIndex)
            .filter(|_| rng.chance(share))
            .collect()
    }

    /// The policy of simulated networks with these leagues.
    ///
    /// # Panics
    /// Never: the policy has leagues because they were just put in.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut policy = Policy::simulated().with_leagues();
        let leagues = policy.leagues.take().expect("the policy has two leagues");
        policy.leagues = Some(Leagues {
            seats: self.seats,
            candidates: self.candidates,
            seats_min: self.seats_min,
            sampling_ppm: self.sampling_ppm,
            // Every bond is worth the same seat.
            bond_min: 1,
            bond_cap: self.bond,
            recheck_heights: self.recheck_heights,
            ..leagues
        });
        policy
    }
}

/// What happened in a run that one league does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeagueSeen {
    /// Tags that were promised: receipts.
    pub receipts: u64,
    /// Transactions promised in a block that never counted.
    pub broken: u64,
    /// Final heights in which two leagues were at work.
    pub believable_heights: u64,
    /// Transactions of believable authors that took effect.
    pub believable_txs: u64,
    /// Transactions whose signatures a voter checked in a sample.
    pub sampled: u64,
    /// Transactions of which it checked none.
    pub unsampled: u64,
    /// Frauds that honest members told each other about.
    pub proofs: u64,
    /// Authors that honest members held for suspended by what they had proof of.
    pub suspensions: u64,
    /// Bonds lost, by final evidence.
    pub slashes: u64,
    /// Bodies checked again.
    pub rechecks: u64,
    /// Forged transactions that an author hid in a block.
    pub forged: u64,
    /// Of them, those that became final.
    pub forged_final: u64,
    /// Claims of the defrauded that became final.
    pub claims: u64,
    /// Value taken back from forged outputs.
    pub seized: u64,
    /// Value paid to the defrauded.
    pub paid: u64,
    /// Value that nothing was left to pay.
    pub unpaid: u64,
    /// Groups that changed hands.
    pub stand_ins: u64,
    /// Switches to one league that became final.
    pub fallbacks: u64,
    /// Switches back.
    pub returns: u64,
    /// Slow transactions executed.
    pub slow_executed: u64,
    /// Slow transactions that ended without effect.
    pub slow_failed: u64,
    /// Times at which all candidates were down.
    pub outages: u64,
}

impl LeagueSeen {
    /// By name.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("receipts", self.receipts),
            ("receipts_broken", self.broken),
            ("believable_heights", self.believable_heights),
            ("believable_txs", self.believable_txs),
            ("sampled_txs", self.sampled),
            ("unsampled_txs", self.unsampled),
            ("fraud_proofs", self.proofs),
            ("suspensions", self.suspensions),
            ("slashes", self.slashes),
            ("rechecks", self.rechecks),
            ("forged", self.forged),
            ("forged_final", self.forged_final),
            ("claims", self.claims),
            ("seized", self.seized),
            ("paid", self.paid),
            ("unpaid", self.unpaid),
            ("stand_ins", self.stand_ins),
            ("fallbacks", self.fallbacks),
            ("returns", self.returns),
            ("slow_executed", self.slow_executed),
            ("slow_failed", self.slow_failed),
            ("outages", self.outages),
        ]
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        let mut sums = self.numbers();
        for (sum, more) in sums.iter_mut().zip(other.counters()) {
            **sum += more.1;
        }
    }

    /// In the order of [`LeagueSeen::counters`].
    fn numbers(&mut self) -> [&mut u64; 22] {
        [
            &mut self.receipts,
            &mut self.broken,
            &mut self.believable_heights,
            &mut self.believable_txs,
            &mut self.sampled,
            &mut self.unsampled,
            &mut self.proofs,
            &mut self.suspensions,
            &mut self.slashes,
            &mut self.rechecks,
            &mut self.forged,
            &mut self.forged_final,
            &mut self.claims,
            &mut self.seized,
            &mut self.paid,
            &mut self.unpaid,
            &mut self.stand_ins,
            &mut self.fallbacks,
            &mut self.returns,
            &mut self.slow_executed,
            &mut self.slow_failed,
            &mut self.outages,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{LeagueOptions, LeagueSeen};

    #[test]
    fn every_seed_gives_a_policy_that_can_run() {
        for seed in 0..2_000 {
            let drawn = LeagueOptions::of_seed(seed, None);
            drawn.policy().validate().expect("a drawn policy is valid");
            assert!(
                drawn.liars(seed, 4).len() <= usize::from(drawn.candidates),
                "seed {seed}"
            );
        }
        let fixed = LeagueOptions::of_seed(7, Some((1, 2)));
        assert_eq!((fixed.seats, fixed.candidates), (1, 2));
    }

    #[test]
    fn sums_and_names_are_of_the_same_counters() {
        let mut once = LeagueSeen::default();
        let mut number = 0;
        for counter in once.numbers() {
            number += 1;
            *counter = number;
        }
        let mut twice = once;
        twice.add(&once);
        for ((name, one), (_, two)) in once.counters().into_iter().zip(twice.counters()) {
            assert_eq!(two, 2 * one, "{name}");
        }
        let numbers: Vec<u64> = once.counters().into_iter().map(|(_, count)| count).collect();
        assert!(
            numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "{numbers:?}"
        );
    }
}
