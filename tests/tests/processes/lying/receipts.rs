//! Lies about single transactions: what a client is told while it sends.

use std::collections::BTreeMap;

use crypto::hash::txid;
use types::client::{Answer, FinalNote, Refused, Request, TagAt};
use types::transaction::TxView;
use types::{Reject, Tag, TxId};

use super::Victim;
use super::proxy::{Heard, Lie, Said};

/// What clients sent: by connection and tag.
#[derive(Default)]
struct Sent(BTreeMap<(u64, Tag), TxId>);

impl Sent {
    fn note(&mut self, connection: u64, request: &Request) {
        if let Request::Submit { first_tag, txs } = request {
            for (offset, tx) in (0..).zip(txs) {
                let view = TxView::decode(tx).expect("a load of good transactions");
                let tag = Tag(first_tag.0 + offset);
                self.0.insert((connection, tag), txid(view.body()));
            }
        }
    }

    fn get(&self, connection: u64, tag: Tag) -> TxId {
        *self.0.get(&(connection, tag)).expect("a tag that was sent")
    }
}

/// The first note comes twice.
pub(super) struct DoubledReceipt {
    victim: Victim,
    sent: Sent,
}

impl DoubledReceipt {
    pub(super) fn new(victim: Victim) -> Self {
        let sent = Sent::default();
        Self { victim, sent }
    }
}

impl Lie for DoubledReceipt {
    fn hear(&mut self, connection: u64, request: &Request) -> Heard {
        self.sent.note(connection, request);
        Heard::Pass
    }

    fn say(&mut self, connection: u64, answer: &Answer) -> Option<Vec<Said>> {
        let Answer::Final(note) = answer else {
            return None;
        };
        let tag = first_tag(note)?;
        if self.victim.named().is_some() {
            return None;
        }
        self.victim.name(self.sent.get(connection, tag.tag));
        Some(vec![Said::Answer(answer.clone()), Said::Answer(answer.clone())])
    }
}

fn first_tag(note: &FinalNote) -> Option<&TagAt> {
    note.entries.iter().find_map(|entry| entry.tags.first())
}

/// One transaction of the first note is called refused instead.
pub(super) struct Refusal {
    victim: Victim,
    sent: Sent,
}

impl Refusal {
    pub(super) fn new(victim: Victim) -> Self {
        let sent = Sent::default();
        Self { victim, sent }
    }
}

impl Lie for Refusal {
    fn hear(&mut self, connection: u64, request: &Request) -> Heard {
        self.sent.note(connection, request);
        Heard::Pass
    }

    fn say(&mut self, connection: u64, answer: &Answer) -> Option<Vec<Said>> {
        let Answer::Final(note) = answer else {
            return None;
        };
        if self.victim.named().is_some() {
            return None;
        }
        let mut note = note.clone();
        let entry = note.entries.iter_mut().find(|entry| !entry.tags.is_empty())?;
        let tag = entry.tags.remove(0).tag;
        self.victim.name(self.sent.get(connection, tag));
        let reason = Reject::InputSpent;
        let refusal = Answer::Reject(vec![Refused { tag, reason }]);
        Some(vec![Said::Answer(refusal), Said::Answer(Answer::Final(note))])
    }
}

/// One transaction is kept from the node and receipted all the same, after the pattern of a real note.
pub(super) struct ForgedReceipt {
    victim: Victim,
    is_certified: bool,
    pattern: Option<Box<FinalNote>>,
}

impl ForgedReceipt {
    /// Header and certificate are real: only the place is not the transaction's.
    pub(super) const fn certified(victim: Victim) -> Self {
        Self {
            victim,
            is_certified: true,
            pattern: None,
        }
    }

    /// The header is changed, and with it what the certificate would have to hold for.
    pub(super) const fn uncertified(victim: Victim) -> Self {
        Self {
            victim,
            is_certified: false,
            pattern: None,
        }
    }
}

impl Lie for ForgedReceipt {
    fn hear(&mut self, _: u64, request: &Request) -> Heard {
        let (Request::Submit { first_tag, txs }, Some(pattern)) = (request, &self.pattern) else {
            return Heard::Pass;
        };
        if self.victim.named().is_some() {
            return Heard::Pass;
        }
        let Some((kept, rest)) = txs.split_first() else {
            return Heard::Pass;
        };
        let view = TxView::decode(kept).expect("a load of good transactions");
        self.victim.name(txid(view.body()));
        let mut note = pattern.clone();
        note.entries.truncate(1);
        for at in note.entries.iter_mut().flat_map(|entry| &mut entry.tags) {
            at.tag = *first_tag;
        }
        if !self.is_certified {
            note.header.timestamp += 1;
        }
        let rest = (!rest.is_empty()).then(|| Request::Submit {
            first_tag: Tag(first_tag.0 + 1),
            txs: rest.to_vec(),
        });
        Heard::Instead(rest, vec![Said::Answer(Answer::Final(note))])
    }

    fn say(&mut self, _: u64, answer: &Answer) -> Option<Vec<Said>> {
        if let Answer::Final(note) = answer
            && self.pattern.is_none()
        {
            let mut note = note.clone();
            note.entries.retain(|entry| !entry.tags.is_empty());
            note.entries.iter_mut().for_each(|entry| entry.tags.truncate(1));
            self.pattern = (!note.entries.is_empty()).then_some(note);
        }
        None
    }
}
