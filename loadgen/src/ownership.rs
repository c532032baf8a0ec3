//! Accounts of a workload: keys derived from the seed, found by owner, sorted by shard.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crypto::keys::{SecretKey, account_seed};
use crypto::placement::shard_of;
use types::{Owner, ShardId, Signature};

/// Accounts that one thread derives before it reports progress.
const CHUNK: usize = 512;

/// Keys and owners of accounts `0..count` of a seed.
///
/// Invariant: account `i` is `account_seed(seed, i)`, so a genesis with the same seed funds exactly these owners.
pub struct Accounts {
    seed: u64,
    shards: u16,
    keys: Vec<SecretKey>,
    owners: Vec<Owner>,
    index: HashMap<Owner, u32>,
    by_shard: Vec<Vec<u32>>,
}

impl Accounts {
    /// Derives `count` accounts on `threads` threads (at least one). `progress` gets (done, total) from any thread.
    ///
    /// Cost: one key derivation each, tens of microseconds.
    #[must_use]
    pub fn derive(
        seed: u64,
        count: u32,
        shards: u16,
        threads: usize,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Self {
        let total = u64::from(count);
        let done = AtomicU64::new(0);
        let threads = threads.clamp(1, 256);
        let part = (count as usize).div_ceil(threads).max(1);
        let derive_part = |from: usize, to: usize| {
            let mut accounts = Vec::with_capacity(to - from);
            for start in (from..to).step_by(CHUNK) {
                let end = (start + CHUNK).min(to);
                for index in start..end {
                    let key = SecretKey::from_seed(account_seed(seed, index as u64));
                    let owner = Owner(key.public());
                    accounts.push((key, owner));
                }
                let before = done.fetch_add((end - start) as u64, Ordering::Relaxed);
                progress(before + (end - start) as u64, total);
            }
            accounts
        };
        let accounts: Vec<(SecretKey, Owner)> = thread::scope(|scope| {
            let parts: Vec<_> = (0..count as usize)
                .step_by(part)
                .map(|from| {
                    let to = (from + part).min(count as usize);
                    scope.spawn(move || derive_part(from, to))
                })
                .collect();
            parts
                .into_iter()
                .flat_map(|part| {
                    part.join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        let (keys, owners): (Vec<_>, Vec<_>) = accounts.into_iter().unzip();
        let mut by_shard = vec![Vec::new(); usize::from(shards.max(1))];
        for (account, owner) in (0_u32..).zip(&owners) {
            if let Some(list) = by_shard.get_mut(usize::from(shard_of(owner, shards).0)) {
                list.push(account);
            }
        }
        let index = (0_u32..).zip(&owners).map(|(account, owner)| (*owner, account));
        Self {
            seed,
            shards,
            index: index.collect(),
            keys,
            owners,
            by_shard,
        }
    }

    /// Seed of the keys.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Number of accounts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Owner of an account.
    #[must_use]
    pub fn owner(&self, account: u32) -> Option<Owner> {
        self.owners.get(account as usize).copied()
    }

    /// All owners, by account.
    #[must_use]
    pub fn owners(&self) -> &[Owner] {
        &self.owners
    }

    /// Account of an owner, if it is one of these.
    #[must_use]
    pub fn find(&self, owner: &Owner) -> Option<u32> {
        self.index.get(owner).copied()
    }

    /// Shard of an account.
    #[must_use]
    pub fn shard(&self, account: u32) -> Option<ShardId> {
        self.owner(account).map(|owner| shard_of(&owner, self.shards))
    }

    /// Accounts of a shard, ascending; empty for a shard that does not exist.
    #[must_use]
    pub fn of_shard(&self, shard: ShardId) -> &[u32] {
        self.by_shard.get(usize::from(shard.0)).map_or(&[], Vec::as_slice)
    }

    /// Number of shards that the accounts are sorted into.
    #[must_use]
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    /// Signs as an account; `None` for one that does not exist.
    #[must_use]
    pub fn sign(&self, account: u32, message: &[u8]) -> Option<Signature> {
        self.keys.get(account as usize).map(|key| key.sign(message))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Accounts;
    use crypto::keys::{SecretKey, account_seed};
    use crypto::placement::shard_of;
    use types::{Owner, ShardId};

    #[test]
    fn accounts_do_not_depend_on_threads_and_are_found_by_owner_and_shard() {
        let most = AtomicU64::new(0);
        let one = Accounts::derive(7, 1500, 4, 1, &|_, _| {});
        let three = Accounts::derive(7, 1500, 4, 3, &|done, total| {
            assert_eq!(total, 1500);
            most.fetch_max(done, Ordering::Relaxed);
        });
        assert_eq!(one.owners(), three.owners());
        assert_eq!(most.load(Ordering::Relaxed), 1500);
        let owner = Owner(SecretKey::from_seed(account_seed(7, 1234)).public());
        assert_eq!(one.owner(1234), Some(owner));
        assert_eq!(one.find(&owner), Some(1234));
        assert_eq!(one.shard(1234), Some(shard_of(&owner, 4)));
        assert_eq!(one.find(&Owner([0; 32])), None);
        let sorted: usize = (0..4).map(|shard| one.of_shard(ShardId(shard)).len()).sum();
        assert_eq!(sorted, 1500);
        assert!(one.of_shard(ShardId(4)).is_empty());
        assert!(one.sign(1500, b"x").is_none());
        assert_ne!(one.owners(), Accounts::derive(8, 1500, 4, 2, &|_, _| {}).owners());
    }
}
