//! A small network for tests: validators, genesis, accounts.

use crypto::hash::allocations_hash;
use crypto::keys::SecretKey;
use crypto::placement::epoch_config;
use types::genesis::{Allocation, EpochConfig, FundingRule, Genesis};
use types::policy::{Leagues, Policy};
use types::{Amount, Hash};

use super::{Workload, WorkloadSpec};
use crate::arena::{Arena, ArenaError};
use crate::ownership::Accounts;
use crate::wallet::Wallet;

pub(crate) const SEED: u64 = 1;
/// Bond of every validator.
pub(crate) const BOND: u64 = 500;

pub(crate) struct Sample {
    pub(crate) genesis: Genesis,
    pub(crate) epoch: EpochConfig,
    pub(crate) allocations: Vec<Allocation>,
    pub(crate) accounts: Accounts,
    /// By validator id.
    pub(crate) keys: Vec<SecretKey>,
}

impl Sample {
    /// Four validators for each shard; every account holds a million.
    pub(crate) fn new(shards: u16, accounts: u32) -> Self {
        let accounts = Accounts::derive(SEED, accounts, shards, 2, &|_, _| {});
        let funded = |owner: &types::Owner| Allocation {
            owner: *owner,
            amount: Amount(1_000_000),
        };
        let allocations = accounts.owners().iter().map(funded).collect();
        Self::with(shards, accounts, allocations, true)
    }

    pub(crate) fn with(shards: u16, accounts: Accounts, allocations: Vec<Allocation>, by_rule: bool) -> Self {
        Self::governed(shards, accounts, allocations, by_rule, Policy::lan())
    }

    /// Two leagues: four voters for each shard besides the candidates.
    pub(crate) fn two_leagues(shards: u16, accounts: u32, change: impl FnOnce(&mut Leagues)) -> Self {
        let accounts = Accounts::derive(SEED, accounts, shards, 2, &|_, _| {});
        let funded = |owner: &types::Owner| Allocation {
            owner: *owner,
            amount: Amount(1_000_000),
        };
        let allocations = accounts.owners().iter().map(funded).collect();
        let mut policy = Policy::lan().with_leagues();
        let leagues = policy.leagues.as_mut().expect("two leagues");
        // Every bond is as believable as one can be.
        leagues.bond_cap = BOND;
        change(leagues);
        Self::governed(shards, accounts, allocations, true, policy)
    }

    fn governed(
        shards: u16,
        accounts: Accounts,
        allocations: Vec<Allocation>,
        by_rule: bool,
        policy: Policy,
    ) -> Self {
        let members = 4 + policy.candidates() as u8;
        let mut keys: Vec<SecretKey> = (0..members * shards as u8)
            .map(|id| SecretKey::from_seed([id + 100; 32]))
            .collect();
        keys.sort_by_key(SecretKey::public);
        let genesis = Genesis {
            name: "sample".into(),
            policy,
            shards,
            randomness: Hash([9; 32]),
            validators: keys.iter().map(SecretKey::public).collect(),
            voting_keys: Vec::new(),
            bonds: vec![BOND; keys.len()],
            funding: FundingRule {
                seed: accounts.seed(),
                accounts: if by_rule { allocations.len() as u32 } else { 0 },
                amount: Amount(1_000_000),
            },
            allocations: allocations.len() as u32,
            allocations_hash: allocations_hash(&allocations),
        };
        genesis.validate().expect("a valid genesis");
        Self {
            epoch: epoch_config(&genesis),
            genesis,
            allocations,
            accounts,
            keys,
        }
    }

    pub(crate) fn wallet(&self) -> Wallet {
        Wallet::from_genesis(&self.genesis, &self.allocations, &self.accounts).expect("funded")
    }

    /// A workload on this network, signed by `threads` threads.
    pub(crate) fn build(
        &self,
        workload: &Workload,
        times: &[u64],
        threads: usize,
    ) -> Result<Arena, ArenaError> {
        self.build_from(self.wallet(), workload, times, threads)
    }

    /// The same with coins of another origin.
    pub(crate) fn build_from(
        &self,
        wallet: Wallet,
        workload: &Workload,
        times: &[u64],
        threads: usize,
    ) -> Result<Arena, ArenaError> {
        let spec = WorkloadSpec {
            workload,
            seed: SEED,
            intended_ns: times,
            settle_ns: 3_000_000_000,
        };
        crate::arena::build(
            &spec,
            &self.genesis,
            &self.epoch,
            wallet,
            &self.accounts,
            threads,
            &|_, _| {},
        )
    }
}

/// `count` times at an even rate.
pub(crate) fn times(count: u64, per_second: u64) -> Vec<u64> {
    (0..count).map(|k| k * 1_000_000_000 / per_second).collect()
}
