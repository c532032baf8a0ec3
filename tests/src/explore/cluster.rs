//! The machines, what is under way between them, and what the liar knows.

use std::collections::BTreeMap;

use consensus::{CheckVerdict, Outgoing, Output, Pbft, PbftConfig, PlantedBug, Target};
use crypto::hash::{committee_hash, final_header_hash};
use crypto::keys::{Scheme, SecretKey};
use crypto::{cosign, merkle};
use types::block::{BLOCK_VERSION, Block, CommittedBlock, FinalHeader, MODE_ONE_LEAGUE};
use types::certificate::{Certificate, Subject};
use types::genesis::{Committee, SigningContext};
use types::message::{Certified, Committed, Fetch, NewView, PeerMessage, Propose, Tip, ViewChange, Vote};
use types::policy::Policy;
use types::record::LogRecord;
use types::{Epoch, Hash, Height, MemberIndex, ShardId, Signature, Time, ValidatorId, View};

use crate::invariants::agreement::Agreement;
use crate::invariants::{Checked, Violation};

/// The lying voter; 0 to 2 are honest.
pub const LIAR: MemberIndex = MemberIndex(3);
/// Voters.
const VOTERS: u16 = 4;

/// A message that was sent and not delivered.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) from: MemberIndex,
    pub(crate) to: MemberIndex,
    pub(crate) message: PeerMessage,
}

/// Three honest machines and a liar.
#[derive(Debug)]
pub struct Cluster {
    context: SigningContext,
    committee: Committee,
    keys: Vec<SecretKey>,
    planted: Option<PlantedBug>,
    pub(crate) machines: Vec<Pbft>,
    logs: Vec<Vec<LogRecord>>,
    pub(crate) now: Time,
    /// Messages between honest machines.
    pub(crate) bag: Vec<Envelope>,
    /// What the liar has seen: every block, every vote sent to it, every view change, every certificate.
    pub(crate) blocks: BTreeMap<Hash, Block>,
    votes: BTreeMap<Subject, BTreeMap<MemberIndex, Signature>>,
    pub(crate) view_changes: BTreeMap<View, BTreeMap<MemberIndex, ViewChange>>,
    pub(crate) certificates: Vec<Certified>,
    agreement: Agreement,
}

impl Cluster {
    /// Machines at genesis; `leaders` lead the views in turn.
    #[must_use]
    pub fn new(leaders: &[MemberIndex], planted: Option<PlantedBug>) -> Self {
        let keys: Vec<_> = (0..VOTERS)
            .map(|id| SecretKey::of_scheme(Scheme::Simulated, [id as u8 + 1; 32]))
            .collect();
        let members: Vec<_> = (0..VOTERS)
            .map(ValidatorId)
            .zip(keys.iter().map(SecretKey::public))
            .collect();
        let committee = Committee {
            shard: ShardId(0),
            hash: committee_hash(Epoch(0), ShardId(0), &members),
            members,
            leaders: leaders.to_vec(),
        };
        let context = SigningContext {
            genesis_hash: Hash([9; 32]),
            epoch: Epoch(0),
            shard: ShardId(0),
            committee_hash: committee.hash,
        };
        let mut cluster = Self {
            context,
            committee,
            keys,
            planted,
            machines: Vec::new(),
            logs: vec![Vec::new(); usize::from(LIAR.0)],
            now: Time(1),
            bag: Vec::new(),
            blocks: BTreeMap::new(),
            votes: BTreeMap::new(),
            view_changes: BTreeMap::new(),
            certificates: Vec::new(),
            agreement: Agreement::default(),
        };
        cluster.machines = (0..LIAR.0).map(|me| cluster.machine(MemberIndex(me))).collect();
        cluster
    }

    fn machine(&self, me: MemberIndex) -> Pbft {
        let config = PbftConfig {
            context: self.context,
            committee: self.committee.clone(),
            me,
            scheme: Scheme::Simulated,
            policy: Policy::simulated(),
            planted: self.planted,
        };
        Pbft::new(config, self.keys[usize::from(me.0)].clone(), self.now)
    }

    /// Leader of a view.
    #[must_use]
    pub fn leader(&self, view: View) -> MemberIndex {
        self.committee.leader(view)
    }

    /// Hash of the empty chain.
    #[must_use]
    pub const fn genesis(&self) -> Hash {
        self.context.genesis_hash
    }

    /// Highest committed block of an honest voter.
    #[must_use]
    pub fn committed(&self, member: u16) -> (Height, Hash) {
        self.machines[usize::from(member)].committed()
    }

