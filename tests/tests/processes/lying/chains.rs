//! Lies about the chain and about the state.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use crypto::hash::txid;
use types::TxId;
use types::client::{Answer, BlockItem, Request};
use types::message::AuthorBlock;
use types::transaction::TxView;

use super::Victim;
use super::proxy::{Heard, Lie, Said};

/// Transactions of a body, in order.
fn transactions(block: &AuthorBlock) -> Vec<(TxId, Bytes)> {
    let mut rest: &[u8] = block.body.get(4..).unwrap_or_default();
    let mut list = Vec::new();
    while let Ok((tx, after)) = TxView::decode_prefix(rest) {
        list.push((txid(tx.body()), Bytes::copy_from_slice(tx.bytes())));
        rest = after;
    }
    list
}

fn with_transactions(block: &AuthorBlock, list: &[(TxId, Bytes)]) -> AuthorBlock {
    AuthorBlock {
        header: block.header.clone(),
        body: crypto::body::build(list).0.bytes().clone(),
    }
}

/// The answer with other items, when it is one with items.
fn with_items(answer: &Answer, change: impl FnOnce(&[BlockItem]) -> Vec<BlockItem>) -> Option<Vec<Said>> {
    let Answer::Blocks { items, last } = answer else {
        return None;
    };
    let (items, last) = (change(items), *last);
    Some(vec![Said::Answer(Answer::Blocks { items, last })])
}

/// Changes the first body with a transaction that is served, once.
fn change_first_body(
    answer: &Answer,
    victim: &Victim,
    change: impl Fn(&AuthorBlock, Vec<(TxId, Bytes)>) -> Vec<AuthorBlock>,
) -> Option<Vec<Said>> {
    with_items(answer, |items| {
        let mut changed = Vec::with_capacity(items.len());
        for item in items {
            match item {
                BlockItem::Body(block) if victim.named().is_none() && !transactions(block).is_empty() => {
                    let bodies = change(block, transactions(block));
                    changed.extend(bodies.into_iter().map(BlockItem::Body));
                }
                _ => changed.push(item.clone()),
            }
        }
        changed
    })
}

/// The last transaction of a body is missing.
pub(super) struct DroppedTransaction(pub(super) Victim);

impl Lie for DroppedTransaction {
    fn say(&mut self, _: u64, answer: &Answer) -> Option<Vec<Said>> {
        change_first_body(answer, &self.0, |block, mut list| {
            if let Some((victim, _)) = list.pop() {
                self.0.name(victim);
            }
            vec![with_transactions(block, &list)]
        })
    }
}

/// The first output of a body is raised.
pub(super) struct MintedBody(pub(super) Victim);

impl Lie for MintedBody {
    fn say(&mut self, _: u64, answer: &Answer) -> Option<Vec<Said>> {
        change_first_body(answer, &self.0, |block, mut list| {
            if let Some((id, bytes)) = list.first_mut() {
                self.0.name(*id);
                *bytes = raised(bytes);
                let view = TxView::decode(bytes).expect("still a transaction");
                *id = txid(view.body());
            }
            vec![with_transactions(block, &list)]
        })
    }
}

/// The same transaction whose first output holds a thousand units more.
fn raised(bytes: &[u8]) -> Bytes {
    let view = TxView::decode(bytes).expect("a transaction");
    let output = view.outputs().next().expect("an output");
    let amount = output.amount.0.to_le_bytes();
    let encoded = [&output.owner.0[..], &amount].concat();
    let mut changed = bytes.to_vec();
    let at = changed
        .windows(encoded.len())
        .position(|window| window == encoded)
        .expect("an owner followed by its amount")
        + output.owner.0.len();
    changed[at..at + amount.len()].copy_from_slice(&(output.amount.0 + 1000).to_le_bytes());
    changed.into()
}

/// An author block stands in the chain twice.
pub(super) struct DoubledBody(pub(super) Victim);

impl Lie for DoubledBody {
    fn say(&mut self, _: u64, answer: &Answer) -> Option<Vec<Said>> {
        change_first_body(answer, &self.0, |block, list| {
            if let Some((first, _)) = list.first() {
                self.0.name(*first);
            }
            vec![block.clone(), block.clone()]
        })
    }
}

/// The first block with transactions is left out, with its bodies.
pub(super) struct LeftOutBlock {
    victim: Victim,
    is_skipping: bool,
    is_done: bool,
}

