//! One of the 64 parts of the set: a table of slot numbers over a slab of entries.

use std::collections::VecDeque;

use hashbrown::HashTable;
use types::{Height, OutPoint, TxId};

use crate::digest::{self, ChangeBytes};
use crate::hash::{KeyHash, spread};
use crate::planted::Fault;
use crate::slab::{Slab, Slot};
use crate::{Lookup, StateChanges, Totals, Utxo};

/// What the table holds: 9 bytes for each output with its control byte, so that growing touches no entry.
#[derive(Clone, Copy)]
struct Bucket {
    tag: u32,
    slot: u32,
}

/// One change of the block that is being applied, to be sorted by outpoint.
#[derive(Clone, Copy)]
struct Change {
    /// First bytes of the txid as a number, which settles nearly every comparison.
    prefix: u64,
    slot: u32,
    gone: bool,
}

/// One partition.
pub(crate) struct Partition {
    hash: KeyHash,
    table: HashTable<Bucket>,
    slots: Slab,
    /// Outputs created above the final height, in order of height.
    created: VecDeque<u32>,
    /// Spent outputs in order of height: first the tombstones, then those spent above the final height.
    spent: VecDeque<u32>,
    /// How many of `spent` are tombstones.
    tombstones: usize,
    changes: Vec<Change>,
    change_bytes: ChangeBytes,
    /// Entries of the digest that are no outpoints, ascending by key: they come after the outpoints.
    entries: Vec<u8>,
    /// Scratch of `resolve`: transactions of the block by the tag of their id.
    pub(crate) parents: HashTable<(u32, u32)>,
}

impl Partition {
    pub(crate) fn new(hash: KeyHash) -> Self {
        Self {
            hash,
            table: HashTable::new(),
            slots: Slab::default(),
            created: VecDeque::new(),
            spent: VecDeque::new(),
            tombstones: 0,
            changes: Vec::new(),
            change_bytes: ChangeBytes::default(),
            entries: Vec::new(),
            parents: HashTable::new(),
        }
    }

    pub(crate) const fn key_hash(&self) -> KeyHash {
        self.hash
    }

    pub(crate) fn find(&self, outpoint: &OutPoint) -> Option<u32> {
        let tag = self.hash.tag(outpoint);
        let same = |bucket: &Bucket| bucket.tag == tag && self.slots.get(bucket.slot).is(outpoint);
        self.table.find(spread(tag), same).map(|bucket| bucket.slot)
    }

    pub(crate) fn slot(&self, slot: u32) -> &Slot {
        self.slots.get(slot)
    }

