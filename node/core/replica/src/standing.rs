//! Whether this validator may sign: a disk that was lost took promises with it.
//!
//! A validator signs in an epoch only when its disk knows everything that it signed there before (`ios` 20.5: a lost
//! disk is a lost validator). One that starts with an empty disk is a newcomer: it follows the chain, signs nothing,
//! and asks every other member for anything that carries its own signature. When `q - 1` members answered that they
//! know nothing, it goes on record as a voter. One valid signature of its own, in an answer or in the chain, bars it
//! for the epoch, also across restarts.
//!
//! What this cannot see: a vote that only faulty members received. `ReplicaConfig::disk_lost` covers that case where
//! the key outlived the disk: the program keeps a mark beside the key.

use std::collections::BTreeSet;

use crypto::cosign;
use types::block::Block;
use types::block_record::Record;
use types::message::{Fetch, PeerMessage, Trace};
use types::record::{LogRecord, Standing};
use types::{MemberIndex, Sequence, Time};

use crate::content::fetch_pause;
use crate::event::Effect;
use crate::league::League;
use crate::replica::Replica;

/// How far a validator is allowed to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Signs nothing yet.
    Newcomer {
        /// Members that know no signature of it.
        answers: BTreeSet<MemberIndex>,
        /// When the others are asked again.
        ask_at: Time,
    },
    /// Enough answered; signs once this record is durable.
    Entering(Sequence),
    /// Signs.
    Voter,
    /// Signs nothing in this epoch.
    Barred,
}

impl State {
    pub(crate) const fn newcomer(now: Time) -> Self {
        Self::Newcomer {
            answers: BTreeSet::new(),
            ask_at: now,
        }
    }
}

impl Replica {
    /// Whether this validator may sign votes, proposals and author blocks.
    #[must_use]
    pub fn is_signing(&self) -> bool {
        self.standing == State::Voter
    }

    /// Whether it may sign nothing for the rest of the epoch: its disk forgot what it had signed.
    #[must_use]
    pub fn is_barred(&self) -> bool {
        self.standing == State::Barred
    }

    pub(crate) fn set_standing(&mut self, state: State) {
        // A candidate follows the votes and casts none.
        self.pbft
            .set_silent(state != State::Voter || !self.committee.is_voter(self.config.me));
        self.standing = state;
    }

    /// Asks the others, again and again, whether they know a signature of this validator.
    pub(crate) fn ask_for_traces(&mut self, now: Time) {
        let pause = fetch_pause(&self.config.epoch.policy);
        let State::Newcomer { ask_at, .. } = &mut self.standing else {
            return;
        };
        if now < *ask_at {
            return;
        }
        *ask_at = now + pause;
        self.effect(Effect::Broadcast {
            message: PeerMessage::Fetch(Fetch::Trace),
            after: None,
        });
    }

    /// A member that has just connected is asked at once.
    pub(crate) fn ask_for_trace(&mut self, to: MemberIndex) {
        if matches!(self.standing, State::Newcomer { .. }) {
            self.effect(Effect::Send {
                to,
                message: PeerMessage::Fetch(Fetch::Trace),
                after: None,
            });
        }
    }

    /// Tells a member what is known of its signatures.
    pub(crate) fn serve_trace(&mut self, to: MemberIndex) {
        let of_author = || {
            let league = self.chain.tip_league();
            let index = league.group_of(to)?;
            let (_, held) = self.pool.at(index, league.cursor(index).next)?;
            Some(Trace::AuthorBlock(held.header.clone()))
        };
        let trace = self.pbft.trace_of(to).cloned().or_else(of_author);
        self.effect(Effect::Send {
            to,
            message: PeerMessage::Trace(trace.map(Box::new)),
            after: None,
        });
    }

    pub(crate) fn handle_trace(&mut self, from: MemberIndex, trace: Option<Trace>) {
        let State::Newcomer { answers, .. } = &mut self.standing else {
            return;
        };
        let Some(trace) = trace else {
            answers.insert(from);
            if answers.len() + 1 >= self.committee.quorum() {
                let seq = self.persist(vec![LogRecord::Standing(Standing::Voter)], true);
                self.standing = State::Entering(seq);
            }
            return;
        };
        if self.is_own(&trace) {
            self.bar();
        } else {
            self.counters.refused += 1;
        }
    }

    fn is_own(&self, trace: &Trace) -> bool {
        let (me, scheme) = (self.config.me, self.config.scheme);
        match trace {
            Trace::Vote(vote) => {
                vote.member == me && cosign::verify_vote(scheme, &self.context, &self.committee, vote)
            }
            Trace::Partial(partial) => {
                partial.signers.contains(me)
                    && cosign::verify_partial(&self.context, self.pbft.verifier(), partial)
            }
            Trace::ViewChange(change) => {
                change.member == me
                    && self
                        .committee
                        .key(me)
                        .is_some_and(|key| cosign::verify_view_change(scheme, &self.context, key, change))
            }
            Trace::AuthorBlock(header) => {
                self.committee.member_of(header.header.author) == Some(me) && self.is_authentic(header)
            }
        }
    }

    /// Its own signature turned up in the chain or in a certificate: the disk forgot something.
    pub(crate) fn look_for_own_trace(&mut self) {
        let open = matches!(self.standing, State::Newcomer { .. } | State::Entering(_));
        if open && self.pbft.trace_of(self.config.me).is_some() {
            self.bar();
        }
    }

    /// A final block with content of its own is a trace too.
    pub(crate) fn look_for_own_content(&mut self, block: &Block, before: &League) {
        let Some(group) = before
            .group_of(self.config.me)
            .map(|index| before.groups().number(index))
        else {
            return;
        };
        let authored = block.refs.iter().any(|reference| reference.group == group)
            || block
                .records
                .iter()
                .any(|record| matches!(record, Record::Reset(reset) if reset.group == group));
        if authored {
            self.bar();
        }
    }

    /// Signs nothing for the rest of the epoch; a voter, whose disk knows all it signed, stays one.
    pub(crate) fn bar(&mut self) {
        if matches!(self.standing, State::Newcomer { .. } | State::Entering(_)) {
            self.bar_whatever_the_log_says();
        }
    }

    /// The same for one whose log is known to lack durable records.
    pub(crate) fn bar_whatever_the_log_says(&mut self) {
        if self.standing != State::Barred {
            self.persist(vec![LogRecord::Standing(Standing::Barred)], true);
            self.set_standing(State::Barred);
        }
    }

    /// Its entry is on disk: it signs from now on, and its first run is fresh.
    pub(crate) fn on_standing_durable(&mut self, now: Time, seq: Sequence) {
        if matches!(self.standing, State::Entering(entry) if entry <= seq) {
            self.set_standing(State::Voter);
            self.author.open();
            self.pbft.resume_after_pause(now);
        }
    }
}
