//! What the chains say about cheating: what was caught, how fast, who paid for it.

use std::collections::{BTreeMap, BTreeSet};

use types::block::FinalHeader;
use types::evidence::{Evidence, FaultKind};
use types::{Counters, Height, ShardId, ValidatorId};

use super::league::Reactions;
use super::model::Run;

/// Faults and their consequences, over all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultLog {
    /// Evidence in final blocks, by kind.
    pub caught: BTreeMap<&'static str, u64>,
    /// From the cheating block's time, by its author's clock, to that of the final block with the evidence,
    /// nanoseconds; sum, longest and number of those that tell.
    pub detection_ns: (u64, u64, u64),
    /// Validators that lost their bond.
    pub slashed: Vec<ValidatorId>,
    /// Bonds that were lost.
    pub bonds_lost: u128,
    /// Of these, what the detectors were given.
    pub rewards: u128,
    /// Forged transactions that became final and were found by this audit's own checks.
    pub forged_final: u64,
    /// Forged transactions that were claimed.
    pub claims: u64,
    /// Taken back from the forgers' outputs.
    pub seized: u128,
    /// Paid to the defrauded.
    pub paid: u128,
    /// What the defrauded should have got and did not.
    pub unpaid: u128,
    /// Heights of mode 1 and heights of both modes, where there are two leagues.
    pub heights_in_fallback: u64,
    /// Changes of the mode, by shard and height; a shard changes it every 64 heights at most.
    pub changes: Vec<ModeChange>,
}

/// A shard went over to the other mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeChange {
    /// Shard.
    pub shard: ShardId,
    /// First height of the mode.
    pub height: Height,
    /// 0 two leagues, 1 one league.
    pub mode: u8,
}

impl FaultLog {
    /// Takes the evidence of a final block; a kind counts once for each accused and block.
    pub(super) fn take_evidence<'a>(
        &mut self,
        header: &FinalHeader,
        evidence: impl Iterator<Item = &'a Evidence>,
    ) {
        let mut seen = BTreeSet::new();
        for evidence in evidence {
            let kind = evidence.kind();
            *self.caught.entry(kind.name()).or_default() += 1;
            let cut = match evidence {
                Evidence::Transaction(evidence) => evidence.header.header.timestamp,
                Evidence::Headers(headers) => {
                    let (first, second) = (&headers.first.header, &headers.second.header);
                    first.timestamp.max(second.timestamp)
                }
                Evidence::Votes(_) | Evidence::Partials(_) => continue,
            };
            if kind != FaultKind::State || seen.insert(cut) {
                let wait = header.timestamp.saturating_sub(cut);
                let (sum, longest, count) = self.detection_ns;
                self.detection_ns = (sum.saturating_add(wait), longest.max(wait), count + 1);
            }
        }
    }

    /// Takes what a block's records did to money.
    pub(super) fn take_reactions(
        &mut self,
        reactions: &Reactions,
        run: &Run,
        validator: impl Fn(types::MemberIndex) -> Option<ValidatorId>,
    ) {
        for (member, bond) in &reactions.slashes {
            self.slashed.extend(validator(*member));
            self.bonds_lost += u128::from(*bond);
            self.rewards += u128::from(*bond / super::model::REWARD_SHARE);
        }
        self.claims += run.settled.len() as u64;
        self.seized += run.seized;
        self.paid += run.paid;
        self.unpaid += run.unpaid;
    }
}

/// The money of one shard at its last height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardMoney {
    /// At genesis.
    pub supply: u128,
    /// In unspent outputs.
    pub value: u128,
    /// Outside them.
    pub counters: Counters,
}
