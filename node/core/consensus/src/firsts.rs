//! Voters of committees with aggregates that vote for two hashes at one place (F7, `ios` 7.7): seen by whoever hears
//! both votes from the voter itself, its sub-leader or the leader. In sums they cannot be told apart.

use std::collections::BTreeMap;

use crypto::{cosign, evidence};
use types::certificate::{Partial, Phase};
use types::evidence::Evidence;
use types::{Height, MemberIndex};

use crate::machine::{Output, Pbft};

/// The first vote of each member for a phase and height in the view: at most one for each phase and height that votes
/// are taken for.
pub(crate) type FirstVotes = BTreeMap<(Phase, Height, MemberIndex), First>;

#[derive(Debug)]
pub(crate) struct First {
    partial: Partial,
    /// Compared with a second one: checking is dear, and one accusation is enough.
    judged: bool,
}

impl Pbft {
    /// First votes that are remembered.
    #[cfg(test)]
    pub(crate) fn firsts_held(&self) -> usize {
        self.collecting.as_ref().map_or(0, |at| at.firsts.len())
    }

    /// Shows a voter that voted for two hashes at one place. A wrong signature of either shows nothing: both came from
    /// the voter itself, so that it alone can spoil this.
    pub(crate) fn look_for_two_partials(&mut self, from: MemberIndex, partial: &Partial) {
        let (subject, config, verifier) = (partial.subject, &self.config, &self.verifier);
        let Some(collecting) = &mut self.collecting else {
            return;
        };
        let place = (subject.phase, subject.height, from);
        let first = collecting.firsts.entry(place).or_insert_with(|| First {
            partial: partial.clone(),
            judged: false,
        });
        if first.judged || first.partial.subject.hash == subject.hash {
            return;
        }
        first.judged = true;
        let is_right = |one: &Partial| cosign::verify_partial(&config.context, verifier, one);
        if is_right(&first.partial)
            && is_right(partial)
            && let Some(two) = evidence::of_partials(&first.partial, partial)
        {
            let two = Evidence::Partials(Box::new(two));
            self.outputs.push_back(Output::Equivocation(two));
        }
    }
}
