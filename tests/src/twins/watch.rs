//! What must hold in a scenario, and what a scenario reached.

use std::collections::BTreeMap;

use consensus::choose_base;
use types::block::CommitProof;
use types::certificate::{Phase, Subject};
use types::message::{Certified, NewView, PeerMessage, ViewChange, Vote};
use types::{Hash, Height, MemberIndex, View};

use super::scenario::Scenario;
use crate::invariants::agreement::Agreement;
use crate::invariants::{Checked, Violation};

/// What scenarios reached: each counts the scenarios in which it happened at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Scenarios.
    pub scenarios: u64,
    /// Messages delivered, over all scenarios.
    pub messages: u64,
    /// The copies of an identity voted for different blocks in one view, height and phase.
    pub equivocations: u64,
    /// An honest voter committed what a leader that exists twice had certified, before the network healed.
    pub twin_commits: u64,
    /// An honest voter committed before the network healed.
    pub commits: u64,
    /// A view was opened on a tip that was not final.
    pub tips: u64,
    /// An honest voter voted two or more heights above what was final for it.
    pub pipelined: u64,
    /// An honest voter restarted.
    pub restarts: u64,
    /// Honest voters held different blocks for final.
    pub forks: u64,
    /// An honest voter said that certificates contradict each other.
    pub conflicts: u64,
}

impl Seen {
    /// Adds what others reached.
    pub fn add(&mut self, other: &Self) {
        self.scenarios += other.scenarios;
        self.messages += other.messages;
        self.equivocations += other.equivocations;
        self.twin_commits += other.twin_commits;
        self.commits += other.commits;
        self.tips += other.tips;
        self.pipelined += other.pipelined;
        self.restarts += other.restarts;
        self.forks += other.forks;
        self.conflicts += other.conflicts;
    }

