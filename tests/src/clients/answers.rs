//! What nodes answer, and what clients make of it.

use types::client::{Answer, Receipts};
use types::transaction::TxView;
use types::{ConnectionId, Reject, Tag, TxId};

use super::Clients;
use crate::invariants::Violation;

/// What an answer says of tags that somebody waits for.
#[derive(Debug, Default)]
pub struct Promised {
    /// Final, each to be checked against its proof.
    pub finals: Vec<(Tag, TxId)>,
    /// Positions in an author block that its author stands for, with what was sent under those tags.
    pub receipts: Vec<(u16, TxId)>,
}

impl Clients {
    /// An answer of a node. Each tag is answered once, but for receipts that come before; what is final or promised is
    /// returned for the check of its proof.
    ///
    /// # Errors
    /// When a tag is answered that nobody waits for, or twice.
    pub fn on_answer(&mut self, connection: ConnectionId, answer: &Answer) -> Result<Promised, Violation> {
        if !self.connections.contains_key(&connection) {
            // Told to a client that has gone: nobody hears it.
            return Ok(Promised::default());
        }
        let mut promised = Promised::default();
        if let Answer::Receipts(receipts) = answer {
            promised.receipts = self.on_receipts(connection, receipts)?;
            return Ok(promised);
        }
        for (tag, reason) in settled(answer) {
            let Some(txid) = self.pending.remove(&(connection, tag)) else {
                let detail = format!("{connection}/{tag} is answered a second time, with {reason:?}");
                return Err(Violation::new("one answer per tag", detail));
            };
            self.release(txid);
            match reason {
                None => {
                    self.seen.finals += 1;
                    promised.finals.push((tag, txid));
                }
                Some(reason) => {
                    self.seen.refused += 1;
                    self.seen.double_spends += u64::from(reason == Reject::InputSpent);
                }
            }
        }
        Ok(promised)
    }

    fn on_receipts(
        &self,
        connection: ConnectionId,
        receipts: &Receipts,
    ) -> Result<Vec<(u16, TxId)>, Violation> {
        let positions = receipts.tags.iter().map(|at| {
            let txid = self.pending.get(&(connection, at.tag)).copied();
            let txid = txid.ok_or_else(|| {
                let detail = format!("{connection}/{} is promised and nobody waits for it", at.tag);
                Violation::new("one answer per tag", detail)
            })?;
            Ok((at.position, txid))
        });
        positions.collect()
    }

    fn release(&mut self, txid: TxId) {
        if let Some(view) = self.sent.get(&txid).and_then(|bytes| TxView::decode(bytes).ok()) {
            for input in view.inputs() {
                self.reserved.remove(&input.outpoint);
            }
        }
    }
}

/// Tags that an answer ends, with the reason of a refusal.
fn settled(answer: &Answer) -> Vec<(Tag, Option<Reject>)> {
    match answer {
        Answer::Reject(refused) => refused.iter().map(|one| (one.tag, Some(one.reason))).collect(),
        Answer::Busy { first_tag, count, .. } => (first_tag.0..)
            .take(usize::from(*count))
            .map(|tag| (Tag(tag), Some(Reject::Busy)))
            .collect(),
        Answer::Final(note) => {
            let entries = note.entries.iter();
            let finals = entries.flat_map(|entry| entry.tags.iter().map(|at| (at.tag, None)));
            let slow = note
                .slow
                .iter()
                .map(|entry| (entry.tag, Reject::from_code(entry.code)));
            finals.chain(slow).collect()
        }
        _ => Vec::new(),
    }
}
