//! What the client was told about each transaction that it sent, and where the chains applied it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use types::{Hash, Height, Reject, ShardId, TxId, ValidatorId};

/// Where a transaction stands in a shard's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Height of the block.
    pub height: Height,
    /// Reference of the block, from 0.
    pub reference: u16,
    /// Transaction of the referred author block, from 0.
    pub index: u16,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            height,
            reference,
            index,
        } = self;
        write!(
            formatter,
            "height {height}, reference {reference}, position {index}"
        )
    }
}

/// What the client holds about one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It was told that the transaction is final; the place that a receipt names whose certificate holds.
    Final(Option<Position>),
    /// A definite refusal.
    Rejected(Reject),
    /// Nothing: timed out, lost, busy, never sent.
    Open,
}

/// What one validator said about one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Transaction.
    pub txid: TxId,
    /// Its shard.
    pub shard: ShardId,
    /// Validator that was asked, and that said it.
    pub validator: ValidatorId,
    /// What it said.
    pub claim: Claim,
}

/// Headers whose certificate the client verified while it ran, and who sent them first.
pub type Certified = BTreeMap<(ShardId, Height), (Hash, ValidatorId)>;

/// Everything that the client was told, to be held against the chains.
#[derive(Debug, Default)]
pub struct Receipts {
    positions: HashMap<TxId, u32>,
    told: Vec<Told>,
    /// Where the recomputed chain applied it first.
    applied: Vec<Option<Position>>,
    /// A validator's chain lacks it.
    dropped: Vec<bool>,
    certified: Certified,
}

/// Sums of the comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Honoured {
    pub(super) finals: u64,
    pub(super) finals_honoured: u64,
    pub(super) applied: u64,
    pub(super) open_applied: u64,
}

impl Receipts {
    /// Takes every transaction that was or could have been sent, once each.
    pub fn new(told: impl IntoIterator<Item = Told>, certified: Certified) -> Self {
        let told: Vec<Told> = told.into_iter().collect();
        let positions = (0_u32..).zip(&told).map(|(position, told)| (told.txid, position));
        Self {
            positions: positions.collect(),
            applied: vec![None; told.len()],
            dropped: vec![false; told.len()],
            told,
            certified,
        }
    }

    /// Highest height of a shard that a receipt names or that was certified to the client.
    #[must_use]
    pub fn height_max(&self, shard: ShardId) -> Height {
        let certified = self.certified.keys().filter(|(of, _)| *of == shard);
        let named = self.finals().filter(|(_, told, _)| told.shard == shard);
        let highest = certified
            .map(|(_, height)| *height)
            .chain(named.map(|(.., position)| position.height));
        highest.max().unwrap_or_default()
    }

    pub(super) const fn certified(&self) -> &Certified {
        &self.certified
    }

    /// Everything with a receipt: number, what was told, where it should stand.
    pub(super) fn finals(&self) -> impl Iterator<Item = (usize, &Told, Position)> {
        self.told
            .iter()
            .enumerate()
            .filter_map(|(number, told)| match told.claim {
                Claim::Final(Some(position)) => Some((number, told, position)),
                _ => None,
            })
    }

    /// Notes where a chain applied a transaction; others than ours are ignored, a second time counts once.
    pub(super) fn note_applied(&mut self, txid: &TxId, at: Position) {
        if let Some(number) = self.positions.get(txid)
            && let Some(applied) = self.applied.get_mut(*number as usize)
        {
            applied.get_or_insert(at);
        }
    }

    /// Notes that a validator's chain lacks a transaction.
    pub(super) fn note_dropped(&mut self, number: usize) {
        if let Some(dropped) = self.dropped.get_mut(number) {
            *dropped = true;
        }
    }

    /// Compares with the recomputed chains; `broken` is called for every claim that they contradict, with the place
    /// at which they applied the transaction.
    pub(super) fn compare(&self, mut broken: impl FnMut(&Told, Option<Position>)) -> Honoured {
        let mut sums = Honoured::default();
        for ((told, applied), dropped) in self.told.iter().zip(&self.applied).zip(&self.dropped) {
            sums.applied += u64::from(applied.is_some());
            let is_broken = match told.claim {
                Claim::Final(position) => {
                    let stands = applied.is_some() && position.is_none_or(|at| *applied == Some(at));
                    sums.finals += 1;
                    sums.finals_honoured += u64::from(stands && !dropped);
                    // A transaction that validators dropped was reported with each of them.
                    let is_reported = *dropped && applied.is_none();
                    !(stands || is_reported)
                }
                Claim::Rejected(_) => applied.is_some(),
                Claim::Open => {
                    sums.open_applied += u64::from(applied.is_some());
                    false
                }
            };
            if is_broken {
                broken(told, *applied);
            }
        }
        sums
    }
}
