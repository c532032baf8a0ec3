//! View change (`ios` 9.7): promises, openings, and the choice of the base.

use std::collections::BTreeSet;

use crypto::cosign;
use types::certificate::Phase;
use types::message::{Committed, NewView, PeerMessage, Trace, ViewChange};
use types::record::LogRecord;
use types::{Hash, Height, MemberIndex, Signature, Time, View};

use crate::machine::{Outgoing, Output, Pbft, Target};
use crate::planted::PlantedBug;

/// The block that a view builds on: the tip with the highest (view, height) among all of them, with no filter by
/// height, if it is above the highest committed height; else the committed block (`choose_base` of `ios` 22).
#[must_use]
pub fn choose_base(view_changes: &[ViewChange], genesis: Hash) -> (Height, Hash) {
    base_of(view_changes, genesis, false)
}

fn base_of(view_changes: &[ViewChange], genesis: Hash, filter_by_height: bool) -> (Height, Hash) {
    let committed = view_changes
        .iter()
        .map(|change| (change.committed.height, change.committed.hash))
        .max_by_key(|(height, _)| *height)
        .unwrap_or((Height(0), genesis));
    let tip = view_changes
        .iter()
        .filter_map(|change| change.tip.as_ref())
        .map(|tip| tip.subject)
        .filter(|subject| !filter_by_height || subject.height > committed.0)
        .max_by_key(|subject| (subject.view, subject.height));
    match tip {
        Some(subject) if subject.height > committed.0 => (subject.height, subject.hash),
        _ => committed,
    }
}

/// Growth of the view timeout stops here: 2^6 times its start.
const DOUBLINGS_MAX: u32 = 6;
/// A suspicion of another voter counts for this many starting timeouts; one that lasts is said again in each.
const SUSPICION_TIMEOUTS: u32 = 4;

impl Pbft {
    /// Would leave the current view: its timer fired, or the leader's conduct is a reason (`ios` 9.7, 9.8).
    ///
    /// The promise follows when `f + 1` would, this voter among them. A promise cannot be taken back: a voter that gave
    /// it alone, because it alone was paused, cut off or slow, could not vote while the others stay in the view.
    pub fn suspect(&mut self, now: Time) {
        if self.timer.give_up.is_some() {
            self.timer.give_up = Some(now + self.timer.timeout);
        }
        if self.silent {
            return;
        }
        self.suspecting = true;
        self.send(Target::Others, PeerMessage::Suspect(self.view));
        self.leave_if_suspected(now);
    }

    /// Another voter would leave a view.
    pub fn handle_suspect(&mut self, now: Time, from: MemberIndex, view: View) {
        if self.config.committee.voter_key(from).is_none() || from == self.config.me {
            return self.refuse();
        }
        self.suspects.insert(from, (view, now));
        self.leave_if_suspected(now);
    }

    fn leave_if_suspected(&mut self, now: Time) {
        if !self.suspecting {
            return;
        }
        let fresh = |at: Time| now.since(at) <= SUSPICION_TIMEOUTS * self.timer.start;
        let suspects = self
            .suspects
            .iter()
            .filter(|(_, (view, at))| *view >= self.view && fresh(*at))
            .map(|(member, _)| *member);
        let gone = self
            .view_changes
            .iter()
            .filter(|(member, change)| change.new_view > self.view && **member != self.config.me)
            .map(|(member, _)| *member);
        let others: BTreeSet<MemberIndex> = suspects.chain(gone).collect();
        if others.len() >= self.config.committee.faulty_max() {
            self.timer.timeout = (self.timer.timeout * 2).min(self.timer.start * 2_u32.pow(DOUBLINGS_MAX));
            self.start_view_change(now, self.view.next());
        }
    }

    /// Leaves the view at once, as one does when enough others suspect it too: for schedules that choose the moment.
    pub fn leave_view(&mut self, now: Time) {
        self.start_view_change(now, self.view.next());
    }

