//! Author blocks of all members: received, being checked, ready; and how far each chain is included.

use std::collections::{BTreeMap, BTreeSet};

use types::block::{BlockSeq, Body, SignedAuthorHeader};
use types::limits::{AUTHOR_BLOCKS_HELD_MAX, AUTHOR_BYTES_HELD_MAX};
use types::{Hash, Height, Time};

use crate::event::CheckedBody;
use crate::league::{GroupIndex, Groups};

/// How far a group's chain is included, at some block of the final chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Next position that may be included.
    pub(crate) next: BlockSeq,
    /// Hash of the last included author block; genesis hash before the first.
    pub(crate) last: Hash,
}

/// Content of a held author block.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Being decoded and verified.
    Checking,
    /// Decoded and verified.
    Ready(CheckedBody),
}

/// An author block that is not final yet.
#[derive(Clone, Debug)]
pub(crate) struct HeldBlock {
    pub(crate) header: SignedAuthorHeader,
    pub(crate) content: Content,
    /// When the body came.
    pub(crate) held_at: Time,
    /// When the content became ready.
    pub(crate) ready_at: Time,
    /// Final height when the content became ready.
    pub(crate) ready_height: Height,
    /// A fault was found in it: it is never voted for as new content.
    pub(crate) is_faulty: bool,
}

impl HeldBlock {
    pub(crate) const fn ready(&self) -> Option<&CheckedBody> {
        match &self.content {
            Content::Ready(checked) => Some(checked),
            _ => None,
        }
    }
}

/// Author blocks above the final cursors.
///
/// Bounds: `AUTHOR_BLOCKS_HELD_MAX` blocks and `AUTHOR_BYTES_HELD_MAX` bytes for each author; more are dropped and
/// fetched when a proposal refers to them. What proposals of one view refer to comes on top and is bounded by the
/// window; `trim` drops it when the view ends.
///
/// Blocks of seats stay for some heights after they were included: what their author's later blocks build on is judged
/// by them.
#[derive(Debug)]
pub(crate) struct Pool {
    groups: Groups,
    held: BTreeMap<Hash, HeldBlock>,
    /// Included blocks of seats, with the height that was final then.
    included: BTreeMap<Hash, (Height, HeldBlock)>,
    /// First block seen at each position.
    positions: Vec<BTreeMap<BlockSeq, Hash>>,
    bytes: Vec<usize>,
}

impl Pool {
    pub(crate) fn new(groups: Groups) -> Self {
        Self {
            groups,
            held: BTreeMap::new(),
            included: BTreeMap::new(),
            positions: vec![BTreeMap::new(); groups.count()],
            bytes: vec![0; groups.count()],
        }
    }

    /// A block that is held, or that was included not long ago.
    pub(crate) fn lately(&self, hash: &Hash) -> Option<&HeldBlock> {
        self.held
            .get(hash)
            .or_else(|| self.included.get(hash).map(|(_, block)| block))
    }

    /// The block first seen at a position, held or included not long ago.
    pub(crate) fn lately_at(&self, group: GroupIndex, seq: BlockSeq) -> Option<&HeldBlock> {
        let number = self.groups.number(group);
        let included = || {
            let mut blocks = self.included.values().map(|(_, block)| block);
            blocks.find(|block| block.header.header.group == number && block.header.header.seq == seq)
        };
        self.at(group, seq).map(|(_, block)| block).or_else(included)
    }

    /// Marks a block as never to be voted for.
    pub(crate) fn set_faulty(&mut self, hash: &Hash) {
        if let Some(block) = self.held.get_mut(hash) {
            block.is_faulty = true;
        }
    }

    /// Forgets included blocks that no base reaches back to.
    pub(crate) fn forget_included(&mut self, before: Height) {
        self.included.retain(|_, (height, _)| *height >= before);
    }

    /// Forgets all of a group that is not included.
    pub(crate) fn clear(&mut self, group: GroupIndex) {
        let hashes: Vec<Hash> = self.positions[usize::from(group.0)].values().copied().collect();
        for hash in hashes {
            self.forget(group, &hash);
        }
    }

    pub(crate) fn get(&self, hash: &Hash) -> Option<&HeldBlock> {
        self.held.get(hash)
    }

