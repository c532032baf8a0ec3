//! Votes of committees with aggregates: up the tree, summed on the way, and past it where it fails (`ios` 9.5).
//!
//! A leaf votes to its sub-leader. That one waits until its branch is complete, at most the shard's delay bound,
//! checks the sum and sends it up; what comes later it sends up at once. The leader adds sums up until a quorum is in
//! and checks the whole once. Where that fails it checks sum by sum; who sent a wrong one is not trusted for 16
//! heights, and its branch votes straight to the leader. So does whoever is missing a delay bound after the first sum,
//! and everybody for the rest of 16 heights once two branches stayed silent. Proposals and certificates go straight
//! down: they are small, and their receivers are connected anyway.

use std::collections::{BTreeMap, VecDeque};

use crypto::bls::VotingSecret;
use crypto::{cosign, placement};
use types::certificate::{Certificate, Partial, Phase, Signatures, Signers, Subject};
use types::message::{Certified, Collect, PeerMessage, Trace};
use types::{Hash, Height, MemberIndex, Time};

use crate::firsts::FirstVotes;
use crate::machine::{Outgoing, Output, Pbft, Target};
use crate::planted::PlantedBug;
use crate::tree::{RESHUFFLE_HEIGHTS, Tree, end_of, window_of};

/// Ranges of heights that a leader may ask for at a time; the oldest goes first.
const COLLECTS_HELD_MAX: usize = 8;
/// Silent branches of one window after which all vote straight to the leader.
const SILENT_BRANCHES_MAX: usize = 2;
/// A leader that hears from no branch waits this many delay bounds after its own vote: down, up, the sub-leader's
/// wait, and up again.
const SILENCE_DELAYS: u32 = 4;

/// What a voter of a committee with aggregates holds besides what every voter does.
#[derive(Debug)]
pub(crate) struct Collecting {
    secret: VotingSecret,
    /// Own votes of the current view: they are signed once.
    signed: BTreeMap<Subject, Partial>,
    trees: BTreeMap<u64, Tree>,
    /// Votes and sums of others, as leader or sub-leader.
    collections: BTreeMap<Subject, Collection>,
    /// Who sent something wrong, and the height from which that is forgotten.
    distrusted: BTreeMap<MemberIndex, Height>,
    /// What the leader of the view wants sent past the tree.
    direct: VecDeque<(Height, Height)>,
    pub(crate) firsts: FirstVotes,
    /// As leader: branches that stayed silent, by window.
    silent_branches: BTreeMap<u64, usize>,
}

/// Votes for one subject.
#[derive(Debug, Default)]
struct Collection {
    parts: Vec<Part>,
    /// As sub-leader: whose votes went up already.
    sent: Signers,
    /// When a sub-leader sends what it has, or a leader asks those who are missing.
    due: Option<Time>,
    /// As leader: whether a sum of a branch came in.
    heard: bool,
    /// Nothing more is wanted: certified, or, of a sub-leader, sent once.
    done: bool,
}

#[derive(Debug)]
struct Part {
    from: MemberIndex,
    partial: Partial,
    /// Known to be right.
    checked: bool,
}

impl Collecting {
    pub(crate) const fn new(secret: VotingSecret) -> Self {
        Self {
            secret,
            signed: BTreeMap::new(),
            trees: BTreeMap::new(),
            collections: BTreeMap::new(),
            distrusted: BTreeMap::new(),
            direct: VecDeque::new(),
            firsts: FirstVotes::new(),
            silent_branches: BTreeMap::new(),
        }
    }

    /// Everything but distrust is of one view.
    pub(crate) fn leave_view(&mut self) {
        self.signed.clear();
        self.trees.clear();
        self.collections.clear();
        self.direct.clear();
        self.firsts.clear();
        self.silent_branches.clear();
    }

    pub(crate) fn forget_below(&mut self, committed: Height) {
        self.signed.retain(|subject, _| subject.height > committed);
        self.collections.retain(|subject, _| subject.height > committed);
        self.distrusted.retain(|_, until| *until > committed);
        self.direct.retain(|(_, until)| *until > committed);
        self.firsts.retain(|(_, height, _), _| *height > committed);
        let window = window_of(committed);
        self.trees.retain(|at, _| *at >= window);
        self.silent_branches.retain(|at, _| *at >= window);
    }

