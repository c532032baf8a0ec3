//! Proposing and checking blocks: execution on the parent, comparison of roots and digest.

use std::collections::BTreeSet;

use consensus::{CheckVerdict, Outgoing, Slot, Target};
use crypto::hash;
use ledger::{Applied, Exclusion, Executor};
use types::block::Block;
use types::evidence::TxFault;
use types::message::PeerMessage;
use types::transaction::TxView;
use types::{Hash, Height, ShardId, Time, TxId};

use crate::archive::{Judge, Reactions};
use crate::chain::Executed;
use crate::content::{HeaderParts, Walk};
use crate::event::HaltReason;
use crate::league::League;
use crate::pool::Cursor;
use crate::replica::Replica;

impl Replica {
    /// Whether a proposal would carry something, or the network waits for heights.
    pub(crate) fn has_work(&self) -> bool {
        let league = self.chain.tip_league();
        let height = self.chain.tip_height().next();
        let rules = self.rules();
        let mut groups = league.next_active();
        league.is_switching()
            || league.is_quiet()
            || league.slow().next().is_some()
            || !self.resets.is_empty()
            || !self.accusations.is_empty()
            || self.slow.pending().next().is_some()
            || groups.any(|index| rules.next_ready(&self.pool, league, index, height).is_some())
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
        // A block that an author should not have made is found when it is executed: then once more without it.
        for _ in 0..=self.groups().seats() {
            if self.propose_on(now, &slot, executor) {
                return;
            }
        }
    }

