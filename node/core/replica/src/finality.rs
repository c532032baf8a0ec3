//! What follows when a block is final: answers, resets, waking of parked transactions, the written-behind state.

use crypto::cosign;
use ledger::StateChanges;
use types::block::{Block, CommitProof, MODE_ONE_LEAGUE};
use types::block_record::{AuthorReady, Record};
use types::client::Answer;
use types::message::PeerMessage;
use types::{Height, Signature, Time};

use crate::chain::Executed;
use crate::event::{Admission, Effect};
use crate::league::League;
use crate::notes::{self, OwnIncluded};
use crate::replica::Replica;

/// Heights between two reports of a candidate.
const REPORT_EVERY: u64 = 4;

impl Replica {
    pub(crate) fn on_final(
        &mut self,
        now: Time,
        executed: Executed,
        proof: &CommitProof,
        changes: StateChanges,
        before: &League,
    ) {
        let excluded: usize = executed
            .applied
            .batches
            .iter()
            .map(|outcome| outcome.reasons.len())
            .sum();
        self.counters.applied += u64::from(executed.applied.applied);
        self.counters.excluded += excluded as u64;
        for claim in &executed.applied.claims {
            self.counters.claims += 1;
            self.counters.claims_seized += claim.seized;
            self.counters.claims_paid += claim.paid;
            self.counters.claims_unpaid = self.counters.claims_unpaid.saturating_add(claim.unpaid);
        }
        self.answer_own(&executed, proof);
        self.answer_slow(&executed, proof);
        self.look_for_own_content(&executed.block, before);
        self.forget_included(&executed.block);
        // Now every base that its author blocks name is final here, which may not have been so before the vote.
        let begun = before.begin(&executed.block.records, &self.committee);
        self.accuse_of_exclusions(&executed.block, &executed.applied, &begun);
        self.on_final_evidence(&executed.block, before);
        self.judge_again();
        self.on_final_records(now, &executed.block);
        self.follow_mode(now, before);
        self.send_late();
        if !self.author.parking.is_empty() {
            let awake: Vec<Admission> = changes
                .created
                .iter()
                .flat_map(|(outpoint, _)| self.author.parking.wake(outpoint))
                .collect();
            awake.into_iter().for_each(|admission| self.admit(now, admission));
        }
        self.effect(Effect::WriteState(Box::new(changes)));
        self.request_reset(now);
        self.complain_of_censorship(now);
    }

    /// What is included leaves the pool, what no base reaches back to leaves its memory of included blocks.
    fn forget_included(&mut self, block: &Block) {
        let league = self.chain.final_league();
        let height = block.header.height;
        for index in league.groups().all() {
            self.pool.forget_below(index, league.cursor(index).next, height);
        }
        let from = Height(height.0.saturating_sub(self.config.epoch.policy.memory()));
        self.pool.forget_included(from);
        self.remembered_from = self.remembered_from.max(from);
    }

    fn on_final_records(&mut self, now: Time, block: &Block) {
        for record in &block.records {
            match record {
                Record::Reset(reset) => {
                    self.counters.resets += 1;
                    self.resets.remove(&reset.group);
                    let own = self.author.role().filter(|role| role.group == reset.group);
                    if let Some(index) = own.and_then(|role| self.groups().index(role.group)) {
                        let cursor = self.chain.final_league().cursor(index);
                        self.author.on_reset(now, reset, cursor);
                        self.next_reset_request = None;
                    }
                }
                Record::StandIn(_) => self.counters.stand_ins += 1,
                Record::AuthorReady(ready) => {
                    if self
                        .reports
                        .get(&ready.member)
                        .is_some_and(|held| held.height <= ready.height)
                    {
                        self.reports.remove(&ready.member);
                    }
                }
                Record::Evidence(_) | Record::ModeSwitch(_) | Record::SlowIntent(_) => {}
            }
        }
    }

