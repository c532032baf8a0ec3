//! Proposing and checking blocks: execution on the parent, comparison of roots and digest.

use consensus::{CheckVerdict, Outgoing, Target};
use crypto::hash;
use ledger::Executor;
use types::block::Block;
use types::message::PeerMessage;
use types::{Hash, Height, MemberIndex, ShardId, Time};

use crate::chain::Executed;
use crate::content::{HeaderParts, Walk, author_of};
use crate::event::HaltReason;
use crate::pool::Cursor;
use crate::replica::Replica;

impl Replica {
    /// Whether a proposal would carry something, or something in flight waits to become final.
    pub(crate) fn has_work(&self) -> bool {
        let cursors = self.chain.tip_cursors();
        let ready = cursors.iter().enumerate().any(|(member, cursor)| {
            self.pool
                .at(MemberIndex(member as u16), cursor.next)
                .is_some_and(|(_, block)| block.ready().is_some())
        });
        ready || !self.resets.is_empty()
    }

    pub(crate) fn propose(&mut self, now: Time, executor: &dyn Executor) {
        let Some(slot) = self.pbft.slot() else { return };
        let policy = &self.config.epoch.policy;
        let pause = if self.has_work() {
            policy.block_interval
        } else {
            policy.idle_interval()
        };
        // The parent may have been displaced by a branch that was executed since it was checked.
        if !self.chain.waiting.is_empty()
            || self.make_tip(now, slot.parent, executor) != Some(true)
            || now < self.last_proposal + pause
        {
            return;
        }
        self.last_proposal = now;
        let cursors = self.chain.tip_cursors().to_vec();
        let rules = self.rules();
        let refs = rules.choose_refs(&self.pool, &cursors, slot.height);
        let mut after = cursors;
        for reference in &refs {
            if let Some(member) = author_of(reference.group, self.committee.size())
                && let Some(cursor) = after.get_mut(usize::from(member.0))
            {
                *cursor = Cursor {
                    next: reference.seq.next(),
                    last: reference.hash,
                };
            }
        }
        let records = rules.choose_records(self.resets.values(), &self.pool, &after, slot.height);
        let timestamp = now.0.max(self.chain.tip_timestamp().saturating_add(1));
        let mut block = Block {
            header: placeholder(slot.height, slot.parent, &refs),
            refs,
            excluded: Vec::new(),
            records,
        };
        let applied = self.chain.apply(&block, &self.pool, executor);
        let parts = HeaderParts {
            height: slot.height,
            view: slot.view,
            prev: slot.parent,
            refs: &block.refs,
            records: &block.records,
            applied: &applied,
            timestamp,
        };
        let header = self.rules().header(&parts);
        block.header = header;
        block.excluded = excluded_of(&applied);
        let Walk::Complete(cursors) = self.rules().walk(&block, &self.pool, self.chain.tip_cursors()) else {
            unreachable!("an own proposal obeys the rules that chose its content");
        };
        let hash = hash::final_header_hash(&block.header);
        self.chain.push(Executed {
            hash,
            block: block.clone(),
            cursors,
            applied,
        });
        self.counters.proposals += 1;
        self.counters.heights_in_flight_sum += slot.in_flight;
        self.pbft.propose(now, block);
    }

    /// Looks again at blocks whose check waited; true when one got its verdict.
    pub(crate) fn retry_checks(&mut self, now: Time, executor: &dyn Executor) -> bool {
        if !self.chain.waiting.is_empty() {
            return false;
        }
        let hashes: Vec<Hash> = self.checks.keys().copied().collect();
        for hash in hashes {
            let Some((block, certified)) = self.checks.get(&hash).cloned() else {
                continue;
            };
            if let Some(verdict) = self.check(now, hash, &block, certified, executor) {
                self.checks.remove(&hash);
                self.pbft.handle_checked(now, hash, verdict);
                return true;
            }
        }
        false
    }

