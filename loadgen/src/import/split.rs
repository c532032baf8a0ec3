//! Chains of transactions inside the format's limits that together do what one large transaction does.

use types::Amount;
use types::limits::{INPUTS_MAX, OUTPUTS_MAX};

use super::{Source, TraceCoin, TraceTx};

/// An input with what it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spend {
    pub(super) source: Source,
    pub(super) coin: TraceCoin,
}

/// One transaction of a chain.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) tx: TraceTx,
    /// Owners of its inputs, in order, with repetitions.
    pub(super) owners: Vec<u32>,
}

/// The chain, and where each output of the original stands: position in the trace, position among the outputs.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    pub(super) segments: Vec<Segment>,
    pub(super) outputs: Vec<(u32, u16)>,
}

/// Splits a transaction whose inputs equal its outputs plus its fee; `first` is the trace position of the first
/// segment. Inside the limits the chain is the transaction itself.
pub(super) fn split(
    inputs: Vec<Spend>,
    outputs: &[TraceCoin],
    fee: Amount,
    memo: Vec<u8>,
    first: u32,
) -> Chain {
    let mut chain = Chain::default();
    let mut inputs = merge(inputs, &mut chain, first);
    let mut rest = outputs;
    while rest.len() > OUTPUTS_MAX {
        let (taken, left) = rest.split_at(OUTPUTS_MAX - 1);
        let change = TraceCoin {
            owner: inputs.first().map_or(0, |input| input.coin.owner),
            amount: Amount(fee.0 + left.iter().map(|coin| coin.amount.0).sum::<u64>()),
        };
        let position = first + chain.segments.len() as u32;
        chain
            .outputs
            .extend((0..taken.len() as u16).map(|index| (position, index)));
        let mut outputs = taken.to_vec();
        outputs.push(change);
        chain.push(&inputs, outputs, Amount(0), Vec::new());
        inputs = vec![Spend {
            source: Source::Output {
                tx: position,
                index: taken.len() as u16,
            },
            coin: change,
        }];
        rest = left;
    }
    let position = first + chain.segments.len() as u32;
    chain
        .outputs
        .extend((0..rest.len() as u16).map(|index| (position, index)));
    chain.push(&inputs, rest.to_vec(), fee, memo);
    chain
}

/// Merges inputs until the limit holds; the merged output goes to the owner of the next input, so that no segment
/// gets an owner that it would not have anyway.
fn merge(inputs: Vec<Spend>, chain: &mut Chain, first: u32) -> Vec<Spend> {
    let mut rest = inputs.into_iter().peekable();
    let mut batch: Vec<Spend> = rest.by_ref().take(INPUTS_MAX).collect();
    while let Some(next) = rest.peek() {
        let merged = TraceCoin {
            owner: next.coin.owner,
            amount: Amount(batch.iter().map(|input| input.coin.amount.0).sum()),
        };
        let tx = first + chain.segments.len() as u32;
        chain.push(&batch, vec![merged], Amount(0), Vec::new());
        batch = vec![Spend {
            source: Source::Output { tx, index: 0 },
            coin: merged,
        }];
        batch.extend(rest.by_ref().take(INPUTS_MAX - 1));
    }
    batch
}

impl Chain {
    fn push(&mut self, inputs: &[Spend], outputs: Vec<TraceCoin>, fee: Amount, memo: Vec<u8>) {
        self.segments.push(Segment {
            tx: TraceTx {
                fee,
                inputs: inputs.iter().map(|input| input.source).collect(),
                outputs,
                memo,
            },
            owners: inputs.iter().map(|input| input.coin.owner).collect(),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Spend, split};
    use crate::import::{ImportCounts, Source, Trace, TraceCoin};
    use types::Amount;

    proptest! {
        #[test]
        fn every_size_becomes_a_valid_chain_of_equal_value(inputs in 1_u32..300, outputs in 1_usize..300, fee in 0_u64..1000) {
            let outputs: Vec<TraceCoin> = (0..outputs as u32)
                .map(|owner| TraceCoin { owner, amount: Amount(u64::from(owner) + 7) })
                .collect();
            let total = fee + outputs.iter().map(|coin| coin.amount.0).sum::<u64>() + u64::from(inputs);
            let coin = |position: u32| TraceCoin {
                owner: position % 5,
                amount: Amount(if position == 0 { total - u64::from(inputs) + 1 } else { 1 }),
            };
            let spends = (0..inputs)
                .map(|position| Spend { source: Source::Allocation(position), coin: coin(position) })
                .collect();
            let chain = split(spends, &outputs, Amount(fee + u64::from(inputs)), vec![9], 0);
            let mut trace = Trace {
                source: [0; 32],
                counts: ImportCounts::default(),
                owners: 300,
                allocations: (0..inputs).map(coin).collect(),
                transactions: chain.segments.iter().map(|segment| segment.tx.clone()).collect(),
            };
            // The graph's own rules: limits, order, single spends, value.
            prop_assert!(trace.validate().is_ok(), "{:?}", trace.validate());
            prop_assert_eq!(chain.outputs.len(), outputs.len());
            for ((tx, index), output) in chain.outputs.iter().zip(&outputs) {
                let coin = trace.coin(Source::Output { tx: *tx, index: *index });
                prop_assert_eq!(coin, Some(*output));
            }
            let last = trace.transactions.pop().expect("at least one");
            prop_assert_eq!((last.fee, last.memo), (Amount(fee + u64::from(inputs)), vec![9]));
            prop_assert!(trace.transactions.iter().all(|tx| tx.fee == Amount(0) && tx.memo.is_empty()));
        }
    }
}