    /// When something is due.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.collections
            .values()
            .filter_map(|collection| collection.due)
            .min()
    }

    fn is_distrusted(&self, member: MemberIndex, height: Height) -> bool {
        self.distrusted.get(&member).is_some_and(|until| height < *until)
    }
}

impl Pbft {
    /// Own vote for a subject, signed once.
    pub(crate) fn own_partial(&mut self, subject: Subject) -> Option<Partial> {
        let config = &self.config;
        let collecting = self.collecting.as_mut()?;
        let sign = || {
            cosign::sign_partial(
                &collecting.secret,
                &config.context,
                &config.committee,
                config.me,
                subject,
            )
        };
        Some(collecting.signed.entry(subject).or_insert_with(sign).clone())
    }

    /// Whom an own vote of a height goes to.
    pub(crate) fn vote_target(&mut self, height: Height) -> MemberIndex {
        let leader = self.config.committee.leader(self.view);
        let me = self.config.me;
        let wanted = |collecting: &Collecting| {
            let mut ranges = collecting.direct.iter();
            ranges.any(|(from, until)| (*from..=*until).contains(&height))
        };
        if self.collecting.as_ref().is_none_or(wanted) {
            return leader;
        }
        self.tree(height)
            .and_then(|tree| tree.above(me))
            .unwrap_or(leader)
    }

    fn tree(&mut self, height: Height) -> Option<&Tree> {
        let (config, view, window) = (&self.config, self.view, window_of(height));
        let committee = &config.committee;
        let arrange = || {
            let voters = committee.size() as u16;
            let drawn = placement::tree_order(&config.randomness, committee.shard, view, window, voters);
            Tree::new(committee.leader(view), &drawn)
        };
        Some(
            self.collecting
                .as_mut()?
                .trees
                .entry(window)
                .or_insert_with(arrange),
        )
    }

    /// Votes of a committee with aggregates: one, or some summed up.
    pub fn handle_partial(&mut self, now: Time, from: MemberIndex, partial: Partial) {
        let subject = partial.subject;
        let (committed, _) = self.committed();
        if self.collecting.is_none() {
            return self.refuse();
        }
        if subject.view != self.view || subject.height <= committed {
            return;
        }
        let fits = matches!(subject.phase, Phase::Prepare | Phase::Commit)
            && subject.height.0 <= committed.0 + 4 * self.config.policy.window
            && usize::from(partial.committee) == self.config.committee.size()
            && !partial.signers.is_empty();
        if !fits {
            return self.refuse();
        }
        if partial.signers == Signers::of(from) {
            self.look_for_two_partials(from, &partial);
        }
        if self.is_leader() {
            self.collect_as_leader(now, from, partial);
        } else {
            self.collect_as_sub_leader(now, from, partial);
        }
    }

    fn collect_as_leader(&mut self, now: Time, from: MemberIndex, partial: Partial) {
        let subject = partial.subject;
        if !self.active || self.silent {
            return;
        }
        let branch = self.tree(subject.height).and_then(|tree| tree.branch(from));
        let own = Signers::of(from);
        let allowed = branch.unwrap_or(own);
        let proposed = self.proposal_hash(subject.view, subject.height);
        if proposed != Some(subject.hash) || !partial.signers.without(&allowed).is_empty() {
            return self.refuse();
        }
        let is_alone = partial.signers == own;
        if !is_alone && self.is_distrusted(from, subject.height) || !self.take(from, partial) {
            return;
        }
        let delay = self.config.policy.shard_delay;
        if let Some(collection) = self.collection(&subject) {
            // Not before sub-leaders that wait for a leaf have sent what they have.
            if branch.is_some() && !collection.heard {
                (collection.heard, collection.due) = (true, Some(now + delay));
            } else if collection.due.is_none() && !collection.heard {
                collection.due = Some(now + SILENCE_DELAYS * delay);
            }
        }
        self.try_certify(now, subject);
    }

