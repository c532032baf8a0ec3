//! F3 by replay: whether a transaction was right when its author put it into a block (`ios` 7.4, 7.7).
//!
//! The author vouches for its transactions in the state at the block's base together with its own chain. Whether they
//! still hold where a final block applies them is another question, which the ledger answers: only what it leaves out is
//! judged here, and is either the author's fault or a victim of what became final since.

use std::collections::{BTreeMap, BTreeSet};

use ledger::Lookup;
use types::transaction::TxView;
use types::{Amount, Hash, OutPoint, Owner, TxId};

use crate::league::League;
use crate::pool::HeldBlock;
use crate::replica::Replica;

/// What an author's own chain, above a base, spends and creates.
#[derive(Debug, Default)]
struct OwnChain {
    spent: BTreeMap<OutPoint, TxId>,
    created: BTreeMap<OutPoint, (Owner, Amount)>,
}

impl OwnChain {
    fn take(&mut self, txid: TxId, tx: &TxView<'_>) {
        for input in tx.inputs() {
            self.spent.entry(input.outpoint).or_insert(txid);
        }
        for (index, output) in (0..).zip(tx.outputs()) {
            self.created
                .insert(OutPoint { txid, index }, (output.owner, output.amount));
        }
    }
}

impl Replica {
    /// Whether the transaction at a position broke a rule of state; `None` when this validator lacks what it takes to
    /// say so, as after a restart or while the block's base is not final here.
    pub(crate) fn breaks_state(&self, hash: &Hash, position: u32, league: &League) -> Option<bool> {
        let broken = self.first_broken(hash, &BTreeSet::from([position]), league)?;
        Some(broken.is_some())
    }

    /// The first of some positions of a block whose transaction broke a rule of state. One pass over the author's chain
    /// judges them all: an author must not be able to make it many.
    pub(crate) fn first_broken(
        &self,
        hash: &Hash,
        positions: &BTreeSet<u32>,
        league: &League,
    ) -> Option<Option<u32>> {
        let held = self.pool.lately(hash)?;
        // A state that is not final here is maybe not the one that the author knew; of one below what is remembered,
        // spent outputs are unknown.
        let base = held.header.header.base_height;
        if base > self.chain.final_height() || base < self.remembered_from {
            return None;
        }
        let mut chain = OwnChain::default();
        for block in self.own_chain(held)?.into_iter().rev() {
            let body = &block.ready()?.body;
            body.txs().for_each(|(txid, tx)| chain.take(txid, &tx));
        }
        let last = positions.last().copied().unwrap_or_default() as usize;
        let txs = (0_u32..).zip(held.ready()?.body.txs());
        for (position, (txid, tx)) in txs.take(last + 1) {
            if positions.contains(&position) && !self.holds(&chain, held, league, txid, &tx) {
                return Some(Some(position));
            }
            chain.take(txid, &tx);
        }
        Some(None)
    }

    /// Predecessors of a block in its run that are not in the state at its base, the latest first; `None` when one of
    /// them is not here.
    fn own_chain(&self, held: &HeldBlock) -> Option<Vec<&HeldBlock>> {
        let header = &held.header.header;
        let mut blocks = Vec::new();
        let (mut prev, mut number) = (header.prev, header.seq.number());
        while number > 0 {
            let included = self.chain.archive.height_of(&prev);
            if included.is_some_and(|height| height <= header.base_height) {
                break;
            }
            let block = self.pool.lately(&prev)?;
            blocks.push(block);
            (prev, number) = (block.header.header.prev, block.header.header.seq.number());
        }
        Some(blocks)
    }

    fn holds(
        &self,
        chain: &OwnChain,
        held: &HeldBlock,
        league: &League,
        txid: TxId,
        tx: &TxView<'_>,
    ) -> bool {
        let base = held.header.header.base_height;
        let mut sum = Some(Amount(0));
        for input in tx.inputs() {
            match chain.spent.get(&input.outpoint) {
                // Taken twice by its author: the second has no effect and harms nobody.
                Some(spender) if *spender == txid => return true,
                Some(_) => return false,
                None => {}
            }
            let leagues = self.leagues();
            if leagues.is_some_and(|leagues| league.was_barred(leagues, &input.outpoint, base, &txid)) {
                return false;
            }
            let created = chain.created.get(&input.outpoint).copied();
            let found = created.or_else(|| match self.chain.ledger.lookup(&input.outpoint, base) {
                Lookup::Unspent(utxo) => Some((utxo.owner, utxo.amount)),
                Lookup::Spent { .. } | Lookup::Missing => None,
            });
            let Some((owner, amount)) = found else {
                return false;
            };
            if tx.owner(input.owner) != Some(owner) {
                return false;
            }
            sum = sum.and_then(|sum| sum.checked_add(amount));
        }
        let needed = tx
            .outputs()
            .try_fold(tx.fee(), |total, output| total.checked_add(output.amount));
        sum.is_some() && sum == needed
    }
}
