//! Records of blocks: what a leader puts in, and what every voter recomputes (`ios` 7.4, 7.8, 7.9, 7.12a, 10).
//!
//! Two kinds of check: [`Replica::broken_record`] says what the chain alone decides, equal on every voter;
//! [`Replica::objection`] what this voter knows better, and which keeps it from voting, no more.

use std::collections::BTreeSet;

use crypto::placement::shard_of;
use crypto::{hash, verify};
use ledger::Lookup;
use types::block::{Block, MODE_ONE_LEAGUE, MODE_TWO_LEAGUES};
use types::block_record::{AuthorReady, Record, StandIn};
use types::codec::Encode;
use types::evidence::Evidence;
use types::limits::{BLOCK_RECORD_BYTES_MAX, BLOCK_RECORDS_MAX};
use types::policy::Leagues;
use types::transaction::TxView;
use types::{Height, Time, TxId};

use crate::league::{GroupIndex, League, WATCHED, accused};
use crate::replica::Replica;

/// Slow transactions announced by one block.
const SLOW_PER_BLOCK_MAX: usize = 8;
/// Slow transactions announced and not executed, and of these with one owner (`ios` 7.9).
pub(crate) const SLOW_OPEN_MAX: usize = 1024;
const SLOW_PER_OWNER_MAX: usize = 16;
/// Heights between two reports of a candidate.
const REPORT_EVERY: usize = 4;

impl Replica {
    pub(crate) fn leagues(&self) -> Option<&Leagues> {
        self.config.epoch.policy.leagues.as_ref()
    }

    /// Records besides evidence for the next block; `begun` has its evidence, `after` also its references.
    pub(crate) fn choose_records(
        &self,
        parent: &League,
        begun: &League,
        after: &League,
        now: Time,
    ) -> Vec<Record> {
        let height = Height(self.chain.tip_height().0 + 1);
        let mut records = self.choose_resets(after, height);
        if let Some(leagues) = self.leagues() {
            records.extend(self.choose_stand_in(begun));
            let switch = parent.due_switch(leagues);
            records.extend(
                switch
                    .filter(|mode| *mode == MODE_TWO_LEAGUES || !self.sees_authors(parent, leagues, now))
                    .map(Record::ModeSwitch),
            );
            let reports = self.reports.values();
            records.extend(
                reports
                    .filter(|ready| Self::is_news(ready, begun, height))
                    .take(BLOCK_RECORDS_MAX / 4)
                    .cloned()
                    .map(Record::AuthorReady),
            );
            let mut barred = BTreeSet::new();
            let slow = self.slow.pending().filter(|(txid, bytes)| {
                self.broken_slow(leagues, begun, txid, bytes).is_none()
                    && TxView::decode(bytes)
                        .is_ok_and(|view| view.inputs().all(|input| barred.insert(input.outpoint)))
            });
            records.extend(
                slow.take(SLOW_PER_BLOCK_MAX)
                    .map(|(_, bytes)| Record::SlowIntent(bytes.clone())),
            );
        }
        records.truncate(BLOCK_RECORDS_MAX / 2);
        records.sort_by_cached_key(Record::order);
        records
    }

    /// Resets that are due of authors that have nothing left to include.
    fn choose_resets(&self, after: &League, height: Height) -> Vec<Record> {
        let rules = self.rules();
        let due = self.resets.values().filter(|reset| {
            let index = self.groups().index(reset.group);
            let left = |index| rules.next_ready(&self.pool, after, index, height).is_some();
            index.is_some_and(|index| !left(index)) && rules.is_due(reset, after, after.mode())
        });
        due.cloned().map(Record::Reset).collect()
    }

    fn choose_stand_in(&self, begun: &League) -> Option<Record> {
        let member = begun.stand_in()?;
        let mut seats = begun.active().filter(|index| self.groups().is_seat(*index));
        let index = seats.find(|index| {
            begun.author(*index).is_none() || begun.is_silent(*index) && !self.holds_includable(begun, *index)
        })?;
        let group = self.groups().number(index);
        Some(Record::StandIn(StandIn { group, member }))
    }

    /// Whether a block of a group's author is held that can still be included, however old: while it can, its author's
    /// promises stand and its group is not given away.
    fn holds_includable(&self, league: &League, index: GroupIndex) -> bool {
        let height = Height(self.chain.tip_height().0 + 1);
        self.rules()
            .next_ready(&self.pool, league, index, height)
            .is_some()
    }

