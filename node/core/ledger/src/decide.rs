//! Third step of a block: one pass in list order over numbers alone, which says what takes effect.

use types::{Reject, TxId};

use crate::plan::{Block, PlannedTx};
use crate::planted::Fault;
use crate::resolve::{Check, Resolved, Source};
use crate::{BatchOutcome, Exclusion};

/// What became of a txid so far in the list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not reached yet, or only as a duplicate of an earlier block's: its children are judged by state alone.
    Open,
    Applied,
    Excluded,
}

/// The decisions. The vectors are used again from block to block.
#[derive(Default)]
pub(crate) struct Decisions {
    /// By transaction in list order.
    pub(crate) applied: Vec<bool>,
    /// By `Resolved::claim`: who spends that output in this block, plus one; 0 for nobody.
    pub(crate) claims: Vec<u32>,
    /// By the first transaction of a txid.
    standings: Vec<Standing>,
    /// Transactions that take effect.
    pub(crate) count: u32,
    /// Their fees.
    pub(crate) fees: u64,
}

impl Decisions {
    /// Decides a block and returns the outcome of each batch and of each slow transaction.
    ///
    /// Rules in order, the first broken one is the reason: signature, expiry, fee, owners of the outputs; then for
    /// each input: there, unspent, owner; then the sum.
    pub(crate) fn decide(
        &mut self,
        block: &Block<'_>,
        checks: &[Check],
        resolved: &[Resolved],
        fault: Fault,
    ) -> (Vec<BatchOutcome>, Vec<Option<Exclusion>>) {
        self.reset(block);
        let mut outcomes = Vec::with_capacity(block.input.batches.len());
        let mut number = 0;
        for batch in block.input.batches {
            let mut outcome = BatchOutcome::default();
            for position in 0..batch.body.len() {
                if let Some(exclusion) = self.decide_one(block, number, checks, resolved, fault) {
                    if outcome.excluded.is_empty() {
                        outcome.excluded.resize(batch.body.len().div_ceil(8), 0);
                    }
                    outcome.excluded[position / 8] |= 1 << (position % 8);
                    outcome.reasons.push((position as u16, exclusion));
                }
                number += 1;
            }
            outcomes.push(outcome);
        }
        let slow = (number..block.plan.txs.len() as u32)
            .map(|number| self.decide_one(block, number, checks, resolved, fault));
        (outcomes, slow.collect())
    }

    fn reset(&mut self, block: &Block<'_>) {
        let txs = block.plan.txs.len();
        self.applied.clear();
        self.applied.resize(txs, false);
        self.standings.clear();
        self.standings.resize(txs, Standing::Open);
        self.claims.clear();
        self.claims.resize(
            block.plan.input_places.len() + block.plan.output_count as usize,
            0,
        );
        self.count = 0;
        self.fees = 0;
    }

    fn decide_one(
        &mut self,
        block: &Block<'_>,
        number: u32,
        checks: &[Check],
        resolved: &[Resolved],
        fault: Fault,
    ) -> Option<Exclusion> {
        let tx = &block.plan.txs[number as usize];
        let check = &checks[tx.place as usize];
        let exclusion = self.judge(block, number, (tx, check), resolved, fault).err();
        let standing = &mut self.standings[check.first_of_id as usize];
        match exclusion {
            None => {
                *standing = Standing::Applied;
                self.applied[number as usize] = true;
                self.count += 1;
                // Fees are paid out of a supply that fits, so this cannot saturate.
                self.fees = self.fees.saturating_add(check.fee);
                for place in block.plan.places_of(tx) {
                    self.claims[resolved[*place as usize].claim as usize] = number + 1;
                }
            }
            Some(Exclusion::Reject(_)) if *standing == Standing::Open => *standing = Standing::Excluded,
            Some(_) => {}
        }
        exclusion
    }

    fn judge(
        &self,
        block: &Block<'_>,
        number: u32,
        (tx, check): (&PlannedTx, &Check),
        resolved: &[Resolved],
        fault: Fault,
    ) -> Result<(), Exclusion> {
        if tx.bad_signature {
            return Err(Exclusion::Reject(Reject::BadSignature));
        }
        if let Some(reject) = check.reject {
            return Err(Exclusion::Reject(reject));
        }
        let mut sum = Some(0_u64);
        for place in block.plan.places_of(tx) {
            let input = &resolved[*place as usize];
            self.stands(input)?;
            let spender = self.claims[input.claim as usize];
            if spender != 0 && !fault.forgets_claims(block.is_slow(tx)) {
                let same = |txid: TxId| txid == block.txid(number);
                return Err(if same(block.txid(spender - 1)) {
                    Exclusion::Duplicate
                } else {
                    Exclusion::Reject(Reject::InputSpent)
                });
            }
            if !input.owner_matches {
                return Err(Exclusion::Reject(Reject::OwnerMismatch));
            }
            sum = sum.and_then(|sum| sum.checked_add(input.amount));
        }
        if (sum.is_none() || sum != check.needed) && !fault.skips_conservation() {
            return Err(Exclusion::Reject(Reject::ValueMismatch));
        }
        Ok(())
    }

    /// Whether an input's output is there at this point of the list, and not spent at an earlier height.
    fn stands(&self, input: &Resolved) -> Result<(), Exclusion> {
        let missing = match input.source {
            Source::State { .. } => return Ok(()),
            Source::Duplicate => return Err(Exclusion::Duplicate),
            Source::Spent => Reject::InputSpent,
            Source::Missing => Reject::InputMissing,
            Source::Block { parent } | Source::PastEnd { parent } => {
                match (self.standings[parent as usize], input.source) {
                    (Standing::Applied, Source::Block { .. }) => return Ok(()),
                    (Standing::Excluded, _) => Reject::ParentExcluded,
                    _ => Reject::InputMissing,
                }
            }
        };
        Err(Exclusion::Reject(missing))
    }
}
