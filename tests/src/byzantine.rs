//! Members that lie: one mind with the keys of all of them, between their replicas and the network.
//!
//! Their replicas run as everybody's do, so that the lies fit what is going on. Every message that one of them sends
//! passes here and is dropped, changed or doubled; every message that reaches one is remembered; and from time to
//! time something is said that no replica would say.

mod garbage;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crypto::cosign;
use crypto::hash::final_header_hash;
use types::certificate::{Certificate, Partial, Phase, Signatures, Subject};
use types::message::{Certified, Committed, NewView, PeerMessage, Propose, Tip, ViewChange, Vote};
use types::{Hash, Height, MemberIndex, Signature, View};

use crate::faults::{Fault, Lie, Options, Tally};
use crate::rng::SimRng;
use crate::setup::Setup;

/// Messages remembered, to be sent again.
const REMEMBERED_MAX: usize = 128;
/// Views, heights and subjects of which votes, proposals and view changes are kept; the lowest go first.
const KEPT_MAX: usize = 64;

/// All members that lie.
#[derive(Debug)]
pub struct Coalition {
    members: BTreeSet<MemberIndex>,
    size: u16,
    lies: BTreeSet<Lie>,
    /// Of them, those that say nothing now.
    silent: BTreeSet<MemberIndex>,
    /// From whom things are kept.
    victims: BTreeSet<MemberIndex>,
    /// Who gets the second of two.
    side: BTreeSet<MemberIndex>,
    votes: BTreeMap<Subject, BTreeMap<MemberIndex, Signature>>,
    /// The same in a committee with aggregates.
    sums: BTreeMap<Subject, Partial>,
    /// Certificates made of votes for either of two blocks.
    certificates: VecDeque<Certified>,
    seconds: BTreeMap<(View, Height), Propose>,
    view_changes: BTreeMap<View, BTreeMap<MemberIndex, ViewChange>>,
    /// What view changes of these members said once.
    said: VecDeque<(Committed, Option<Tip>)>,
    remembered: VecDeque<PeerMessage>,
    /// Lies told.
    pub told: Tally,
}

