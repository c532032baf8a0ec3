//! What the client was told about each transaction that it sent.

use std::collections::HashMap;

use types::{ShardId, TxId};

/// What the client holds about one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A certificate that it is final.
    Final,
    /// A refusal.
    Rejected,
    /// Nothing: timed out, lost, expired, never sent.
    Open,
}

/// The client's claims, to be held against the chains.
#[derive(Debug, Default)]
pub struct Receipts {
    positions: HashMap<TxId, u32>,
    claims: Vec<(TxId, ShardId, Claim)>,
    applied: Vec<bool>,
}

/// Sums of the comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Honoured {
    pub(super) finals: u64,
    pub(super) finals_applied: u64,
    pub(super) applied: u64,
    pub(super) open_applied: u64,
}

impl Receipts {
    /// Takes every transaction that was or could have been sent, once each.
    pub fn new(claims: impl IntoIterator<Item = (TxId, ShardId, Claim)>) -> Self {
        let claims: Vec<_> = claims.into_iter().collect();
        let positions = (0_u32..)
            .zip(&claims)
            .map(|(position, (txid, ..))| (*txid, position));
        Self {
            positions: positions.collect(),
            applied: vec![false; claims.len()],
            claims,
        }
    }

    /// Notes that a chain applied a transaction; others than ours are ignored.
    pub(super) fn note_applied(&mut self, txid: &TxId) {
        if let Some(position) = self.positions.get(txid)
            && let Some(applied) = self.applied.get_mut(*position as usize)
        {
            *applied = true;
        }
    }

    /// Compares; `broken` is called for every claim that the chains contradict.
    pub(super) fn compare(&self, mut broken: impl FnMut(&TxId, ShardId, Claim)) -> Honoured {
        let mut sums = Honoured::default();
        for ((txid, shard, claim), applied) in self.claims.iter().zip(&self.applied) {
            sums.applied += u64::from(*applied);
            match claim {
                Claim::Final => {
                    sums.finals += 1;
                    sums.finals_applied += u64::from(*applied);
                }
                Claim::Open => sums.open_applied += u64::from(*applied),
                Claim::Rejected => {}
            }
            let is_broken = match claim {
                Claim::Final => !*applied,
                Claim::Rejected => *applied,
                Claim::Open => false,
            };
            if is_broken {
                broken(txid, *shard, *claim);
            }
        }
        sums
    }
}