    /// Names and values, for reports.
    #[must_use]
    pub const fn counters(&self) -> [(&'static str, u64); 10] {
        [
            ("scenarios", self.scenarios),
            ("messages", self.messages),
            ("equivocations", self.equivocations),
            ("twin_commits", self.twin_commits),
            ("commits", self.commits),
            ("tips", self.tips),
            ("pipelined", self.pipelined),
            ("restarts", self.restarts),
            ("forks", self.forks),
            ("conflicts", self.conflicts),
        ]
    }
}

/// Rank of a certificate (`ios` 9.6).
type Rank = (View, Height);

/// Checks that run with a scenario.
#[derive(Debug)]
pub(crate) struct Watch {
    /// At most `f` identities exist twice.
    tolerated: bool,
    twins_from: u16,
    agreement: Agreement,
    /// Height and parent of every block ever proposed.
    links: BTreeMap<Hash, (Height, Hash)>,
    /// What commit certificates make final, ancestors included, whoever holds them.
    certified: BTreeMap<Height, Hash>,
    /// The one block certified in a view, height and phase.
    certificates: BTreeMap<(Phase, View, Height), Hash>,
    /// First vote of each identity.
    votes: BTreeMap<(MemberIndex, Phase, View, Height), Hash>,
    promised: BTreeMap<MemberIndex, View>,
    /// Highest commit vote of honest voters.
    locked: BTreeMap<MemberIndex, Rank>,
    pub(crate) seen: Seen,
}

impl Watch {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            tolerated: scenario.is_tolerated(),
            twins_from: scenario.voters - scenario.twins,
            agreement: Agreement::default(),
            links: BTreeMap::new(),
            certified: BTreeMap::new(),
            certificates: BTreeMap::new(),
            votes: BTreeMap::new(),
            promised: BTreeMap::new(),
            locked: BTreeMap::new(),
            seen: Seen {
                scenarios: 1,
                ..Seen::default()
            },
        }
    }

    const fn is_honest(&self, member: MemberIndex) -> bool {
        member.0 < self.twins_from
    }

    /// A block was made.
    pub(crate) fn on_block(&mut self, hash: Hash, height: Height, prev: Hash) {
        self.links.insert(hash, (height, prev));
    }

    /// A block is final at a voter; `leader` led the view of its certificate.
    pub(crate) fn on_final(
        &mut self,
        member: MemberIndex,
        height: Height,
        hash: Hash,
        leader: MemberIndex,
    ) -> Checked {
        if !self.is_honest(member) {
            return Ok(());
        }
        self.seen.commits = 1;
        if !self.is_honest(leader) {
            self.seen.twin_commits = 1;
        }
        match self.agreement.on_final(member, height, hash) {
            Err(_) if !self.tolerated => self.seen.forks = 1,
            checked => checked?,
        }
        Ok(())
    }

    /// A voter says that certificates contradict each other.
    pub(crate) fn on_conflict(&mut self, member: MemberIndex, certified: &Certified) -> Checked {
        if self.is_honest(member) {
            self.seen.conflicts = 1;
        }
        if !self.tolerated {
            return Ok(());
        }
        let detail = format!(
            "member {member} is shown {:?} against its chain",
            certified.subject
        );
        Err(Violation::new("agreement", detail))
    }

    /// A message leaves a voter, for which `committed` is final.
    pub(crate) fn on_send(&mut self, from: MemberIndex, message: &PeerMessage, committed: Height) -> Checked {
        match message {
            PeerMessage::Vote(vote) => self.on_vote(from, vote, committed),
            PeerMessage::Certified(certified) => self.on_certificate(&certified.subject),
            PeerMessage::ViewChange(change) => self.on_view_change(from, change),
            PeerMessage::NewView(opening) => {
                self.on_opening(opening);
                Ok(())
            }
            PeerMessage::Blocks(blocks) => blocks
                .iter()
                .try_for_each(|committed| self.on_certificate(&subject_of(&committed.proof))),
            _ => Ok(()),
        }
    }

    fn on_vote(&mut self, from: MemberIndex, vote: &Vote, committed: Height) -> Checked {
        let subject = vote.subject;
        let at = (from, subject.phase, subject.view, subject.height);
        let first = *self.votes.entry(at).or_insert(subject.hash);
        if !self.is_honest(from) {
            if first != subject.hash {
                self.seen.equivocations = 1;
            }
            return Ok(());
        }
        if first != subject.hash {
            let detail = format!("member {from} voted {first} and then {subject:?}");
            return Err(Violation::new("one vote per height, view and phase", detail));
        }
        let promised = self.promised.get(&from).copied().unwrap_or_default();
        if subject.view < promised {
            let detail = format!("member {from} votes {subject:?} after it promised view {promised}");
            return Err(Violation::new("promise kept", detail));
        }
        if subject.height.0 >= committed.0 + 2 {
            self.seen.pipelined = 1;
        }
        if subject.phase == Phase::Commit {
            let rank = (subject.view, subject.height);
            let locked = self.locked.entry(from).or_insert(rank);
            *locked = rank.max(*locked);
        }
        Ok(())
    }

    /// What was promised binds, and what was voted Commit is reported (`ios` 9.7).
    fn on_view_change(&mut self, from: MemberIndex, change: &ViewChange) -> Checked {
        change
            .tip
            .iter()
            .chain(&change.committed.proof)
            .try_for_each(|certified| self.on_certificate(&certified.subject))?;
        if !self.is_honest(from) {
            return Ok(());
        }
        let promised = self.promised.entry(from).or_default();
        *promised = change.new_view.max(*promised);
        let tip = change
            .tip
            .as_ref()
            .map(|tip| (tip.subject.view, tip.subject.height));
        let locked = self.locked.get(&from).copied();
        if tip < locked {
            let detail = format!("member {from} voted Commit at {locked:?} and reports the tip {tip:?}");
            return Err(Violation::new("tip reported", detail));
        }
        Ok(())
    }

    fn on_opening(&mut self, opening: &NewView) {
        let reported = opening.view_changes.iter().map(|change| change.committed.height);
        let (base, _) = choose_base(&opening.view_changes, Hash::default());
        if base > reported.max().unwrap_or_default() {
            self.seen.tips = 1;
        }
    }

    /// One block is certified in a view, height and phase, and nothing contradicts a commit certificate.
    fn on_certificate(&mut self, subject: &Subject) -> Checked {
        if !self.tolerated {
            return Ok(());
        }
        let at = (subject.phase, subject.view, subject.height);
        let first = *self.certificates.entry(at).or_insert(subject.hash);
        if first != subject.hash {
            let detail = format!("{first} and {subject:?} are both certified");
            return Err(Violation::new("one certificate", detail));
        }
        if subject.phase == Phase::Commit {
            return self.on_commit_certificate(subject);
        }
        Ok(())
    }

    fn on_commit_certificate(&mut self, subject: &Subject) -> Checked {
        let mut at = subject.hash;
        while let Some((height, prev)) = self.links.get(&at).copied() {
            let first = *self.certified.entry(height).or_insert(at);
            if first != at {
                let detail = format!(
                    "{subject:?} is certified and makes {at} final at height {height}, where {first} is"
                );
                return Err(Violation::new("agreement", detail));
            }
            at = prev;
        }
        Ok(())
    }
}

const fn subject_of(proof: &CommitProof) -> Subject {
    Subject {
        phase: Phase::Commit,
        height: proof.height,
        view: proof.certificate.view,
        hash: proof.hash,
    }
}
