//! Author blocks of all members: received, being checked, ready; and how far each chain is included.

use std::collections::BTreeMap;

use types::block::{BlockSeq, Body, SignedAuthorHeader};
use types::limits::{AUTHOR_BLOCKS_HELD_MAX, AUTHOR_BYTES_HELD_MAX};
use types::{Hash, Height, MemberIndex, Time};

use crate::event::CheckedBody;

/// How far an author's chain is included, at some block of the final chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// When the content became ready.
    pub(crate) ready_at: Time,
    /// Final height when the content became ready.
    pub(crate) ready_height: Height,
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
/// fetched when a proposal refers to them.
#[derive(Debug)]
pub(crate) struct Pool {
    held: BTreeMap<Hash, HeldBlock>,
    /// First block seen at each position.
    positions: Vec<BTreeMap<BlockSeq, Hash>>,
    bytes: Vec<usize>,
}

impl Pool {
    pub(crate) fn new(members: usize) -> Self {
        Self {
            held: BTreeMap::new(),
            positions: vec![BTreeMap::new(); members],
            bytes: vec![0; members],
        }
    }

    pub(crate) fn get(&self, hash: &Hash) -> Option<&HeldBlock> {
        self.held.get(hash)
    }

    pub(crate) fn body(&self, hash: &Hash) -> Option<&Body> {
        self.held.get(hash)?.ready().map(|checked| &checked.body)
    }

    /// The first block seen at a position of an author's chain.
    pub(crate) fn at(&self, author: MemberIndex, seq: BlockSeq) -> Option<(&Hash, &HeldBlock)> {
        let hash = self.positions.get(usize::from(author.0))?.get(&seq)?;
        Some((hash, self.held.get(hash)?))
    }

    /// Keeps a block whose header was verified; false when it is held already or its author has too many.
    pub(crate) fn insert(
        &mut self,
        author: MemberIndex,
        hash: Hash,
        header: SignedAuthorHeader,
        bytes: usize,
        wanted: bool,
    ) -> bool {
        let member = usize::from(author.0);
        let (Some(positions), Some(total)) = (self.positions.get_mut(member), self.bytes.get_mut(member))
        else {
            return false;
        };
        let full = positions.len() >= AUTHOR_BLOCKS_HELD_MAX || *total + bytes > AUTHOR_BYTES_HELD_MAX;
        let taken = positions.contains_key(&header.header.seq);
        // A block that a proposal refers to is taken in any case: it is bounded by the window.
        if self.held.contains_key(&hash) || ((full || taken) && !wanted) {
            return false;
        }
        *total += bytes;
        if !taken {
            positions.insert(header.header.seq, hash);
        }
        let block = HeldBlock {
            header,
            content: Content::Checking,
            ready_at: Time(0),
            ready_height: Height(0),
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
    pub(crate) fn forget(&mut self, author: MemberIndex, hash: &Hash) {
        let Some(block) = self.held.remove(hash) else {
            return;
        };
        let member = usize::from(author.0);
        if let (Some(positions), Some(bytes)) = (self.positions.get_mut(member), self.bytes.get_mut(member)) {
            *bytes = bytes.saturating_sub(block.header.header.body_bytes as usize);
            if positions.get(&block.header.header.seq) == Some(hash) {
                positions.remove(&block.header.header.seq);
            }
        }
    }

    /// Forgets what lies below an author's final cursor, and what a reset made void.
    pub(crate) fn forget_below(&mut self, author: MemberIndex, next: BlockSeq) {
        let member = usize::from(author.0);
        let Some(positions) = self.positions.get_mut(member) else {
            return;
        };
        *positions = positions.split_off(&next);
        let group = types::block::GROUP_ONE_LEAGUE + author.0;
        let gone = |block: &HeldBlock| block.header.header.group == group && block.header.header.seq < next;
        let mut freed = 0;
        self.held.retain(|_, block| {
            let drop = gone(block);
            freed += if drop {
                block.header.header.body_bytes as usize
            } else {
                0
            };
            !drop
        });
        self.bytes[member] = self.bytes[member].saturating_sub(freed);
    }
}
