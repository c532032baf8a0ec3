//! Content of final blocks: what a leader may put in, what a voter checks (`ios` 7.11, 9.3, 9.8).

use std::collections::BTreeSet;

use crypto::keys::Scheme;
use crypto::{cosign, merkle};
use ledger::{Applied, Exclusion};
use types::block::{Block, BlockRef, FinalHeader};
use types::block_record::{AuthorReady, Record, ResetRequest};
use types::genesis::{Committee, SigningContext};
use types::limits::{BLOCK_BYTES_MAX, BLOCK_REFS_MAX};
use types::policy::Policy;
use types::time::Duration;
use types::{Hash, Height, MemberIndex, Time, TxId};

use crate::league::{GroupIndex, Groups, League};
use crate::pool::{Content, Cursor, HeldBlock, Pool};

/// What every check of content needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) committee: &'a Committee,
    pub(crate) context: &'a SigningContext,
    pub(crate) scheme: Scheme,
    pub(crate) groups: Groups,
}

/// Result of walking a block's references.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// All right.
    Complete,
    /// References whose bodies are not ready here.
    Missing(Vec<BlockRef>),
    /// A rule is broken.
    Broken(&'static str),
}

impl Rules<'_> {
    /// Place of a group's references in the block of a height: the start rotates (`ios` 7.11).
    fn order(&self, index: GroupIndex, height: Height) -> u64 {
        let seats = u64::from(self.groups.seats());
        let (number, of) = if self.groups.is_seat(index) {
            (u64::from(index.0), seats)
        } else {
            (u64::from(index.0) - seats, self.committee.size() as u64)
        };
        (number + height.0) % of.max(1)
    }

    /// Whether an author block with this base may be included at a height (`LAG`, `ios` 0.10).
    pub(crate) fn is_includable(&self, base: Height, height: Height) -> bool {
        base < height && base.0.saturating_add(self.policy.lag) >= height.0
    }

    /// Whether a held block is the next of its group, by its author, and may be included at the height of `league`.
    fn follows(&self, held: &HeldBlock, index: GroupIndex, cursor: &Cursor, league: &League) -> bool {
        let header = &held.header.header;
        let author = league
            .author(index)
            .and_then(|member| self.committee.members.get(usize::from(member.0)));
        header.prev == cursor.last
            && author.is_some_and(|(id, _)| *id == header.author)
            && header.base_height <= league.base_max()
    }

    /// The next block of a group that a proposal of this height could refer to.
    pub(crate) fn next_ready<'p>(
        &self,
        pool: &'p Pool,
        league: &League,
        index: GroupIndex,
        height: Height,
    ) -> Option<(&'p Hash, &'p HeldBlock)> {
        let cursor = league.cursor(index);
        let (hash, held) = pool.at(index, cursor.next)?;
        let fits = held.ready().is_some()
            && !held.is_faulty
            && self.follows(held, index, &cursor, league)
            && self.is_includable(held.header.header.base_height, height);
        fits.then_some((hash, held))
    }

    /// References for the block that `league` begins: every author's ready blocks from its cursor on, up to the caps.
    pub(crate) fn choose_refs(
        &self,
        pool: &Pool,
        league: &League,
        suspects: &BTreeSet<MemberIndex>,
        height: Height,
    ) -> Vec<BlockRef> {
        let mut refs = Vec::new();
        let (mut txs, mut bytes) = (0_usize, 0_usize);
        let mut league = league.clone();
        let mut active: Vec<_> = league.active().collect();
        active.sort_unstable_by_key(|index| self.order(*index, height));
        for index in active {
            if league
                .author(index)
                .is_none_or(|author| suspects.contains(&author))
            {
                continue;
            }
            while let Some((hash, block)) = self.next_ready(pool, &league, index, height) {
                let header = &block.header.header;
                let fits = txs + header.tx_count as usize <= self.policy.block_txs_max as usize
                    && bytes + header.body_bytes as usize <= BLOCK_BYTES_MAX
                    && refs.len() < BLOCK_REFS_MAX;
                if !fits {
                    break;
                }
                txs += header.tx_count as usize;
                bytes += header.body_bytes as usize;
                refs.push(BlockRef {
                    group: header.group,
                    seq: header.seq,
                    hash: *hash,
                    tx_count: header.tx_count,
                });
                league.set_cursor(
                    index,
                    Cursor {
                        next: header.seq.next(),
                        last: *hash,
                    },
                );
            }
        }
        refs
    }

    /// Walks references in order, in the league that the block begins with.
    pub(crate) fn walk(&self, block: &Block, pool: &Pool, begun: &League) -> Walk {
        let mut league = begun.clone();
        let mut missing = Vec::new();
        let height = block.header.height;
        let (mut txs, mut bytes, mut last) = (0_usize, 0_usize, None);
        if block.header.mode != league.mode() {
            return Walk::Broken("the mode");
        }
        let active: BTreeSet<GroupIndex> = league.active().collect();
        for reference in &block.refs {
            let index = self.groups.index(reference.group);
            let Some(index) = index.filter(|index| active.contains(index)) else {
                return Walk::Broken("a group that does not author in this mode");
            };
            let place = (self.order(index, height), reference.seq);
            if last.is_some_and(|last| last >= place) {
                return Walk::Broken("references out of order");
            }
            last = Some(place);
            let cursor = league.cursor(index);
            if cursor.next != reference.seq {
                return Walk::Broken("a reference leaves a gap");
            }
            txs += reference.tx_count as usize;
            match pool.get(&reference.hash) {
                Some(held) if matches!(held.content, Content::Ready(_)) => {
                    let header = &held.header.header;
                    bytes += header.body_bytes as usize;
                    let named = (header.group, header.seq, header.tx_count);
                    if named != (reference.group, reference.seq, reference.tx_count)
                        || !self.follows(held, index, &cursor, &league)
                    {
                        return Walk::Broken("a reference contradicts its author block");
                    }
                    if !self.is_includable(header.base_height, height) {
                        return Walk::Broken("an author block outside the lag");
                    }
                }
                _ => missing.push(reference.clone()),
            }
            league.set_cursor(
                index,
                Cursor {
                    next: reference.seq.next(),
                    last: reference.hash,
                },
            );
        }
        if txs > self.policy.block_txs_max as usize || bytes > BLOCK_BYTES_MAX {
            return Walk::Broken("more than a block may carry");
        }
        if txs != block.header.tx_count as usize {
            return Walk::Broken("the count of transactions");
        }
        if missing.is_empty() {
            Walk::Complete
        } else {
            Walk::Missing(missing)
        }
    }

    /// Whether a reset is its author's, who authors in this mode, and ends the run that is open.
    pub(crate) fn is_due(&self, reset: &ResetRequest, league: &League, mode: u8) -> bool {
        let index = self.groups.index(reset.group);
        let active = |index: &GroupIndex| self.groups.of_mode(mode).any(|other| other == *index);
        let Some(index) = index.filter(active) else {
            return false;
        };
        let key = league.author(index).and_then(|member| self.committee.key(member));
        league.cursor(index).next.run() == reset.run
            && reset.run < u16::MAX
            && key.is_some_and(|key| cosign::verify_reset_request(self.scheme, self.context, key, reset))
    }

    /// Whether a candidate's report is its own.
    pub(crate) fn is_report(&self, ready: &AuthorReady) -> bool {
        !self.committee.is_voter(ready.member)
            && self
                .committee
                .key(ready.member)
                .is_some_and(|key| cosign::verify_author_ready(self.scheme, self.context, key, ready))
    }

    /// The expiry guard (`ios` 9.8): an author block held long enough, whose predecessors are included, that this
    /// block omits although it is about to age out.
    pub(crate) fn aged_omission(
        &self,
        now: Time,
        block: &Block,
        pool: &Pool,
        after: &League,
        suspects: &BTreeSet<MemberIndex>,
    ) -> Option<Hash> {
        let height = block.header.height;
        let full = block.header.tx_count as usize + self.policy.batch_txs_max as usize
            > self.policy.block_txs_max as usize;
        if full || after.mode() != block.header.mode {
            return None;
        }
        let held_for = |since: Time| now.since(since) >= 2 * self.policy.shard_delay;
        after.active().find_map(|index| {
            let (hash, held) = self.next_ready(pool, after, index, height)?;
            let base = held.header.header.base_height;
            let suspected = after
                .author(index)
                .is_none_or(|author| suspects.contains(&author));
            let aging = base.0 + self.policy.lag <= height.0 + 3;
            (aging && !suspected && held_for(held.ready_at)).then_some(*hash)
        })
    }

    /// The header of a block by its content: what a leader writes and every voter recomputes.
    pub(crate) fn header(&self, parts: &HeaderParts<'_>) -> FinalHeader {
        let excluded: Vec<Vec<u8>> = parts
            .applied
            .batches
            .iter()
            .map(|outcome| outcome.excluded.clone())
            .collect();
        FinalHeader {
            version: types::block::BLOCK_VERSION,
            mode: parts.mode,
            shard: self.context.shard,
            epoch: self.context.epoch,
            term: 0,
            height: parts.height,
            view: parts.view,
            prev: parts.prev,
            refs_root: merkle::refs_root(parts.refs),
            excluded_root: merkle::excluded_root(&excluded),
            slow_root: slow_root(parts.slow, parts.applied),
            inbox_root: merkle::EMPTY,
            outbox_root: merkle::EMPTY,
            evidence_root: merkle::records_root(parts.records),
            tx_count: parts.refs.iter().map(|reference| reference.tx_count).sum(),
            state_digest: parts.applied.digest,
            committee_hash: self.context.committee_hash,
            beacon_height: Height(0),
            beacon_hash: Hash::default(),
            timestamp: parts.timestamp,
        }
    }
}

