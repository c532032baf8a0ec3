//! Content of final blocks: what a leader may put in, what a voter checks (`ios` 7.11, 9.3, 9.8).

use crypto::keys::Scheme;
use crypto::{cosign, hash, merkle};
use ledger::Applied;
use types::block::{Block, BlockRef, BlockSeq, FinalHeader, GROUP_ONE_LEAGUE};
use types::block_record::{Record, ResetRequest};
use types::genesis::{Committee, SigningContext};
use types::limits::{BLOCK_BYTES_MAX, BLOCK_RECORDS_MAX, BLOCK_REFS_MAX};
use types::policy::Policy;
use types::time::Duration;
use types::{Hash, Height, MemberIndex, Time};

use crate::pool::{Content, Cursor, Pool};

/// What every check of content needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) committee: &'a Committee,
    pub(crate) context: &'a SigningContext,
    pub(crate) scheme: Scheme,
}

/// Result of walking a block's references and records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// All right; cursors after the block.
    Complete(Vec<Cursor>),
    /// References whose bodies are not ready here.
    Missing(Vec<BlockRef>),
    /// A rule is broken.
    Broken(&'static str),
}

/// The member that authors a group in mode 1.
pub(crate) fn author_of(group: u16, members: usize) -> Option<MemberIndex> {
    let member = group.checked_sub(GROUP_ONE_LEAGUE)?;
    (usize::from(member) < members).then_some(MemberIndex(member))
}

