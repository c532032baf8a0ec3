//! The machines, what is under way between them, and what the liar knows.

use std::collections::BTreeMap;

use consensus::{Outgoing, PlantedBug, Target};
use crypto::cosign;
use crypto::hash::final_header_hash;
use types::block::Block;
use types::certificate::{Certificate, Signatures, Subject};
use types::message::{Certified, Committed, NewView, PeerMessage, Propose, Tip, ViewChange, Vote};
use types::{Hash, Height, MemberIndex, Signature, Time, View};

use super::voter::{Act, Shard, Voter};
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
    shard: Shard,
    pub(crate) voters: Vec<Voter>,
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
        let shard = Shard::new(VOTERS, leaders, planted);
        let now = Time(1);
        Self {
            voters: (0..LIAR.0)
                .map(|me| Voter::new(&shard, MemberIndex(me), now))
                .collect(),
            shard,
            now,
            bag: Vec::new(),
            blocks: BTreeMap::new(),
            votes: BTreeMap::new(),
            view_changes: BTreeMap::new(),
            certificates: Vec::new(),
            agreement: Agreement::default(),
        }
    }

    /// Leader of a view.
    #[must_use]
    pub fn leader(&self, view: View) -> MemberIndex {
        self.shard.committee.leader(view)
    }

    /// Hash of the empty chain.
    #[must_use]
    pub const fn genesis(&self) -> Hash {
        self.shard.context.genesis_hash
    }

    /// Highest committed block of an honest voter.
    #[must_use]
    pub fn committed(&self, member: u16) -> (Height, Hash) {
        self.voters[usize::from(member)].machine.committed()
    }

    /// A block; `salt` makes it differ from others at its place.
    pub fn block(&mut self, height: u64, view: u32, prev: Hash, salt: u64) -> (Hash, Block) {
        let (hash, block) = self.shard.block(height, view, prev, salt);
        self.blocks.insert(hash, block.clone());
        (hash, block)
    }

    /// A proposal signed by the liar, who leads that view.
    #[must_use]
    pub fn proposal(&self, view: u32, block: &Block) -> PeerMessage {
        let key = self.shard.key(LIAR);
        PeerMessage::Propose(Propose {
            view: View(view),
            signature: cosign::sign_propose(key, &self.shard.context, View(view), &block.header),
            block: block.clone(),
        })
    }

    /// The liar's own vote.
    #[must_use]
    pub fn vote(&self, subject: Subject) -> Vote {
        Vote {
            subject,
            member: LIAR,
            signature: cosign::sign_subject(self.shard.key(LIAR), &self.shard.context, &subject),
        }
    }

    /// A certificate of the votes that the liar was sent and its own; none when they are too few.
    #[must_use]
    pub fn certificate(&self, subject: Subject) -> Option<Certified> {
        let mut signatures = self.votes.get(&subject).cloned().unwrap_or_default();
        signatures.insert(LIAR, self.vote(subject).signature);
        (signatures.len() >= self.shard.committee.quorum()).then(|| Certified {
            subject,
            certificate: Certificate {
                view: subject.view,
                committee: VOTERS,
                signatures: Signatures::List(
                    signatures
                        .into_iter()
                        .take(self.shard.committee.quorum())
                        .collect(),
                ),
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
                hash: self.shard.context.genesis_hash,
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
        change.signature = cosign::sign_view_change(self.shard.key(LIAR), &self.shard.context, &change);
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
        opening.signature = cosign::sign_new_view(self.shard.key(LIAR), &self.shard.context, &opening);
        Some(PeerMessage::NewView(Box::new(opening)))
    }

    /// Delivers a message to an honest voter now.
    ///
    /// # Errors
    /// When it makes the voter hold another block for final than others do.
    pub fn deliver(&mut self, from: MemberIndex, to: u16, message: PeerMessage) -> Checked {
        let Some(voter) = self.voters.get_mut(usize::from(to)) else {
            return Ok(());
        };
        let answer = voter.handle(self.now, from, message);
        if let Some(answer) = answer {
            self.route(MemberIndex(to), from, answer);
        }
        self.drain(MemberIndex(to))
    }

    /// Carries out what a machine wants done.
    pub(crate) fn drain(&mut self, me: MemberIndex) -> Checked {
        let at = usize::from(me.0);
        while let Some(act) = self.voters[at].poll_act(self.now) {
            match act {
                Act::Send(outgoing) => self.leave(me, outgoing),
                Act::Final { height, hash, .. } => self.agreement.on_final(me, height, hash)?,
                Act::Conflict(certified) => {
                    let detail = format!("member {me} is shown {:?} against its chain", certified.subject);
                    return Err(Violation::new("agreement", detail));
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, me: MemberIndex, outgoing: Outgoing) {
        let Outgoing { to, message } = outgoing;
        match to {
            Target::Member(to) if to == me => {
                // Only votes go to oneself, and they make no more of them.
                self.voters[usize::from(me.0)].handle(self.now, me, message);
            }
            Target::Member(to) => self.route(me, to, message),
            Target::Others => {
                for to in (0..VOTERS).map(MemberIndex).filter(|to| *to != me) {
                    self.route(me, to, message.clone());
                }
            }
        }
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
        self.voters[usize::from(member)].machine.leave_view(self.now);
        self.drain(MemberIndex(member))
    }

    /// The timer of an honest voter runs out.
    pub(crate) fn time_out(&mut self, member: u16) -> Checked {
        let at = usize::from(member);
        self.now = self.now.max(self.voters[at].machine.poll_timeout());
        self.voters[at].machine.handle_timeout(self.now);
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
        let Some(slot) = self.voters[at]
            .machine
            .slot()
            .filter(|slot| slot.height.0 <= height_max)
        else {
            return Ok(false);
        };
        let (_, block) = self.block(slot.height.0, slot.view.0, slot.parent, salt);
        self.voters[at].machine.propose(self.now, block);
        self.drain(MemberIndex(member))?;
        Ok(true)
    }

    /// An honest voter crashes and comes back from its log.
    ///
    /// # Errors
    /// When what follows breaks agreement.
    pub fn restart(&mut self, member: u16) -> Checked {
        let at = usize::from(member);
        self.voters[at].restart(&self.shard, self.now);
        self.drain(MemberIndex(member))
    }
}
