//! Collecting votes, certificates, commits and catch-up.

use crypto::cosign;
use crypto::hash::final_header_hash;
use types::block::{CommitProof, CommittedBlock, FinalHeader};
use types::certificate::{Certificate, Partial, Phase, Signatures, Subject};
use types::evidence::Evidence;
use types::limits::CERTIFICATES_KNOWN_MAX;
use types::message::{Certified, PeerMessage, Trace, Vote};
use types::record::LogRecord;
use types::{Hash, Height, MemberIndex, Time, View};

use crate::blocks::Missing;
use crate::machine::{Output, Pbft, Target};
use crate::ordering::is_whole;
use crate::planted::PlantedBug;

impl Pbft {
    /// A vote, to the leader of its view.
    pub fn handle_vote(&mut self, now: Time, from: MemberIndex, vote: Vote) {
        if self.collecting.is_some() {
            return self.refuse();
        }
        let subject = vote.subject;
        let (committed, _) = self.committed();
        let leads = self.active && self.is_leader() && !self.silent;
        if subject.view != self.view || !leads || subject.height <= committed {
            return;
        }
        let is_phase = matches!(subject.phase, Phase::Prepare | Phase::Commit);
        let in_window = subject.height.0 <= committed.0 + 4 * self.config.policy.window;
        // One vote per voter, phase and height counts: a second, different one cannot fill memory.
        let first = Subject {
            hash: Hash([0; 32]),
            ..subject
        };
        let last = Subject {
            hash: Hash([0xff; 32]),
            ..subject
        };
        let voted = self.votes.range(first..=last).find_map(|(subject, votes)| {
            let signature = *votes.get(&vote.member)?;
            Some(Vote {
                subject: *subject,
                member: vote.member,
                signature,
            })
        });
        if let Some(before) = voted {
            return self.look_for_two_votes(&before, &vote);
        }
        let config = &self.config;
        let authentic = from == vote.member
            && is_phase
            && in_window
            && cosign::verify_vote(config.scheme, &config.context, &config.committee, &vote);
        if !authentic {
            return self.refuse();
        }
        self.traces.insert(vote.member, Trace::Vote(vote.clone()));
        let votes = self.votes.entry(subject).or_default();
        votes.insert(vote.member, vote.signature);
        let signatures: Vec<_> = votes
            .iter()
            .map(|(member, signature)| (*member, *signature))
            .collect();
        if signatures.len() == self.quorum() {
            let committee = self.config.committee.size() as u16;
            let certificate = Certificate {
                view: subject.view,
                committee,
                signatures: Signatures::List(signatures),
            };
            let certified = Certified { subject, certificate };
            self.send(Target::Others, PeerMessage::Certified(certified.clone()));
            self.on_certified(now, certified);
        }
    }

    /// Shows a voter that signed for two hashes at one place.
    pub(crate) fn look_for_two_votes(&mut self, before: &Vote, vote: &Vote) {
        let config = &self.config;
        if before.subject.hash != vote.subject.hash
            && cosign::verify_vote(config.scheme, &config.context, &config.committee, vote)
            && let Some(two) = crypto::evidence::of_votes(before, vote)
        {
            let two = Evidence::Votes(Box::new(two));
            self.outputs.push_back(Output::Equivocation(two));
        }
    }

    /// A certificate, from a leader or a peer that re-sends it.
    pub fn handle_certified(&mut self, now: Time, certified: Certified) {
        let subject = certified.subject;
        let (committed, hash) = self.committed();
        let known = match subject.phase {
            Phase::Prepare => {
                let held = self.prepare_certificates.get(&(subject.view, subject.height));
                subject.height <= committed || held.is_some_and(|held| held.subject == subject)
            }
            _ => subject.height < committed || (subject.height == committed && subject.hash == hash),
        };
        if known {
            return;
        }
        if !self.is_certified(&certified) {
            return self.refuse();
        }
        self.on_certified(now, certified);
    }

    /// Whether a certificate is one, of this committee.
    pub(crate) fn is_certified(&mut self, certified: &Certified) -> bool {
        if !matches!(certified.subject.phase, Phase::Prepare | Phase::Commit) {
            return false;
        }
        if self.known.contains(certified) {
            return true;
        }
        let verdict = cosign::verify_signatures(
            &self.config.context,
            &self.verifier,
            self.quorum(),
            &certified.subject,
            &certified.certificate,
        );
        if verdict.is_ok() {
            self.remember(certified);
        }
        verdict.is_ok()
    }

