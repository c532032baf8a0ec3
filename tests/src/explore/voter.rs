//! A consensus machine with its log, and what all voters of one committee share.

use std::collections::VecDeque;

use consensus::{CheckVerdict, Outgoing, Output, Pbft, PbftConfig, PlantedBug};
use crypto::hash::{committee_hash, final_header_hash};
use crypto::keys::{Scheme, SecretKey};
use crypto::merkle;
use types::block::{BLOCK_VERSION, Block, CommittedBlock, FinalHeader, MODE_ONE_LEAGUE};
use types::genesis::{Committee, SigningContext};
use types::message::{Certified, Fetch, PeerMessage};
use types::policy::Policy;
use types::record::LogRecord;
use types::{Epoch, Hash, Height, MemberIndex, ShardId, Time, ValidatorId, View};

/// Committee, keys and rules, equal for every voter.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) context: SigningContext,
    pub(crate) committee: Committee,
    pub(crate) keys: Vec<SecretKey>,
    planted: Option<PlantedBug>,
}

impl Shard {
    /// A committee of `voters`; `leaders` lead the views in turn.
    pub(crate) fn new(voters: u16, leaders: &[MemberIndex], planted: Option<PlantedBug>) -> Self {
        let keys: Vec<_> = (0..voters)
            .map(|id| SecretKey::of_scheme(Scheme::Simulated, [id as u8 + 1; 32]))
            .collect();
        let members: Vec<_> = (0..voters)
            .map(ValidatorId)
            .zip(keys.iter().map(SecretKey::public))
            .collect();
        let committee = Committee {
            shard: ShardId(0),
            hash: committee_hash(Epoch(0), ShardId(0), &members, voters),
            voters,
            candidates: Vec::new(),
            bonds: vec![0; members.len()],
            members,
            voting_keys: Vec::new(),
            leaders: leaders.to_vec(),
        };
        let context = SigningContext {
            genesis_hash: Hash([9; 32]),
            epoch: Epoch(0),
            shard: ShardId(0),
            committee_hash: committee.hash,
        };
        Self {
            context,
            committee,
            keys,
            planted,
        }
    }

    /// Key of a voter.
    pub(crate) fn key(&self, member: MemberIndex) -> &SecretKey {
        &self.keys[usize::from(member.0)]
    }

    /// A block; `salt` makes it differ from others at its place.
    pub(crate) fn block(&self, height: u64, view: u32, prev: Hash, salt: u64) -> (Hash, Block) {
        let header = FinalHeader {
            version: BLOCK_VERSION,
            mode: MODE_ONE_LEAGUE,
            shard: ShardId(0),
            epoch: Epoch(0),
            term: 0,
            height: Height(height),
            view: View(view),
            prev,
            refs_root: merkle::EMPTY,
            excluded_root: merkle::EMPTY,
            slow_root: merkle::EMPTY,
            inbox_root: merkle::EMPTY,
            outbox_root: merkle::EMPTY,
            evidence_root: merkle::EMPTY,
            tx_count: 0,
            state_digest: Hash::default(),
            committee_hash: self.committee.hash,
            beacon_height: Height(0),
            beacon_hash: Hash::default(),
            timestamp: salt,
        };
        let block = Block {
            header,
            refs: Vec::new(),
            excluded: Vec::new(),
            records: Vec::new(),
        };
        (final_header_hash(&block.header), block)
    }

    fn machine(&self, me: MemberIndex, now: Time) -> Pbft {
        let config = PbftConfig {
            context: self.context,
            committee: self.committee.clone(),
            me,
            scheme: Scheme::Simulated,
            randomness: Hash([3; 32]),
            policy: Policy::simulated(),
            planted: self.planted,
        };
        Pbft::new(config, self.key(me).clone(), now)
    }
}

