//! What an author could know when it cut a block: the state at the block's base and its own chain. A transaction that
//! takes no effect in a final block of a believable author was right by that view, else its author would have been
//! caught (`ios` 7.7, 7.9).

use std::collections::{BTreeMap, BTreeSet};

use types::transaction::TxView;
use types::{Amount, Height, MemberIndex, OutPoint, Owner, TxId};

use super::money::{Money, value_of};

/// Outputs and spends of one author's transactions, whether they took effect or not.
#[derive(Debug, Default)]
struct Chain {
    outputs: BTreeMap<OutPoint, (Owner, Amount)>,
    spent: BTreeMap<OutPoint, TxId>,
}

/// All chains of believable authors, and what the slow lane bars.
#[derive(Debug, Default)]
pub(super) struct Views {
    chains: BTreeMap<MemberIndex, Chain>,
    bars: BTreeMap<OutPoint, (Height, TxId)>,
    excluded: BTreeSet<TxId>,
}

impl Views {
    /// An input is barred from a height on.
    pub(super) fn bar(&mut self, outpoint: OutPoint, height: Height, txid: TxId) -> Option<TxId> {
        let earlier = self.bars.get(&outpoint).map(|(_, by)| *by);
        self.bars.entry(outpoint).or_insert((height, txid));
        earlier
    }

    /// The bars of a slow transaction end.
    pub(super) fn unbar(&mut self, txid: &TxId) {
        self.bars.retain(|_, (_, by)| by != txid);
    }

    /// Inputs that are barred for author blocks on a base.
    pub(super) fn barred(&self, base: Height) -> impl Iterator<Item = OutPoint> + '_ {
        let bars = self.bars.iter();
        bars.filter(move |(_, (since, _))| base >= *since)
            .map(|(outpoint, _)| *outpoint)
    }

    pub(super) fn bars(&self) -> usize {
        self.bars.len()
    }

    /// A transaction that took no effect: what spends its outputs is as innocent as it was.
    pub(super) fn exclude(&mut self, txid: TxId) {
        self.excluded.insert(txid);
    }

    /// What is wrong with a transaction by its author's own view, if anything; the transaction then joins that view.
    pub(super) fn judge(
        &mut self,
        money: &Money,
        (author, base): (MemberIndex, Height),
        (txid, tx): (TxId, &TxView<'_>),
        applied: bool,
    ) -> Option<&'static str> {
        let barred = tx.inputs().any(|input| {
            let bar = self.bars.get(&input.outpoint);
            bar.is_some_and(|(since, by)| *by != txid && base >= *since)
        });
        let orphan = tx
            .inputs()
            .any(|input| self.excluded.contains(&input.outpoint.txid));
        let chain = self.chains.entry(author).or_default();
        let fault = if barred {
            Some("it spends an input that the slow lane bars")
        } else if applied || orphan {
            None
        } else {
            chain.fault(money, base, tx)
        };
        for input in tx.inputs() {
            chain.spent.entry(input.outpoint).or_insert(txid);
        }
        for (index, output) in (0..).zip(tx.outputs()) {
            let outpoint = OutPoint { txid, index };
            chain.outputs.insert(outpoint, (output.owner, output.amount));
        }
        fault
    }
}

impl Chain {
    fn fault(&self, money: &Money, base: Height, tx: &TxView<'_>) -> Option<&'static str> {
        let mut sum = 0_u128;
        for input in tx.inputs() {
            let outpoint = &input.outpoint;
            let known = money.known(outpoint);
            let at_base = known.filter(|known| known.utxo.created <= base);
            let own = self.outputs.get(outpoint).copied();
            let Some((owner, amount)) = at_base.map(|known| (known.utxo.owner, known.utxo.amount)).or(own)
            else {
                return Some("an input was not there");
            };
            if known
                .and_then(|known| known.spent)
                .is_some_and(|(at, _)| at <= base)
            {
                return Some("an input was spent");
            }
            if self.spent.contains_key(outpoint) {
                return Some("its author had spent an input itself");
            }
            if tx.owner(input.owner) != Some(owner) {
                return Some("an input is another owner's");
            }
            sum += u128::from(amount.0);
        }
        (sum != value_of(tx)).then_some("inputs and outputs are worth different sums")
    }
}