    pub(crate) fn body(&self, hash: &Hash) -> Option<&Body> {
        self.held.get(hash)?.ready().map(|checked| &checked.body)
    }

    /// The first block seen at a position of an author's chain.
    pub(crate) fn at(&self, group: GroupIndex, seq: BlockSeq) -> Option<(&Hash, &HeldBlock)> {
        let hash = self.positions.get(usize::from(group.0))?.get(&seq)?;
        Some((hash, self.held.get(hash)?))
    }

    /// Keeps a block whose header was verified; false when it is held already, or when its author has too many or
    /// another block at this position and no proposal refers to this one.
    pub(crate) fn insert(
        &mut self,
        now: Time,
        group: GroupIndex,
        hash: Hash,
        header: SignedAuthorHeader,
        referred: bool,
    ) -> bool {
        let bytes = header.header.body_bytes as usize;
        let member = usize::from(group.0);
        let (Some(positions), Some(total)) = (self.positions.get_mut(member), self.bytes.get_mut(member))
        else {
            return false;
        };
        let full = positions.len() >= AUTHOR_BLOCKS_HELD_MAX || *total + bytes > AUTHOR_BYTES_HELD_MAX;
        let taken = positions.contains_key(&header.header.seq);
        if self.held.contains_key(&hash) || ((full || taken) && !referred) {
            return false;
        }
        *total += bytes;
        if !taken {
            positions.insert(header.header.seq, hash);
        }
        let block = HeldBlock {
            header,
            content: Content::Checking,
            held_at: now,
            ready_at: Time(0),
            ready_height: Height(0),
            is_faulty: false,
        };
        self.held.insert(hash, block);
        true
    }

    /// Records the result of a check; true when the block was waiting for it.
    pub(crate) fn set_checked(
        &mut self,
        now: Time,
        height: Height,
        hash: &Hash,
        checked: CheckedBody,
    ) -> bool {
        let Some(block) = self.held.get_mut(hash) else {
            return false;
        };
        if !matches!(block.content, Content::Checking) {
            return false;
        }
        block.content = Content::Ready(checked);
        block.ready_at = now;
        block.ready_height = height;
        true
    }

    /// Forgets a block whose bytes were no body of its header: whoever sent them need not be the author, and the
    /// right body may still come.
    pub(crate) fn forget(&mut self, group: GroupIndex, hash: &Hash) {
        let Some(block) = self.held.remove(hash) else {
            return;
        };
        let member = usize::from(group.0);
        if let (Some(positions), Some(bytes)) = (self.positions.get_mut(member), self.bytes.get_mut(member)) {
            *bytes = bytes.saturating_sub(block.header.header.body_bytes as usize);
            if positions.get(&block.header.header.seq) == Some(hash) {
                positions.remove(&block.header.header.seq);
            }
        }
    }

    /// Drops what only proposals of a view that ended referred to: second blocks at a position, and blocks beyond
    /// the bounds of their author, the highest first. `keep` names what the chain still refers to.
    pub(crate) fn trim(&mut self, keep: &BTreeSet<Hash>) {
        for index in self.groups.all() {
            let member = usize::from(index.0);
            let group = self.groups.number(index);
            let placed = &self.positions[member];
            let second: Vec<Hash> = self
                .held
                .iter()
                .filter(|(_, block)| block.header.header.group == group)
                .filter(|(hash, block)| placed.get(&block.header.header.seq) != Some(*hash))
                .map(|(hash, _)| *hash)
                .collect();
            let highest_first: Vec<Hash> = placed.values().rev().copied().collect();
            for hash in second.iter().filter(|hash| !keep.contains(*hash)) {
                self.forget(index, hash);
            }
            for hash in highest_first.iter().filter(|hash| !keep.contains(*hash)) {
                if self.positions[member].len() <= AUTHOR_BLOCKS_HELD_MAX
                    && self.bytes[member] <= AUTHOR_BYTES_HELD_MAX
                {
                    break;
                }
                self.forget(index, hash);
            }
        }
    }

    /// Bytes of bodies held for an author.
    #[cfg(test)]
    pub(crate) fn bytes_of(&self, group: GroupIndex) -> usize {
        self.bytes[usize::from(group.0)]
    }