/// What a voter did that others may see.
#[derive(Debug)]
pub(crate) enum Act {
    /// A message leaves; its records are durable.
    Send(Outgoing),
    /// A block is final.
    Final { height: Height, hash: Hash, view: View },
    /// A certificate contradicts what is final here.
    Conflict(Box<Certified>),
}

/// A machine with its log. Contents are always right, the disk is durable at once.
#[derive(Debug)]
pub(crate) struct Voter {
    me: MemberIndex,
    pub(crate) machine: Pbft,
    log: Vec<LogRecord>,
    /// Messages whose records were written and that have not left yet.
    leaving: VecDeque<Outgoing>,
}

impl Voter {
    /// A voter at genesis.
    pub(crate) fn new(shard: &Shard, me: MemberIndex, now: Time) -> Self {
        Self {
            me,
            machine: shard.machine(me, now),
            log: Vec::new(),
            leaving: VecDeque::new(),
        }
    }

    /// Crashes and comes back from its log.
    pub(crate) fn restart(&mut self, shard: &Shard, now: Time) {
        self.machine = shard.machine(self.me, now);
        self.log.iter().for_each(|record| self.machine.replay(record));
        self.machine.resume(now);
        self.leaving.clear();
    }

    /// Takes a message, and gives the answer when it is a question that can be answered.
    pub(crate) fn handle(
        &mut self,
        now: Time,
        from: MemberIndex,
        message: PeerMessage,
    ) -> Option<PeerMessage> {
        let machine = &mut self.machine;
        match message {
            PeerMessage::Propose(propose) => machine.handle_propose(now, from, propose),
            PeerMessage::Vote(vote) => machine.handle_vote(now, from, vote),
            PeerMessage::Certified(certified) => machine.handle_certified(now, certified),
            PeerMessage::ViewChange(change) => machine.handle_view_change(now, from, *change),
            PeerMessage::Suspect(view) => machine.handle_suspect(now, from, view),
            PeerMessage::NewView(opening) => machine.handle_new_view(now, *opening),
            PeerMessage::Blocks(blocks) => machine.handle_blocks(now, from, blocks),
            PeerMessage::Block(block) => machine.handle_block(now, *block),
            PeerMessage::Fetch(fetch) => return self.serve(&fetch),
            _ => {}
        }
        None
    }

    fn serve(&self, fetch: &Fetch) -> Option<PeerMessage> {
        match fetch {
            Fetch::Block { hash } => {
                let block = self.machine.block(hash)?;
                Some(PeerMessage::Block(Box::new(block.clone())))
            }
            Fetch::Committed { from, count } => {
                let blocks: Vec<CommittedBlock> = self
                    .log
                    .iter()
                    .filter_map(|record| match record {
                        LogRecord::Committed(block) if block.block.header.height >= *from => {
                            Some((**block).clone())
                        }
                        _ => None,
                    })
                    .take(usize::from(*count))
                    .collect();
                (!blocks.is_empty()).then_some(PeerMessage::Blocks(blocks))
            }
            Fetch::Body { .. } | Fetch::Trace => None,
        }
    }

    /// Next thing that others may see; call until `None` after anything that the machine was told.
    pub(crate) fn poll_act(&mut self, now: Time) -> Option<Act> {
        loop {
            if let Some(outgoing) = self.leaving.pop_front() {
                return Some(Act::Send(outgoing));
            }
            match self.machine.poll_output()? {
                Output::Persist { records, then } => {
                    self.log.extend(records);
                    self.leaving.extend(then);
                }
                Output::Send(outgoing) => return Some(Act::Send(outgoing)),
                Output::Check { hash, .. } => {
                    self.machine.handle_checked(now, hash, CheckVerdict::Valid);
                }
                Output::Committed { hash, block, proof } => {
                    let (height, view) = (block.header.height, proof.certificate.view);
                    return Some(Act::Final { height, hash, view });
                }
                Output::ViewEntered(_) | Output::Equivocation(_) => {}
                Output::Conflict(certified) => return Some(Act::Conflict(certified)),
            }
        }
    }
}
