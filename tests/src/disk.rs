//! A disk: an append-only log with a durable part, and the written-behind state.
//!
//! A loss of power leaves what is durable, and of the rest whatever sectors reached the disk: what is read back is
//! every record before the first that is not whole. The end of the process alone leaves everything that was written;
//! what still stood in the queue of the thread that writes is gone.

mod image;

use std::collections::BTreeMap;

use crypto::hash::{author_header_hash, final_header_hash};
use ledger::{Counters, Snapshot, StateChanges, Utxo};
use types::block::{CommittedBlock, FinalHeader};
use types::certificate::Subject;
use types::message::{AuthorBlock, NewView};
use types::record::LogRecord;
use types::{Hash, Height, OutPoint, Sequence, View};

use self::image::{Tear, Written};
use crate::rng::SimRng;

/// What a crash took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Records that were appended and are gone.
    pub records: u64,
    /// Whether the log ended in a part of a record.
    pub torn: bool,
    /// Whole records that stood behind one that was not, and were cut with it.
    pub reordered: u64,
}

/// One node's disk.
#[derive(Debug)]
pub struct Disk {
    log: Vec<Written>,
    /// Where author blocks and final or proposed blocks stand in the log, by hash.
    author_blocks: BTreeMap<Hash, usize>,
    blocks: BTreeMap<Hash, usize>,
    heights: BTreeMap<Height, usize>,
    /// Openings of views.
    openings: BTreeMap<View, usize>,
    /// Records that a loss of power leaves.
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
            openings: BTreeMap::new(),
            durable: 0,
            durable_seq: Sequence(0),
            stored: Snapshot {
                height: Height(0),
                digest: genesis,
                counters: Counters::default(),
                claimed: Vec::new(),
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
                    let header = &committed.block.header;
                    self.blocks.entry(final_header_hash(header)).or_insert(at);
                    self.heights.entry(header.height).or_insert(at);
                }
                LogRecord::NewView(opening) => {
                    self.openings.entry(opening.view).or_insert(at);
                }
                _ => {}
            }
            let synced = self.durable as u64;
            self.log.push(Written { seq, record, synced });
        }
    }

    /// A synchronous write ended: all records up to `seq` survive a crash. True when that is new.
    pub fn sync(&mut self, seq: Sequence) -> bool {
        let upto = self.log.partition_point(|written| written.seq <= seq);
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
            self.stored.counters = changes.counters;
            self.stored.claimed.extend(changes.claimed);
        }
    }

    /// Power goes: of what is not durable some sectors are there and some are not.
    ///
    /// # Errors
    /// When what is read back contradicts what was durable, or is not what was written.
    pub fn lose_power(&mut self, rng: &mut SimRng) -> Result<Loss, String> {
        let order = if rng.chance(500) {
            Tear::AnyOrder
        } else {
            Tear::InOrder
        };
        self.crash(rng, Some(order))
    }

    /// The process ends: the page cache stays, and what was not yet handed to it is gone. One write may be cut.
    ///
    /// # Errors
    /// As [`Disk::lose_power`].
    pub fn kill(&mut self, rng: &mut SimRng) -> Result<Loss, String> {
        let order = rng.chance(500).then_some(Tear::InOrder);
        self.crash(rng, order)
    }

    fn crash(&mut self, rng: &mut SimRng, order: Option<Tear>) -> Result<Loss, String> {
        let mut loss = Loss::default();
        let tail = self.log.get(self.durable..).unwrap_or_default();
        if let (Some(order), false) = (order, tail.is_empty()) {
            let base = self.durable as u64;
            let mut bytes = image::write(base, tail);
            image::tear(rng, &mut bytes, order);
            let read = image::read(base, &bytes)?;
            let kept = read.records.len();
            if tail.get(..kept) != Some(&read.records[..]) {
                return Err(format!(
                    "{kept} records behind {base} are not read as they were written"
                ));
            }
            loss = Loss {
                records: (tail.len() - kept) as u64,
                torn: read.torn,
                reordered: read.behind,
            };
            self.log.truncate(self.durable);
            self.log.extend(read.records);
        }
        let left = self.log.len();
        self.author_blocks.retain(|_, at| *at < left);
        self.blocks.retain(|_, at| *at < left);
        self.heights.retain(|_, at| *at < left);
        self.openings.retain(|_, at| *at < left);
        // The store keeps no log of its own: what its flushes have written is there, one may have been under way.
        let kept = rng.below(self.unsynced.len() as u64 + 1) as usize;
        self.unsynced.truncate(kept);
        self.flush(kept);
        Ok(loss)
    }

    /// A process opens the log: what it reads it makes durable first.
    pub fn open(&mut self) {
        self.durable = self.log.len();
        self.durable_seq = self.log.last().map_or(Sequence(0), |written| written.seq);
    }

    /// Records in the order of writing.
    pub fn records(&self) -> impl Iterator<Item = (Sequence, &LogRecord)> {
        self.log.iter().map(|written| (written.seq, &written.record))
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
            counters: Counters::default(),
            claimed: Vec::new(),
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
            if let (true, Some(LogRecord::Committed(block))) = (*height == next, self.record(*at)) {
                found.push((**block).clone());
                next = next.next();
            }
        }
        found
    }

    /// An author block by the hash of its header.
    #[must_use]
    pub fn author_block(&self, hash: &Hash) -> Option<AuthorBlock> {
        match self.record(*self.author_blocks.get(hash)?) {
            Some(LogRecord::AuthorBlock(block)) => Some(block.clone()),
            _ => None,
        }
    }

    fn record(&self, at: usize) -> Option<&LogRecord> {
        self.log.get(at).map(|written| &written.record)
    }

    /// The first opening of a view on record.
    #[must_use]
    pub fn opening(&self, view: View) -> Option<&NewView> {
        match self.record(*self.openings.get(&view)?) {
            Some(LogRecord::NewView(opening)) => Some(opening),
            _ => None,
        }
    }

    /// The header of a block on record.
    #[must_use]
    pub fn header(&self, hash: &Hash) -> Option<&FinalHeader> {
        match self.record(*self.blocks.get(hash)?) {
            Some(LogRecord::Proposal(propose)) => Some(&propose.block.header),
            Some(LogRecord::Block(block)) => Some(&block.header),
            Some(LogRecord::Committed(committed)) => Some(&committed.block.header),
            _ => None,
        }
    }

    /// Whether a loss of power now would leave this vote.
    #[must_use]
    pub fn has_durable_vote(&self, subject: &Subject) -> bool {
        let durable = self.log.get(..self.durable).unwrap_or_default();
        durable.iter().rev().any(|written| match &written.record {
            LogRecord::Vote(held) => held.subject == *subject,
            LogRecord::Partial(held) => held.subject == *subject,
            _ => false,
        })
    }

    /// What of a block a loss of power now would take: itself, or a body that it refers to.
    #[must_use]
    pub fn missing_of(&self, hash: &Hash) -> Option<String> {
        let at = self.blocks.get(hash).copied().filter(|at| *at < self.durable);
        let Some(record) = at.and_then(|at| self.record(at)) else {
            return Some(format!("the proposal of {hash}"));
        };
        let refs = match record {
            LogRecord::Proposal(propose) => &propose.block.refs,
            LogRecord::Block(block) => &block.refs,
            LogRecord::Committed(committed) => &committed.block.refs,
            _ => return None,
        };
        let is_durable = |hash: &Hash| self.author_blocks.get(hash).is_some_and(|at| *at < self.durable);
        refs.iter()
            .find(|reference| !is_durable(&reference.hash))
            .map(|reference| format!("the body {} of {hash}", reference.hash))
    }
}