    /// An aggregate that is right is not checked again.
    pub(crate) fn remember(&mut self, certified: &Certified) {
        if self.collecting.is_none() {
            return;
        }
        if self.known.len() == CERTIFICATES_KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(certified.clone());
    }

    /// Remembers the latest signature of each signer.
    pub(crate) fn note_signers(&mut self, certified: &Certified) {
        let subject = certified.subject;
        match &certified.certificate.signatures {
            Signatures::List(list) => {
                for (member, signature) in list {
                    let vote = Vote {
                        subject,
                        member: *member,
                        signature: *signature,
                    };
                    self.traces.insert(*member, Trace::Vote(vote));
                }
            }
            Signatures::Aggregate { signers, signature } => self.note_partial(&Partial {
                subject,
                committee: certified.certificate.committee,
                signers: *signers,
                signature: *signature,
            }),
        }
    }

    pub(crate) fn on_certified(&mut self, now: Time, certified: Certified) {
        self.note_signers(&certified);
        let view = certified.subject.view;
        match certified.subject.phase {
            Phase::Prepare => self.on_prepare_certificate(now, certified),
            _ => self.on_commit_certificate(now, certified),
        }
        self.join_certified_view(now, view);
    }

    /// A certificate of a higher view shows that a quorum is there: this voter missed the opening. It promises to
    /// follow, and whoever is there answers with the opening. Without this a voter that missed it would see commits
    /// for ever, never time out, and never vote again.
    fn join_certified_view(&mut self, now: Time, view: View) {
        if view > self.view {
            self.start_view_change(now, view);
        }
    }

    fn on_prepare_certificate(&mut self, now: Time, certified: Certified) {
        let subject = certified.subject;
        let at = (subject.view, subject.height);
        self.raise_tip(&certified);
        if self.is_planted(PlantedBug::ReceiptBeforeCertified) {
            let mut early = certified.clone();
            early.subject.phase = Phase::Commit;
            self.on_commit_certificate(now, early);
        }
        let stale = self.is_planted(PlantedBug::StaleCertificate) && subject.view < self.view;
        if (subject.view != self.view && !stale) || !self.active {
            return;
        }
        self.prepare_certificates.insert(at, certified.clone());
        if subject.height > self.committed().0 && !self.silent && !self.committed_votes.contains_key(&at) {
            self.committed_votes.insert(at, subject.hash);
            let records = vec![LogRecord::Tip(certified)];
            self.vote(
                records,
                Subject {
                    phase: Phase::Commit,
                    ..subject
                },
            );
        }
        self.progress(now);
    }

    /// The tip is the prepare certificate with the highest (view, height) ever held (`ios` 9.6).
    pub(crate) fn raise_tip(&mut self, certified: &Certified) {
        let rank = |certified: &Certified| (certified.subject.view, certified.subject.height);
        if self.tip.as_ref().is_none_or(|tip| rank(tip) < rank(certified)) {
            self.tip = Some(certified.clone());
        }
    }

    pub(crate) fn on_commit_certificate(&mut self, now: Time, certified: Certified) {
        let (committed, hash) = self.committed();
        let height = certified.subject.height;
        if height == committed && certified.subject.hash != hash {
            self.outputs.push_back(Output::Conflict(Box::new(certified)));
            return;
        }
        if height <= committed {
            return;
        }
        if self
            .commit_pending
            .as_ref()
            .is_none_or(|pending| pending.subject.height < height)
        {
            self.commit_pending = Some(certified);
        }
        self.try_commit(now);
    }

    /// Commits up to the pending certificate when every block on the way is held.
    pub(crate) fn try_commit(&mut self, now: Time) {
        let Some(pending) = self.commit_pending.clone() else {
            return;
        };
        if pending.subject.height <= self.committed().0 {
            self.commit_pending = None;
            return;
        }
        let chain = match self.blocks.chain_to(pending.subject.hash) {
            Ok(chain) => chain,
            Err(Missing::Block { .. }) => {
                let ask = self.ask_for_blocks();
                self.send(ask.to, ask.message);
                return;
            }
            Err(Missing::Fork) => {
                self.outputs.push_back(Output::Conflict(Box::new(pending)));
                return;
            }
        };
        self.commit_pending = None;
        let headers: Vec<FinalHeader> = chain
            .iter()
            .filter_map(|hash| self.blocks.get(hash))
            .map(|held| held.block.header.clone())
            .collect();
        let commits = chain.len() as u32;
        for (position, hash) in chain.into_iter().enumerate() {
            let Some(block) = self.blocks.commit(hash) else {
                break;
            };
            let proof = CommitProof {
                height: pending.subject.height,
                hash: pending.subject.hash,
                descendants: headers.get(position + 1..).unwrap_or_default().to_vec(),
                certificate: pending.certificate.clone(),
            };
            self.emit_committed(hash, CommittedBlock { block, proof });
        }
        self.commit_certificate = Some(pending);
        self.after_commit(now, commits);
    }