    /// A block; `salt` makes it differ from others at its place.
    pub fn block(&mut self, height: u64, view: u32, prev: Hash, salt: u64) -> (Hash, Block) {
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
            records: Vec::new(),
        };
        let hash = final_header_hash(&block.header);
        self.blocks.insert(hash, block.clone());
        (hash, block)
    }

    /// A proposal signed by the liar, who leads that view.
    #[must_use]
    pub fn proposal(&self, view: u32, block: &Block) -> PeerMessage {
        let key = &self.keys[usize::from(LIAR.0)];
        PeerMessage::Propose(Propose {
            view: View(view),
            signature: cosign::sign_propose(key, &self.context, View(view), &block.header),
            block: block.clone(),
        })
    }

    /// The liar's own vote.
    #[must_use]
    pub fn vote(&self, subject: Subject) -> Vote {
        Vote {
            subject,
            member: LIAR,
            signature: cosign::sign_subject(&self.keys[usize::from(LIAR.0)], &self.context, &subject),
        }
    }

    /// A certificate of the votes that the liar was sent and its own; none when they are too few.
    #[must_use]
    pub fn certificate(&self, subject: Subject) -> Option<Certified> {
        let mut signatures = self.votes.get(&subject).cloned().unwrap_or_default();
        signatures.insert(LIAR, self.vote(subject).signature);
        (signatures.len() >= self.committee.quorum()).then(|| Certified {
            subject,
            certificate: Certificate {
                view: subject.view,
                committee: VOTERS,
                signatures: signatures.into_iter().take(self.committee.quorum()).collect(),
            },
        })
    }

    /// Subjects that the liar was sent votes for.
    pub(crate) fn voted(&self) -> Vec<Subject> {
        self.votes.keys().copied().collect()
    }

    /// A view change of the liar, with whatever tip and committed block it likes to report.
    #[must_use]
    pub fn lie(&self, view: u32, tip: Option<Tip>, committed: Option<Certified>) -> ViewChange {
        let committed = match committed {
            Some(proof) => Committed {
                height: proof.subject.height,
                hash: proof.subject.hash,
                proof: Some(proof),
            },
            None => Committed {
                height: Height(0),
                hash: self.context.genesis_hash,
                proof: None,
            },
        };
        let mut change = ViewChange {
            new_view: View(view),
            committed,
            tip,
            member: LIAR,
            signature: Signature::default(),
        };
        change.signature = cosign::sign_view_change(&self.keys[usize::from(LIAR.0)], &self.context, &change);
        change
    }

    /// An opening signed by the liar, of view changes of `honest` and its own; none when one is missing.
    #[must_use]
    pub fn opening(&self, view: u32, honest: &[u16], own: ViewChange) -> Option<PeerMessage> {
        let of_view = self.view_changes.get(&View(view))?;
        let mut view_changes = Vec::with_capacity(honest.len() + 1);
        for member in honest {
            view_changes.push(of_view.get(&MemberIndex(*member))?.clone());
        }
        view_changes.push(own);
        let mut opening = NewView {
            view: View(view),
            view_changes,
            signature: Signature::default(),
        };
        opening.signature = cosign::sign_new_view(&self.keys[usize::from(LIAR.0)], &self.context, &opening);
        Some(PeerMessage::NewView(Box::new(opening)))
    }

    /// Delivers a message to an honest voter now.
    ///
    /// # Errors
    /// When it makes the voter hold another block for final than others do.
    pub fn deliver(&mut self, from: MemberIndex, to: u16, message: PeerMessage) -> Checked {
        let now = self.now;
        let me = MemberIndex(to);
        let Some(machine) = self.machines.get_mut(usize::from(to)) else {
            return Ok(());
        };
        match message {
            PeerMessage::Propose(propose) => machine.handle_propose(now, from, propose),
            PeerMessage::Vote(vote) => machine.handle_vote(now, from, vote),
            PeerMessage::Certified(certified) => machine.handle_certified(now, certified),
            PeerMessage::ViewChange(change) => machine.handle_view_change(now, from, *change),
            PeerMessage::NewView(opening) => machine.handle_new_view(now, *opening),
            PeerMessage::Blocks(blocks) => machine.handle_blocks(now, from, blocks),
            PeerMessage::Block(block) => machine.handle_block(now, *block),
            PeerMessage::Fetch(fetch) => self.serve(me, from, &fetch),
            _ => {}
        }
        self.drain(me)
    }

    fn serve(&mut self, me: MemberIndex, to: MemberIndex, fetch: &Fetch) {
        let at = usize::from(me.0);
        let message = match fetch {
            Fetch::Block { hash } => self.machines[at]
                .block(hash)
                .map(|block| PeerMessage::Block(Box::new(block.clone()))),
            Fetch::Committed { from, count } => {
                let blocks: Vec<CommittedBlock> = self.logs[at]
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
        };
        if let Some(message) = message {
            self.route(me, to, message);
        }
    }

    /// Carries out what a machine wants done. Its disk is durable at once.
    pub(crate) fn drain(&mut self, me: MemberIndex) -> Checked {
        let at = usize::from(me.0);
        while let Some(output) = self.machines[at].poll_output() {
            match output {
                Output::Persist { records, then } => {
                    self.logs[at].extend(records);
                    for outgoing in then {
                        self.leave(me, outgoing)?;
                    }
                }
                Output::Send(outgoing) => self.leave(me, outgoing)?,
                Output::Check { hash, .. } => {
                    self.machines[at].handle_checked(self.now, hash, CheckVerdict::Valid)
                }
                Output::Committed { hash, block, .. } => {
                    self.agreement.on_final(me, block.header.height, hash)?
                }
                Output::ViewEntered(_) => {}
                Output::Conflict(certified) => {
                    let detail = format!("member {me} is shown {:?} against its chain", certified.subject);
                    return Err(Violation::new("agreement", detail));
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, me: MemberIndex, outgoing: Outgoing) -> Checked {
        let Outgoing { to, message } = outgoing;
        match to {
            Target::Member(to) if to == me => {
                // Only votes go to oneself, and they make no more of them.
                if let PeerMessage::Vote(vote) = message {
                    self.machines[usize::from(me.0)].handle_vote(self.now, me, vote);
                }
            }
            Target::Member(to) => self.route(me, to, message),
            Target::Others => {
                for to in (0..VOTERS).map(MemberIndex).filter(|to| *to != me) {
                    self.route(me, to, message.clone());
                }
            }
        }
        Ok(())
    }

    fn route(&mut self, from: MemberIndex, to: MemberIndex, message: PeerMessage) {
        if to == LIAR {
            self.learn(from, message);
        } else {
            self.bag.push(Envelope { from, to, message });
        }
    }

    fn learn(&mut self, from: MemberIndex, message: PeerMessage) {
        match message {
            PeerMessage::Propose(propose) => {
                self.blocks
                    .insert(final_header_hash(&propose.block.header), propose.block);
            }
            PeerMessage::Vote(vote) => {
                self.votes
                    .entry(vote.subject)
                    .or_default()
                    .insert(from, vote.signature);
            }
            PeerMessage::Certified(certified) => self.keep(certified),
            PeerMessage::ViewChange(change) => {
                change
                    .tip
                    .iter()
                    .chain(&change.committed.proof)
                    .for_each(|certified| {
                        if !self.certificates.contains(certified) {
                            self.certificates.push(certified.clone());
                        }
                    });
                self.view_changes
                    .entry(change.new_view)
                    .or_default()
                    .insert(from, *change);
            }
            _ => {}
        }
    }

    /// The liar remembers a certificate.
    pub(crate) fn keep(&mut self, certified: Certified) {
        if !self.certificates.contains(&certified) {
            self.certificates.push(certified);
        }
    }

    /// An honest voter gives its view up.
    ///
    /// # Errors
    /// When what follows breaks agreement.
    pub fn give_up(&mut self, member: u16) -> Checked {
        self.machines[usize::from(member)].complain(self.now);
        self.drain(MemberIndex(member))
    }

    /// The timer of an honest voter runs out.
    pub(crate) fn time_out(&mut self, member: u16) -> Checked {
        let at = usize::from(member);
        self.now = self.now.max(self.machines[at].poll_timeout());
        self.machines[at].handle_timeout(self.now);
        self.drain(MemberIndex(member))
    }

    /// An honest voter that leads proposes what it likes; false when it may not.
    pub(crate) fn propose_honestly(
        &mut self,
        member: u16,
        height_max: u64,
        salt: u64,
    ) -> Result<bool, Violation> {
        let at = usize::from(member);
        let Some(slot) = self.machines[at]
            .slot()
            .filter(|slot| slot.height.0 <= height_max)
        else {
            return Ok(false);
        };
        let (_, block) = self.block(slot.height.0, slot.view.0, slot.parent, salt);
        self.machines[at].propose(self.now, block);
        self.drain(MemberIndex(member))?;
        Ok(true)
    }

    /// An honest voter crashes and comes back from its log.
    ///
    /// # Errors
    /// When what follows breaks agreement.
    pub fn restart(&mut self, member: u16) -> Checked {
        let at = usize::from(member);
        let mut machine = self.machine(MemberIndex(member));
        self.logs[at].iter().for_each(|record| machine.replay(record));
        machine.resume(self.now);
        self.machines[at] = machine;
        self.drain(MemberIndex(member))
    }
}