    fn collect_as_sub_leader(&mut self, now: Time, from: MemberIndex, partial: Partial) {
        let (me, subject) = (self.config.me, partial.subject);
        let branch = self.tree(subject.height).and_then(|tree| tree.branch(me));
        let Some(branch) = branch.filter(|branch| branch.contains(from)) else {
            return self.refuse();
        };
        if partial.signers != Signers::of(from) {
            return self.refuse();
        }
        if !self.take(from, partial) {
            return;
        }
        let due = now + self.config.policy.shard_delay;
        // Nobody waits for one that sent something wrong.
        let awaited: Signers = branch
            .iter()
            .filter(|member| !self.is_distrusted(*member, subject.height))
            .collect();
        let Some(collection) = self.collection(&subject) else {
            return;
        };
        let gathered = collection.parts.iter().map(|part| &part.partial.signers);
        let gathered = gathered.fold(Signers::default(), |sum, signers| sum.union(signers));
        if collection.done || awaited.without(&gathered).is_empty() {
            self.send_up(subject);
        } else if collection.due.is_none() {
            collection.due = Some(due);
        }
    }

    /// Keeps what a member sent; false when it said so before, or when it is wrong.
    ///
    /// One vote per voter, phase and height counts of each sender: a second, different one cannot fill memory.
    fn take(&mut self, from: MemberIndex, partial: Partial) -> bool {
        let subject = partial.subject;
        let (config, verifier) = (&self.config, &self.verifier);
        let twice = self.is_planted(PlantedBug::PartialCountedTwice);
        let Some(collecting) = &mut self.collecting else {
            return false;
        };
        let first = Subject {
            hash: Hash([0; 32]),
            ..subject
        };
        let last = Subject {
            hash: Hash([0xff; 32]),
            ..subject
        };
        let is_known = |(_, collection): (&Subject, &Collection)| {
            let mut parts = collection.parts.iter().filter(|part| part.from == from);
            !collection.sent.is_disjoint(&partial.signers)
                || parts.any(|part| !part.partial.signers.is_disjoint(&partial.signers))
        };
        let is_done = collecting
            .collections
            .get(&subject)
            .is_some_and(|at| at.done && at.sent.is_empty());
        if is_done || (!twice && collecting.collections.range(first..=last).any(is_known)) {
            return false;
        }
        let checked = collecting.is_distrusted(from, subject.height);
        if checked && !cosign::verify_partial(&config.context, verifier, &partial) {
            self.refuse();
            return false;
        }
        let part = Part {
            from,
            partial,
            checked,
        };
        collecting
            .collections
            .entry(subject)
            .or_default()
            .parts
            .push(part);
        true
    }

    /// Adds up what is there; certifies when a quorum is in and the sum is right.
    fn try_certify(&mut self, now: Time, subject: Subject) {
        let quorum = self.quorum();
        let twice = self.is_planted(PlantedBug::PartialCountedTwice);
        let count = |parts: &[Part]| {
            let all: usize = parts.iter().map(|part| part.partial.signers.len()).sum();
            let (_, signers) = disjoint(parts);
            if twice { all } else { signers.len() }
        };
        let Some(collection) = self.collection(&subject) else {
            return;
        };
        if count(&collection.parts) < quorum {
            return;
        }
        if !self.check_parts(&subject) {
            return;
        }
        let verifier = &self.verifier;
        let collection = self
            .collecting
            .as_mut()
            .and_then(|at| at.collections.get_mut(&subject));
        let Some(collection) = collection.filter(|at| count(&at.parts) >= quorum) else {
            return;
        };
        let (parts, _) = disjoint(&collection.parts);
        let Some(sum) = cosign::sum_partials(verifier, &parts) else {
            return;
        };
        *collection = Collection {
            done: true,
            ..Collection::default()
        };
        let certified = certified(&sum);
        self.remember(&certified);
        self.send(Target::Others, PeerMessage::Certified(certified.clone()));
        self.on_certified(now, certified);
    }

