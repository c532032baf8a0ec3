//! Before the transactions of a block: slashed bonds move into the pool, and claims are paid.

use std::collections::BTreeSet;

use types::limits::{COMPENSATION_INDEX, INPUTS_MAX};
use types::{Amount, Counters, Height, OutPoint, TxId};

use crate::partition::Partition;
use crate::planted::Fault;
use crate::{Claim, ClaimOutcome, Slash, Utxo, digest};

/// One in so many units of a slashed bond rewards the detectors (`ios` 7.8: 5 %), rounded down; the rest is the pool's.
const REWARD_SHARE: u64 = 20;

/// What slashes and claims did.
#[derive(Default)]
pub(crate) struct Settlement {
    /// Counters after them.
    pub(crate) counters: Counters,
    /// One outcome for each claim.
    pub(crate) outcomes: Vec<ClaimOutcome>,
    /// Transactions whose claims had an effect, ascending.
    pub(crate) claimed: Vec<TxId>,
}

/// Refuses what no valid block orders; nothing has changed.
pub(crate) fn check(counters: &Counters, slashes: &[Slash], claims: &[Claim]) -> Result<(), &'static str> {
    let slashed = slashes
        .iter()
        .try_fold(0_u64, |sum, slash| sum.checked_add(slash.bond));
    if slashed.is_none_or(|slashed| slashed > counters.bonds) {
        return Err("a bond is slashed once: more is slashed than is in force");
    }
    if claims.iter().any(|claim| claim.victims.len() > INPUTS_MAX) {
        return Err("a claim names more victims than a transaction has inputs");
    }
    Ok(())
}

/// Settles slashes, then claims, and notes both for the digest. `claimed` holds the transactions whose claims were
/// settled before, and takes those of this block in.
pub(crate) fn run(
    height: Height,
    (slashes, claims): (&[Slash], &[Claim]),
    before: Counters,
    claimed: &mut BTreeSet<TxId>,
    partitions: &mut [Partition],
    fault: Fault,
) -> Settlement {
    let mut settlement = Settlement {
        counters: before,
        ..Settlement::default()
    };
    for slash in slashes {
        let reward = slash.bond / REWARD_SHARE;
        settlement.counters.bonds -= slash.bond;
        settlement.counters.rewards += reward;
        settlement.counters.pool += slash.bond - reward;
    }
    for claim in claims {
        let is_new = claimed.insert(claim.txid);
        let mut outcome = ClaimOutcome::default();
        if is_new || fault.settles_again() {
            let partition = &mut partitions[claim.partition()];
            outcome = pay(height, claim, &mut settlement.counters, partition, fault);
        }
        if is_new {
            settlement.claimed.push(claim.txid);
        }
        settlement.outcomes.push(outcome);
    }
    settlement.claimed.sort_unstable();
    if settlement.counters != before && !fault.skips_counters() {
        partitions[0].note(&digest::counters_entry(&settlement.counters));
    }
    for txid in &settlement.claimed {
        let partition = OutPoint {
            txid: *txid,
            index: 0,
        }
        .partition();
        partitions[partition].note(&digest::claim_entry(txid));
    }
    settlement
}

/// Seizes what is left of a forged transaction and pays its victims in order.
fn pay(
    height: Height,
    claim: &Claim,
    counters: &mut Counters,
    partition: &mut Partition,
    fault: Fault,
) -> ClaimOutcome {
    let mut outcome = ClaimOutcome::default();
    let outpoint = |index| OutPoint {
        txid: claim.txid,
        index,
    };
    for index in 0..claim.output_count {
        let Some(slot) = partition.find(&outpoint(index)) else {
            continue;
        };
        let entry = partition.slot(slot);
        if entry.spent_at == 0 {
            outcome.seized += entry.amount;
            if !fault.leaves_seized() {
                partition.spend(slot, height, claim.txid);
            }
        }
    }
    // Together below the supply, which fits. Victims come first; what is left, seized or not, is the pool's.
    let mut fund = counters.pool + outcome.seized;
    for (index, (owner, loss)) in (COMPENSATION_INDEX..).zip(&claim.victims) {
        let paid = fund.min(*loss);
        fund -= paid;
        outcome.paid += paid;
        outcome.unpaid = outcome.unpaid.saturating_add(loss - paid);
        if paid > 0 {
            let utxo = Utxo {
                owner: *owner,
                amount: Amount(paid),
                created: height,
            };
            partition.create(&outpoint(index), &utxo, None);
        }
    }
    counters.pool = fund;
    counters.unpaid = counters.unpaid.saturating_add(outcome.unpaid);
    outcome
}
