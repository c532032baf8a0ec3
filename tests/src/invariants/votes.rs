//! Votes: nothing is promised that a crash would take back, and nobody votes twice, in all its lives.

use std::collections::{BTreeMap, BTreeSet};

use consensus::choose_base;
use types::certificate::{Partial, Phase, Subject};
use types::message::{Certified, NewView, PeerMessage};
use types::{Hash, Height, MemberIndex, View};

use super::{Checked, Violation};
use crate::disk::Disk;

/// Votes that anyone could have seen.
#[derive(Debug, Default)]
pub struct Votes {
    liars: BTreeSet<MemberIndex>,
    genesis: Hash,
    seen: BTreeMap<(MemberIndex, Phase, View, Height), Hash>,
    promised: BTreeMap<MemberIndex, View>,
}

impl Votes {
    /// No votes yet; those of liars say nothing.
    #[must_use]
    pub fn new(liars: BTreeSet<MemberIndex>, genesis: Hash) -> Self {
        Self {
            liars,
            genesis,
            ..Self::default()
        }
    }

    /// A message leaves an honest node.
    ///
    /// # Errors
    /// When it carries a vote that contradicts an earlier one or that the sender's disk could lose.
    pub fn on_wire(&mut self, from: MemberIndex, message: &PeerMessage, disk: &Disk) -> Checked {
        match message {
            PeerMessage::Vote(vote) => self.on_vote(from, vote.subject, disk),
            PeerMessage::Partial(partial) => self.on_partial(from, partial, disk),
            PeerMessage::Certified(certified) => self.on_certificate(certified),
            PeerMessage::ViewChange(change) => {
                let promised = self.promised.entry(change.member).or_default();
                *promised = (*promised).max(change.new_view);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An honest member sends no sum that it has not checked: everyone in it voted so.
    fn on_partial(&mut self, from: MemberIndex, partial: &Partial, disk: &Disk) -> Checked {
        if partial.signers.contains(from) {
            self.on_vote(from, partial.subject, disk)?;
        }
        let mut signers = partial.signers.iter();
        signers.try_for_each(|member| self.once(member, &partial.subject))
    }

    fn on_vote(&mut self, from: MemberIndex, subject: Subject, disk: &Disk) -> Checked {
        if !disk.has_durable_vote(&subject) {
            let detail = format!("member {from} sends {subject:?}, which its disk could lose");
            return Err(Violation::new("vote before durable", detail));
        }
        if subject.phase == Phase::Prepare
            && let Some(missing) = disk.missing_of(&subject.hash)
        {
            let detail = format!("member {from} votes {subject:?}, and its disk could lose {missing}");
            return Err(Violation::new("vote before durable", detail));
        }
        if subject.phase == Phase::Prepare {
            self.check_base(from, &subject, disk)?;
        }
        let promised = *self.promised.entry(from).or_default();
        if subject.view < promised {
            let detail = format!("member {from} votes {subject:?} after it promised view {promised}");
            return Err(Violation::new("promise kept", detail));
        }
        // A vote in a view is the promise of that view as well.
        self.promised.insert(from, subject.view);
        self.once(from, &subject)
    }

    /// A prepare vote is for the base of its view, or for a block made in that view above the base (`ios` 9.11).
    fn check_base(&self, from: MemberIndex, subject: &Subject, disk: &Disk) -> Checked {
        let (height, hash) = match disk.opening(subject.view) {
            Some(opening) => choose_base(&opening.view_changes, self.genesis),
            None => (Height(0), self.genesis),
        };
        let made_here = disk
            .header(&subject.hash)
            .is_some_and(|header| header.view == subject.view);
        if (subject.height, subject.hash) == (height, hash) || (subject.height > height && made_here) {
            return Ok(());
        }
        let detail = format!("member {from} votes {subject:?}, the base is {hash} at height {height}");
        Err(Violation::new("votes follow the base", detail))
    }

    /// An honest node is about to record the opening of a view that it has accepted.
    ///
    /// # Errors
    /// When its disk holds another one of that view.
    pub fn on_opening(member: MemberIndex, opening: &NewView, disk: &Disk) -> Checked {
        if disk.opening(opening.view).is_none_or(|first| first == opening) {
            return Ok(());
        }
        let detail = format!(
            "member {member} accepts a second opening of view {}",
            opening.view
        );
        Err(Violation::new("one opening per view", detail))
    }

    fn on_certificate(&mut self, certified: &Certified) -> Checked {
        certified
            .certificate
            .signers()
            .iter()
            .try_for_each(|member| self.once(member, &certified.subject))
    }

    fn once(&mut self, member: MemberIndex, subject: &Subject) -> Checked {
        if self.liars.contains(&member) {
            return Ok(());
        }
        let at = (member, subject.phase, subject.view, subject.height);
        let first = *self.seen.entry(at).or_insert(subject.hash);
        if first == subject.hash {
            return Ok(());
        }
        let detail = format!("member {member} voted {first} and then {subject:?}");
        Err(Violation::new("one vote per height, view and phase", detail))
    }
}
