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
    /// Blocks made before the refusal can be included in this many heights after it.
    reach: u64,
    /// Once this height is read and the transaction was not found, the refusal stands; none before a height was shown
    /// after the refusal.
    until: Option<Height>,
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
        let tip = self.tip().max(height);
        for doubt in self.open.values_mut() {
            doubt.until.get_or_insert(Height(tip.0 + doubt.reach));
        }
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
            reach,
            until: None,
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
        let excluded_leaves: Vec<_> = all_excluded
            .iter()
            .map(|bits| merkle::excluded_leaf(bits))
            .collect();
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
            let is_open = doubt.until.is_none_or(|until| read < until);
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

#[cfg(test)]
mod tests {
    use types::client::BlockItem;
    use types::{Height, Reject, ShardId, Tag};

    use super::{Doubts, Found};
    use crate::audit::tests::chain::{Chain, Tx, coins};
    use crate::notes::NoteChecker;
    use crate::tags::TagBook;
    use crate::worker::Stray;
    use crate::workload::sample::Sample;

    const MILLION: u64 = 1_000_000;
    const REACH: u64 = 3;

    fn refusal(index: u32) -> Stray {
        Stray {
            index,
            connection: 1,
            reason: Reject::InputMissing,
            at_ns: 90,
        }
    }

    /// One account pays another everything.
    fn payment(sample: &Sample, from: u32, to: u32) -> Tx {
        Tx::pay(sample, (coins(sample)[&from], from), &[(to, MILLION)], 0)
    }

    fn take(doubts: &mut Doubts, items: Vec<BlockItem>, tags: &TagBook) -> Vec<Found> {
        items
            .into_iter()
            .filter_map(|item| doubts.take(item, tags))
            .collect()
    }

    #[test]
    fn what_a_dead_author_got_into_the_chain_is_found_with_a_proof_that_holds() {
        let sample = Sample::new(1, 20);
        let [first, second, other] = [0, 1, 2].map(|from| payment(&sample, from, 9));
        let mut chain = Chain::new(&sample, 0);
        chain.honest(&[(0, std::slice::from_ref(&other))]);
        chain.honest(&[(3, &[]), (1, &[other.clone(), second.clone(), first.clone()])]);
        let mut doubts = Doubts::default();
        doubts.add(first.txid, refusal(7), 50, REACH);
        doubts.add(second.txid, refusal(4), 50, REACH);
        let tags = TagBook::default();
        let found = take(&mut doubts, chain.items(), &tags);
        let [found] = &found[..] else {
            panic!("one author block holds both: {found:?}");
        };
        assert_eq!(found.indices, [4, 7]);
        let told: Vec<_> = found.note.entries[0]
            .tags
            .iter()
            .map(|at| (tags.index(at.tag), at.position))
            .collect();
        assert_eq!(
            told,
            [(Some(4), 1), (Some(7), 2)],
            "other is at 0, and excluded there"
        );
        assert_eq!(found.note.entries[0].reference_path.index, 1);
        let mut checker = NoteChecker::new(&sample.epoch);
        checker
            .check(ShardId(0), &found.note)
            .expect("it proves what it says");
        assert_eq!((doubts.first(), tags.index(Tag(2))), (None, None));
    }

    #[test]
    fn what_the_chain_excludes_or_does_not_hold_stays_refused_once_no_block_can_bring_it_in() {
        let sample = Sample::new(1, 20);
        let [first, rival, never] = [(0, 9), (0, 8), (1, 9)].map(|(from, to)| payment(&sample, from, to));
        let mut chain = Chain::new(&sample, 0);
        chain.honest(&[(0, &[first])]);
        chain.honest(&[(1, std::slice::from_ref(&rival))]);
        let mut doubts = Doubts::default();
        doubts.show(10, Height(1));
        doubts.add(rival.txid, refusal(1), 5, REACH);
        doubts.add(never.txid, refusal(2), 5, REACH);
        doubts.show(95, Height(1));
        let tags = TagBook::default();
        assert!(take(&mut doubts, chain.items(), &tags).is_empty());
        assert_eq!(doubts.settle(Height(3)), []);
        assert_eq!(doubts.first(), Some(Height(4)), "what was read is not read again");
        let mut standing = doubts.settle(Height(4));
        standing.sort_by_key(|stray| stray.index);
        assert_eq!((standing, doubts.first()), (vec![refusal(1), refusal(2)], None));
    }

    #[test]
    fn the_chain_is_read_from_the_height_that_was_final_when_it_was_sent() {
        let sample = Sample::new(1, 20);
        let txids = [0, 1, 2].map(|from| payment(&sample, from, 9).txid);
        let mut doubts = Doubts::default();
        for (at, height) in [(100, 5), (200, 9), (300, 9), (400, 8)] {
            doubts.show(at, Height(height));
        }
        assert_eq!(doubts.tip(), Height(9), "heights never fall");
        for (txid, sent_ns, from) in [(txids[0], 250, 10), (txids[1], 199, 6), (txids[2], 99, 1)] {
            doubts.add(txid, refusal(0), sent_ns, REACH);
            assert_eq!(doubts.first(), Some(Height(from)));
        }
        assert_eq!(doubts.drain().len(), 3);
        assert_eq!(doubts.first(), None);
    }

    #[test]
    fn a_body_that_is_not_the_one_of_its_reference_says_nothing() {
        let sample = Sample::new(1, 20);
        let [first, other] = [0, 1].map(|from| payment(&sample, from, 9));
        let mut chain = Chain::new(&sample, 0);
        chain.honest(&[(0, &[other])]);
        let mut doubts = Doubts::default();
        doubts.add(first.txid, refusal(7), 50, REACH);
        let items = chain.items();
        let [block, BlockItem::Body(body)] = &items[..] else {
            panic!("a block and its body");
        };
        let mut foreign = Chain::new(&sample, 0);
        foreign.honest(&[(0, &[first])]);
        let foreign = foreign.items();
        let [_, BlockItem::Body(with_it)] = &foreign[..] else {
            panic!("a block and its body");
        };
        let tags = TagBook::default();
        let served = vec![block.clone(), BlockItem::Body(with_it.clone())];
        assert!(
            take(&mut doubts, served, &tags).is_empty(),
            "an author block of no reference"
        );
        let mut swapped = body.clone();
        swapped.body = with_it.body.clone();
        let served = vec![block.clone(), BlockItem::Body(swapped)];
        assert!(
            take(&mut doubts, served, &tags).is_empty(),
            "a body under another header"
        );
        assert!(
            take(&mut doubts, foreign, &tags).len() == 1,
            "the same where it belongs"
        );
    }
}