    /// Promises to vote in no view below `view` ever again, and says what is held.
    pub(crate) fn start_view_change(&mut self, now: Time, view: View) {
        if view <= self.view || self.silent {
            return;
        }
        self.view = view;
        self.active = false;
        self.suspecting = false;
        self.opening = None;
        self.forget_votes();
        self.counters.view_changes += 1;
        // The timer of this view starts when a quorum is known to be here, so that a lone voter does not run ahead.
        self.timer.give_up = None;
        self.timer.resend = now + self.timer.start;
        let change = self.own_view_change();
        self.view_changes.insert(self.config.me, change.clone());
        let then = vec![Outgoing {
            to: Target::Others,
            message: PeerMessage::ViewChange(Box::new(change)),
        }];
        self.persist(vec![LogRecord::Promise(view)], then);
        self.on_view_changes(now);
    }

    pub(crate) fn own_view_change(&self) -> ViewChange {
        let committed = match &self.commit_certificate {
            Some(certified) => Committed {
                height: certified.subject.height,
                hash: certified.subject.hash,
                proof: Some(certified.clone()),
            },
            None => Committed {
                height: Height(0),
                hash: self.config.context.genesis_hash,
                proof: None,
            },
        };
        let mut change = ViewChange {
            new_view: self.view,
            committed,
            tip: self.tip.clone(),
            member: self.config.me,
            signature: Signature::default(),
        };
        change.signature = cosign::sign_view_change(&self.key, &self.config.context, &change);
        change
    }

    /// A view change of another voter.
    pub fn handle_view_change(&mut self, now: Time, from: MemberIndex, change: ViewChange) {
        if from != change.member || from == self.config.me {
            return self.refuse();
        }
        if self.active && change.new_view <= self.view {
            // The sender missed this view's opening.
            if let Some(opening) = self.opening.clone() {
                self.persist(
                    Vec::new(),
                    vec![Outgoing {
                        to: Target::Member(from),
                        message: PeerMessage::NewView(Box::new(opening)),
                    }],
                );
            }
            return;
        }
        let newer = self
            .view_changes
            .get(&from)
            .is_none_or(|held| held.new_view < change.new_view);
        if !newer {
            return;
        }
        if !self.is_view_change(&change) {
            return self.refuse();
        }
        self.traces
            .insert(from, Trace::ViewChange(Box::new(change.clone())));
        self.view_changes.insert(from, change);
        self.leave_if_suspected(now);
        self.on_view_changes(now);
    }

    /// Signature and certificates right, all of views below the one asked for (`ios` 9.7).
    fn is_view_change(&mut self, change: &ViewChange) -> bool {
        let config = &self.config;
        let Some(key) = config.committee.voter_key(change.member) else {
            return false;
        };
        if !cosign::verify_view_change(config.scheme, &config.context, key, change) {
            return false;
        }
        let committed = &change.committed;
        let committed_right = match &committed.proof {
            None => committed.height == Height(0) && committed.hash == config.context.genesis_hash,
            Some(proof) => {
                let subject = &proof.subject;
                subject.phase == Phase::Commit
                    && (subject.height, subject.hash) == (committed.height, committed.hash)
                    && subject.view < change.new_view
                    && self.is_certified(proof)
            }
        };
        let tip_right = change.tip.as_ref().is_none_or(|tip| {
            tip.subject.phase == Phase::Prepare
                && tip.subject.view < change.new_view
                && self.is_certified(tip)
        });
        committed_right && tip_right
    }

    /// Joins a view that enough others want, starts its timer, and opens it as its leader.
    pub(crate) fn on_view_changes(&mut self, now: Time) {
        let mut wanted: Vec<View> = self.view_changes.values().map(|change| change.new_view).collect();
        wanted.sort_unstable_by(|left, right| right.cmp(left));
        if let Some(&join) = wanted.get(self.config.committee.faulty_max())
            && join > self.view
        {
            return self.start_view_change(now, join);
        }
        if self.active || self.silent {
            return;
        }
        let here = wanted.iter().filter(|view| **view >= self.view).count();
        if here >= self.config.committee.quorum() && self.timer.give_up.is_none() {
            self.timer.give_up = Some(now + self.timer.timeout);
        }
        if !self.is_leader() {
            return;
        }
        let of_view = self
            .view_changes
            .values()
            .filter(|change| change.new_view == self.view);
        let view_changes: Vec<ViewChange> = of_view.take(self.quorum()).cloned().collect();
        if view_changes.len() < self.quorum() {
            return;
        }
        let mut opening = NewView {
            view: self.view,
            view_changes,
            signature: Signature::default(),
        };
        opening.signature = cosign::sign_new_view(&self.key, &self.config.context, &opening);
        let then = vec![Outgoing {
            to: Target::Others,
            message: PeerMessage::NewView(Box::new(opening.clone())),
        }];
        self.persist(vec![LogRecord::NewView(Box::new(opening.clone()))], then);
        self.open(now, opening);
    }

