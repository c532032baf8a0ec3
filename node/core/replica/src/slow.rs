//! The slow lane at a voter: transactions that clients handed in because no author takes them (`ios` 7.9).

use std::collections::BTreeMap;

use crypto::{hash, merkle};
use types::block::CommitProof;
use types::client::{Answer, FinalNote, SlowEntry};
use types::message::PeerMessage;
use types::transaction::TxView;
use types::{ConnectionId, Reject, TxId};

use crate::author::Asker;
use crate::chain::Executed;
use crate::content::{slow_code, slow_leaves};
use crate::event::{Admission, Effect};
use crate::records::SLOW_OPEN_MAX;
use crate::replica::Replica;

/// Heights after which a voter tells the others again what its clients wait for, and how much of it.
const REPEATED_EVERY: u64 = 8;
const REPEATED_MAX: usize = 32;

/// What waits for a block that announces it, and who asked for what was announced.
///
/// Bounds: as many transactions as may be open in the chain, each way.
#[derive(Debug, Default)]
pub(crate) struct SlowLane {
    pending: BTreeMap<TxId, Vec<u8>>,
    askers: BTreeMap<TxId, Asker>,
}

impl SlowLane {
    pub(crate) fn pending(&self) -> impl Iterator<Item = (&TxId, &Vec<u8>)> {
        self.pending.iter()
    }

    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.askers.retain(|_, asker| asker.connection != connection);
    }

    fn take(&mut self, txid: TxId, bytes: Vec<u8>) -> bool {
        let room = self.pending.len() < SLOW_OPEN_MAX;
        if room {
            self.pending.insert(txid, bytes);
        }
        room
    }
}

impl Replica {
    /// Clients' transactions for the slow lane, whose signatures were verified.
    pub(crate) fn admit_slow(&mut self, admission: Admission) {
        let open = self.has_slow_lane();
        let Admission {
            connection,
            tag,
            txid,
            bytes,
        } = admission;
        if !open || !self.committee.is_voter(self.config.me) {
            return self.refuse(connection, tag, Reject::KindClosed);
        }
        if self.slow.askers.len() >= SLOW_OPEN_MAX || !self.slow.take(txid, bytes.to_vec()) {
            return self.refuse(connection, tag, Reject::Busy);
        }
        if let Some(old) = self.slow.askers.insert(txid, Asker::new(connection, tag)) {
            self.refuse(old.connection, old.tag, Reject::Busy);
        }
        self.effect(Effect::Broadcast {
            message: PeerMessage::SlowIntent(bytes),
            after: None,
        });
    }

    /// One seat serves all owners: there nothing may take another way.
    fn has_slow_lane(&self) -> bool {
        self.leagues().is_some_and(|leagues| leagues.seats > 1)
    }

    /// Another voter's client wants this in the slow lane.
    pub(crate) fn handle_slow_intent(&mut self, bytes: &[u8]) {
        if !self.has_slow_lane() {
            // What no block may announce would keep the leader at work for ever.
            self.counters.refused += 1;
            return;
        }
        let view = TxView::decode(bytes).ok();
        let txid = view.as_ref().map(|view| hash::txid(view.body()));
        match (txid, view) {
            (Some(txid), Some(view)) if self.is_signed(&txid, &view) => {
                self.slow.take(txid, bytes.to_vec());
            }
            _ => self.counters.refused += 1,
        }
    }

    /// A final block announced and executed slow transactions: askers are answered with proof.
    pub(crate) fn answer_slow(&mut self, executed: &Executed, proof: &CommitProof) {
        for record in &executed.block.records {
            if let types::block_record::Record::SlowIntent(bytes) = record
                && let Ok(view) = TxView::decode(bytes)
            {
                self.slow.pending.remove(&hash::txid(view.body()));
            }
        }
        let leaves = slow_leaves(&executed.slow, &executed.applied);
        let mut notes: BTreeMap<ConnectionId, Vec<SlowEntry>> = BTreeMap::new();
        for (place, ((txid, _), outcome)) in executed.slow.iter().zip(&executed.applied.slow).enumerate() {
            self.counters.slow += 1;
            let Some(asker) = self.slow.askers.remove(txid) else {
                continue;
            };
            notes.entry(asker.connection).or_default().push(SlowEntry {
                tag: asker.tag,
                txid: *txid,
                code: slow_code(outcome.as_ref()),
                path: merkle::path(&leaves, place).unwrap_or_default(),
            });
        }
        for (connection, slow) in notes {
            let note = FinalNote {
                header: executed.block.header.clone(),
                proof: proof.clone(),
                entries: Vec::new(),
                slow,
            };
            self.answer(connection, Answer::Final(Box::new(note)));
        }
        self.drop_hopeless_slow();
    }

    /// A leader that did not hear of a client's transaction would never announce it.
    fn repeat_slow(&mut self) {
        let own = self.slow.pending.iter();
        let own: Vec<_> = own
            .filter(|(txid, _)| self.slow.askers.contains_key(txid))
            .take(REPEATED_MAX)
            .map(|(_, bytes)| bytes.clone())
            .collect();
        for bytes in own {
            self.effect(Effect::Broadcast {
                message: PeerMessage::SlowIntent(bytes.into()),
                after: None,
            });
        }
    }

    /// What can no longer be announced, because its inputs are gone, is answered.
    fn drop_hopeless_slow(&mut self) {
        let height = self.chain.final_height();
        let ledger = &self.chain.ledger;
        let gone = |bytes: &[u8]| {
            let Ok(view) = TxView::decode(bytes) else {
                return true;
            };
            view.inputs().any(|input| {
                matches!(
                    ledger.lookup(&input.outpoint, height),
                    ledger::Lookup::Spent { .. } | ledger::Lookup::Missing
                )
            })
        };
        let hopeless: Vec<TxId> = self
            .slow
            .pending
            .iter()
            .filter(|(_, bytes)| gone(bytes))
            .map(|(txid, _)| *txid)
            .collect();
        if height.0.is_multiple_of(REPEATED_EVERY) {
            self.repeat_slow();
        }
        for txid in hopeless {
            self.slow.pending.remove(&txid);
            if let Some(asker) = self.slow.askers.remove(&txid) {
                self.refuse(asker.connection, asker.tag, Reject::InputSpent);
            }
        }
    }
}
