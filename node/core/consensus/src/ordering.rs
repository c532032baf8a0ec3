//! Proposals and prepare votes (`ios` 9.6 and `may_prepare` of 22).

use crypto::hash::final_header_hash;
use crypto::merkle;
use types::block::{BLOCK_VERSION, Block, FinalHeader, MODE_ONE_LEAGUE};
use types::certificate::{Phase, Subject};
use types::limits::{PROPOSALS_HELD_MAX, VIEWS_AHEAD_MAX};
use types::message::{Fetch, PeerMessage, Propose, Vote};
use types::record::LogRecord;
use types::{Hash, Height, MemberIndex, Time, View};

use crate::blocks::{Content, Missing};
use crate::machine::{CheckVerdict, Outgoing, Output, Pbft, Slot, Target};
use crate::planted::PlantedBug;

impl Pbft {
    /// Where this voter may propose now: it leads the open view, the window has room and the parent was checked.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        if !self.active || !self.is_leader() || self.silent {
            return None;
        }
        let (committed, committed_hash) = self.committed();
        let below = self.proposed.max(self.base.0).max(committed);
        let height = below.next();
        let in_flight = height.0.checked_sub(committed.0)?;
        if in_flight > self.config.policy.window {
            return None;
        }
        // Proposals are forgotten once they are final.
        let parent = if below == committed {
            committed_hash
        } else if below == self.base.0 {
            self.base.1
        } else {
            self.proposal_hash(self.view, below)?
        };
        let parent_header = if parent == committed_hash {
            None
        } else {
            let held = self.blocks.get(&parent)?;
            if held.content != Content::Valid {
                return None;
            }
            Some(held.block.header.clone())
        };
        // An uncommitted base is put to the vote again before anything is built on it.
        let base_waits = self.base.0 > committed && !self.proposals.contains_key(&(self.view, self.base.0));
        (!base_waits).then_some(Slot {
            height,
            view: self.view,
            parent,
            parent_header,
            in_flight,
        })
    }

    pub(crate) fn proposal_hash(&self, view: View, height: Height) -> Option<Hash> {
        self.proposals
            .get(&(view, height))
            .map(|propose| final_header_hash(&propose.block.header))
    }

    /// Proposes a block for the current `slot`; its content is the caller's and counts as checked.
    ///
    /// # Panics
    /// When the block does not fit the slot: a mistake of the caller.
    pub fn propose(&mut self, now: Time, block: Block) {
        let slot = self.slot().expect("a leader proposes into an open slot");
        assert_eq!(
            (slot.height, slot.parent),
            (block.header.height, block.header.prev),
            "the block fits the slot"
        );
        let hash = final_header_hash(&block.header);
        self.blocks.insert(hash, block.clone());
        if let Some(held) = self.blocks.get_mut(&hash) {
            held.content = Content::Valid;
        }
        self.publish(block);
        self.proposed = slot.height;
        self.progress(now);
    }

    /// Signs, records and sends a proposal of the current view.
    pub(crate) fn publish(&mut self, block: Block) {
        let height = block.header.height;
        self.arrange(height);
        let signature =
            crypto::cosign::sign_propose(&self.key, &self.config.context, self.view, &block.header);
        let propose = Propose {
            view: self.view,
            block,
            signature,
        };
        self.proposals.insert((self.view, height), propose.clone());
        let then = vec![Outgoing {
            to: Target::Others,
            message: PeerMessage::Propose(propose.clone()),
        }];
        self.persist(vec![LogRecord::Proposal(propose)], then);
    }

    /// A leader's proposal.
    pub fn handle_propose(&mut self, now: Time, from: MemberIndex, propose: Propose) {
        let (height, view) = (propose.block.header.height, propose.view);
        let (committed, _) = self.committed();
        if view < self.view || height <= committed {
            return;
        }
        if let Some(first) = self.proposals.get(&(view, height)) {
            let leader = self.config.committee.leader(view);
            let (first, second) = (proposal_vote(first, leader), proposal_vote(&propose, leader));
            return self.look_for_two_votes(&first, &second);
        }
        // A member leads one view in n: proposals of views far ahead would only fill memory.
        let ahead = VIEWS_AHEAD_MAX.min(self.config.committee.size() as u32);
        if view.0 > self.view.0.saturating_add(ahead) {
            return self.refuse();
        }
        let leader = self.config.committee.leader(view);
        let known =
            |key| crypto::cosign::verify_propose(self.config.scheme, &self.config.context, key, &propose);
        let signed = from == leader && self.config.committee.key(leader).is_some_and(known);
        if !signed
            || !is_whole(&propose.block)
            || !self.is_well_formed(&propose.block.header, view)
            || height.0 > committed.0 + 4 * self.config.policy.window
        {
            return self.refuse();
        }
        let hash = final_header_hash(&propose.block.header);
        self.blocks.insert(hash, propose.block.clone());
        self.fetching.remove(&hash);
        self.proposals.insert((view, height), propose);
        if self.proposals.len() > PROPOSALS_HELD_MAX {
            self.proposals.pop_last();
        }
        self.progress(now);
        self.try_commit(now);
    }

    fn is_well_formed(&self, header: &FinalHeader, view: View) -> bool {
        let context = &self.config.context;
        header.version == BLOCK_VERSION
            && header.mode <= MODE_ONE_LEAGUE
            && header.shard == context.shard
            && header.epoch == context.epoch
            && header.committee_hash == context.committee_hash
            && header.view <= view
            && header.beacon_height == Height(0)
            && header.beacon_hash == Hash::default()
    }

    /// Verdict on the content of a block that `Output::Check` asked for.
    pub fn handle_checked(&mut self, now: Time, hash: Hash, verdict: CheckVerdict) {
        if let Some(held) = self.blocks.get_mut(&hash) {
            held.content = match verdict {
                CheckVerdict::Valid => Content::Valid,
                CheckVerdict::Invalid => Content::Invalid,
            };
            self.progress(now);
        }
    }

    /// A block that was asked for by hash.
    pub fn handle_block(&mut self, now: Time, block: Block) {
        if !is_whole(&block) {
            return self.refuse();
        }
        let hash = final_header_hash(&block.header);
        let Some(height) = self.fetching.get(&hash).copied() else {
            return;
        };
        if block.header.height != height || !self.is_well_formed(&block.header, self.view) {
            return self.refuse();
        }
        self.fetching.remove(&hash);
        if self.blocks.insert(hash, block.clone()) {
            self.persist(vec![LogRecord::Block(Box::new(block))], Vec::new());
        }
        self.repropose_base();
        self.progress(now);
        self.try_commit(now);
    }

    /// Checks and votes for what the rules allow, lowest height first.
    pub(crate) fn progress(&mut self, _now: Time) {
        if !self.active || self.silent {
            return;
        }
        let view = self.view;
        let heights: Vec<Height> = self
            .proposals
            .range((view, Height(0))..(view.next(), Height(0)))
            .map(|((_, height), _)| *height)
            .collect();
        for height in heights {
            let Some(hash) = self.proposal_hash(view, height) else {
                continue;
            };
            self.hold_proposed(view, height, hash);
            if height <= self.committed().0 || !self.may_prepare(height, hash) {
                continue;
            }
            if !self.is_checked(hash) {
                return;
            }
            if !self.prepared.contains_key(&(view, height)) {
                self.vote_prepare(height, hash);
            }
        }
    }

    /// A proposed block that had to make room comes back.
    fn hold_proposed(&mut self, view: View, height: Height, hash: Hash) {
        if height > self.committed().0
            && self.blocks.get(&hash).is_none()
            && let Some(propose) = self.proposals.get(&(view, height))
        {
            self.blocks.insert(hash, propose.block.clone());
        }
    }

    /// The rules of `may_prepare` that do not look at content (`ios` 22).
    fn may_prepare(&self, height: Height, hash: Hash) -> bool {
        if (height, hash) == self.base {
            return true;
        }
        let Some(header) = self.blocks.get(&hash).map(|held| &held.block.header) else {
            return false;
        };
        let (committed, committed_hash) = self.committed();
        if self.is_planted(PlantedBug::RevoteEveryHeight) && height < self.base.0 {
            return self
                .blocks
                .chain_to(self.base.1)
                .is_ok_and(|chain| chain.contains(&hash));
        }
        if !self.follows_parent(header) {
            return false;
        }
        let below_base = height <= self.base.0;
        if self.is_planted(PlantedBug::VoteBelowBase) && below_base {
            return header.view == self.view;
        }
        let parent = header.prev;
        let below = (self.view, Height(height.0.saturating_sub(1)));
        let certified_here = |hash: Hash| {
            self.commit_certificate
                .as_ref()
                .is_some_and(|certified| certified.subject.view == self.view)
                && committed_hash == hash
        };
        let parent_in_view = parent == self.base.1
            || self.prepared.get(&below) == Some(&parent)
            || self
                .prepare_certificates
                .get(&below)
                .is_some_and(|certified| certified.subject.hash == parent)
            || certified_here(parent);
        !below_base
            && header.view == self.view
            && height.0 <= committed.0 + self.config.policy.window
            && parent_in_view
    }

    /// Whether a block is exactly one height above the block that it names as its parent.
    fn follows_parent(&self, header: &FinalHeader) -> bool {
        let (committed, committed_hash) = self.committed();
        let parent = if header.prev == committed_hash {
            Some(committed)
        } else if header.prev == self.base.1 {
            Some(self.base.0)
        } else {
            self.blocks.get(&header.prev).map(|held| held.block.header.height)
        };
        parent.is_none_or(|parent| parent.0.checked_add(1) == Some(header.height.0))
    }

    /// Whether the block and all its uncommitted ancestors were checked; asks for the lowest that was not.
    fn is_checked(&mut self, hash: Hash) -> bool {
        let chain = match self.blocks.chain_to(hash) {
            Ok(chain) => chain,
            Err(Missing::Block { hash, height }) => {
                self.fetch(hash, height);
                return false;
            }
            Err(Missing::Fork) => return false,
        };
        for hash in chain {
            let base = self.base.0;
            let Some(held) = self.blocks.get_mut(&hash) else {
                return false;
            };
            match held.content {
                Content::Valid => {}
                Content::Asked | Content::Invalid => return false,
                Content::Unknown => {
                    held.content = Content::Asked;
                    let certified = held.block.header.height <= base;
                    let block = Box::new(held.block.clone());
                    self.outputs.push_back(Output::Check {
                        hash,
                        block,
                        certified,
                    });
                    return false;
                }
            }
        }
        true
    }

    /// Asks for the block of a height by its hash.
    pub(crate) fn fetch(&mut self, hash: Hash, height: Height) {
        let (committed, _) = self.committed();
        let near = height > committed && height.0 <= committed.0 + 4 * self.config.policy.window;
        let room = self.fetching.len() < PROPOSALS_HELD_MAX;
        if near && room && self.fetching.insert(hash, height).is_none() {
            self.send(Target::Others, PeerMessage::Fetch(Fetch::Block { hash }));
        }
    }

    fn vote_prepare(&mut self, height: Height, hash: Hash) {
        let subject = Subject {
            phase: Phase::Prepare,
            height,
            view: self.view,
            hash,
        };
        self.prepared.insert((self.view, height), hash);
        // The base commits its ancestors: they must be on disk with the vote for it (`ios` 9.6).
        let ancestors = if (height, hash) == self.base {
            self.blocks.chain_to(hash).unwrap_or_default()
        } else {
            Vec::new()
        };
        let mut records: Vec<LogRecord> = ancestors
            .iter()
            .filter(|at| **at != hash)
            .filter_map(|at| self.blocks.get(at))
            .map(|held| LogRecord::Block(Box::new(held.block.clone())))
            .collect();
        if let Some(propose) = self.proposals.get(&(self.view, height))
            && !self.is_leader()
        {
            records.push(LogRecord::Proposal(propose.clone()));
        }
        self.vote(records, subject);
    }

    /// Records a vote and sends it to the leader, or up the tree, once it is durable.
    pub(crate) fn vote(&mut self, mut records: Vec<LogRecord>, subject: Subject) {
        let (record, message) = match self.own_partial(subject) {
            Some(partial) => (LogRecord::Partial(partial.clone()), PeerMessage::Partial(partial)),
            None => {
                let vote = self.sign_vote(subject);
                (LogRecord::Vote(vote.clone()), PeerMessage::Vote(vote))
            }
        };
        records.push(record);
        let to = Target::Member(self.vote_target(subject.height));
        self.persist(records, vec![Outgoing { to, message }]);
    }
}

/// A proposal as the signature that it is: of its leader over (propose, height, view, header hash).
fn proposal_vote(propose: &Propose, leader: MemberIndex) -> Vote {
    let header = &propose.block.header;
    Vote {
        subject: Subject {
            phase: Phase::Propose,
            height: header.height,
            view: propose.view,
            hash: final_header_hash(header),
        },
        member: leader,
        signature: propose.signature,
    }
}

/// Whether references and records are those that the header's roots cover. Blocks are held and asked for by the hash
/// of their header: one with another's references would stand in the way of the right one, and be final in its place.
pub(crate) fn is_whole(block: &Block) -> bool {
    let header = &block.header;
    merkle::refs_root(&block.refs) == header.refs_root
        && block.excluded.len() == block.refs.len()
        && merkle::excluded_root(&block.excluded) == header.excluded_root
        && merkle::records_root(&block.records) == header.evidence_root
}