    fn emit_committed(&mut self, hash: Hash, committed: CommittedBlock) {
        self.persist(
            vec![LogRecord::Committed(Box::new(committed.clone()))],
            Vec::new(),
        );
        let CommittedBlock { block, proof } = committed;
        self.outputs.push_back(Output::Committed {
            hash,
            block: Box::new(block),
            proof: Box::new(proof),
        });
    }

    fn after_commit(&mut self, now: Time, commits: u32) {
        let (committed, _) = self.committed();
        self.forget_below(committed);
        self.on_commits(commits);
        if self.active {
            self.on_progress(now);
        }
        self.repropose_base();
        self.progress(now);
    }

    /// Drops what speaks of heights that are final. Votes and proposals of the current view stay until their
    /// height is final, so nothing is voted twice.
    pub(crate) fn forget_below(&mut self, committed: Height) {
        self.proposals.retain(|(_, height), _| *height > committed);
        self.prepared.retain(|(_, height), _| *height > committed);
        self.committed_votes.retain(|(_, height), _| *height > committed);
        self.prepare_certificates
            .retain(|(_, height), _| *height > committed);
        self.votes.retain(|subject, _| subject.height > committed);
        if let Some(collecting) = &mut self.collecting {
            collecting.forget_below(committed);
        }
        let blocks = &self.blocks;
        let (base, hash) = self.base;
        let base_missing = base > committed && blocks.get(&hash).is_none();
        self.fetching.retain(|wanted, _| base_missing && *wanted == hash);
    }

    /// Final blocks from a peer, in order; each carries its own proof.
    pub fn handle_blocks(&mut self, now: Time, from: MemberIndex, blocks: Vec<CommittedBlock>) {
        let full = blocks.len() == usize::from(types::limits::FETCH_BLOCKS_MAX);
        let mut commits = 0;
        let mut certified_view = View(0);
        for committed in blocks {
            let (height, hash) = self.committed();
            let header = &committed.block.header;
            if header.height <= height {
                continue;
            }
            let config = &self.config;
            let proven = header.height == height.next()
                && is_whole(&committed.block)
                && cosign::verify_commit_proof(&config.context, &self.verifier, header, &committed.proof)
                    .is_ok();
            if !proven {
                self.refuse();
                break;
            }
            // Final, on another parent than the one that is final here.
            if header.prev != hash {
                let certified = direct_certificate(&committed.proof);
                self.outputs.push_back(Output::Conflict(Box::new(certified)));
                break;
            }
            certified_view = certified_view.max(committed.proof.certificate.view);
            self.adopt(committed);
            commits += 1;
        }
        if commits > 0 {
            self.after_commit(now, commits);
            self.try_commit(now);
            self.join_certified_view(now, certified_view);
            if full {
                let ask = self.ask_for_blocks();
                self.send(Target::Member(from), ask.message);
            }
        }
    }

    fn adopt(&mut self, committed: CommittedBlock) {
        let hash = final_header_hash(&committed.block.header);
        let header = &committed.block.header;
        self.adopted = header.height;
        self.blocks.set_committed(header.height, hash);
        let certified = direct_certificate(&committed.proof);
        self.note_signers(&certified);
        if committed.proof.hash == hash {
            self.commit_certificate = Some(certified);
        }
        self.emit_committed(hash, committed);
    }
}

/// The certificate of a block that is certified itself.
pub(crate) fn direct_certificate(proof: &CommitProof) -> Certified {
    let view = proof.certificate.view;
    let subject = Subject {
        phase: Phase::Commit,
        height: proof.height,
        view,
        hash: proof.hash,
    };
    Certified {
        subject,
        certificate: proof.certificate.clone(),
    }
}