#[cfg(test)]
mod tests {
    use types::record::LogRecord;
    use types::{Hash, Sequence, View};

    use super::{Disk, Loss};
    use crate::rng::SimRng;

    const SYNCED: u64 = 7;
    const WRITTEN: u64 = 60;

    /// A log of which the first records are durable.
    fn disk() -> Disk {
        let mut disk = Disk::new(Hash::default(), &[]);
        for seq in 1..=WRITTEN {
            disk.append(Sequence(seq), vec![LogRecord::Promise(View(seq as u32))]);
            if seq == SYNCED {
                disk.sync(Sequence(seq));
            }
        }
        disk
    }

    fn left(disk: &Disk) -> Vec<u64> {
        disk.records().map(|(seq, _)| seq.0).collect()
    }

    #[test]
    fn whatever_stops_a_node_leaves_what_is_durable_and_a_beginning_of_the_rest() {
        let mut rng = SimRng::new(3, 0);
        let mut total = Loss::default();
        let mut whole = 0;
        for round in 0..400 {
            let mut disk = disk();
            let loss = if round % 2 == 0 {
                disk.lose_power(&mut rng)
            } else {
                disk.kill(&mut rng)
            };
            let loss = loss.expect("nothing that was durable is lost");
            let left = left(&disk);
            assert!(left.len() as u64 >= SYNCED);
            assert_eq!(left, (1..=left.len() as u64).collect::<Vec<_>>());
            assert_eq!(left.len() as u64 + loss.records, WRITTEN);
            total.records += loss.records;
            total.reordered += loss.reordered;
            whole += u64::from(loss.records == 0);
        }
        assert!(total.records > 0 && total.reordered > 0, "{total:?}");
        // A process that ends leaves the page cache: nothing is lost in about every second of its ends.
        assert!((60..=160).contains(&whole), "{whole} of 400 lost nothing");
    }

    #[test]
    fn what_a_killed_process_had_written_is_not_durable_before_the_next_one_opens_the_log() {
        let mut rng = SimRng::new(4, 0);
        let mut lost = 0;
        for _ in 0..50 {
            let mut disk = disk();
            disk.kill(&mut rng).expect("nothing that was durable is lost");
            lost += disk.lose_power(&mut rng).expect("likewise").records;
            disk.open();
            let opened = left(&disk);
            assert_eq!(disk.lose_power(&mut rng).expect("likewise"), Loss::default());
            assert_eq!(left(&disk), opened);
        }
        assert!(
            lost > 0,
            "a loss of power after the end of the process takes something"
        );
    }
}