    /// Executes a proposed block on its parent and compares; `None` while bodies are missing.
    pub(crate) fn check(
        &mut self,
        now: Time,
        hash: Hash,
        block: &Block,
        certified: bool,
        executor: &dyn Executor,
    ) -> Option<CheckVerdict> {
        if self.chain.is_executed(&hash) {
            return Some(CheckVerdict::Valid);
        }
        if !self.make_tip(now, block.header.prev, executor)? {
            return Some(CheckVerdict::Invalid);
        }
        let lowest = self.chain.tip_timestamp().saturating_add(1);
        match self.execute(now, hash, block, executor) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(_) => return Some(CheckVerdict::Invalid),
        }
        // A vote, not validity, hangs on the clock: a time far ahead would leave none for the blocks after it. The
        // lowest time that may follow is never refused: else a chain whose time is ahead of its voters' clocks, as
        // after clocks were set back, would stand still until they have caught up.
        let time = block.header.timestamp;
        let ahead = time > lowest && time > (now + self.config.epoch.policy.view_timeout()).0;
        if ahead && !certified {
            return Some(CheckVerdict::Invalid);
        }
        let aged = self
            .rules()
            .aged_omission(now, block, &self.pool, self.chain.tip_cursors());
        if let (Some(aged), false) = (aged, certified) {
            if let Some(held) = self.pool.get(&aged) {
                let leader = self.committee.leader(self.pbft.view());
                let nack = PeerMessage::Nack(held.header.clone());
                self.send(
                    Outgoing {
                        to: Target::Member(leader),
                        message: nack,
                    },
                    None,
                );
            }
            return Some(CheckVerdict::Invalid);
        }
        Some(CheckVerdict::Valid)
    }

    /// Makes a block the executed tip, executing again what another proposal displaced; `None` while bodies are
    /// missing, false when it cannot be.
    fn make_tip(&mut self, now: Time, tip: Hash, executor: &dyn Executor) -> Option<bool> {
        let mut path = Vec::new();
        let mut at = tip;
        while !self.chain.is_executed(&at) {
            let Some(ancestor) = self.pbft.block(&at).cloned() else {
                return Some(false);
            };
            let prev = ancestor.header.prev;
            path.push((at, ancestor));
            at = prev;
        }
        self.chain.roll_back_to(&at);
        for (hash, ancestor) in path.into_iter().rev() {
            match self.execute(now, hash, &ancestor, executor) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_) => return Some(false),
            }
        }
        Some(true)
    }

    /// Executes a block on the tip, which must be its parent. `Ok(false)` while bodies are missing; an error when
    /// it breaks a rule, with the state unchanged.
    pub(crate) fn execute(
        &mut self,
        now: Time,
        hash: Hash,
        block: &Block,
        executor: &dyn Executor,
    ) -> Result<bool, &'static str> {
        let parent = self.chain.tip_hash();
        let cursors = match self.rules().walk(block, &self.pool, self.chain.tip_cursors()) {
            Walk::Complete(cursors) => cursors,
            Walk::Broken(rule) => return Err(rule),
            Walk::Missing(missing) => {
                let leader = self.committee.leader(self.pbft.view());
                for reference in missing {
                    if self.pool.get(&reference.hash).is_none() {
                        let place = Some((reference.group, reference.seq));
                        self.want(now, reference.hash, leader, place);
                    }
                }
                return Ok(false);
            }
        };
        if block.header.height != self.chain.ledger.height().next() {
            return Err("the height does not follow its parent");
        }
        if block.header.timestamp <= self.chain.tip_timestamp() {
            return Err("the timestamp does not rise");
        }
        let applied = self.chain.apply(block, &self.pool, executor);
        let header = &block.header;
        let parts = HeaderParts {
            height: header.height,
            view: header.view,
            prev: parent,
            refs: &block.refs,
            records: &block.records,
            applied: &applied,
            timestamp: header.timestamp,
        };
        if self.rules().header(&parts) != *header {
            self.chain.ledger.roll_back(Height(header.height.0 - 1));
            return Err("a root, a count or the digest");
        }
        self.chain.push(Executed {
            hash,
            block: block.clone(),
            cursors,
            applied,
        });
        Ok(true)
    }

    /// Finalises the next committed block once it is executed; true when something moved.
    pub(crate) fn finalize_waiting(&mut self, now: Time, executor: &dyn Executor) -> bool {
        let Some(waiting) = self.chain.waiting.front() else {
            return false;
        };
        let hash = waiting.hash;
        if !self.chain.is_executed(&hash) {
            let block = waiting.block.clone();
            if !self.chain.roll_back_to(&block.header.prev) {
                self.halt(HaltReason::Content(
                    block.header.height,
                    "its parent is not the final block here",
                ));
                return false;
            }
            match self.execute(now, hash, &block, executor) {
                Ok(true) => {}
                Ok(false) => return false,
                Err("a root, a count or the digest") => {
                    self.halt(HaltReason::Digest(block.header.height));
                    return false;
                }
                Err(rule) => {
                    self.halt(HaltReason::Content(block.header.height, rule));
                    return false;
                }
            }
        }
        let Some(waiting) = self.chain.waiting.pop_front() else {
            return false;
        };
        if let Some((executed, changes)) = self.chain.finalize(&hash) {
            self.on_final(now, executed, &waiting.proof, changes);
        }
        true
    }
}

/// A header that only carries what execution needs; the real one follows from the result.
/// Bitmaps of what takes no effect, by reference.
fn excluded_of(applied: &ledger::Applied) -> Vec<Vec<u8>> {
    applied
        .batches
        .iter()
        .map(|outcome| outcome.excluded.clone())
        .collect()
}

fn placeholder(height: Height, prev: Hash, refs: &[types::block::BlockRef]) -> types::block::FinalHeader {
    types::block::FinalHeader {
        version: 0,
        mode: 0,
        shard: ShardId(0),
        epoch: types::Epoch(0),
        term: 0,
        height,
        view: types::View(0),
        prev,
        refs_root: Hash::default(),
        excluded_root: Hash::default(),
        slow_root: Hash::default(),
        inbox_root: Hash::default(),
        outbox_root: Hash::default(),
        evidence_root: Hash::default(),
        tx_count: refs.iter().map(|reference| reference.tx_count).sum(),
        state_digest: Hash::default(),
        committee_hash: Hash::default(),
        beacon_height: Height(0),
        beacon_hash: Hash::default(),
        timestamp: 0,
    }
}
