//! Votes: nothing is promised that a crash would take back, and nobody votes twice, in all its lives.

use std::collections::{BTreeMap, BTreeSet};

use types::certificate::{Phase, Subject};
use types::message::{Certified, PeerMessage, Vote};
use types::{Hash, Height, MemberIndex, View};

use super::{Checked, Violation};
use crate::disk::Disk;

/// Votes that anyone could have seen.
#[derive(Debug, Default)]
pub struct Votes {
    liars: BTreeSet<MemberIndex>,
    seen: BTreeMap<(MemberIndex, Phase, View, Height), Hash>,
    promised: BTreeMap<MemberIndex, View>,
}

impl Votes {
    /// No votes yet; those of liars say nothing.
    #[must_use]
    pub fn new(liars: BTreeSet<MemberIndex>) -> Self {
        Self {
            liars,
            ..Self::default()
        }
    }

    /// A message leaves an honest node.
    ///
    /// # Errors
    /// When it carries a vote that contradicts an earlier one or that the sender's disk could lose.
    pub fn on_wire(&mut self, from: MemberIndex, message: &PeerMessage, disk: &Disk) -> Checked {
        match message {
            PeerMessage::Vote(vote) => self.on_vote(from, vote, disk),
            PeerMessage::Certified(certified) => self.on_certificate(certified),
            PeerMessage::ViewChange(change) => {
                let promised = self.promised.entry(change.member).or_default();
                *promised = (*promised).max(change.new_view);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_vote(&mut self, from: MemberIndex, vote: &Vote, disk: &Disk) -> Checked {
        let subject = vote.subject;
        if !disk.has_durable_vote(vote) {
            let detail = format!("member {from} sends {subject:?}, which its disk could lose");
            return Err(Violation::new("vote before durable", detail));
        }
        if subject.phase == Phase::Prepare
            && let Some(missing) = disk.missing_of(&subject.hash)
        {
            let detail = format!("member {from} votes {subject:?}, and its disk could lose {missing}");
            return Err(Violation::new("vote before durable", detail));
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

    fn on_certificate(&mut self, certified: &Certified) -> Checked {
        certified
            .certificate
            .signatures
            .iter()
            .try_for_each(|(member, _)| self.once(*member, &certified.subject))
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