    /// Roles and what is held follow the mode of the next height.
    fn follow_mode(&mut self, now: Time, before: &League) {
        let league = self.chain.final_league();
        if league.next_mode() != before.next_mode() {
            if league.next_mode() == MODE_ONE_LEAGUE {
                self.counters.fallback_entries += 1;
            } else {
                self.counters.fallback_exits += 1;
                self.reports.clear();
            }
            // What the authors of the old mode did not get in is void, and they know it.
            for index in league.groups().of_mode(before.next_mode()) {
                self.pool.clear(index);
            }
            self.resets.clear();
        }
        self.follow_role(now);
        self.report_ready();
    }

    /// A candidate shows, in one league, that it is there and follows the chain (`ios` 10.3).
    fn report_ready(&mut self) {
        let height = self.chain.final_height();
        let me = self.config.me;
        let due = self.chain.final_league().next_mode() == MODE_ONE_LEAGUE
            && self.leagues().is_some()
            && !self.committee.is_voter(me)
            && self.is_signing()
            && !self.chain.final_league().is_banned(me)
            && height.0 >= self.last_report.0 + REPORT_EVERY;
        if !due {
            return;
        }
        self.last_report = height;
        let mut ready = AuthorReady {
            member: me,
            height,
            signature: Signature::default(),
        };
        ready.signature = cosign::sign_author_ready(&self.key, &self.context, &ready);
        self.effect(Effect::Broadcast {
            message: PeerMessage::AuthorReady(ready),
            after: None,
        });
    }

    /// Takes a candidate's report for the next block.
    pub(crate) fn handle_author_ready(&mut self, ready: AuthorReady) {
        let known = self.reports.get(&ready.member).map(|held| held.height);
        if known.is_some_and(|known| known >= ready.height) {
            return;
        }
        if self.rules().is_report(&ready) {
            self.reports.insert(ready.member, ready);
        } else {
            self.counters.refused += 1;
        }
    }

    /// Starts a view change when a ready block that could be included was left out for the whole lag (`ios` 9.8).
    /// Heights that were taken over from a peer do not count: while this voter was away, nobody left its block out.
    pub(crate) fn complain_of_censorship(&mut self, now: Time) {
        let height = self.chain.final_height();
        let lag = self.config.epoch.policy.lag;
        let adopted = self.pbft.adopted();
        let league = self.chain.tip_league();
        let rules = self.rules();
        let left_out = league.next_active().any(|index| {
            let suspected = league.author(index).is_none_or(|author| self.is_left_out(author));
            rules
                .next_ready(&self.pool, league, index, height)
                .is_some_and(|(_, held)| {
                    let base = held.header.header.base_height;
                    !suspected
                        && held.ready_height.max(adopted).0 + lag.saturating_sub(4) < height.0
                        && base.0.saturating_add(lag) > height.0
                })
        });
        if left_out {
            self.pbft.suspect(now);
        }
    }

    pub(crate) fn answer_own(&mut self, executed: &Executed, proof: &CommitProof) {
        let Some(group) = self.author.role().map(|role| role.group) else {
            return;
        };
        let mut own = Vec::new();
        for (position, reference) in executed
            .block
            .refs
            .iter()
            .enumerate()
            .filter(|(_, reference)| reference.group == group)
        {
            let Some(held) = self.pool.get(&reference.hash) else {
                continue;
            };
            let author = held.header.clone();
            let txs = self.author.on_final(reference.seq);
            own.push(OwnIncluded {
                position,
                author,
                txs,
            });
        }
        let notes = notes::build(&executed.block, proof, &executed.applied.batches, &own);
        for (connection, note) in notes.notes {
            self.answer(connection, Answer::Final(Box::new(note)));
        }
        for (connection, refused) in notes.refused {
            self.refuse(connection, refused.tag, refused.reason);
        }
        for txid in notes.excluded {
            self.refuse_children(txid);
        }
    }
}