impl Rules<'_> {
    /// Place of a member's references in the block of a height: the start rotates (`ios` 7.11).
    fn order(&self, member: MemberIndex, height: Height) -> u64 {
        (u64::from(member.0) + height.0) % self.committee.size() as u64
    }

    fn members_in_order(&self, height: Height) -> Vec<MemberIndex> {
        let mut members: Vec<_> = (0..self.committee.size() as u16).map(MemberIndex).collect();
        members.sort_unstable_by_key(|member| self.order(*member, height));
        members
    }

    /// Whether an author block with this base may be included at a height (`LAG`, `ios` 0.10).
    pub(crate) fn is_includable(&self, base: Height, height: Height) -> bool {
        base < height && base.0.saturating_add(self.policy.lag) >= height.0
    }

    /// References for the next block: every author's ready blocks from its cursor on, up to the caps.
    pub(crate) fn choose_refs(&self, pool: &Pool, cursors: &[Cursor], height: Height) -> Vec<BlockRef> {
        let mut refs = Vec::new();
        let (mut txs, mut bytes) = (0_usize, 0_usize);
        for member in self.members_in_order(height) {
            let Some(mut cursor) = cursors.get(usize::from(member.0)).copied() else {
                continue;
            };
            while let Some((hash, block)) = pool.at(member, cursor.next) {
                let header = &block.header.header;
                let ready = block.ready().is_some() && header.prev == cursor.last;
                let fits = txs + header.tx_count as usize <= self.policy.block_txs_max as usize
                    && bytes + header.body_bytes as usize <= BLOCK_BYTES_MAX
                    && refs.len() < BLOCK_REFS_MAX;
                if !ready || !fits || !self.is_includable(header.base_height, height) {
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
                cursor = Cursor {
                    next: cursor.next.next(),
                    last: *hash,
                };
            }
        }
        refs
    }

    /// Walks references and records in order, from the parent's cursors.
    pub(crate) fn walk(&self, block: &Block, pool: &Pool, cursors: &[Cursor]) -> Walk {
        let mut cursors = cursors.to_vec();
        let mut missing = Vec::new();
        let height = block.header.height;
        let (mut txs, mut bytes, mut last) = (0_usize, 0_usize, None);
        for reference in &block.refs {
            let Some(member) = author_of(reference.group, self.committee.size()) else {
                return Walk::Broken("unknown group");
            };
            let place = (self.order(member, height), reference.seq);
            if last.is_some_and(|last| last >= place) {
                return Walk::Broken("references out of order");
            }
            last = Some(place);
            let Some(cursor) = cursors.get_mut(usize::from(member.0)) else {
                return Walk::Broken("unknown group");
            };
            if cursor.next != reference.seq {
                return Walk::Broken("a reference leaves a gap");
            }
            txs += reference.tx_count as usize;
            match pool.get(&reference.hash) {
                Some(held) => match &held.content {
                    Content::Ready(_) => {
                        let header = &held.header.header;
                        bytes += header.body_bytes as usize;
                        let named = (header.group, header.seq, header.tx_count);
                        if named != (reference.group, reference.seq, reference.tx_count)
                            || header.prev != cursor.last
                        {
                            return Walk::Broken("a reference contradicts its author block");
                        }
                        if !self.is_includable(header.base_height, height) {
                            return Walk::Broken("an author block outside the lag");
                        }
                    }
                    Content::Checking => missing.push(reference.clone()),
                },
                None => missing.push(reference.clone()),
            }
            *cursor = Cursor {
                next: cursor.next.next(),
                last: reference.hash,
            };
        }
        if txs > self.policy.block_txs_max as usize || bytes > BLOCK_BYTES_MAX {
            return Walk::Broken("more than a block may carry");
        }
        if txs != block.header.tx_count as usize {
            return Walk::Broken("the count of transactions");
        }
        if let Err(broken) = self.walk_records(&block.records, &mut cursors) {
            return Walk::Broken(broken);
        }
        if missing.is_empty() {
            Walk::Complete(cursors)
        } else {
            Walk::Missing(missing)
        }
    }

    fn walk_records(&self, records: &[Record], cursors: &mut [Cursor]) -> Result<(), &'static str> {
        if !records.windows(2).all(|pair| pair[0].order() < pair[1].order()) {
            return Err("records out of order");
        }
        for record in records {
            let Record::Reset(reset) = record else {
                return Err("a record of two leagues");
            };
            if !self.is_due(reset, cursors) {
                return Err("a reset that is not due");
            }
            if let Some(member) = author_of(reset.group, self.committee.size())
                && let Some(cursor) = cursors.get_mut(usize::from(member.0))
            {
                cursor.next = BlockSeq::start_of(reset.run + 1);
            }
        }
        Ok(())
    }

    /// Whether a reset is its author's and ends the run that is open.
    pub(crate) fn is_due(&self, reset: &ResetRequest, cursors: &[Cursor]) -> bool {
        let Some(member) = author_of(reset.group, self.committee.size()) else {
            return false;
        };
        let open = cursors
            .get(usize::from(member.0))
            .is_some_and(|cursor| cursor.next.run() == reset.run);
        open && reset.run < u16::MAX
            && self
                .committee
                .key(member)
                .is_some_and(|key| cosign::verify_reset_request(self.scheme, self.context, key, reset))
    }

    /// Resets for the next block: those due of authors that have nothing left to include.
    pub(crate) fn choose_records<'r>(
        &self,
        requests: impl Iterator<Item = &'r ResetRequest>,
        pool: &Pool,
        cursors: &[Cursor],
        height: Height,
    ) -> Vec<Record> {
        let left = |member: MemberIndex, cursor: &Cursor| {
            pool.at(member, cursor.next).is_some_and(|(_, block)| {
                block.ready().is_some() && self.is_includable(block.header.header.base_height, height)
            })
        };
        let mut records: Vec<Record> = requests
            .filter(|reset| self.is_due(reset, cursors))
            .filter(|reset| {
                let member = author_of(reset.group, self.committee.size());
                member
                    .and_then(|member| Some((member, cursors.get(usize::from(member.0))?)))
                    .is_some_and(|(member, cursor)| !left(member, cursor))
            })
            .take(BLOCK_RECORDS_MAX)
            .cloned()
            .map(Record::Reset)
            .collect();
        records.sort_by_cached_key(Record::order);
        records
    }

    /// The expiry guard (`ios` 9.8): an author block held long enough, whose predecessors are included, that this
    /// block omits although it is about to age out.
    pub(crate) fn aged_omission(
        &self,
        now: Time,
        block: &Block,
        pool: &Pool,
        after: &[Cursor],
    ) -> Option<Hash> {
        let height = block.header.height;
        let full = block.header.tx_count as usize + self.policy.batch_txs_max as usize
            > self.policy.block_txs_max as usize;
        if full {
            return None;
        }
        let held_for = |since: Time| now.since(since) >= 2 * self.policy.shard_delay;
        (0..self.committee.size() as u16)
            .map(MemberIndex)
            .find_map(|member| {
                let cursor = after.get(usize::from(member.0))?;
                let (hash, held) = pool.at(member, cursor.next)?;
                let base = held.header.header.base_height;
                let aging = self.is_includable(base, height) && base.0 + self.policy.lag <= height.0 + 3;
                (aging
                    && held.ready().is_some()
                    && held.header.header.prev == cursor.last
                    && held_for(held.ready_at))
                .then_some(*hash)
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
            mode: types::block::MODE_ONE_LEAGUE,
            shard: self.context.shard,
            epoch: self.context.epoch,
            term: 0,
            height: parts.height,
            view: parts.view,
            prev: parts.prev,
            refs_root: merkle::refs_root(parts.refs),
            excluded_root: merkle::excluded_root(&excluded),
            slow_root: merkle::EMPTY,
            inbox_root: merkle::EMPTY,
            outbox_root: merkle::EMPTY,
            evidence_root: hash::records_root(parts.records),
            tx_count: parts.refs.iter().map(|reference| reference.tx_count).sum(),
            state_digest: parts.applied.digest,
            committee_hash: self.context.committee_hash,
            beacon_height: Height(0),
            beacon_hash: Hash::default(),
            timestamp: parts.timestamp,
        }
    }
}

/// What determines a header.
#[derive(Debug)]
pub(crate) struct HeaderParts<'a> {
    pub(crate) height: Height,
    pub(crate) view: types::View,
    pub(crate) prev: Hash,
    pub(crate) refs: &'a [BlockRef],
    pub(crate) records: &'a [Record],
    pub(crate) applied: &'a Applied,
    pub(crate) timestamp: u64,
}

/// Pause before a missing body is asked of another member.
pub(crate) fn fetch_pause(policy: &Policy) -> Duration {
    2 * policy.shard_delay
}