    /// The opening of a view by its leader. Only the first valid one of a view is ever accepted (`ios` 9.7).
    pub fn handle_new_view(&mut self, now: Time, opening: NewView) {
        let second = opening.view == self.view && self.active;
        let replaces = self.is_planted(PlantedBug::SecondNewView) && self.opening.as_ref() != Some(&opening);
        if opening.view < self.view || opening.view == View(0) || (second && !replaces) {
            return;
        }
        if !self.is_new_view(&opening) {
            return self.refuse();
        }
        self.persist(vec![LogRecord::NewView(Box::new(opening.clone()))], Vec::new());
        self.open(now, opening);
    }

    fn is_new_view(&mut self, opening: &NewView) -> bool {
        let config = &self.config;
        let Some(key) = config.committee.key(config.committee.leader(opening.view)) else {
            return false;
        };
        let senders: BTreeSet<_> = opening.view_changes.iter().map(|change| change.member).collect();
        senders.len() == opening.view_changes.len()
            && senders.len() >= self.quorum()
            && cosign::verify_new_view(config.scheme, &config.context, key, opening)
            && opening
                .view_changes
                .iter()
                .all(|change| change.new_view == opening.view && self.is_view_change(change))
    }

    /// Enters a view with its base.
    fn open(&mut self, now: Time, opening: NewView) {
        self.enter(&opening);
        let mut commits: Vec<_> = opening
            .view_changes
            .iter()
            .filter_map(|change| change.committed.proof.clone())
            .collect();
        // Taking these before any vote would hide what the wrong base does.
        if self.is_planted(PlantedBug::TipsFilteredByHeight) {
            commits.clear();
        }
        self.opening = Some(opening);
        self.outputs.push_back(Output::ViewEntered(self.view));
        self.on_progress(now);
        for certified in commits {
            self.on_commit_certificate(now, certified);
        }
        self.repropose_base();
        self.progress(now);
    }

    /// Votes that were collected are of one view.
    fn forget_votes(&mut self) {
        self.votes.clear();
        if let Some(collecting) = &mut self.collecting {
            collecting.leave_view();
        }
    }

    /// What an accepted opening fixes; shared with recovery.
    pub(crate) fn enter(&mut self, opening: &NewView) {
        self.view = opening.view;
        self.active = true;
        let filter = self.is_planted(PlantedBug::TipsFilteredByHeight);
        self.base = base_of(&opening.view_changes, self.config.context.genesis_hash, filter);
        self.proposed = self.base.0;
        self.forget_votes();
        self.blocks.forget_checks();
        self.proposals.retain(|(view, _), _| *view >= opening.view);
        self.prepare_certificates
            .retain(|(view, _), _| *view >= opening.view);
        for tip in opening
            .view_changes
            .iter()
            .filter_map(|change| change.tip.as_ref())
        {
            self.raise_tip(tip);
        }
    }

    /// A leader puts an uncommitted base to the vote again, alone, hash unchanged (`ios` 9.7).
    pub(crate) fn repropose_base(&mut self) {
        let (height, hash) = self.base;
        let leads = self.active && self.is_leader() && !self.silent;
        if !leads || height <= self.committed().0 {
            return;
        }
        if self.proposals.contains_key(&(self.view, height)) {
            return;
        }
        let Some(held) = self.blocks.get(&hash) else {
            return self.fetch(hash, height);
        };
        let block = held.block.clone();
        if self.is_planted(PlantedBug::RevoteEveryHeight) {
            let below: Vec<_> = self.blocks.chain_to(hash).unwrap_or_default();
            let ancestors: Vec<_> = below
                .iter()
                .filter(|at| **at != hash)
                .filter_map(|at| self.blocks.get(at))
                .collect();
            let ancestors: Vec<_> = ancestors.into_iter().map(|held| held.block.clone()).collect();
            ancestors.into_iter().for_each(|block| self.publish(block));
        }
        self.publish(block);
    }
}
