//! A leader that leaves ready work alone is replaced, also when it goes on proposing.
//!
//! The timeout of a view (`ios` 9.7) only sees that nothing commits, and the censorship rule (`ios` 9.8) counts
//! heights: a slow or picky leader that proposes a little now and then escapes both for long. Here a voter looks at
//! time: no author block that it could vote for waits longer than the patience for a proposal. Half way it hands the
//! header to the leader, which may simply not have it. The wait is the leader's fault only while this voter has
//! nothing left to check, the window has room and blocks are not full.

use consensus::{Outgoing, Target};
use types::Time;
use types::message::PeerMessage;
use types::time::Duration;

use crate::pool::HeldBlock;
use crate::replica::Replica;

impl Replica {
    /// How long ready work may wait: half a view's timeout, but some rounds of proposals in any case.
    pub(crate) fn patience(&self) -> Duration {
        let policy = &self.config.epoch.policy;
        (policy.view_timeout() / 2).max(4 * (policy.block_interval + policy.shard_delay))
    }

    /// Complains of the leader when ready work waited too long.
    pub(crate) fn watch_pace(&mut self, now: Time) {
        if now < self.next_pace_check {
            return;
        }
        let patience = self.patience();
        self.next_pace_check = now + patience / 2;
        let idle = self.checks.is_empty() && self.chain.waiting.is_empty();
        if !self.pbft.waits_for_leader() || !idle || self.is_tip_full() {
            return;
        }
        // Nobody could propose before the view was open.
        let waited = |held: &HeldBlock| now.since(held.ready_at.max(self.last_proposal));
        let longest = self.ready_work().max_by_key(|held| waited(held));
        let Some((held, wait)) = longest.map(|held| (held, waited(held))) else {
            return;
        };
        if wait >= patience {
            self.pbft.suspect(now);
        } else if wait >= patience / 2 {
            let nack = PeerMessage::Nack(held.header.clone());
            let leader = self.committee.leader(self.pbft.view());
            let to = Target::Member(leader);
            self.send(Outgoing { to, message: nack }, None);
        }
    }

    /// The next author block of each member that a proposal could refer to now.
    fn ready_work(&self) -> impl Iterator<Item = &HeldBlock> {
        let height = self.chain.tip_height().next();
        let league = self.chain.tip_league();
        league
            .next_active()
            .filter(|index| {
                league
                    .author(*index)
                    .is_some_and(|author| !self.is_left_out(author))
            })
            .filter_map(move |index| {
                let (_, held) = self.rules().next_ready(&self.pool, league, index, height)?;
                Some(held)
            })
    }

    /// Whether the highest block has no room for another author block: then waiting is nobody's fault.
    fn is_tip_full(&self) -> bool {
        let policy = &self.config.epoch.policy;
        self.chain
            .tip_block()
            .is_some_and(|block| block.header.tx_count + policy.batch_txs_max > policy.block_txs_max)
    }
}
