//! `faults`, `money` and `security` in the report: what cheating was caught and who paid for it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use types::block::MODE_TWO_LEAGUES;

use crate::audit::{FaultLog, ModeChange, ShardMoney};

/// `faults`: what the final chains say about cheating, as the audit replayed it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultsSection {
    /// Profiles that the network was told to follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byzantine: Option<String>,
    /// Evidence in final blocks, by kind: `bad_signature`, `bad_encoding`, `bad_state`, `equivocation`, `wrong_group`,
    /// `two_votes`.
    pub caught: BTreeMap<String, u64>,
    /// From the cheating block, by its author's clock, to the final block with the evidence, mean, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detection_mean_s: Option<f64>,
    /// The same, longest, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detection_max_s: Option<f64>,
    /// Validators that lost their bond.
    pub slashed: Vec<u16>,
    /// Bonds that were lost, smallest units.
    pub bonds_lost: u64,
    /// Of these, what detectors were given, smallest units.
    pub rewards: u64,
    /// Forged transactions that every voter's sample missed, as far as this audit checked.
    pub forged_final: u64,
    /// Forged transactions that were claimed.
    pub claims: u64,
    /// Taken back from outputs of the forger, smallest units.
    pub seized: u64,
    /// Paid to the defrauded, smallest units.
    pub paid: u64,
    /// What the defrauded bore themselves, smallest units.
    pub unpaid: u64,
    /// Optimistic receipts that were not kept.
    pub broken_promises: u64,
    /// Optimistic receipts that a later one replaced.
    pub receipts_replaced: u64,
    /// Transactions that became final in a believable author's block without a receipt before.
    pub receipts_missing: u64,
    /// Transactions that were sent again: when their connection broke, or elsewhere when a shard changed its mode or an
    /// author.
    pub sent_again: u64,
    /// Heights that one league made while there were two.
    pub heights_in_fallback: u64,
    /// Changes of the mode.
    pub mode_switches: u64,
    /// The same one by one, at most [`MODE_CHANGES_MAX`], by shard and height.
    #[serde(default)]
    pub mode_changes: Vec<ModeChangeSection>,
}

/// Changes of the mode that a report names; it counts all.
pub const MODE_CHANGES_MAX: usize = 64;

/// `faults.mode_changes`: a shard went over to one league or back to two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModeChangeSection {
    /// Shard.
    pub shard: u16,
    /// First height of the mode.
    pub height: u64,
    /// 0: two leagues, believable authors and voters that sample; 1: one league.
    pub mode: u8,
}

impl FaultsSection {
    /// From the audit's log.
    #[must_use]
    pub fn of(log: &FaultLog) -> Self {
        let (sum, longest, count) = log.detection_ns;
        let seconds = |nanoseconds: u64| (count > 0).then(|| nanoseconds as f64 / 1e9);
        Self {
            caught: log
                .caught
                .iter()
                .map(|(kind, count)| ((*kind).to_owned(), *count))
                .collect(),
            detection_mean_s: seconds(sum.checked_div(count).unwrap_or_default()),
            detection_max_s: seconds(longest),
            slashed: log.slashed.iter().map(|validator| validator.0).collect(),
            bonds_lost: units(log.bonds_lost),
            rewards: units(log.rewards),
            forged_final: log.forged_final,
            claims: log.claims,
            seized: units(log.seized),
            paid: units(log.paid),
            unpaid: units(log.unpaid),
            heights_in_fallback: log.heights_in_fallback,
            mode_switches: log.changes.len() as u64,
            mode_changes: log.changes.iter().take(MODE_CHANGES_MAX).map(changed).collect(),
            ..Self::default()
        }
    }

    /// Who bore the loss of forged transactions, in words; `None` when there was none.
    #[must_use]
    pub fn borne_by(&self) -> Option<String> {
        if self.claims == 0 {
            return None;
        }
        let by_forger = self.seized.min(self.paid);
        Some(format!(
            "{} taken back from the forger, {} from its bond, {} borne by the defrauded",
            by_forger,
            self.paid.saturating_sub(by_forger),
            self.unpaid
        ))
    }

    /// When shards changed their mode, in words.
    #[must_use]
    pub fn changes(&self) -> String {
        let words = |change: &ModeChangeSection| {
            let mode = if change.mode == MODE_TWO_LEAGUES {
                "two leagues"
            } else {
                "one league"
            };
            format!("{mode} from height {} of shard {}", change.height, change.shard)
        };
        let mut words: Vec<String> = self.mode_changes.iter().map(words).collect();
        let more = self.mode_switches.saturating_sub(words.len() as u64);
        if more > 0 {
            words.push(format!("{more} more changes"));
        }
        words.join(", ")
    }

