//! Where the records that others ask for stand, kept in memory and rebuilt when the log is opened.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crypto::hash::{author_header_hash, final_header_hash};
use types::block::FinalHeader;
use types::record::LogRecord;
use types::{Hash, Height};

use super::segment::Segments;

/// Heights below the highest one for which blocks that are not final can be found by hash.
const BLOCK_HEIGHTS: u64 = 1024;

/// Place of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Offset of the frame in the log.
    pub(super) offset: u64,
    /// Bytes of the payload.
    pub(super) len: u32,
}

/// A record whose loss would forget a promise: the last of its kind stays when the log is cut.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) offset: u64,
    pub(super) record: LogRecord,
}

/// Places by height and hash. Bounded by what the log retains.
#[derive(Debug, Default)]
pub(super) struct Index {
    committed: BTreeMap<Height, Position>,
    bodies: HashMap<Hash, Position>,
    blocks: HashMap<Hash, Position>,
    blocks_by_height: BTreeSet<(Height, Hash)>,
    promise: Option<Standing>,
    new_view: Option<Standing>,
    tip: Option<Standing>,
    may_sign: Option<Standing>,
}

impl Index {
    /// Notes a record that stands at `position`, and the heights for which its segment must stay.
    pub(super) fn note(&mut self, segments: &mut Segments, position: Position, record: &LogRecord) {
        let standing = || {
            Some(Standing {
                offset: position.offset,
                record: record.clone(),
            })
        };
        let height = match record {
            LogRecord::AuthorBlock(block) => {
                self.bodies
                    .insert(author_header_hash(&block.header.header), position);
                // Until a final block refers to it, a body counts as old as what its author knew.
                block.header.header.base_height
            }
            LogRecord::Proposal(propose) => self.note_block(&propose.block.header, position),
            LogRecord::Block(block) => self.note_block(&block.header, position),
            LogRecord::Vote(vote) => vote.subject.height,
            LogRecord::Partial(partial) => partial.subject.height,
            LogRecord::Tip(tip) => {
                let key = (tip.subject.view, tip.subject.height);
                if rank(&self.tip, |held| match held {
                    LogRecord::Tip(held) => Some((held.subject.view, held.subject.height)),
                    _ => None,
                }) <= Some(key)
                {
                    self.tip = standing();
                }
                tip.subject.height
            }
            LogRecord::Committed(committed) => {
                let height = committed.block.header.height;
                self.committed.insert(height, position);
                for reference in &committed.block.refs {
                    if let Some(body) = self.bodies.get(&reference.hash) {
                        raise(segments, body.offset, height);
                    }
                }
                height
            }
            LogRecord::NewView(new_view) => {
                if rank(&self.new_view, |held| match held {
                    LogRecord::NewView(held) => Some(held.view),
                    _ => None,
                }) <= Some(new_view.view)
                {
                    self.new_view = standing();
                }
                Height(0)
            }
            LogRecord::Promise(view) => {
                if rank(&self.promise, |held| match held {
                    LogRecord::Promise(held) => Some(*held),
                    _ => None,
                }) <= Some(*view)
                {
                    self.promise = standing();
                }
                Height(0)
            }
            LogRecord::Standing(_) => {
                self.may_sign = standing();
                Height(0)
            }
        };
        raise(segments, position.offset, height);
    }

    fn note_block(&mut self, header: &FinalHeader, position: Position) -> Height {
        let hash = final_header_hash(header);
        self.blocks.insert(hash, position);
        self.blocks_by_height.insert((header.height, hash));
        while let (Some((low, oldest)), Some((high, _))) = (
            self.blocks_by_height.first().copied(),
            self.blocks_by_height.last(),
        ) {
            if high.0 - low.0 < BLOCK_HEIGHTS {
                break;
            }
            self.blocks_by_height.remove(&(low, oldest));
            self.blocks.remove(&oldest);
        }
        header.height
    }

    pub(super) fn committed(&self, height: Height) -> Option<Position> {
        self.committed.get(&height).copied()
    }

    /// Lowest and highest final block.
    pub(super) fn committed_range(&self) -> Option<(Height, Height)> {
        Some((
            *self.committed.first_key_value()?.0,
            *self.committed.last_key_value()?.0,
        ))
    }

    pub(super) fn body(&self, hash: &Hash) -> Option<Position> {
        self.bodies.get(hash).copied()
    }

    pub(super) fn block(&self, hash: &Hash) -> Option<Position> {
        self.blocks.get(hash).copied()
    }

    /// Standing records that a cut below `offset` would lose.
    pub(super) fn standing_below(&self, offset: u64) -> Vec<LogRecord> {
        [&self.promise, &self.new_view, &self.tip, &self.may_sign]
            .into_iter()
            .flatten()
            .filter(|standing| standing.offset < offset)
            .map(|standing| standing.record.clone())
            .collect()
    }

    /// Forgets what stood below `offset`.
    pub(super) fn cut_below(&mut self, offset: u64) {
        self.committed.retain(|_, position| position.offset >= offset);
        self.bodies.retain(|_, position| position.offset >= offset);
        self.blocks.retain(|_, position| position.offset >= offset);
        let blocks = &self.blocks;
        self.blocks_by_height
            .retain(|(_, hash)| blocks.contains_key(hash));
    }
}

fn rank<T>(standing: &Option<Standing>, of: impl Fn(&LogRecord) -> Option<T>) -> Option<T> {
    standing.as_ref().and_then(|standing| of(&standing.record))
}

/// Keeps the segment that holds `offset` until the log is cut above `height`.
fn raise(segments: &mut Segments, offset: u64, height: Height) {
    if let Some((_, segment)) = segments.range_mut(..=offset).next_back() {
        segment.height_max = segment.height_max.max(height.0);
    }
}
