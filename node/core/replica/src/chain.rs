//! Execution of the chain: speculative blocks above the final one, rolled back when another is proposed.

use std::collections::VecDeque;

use ledger::{Applied, Batch, BlockInput, Executor, Ledger, SlowTx, StateChanges};
use types::block::{Block, CommitProof};
use types::transaction::TxView;
use types::{Hash, Height, TxId};

use crate::archive::{Archive, Reactions};
use crate::league::League;
use crate::pool::Pool;

/// A block that was executed and is not final.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) hash: Hash,
    pub(crate) block: Block,
    /// The leagues after this block.
    pub(crate) league: League,
    /// Slow transactions that it executed.
    pub(crate) slow: Vec<(TxId, Vec<u8>)>,
    pub(crate) applied: Applied,
}

/// A block that is final and not finalised here: bodies may be missing.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) hash: Hash,
    pub(crate) block: Block,
    pub(crate) proof: CommitProof,
}

/// The executed chain: final state, speculative blocks on top, and final blocks that wait for bodies.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) ledger: Ledger,
    /// Highest finalised block.
    final_hash: Hash,
    final_timestamp: u64,
    /// The leagues at the final block.
    league: League,
    /// Final author blocks of seats.
    pub(crate) archive: Archive,
    executed: VecDeque<Executed>,
    pub(crate) waiting: VecDeque<Waiting>,
}

impl Chain {
    pub(crate) fn new(ledger: Ledger, final_hash: Hash, final_timestamp: u64, league: League) -> Self {
        Self {
            ledger,
            final_hash,
            final_timestamp,
            league,
            archive: Archive::default(),
            executed: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Places an empty chain on a snapshot's block.
    pub(crate) fn start_at(
        &mut self,
        final_hash: Hash,
        final_timestamp: u64,
        league: League,
        archive: Archive,
    ) {
        assert!(
            self.executed.is_empty(),
            "only a chain without executed blocks is moved"
        );
        self.final_hash = final_hash;
        self.final_timestamp = final_timestamp;
        self.league = league;
        self.archive = archive;
    }

    pub(crate) fn final_height(&self) -> Height {
        self.ledger.final_height()
    }

    pub(crate) fn tip_hash(&self) -> Hash {
        self.executed
            .back()
            .map_or(self.final_hash, |executed| executed.hash)
    }

    pub(crate) fn tip_height(&self) -> Height {
        Height(self.final_height().0 + self.executed.len() as u64)
    }

    /// Highest executed block above the final one.
    pub(crate) fn tip_block(&self) -> Option<&Block> {
        self.executed.back().map(|executed| &executed.block)
    }

    pub(crate) fn tip_timestamp(&self) -> u64 {
        self.executed
            .back()
            .map_or(self.final_timestamp, |executed| executed.block.header.timestamp)
    }

    /// The leagues after the highest executed block.
    pub(crate) fn tip_league(&self) -> &League {
        self.executed
            .back()
            .map_or(&self.league, |executed| &executed.league)
    }

    /// The leagues at the final block.
    pub(crate) const fn final_league(&self) -> &League {
        &self.league
    }

    /// What the highest executed block did.
    pub(crate) fn tip_applied(&self) -> Option<&Applied> {
        self.executed.back().map(|executed| &executed.applied)
    }

    /// Blocks above the final one that were executed, and final ones that were not.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &Block> {
        let executed = self.executed.iter().map(|executed| &executed.block);
        executed.chain(self.waiting.iter().map(|waiting| &waiting.block))
    }

    pub(crate) fn is_executed(&self, hash: &Hash) -> bool {
        *hash == self.final_hash || self.executed.iter().any(|executed| executed.hash == *hash)
    }

    /// Makes `hash` the tip, when it is the final block or an executed one.
    pub(crate) fn roll_back_to(&mut self, hash: &Hash) -> bool {
        let keep = if *hash == self.final_hash {
            0
        } else {
            match self.executed.iter().position(|executed| executed.hash == *hash) {
                Some(position) => position + 1,
                None => return false,
            }
        };
        if keep < self.executed.len() {
            self.executed.truncate(keep);
            let height = self.final_height().0 + keep as u64;
            self.ledger.roll_back(Height(height));
        }
        true
    }

    /// Applies the transactions of a block on top of the tip. Every body must be ready in the pool.
    pub(crate) fn apply(
        &mut self,
        block: &Block,
        pool: &Pool,
        reactions: &Reactions,
        executor: &dyn Executor,
    ) -> Applied {
        let groups = self.league.groups();
        // What a voter finds forged is shown by evidence, not left out: a seat's signatures are sampled.
        let is_seat = |group| groups.index(group).is_some_and(|index| groups.is_seat(index));
        let batches: Vec<Batch<'_>> = block
            .refs
            .iter()
            .filter_map(|reference| Some((reference.group, pool.get(&reference.hash)?.ready()?)))
            .map(|(group, checked)| Batch {
                body: &checked.body,
                bad_signatures: if is_seat(group) {
                    &[]
                } else {
                    &checked.bad_signatures
                },
            })
            .collect();
        assert_eq!(
            batches.len(),
            block.refs.len(),
            "a block is applied when all its bodies are ready"
        );
        let slow: Vec<SlowTx<'_>> = reactions
            .slow
            .iter()
            .filter_map(|(txid, bytes)| {
                let tx = TxView::decode_checked_before(bytes).ok()?;
                Some(SlowTx { txid: *txid, tx })
            })
            .collect();
        let input = BlockInput {
            slashes: &reactions.slashes,
            claims: &reactions.claims,
            batches: &batches,
            slow: &slow,
        };
        self.ledger.apply(block.header.height, &input, executor)
    }

    pub(crate) fn push(&mut self, executed: Executed) {
        debug_assert_eq!(
            self.tip_hash(),
            executed.block.header.prev,
            "blocks are executed in order"
        );
        self.executed.push_back(executed);
    }

    /// Finalises the lowest executed block when it is `hash`.
    pub(crate) fn finalize(&mut self, hash: &Hash) -> Option<(Executed, StateChanges)> {
        if self
            .executed
            .front()
            .is_none_or(|executed| executed.hash != *hash)
        {
            return None;
        }
        let executed = self.executed.pop_front()?;
        self.final_hash = executed.hash;
        self.final_timestamp = executed.block.header.timestamp;
        self.archive.take(&self.league, &executed.block);
        self.league.clone_from(&executed.league);
        let changes = self.ledger.finalize(executed.block.header.height);
        Some((executed, changes))
    }
}