    /// Whether an unincluded block of a group's author is held: then it is not silent.
    fn holds_block_of(&self, league: &League, index: GroupIndex, now: Time) -> bool {
        let lag = self.config.epoch.policy.lag;
        let height = Height(self.chain.tip_height().0 + 1);
        let fresh = |since: Time| now.since(since) < self.config.epoch.policy.block_interval * lag as u32;
        self.rules()
            .next_ready(&self.pool, league, index, height)
            .is_some_and(|(_, held)| fresh(held.held_at))
    }

    /// Whether enough believable authors can be heard here to refuse a switch to one league (`ios` 10.2).
    fn sees_authors(&self, parent: &League, leagues: &Leagues, now: Time) -> bool {
        let heard = parent
            .active()
            .filter(|index| self.groups().is_seat(*index) && self.holds_block_of(parent, *index, now));
        heard.count() >= usize::from(leagues.seats_min)
    }

    fn is_news(ready: &AuthorReady, begun: &League, height: Height) -> bool {
        begun.mode() == MODE_ONE_LEAGUE
            && !begun.is_banned(ready.member)
            && !begun.reported_lately(ready.member, REPORT_EVERY)
            && Self::is_fresh(ready, height)
    }

    fn is_fresh(ready: &AuthorReady, height: Height) -> bool {
        ready.height < height && ready.height.0 + 2 * WATCHED >= height.0
    }