impl LeftOutBlock {
    pub(super) const fn new(victim: Victim) -> Self {
        Self {
            victim,
            is_skipping: false,
            is_done: false,
        }
    }

    fn keeps(&mut self, item: &BlockItem) -> bool {
        match item {
            BlockItem::Block(committed) => {
                self.is_skipping = !self.is_done && committed.block.header.tx_count > 0;
                self.is_done |= self.is_skipping;
            }
            BlockItem::Body(block) if self.is_skipping => {
                if let Some((first, _)) = transactions(block).first() {
                    self.victim.name(*first);
                }
            }
            BlockItem::Body(_) => {}
        }
        !self.is_skipping
    }
}

impl Lie for LeftOutBlock {
    fn say(&mut self, _: u64, answer: &Answer) -> Option<Vec<Said>> {
        with_items(answer, |items| {
            items.iter().filter(|item| self.keeps(item)).cloned().collect()
        })
    }
}

/// Blocks behind the first one with transactions are kept back; the state speaks of all.
#[derive(Default)]
pub(super) struct Cut {
    is_cut: bool,
    is_last: bool,
}

impl Lie for Cut {
    fn say(&mut self, _: u64, answer: &Answer) -> Option<Vec<Said>> {
        with_items(answer, |items| {
            let keeps = |item: &&BlockItem| {
                if let BlockItem::Block(committed) = item {
                    self.is_cut |= self.is_last;
                    self.is_last |= committed.block.header.tx_count > 0;
                }
                !self.is_cut
            };
            items.iter().filter(keeps).cloned().collect()
        })
    }
}

/// Questions about chain and state are not answered.
pub(super) struct Silence;

impl Lie for Silence {
    fn hear(&mut self, _: u64, request: &Request) -> Heard {
        match request {
            Request::Blocks { .. } | Request::State => Heard::Instead(None, Vec::new()),
            _ => Heard::Pass,
        }
    }
}

/// The connection ends when the chain is asked for.
pub(super) struct HangUp;

impl Lie for HangUp {
    fn hear(&mut self, _: u64, request: &Request) -> Heard {
        match request {
            Request::Blocks { .. } => Heard::Instead(None, vec![Said::Close]),
            _ => Heard::Pass,
        }
    }
}

/// Blocks are bytes that mean nothing.
pub(super) struct Garbage;

impl Lie for Garbage {
    fn say(&mut self, _: u64, answer: &Answer) -> Option<Vec<Said>> {
        let is_chain = matches!(answer, Answer::Blocks { .. });
        is_chain.then(|| vec![Said::Raw(answer.kind(), vec![0xa5; 999])])
    }
}

/// The digest of the state is another one.
pub(super) struct Digest;

impl Lie for Digest {
    fn say(&mut self, _: u64, answer: &Answer) -> Option<Vec<Said>> {
        let Answer::State(state) = answer else {
            return None;
        };
        let mut state = state.clone();
        state.digest.0[0] ^= 1;
        Some(vec![Said::Answer(Answer::State(state))])
    }
}

/// The state holds more value than there is.
pub(super) struct Mint;

impl Lie for Mint {
    fn say(&mut self, _: u64, answer: &Answer) -> Option<Vec<Said>> {
        let Answer::State(state) = answer else {
            return None;
        };
        let mut state = state.clone();
        state.value.0 += 1000;
        Some(vec![Said::Answer(Answer::State(state))])
    }
}

/// Passes everything on and keeps the chain.
#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Vec<BlockItem>>>);

impl Recorder {
    pub(super) fn items(&self) -> Vec<BlockItem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Lie for Recorder {
    fn say(&mut self, _: u64, answer: &Answer) -> Option<Vec<Said>> {
        if let Answer::Blocks { items, .. } = answer {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(items.iter().cloned());
        }
        None
    }
}

/// Serves the chain of another network.
pub(super) struct Elsewhere(pub(super) Vec<BlockItem>);

impl Lie for Elsewhere {
    fn hear(&mut self, _: u64, request: &Request) -> Heard {
        let Request::Blocks { from, count } = request else {
            return Heard::Pass;
        };
        let mut height = 0;
        let is_asked = |item: &&BlockItem| {
            if let BlockItem::Block(committed) = item {
                height = committed.block.header.height.0;
            }
            (from.0..from.0 + u64::from(*count)).contains(&height)
        };
        let items = self.0.iter().filter(is_asked).cloned().collect();
        let answer = Answer::Blocks { items, last: true };
        Heard::Instead(None, vec![Said::Answer(answer)])
    }
}
