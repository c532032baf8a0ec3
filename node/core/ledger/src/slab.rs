//! Entries of a partition, by number.

use types::{Amount, Height, OutPoint, Owner, TxId};

use crate::Utxo;

/// `Slot::created` of a slot that holds nothing.
const FREE: u64 = u64::MAX;

/// An output with both of its heights: two cache lines, the first of which decides most questions.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    txid: TxId,
    pub(crate) amount: u64,
    pub(crate) created: u64,
    /// Height that spent it, 0 while it is unspent: genesis spends nothing.
    pub(crate) spent_at: u64,
    /// Scratch of the block that is being applied: the first input that refers to this output, plus one.
    pub(crate) claim: u32,
    index: u16,
    pub(crate) owner: Owner,
    /// Who spent it; meaningless while it is unspent.
    pub(crate) spent_by: TxId,
}

impl Slot {
    fn unspent(outpoint: &OutPoint, utxo: &Utxo) -> Self {
        Self {
            txid: outpoint.txid,
            amount: utxo.amount.0,
            created: utxo.created.0,
            spent_at: 0,
            claim: 0,
            index: outpoint.index,
            owner: utxo.owner,
            spent_by: TxId::default(),
        }
    }

    pub(crate) const fn outpoint(&self) -> OutPoint {
        OutPoint {
            txid: self.txid,
            index: self.index,
        }
    }

    pub(crate) const fn utxo(&self) -> Utxo {
        Utxo {
            owner: self.owner,
            amount: Amount(self.amount),
            created: Height(self.created),
        }
    }

    pub(crate) fn is(&self, outpoint: &OutPoint) -> bool {
        self.index == outpoint.index && self.txid == outpoint.txid
    }

    /// Created at or below `base` and not spent at or below it.
    pub(crate) const fn lives_at(&self, base: u64) -> bool {
        self.created <= base && (self.spent_at == 0 || self.spent_at > base)
    }
}

/// Slots of one piece: 64 KiB.
const PIECE_SLOTS: usize = 512;

/// Slots that never move: all partitions grow at the same time, so doubling a vector in each would stop a block for
/// as long as it takes to copy the whole set.
#[derive(Default)]
pub(crate) struct Slab {
    /// All full but the last.
    pieces: Vec<Vec<Slot>>,
    free: Vec<u32>,
}

impl Slab {
    pub(crate) fn get(&self, slot: u32) -> &Slot {
        &self.pieces[slot as usize / PIECE_SLOTS][slot as usize % PIECE_SLOTS]
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.pieces[slot as usize / PIECE_SLOTS][slot as usize % PIECE_SLOTS]
    }

    /// Puts an unspent output into a slot that is free, and returns its number.
    pub(crate) fn insert(&mut self, outpoint: &OutPoint, utxo: &Utxo) -> u32 {
        let entry = Slot::unspent(outpoint, utxo);
        if let Some(slot) = self.free.pop() {
            *self.get_mut(slot) = entry;
            return slot;
        }
        if self.pieces.last().is_none_or(|last| last.len() == PIECE_SLOTS) {
            self.pieces.push(Vec::with_capacity(PIECE_SLOTS));
        }
        let position = self.pieces.len() - 1;
        let last = &mut self.pieces[position];
        last.push(entry);
        (position * PIECE_SLOTS + last.len() - 1) as u32
    }

    /// Frees a slot.
    pub(crate) fn remove(&mut self, slot: u32) {
        self.get_mut(slot).created = FREE;
        self.free.push(slot);
    }

    /// Every slot in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.pieces.iter().flatten().filter(|slot| slot.created != FREE)
    }
}

#[cfg(test)]
mod tests {
    use super::{PIECE_SLOTS, Slab, Slot};
    use crate::Utxo;
    use types::{Amount, Height, OutPoint, Owner, TxId};

    #[test]
    fn an_entry_is_two_cache_lines() {
        assert_eq!(size_of::<Slot>(), 128);
    }

    #[test]
    fn numbers_go_on_over_the_pieces_and_are_used_again() {
        let mut slab = Slab::default();
        let outpoint = OutPoint {
            txid: TxId([1; 32]),
            index: 2,
        };
        let utxo = |amount| Utxo {
            owner: Owner([4; 32]),
            amount: Amount(amount),
            created: Height(3),
        };
        let count = PIECE_SLOTS as u32 * 2 + 1;
        for number in 0..count {
            assert_eq!(slab.insert(&outpoint, &utxo(u64::from(number))), number);
        }
        slab.remove(PIECE_SLOTS as u32);
        assert_eq!(slab.iter().count(), count as usize - 1);
        assert_eq!(slab.insert(&outpoint, &utxo(7)), PIECE_SLOTS as u32);
        assert_eq!(slab.insert(&outpoint, &utxo(8)), count);
        assert_eq!(slab.get(PIECE_SLOTS as u32).utxo(), utxo(7));
        assert_eq!(slab.get(count - 2).outpoint(), outpoint);
    }
}
