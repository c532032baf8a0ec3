//! What follows when a block is final: answers, resets, waking of parked transactions, the written-behind state.

use ledger::StateChanges;
use types::block::CommitProof;
use types::block_record::Record;
use types::client::Answer;
use types::{MemberIndex, Time};

use crate::chain::Executed;
use crate::content::author_of;
use crate::event::{Admission, Effect};
use crate::notes::{self, OwnIncluded};
use crate::replica::Replica;

impl Replica {
    pub(crate) fn on_final(
        &mut self,
        now: Time,
        executed: Executed,
        proof: &CommitProof,
        changes: StateChanges,
    ) {
        let excluded: usize = executed
            .applied
            .batches
            .iter()
            .map(|outcome| outcome.reasons.len())
            .sum();
        self.counters.applied += u64::from(executed.applied.applied);
        self.counters.excluded += excluded as u64;
        self.answer_own(&executed, proof);
        self.look_for_own_content(&executed.block);
        for (member, cursor) in executed.cursors.iter().enumerate() {
            self.pool.forget_below(MemberIndex(member as u16), cursor.next);
        }
        for record in &executed.block.records {
            let Record::Reset(reset) = record else { continue };
            self.counters.resets += 1;
            self.resets.remove(&reset.group);
            if author_of(reset.group, self.committee.size()) == Some(self.config.me) {
                let cursor = executed.cursors.get(usize::from(self.config.me.0)).copied();
                cursor
                    .into_iter()
                    .for_each(|cursor| self.author.on_reset(now, reset, cursor));
                self.next_reset_request = None;
            }
        }
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

    /// Starts a view change when a ready block that could be included was left out for the whole lag (`ios` 9.8).
    /// Heights that were taken over from a peer do not count: while this voter was away, nobody left its block out.
    pub(crate) fn complain_of_censorship(&mut self, now: Time) {
        let height = self.chain.final_height();
        let lag = self.config.epoch.policy.lag;
        let adopted = self.pbft.adopted();
        let left_out = self
            .chain
            .tip_cursors()
            .iter()
            .enumerate()
            .any(|(member, cursor)| {
                self.pool
                    .at(MemberIndex(member as u16), cursor.next)
                    .is_some_and(|(_, held)| {
                        held.ready().is_some()
                            && held.header.header.prev == cursor.last
                            && held.header.header.base_height < height
                            && held.ready_height.max(adopted).0 + lag.saturating_sub(4) < height.0
                            && held.header.header.base_height.0.saturating_add(lag) > height.0
                    })
            });
        if left_out {
            self.pbft.suspect(now);
        }
    }

    pub(crate) fn answer_own(&mut self, executed: &Executed, proof: &CommitProof) {
        let group = types::block::GROUP_ONE_LEAGUE + self.config.me.0;
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