    /// Nothing happened that a reader of the result has to know.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.byzantine.is_none()
            && self.caught.is_empty()
            && self.slashed.is_empty()
            && self.claims + self.forged_final + self.broken_promises + self.mode_switches == 0
    }
}

const fn changed(change: &ModeChange) -> ModeChangeSection {
    ModeChangeSection {
        shard: change.shard.0,
        height: change.height.0,
        mode: change.mode,
    }
}

/// `money`: where the supply of a shard is at its last height, smallest units: `supply` is the sum of all that follows
/// it but `unpaid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoneySection {
    /// At genesis.
    pub supply: u64,
    /// In unspent outputs.
    pub value: u64,
    /// Fees.
    pub fees: u64,
    /// Bonds in force.
    pub bonds: u64,
    /// Confiscated and not paid out.
    pub pool: u64,
    /// Of detectors.
    pub rewards: u64,
    /// Owed to the defrauded; in no sum.
    pub unpaid: u64,
}

impl MoneySection {
    /// From the audit.
    #[must_use]
    pub fn of(money: &ShardMoney) -> Self {
        Self {
            supply: units(money.supply),
            value: units(money.value),
            fees: money.counters.fees,
            bonds: money.counters.bonds,
            pool: money.counters.pool,
            rewards: money.counters.rewards,
            unpaid: money.counters.unpaid,
        }
    }

    /// The supply is the sum of its parts.
    #[must_use]
    pub fn is_explained(&self) -> bool {
        let parts = [self.value, self.fees, self.bonds, self.pool, self.rewards];
        parts.iter().map(|part| u128::from(*part)).sum::<u128>() == u128::from(self.supply)
    }
}

/// A shard's supply fits 64 bits; more is shown as the most.
fn units(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use types::{Counters, Height, ShardId, ValidatorId};

    use super::{FaultsSection, MODE_CHANGES_MAX, MoneySection};
    use crate::audit::{FaultLog, ModeChange, ShardMoney};

    #[test]
    fn the_loss_is_told_with_who_bore_it() {
        let log = FaultLog {
            detection_ns: (3_000_000_000, 2_000_000_000, 2),
            slashed: vec![ValidatorId(4)],
            bonds_lost: 1000,
            rewards: 50,
            claims: 2,
            seized: 30,
            paid: 90,
            unpaid: 10,
            ..FaultLog::default()
        };
        let section = FaultsSection::of(&log);
        assert_eq!(
            (section.detection_mean_s, section.detection_max_s),
            (Some(1.5), Some(2.0))
        );
        assert_eq!(
            section.borne_by().expect("a loss"),
            "30 taken back from the forger, 60 from its bond, 10 borne by the defrauded"
        );
        assert!(!section.is_quiet());
        let quiet = FaultsSection::of(&FaultLog::default());
        assert!(quiet.is_quiet() && quiet.borne_by().is_none() && quiet.detection_mean_s.is_none());
    }

    #[test]
    fn changes_of_the_mode_are_named_with_their_heights() {
        let change = |shard, height, mode| ModeChange {
            shard: ShardId(shard),
            height: Height(height),
            mode,
        };
        let log = FaultLog {
            changes: vec![change(0, 113, 1), change(0, 205, 0), change(1, 300, 1)],
            ..FaultLog::default()
        };
        let section = FaultsSection::of(&log);
        assert_eq!(
            section.changes(),
            "one league from height 113 of shard 0, two leagues from height 205 of shard 0, one league from height \
             300 of shard 1"
        );
        assert_eq!((section.mode_switches, section.is_quiet()), (3, false));
        let many = FaultLog {
            changes: vec![change(0, 64, 1); MODE_CHANGES_MAX + 2],
            ..FaultLog::default()
        };
        let section = FaultsSection::of(&many);
        assert_eq!(section.mode_changes.len(), MODE_CHANGES_MAX);
        assert!(
            section.changes().ends_with(", 2 more changes"),
            "{}",
            section.changes()
        );
    }

    #[test]
    fn money_is_explained_to_the_last_unit() {
        let counters = Counters {
            fees: 1,
            bonds: 2,
            pool: 3,
            rewards: 4,
            unpaid: 99,
        };
        let money = |supply| {
            MoneySection::of(&ShardMoney {
                supply,
                value: 90,
                counters,
            })
        };
        assert!(money(100).is_explained());
        assert!(!money(101).is_explained() && !money(99).is_explained());
    }
}
