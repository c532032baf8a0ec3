//! Coins that the generator can spend: from the genesis, or from what fetched chains leave unspent.

use std::ops::Range;

use crypto::hash::{allocation_outpoint, allocations_hash};
use types::genesis::{Allocation, Genesis};
use types::{Amount, OutPoint, Owner};

use crate::ownership::Accounts;

/// One unspent output of one of our accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coin {
    /// The output.
    pub outpoint: OutPoint,
    /// Account that owns it.
    pub account: u32,
    /// Its amount.
    pub amount: Amount,
}

/// Unspent outputs of our accounts.
///
/// Invariant: the order depends on the set alone, so that equal sets give equal workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wallet {
    coins: Vec<Coin>,
}

/// Why there is nothing to spend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletError {
    /// The allocations are not those of the genesis.
    #[error(
        "the allocations file does not belong to this genesis: its hash is {found}, the genesis names {named}"
    )]
    Allocations {
        /// Hash of the file's allocations.
        found: types::Hash,
        /// Hash that the genesis names.
        named: types::Hash,
    },
    /// No live coin belongs to the seed.
    #[error(
        "no live coin belongs to seed {seed}: the genesis of this network funds seed {funded} with {accounts} accounts (use --seed {funded}, or a network made with --seed {seed})"
    )]
    Unfunded {
        /// Seed of the run.
        seed: u64,
        /// Seed that the genesis funds.
        funded: u64,
        /// Accounts that it funds.
        accounts: u32,
    },
}

impl Wallet {
    /// Coins of a network that has not run: allocation `i` is the outpoint of `ios` 1.10.
    ///
    /// # Errors
    /// `Allocations` when they are not the genesis', `Unfunded` when none of them belongs to an account.
    pub fn from_genesis(
        genesis: &Genesis,
        allocations: &[Allocation],
        accounts: &Accounts,
    ) -> Result<Self, WalletError> {
        let found = allocations_hash(allocations);
        if found != genesis.allocations_hash {
            return Err(WalletError::Allocations {
                found,
                named: genesis.allocations_hash,
            });
        }
        let outputs = (0_u64..).zip(allocations).map(|(position, allocation)| {
            let outpoint = allocation_outpoint(&genesis.name, position);
            (outpoint, allocation.owner, allocation.amount)
        });
        Self::new(genesis, accounts, outputs)
    }

    /// Coins of a network that has run: `unspent` is its state, as [`crate::audit::Audit::unspent`] gives it.
    ///
    /// # Errors
    /// `Unfunded` when none of the outputs belongs to an account.
    pub fn resume(
        genesis: &Genesis,
        accounts: &Accounts,
        unspent: impl IntoIterator<Item = (OutPoint, Owner, Amount)>,
    ) -> Result<Self, WalletError> {
        Self::new(genesis, accounts, unspent)
    }

    fn new(
        genesis: &Genesis,
        accounts: &Accounts,
        outputs: impl IntoIterator<Item = (OutPoint, Owner, Amount)>,
    ) -> Result<Self, WalletError> {
        let mut coins: Vec<Coin> = outputs
            .into_iter()
            .filter_map(|(outpoint, owner, amount)| {
                let account = accounts.find(&owner)?;
                Some(Coin {
                    outpoint,
                    account,
                    amount,
                })
            })
            .collect();
        if coins.is_empty() {
            return Err(WalletError::Unfunded {
                seed: accounts.seed(),
                funded: genesis.funding.seed,
                accounts: genesis.funding.accounts,
            });
        }
        coins.sort_unstable_by_key(|coin| coin.outpoint);
        Ok(Self { coins })
    }

    /// Leaves the coins of these accounts alone.
    #[must_use]
    pub fn without(mut self, accounts: &Range<u32>) -> Self {
        self.coins.retain(|coin| !accounts.contains(&coin.account));
        self
    }

    /// The coins.
    #[must_use]
    pub fn coins(&self) -> &[Coin] {
        &self.coins
    }

    /// Their value.
    #[must_use]
    pub fn value(&self) -> u128 {
        self.coins.iter().map(|coin| u128::from(coin.amount.0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Wallet, WalletError};
    use crate::ownership::Accounts;
    use crate::workload::sample::Sample;
    use types::Amount;

    #[test]
    fn coins_follow_the_rule_of_the_genesis() {
        let sample = Sample::new(1, 5);
        let wallet = sample.wallet();
        assert_eq!(wallet.coins().len(), 5);
        assert_eq!(wallet.value(), 5 * u128::from(sample.genesis.funding.amount.0));
        for coin in wallet.coins() {
            let position = u64::from(coin.account);
            let outpoint = crypto::hash::allocation_outpoint(&sample.genesis.name, position);
            assert_eq!(
                (coin.outpoint, coin.amount),
                (outpoint, sample.genesis.funding.amount)
            );
        }
    }

    #[test]
    fn coins_set_aside_are_not_spent() {
        let sample = Sample::new(1, 20);
        let wallet = sample.wallet().without(&(15..20));
        assert_eq!(wallet.coins().len(), 15);
        assert!(wallet.coins().iter().all(|coin| coin.account < 15));
    }

    #[test]
    fn another_seed_is_refused_with_both_named() {
        let sample = Sample::new(1, 5);
        let others = Accounts::derive(77, 5, 1, 1, &|_, _| {});
        let error =
            Wallet::from_genesis(&sample.genesis, &sample.allocations, &others).expect_err("unfunded");
        let message = error.to_string();
        assert!(
            message.contains("seed 77") && message.contains("seed 1 with 5"),
            "{message}"
        );
        let error = Wallet::resume(&sample.genesis, &sample.accounts, []).expect_err("all spent");
        assert!(matches!(error, WalletError::Unfunded { .. }));
    }

    #[test]
    fn foreign_allocations_are_refused() {
        let mut sample = Sample::new(1, 5);
        sample.allocations[3].amount = Amount(1);
        let error = Wallet::from_genesis(&sample.genesis, &sample.allocations, &sample.accounts)
            .expect_err("another hash");
        assert!(matches!(error, WalletError::Allocations { .. }));
    }

    #[test]
    fn equal_sets_give_equal_wallets_in_whatever_order_they_come() {
        let sample = Sample::new(1, 9);
        let wallet = sample.wallet();
        let outputs = wallet.coins().iter().map(|coin| {
            let owner = sample.accounts.owner(coin.account).expect("an account");
            (coin.outpoint, owner, coin.amount)
        });
        let forward = Wallet::resume(&sample.genesis, &sample.accounts, outputs.clone());
        let backward = Wallet::resume(&sample.genesis, &sample.accounts, outputs.rev());
        assert_eq!(forward, backward);
        assert_eq!(
            forward,
            Ok(wallet.clone()),
            "an untouched network is as good as new"
        );
    }
}