    /// Forgets what lies below an author's final cursor, and what a reset made void.
    pub(crate) fn forget_below(&mut self, index: GroupIndex, next: BlockSeq, height: Height) {
        let member = usize::from(index.0);
        let Some(positions) = self.positions.get_mut(member) else {
            return;
        };
        if positions.first_key_value().is_none_or(|(seq, _)| *seq >= next) {
            return;
        }
        *positions = positions.split_off(&next);
        let group = self.groups.number(index);
        let gone = |block: &HeldBlock| block.header.header.group == group && block.header.header.seq < next;
        let mut freed = 0;
        for (hash, block) in self.held.extract_if(.., |_, block| gone(block)) {
            freed += block.header.header.body_bytes as usize;
            if self.groups.is_seat(index) {
                self.included.insert(hash, (height, block));
            }
        }
        self.bytes[member] = self.bytes[member].saturating_sub(freed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use types::block::{BlockSeq, GROUP_ONE_LEAGUE, SignedAuthorHeader};
    use types::codec::Decode as _;
    use types::limits::{AUTHOR_BLOCKS_HELD_MAX, AUTHOR_BYTES_HELD_MAX};
    use types::{Hash, Time};

    use super::Pool;
    use crate::league::GroupIndex;

    const AUTHOR: GroupIndex = GroupIndex(1);

    fn empty() -> Pool {
        Pool::new(crate::league::Groups::of_voters(4))
    }

    fn hash(number: u64) -> Hash {
        let mut hash = Hash::default();
        hash.0[..8].copy_from_slice(&number.to_le_bytes());
        hash
    }

    fn header(seq: u64, bytes: u32) -> SignedAuthorHeader {
        let mut signed = SignedAuthorHeader::from_bytes(&[0; 183]).expect("183 bytes");
        signed.header.group = GROUP_ONE_LEAGUE + AUTHOR.0;
        signed.header.seq = BlockSeq(seq);
        signed.header.body_bytes = bytes;
        signed
    }

    #[test]
    fn a_second_block_of_a_position_is_held_only_while_a_proposal_refers_to_it() {
        let mut pool = empty();
        assert!(pool.insert(Time(0), AUTHOR, hash(1), header(0, 10), false));
        assert!(
            !pool.insert(Time(0), AUTHOR, hash(2), header(0, 10), false),
            "nobody refers to it"
        );
        assert!(pool.insert(Time(0), AUTHOR, hash(2), header(0, 10), true));
        assert!(pool.insert(Time(0), AUTHOR, hash(3), header(0, 10), true));
        pool.trim(&BTreeSet::from([hash(3)]));
        assert!(pool.get(&hash(1)).is_some(), "the first stays");
        assert!(pool.get(&hash(2)).is_none(), "the view that referred to it ended");
        assert!(pool.get(&hash(3)).is_some(), "the chain still refers to this one");
        assert_eq!(pool.bytes_of(AUTHOR), 20);
    }

    #[test]
    fn what_proposals_held_beyond_the_bounds_of_an_author_is_dropped_from_the_top() {
        let mut pool = empty();
        let large = (AUTHOR_BYTES_HELD_MAX / 16) as u32;
        for seq in 0..20 {
            pool.insert(Time(0), AUTHOR, hash(seq), header(seq, large), true);
        }
        assert!(pool.bytes_of(AUTHOR) > AUTHOR_BYTES_HELD_MAX);
        pool.trim(&BTreeSet::from([hash(19)]));
        assert_eq!(pool.bytes_of(AUTHOR), AUTHOR_BYTES_HELD_MAX);
        assert!(pool.get(&hash(19)).is_some() && pool.get(&hash(18)).is_none());
        assert!(pool.at(AUTHOR, BlockSeq(0)).is_some());

        let mut pool = empty();
        for seq in 0..AUTHOR_BLOCKS_HELD_MAX as u64 + 3 {
            pool.insert(Time(0), AUTHOR, hash(seq), header(seq, 1), true);
        }
        pool.trim(&BTreeSet::new());
        assert_eq!(pool.bytes_of(AUTHOR), AUTHOR_BLOCKS_HELD_MAX);
    }
}
