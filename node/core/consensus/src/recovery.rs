//! Restart from the block log (`ios` 20.6, step 3): votes, promises, openings, tip and blocks come back.

use crypto::hash::final_header_hash;
use types::certificate::{Phase, Subject};
use types::record::LogRecord;
use types::{Height, Time};

use crate::machine::Pbft;
use crate::votes::direct_certificate;

impl Pbft {
    /// Takes the next record of the log, in the order in which they were written.
    ///
    /// Records of author blocks are the caller's; they are ignored here.
    pub fn replay(&mut self, record: &LogRecord) {
        match record {
            LogRecord::AuthorBlock(_) | LogRecord::Standing(_) => {}
            LogRecord::Proposal(propose) => {
                let header = &propose.block.header;
                if header.height > self.committed().0 {
                    self.blocks
                        .insert(final_header_hash(header), propose.block.clone());
                    self.proposals
                        .insert((propose.view, header.height), propose.clone());
                }
            }
            LogRecord::Block(block) => {
                self.blocks
                    .insert(final_header_hash(&block.header), (**block).clone());
            }
            LogRecord::Vote(vote) => self.replay_vote(&vote.subject),
            LogRecord::Partial(partial) => self.replay_vote(&partial.subject),
            LogRecord::Tip(tip) => {
                self.note_signers(tip);
                self.raise_tip(tip);
            }
            LogRecord::Promise(view) => {
                if *view > self.view {
                    self.view = *view;
                    self.active = false;
                    self.opening = None;
                }
            }
            LogRecord::NewView(opening) => {
                if opening.view >= self.view {
                    self.enter(opening);
                    self.opening = Some((**opening).clone());
                }
            }
            LogRecord::Committed(committed) => {
                let header = &committed.block.header;
                if header.height > self.committed().0 {
                    let hash = final_header_hash(header);
                    self.blocks.set_committed(header.height, hash);
                    let certified = direct_certificate(&committed.proof);
                    self.note_signers(&certified);
                    if committed.proof.hash == hash {
                        self.commit_certificate = Some(certified);
                    }
                }
            }
        }
    }

    fn replay_vote(&mut self, subject: &Subject) {
        let votes = if subject.phase == Phase::Prepare {
            &mut self.prepared
        } else {
            &mut self.committed_votes
        };
        votes.insert((subject.view, subject.height), subject.hash);
    }

    /// Ends the replay: restarts the timers and says again what was promised.
    pub fn resume(&mut self, now: Time) {
        let (committed, _) = self.committed();
        self.forget_below(committed);
        let view = self.view;
        self.proposals.retain(|(at, _), _| *at >= view);
        let in_view = self
            .proposals
            .range((view, Height(0))..)
            .map(|((_, height), _)| *height)
            .max();
        self.proposed = in_view.unwrap_or(self.base.0).max(self.base.0);
        self.timer.resend = now;
        if self.active {
            self.timer.give_up = Some(now + self.timer.timeout);
            self.repropose_base();
            self.progress(now);
        } else {
            self.timer.give_up = None;
            let change = self.own_view_change();
            self.view_changes.insert(self.config.me, change);
        }
    }
}
