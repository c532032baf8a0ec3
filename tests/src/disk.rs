//! A disk: an append-only log with a durable part, and the written-behind state.

use std::collections::BTreeMap;

use crypto::hash::{author_header_hash, final_header_hash};
use ledger::{Snapshot, StateChanges, Utxo};
use types::block::CommittedBlock;
use types::message::{AuthorBlock, Vote};
use types::record::LogRecord;
use types::{Hash, Height, OutPoint, Sequence};

use crate::rng::SimRng;

/// One node's disk. What is not durable is lost by a crash from some record on.
#[derive(Debug)]
pub struct Disk {
    log: Vec<(Sequence, LogRecord)>,
    /// Where author blocks and final or proposed blocks stand in the log, by hash.
    author_blocks: BTreeMap<Hash, usize>,
    blocks: BTreeMap<Hash, usize>,
    heights: BTreeMap<Height, usize>,
    /// Records that a crash leaves.
    durable: usize,
    /// Highest number whose records are all durable.
    durable_seq: Sequence,
    /// State as the store shows it now, and the changes that a crash may take back.
    stored: Snapshot,
    utxos: BTreeMap<OutPoint, Utxo>,
    unsynced: Vec<StateChanges>,
}

impl Disk {
    /// An empty log and the state of genesis.
    #[must_use]
    pub fn new(genesis: Hash, outputs: &[(OutPoint, Utxo)]) -> Self {
        Self {
            log: Vec::new(),
            author_blocks: BTreeMap::new(),
            blocks: BTreeMap::new(),
            heights: BTreeMap::new(),
            durable: 0,
            durable_seq: Sequence(0),
            stored: Snapshot {
                height: Height(0),
                digest: genesis,
                fees: 0,
                outputs: Vec::new(),
            },
            utxos: outputs.iter().copied().collect(),
            unsynced: Vec::new(),
        }
    }

    /// Appends; durable later.
    pub fn append(&mut self, seq: Sequence, records: Vec<LogRecord>) {
        for record in records {
            let at = self.log.len();
            match &record {
                LogRecord::AuthorBlock(block) => {
                    let hash = author_header_hash(&block.header.header);
                    self.author_blocks.entry(hash).or_insert(at);
                }
                LogRecord::Proposal(propose) => {
                    self.blocks
                        .entry(final_header_hash(&propose.block.header))
                        .or_insert(at);
                }
                LogRecord::Block(block) => {
                    self.blocks.entry(final_header_hash(&block.header)).or_insert(at);
                }
                LogRecord::Committed(committed) => {
                    self.heights.entry(committed.block.header.height).or_insert(at);
                }
                _ => {}
            }
            self.log.push((seq, record));
        }
    }

    /// A synchronous write ended: all records up to `seq` survive a crash. True when that is new.
    pub fn sync(&mut self, seq: Sequence) -> bool {
        let upto = self.log.partition_point(|(at, _)| *at <= seq);
        self.durable = self.durable.max(upto);
        let newer = seq > self.durable_seq;
        self.durable_seq = self.durable_seq.max(seq);
        newer
    }

    /// Highest number whose records are all durable.
    #[must_use]
    pub const fn durable_seq(&self) -> Sequence {
        self.durable_seq
    }

    /// Takes changes of the state; a crash may lose the last ones.
    pub fn write_state(&mut self, rng: &mut SimRng, changes: StateChanges) {
        self.unsynced.push(changes);
        if rng.chance(300) {
            let keep = rng.below(4) as usize;
            let flush = self.unsynced.len().saturating_sub(keep);
            self.flush(flush);
        }
    }

    fn flush(&mut self, count: usize) {
        for changes in self.unsynced.drain(..count) {
            for outpoint in &changes.spent {
                self.utxos.remove(outpoint);
            }
            self.utxos.extend(changes.created);
            self.stored.height = changes.height;
            self.stored.digest = changes.digest;
            self.stored.fees = changes.fees_total;
        }
    }

    /// Power goes: the log ends somewhere between what is durable and what was written, the state likewise.
    pub fn crash(&mut self, rng: &mut SimRng) {
        let torn = rng.below((self.log.len() - self.durable) as u64 + 1) as usize;
        self.log.truncate(self.durable + torn);
        self.durable = self.log.len();
        let left = self.log.len();
        self.author_blocks.retain(|_, at| *at < left);
        self.blocks.retain(|_, at| *at < left);
        self.heights.retain(|_, at| *at < left);
        self.durable_seq = self.log.last().map_or(Sequence(0), |(seq, _)| *seq);
        let kept = rng.below(self.unsynced.len() as u64 + 1) as usize;
        self.unsynced.truncate(kept);
        self.flush(kept);
    }

    /// Records in the order of writing.
    #[must_use]
    pub fn records(&self) -> &[(Sequence, LogRecord)] {
        &self.log
    }

    /// State of the store.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            outputs: self
                .utxos
                .iter()
                .map(|(outpoint, utxo)| (*outpoint, *utxo))
                .collect(),
            ..self.stored.clone()
        }
    }

    /// The store is rebuilt from genesis and the log: it was ahead of what is left of the log.
    pub fn reset_state(&mut self, genesis: Hash, outputs: &[(OutPoint, Utxo)]) {
        self.stored = Snapshot {
            height: Height(0),
            digest: genesis,
            fees: 0,
            outputs: Vec::new(),
        };
        self.utxos = outputs.iter().copied().collect();
        self.unsynced.clear();
    }

    /// Final blocks from a height on, without gaps.
    #[must_use]
    pub fn final_blocks(&self, from: Height, count: u16) -> Vec<CommittedBlock> {
        let mut next = from;
        let mut found = Vec::new();
        for (height, at) in self.heights.range(from..).take(usize::from(count)) {
            if let (true, Some((_, LogRecord::Committed(block)))) = (*height == next, self.log.get(*at)) {
                found.push((**block).clone());
                next = next.next();
            }
        }
        found
    }

    /// An author block by the hash of its header.
    #[must_use]
    pub fn author_block(&self, hash: &Hash) -> Option<AuthorBlock> {
        match self.log.get(*self.author_blocks.get(hash)?) {
            Some((_, LogRecord::AuthorBlock(block))) => Some(block.clone()),
            _ => None,
        }
    }

    /// Whether a crash now would leave this vote.
    #[must_use]
    pub fn has_durable_vote(&self, vote: &Vote) -> bool {
        let durable = self.log.get(..self.durable).unwrap_or_default();
        durable
            .iter()
            .rev()
            .any(|(_, record)| matches!(record, LogRecord::Vote(held) if held == vote))
    }

    /// What of a prepared block a crash now would take: its proposal, or a body that it refers to.
    #[must_use]
    pub fn missing_of(&self, hash: &Hash) -> Option<String> {
        let at = self.blocks.get(hash).copied().filter(|at| *at < self.durable);
        let Some((_, record)) = at.and_then(|at| self.log.get(at)) else {
            return Some(format!("the proposal of {hash}"));
        };
        let refs = match record {
            LogRecord::Proposal(propose) => &propose.block.refs,
            LogRecord::Block(block) => &block.refs,
            _ => return None,
        };
        let is_durable = |hash: &Hash| self.author_blocks.get(hash).is_some_and(|at| *at < self.durable);
        refs.iter()
            .find(|reference| !is_durable(&reference.hash))
            .map(|reference| format!("the body {} of {hash}", reference.hash))
    }
}
