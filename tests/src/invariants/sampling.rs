//! Sampling: a voter votes for what a believable author wrote after it has had it for the challenge window and has
//! finished its own sample, which nobody else can foresee (`ios` 7.6).

use std::collections::{BTreeMap, BTreeSet};

use crypto::sampling::{self, PPM};
use replica::SignatureChecks;
use types::block::{AuthorHeader, Block, MODE_TWO_LEAGUES};
use types::certificate::Phase;
use types::message::PeerMessage;
use types::{Amount, Hash, Height, MemberIndex, Time, View};

use super::{Checked, Violation};
use crate::disk::Disk;
use crate::setup::Setup;

/// One voter's check of one author block.
#[derive(Clone, Copy, Debug)]
struct Check {
    /// The life in which it began, and the voter's time.
    life: u64,
    began: Time,
    sampled: bool,
    /// Whether it ended and found nothing.
    clean: bool,
}

/// Checks of all voters.
#[derive(Debug, Default)]
pub struct Samples {
    checks: BTreeMap<(MemberIndex, Hash), Check>,
    /// Votes that left: one that is sent again says nothing new.
    voted: BTreeSet<(MemberIndex, View, Height)>,
}

impl Samples {
    /// A member begins to check a body.
    ///
    /// # Errors
    /// When what it samples is not what its key, the policy and the author's bond say.
    pub fn on_check(
        &mut self,
        setup: &Setup,
        (member, life, now): (MemberIndex, u64, Time),
        (hash, header): (Hash, &AuthorHeader),
        checks: &SignatureChecks,
    ) -> Checked {
        let sampled = match checks {
            SignatureChecks::All => true,
            SignatureChecks::Skipped => false,
            SignatureChecks::Sampled(sampling) => {
                let wrong = expected(setup, member, header) != Some(sampling.clone());
                if wrong && setup.honest.contains(&member) {
                    let detail = format!("member {member} samples {hash} by {sampling:?}");
                    return Err(Violation::new("private samples", detail));
                }
                true
            }
        };
        let check = Check {
            life,
            began: now,
            sampled,
            clean: false,
        };
        let held = self.checks.entry((member, hash)).or_insert(check);
        held.sampled |= sampled;
        if held.life != life {
            (held.life, held.began) = (life, now);
        }
        Ok(())
    }

    /// A member read a body from its log at its start and checked it whole; it was held long before.
    pub fn on_recovered(&mut self, member: MemberIndex, hash: Hash, clean: bool) {
        let check = Check {
            life: 0,
            began: Time(0),
            sampled: true,
            clean,
        };
        self.checks.entry((member, hash)).or_insert(check).clean |= clean;
    }

    /// The check ended.
    pub fn on_checked(&mut self, member: MemberIndex, hash: Hash, clean: bool) {
        if let Some(check) = self.checks.get_mut(&(member, hash)) {
            check.clean |= clean && check.sampled;
        }
    }

    /// An honest voter's first vote for a block leaves. A block that has a certificate already, or that an earlier
    /// life voted for, is excused by the caller.
    ///
    /// # Errors
    /// When a believable author's block in it was not sampled by this voter, or not held for the challenge window.
    pub fn on_prepare(
        &mut self,
        setup: &Setup,
        (member, life, now): (MemberIndex, u64, Time),
        block: &Block,
    ) -> Checked {
        let vote = (member, block.header.view, block.header.height);
        if block.header.mode != MODE_TWO_LEAGUES || !self.voted.insert(vote) {
            return Ok(());
        }
        let fail = |invariant, hash: &Hash, what: String| {
            let detail = format!(
                "member {member} votes for height {} with {hash}: {what}",
                block.header.height
            );
            Err(Violation::new(invariant, detail))
        };
        let wait = setup.epoch.policy.challenge_wait();
        for reference in &block.refs {
            let hash = &reference.hash;
            let Some(check) = self.checks.get(&(member, *hash)).filter(|check| check.clean) else {
                return fail(
                    "vote after sampling",
                    hash,
                    "its sample has not ended well".into(),
                );
            };
            if check.life == life && now.since(check.began) < wait {
                let held = now.since(check.began);
                return fail("challenge window", hash, format!("held for {held:?} of {wait:?}"));
            }
        }
        Ok(())
    }

    /// The block that a message is the sender's prepare vote for, when the block was made in the view of the vote.
    #[must_use]
    pub fn voted<'d>(message: &PeerMessage, disk: &'d Disk) -> Option<&'d Block> {
        let PeerMessage::Vote(vote) = message else {
            return None;
        };
        let subject = &vote.subject;
        let block = disk.block(&subject.hash)?;
        (subject.phase == Phase::Prepare && block.header.view == subject.view).then_some(block)
    }
}

/// What a voter has to sample of an author's blocks.
fn expected(setup: &Setup, member: MemberIndex, header: &AuthorHeader) -> Option<sampling::Sampling> {
    let leagues = setup.epoch.policy.leagues.as_ref()?;
    let committee = setup.committee();
    let author = committee.member_of(header.author)?;
    let bond = committee.bonds.get(usize::from(author.0)).copied()?;
    let honest = (committee.size() - 2 * committee.faulty_max()) as u32;
    let probability_ppm = leagues.sampling_ppm.min(PPM);
    Some(sampling::Sampling {
        secret: setup.keys.get(usize::from(member.0))?.sampling_secret(),
        probability_ppm,
        full_from: sampling::full_from(Amount(bond), probability_ppm, honest),
    })
}
