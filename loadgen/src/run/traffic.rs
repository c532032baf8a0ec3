//! What a network of this run's own is to carry, known before it starts: its bonds are sized for that.

use sizing::exposure::Traffic;

use crate::config::Load;
use crate::import::{Trace, TraceTx};
use crate::workload::{TransferShape, Workload};

/// Coins that generated payments begin with: one for each account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coins {
    pub(crate) accounts: u32,
    /// Of each, smallest units.
    pub(crate) amount: u64,
}

/// What `count` transactions of a workload are worth, at the highest rate of the load.
pub(crate) fn expected(workload: &Workload, load: &Load, count: usize, coins: &Coins) -> Traffic {
    let (value_mean, value_max) = match workload {
        Workload::Transfer(shape) => of_transfers(shape, count, coins),
        Workload::Replay(trace) => of_trace(trace),
    };
    Traffic {
        rate: peak(load),
        value_mean,
        value_max,
    }
}

/// Highest rate of a load, transactions per second of all shards together.
pub(crate) fn peak(load: &Load) -> f64 {
    let ends = load.pieces.iter().flat_map(|(ramp, _)| [ramp.from, ramp.to]);
    ends.map(|rate| rate.per_second()).fold(0.0, f64::max)
}

/// Mean and largest value. Coins become no larger on the whole while transactions make as many as they take; else the
/// same sum lies in fewer coins at the end, at the least in one.
fn of_transfers(shape: &TransferShape, count: usize, coins: &Coins) -> (u64, u64) {
    let accounts = f64::from(coins.accounts.max(1));
    let left = accounts + count as f64 * (shape.outputs.mean() - shape.inputs.mean());
    let coin = coins.amount as f64 * accounts / left.clamp(1.0, accounts);
    let supply = coins.amount as f64 * accounts;
    // A cast of what is too large gives the highest number.
    let value = |inputs: f64| (inputs * coin).min(supply).ceil() as u64;
    (value(shape.inputs.mean()), value(shape.inputs.max.into()))
}