    fn propose_on(&mut self, now: Time, slot: &Slot, executor: &dyn Executor) -> bool {
        let parent = self.chain.tip_league().clone();
        let mut records = self.choose_evidence(&parent, slot);
        let begun = parent.begin(&records, &self.committee);
        let suspects = self.left_out();
        let rules = self.rules();
        let refs = rules.choose_refs(&self.pool, &begun, &suspects, slot.height);
        let mut after = begun.clone();
        for reference in &refs {
            if let Some(index) = self.groups().index(reference.group) {
                after.set_cursor(
                    index,
                    Cursor {
                        next: reference.seq.next(),
                        last: reference.hash,
                    },
                );
            }
        }
        records.extend(self.choose_records(&parent, &begun, &after, now));
        let timestamp = now.0.max(self.chain.tip_timestamp().saturating_add(1));
        let mut block = Block {
            header: placeholder(slot.height, slot.parent, &refs),
            refs,
            excluded: Vec::new(),
            records,
        };
        let reactions = self.reactions(&block, &parent);
        let applied = self.chain.apply(&block, &self.pool, &reactions, executor);
        if !self.accuse_of_exclusions(&block, &applied, &begun) {
            self.chain.ledger.roll_back(Height(slot.height.0 - 1));
            return false;
        }
        let parts = HeaderParts {
            mode: begun.mode(),
            slow: &reactions.slow,
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
        debug_assert!(
            self.rules().walk(&block, &self.pool, &begun) == Walk::Complete
                && self.broken_record(&block, &parent, &begun).is_none(),
            "an own proposal obeys the rules that chose its content"
        );
        let hash = hash::final_header_hash(&block.header);
        self.chain.push(Executed {
            hash,
            league: begun.finish(&block, &self.config.epoch.policy),
            block: block.clone(),
            slow: reactions.slow,
            applied,
        });
        self.accusations
            .note_proposed(&block.records, slot.view, &self.committee);
        self.counters.proposals += 1;
        self.counters.heights_in_flight_sum += slot.in_flight;
        self.pbft.propose(now, block);
        true
    }

    fn reactions(&self, block: &Block, parent: &League) -> Reactions {
        let judge = Judge {
            committee: &self.committee,
            leagues: self.leagues(),
            scheme: self.config.scheme,
            genesis: &self.context.genesis_hash,
        };
        #[cfg_attr(
            not(feature = "planted-bugs"),
            expect(unused_mut, reason = "changed by planted faults alone")
        )]
        let mut reactions = Reactions::of(block, parent, &self.chain.archive, &judge);
        #[cfg(feature = "planted-bugs")]
        match self.config.planted {
            Some(crate::replica::Planted::BanWithoutSlash) => reactions.slashes.clear(),
            Some(crate::replica::Planted::ClaimNotPaid) => reactions.claims.clear(),
            _ => {}
        }
        reactions
    }

    /// Whether all that a block leaves out of its seats' transactions became wrong only after their author had vouched
    /// for it; what was wrong before is shown to all (F3).
    pub(crate) fn accuse_of_exclusions(&mut self, block: &Block, applied: &Applied, begun: &League) -> bool {
        let mut broken = Vec::new();
        for (reference, outcome) in block.refs.iter().zip(&applied.batches) {
            let index = self.groups().index(reference.group);
            if !index.is_some_and(|index| self.groups().is_seat(index)) {
                continue;
            }
            // What took effect before harms nobody.
            let reasons = outcome.reasons.iter();
            let mut suspicious: BTreeSet<u32> = reasons
                .filter(|(_, reason)| *reason != Exclusion::Duplicate)
                .map(|(at, _)| u32::from(*at))
                .collect();
            suspicious.extend(self.barred_positions(&reference.hash, begun));
            if !suspicious.is_empty() {
                let at = self.first_broken(&reference.hash, &suspicious, begun).flatten();
                broken.extend(at.map(|at| (reference.hash, at)));
            }
        }
        for (hash, at) in &broken {
            self.accuse_of_transaction(hash, *at, TxFault::State);
        }
        broken.is_empty()
    }

    /// Transactions of a block that spend what the slow lane bars for its base.
    fn barred_positions(&self, hash: &Hash, league: &League) -> Vec<u32> {
        #[cfg(feature = "planted-bugs")]
        if self.config.planted == Some(crate::replica::Planted::BarsIgnored) {
            return Vec::new();
        }
        let held = self.pool.lately(hash).filter(|_| league.slow().next().is_some());
        let body = held.and_then(|held| Some((held.header.header.base_height, held.ready()?)));
        let Some((base, checked)) = body else {
            return Vec::new();
        };
        let barred = |(at, (txid, tx)): (u32, (TxId, TxView<'_>))| {
            let bar = tx.inputs().find_map(|input| league.bar_on(&input.outpoint, base));
            bar.is_some_and(|intent| intent.txid != txid).then_some(at)
        };
        (0..).zip(checked.body.txs()).filter_map(barred).collect()
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
        if !self.chain.is_executed(&hash) {
            if !self.make_tip(now, block.header.prev, executor)? {
                return Some(CheckVerdict::Invalid);
            }
            let parent = self.chain.tip_league().clone();
            let lowest = self.chain.tip_timestamp().saturating_add(1);
            // Before anything is executed: while it cannot be judged, every event comes back here.
            if !certified && !self.bears_out(block)? {
                return Some(CheckVerdict::Invalid);
            }
            match self.execute(now, hash, block, executor) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_) => return Some(CheckVerdict::Invalid),
            }
            if !certified && self.refuses(now, block, lowest, &parent) {
                self.chain.roll_back_to(&block.header.prev);
                return Some(CheckVerdict::Invalid);
            }
        }
        if certified {
            return Some(CheckVerdict::Valid);
        }
        self.vote_on_refs(now, block)
    }

    /// Whether something keeps this voter from voting for an executed block as new content.
    fn refuses(&mut self, now: Time, block: &Block, lowest: u64, parent: &League) -> bool {
        // A vote, not validity, hangs on the clock: a time far ahead would leave none for the blocks after it. The
        // lowest time that may follow is never refused: else a chain whose time is ahead of its voters' clocks, as
        // after clocks were set back, would stand still until they have caught up.
        let time = block.header.timestamp;
        if time > lowest && time > (now + self.config.epoch.policy.view_timeout()).0 {
            return true;
        }
        let begun = parent.begin(&block.records, &self.committee);
        if self.objection(now, block, parent, &begun).is_some() {
            return true;
        }
        let applied = self.chain.tip_applied().cloned();
        if applied.is_some_and(|applied| !self.accuse_of_exclusions(block, &applied, &begun)) {
            return true;
        }
        let suspects = self.left_out();
        let rules = self.rules();
        let aged = rules.aged_omission(now, block, &self.pool, self.chain.tip_league(), &suspects);
        let Some(aged) = aged else {
            return false;
        };
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
        true
    }

    /// Faults that were found in the block's author blocks, and the challenge wait (`ios` 7.6): `None` until it is over.
    fn vote_on_refs(&mut self, now: Time, block: &Block) -> Option<CheckVerdict> {
        let wait = self.config.epoch.policy.challenge_wait();
        let mut over = now;
        for reference in &block.refs {
            let index = self.groups().index(reference.group);
            if !index.is_some_and(|index| self.groups().is_seat(index)) {
                continue;
            }
            let Some(held) = self.pool.get(&reference.hash) else {
                continue;
            };
            let author = self.committee.member_of(held.header.header.author);
            let suspected = author.is_some_and(|author| self.accusations.suspects().contains(&author));
            let faulty = held.is_faulty || suspected;
            #[cfg(feature = "planted-bugs")]
            let faulty = faulty && self.config.planted != Some(crate::replica::Planted::FaultyVotedFor);
            if faulty {
                return Some(CheckVerdict::Invalid);
            }
            over = over.max(held.held_at + wait);
        }
        #[cfg(feature = "planted-bugs")]
        if self.config.planted == Some(crate::replica::Planted::NoChallengeWait) {
            over = now;
        }
        if over > now {
            self.next_vote = Some(self.next_vote.map_or(over, |next| next.min(over)));
            return None;
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
        let prev = self.chain.tip_hash();
        let parent = self.chain.tip_league().clone();
        let begun = parent.begin(&block.records, &self.committee);
        match self.rules().walk(block, &self.pool, &begun) {
            Walk::Complete => {}
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
        if let Some(rule) = self.broken_record(block, &parent, &begun) {
            return Err(rule);
        }
        let reactions = self.reactions(block, &parent);
        let applied = self.chain.apply(block, &self.pool, &reactions, executor);
        let header = &block.header;
        let parts = HeaderParts {
            mode: begun.mode(),
            slow: &reactions.slow,
            height: header.height,
            view: header.view,
            prev,
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
            league: begun.finish(block, &self.config.epoch.policy),
            block: block.clone(),
            slow: reactions.slow,
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
        let before = self.chain.final_league().clone();
        if let Some((executed, changes)) = self.chain.finalize(&hash) {
            self.on_final(now, executed, &waiting.proof, changes, &before);
        }
        true
    }
}

/// Bitmaps of what takes no effect, by reference.
fn excluded_of(applied: &Applied) -> Vec<Vec<u8>> {
    applied
        .batches
        .iter()
        .map(|outcome| outcome.excluded.clone())
        .collect()
}

/// A header that only carries what execution needs; the real one follows from the result.
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
