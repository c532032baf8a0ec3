//! Fees of a block whose earlier outputs are unknown: exact where possible, else shares of what the coinbase claimed.

/// What one transaction knows about its own balance, in satoshi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Balance {
    /// Inputs from inside the block.
    pub(super) inside: u64,
    /// Number of inputs of earlier blocks; each is worth at least 1.
    pub(super) funded: u64,
    /// Outputs.
    pub(super) outputs: u64,
    /// Weight, the share's measure.
    pub(super) weight: u64,
}

impl Balance {
    /// The least fee that can balance: exact when nothing is funded.
    fn fee_min(&self) -> u64 {
        (self.inside + self.funded).saturating_sub(self.outputs)
    }
}

/// Subsidy at a height, satoshi.
pub(super) fn subsidy(height: u64) -> u64 {
    let halvings = height / 210_000;
    if halvings < 64 {
        5_000_000_000 >> halvings
    } else {
        0
    }
}

/// One fee per transaction. With `claimed` known and large enough the fees add up to it, else every fee is the least
/// that balances.
pub(super) fn fees(balances: &[Balance], claimed: Option<u64>) -> Vec<u64> {
    let least: u64 = balances.iter().map(Balance::fee_min).sum();
    let spare = u128::from(claimed.unwrap_or(0).saturating_sub(least));
    let is_open = |balance: &&Balance| balance.funded > 0;
    let total: u128 = balances
        .iter()
        .filter(is_open)
        .map(|balance| u128::from(balance.weight))
        .sum();
    let mut before = 0_u128;
    balances
        .iter()
        .map(|balance| {
            if balance.funded == 0 || total == 0 {
                return balance.fee_min();
            }
            // Differences of rounded prefixes: the shares add up exactly.
            let after = before + u128::from(balance.weight);
            let share = spare * after / total - spare * before / total;
            before = after;
            balance.fee_min() + share as u64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Balance, fees, subsidy};

    #[test]
    fn subsidy_halves_every_210_000_blocks() {
        assert_eq!(subsidy(0), 5_000_000_000);
        assert_eq!(subsidy(300_025), 2_500_000_000);
        assert_eq!(subsidy(928_816), 312_500_000);
        assert_eq!(subsidy(210_000 * 64), 0);
    }

    #[test]
    fn exact_fees_stay_and_the_rest_of_the_claim_is_shared_by_weight() {
        let exact = Balance {
            inside: 100,
            funded: 0,
            outputs: 90,
            weight: 500,
        };
        let light = Balance {
            inside: 0,
            funded: 1,
            outputs: 50,
            weight: 100,
        };
        let heavy = Balance {
            inside: 60,
            funded: 2,
            outputs: 50,
            weight: 300,
        };
        let balances = [exact, light, heavy];
        // 10 exact and 12 demanded by the inputs inside; 41 of 63 are left for weights 100 and 300.
        assert_eq!(fees(&balances, Some(63)), [10, 10, 43]);
        assert_eq!(fees(&balances, Some(5)), [10, 0, 12]);
        assert_eq!(fees(&balances, None), [10, 0, 12]);
    }
}
