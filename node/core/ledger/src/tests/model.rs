//! The rules once more, as plainly as they can be written.

use std::collections::{BTreeMap, BTreeSet};

use crypto::placement::shard_of;
use types::transaction::TxView;
use types::{Amount, Height, OutPoint, Owner, Reject, TxId};

use super::blocks::{KEEP_SPENT, SHARD, SHARDS, TestBlock};
use crate::{BatchOutcome, Exclusion, Lookup, Totals, Utxo};

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    utxo: Utxo,
    spent: Option<(u64, TxId)>,
}

/// One map; a clone of it is an undo.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) height: u64,
    pub(super) digest: [u8; 32],
    pub(super) fees: u64,
    entries: BTreeMap<OutPoint, Entry>,
}

impl Model {
    pub(super) fn new(genesis_hash: [u8; 32], outputs: &[(OutPoint, Owner, Amount)]) -> Self {
        let mut model = Self {
            height: 0,
            digest: genesis_hash,
            fees: 0,
            entries: BTreeMap::new(),
        };
        for (outpoint, owner, amount) in outputs {
            let utxo = Utxo {
                owner: *owner,
                amount: *amount,
                created: Height(0),
            };
            model.entries.insert(*outpoint, Entry { utxo, spent: None });
        }
        model.advance_digest(&BTreeMap::new());
        model
    }

    /// Unspent outputs.
    pub(super) fn outputs(&self) -> BTreeMap<OutPoint, Utxo> {
        let live = self.entries.iter().filter(|(_, entry)| entry.spent.is_none());
        live.map(|(outpoint, entry)| (*outpoint, entry.utxo)).collect()
    }

    pub(super) fn totals(&self) -> Totals {
        let outputs = self.outputs();
        Totals {
            outputs: outputs.len() as u64,
            value: outputs.values().map(|utxo| u128::from(utxo.amount.0)).sum(),
            fees: self.fees,
        }
    }

    pub(super) fn lookup(&self, outpoint: &OutPoint, base: u64) -> Lookup {
        match self.entries.get(outpoint) {
            Some(Entry {
                spent: Some((at, by)),
                ..
            }) if *at <= base => Lookup::Spent {
                by: *by,
                at: Height(*at),
            },
            Some(Entry { utxo, .. }) if utxo.created.0 <= base => Lookup::Unspent(*utxo),
            _ => Lookup::Missing,
        }
    }

    /// Forgets what was spent `KEEP_SPENT` or more heights below `height`.
    pub(super) fn purge(&mut self, height: u64) {
        self.entries
            .retain(|_, entry| entry.spent.is_none_or(|(at, _)| at + KEEP_SPENT > height));
    }

    pub(super) fn apply(&mut self, block: &TestBlock) -> Vec<BatchOutcome> {
        let before = self.outputs();
        self.height += 1;
        let mut excluded_ids = BTreeSet::new();
        let mut outcomes = Vec::new();
        for (body, bad_signatures) in &block.bodies {
            let mut bits = vec![0; body.len().div_ceil(8)];
            let mut reasons = Vec::new();
            for (position, (txid, tx)) in body.txs().enumerate() {
                let bad_signature = bad_signatures.contains(&(position as u32));
                match self.judge(&txid, &tx, bad_signature, &excluded_ids) {
                    Ok(()) => {
                        self.take(&txid, &tx);
                        excluded_ids.remove(&txid);
                    }
                    Err(exclusion) => {
                        bits[position / 8] |= 1 << (position % 8);
                        reasons.push((position as u16, exclusion));
                        if exclusion != Exclusion::Duplicate && !self.created_now(&txid) {
                            excluded_ids.insert(txid);
                        }
                    }
                }
            }
            let excluded = if reasons.is_empty() { Vec::new() } else { bits };
            outcomes.push(BatchOutcome { excluded, reasons });
        }
        self.advance_digest(&before);
        outcomes
    }