    /// The first record of a block that breaks a rule of the chain.
    pub(crate) fn broken_record(
        &self,
        block: &Block,
        parent: &League,
        begun: &League,
    ) -> Option<&'static str> {
        let records = &block.records;
        let bytes: usize = records.iter().map(|record| record.to_bytes().len()).sum();
        if records.len() > BLOCK_RECORDS_MAX || bytes > BLOCK_RECORD_BYTES_MAX {
            return Some("more records than a block may carry");
        }
        let orders: Vec<_> = records.iter().map(Record::order).collect();
        if !orders.is_sorted_by(|left, right| left < right) {
            return Some("records out of order");
        }
        let after = self.after_refs(block, begun);
        let mut slow = Vec::new();
        records.iter().find_map(|record| {
            self.broken_alone(record, block.header.height, parent, begun, &after, &mut slow)
        })
    }

    /// The league of a block's begin with the cursors that its references leave.
    fn after_refs(&self, block: &Block, begun: &League) -> League {
        let mut after = begun.clone();
        for reference in &block.refs {
            if let Some(index) = self.groups().index(reference.group) {
                let next = reference.seq.next();
                after.set_cursor(
                    index,
                    crate::pool::Cursor {
                        next,
                        last: reference.hash,
                    },
                );
            }
        }
        after
    }

    fn broken_alone(
        &self,
        record: &Record,
        height: Height,
        parent: &League,
        begun: &League,
        after: &League,
        slow: &mut Vec<types::OutPoint>,
    ) -> Option<&'static str> {
        let broken = |is: bool, rule| is.then_some(rule);
        if let Record::Reset(reset) = record {
            return broken(
                !self.rules().is_due(reset, after, begun.mode()),
                "a reset that is not due",
            );
        }
        let Some(leagues) = self.leagues() else {
            return Some("a record of two leagues");
        };
        match record {
            Record::Reset(_) => None,
            Record::Evidence(evidence) => self.broken_evidence(evidence, height, parent),
            Record::StandIn(stand_in) => {
                let index = self.groups().index(stand_in.group);
                let index = index.filter(|index| self.groups().is_seat(*index));
                let vacant =
                    index.is_some_and(|index| begun.author(index).is_none() || begun.is_silent(index));
                let in_turn = begun.mode() == MODE_TWO_LEAGUES && begun.stand_in() == Some(stand_in.member);
                broken(!vacant || !in_turn, "a stand-in that is not due")
            }
            Record::ModeSwitch(mode) => {
                #[cfg(feature = "planted-bugs")]
                if self.config.planted == Some(crate::replica::Planted::SwitchWithoutCause) {
                    return None;
                }
                broken(
                    parent.due_switch(leagues) != Some(*mode),
                    "a switch that is not due",
                )
            }
            Record::AuthorReady(ready) => broken(
                begun.mode() != MODE_ONE_LEAGUE
                    || begun.is_banned(ready.member)
                    || !Self::is_fresh(ready, height)
                    || !self.rules().is_report(ready),
                "a candidate's report that is none",
            ),
            Record::SlowIntent(bytes) => {
                let Ok(view) = TxView::decode(bytes) else {
                    return Some("a slow transaction that is none");
                };
                let txid = hash::txid(view.body());
                let twice = view.inputs().any(|input| slow.contains(&input.outpoint));
                slow.extend(view.inputs().map(|input| input.outpoint));
                if twice {
                    return Some("two slow transactions over one input");
                }
                self.broken_slow(leagues, begun, &txid, bytes)
            }
        }
    }

    fn broken_evidence(&self, evidence: &Evidence, height: Height, parent: &League) -> Option<&'static str> {
        let (scheme, epoch) = (self.config.scheme, &self.config.epoch);
        let Some(member) = accused(evidence, &self.committee) else {
            return Some("evidence against nobody of this shard");
        };
        let claims =
            matches!(evidence, Evidence::Transaction(forged) if self.is_due_claim(forged, parent, height));
        if parent.is_banned(member) && !claims {
            return Some("evidence of what is settled");
        }
        crypto::evidence::verify(scheme, &self.context, &self.committee, epoch, evidence)
            .is_err()
            .then_some("evidence that shows no fault")
    }

    /// Rules of the slow lane, on the state of the parent (`ios` 7.9).
    fn broken_slow(
        &self,
        leagues: &Leagues,
        begun: &League,
        txid: &TxId,
        bytes: &[u8],
    ) -> Option<&'static str> {
        if leagues.seats < 2 {
            return Some("a slow transaction where one seat serves all owners");
        }
        let Ok(view) = TxView::decode(bytes) else {
            return Some("a slow transaction that is none");
        };
        let (shard, shards) = (self.context.shard, self.config.epoch.committees.len() as u16);
        let here = view.owners().chain(view.outputs().map(|output| output.owner));
        if !here.into_iter().all(|owner| shard_of(&owner, shards) == shard) {
            return Some("a slow transaction of another shard");
        }
        if begun.slow().count() >= SLOW_OPEN_MAX || begun.slow().any(|intent| intent.txid == *txid) {
            return Some("a slow transaction too many");
        }
        let crowded = view.owners().any(|owner| {
            let of_owner = begun.slow().filter(|intent| {
                TxView::decode_checked_before(&intent.bytes)
                    .is_ok_and(|other| other.owners().any(|other| other == owner))
            });
            of_owner.count() >= SLOW_PER_OWNER_MAX
        });
        if crowded {
            return Some("a slow transaction too many of one owner");
        }
        let tip = self.chain.ledger.height();
        let free = view.inputs().all(|input| {
            matches!(self.chain.ledger.lookup(&input.outpoint, tip), Lookup::Unspent(_))
                && !begun.slow().any(|intent| intent.inputs.contains(&input.outpoint))
        });
        if !free {
            return Some("a slow transaction over an input that is spent or barred");
        }
        (!self.is_signed(txid, &view)).then_some("a slow transaction with a bad signature")
    }

    /// Whether every owner signed.
    pub(crate) fn is_signed(&self, txid: &TxId, view: &TxView<'_>) -> bool {
        let message = hash::sighash(&self.context.genesis_hash, txid);
        let mut signed = view.owners().zip(view.signatures());
        signed.all(|(owner, signature)| verify::verify(self.config.scheme, &owner.0, &message, &signature))
    }

    /// Whether a seat's next block after those that a block refers to is held here and could still be included: then
    /// ending its run would break what its author promised (`ios` 7.4).
    fn may_include(&self, block: &Block, begun: &League, group: u16) -> bool {
        let after = self.after_refs(block, begun);
        let index = self.groups().index(group);
        let index = index.filter(|index| self.groups().is_seat(*index));
        index.is_some_and(|index| {
            let author = begun.author(index);
            author.is_some_and(|author| !self.accusations.is_suspect(author))
                && self
                    .rules()
                    .next_ready(&self.pool, &after, index, block.header.height)
                    .is_some()
        })
    }

    /// What this voter knows that speaks against a block's other records.
    pub(crate) fn objection(
        &self,
        now: Time,
        block: &Block,
        parent: &League,
        begun: &League,
    ) -> Option<&'static str> {
        let leagues = self.leagues()?;
        block.records.iter().find_map(|record| match record {
            Record::Reset(reset) => self
                .may_include(block, begun, reset.group)
                .then_some("a reset of a run of which a block can be included"),
            Record::StandIn(stand_in) => {
                let index = self.groups().index(stand_in.group)?;
                let heard = begun.author(index).is_some() && self.holds_includable(begun, index);
                heard.then_some("a stand-in for an author that is heard here")
            }
            Record::ModeSwitch(MODE_ONE_LEAGUE) => self
                .sees_authors(parent, leagues, now)
                .then_some("a switch though authors are heard here"),
            _ => None,
        })
    }
}