    /// As sub-leader: sends up what has not gone up yet.
    fn send_up(&mut self, subject: Subject) {
        if !self.check_parts(&subject) {
            return;
        }
        let verifier = &self.verifier;
        let collection = self
            .collecting
            .as_mut()
            .and_then(|at| at.collections.get_mut(&subject));
        let Some(collection) = collection else {
            return;
        };
        collection.due = None;
        let (parts, _) = disjoint(&collection.parts);
        let Some(sum) = cosign::sum_partials(verifier, &parts) else {
            return;
        };
        collection.done = true;
        collection.sent = collection.sent.union(&sum.signers);
        collection.parts.clear();
        self.note_partial(&sum);
        let leader = self.config.committee.leader(self.view);
        self.send(Target::Member(leader), PeerMessage::Partial(sum));
    }

    /// Checks the sum of all parts, and where it is wrong each alone: what is wrong goes, and so does the trust in who
    /// sent it. False when nothing is left.
    fn check_parts(&mut self, subject: &Subject) -> bool {
        let (config, verifier) = (&self.config, &self.verifier);
        let collection = self
            .collecting
            .as_mut()
            .and_then(|at| at.collections.get_mut(subject));
        let Some(collection) = collection.filter(|at| !at.parts.is_empty()) else {
            return false;
        };
        if collection.parts.iter().all(|part| part.checked) {
            return true;
        }
        let is_right = |partial: &Partial| cosign::verify_partial(&config.context, verifier, partial);
        let (parts, _) = disjoint(&collection.parts);
        let whole = cosign::sum_partials(verifier, &parts);
        if whole.is_some_and(|sum| is_right(&sum)) {
            return true;
        }
        let mut wrong = Vec::new();
        collection.parts.retain_mut(|part| {
            part.checked = part.checked || is_right(&part.partial);
            if !part.checked {
                wrong.push((part.from, part.partial.signers));
            }
            part.checked
        });
        let left = !collection.parts.is_empty();
        for (from, signers) in wrong {
            self.refuse();
            self.distrust(from, &signers, subject.height);
        }
        left
    }

    fn distrust(&mut self, member: MemberIndex, signers: &Signers, height: Height) {
        let until = Height(height.0.saturating_add(RESHUFFLE_HEIGHTS));
        if let Some(collecting) = &mut self.collecting {
            collecting.distrusted.insert(member, until);
        }
        // A sub-leader: its branch votes past it, for this height and those for which its sums are not taken.
        if self.is_leader() && *signers != Signers::of(member) {
            let members = self
                .tree(height)
                .and_then(|tree| tree.branch(member))
                .unwrap_or_default();
            self.collect_from(&members, height, Height(until.0.saturating_sub(1)));
        }
    }

    /// As leader, before a height is proposed: branches below sub-leaders that are not trusted are asked at the start
    /// of each window.
    pub(crate) fn arrange(&mut self, height: Height) {
        let begins = self
            .collecting
            .as_ref()
            .is_some_and(|at| !at.trees.contains_key(&window_of(height)));
        if !begins {
            return;
        }
        let branches = self
            .tree(height)
            .map(|tree| tree.branches().to_vec())
            .unwrap_or_default();
        for (top, members) in branches {
            if self.is_distrusted(top, height) {
                self.collect_from(&members, height, end_of(window_of(height)));
            }
        }
    }

    fn is_distrusted(&self, member: MemberIndex, height: Height) -> bool {
        self.collecting
            .as_ref()
            .is_some_and(|at| at.is_distrusted(member, height))
    }

    /// As leader: asks members for their votes past the tree.
    fn collect_from(&mut self, members: &Signers, from: Height, until: Height) {
        let collect = Collect {
            view: self.view,
            from,
            until,
        };
        let me = self.config.me;
        for member in members.iter().filter(|member| *member != me) {
            self.send(Target::Member(member), PeerMessage::Collect(collect));
        }
    }