fn of_trace(trace: &Trace) -> (u64, u64) {
    let value = |tx: &TraceTx| {
        let outputs = tx.outputs.iter();
        outputs.fold(tx.fee.0, |sum, output| sum.saturating_add(output.amount.0))
    };
    let count = trace.transactions.len().max(1) as u128;
    let sum: u128 = trace.transactions.iter().map(|tx| u128::from(value(tx))).sum();
    let mean = u64::try_from(sum.div_ceil(count)).unwrap_or(u64::MAX);
    (
        mean,
        trace.transactions.iter().map(value).max().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crypto::sampling::{full_from, survival};
    use sizing::exposure::{Traffic, VALUE_SAFETY, exposure_margin, open_seconds};
    use types::Amount;
    use types::policy::Policy;

    use super::{Coins, expected};
    use crate::config::{Load, Overload, WindowLength};
    use crate::import::{Source, Trace, TraceCoin, TraceTx};
    use crate::schedule::Arrival;
    use crate::units::{Ramp, Rate};
    use crate::workload::sample::Sample;
    use crate::workload::{Span, TransferShape, Workload};

    const COINS: Coins = Coins {
        accounts: 200,
        amount: 1_000_000,
    };
    /// Honest voters inside any quorum of four.
    const HONEST: u32 = 2;

    fn load(pieces: &[(u64, u64)]) -> Load {
        let rate = |per_second: u64| Rate {
            milli: per_second * 1000,
        };
        let piece = |(from, to): &(u64, u64)| {
            let (from, to) = (rate(*from), rate(*to));
            (Ramp { from, to }, Duration::from_secs(1))
        };
        Load {
            pieces: pieces.iter().map(piece).collect(),
            window: WindowLength::Time(Duration::from_secs(1)),
            warmup: Duration::ZERO,
            drain: Duration::from_secs(1),
            arrival: Arrival::Uniform,
            overload: Overload::Queue,
            deadline: Duration::from_secs(1),
            in_flight_max: 1000,
            seed: 1,
        }
    }

    fn transfers(inputs: Span, outputs: u8) -> Workload {
        Workload::Transfer(TransferShape {
            inputs,
            outputs: Span::exactly(outputs),
            ..TransferShape::default()
        })
    }

    #[test]
    fn the_highest_rate_counts() {
        let workload = transfers(Span::exactly(1), 2);
        for (pieces, rate) in [
            (&[(1000, 1000)][..], 1000.0),
            (&[(10, 3000), (3000, 2000)], 3000.0),
        ] {
            let traffic = expected(&workload, &load(pieces), 10, &COINS);
            assert!((traffic.rate - rate).abs() < 1e-9, "{traffic:?}");
        }
    }

    #[test]
    fn generated_payments_are_worth_no_more_than_was_expected() {
        let sample = Sample::new(1, COINS.accounts);
        let times: Vec<u64> = (0..150).map(|number| number * 1_000_000_000).collect();
        for (inputs, outputs) in [
            (Span::exactly(1), 2),
            (Span::exactly(2), 2),
            (Span { min: 1, max: 4 }, 3),
            (Span::exactly(2), 1),
        ] {
            let workload = transfers(inputs, outputs);
            let mix = sample.build(&workload, &times, 2).expect("signed").mix;
            let traffic = expected(&workload, &load(&[(1, 1)]), times.len(), &COINS);
            let words = format!("{inputs:?} to {outputs}: {mix:?} {traffic:?}");
            assert!(mix.value_mean <= traffic.value_mean as f64, "{words}");
            // From ten times what was expected on all voters check everything.
            assert!(
                mix.value_max <= traffic.value_max * u64::from(VALUE_SAFETY),
                "{words}"
            );
        }
    }

    #[test]
    fn a_trace_is_worth_what_its_transactions_are() {
        let coin = |amount| TraceCoin {
            owner: 0,
            amount: Amount(amount),
        };
        let tx = |outputs: &[u64]| TraceTx {
            fee: Amount(1),
            inputs: vec![Source::Allocation(0)],
            outputs: outputs.iter().map(|amount| coin(*amount)).collect(),
            memo: Vec::new(),
        };
        let trace = Trace {
            transactions: vec![tx(&[5, 6]), tx(&[30]), tx(&[1])],
            ..Trace::default()
        };
        let traffic = expected(&Workload::Replay(trace), &load(&[(7, 7)]), 3, &COINS);
        let whole = Traffic {
            rate: 7.0,
            value_mean: 15,
            value_max: 31,
        };
        assert_eq!(traffic, whole);
    }

    #[test]
    fn at_the_requested_rate_neither_v_full_nor_the_exposed_value_exceeds_the_bond() {
        let coins = Coins {
            accounts: 100_000,
            amount: crate::config::ACCOUNT_AMOUNT,
        };
        let passes = |ppm| survival(ppm, HONEST) as f64 / 2_f64.powi(64);
        for (rate, shards, inputs, ppm, policy) in [
            (10_000, 1, 1, 250_000, Policy::lan()),
            (10_000, 4, 3, 50_000, Policy::wan()),
            (100, 1, 64, 250_000, Policy::lan()),
        ] {
            let mut policy = policy.with_leagues();
            if let Some(leagues) = &mut policy.leagues {
                leagues.sampling_ppm = ppm;
            }
            let workload = transfers(Span::exactly(inputs), inputs.max(2));
            let traffic = expected(&workload, &load(&[(rate, rate)]), 100_000, &coins);
            let wanted = traffic.bonds(&policy, shards, HONEST);
            let for_value = wanted.for_value.expect("a bond");
            let bond = for_value.max(wanted.for_exposure);
            let full_from = full_from(Amount(bond), ppm, HONEST);
            assert!(full_from / 10 >= traffic.value_max, "{wanted:?}");
            // As the report computes it, with the longest latency that the policy allows.
            let exposed = rate as f64 / f64::from(shards) * open_seconds(&policy) * traffic.value_mean as f64;
            let margin = |bond| exposure_margin(bond, exposed, passes(ppm)).expect("a rate");
            assert!(margin(bond) >= 1.999, "{wanted:?}");
            if rate == 10_000 {
                assert!(
                    margin(for_value) < 1.0,
                    "single payments alone ask for too little"
                );
            }
        }
    }
}