    fn created_now(&self, txid: &TxId) -> bool {
        let first = self.entries.get(&OutPoint {
            txid: *txid,
            index: 0,
        });
        first.is_some_and(|entry| entry.utxo.created.0 == self.height)
    }

    fn judge(
        &self,
        txid: &TxId,
        tx: &TxView<'_>,
        bad_signature: bool,
        excluded_ids: &BTreeSet<TxId>,
    ) -> Result<(), Exclusion> {
        let fail = |reject| Err(Exclusion::Reject(reject));
        if bad_signature {
            return fail(Reject::BadSignature);
        }
        if tx.expiry_epoch() > 4 {
            return fail(Reject::Expired);
        }
        if tx.fee().0 < 1 {
            return fail(Reject::FeeLow);
        }
        if tx
            .outputs()
            .any(|output| shard_of(&output.owner, SHARDS) != SHARD)
        {
            return fail(Reject::KindClosed);
        }
        let mut inputs = 0_u128;
        for input in tx.inputs() {
            let entry = self.entries.get(&input.outpoint);
            let entry =
                entry.filter(|entry| entry.spent.is_none_or(|(at, _)| at + KEEP_SPENT >= self.height));
            match entry {
                None if excluded_ids.contains(&input.outpoint.txid) => return fail(Reject::ParentExcluded),
                None => return fail(Reject::InputMissing),
                Some(Entry {
                    spent: Some((_, by)), ..
                }) if by == txid => return Err(Exclusion::Duplicate),
                Some(Entry { spent: Some(_), .. }) => return fail(Reject::InputSpent),
                Some(entry) if Some(entry.utxo.owner) != tx.owner(input.owner) => {
                    return fail(Reject::OwnerMismatch);
                }
                Some(entry) => inputs += u128::from(entry.utxo.amount.0),
            }
        }
        let outputs: u128 = tx.outputs().map(|output| u128::from(output.amount.0)).sum();
        if inputs == outputs + u128::from(tx.fee().0) {
            Ok(())
        } else {
            fail(Reject::ValueMismatch)
        }
    }

    fn take(&mut self, txid: &TxId, tx: &TxView<'_>) {
        for input in tx.inputs() {
            let entry = self.entries.get_mut(&input.outpoint).expect("judged");
            entry.spent = Some((self.height, *txid));
        }
        for (index, output) in (0..).zip(tx.outputs()) {
            let utxo = Utxo {
                owner: output.owner,
                amount: output.amount,
                created: Height(self.height),
            };
            self.entries
                .insert(OutPoint { txid: *txid, index }, Entry { utxo, spent: None });
        }
        self.fees += tx.fee().0;
    }

    /// `ios` 0.6 from the difference between two states.
    fn advance_digest(&mut self, before: &BTreeMap<OutPoint, Utxo>) {
        let after = self.outputs();
        let keys: BTreeSet<OutPoint> = before.keys().chain(after.keys()).copied().collect();
        let mut parts = vec![Vec::new(); 64];
        for outpoint in keys {
            let part: &mut Vec<u8> = &mut parts[usize::from(outpoint.txid.0[0] >> 2)];
            let key = |out: &mut Vec<u8>, change: u8| {
                out.extend([change, 0]);
                out.extend(outpoint.txid.0);
                out.extend(outpoint.index.to_le_bytes());
            };
            match (before.get(&outpoint), after.get(&outpoint)) {
                (Some(_), None) => key(part, 0),
                (None, Some(utxo)) => {
                    key(part, 1);
                    part.extend(utxo.owner.0);
                    part.extend(utxo.amount.0.to_le_bytes());
                    part.extend(utxo.created.0.to_le_bytes());
                }
                _ => {}
            }
        }
        let mut hasher = blake3::Hasher::new_derive_key("shardbench v1 effects");
        hasher.update(&self.digest);
        hasher.update(&self.height.to_le_bytes());
        for part in parts {
            hasher.update(blake3::hash(&part).as_bytes());
        }
        self.digest = *hasher.finalize().as_bytes();
    }
}