/// Code of a slow transaction's outcome: 0 when it took effect, here or before.
pub(crate) fn slow_code(outcome: Option<&Exclusion>) -> u8 {
    match outcome {
        Some(Exclusion::Reject(reject)) => reject.code(),
        Some(Exclusion::Duplicate) | None => 0,
    }
}

/// Leaves under `slow_root`.
pub(crate) fn slow_leaves(slow: &[(TxId, Vec<u8>)], applied: &Applied) -> Vec<Hash> {
    let outcomes = slow.iter().zip(&applied.slow);
    outcomes
        .map(|((txid, _), outcome)| merkle::slow_leaf(txid, slow_code(outcome.as_ref())))
        .collect()
}

fn slow_root(slow: &[(TxId, Vec<u8>)], applied: &Applied) -> Hash {
    merkle::root(&slow_leaves(slow, applied))
}

/// What determines a header.
#[derive(Debug)]
pub(crate) struct HeaderParts<'a> {
    pub(crate) mode: u8,
    pub(crate) height: Height,
    pub(crate) view: types::View,
    pub(crate) prev: Hash,
    pub(crate) refs: &'a [BlockRef],
    pub(crate) records: &'a [Record],
    /// Slow transactions that the block executes.
    pub(crate) slow: &'a [(TxId, Vec<u8>)],
    pub(crate) applied: &'a Applied,
    pub(crate) timestamp: u64,
}

/// Pause before a missing body is asked of another member.
pub(crate) fn fetch_pause(policy: &Policy) -> Duration {
    2 * policy.shard_delay
}
