//! What became of transactions that were sent twice and refused once: the chain says it (`ios` 14.3).
//!
//! A node that dies may have put a transaction into a block that becomes final without it. Nobody tells the client then,
//! and the copy that goes out later is refused, because the first copy has spent the coins. So such a refusal is a doubt:
//! final blocks are read from the time of the first sending on, until the transaction is found with its proof, or no
//! block that the dead node made can become final any more.

use std::collections::{HashMap, VecDeque};

use crypto::hash::author_header_hash;
use crypto::{body, merkle};
use types::block::CommittedBlock;
use types::client::{BlockItem, FinalNote, NoteEntry, TagAt};
use types::message::AuthorBlock;
use types::{Height, Tag, TxId};

use crate::tags::TagBook;
use crate::worker::Stray;

/// Heights that are remembered with their time, one a second; what was sent before the first is looked for from genesis
/// on.
const HEIGHTS_MAX: usize = 4096;

/// One transaction.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    refusal: Stray,
    /// First height that was not read for it.
    from: Height,
    /// Once this height is read and the transaction was not found, the refusal stands.
    until: Height,
}

/// Transactions of one shard whose refusal is in doubt: at most as many as are in flight.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    open: HashMap<TxId, Doubt>,
    /// Final heights of the shard by the time at which they were shown, nanoseconds from the start, rising.
    heights: VecDeque<(u64, Height)>,
    /// The block whose bodies follow.
    block: Option<Box<CommittedBlock>>,
}

/// Transactions that a final author block holds, with the proof.
#[derive(Debug)]
pub(super) struct Found {
    /// By number in the arena.
    pub(super) indices: Vec<u32>,
    /// Names them by the tags that the book gave.
    pub(super) note: FinalNote,
}

impl Doubts {
    /// A node of the shard showed this final height.
    pub(super) fn show(&mut self, at_ns: u64, height: Height) {
        if self.heights.back().is_some_and(|(_, last)| *last >= height) {
            return;
        }
        self.heights.push_back((at_ns, height));
        if self.heights.len() > HEIGHTS_MAX {
            self.heights.pop_front();
        }
    }

    /// The highest height that was shown.
    pub(super) fn tip(&self) -> Height {
        self.heights.back().map_or(Height(0), |(_, height)| *height)
    }

    /// Takes a refusal of a transaction that was first sent at `sent_ns`. Blocks made before the refusal can be included
    /// in the next `reach` heights.
    pub(super) fn add(&mut self, txid: TxId, refusal: Stray, sent_ns: u64, reach: u64) {
        // What was final when it was sent cannot hold it.
        let before = self.heights.iter().rev().find(|(at_ns, _)| *at_ns <= sent_ns);
        let doubt = Doubt {
            refusal,
            from: before.map_or(Height(1), |(_, height)| height.next()),
            until: Height(self.tip().0 + reach),
        };
        self.open.insert(txid, doubt);
    }

    /// First height that has to be read; `None` without doubts.
    pub(super) fn first(&self) -> Option<Height> {
        self.open.values().map(|doubt| doubt.from).min()
    }

    /// Takes the next item of the chain. A body that is not the one of its reference says nothing.
    pub(super) fn take(&mut self, item: BlockItem, tags: &TagBook) -> Option<Found> {
        let block = match item {
            BlockItem::Block(block) => {
                self.block = Some(block);
                return None;
            }
            BlockItem::Body(block) => block,
        };
        let committed = self.block.take()?;
        let found = self.look_into(&committed, block, tags);
        self.block = Some(committed);
        found
    }

    fn look_into(&mut self, committed: &CommittedBlock, block: AuthorBlock, tags: &TagBook) -> Option<Found> {
        let (refs, all_excluded) = (&committed.block.refs, &committed.block.excluded);
        let hash = author_header_hash(&block.header.header);
        let place = refs.iter().position(|reference| reference.hash == hash)?;
        let excluded = all_excluded.get(place)?;
        let body = body::decode(&block.header.header, block.body).ok()?;
        let is_applied = |position: u16| {
            let byte = excluded.get(usize::from(position / 8));
            byte.is_none_or(|byte| byte >> (position % 8) & 1 == 0)
        };
        let (mut indices, mut positions) = (Vec::new(), Vec::new());
        for (position, (txid, _)) in (0_u16..).zip(body.txs()) {
            if is_applied(position)
                && let Some(doubt) = self.open.remove(&txid)
            {
                indices.push(doubt.refusal.index);
                positions.push(position);
            }
        }
        if indices.is_empty() {
            return None;
        }
        let first = tags.give(&indices);
        let tags = (first.0..).zip(positions).map(|(tag, position)| TagAt {
            tag: Tag(tag),
            position,
        });
        let ref_leaves: Vec<_> = refs.iter().map(merkle::ref_leaf).collect();
        let excluded_leaves: Vec<_> = all_excluded.iter().map(|bits| merkle::excluded_leaf(bits)).collect();
        let entry = NoteEntry {
            reference: refs.get(place)?.clone(),
            reference_path: merkle::path(&ref_leaves, place)?,
            excluded: excluded.clone(),
            excluded_path: merkle::path(&excluded_leaves, place)?,
            author: block.header,
            tags: tags.collect(),
        };
        let note = FinalNote {
            header: committed.block.header.clone(),
            proof: committed.proof.clone(),
            entries: vec![entry],
            slow: Vec::new(),
        };
        Some(Found { indices, note })
    }

    /// The chain was read up to this height: gives the refusals that stand.
    pub(super) fn settle(&mut self, read: Height) -> Vec<Stray> {
        self.block = None;
        let mut standing = Vec::new();
        self.open.retain(|_, doubt| {
            doubt.from = doubt.from.max(read.next());
            let is_open = read < doubt.until;
            if !is_open {
                standing.push(doubt.refusal);
            }
            is_open
        });
        standing
    }

    /// Gives up all that is open.
    pub(super) fn drain(&mut self) -> Vec<Stray> {
        self.open.drain().map(|(_, doubt)| doubt.refusal).collect()
    }
}