impl Coalition {
    /// The liars of a run.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            members: options.liars.clone(),
            size: options.validators,
            lies: options.lies.clone(),
            silent: BTreeSet::new(),
            victims: BTreeSet::new(),
            side: BTreeSet::new(),
            votes: BTreeMap::new(),
            sums: BTreeMap::new(),
            certificates: VecDeque::new(),
            seconds: BTreeMap::new(),
            view_changes: BTreeMap::new(),
            said: VecDeque::new(),
            remembered: VecDeque::new(),
            told: Tally::default(),
        }
    }

    fn tells(&self, lie: Lie) -> bool {
        self.lies.contains(&lie)
    }

    fn tell(&mut self, lie: Lie) {
        self.told.count(Fault::Lie(lie));
    }

    /// A message reaches a liar.
    pub fn hear(&mut self, setup: &Setup, message: &PeerMessage) {
        match message {
            PeerMessage::Vote(vote) => self.on_vote(setup, vote),
            PeerMessage::Partial(partial) => self.on_partial(setup, partial),
            PeerMessage::ViewChange(change) => {
                let of_view = self.view_changes.entry(change.new_view).or_default();
                of_view.insert(change.member, (**change).clone());
                bound(&mut self.view_changes);
            }
            _ => {}
        }
        let worth = matches!(
            message,
            PeerMessage::Vote(_)
                | PeerMessage::Partial(_)
                | PeerMessage::Collect(_)
                | PeerMessage::Certified(_)
                | PeerMessage::Propose(_)
                | PeerMessage::ViewChange(_)
                | PeerMessage::NewView(_)
                | PeerMessage::AuthorBlock(_)
                | PeerMessage::ResetRequest(_)
                | PeerMessage::Blocks(_)
        );
        if self.tells(Lie::Replay) && worth {
            self.remembered.push_back(message.clone());
            if self.remembered.len() > REMEMBERED_MAX {
                self.remembered.pop_front();
            }
        }
    }

    /// Votes of honest members for one subject, with those of all liars, may be a quorum.
    fn on_vote(&mut self, setup: &Setup, vote: &Vote) {
        if !self.tells(Lie::Equivocate) {
            return;
        }
        let subject = vote.subject;
        let votes = self.votes.entry(subject).or_default();
        votes.insert(vote.member, vote.signature);
        for member in &self.members {
            votes
                .entry(*member)
                .or_insert_with(|| sign(setup, *member, &subject).signature);
        }
        let committee = &setup.epoch.committees[0];
        if votes.len() == committee.quorum() {
            let signatures = votes
                .iter()
                .map(|(member, signature)| (*member, *signature))
                .collect();
            let certificate = Certificate {
                view: subject.view,
                committee: self.size,
                signatures: Signatures::List(signatures),
            };
            self.certificates.push_back(Certified { subject, certificate });
        }
        bound(&mut self.votes);
    }

    /// The same of a committee with aggregates.
    fn on_partial(&mut self, setup: &Setup, partial: &Partial) {
        if !self.tells(Lie::Equivocate) {
            return;
        }
        let subject = partial.subject;
        let Some(first) = self.members.first() else {
            return;
        };
        let sum = self
            .sums
            .entry(subject)
            .or_insert_with(|| sign_partial(setup, *first, subject));
        let before = sum.signers.len();
        let own = self
            .members
            .iter()
            .map(|member| sign_partial(setup, *member, subject));
        for part in own.chain([partial.clone()]) {
            if sum.signers.is_disjoint(&part.signers)
                && let Some(more) = cosign::sum_partials(&setup.certificates, &[sum, &part])
            {
                *sum = more;
            }
        }
        let quorum = setup.epoch.committees[0].quorum();
        if before < quorum && sum.signers.len() >= quorum {
            let certificate = Certificate {
                view: subject.view,
                committee: self.size,
                signatures: Signatures::Aggregate {
                    signers: sum.signers,
                    signature: sum.signature,
                },
            };
            self.certificates.push_back(Certified { subject, certificate });
        }
        bound(&mut self.sums);
    }

    /// A liar's replica sends a message: what goes out in its place.
    pub fn speak(
        &mut self,
        rng: &mut SimRng,
        setup: &Setup,
        (from, to): (MemberIndex, MemberIndex),
        message: PeerMessage,
    ) -> Vec<PeerMessage> {
        if self.silent.contains(&from) {
            self.tell(Lie::Silence);
            return Vec::new();
        }
        let kept_back = matches!(
            message,
            PeerMessage::Propose(_)
                | PeerMessage::AuthorBlock(_)
                | PeerMessage::Certified(_)
                | PeerMessage::NewView(_)
                | PeerMessage::Block(_)
        );
        if self.tells(Lie::Withhold) && kept_back && self.victims.contains(&to) {
            self.tell(Lie::Withhold);
            return Vec::new();
        }
        if self.tells(Lie::Garbage) && rng.chance(150) {
            self.tell(Lie::Garbage);
            let garbage = garbage::of(rng, setup, from, &message);
            return if rng.chance(500) {
                vec![garbage]
            } else {
                vec![garbage, message]
            };
        }
        match message {
            PeerMessage::Propose(propose) => self.propose(rng, setup, (from, to), propose),
            PeerMessage::Vote(vote) => {
                let other = |subject: &Subject| PeerMessage::Vote(sign(setup, from, subject));
                self.vote(rng, vote.subject, PeerMessage::Vote(vote.clone()), other)
            }
            PeerMessage::Partial(partial) => {
                let other = |subject: &Subject| PeerMessage::Partial(sign_partial(setup, from, *subject));
                self.vote(rng, partial.subject, PeerMessage::Partial(partial.clone()), other)
            }
            PeerMessage::ViewChange(change) => self.view_change(rng, setup, to, *change),
            PeerMessage::NewView(opening) => self.opening(rng, setup, to, *opening),
            other => vec![other],
        }
    }

    fn propose(
        &mut self,
        rng: &mut SimRng,
        setup: &Setup,
        (from, to): (MemberIndex, MemberIndex),
        propose: Propose,
    ) -> Vec<PeerMessage> {
        if !self.tells(Lie::Equivocate) || !self.side.contains(&to) {
            return vec![PeerMessage::Propose(propose)];
        }
        let at = (propose.view, propose.block.header.height);
        let second = self.seconds.entry(at).or_insert_with(|| {
            let mut second = propose.clone();
            // As valid as the first; beside the base of a view it is a block made in that view, at its height.
            second.block.header.timestamp += 1;
            second.block.header.view = second.view;
            resign(setup, from, &mut second);
            second
        });
        let second = PeerMessage::Propose(second.clone());
        bound(&mut self.seconds);
        self.tell(Lie::Equivocate);
        if rng.chance(200) {
            vec![second, PeerMessage::Propose(propose)]
        } else {
            vec![second]
        }
    }

    /// A vote for `subject`, with others that `sign` makes.
    fn vote(
        &mut self,
        rng: &mut SimRng,
        subject: Subject,
        vote: PeerMessage,
        sign: impl Fn(&Subject) -> PeerMessage,
    ) -> Vec<PeerMessage> {
        if !self.tells(Lie::DoubleVote) {
            return vec![vote];
        }
        self.tell(Lie::DoubleVote);
        let second = self
            .seconds
            .get(&(subject.view, subject.height))
            .map(|second| final_header_hash(&second.block.header))
            .filter(|hash| *hash != subject.hash)
            .unwrap_or(Hash([rng.below(256) as u8; 32]));
        let other = sign(&Subject {
            hash: second,
            ..subject
        });
        let early = sign(&Subject {
            phase: Phase::Commit,
            ..subject
        });
        let mut votes = vec![vote, other, early];
        let first = rng.below(votes.len() as u64) as usize;
        votes.swap(0, first);
        votes
    }

    fn view_change(
        &mut self,
        rng: &mut SimRng,
        setup: &Setup,
        to: MemberIndex,
        change: ViewChange,
    ) -> Vec<PeerMessage> {
        self.said
            .push_back((change.committed.clone(), change.tip.clone()));
        if self.said.len() > KEPT_MAX {
            self.said.pop_front();
        }
        if !self.tells(Lie::StaleViewChange) || !(self.side.contains(&to) || rng.chance(500)) {
            return vec![PeerMessage::ViewChange(Box::new(change))];
        }
        self.tell(Lie::StaleViewChange);
        let stale = self.stale_view_change(rng, setup, change.member, change.new_view);
        vec![PeerMessage::ViewChange(Box::new(stale))]
    }

    /// A view change that says less than its sender knows; the rules let it pass.
    fn stale_view_change(
        &self,
        rng: &mut SimRng,
        setup: &Setup,
        member: MemberIndex,
        new_view: View,
    ) -> ViewChange {
        let at = rng.below(self.said.len() as u64) as usize;
        let old = self.said.get(at).filter(|_| rng.chance(600));
        let below = |certified: &Certified| certified.subject.view < new_view;
        let genesis = Committed {
            height: Height(0),
            hash: setup.context.genesis_hash,
            proof: None,
        };
        let (committed, tip) = old.cloned().unwrap_or((genesis.clone(), None));
        let mut change = ViewChange {
            new_view,
            committed: if committed.proof.as_ref().is_none_or(below) {
                committed
            } else {
                genesis
            },
            tip: tip.filter(below).filter(|_| rng.chance(500)),
            member,
            signature: Signature::default(),
        };
        change.signature =
            cosign::sign_view_change(&setup.keys[usize::from(member.0)], &setup.context, &change);
        change
    }

    fn opening(
        &mut self,
        rng: &mut SimRng,
        setup: &Setup,
        to: MemberIndex,
        opening: NewView,
    ) -> Vec<PeerMessage> {
        for change in &opening.view_changes {
            let of_view = self.view_changes.entry(opening.view).or_default();
            of_view.entry(change.member).or_insert_with(|| change.clone());
        }
        if self.tells(Lie::SecondOpening)
            && self.side.contains(&to)
            && let Some(second) = self.second_opening(rng, setup, opening.view)
        {
            self.tell(Lie::SecondOpening);
            let second = PeerMessage::NewView(Box::new(second));
            return if rng.chance(300) {
                vec![PeerMessage::NewView(Box::new(opening)), second]
            } else {
                vec![second]
            };
        }
        vec![PeerMessage::NewView(Box::new(opening))]
    }

    /// Another quorum of view changes of a view that a liar leads; those of liars say as little as they can.
    fn second_opening(&self, rng: &mut SimRng, setup: &Setup, view: View) -> Option<NewView> {
        let committee = &setup.epoch.committees[0];
        let leader = committee.leader(view);
        let mut known = self.view_changes.get(&view)?.clone();
        for member in &self.members {
            known.insert(*member, self.stale_view_change(rng, setup, *member, view));
        }
        while known.len() > committee.quorum() {
            let at = rng.below(known.len() as u64) as usize;
            let drop = known.keys().nth(at).copied()?;
            known.remove(&drop);
        }
        if known.len() < committee.quorum() || !self.members.contains(&leader) {
            return None;
        }
        let mut opening = NewView {
            view,
            view_changes: known.into_values().collect(),
            signature: Signature::default(),
        };
        opening.signature =
            cosign::sign_new_view(&setup.keys[usize::from(leader.0)], &setup.context, &opening);
        Some(opening)
    }

    /// What liars say on their own, with sender and receiver; and who they cheat from now on.
    pub fn act(&mut self, rng: &mut SimRng, setup: &Setup) -> Vec<(MemberIndex, MemberIndex, PeerMessage)> {
        if rng.chance(300) {
            self.victims = self.some(rng);
            self.side = self.some(rng);
        }
        if self.tells(Lie::Silence) && rng.chance(100) {
            self.silent = if self.silent.is_empty() {
                self.members.clone()
            } else {
                BTreeSet::new()
            };
        }
        let members: Vec<_> = self.members.iter().copied().collect();
        let Some(from) = rng.pick(&members).copied() else {
            return Vec::new();
        };
        let mut said = Vec::new();
        while let Some(certified) = self.certificates.pop_front() {
            for to in self.some(rng) {
                said.push((from, to, PeerMessage::Certified(certified.clone())));
            }
        }
        if self.tells(Lie::Replay) && !self.remembered.is_empty() {
            for _ in 0..rng.between(1, 8) {
                let at = rng.below(self.remembered.len() as u64) as usize;
                let to = MemberIndex(rng.below(self.size.into()) as u16);
                said.push((from, to, self.remembered[at].clone()));
                self.tell(Lie::Replay);
            }
        }
        if self.tells(Lie::SecondOpening) && rng.chance(300) {
            let led = |view: &&View| self.members.contains(&setup.epoch.committees[0].leader(**view));
            let view = self.view_changes.keys().rev().find(led).copied();
            let opening = view.and_then(|view| Some((view, self.second_opening(rng, setup, view)?)));
            if let Some((view, opening)) = opening {
                let leader = setup.epoch.committees[0].leader(view);
                self.tell(Lie::SecondOpening);
                for to in self.some(rng) {
                    said.push((leader, to, PeerMessage::NewView(Box::new(opening.clone()))));
                }
            }
        }
        said.retain(|(from, to, _)| from != to);
        said
    }

    fn some(&self, rng: &mut SimRng) -> BTreeSet<MemberIndex> {
        let share = rng.between(200, 800);
        (0..self.size)
            .map(MemberIndex)
            .filter(|_| rng.chance(share))
            .collect()
    }
}

fn sign(setup: &Setup, member: MemberIndex, subject: &Subject) -> Vote {
    let signature = cosign::sign_subject(&setup.keys[usize::from(member.0)], &setup.context, subject);
    Vote {
        subject: *subject,
        member,
        signature,
    }
}

fn sign_partial(setup: &Setup, member: MemberIndex, subject: Subject) -> Partial {
    let secret = setup.keys[usize::from(member.0)].voting();
    cosign::sign_partial(
        &secret,
        &setup.context,
        &setup.epoch.committees[0],
        member,
        subject,
    )
}

fn resign(setup: &Setup, from: MemberIndex, propose: &mut Propose) {
    propose.signature = cosign::sign_propose(
        &setup.keys[usize::from(from.0)],
        &setup.context,
        propose.view,
        &propose.block.header,
    );
}

fn bound<K: Ord, V>(kept: &mut BTreeMap<K, V>) {
    while kept.len() > KEPT_MAX {
        kept.pop_first();
    }
}
