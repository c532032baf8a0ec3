//! Blocks above the committed height, by hash, with their links.

use std::collections::BTreeMap;

use types::block::Block;
use types::limits::BLOCKS_HELD_MAX;
use types::{Hash, Height};

/// How far a block's content was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Not asked yet.
    Unknown,
    /// Asked, no answer yet.
    Asked,
    /// Right.
    Valid,
    /// Wrong.
    Invalid,
}

/// A block that is held.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) block: Block,
    pub(crate) content: Content,
}

/// Blocks above the committed one.
///
/// Bounded: beyond `BLOCKS_HELD_MAX` blocks the highest are dropped; they come back from the proposals or are fetched
/// again.
#[derive(Debug)]
pub(crate) struct BlockTree {
    committed: (Height, Hash),
    held: BTreeMap<Hash, Held>,
}

impl BlockTree {
    pub(crate) const fn new(genesis: Hash) -> Self {
        Self {
            committed: (Height(0), genesis),
            held: BTreeMap::new(),
        }
    }

    pub(crate) const fn committed(&self) -> (Height, Hash) {
        self.committed
    }

    pub(crate) fn get(&self, hash: &Hash) -> Option<&Held> {
        self.held.get(hash)
    }

    pub(crate) fn get_mut(&mut self, hash: &Hash) -> Option<&mut Held> {
        self.held.get_mut(hash)
    }

    /// Keeps a block above the committed height; false when it was held already or is too low.
    pub(crate) fn insert(&mut self, hash: Hash, block: Block) -> bool {
        if block.header.height <= self.committed.0 || self.held.contains_key(&hash) {
            return false;
        }
        self.held.insert(
            hash,
            Held {
                block,
                content: Content::Unknown,
            },
        );
        if self.held.len() > BLOCKS_HELD_MAX {
            let highest = self
                .held
                .iter()
                .max_by_key(|(_, held)| held.block.header.height)
                .map(|(hash, _)| *hash);
            highest.and_then(|hash| self.held.remove(&hash));
        }
        true
    }

    /// Hashes from the one after the committed block up to `hash`, ascending; the first missing hash otherwise.
    pub(crate) fn chain_to(&self, hash: Hash) -> Result<Vec<Hash>, Missing> {
        let mut chain = Vec::new();
        let mut at = hash;
        let mut height = None;
        while at != self.committed.1 {
            let Some(held) = self.held.get(&at) else {
                return Err(Missing::Block {
                    hash: at,
                    height: height.unwrap_or_default(),
                });
            };
            let header = &held.block.header;
            if header.height <= self.committed.0.next() && header.prev != self.committed.1 {
                return Err(Missing::Fork);
            }
            height = Some(Height(header.height.0 - 1));
            chain.push(at);
            at = header.prev;
        }
        chain.reverse();
        Ok(chain)
    }

    /// Moves the committed height one block up and forgets what can never be committed any more.
    pub(crate) fn commit(&mut self, hash: Hash) -> Option<Block> {
        let held = self.held.remove(&hash)?;
        self.set_committed(held.block.header.height, hash);
        Some(held.block)
    }

    pub(crate) fn set_committed(&mut self, height: Height, hash: Hash) {
        self.committed = (height, hash);
        self.held.retain(|_, held| held.block.header.height > height);
    }

    /// Checks that were asked are void after a view change: the owner rolls back. So are refusals: what omits an
    /// aged block is refused as a proposal and must be applied as a base (`ios` 9.7).
    pub(crate) fn forget_checks(&mut self) {
        for held in self.held.values_mut() {
            if matches!(held.content, Content::Asked | Content::Invalid) {
                held.content = Content::Unknown;
            }
        }
    }
}

/// Why a chain cannot be walked down to the committed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// This block is not held; its child says that it has this height (zero when no child is held).
    Block {
        /// Its hash.
        hash: Hash,
        /// Its height.
        height: Height,
    },
    /// The chain passes beside the committed block.
    Fork,
}