    /// The leader wants votes past the tree: those made and those to come.
    pub fn handle_collect(&mut self, from: MemberIndex, collect: Collect) {
        let (committed, _) = self.committed();
        let leader = self.config.committee.leader(self.view);
        if collect.view != self.view || collect.until <= committed {
            return;
        }
        let near = collect.from.0 <= committed.0 + 4 * self.config.policy.window
            && collect.from <= collect.until
            && collect.until.0 - collect.from.0 < 2 * RESHUFFLE_HEIGHTS;
        let range = (collect.from, collect.until);
        let Some(collecting) = self.collecting.as_mut().filter(|_| near && from == leader) else {
            return self.refuse();
        };
        if !collecting.direct.contains(&range) {
            if collecting.direct.len() == COLLECTS_HELD_MAX {
                collecting.direct.pop_front();
            }
            collecting.direct.push_back(range);
        }
        let wanted = |subject: &Subject| (range.0..=range.1).contains(&subject.height);
        let subjects: Vec<Subject> = self.own_votes().into_iter().filter(wanted).collect();
        let then: Vec<Outgoing> = subjects
            .into_iter()
            .filter_map(|subject| self.own_partial(subject))
            .map(|partial| Outgoing {
                to: Target::Member(leader),
                message: PeerMessage::Partial(partial),
            })
            .collect();
        if !then.is_empty() {
            // Behind the records of those votes, which may not be durable yet.
            self.outputs.push_back(Output::Persist {
                records: Vec::new(),
                then,
            });
        }
    }

    /// Sends up or asks for what is due.
    pub(crate) fn handle_due(&mut self, now: Time) {
        let Some(collecting) = &mut self.collecting else {
            return;
        };
        let mut due = Vec::new();
        for (subject, collection) in &mut collecting.collections {
            if collection.due.is_some_and(|at| now >= at) {
                collection.due = None;
                due.push(*subject);
            }
        }
        for subject in due {
            if self.is_leader() {
                self.ask_missing(subject);
            } else {
                self.send_up(subject);
            }
        }
    }

    fn ask_missing(&mut self, subject: Subject) {
        let window = window_of(subject.height);
        let branches = self
            .tree(subject.height)
            .map(|tree| tree.branches().to_vec())
            .unwrap_or_default();
        let voters: Signers = (0..self.config.committee.size() as u16)
            .map(MemberIndex)
            .collect();
        let Some(collecting) = &mut self.collecting else {
            return;
        };
        let Some(collection) = collecting.collections.get(&subject).filter(|at| !at.done) else {
            return;
        };
        let (_, held) = disjoint(&collection.parts);
        let is_silent = |top: MemberIndex| collection.parts.iter().all(|part| part.from != top);
        let silent = branches.iter().filter(|(top, _)| is_silent(*top)).count();
        let count = collecting.silent_branches.entry(window).or_default();
        let before = *count;
        *count += silent;
        let star = before < SILENT_BRANCHES_MAX && *count >= SILENT_BRANCHES_MAX;
        if star {
            self.collect_from(&voters, subject.height, end_of(window));
        } else {
            self.collect_from(&voters.without(&held), subject.height, subject.height);
        }
    }

    fn collection(&mut self, subject: &Subject) -> Option<&mut Collection> {
        self.collecting.as_mut()?.collections.get_mut(subject)
    }

    /// Remembers that everyone in a sum that was checked has signed.
    pub(crate) fn note_partial(&mut self, partial: &Partial) {
        for member in partial.signers.iter() {
            self.traces.insert(member, Trace::Partial(partial.clone()));
        }
    }
}

/// Parts that share no signer, the largest first, and all their signers.
fn disjoint(parts: &[Part]) -> (Vec<&Partial>, Signers) {
    let mut sorted: Vec<&Partial> = parts.iter().map(|part| &part.partial).collect();
    sorted.sort_by_key(|partial| std::cmp::Reverse(partial.signers.len()));
    let mut signers = Signers::default();
    sorted.retain(|partial| {
        let fits = signers.is_disjoint(&partial.signers);
        if fits {
            signers = signers.union(&partial.signers);
        }
        fits
    });
    (sorted, signers)
}

fn certified(sum: &Partial) -> Certified {
    Certified {
        subject: sum.subject,
        certificate: Certificate {
            view: sum.subject.view,
            committee: sum.committee,
            signatures: Signatures::Aggregate {
                signers: sum.signers,
                signature: sum.signature,
            },
        },
    }
}
