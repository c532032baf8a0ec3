//! Puts a stream of block items together: a block, then one body for each of its references.

use crypto::hash::author_header_hash;
use types::block::{BlockRef, CommittedBlock};
use types::client::BlockItem;
use types::message::AuthorBlock;

/// A block with all that was served after it, not yet checked.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) committed: Box<CommittedBlock>,
    /// Bodies as served: one more than there are references at most.
    pub(super) bodies: Vec<AuthorBlock>,
}

impl Complete {
    /// The body of each reference, `None` where it is missing, and the bodies that no reference names.
    pub(super) fn assign(
        bodies: Vec<AuthorBlock>,
        refs: &[BlockRef],
    ) -> (Vec<Option<AuthorBlock>>, Vec<AuthorBlock>) {
        let mut assigned: Vec<Option<AuthorBlock>> = vec![None; refs.len()];
        let mut surplus = Vec::new();
        for body in bodies {
            let hash = author_header_hash(&body.header.header);
            let place = refs
                .iter()
                .zip(&assigned)
                .position(|(reference, taken)| taken.is_none() && reference.hash == hash);
            match place.and_then(|place| assigned.get_mut(place)) {
                Some(slot) => *slot = Some(body),
                None => surplus.push(body),
            }
        }
        (assigned, surplus)
    }
}

/// An item before any block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stray(pub(super) Box<AuthorBlock>);

/// Invariant: holds one block, and at most one body more than it has references.
#[derive(Debug, Default)]
pub(super) struct Collector {
    open: Option<Complete>,
}

impl Collector {
    /// Takes an item; gives the block before it when it begins a new one.
    pub(super) fn push(&mut self, item: BlockItem) -> Result<Option<Complete>, Stray> {
        match item {
            BlockItem::Block(committed) => {
                let bodies = Vec::new();
                Ok(self.open.replace(Complete { committed, bodies }))
            }
            BlockItem::Body(body) => {
                let Some(open) = self.open.as_mut() else {
                    return Err(Stray(Box::new(body)));
                };
                // One surplus body is enough to be reported.
                if open.bodies.len() <= open.committed.block.refs.len() {
                    open.bodies.push(body);
                }
                Ok(None)
            }
        }
    }

    /// Ends the stream.
    pub(super) const fn finish(&mut self) -> Option<Complete> {
        self.open.take()
    }
}
