//! The rules once more, as plainly as they can be written.

use std::collections::{BTreeMap, BTreeSet};

use crypto::placement::shard_of;
use types::transaction::TxView;
use types::{Amount, Counters, Height, OutPoint, Owner, Reject, TxId};

use super::blocks::{KEEP_SPENT, SHARD, SHARDS, TestBlock};
use crate::{BatchOutcome, Claim, ClaimOutcome, Exclusion, Lookup, Totals, Utxo};

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    utxo: Utxo,
    spent: Option<(u64, TxId)>,
}

/// What a block did, as `Applied` tells it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) batches: Vec<BatchOutcome>,
    pub(super) claims: Vec<ClaimOutcome>,
    pub(super) slow: Vec<Option<Exclusion>>,
}

/// Keys with their values, by partition.
type State = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

/// One map; a clone of it is an undo.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) height: u64,
    pub(super) digest: [u8; 32],
    pub(super) counters: Counters,
    pub(super) claimed: BTreeSet<TxId>,
    entries: BTreeMap<OutPoint, Entry>,
}

impl Model {
    pub(super) fn new(genesis_hash: [u8; 32], outputs: &[(OutPoint, Owner, Amount)], bonds: u64) -> Self {
        let mut model = Self {
            height: 0,
            digest: genesis_hash,
            counters: Counters::default(),
            claimed: BTreeSet::new(),
            entries: BTreeMap::new(),
        };
        let nothing = model.state();
        model.counters.bonds = bonds;
        for (outpoint, owner, amount) in outputs {
            let utxo = Utxo {
                owner: *owner,
                amount: *amount,
                created: Height(0),
            };
            model.entries.insert(*outpoint, Entry { utxo, spent: None });
        }
        model.advance_digest(&nothing);
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
            counters: self.counters,
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

    pub(super) fn apply(&mut self, block: &TestBlock) -> Outcome {
        let before = self.state();
        self.height += 1;
        for slash in &block.slashes {
            let reward = (u128::from(slash.bond) * 5 / 100) as u64;
            self.counters.bonds -= slash.bond;
            self.counters.rewards += reward;
            self.counters.pool += slash.bond - reward;
        }
        let claims = block.claims.iter().map(|claim| self.settle(claim)).collect();
        let mut excluded_ids = BTreeSet::new();
        let mut batches = Vec::new();
        for (body, bad_signatures) in &block.bodies {
            let mut bits = vec![0; body.len().div_ceil(8)];
            let mut reasons = Vec::new();
            for (position, (txid, tx)) in body.txs().enumerate() {
                let bad_signature = bad_signatures.contains(&(position as u32));
                if let Err(exclusion) = self.decide(&txid, &tx, bad_signature, &mut excluded_ids) {
                    bits[position / 8] |= 1 << (position % 8);
                    reasons.push((position as u16, exclusion));
                }
            }
            let excluded = if reasons.is_empty() { Vec::new() } else { bits };
            batches.push(BatchOutcome { excluded, reasons });
        }
        let slow = block.slow.iter();
        let slow = slow.map(|tx| self.decide(&tx.id, &tx.view(), false, &mut excluded_ids).err());
        let slow = slow.collect();
        self.advance_digest(&before);
        Outcome {
            batches,
            claims,
            slow,
        }
    }

    /// First what is left of the forged outputs, then the pool, for each victim anew.
    fn settle(&mut self, claim: &Claim) -> ClaimOutcome {
        let mut outcome = ClaimOutcome::default();
        if !self.claimed.insert(claim.txid) {
            return outcome;
        }
        let outpoint = |index| OutPoint {
            txid: claim.txid,
            index,
        };
        for index in 0..claim.output_count {
            if let Some(entry) = self.entries.get_mut(&outpoint(index))
                && entry.spent.is_none()
            {
                entry.spent = Some((self.height, claim.txid));
                outcome.seized += entry.utxo.amount.0;
            }
        }
        let mut seized = outcome.seized;
        for (number, (owner, loss)) in claim.victims.iter().enumerate() {
            let from_seized = seized.min(*loss);
            let from_pool = self.counters.pool.min(loss - from_seized);
            let paid = from_seized + from_pool;
            seized -= from_seized;
            self.counters.pool -= from_pool;
            self.counters.unpaid = self.counters.unpaid.saturating_add(loss - paid);
            outcome.paid += paid;
            outcome.unpaid = outcome.unpaid.saturating_add(loss - paid);
            if paid > 0 {
                let utxo = Utxo {
                    owner: *owner,
                    amount: Amount(paid),
                    created: Height(self.height),
                };
                let entry = Entry { utxo, spent: None };
                self.entries.insert(outpoint(0xC000 + number as u16), entry);
            }
        }
        self.counters.pool += seized;
        outcome
    }

    fn decide(
        &mut self,
        txid: &TxId,
        tx: &TxView<'_>,
        bad_signature: bool,
        excluded_ids: &mut BTreeSet<TxId>,
    ) -> Result<(), Exclusion> {
        let decided = self.judge(txid, tx, bad_signature, excluded_ids);
        match decided {
            Ok(()) => {
                self.take(txid, tx);
                excluded_ids.remove(txid);
            }
            Err(exclusion) => {
                if exclusion != Exclusion::Duplicate && !self.created_now(txid) {
                    excluded_ids.insert(*txid);
                }
            }
        }
        decided
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
        self.counters.fees += tx.fee().0;
    }

    /// Everything that the digest speaks of.
    fn state(&self) -> State {
        let partition = |txid: &TxId| usize::from(txid.0[0] >> 2);
        let mut state = State::new();
        for (outpoint, utxo) in self.outputs() {
            let key = [&[0], &outpoint.txid.0[..], &outpoint.index.to_le_bytes()].concat();
            let amounts = [utxo.amount.0, utxo.created.0].map(u64::to_le_bytes).concat();
            let value = [&utxo.owner.0[..], &amounts].concat();
            state.insert((partition(&outpoint.txid), key), value);
        }
        let Counters {
            fees: _,
            bonds,
            pool,
            rewards,
            unpaid,
        } = self.counters;
        let value = [bonds, pool, rewards, unpaid].map(u64::to_le_bytes).concat();
        state.insert((0, vec![6]), value);
        for txid in &self.claimed {
            state.insert((partition(txid), [&[7], &txid.0[..]].concat()), Vec::new());
        }
        state
    }

    /// `ios` 0.6 from the difference between two states.
    fn advance_digest(&mut self, before: &State) {
        let after = self.state();
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let mut parts = vec![Vec::new(); 64];
        for key in keys {
            let part: &mut Vec<u8> = &mut parts[key.0];
            match (before.get(key), after.get(key)) {
                (Some(_), None) => part.extend([&[0], &key.1[..]].concat()),
                (old, Some(new)) if old != Some(new) => part.extend([&[1], &key.1[..], new].concat()),
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