    pub(crate) fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        self.slots.get_mut(slot)
    }

    pub(crate) fn lookup(&self, outpoint: &OutPoint, base: Height) -> Lookup {
        let Some(slot) = self.find(outpoint).map(|slot| self.slot(slot)) else {
            return Lookup::Missing;
        };
        if slot.lives_at(base.0) {
            Lookup::Unspent(slot.utxo())
        } else if slot.created > base.0 {
            Lookup::Missing
        } else {
            Lookup::Spent {
                by: slot.spent_by,
                at: Height(slot.spent_at),
            }
        }
    }

    /// Adds an output that is not there yet.
    pub(crate) fn insert(&mut self, outpoint: &OutPoint, utxo: &Utxo) -> u32 {
        debug_assert!(
            self.find(outpoint).is_none() || cfg!(feature = "planted-bugs"),
            "a txid takes effect once, and its claim is settled once"
        );
        let slot = self.slots.insert(outpoint, utxo);
        let tag = self.hash.tag(outpoint);
        self.table
            .insert_unique(spread(tag), Bucket { tag, slot }, |bucket| spread(bucket.tag));
        slot
    }

    fn remove(&mut self, slot: u32) {
        let tag = self.hash.tag(&self.slots.get(slot).outpoint());
        // Slot numbers are unique, so the entry itself need not be compared.
        if let Ok(entry) = self.table.find_entry(spread(tag), |bucket| bucket.slot == slot) {
            entry.remove();
        }
        self.slots.remove(slot);
    }

    /// Marks an output as spent by the block that is being applied.
    pub(crate) fn spend(&mut self, slot: u32, height: Height, by: TxId) {
        let entry = self.slots.get_mut(slot);
        debug_assert!(
            entry.spent_at == 0 || cfg!(feature = "planted-bugs"),
            "an output is spent once"
        );
        if entry.spent_at == 0 {
            self.changes.push(Change {
                prefix: prefix(&entry.outpoint().txid),
                slot,
                gone: true,
            });
            self.spent.push_back(slot);
        }
        entry.spent_at = height.0;
        entry.spent_by = by;
    }

    /// Adds an output of the block that is being applied; `spent_by` when the block spends it as well, which is
    /// no net change.
    pub(crate) fn create(&mut self, outpoint: &OutPoint, utxo: &Utxo, spent_by: Option<TxId>) {
        let slot = self.insert(outpoint, utxo);
        self.created.push_back(slot);
        if let Some(by) = spent_by {
            let entry = self.slots.get_mut(slot);
            entry.spent_at = utxo.created.0;
            entry.spent_by = by;
            self.spent.push_back(slot);
        } else {
            self.changes.push(Change {
                prefix: prefix(&outpoint.txid),
                slot,
                gone: false,
            });
        }
    }

    /// Notes an entry of the digest that is no outpoint; keys ascend from call to call.
    pub(crate) fn note(&mut self, entry: &[u8]) {
        self.entries.extend_from_slice(entry);
    }

    /// Hash of the changes since the last call (`ios` 0.6).
    ///
    /// What claims create is there before the transactions are applied. An output that a transaction of the same
    /// block spends then has a change of either kind, which together are none.
    pub(crate) fn take_changes_hash(&mut self, fault: Fault) -> [u8; 32] {
        let slots = &self.slots;
        self.changes.sort_unstable_by(|left, right| {
            let key = |change: &Change| digest::order(&slots.get(change.slot).outpoint());
            left.prefix
                .cmp(&right.prefix)
                .then_with(|| key(left).cmp(&key(right)))
        });
        self.change_bytes.clear();
        for change in self.changes.drain(..) {
            let entry = slots.get(change.slot);
            let passing = entry.spent_at != 0 && entry.spent_at == entry.created;
            if passing {
                continue;
            }
            if change.gone {
                self.change_bytes.gone(&entry.outpoint());
            } else if !fault.skips_output(entry.outpoint().index) {
                self.change_bytes.new_output(&entry.outpoint(), &entry.utxo());
            }
        }
        self.change_bytes.append(&self.entries);
        self.entries.clear();
        self.change_bytes.hash()
    }

    /// Adds an output of the first state, which is final at once.
    ///
    /// Returns false when it is there already.
    pub(crate) fn found(&mut self, outpoint: &OutPoint, utxo: &Utxo) -> bool {
        if self.find(outpoint).is_some() {
            return false;
        }
        let slot = self.insert(outpoint, utxo);
        self.changes.push(Change {
            prefix: prefix(&outpoint.txid),
            slot,
            gone: false,
        });
        true
    }

    /// Forgets the changes since the last hash: what a snapshot brings is in its digest already.
    pub(crate) fn drop_changes(&mut self) {
        self.changes = Vec::new();
    }

    /// Undoes every height above `to`, which is not below the final height: so no tombstone comes back.
    pub(crate) fn roll_back(&mut self, to: Height) {
        while let Some(&slot) = self.spent.back()
            && self.slot(slot).spent_at > to.0
        {
            self.slot_mut(slot).spent_at = 0;
            self.spent.pop_back();
        }
        while let Some(&slot) = self.created.back()
            && self.slot(slot).created > to.0
        {
            self.remove(slot);
            self.created.pop_back();
        }
    }

    /// Makes the heights above `from` up to `to` final: appends their net changes and adjusts the sums.
    pub(crate) fn finalize(&mut self, from: Height, to: Height, net: &mut StateChanges, totals: &mut Totals) {
        while let Some(&slot) = self.created.front()
            && self.slot(slot).created <= to.0
        {
            self.created.pop_front();
            let entry = self.slot(slot);
            if entry.lives_at(to.0) {
                net.created.push((entry.outpoint(), entry.utxo()));
                totals.outputs += 1;
                totals.value += u128::from(entry.amount);
            }
        }
        while let Some(&slot) = self.spent.get(self.tombstones)
            && self.slot(slot).spent_at <= to.0
        {
            self.tombstones += 1;
            let entry = self.slot(slot);
            if entry.created <= from.0 {
                net.spent.push(entry.outpoint());
                totals.outputs -= 1;
                totals.value -= u128::from(entry.amount);
            }
        }
    }

    /// Removes the tombstones of heights that lie `keep` or more below `height`, which is the final one.
    pub(crate) fn purge(&mut self, height: Height, keep: u64) {
        while let Some(&slot) = self.spent.front()
            && self.slot(slot).spent_at.saturating_add(keep) <= height.0
        {
            self.remove(slot);
            self.spent.pop_front();
            self.tombstones -= 1;
        }
    }

    /// Every entry, tombstones and speculative ones included, in no meaningful order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }
}

fn prefix(txid: &TxId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&txid.0[..8]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::Partition;
    use crate::hash::KeyHash;
    use crate::{Lookup, Utxo};
    use types::{Amount, Height, OutPoint, Owner, TxId};

    #[test]
    fn slots_are_used_again_and_every_key_is_found() {
        let mut partition = Partition::new(KeyHash::new([1; 16]));
        let key = |number: u32| {
            let mut txid = [0; 32];
            txid[8..12].copy_from_slice(&number.to_le_bytes());
            OutPoint {
                txid: TxId(txid),
                index: (number % 3) as u16,
            }
        };
        let utxo = |number: u32| Utxo {
            owner: Owner([4; 32]),
            amount: Amount(u64::from(number) + 1),
            created: Height(0),
        };
        let slots: Vec<u32> = (0..5000)
            .map(|number| partition.insert(&key(number), &utxo(number)))
            .collect();
        for slot in slots.iter().step_by(2) {
            partition.remove(*slot);
        }
        for number in (0..5000).step_by(2) {
            assert_eq!(partition.lookup(&key(number), Height(0)), Lookup::Missing);
        }
        for number in 5000..7500 {
            partition.insert(&key(number), &utxo(number));
        }
        assert_eq!(partition.entries().count(), 5000);
        for number in (1..5000).step_by(2).chain(5000..7500) {
            assert_eq!(
                partition.lookup(&key(number), Height(0)),
                Lookup::Unspent(utxo(number))
            );
        }
    }
}
