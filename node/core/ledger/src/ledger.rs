//! The ledger of one shard: its partitions, its heights and its sums.

use std::collections::{BTreeSet, VecDeque};

use crypto::hash::effects_digest;
use crypto::placement::shard_of;
use types::{Amount, Counters, Hash, Height, OutPoint, Owner, TxId};

use crate::decide::Decisions;
use crate::executor::Executor;
use crate::hash::KeyHash;
use crate::partition::Partition;
use crate::plan::{Block, Plan};
use crate::planted::Fault;
use crate::resolve::{Check, Resolved, Rules};
use crate::settle::Settlement;
use crate::{
    Applied, BlockInput, LedgerConfig, LedgerError, Lookup, PARTITIONS, Snapshot, StateChanges, Totals, Utxo,
};
use crate::{commit, digest, resolve, settle};

/// A height above the final one.
struct Speculative {
    digest: Hash,
    /// Counters after it.
    counters: Counters,
    /// Transactions whose claims it settled.
    claimed: Vec<TxId>,
}

/// The unspent outputs of one shard, with the speculative heights applied in place.
///
/// Heights go `apply` (tip + 1), then either `roll_back` (the tip goes down, never below the final height) or
/// `finalize` (the final height goes up, never above the tip).
///
/// Cost: 128 bytes for each output and 9 to 18 bytes of table; an output that was spent costs the same until its
/// tombstone goes.
pub struct Ledger {
    config: LedgerConfig,
    partitions: Vec<Partition>,
    /// Outputs and counters at the start.
    supply: u128,
    final_height: Height,
    final_digest: Hash,
    totals: Totals,
    /// Transactions whose claims were settled up to the tip. They stay for ever: compensations are spent and their
    /// tombstones go, and a validator that restored a snapshot never had them.
    claimed: BTreeSet<TxId>,
    /// Heights above the final one, ascending.
    speculative: VecDeque<Speculative>,
    fault: Fault,
    // Scratch of `apply`, kept so that a block allocates next to nothing.
    plan: Plan,
    checks: Vec<Check>,
    resolved: Vec<Resolved>,
    decisions: Decisions,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Ledger")
            .field("height", &self.height())
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// The state of genesis, at height 0, with the bonds in force of the validators that serve the shard. Its digest
    /// is that of a block at height 0 which creates everything, after the genesis hash.
    ///
    /// # Errors
    /// An output of another shard, an output given twice, more value than fits.
    pub fn new(
        config: LedgerConfig,
        outputs: impl IntoIterator<Item = (OutPoint, Owner, Amount)>,
        bonds: u64,
    ) -> Result<Self, LedgerError> {
        let genesis_hash = config.genesis_hash;
        let counters = Counters {
            bonds,
            ..Counters::default()
        };
        let mut ledger = Self::empty(config, Height(0), genesis_hash, counters);
        if counters != Counters::default() {
            ledger.partitions[0].note(&digest::counters_entry(&counters));
        }
        for (outpoint, owner, amount) in outputs {
            ledger.found(
                &outpoint,
                &Utxo {
                    owner,
                    amount,
                    created: Height(0),
                },
            )?;
        }
        let mut hashes = [[0; 32]; PARTITIONS];
        for (hash, partition) in hashes.iter_mut().zip(&mut ledger.partitions) {
            *hash = partition.take_changes_hash(Fault::default());
            partition.drop_changes();
        }
        ledger.final_digest = effects_digest(&genesis_hash, Height(0), &hashes);
        ledger.close_supply()
    }

    /// The state of a snapshot. It has no tombstones: up to `keep_spent` heights later a spent input may be called
    /// missing, which excludes its transaction just the same.
    ///
    /// # Errors
    /// As [`Ledger::new`], and an output created above the snapshot's height.
    pub fn restore(config: LedgerConfig, snapshot: Snapshot) -> Result<Self, LedgerError> {
        let mut ledger = Self::empty(config, snapshot.height, snapshot.digest, snapshot.counters);
        ledger.claimed.extend(snapshot.claimed);
        for (outpoint, utxo) in &snapshot.outputs {
            if utxo.created > snapshot.height {
                return Err(LedgerError::FromLater {
                    outpoint: *outpoint,
                    created: utxo.created,
                    accepted: snapshot.height,
                });
            }
            ledger.found(outpoint, utxo)?;
        }
        ledger.partitions.iter_mut().for_each(Partition::drop_changes);
        ledger.close_supply()
    }

    fn empty(config: LedgerConfig, height: Height, digest: Hash, counters: Counters) -> Self {
        let hash = KeyHash::new(config.hash_seed);
        Self {
            config,
            partitions: (0..PARTITIONS).map(|_| Partition::new(hash)).collect(),
            supply: 0,
            final_height: height,
            final_digest: digest,
            totals: Totals {
                counters,
                ..Totals::default()
            },
            claimed: BTreeSet::new(),
            speculative: VecDeque::new(),
            fault: Fault::default(),
            plan: Plan::new(),
            checks: Vec::new(),
            resolved: Vec::new(),
            decisions: Decisions::default(),
        }
    }

    fn found(&mut self, outpoint: &OutPoint, utxo: &Utxo) -> Result<(), LedgerError> {
        let (found, accepted) = (shard_of(&utxo.owner, self.config.shards), self.config.shard);
        if found != accepted {
            return Err(LedgerError::WrongShard {
                outpoint: *outpoint,
                found,
                accepted,
            });
        }
        if !self.partitions[outpoint.partition()].found(outpoint, utxo) {
            return Err(LedgerError::Twice(*outpoint));
        }
        self.totals.outputs += 1;
        self.totals.value += u128::from(utxo.amount.0);
        Ok(())
    }

    fn close_supply(mut self) -> Result<Self, LedgerError> {
        self.supply = self.totals.supply();
        if self.supply > u128::from(u64::MAX) {
            return Err(LedgerError::Supply {
                shard: self.config.shard,
                value: self.supply,
            });
        }
        Ok(self)
    }

    /// The last applied height.
    #[must_use]
    pub fn height(&self) -> Height {
        Height(self.final_height.0 + self.speculative.len() as u64)
    }

    /// The height that `roll_back` cannot go below.
    #[must_use]
    pub const fn final_height(&self) -> Height {
        self.final_height
    }

    /// Effects digest at the final height.
    #[must_use]
    pub const fn final_digest(&self) -> Hash {
        self.final_digest
    }

    /// Effects digest after the last applied height.
    #[must_use]
    pub fn digest(&self) -> Hash {
        self.speculative
            .back()
            .map_or(self.final_digest, |last| last.digest)
    }

    /// Sums at the final height.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Outputs and counters together, the same at every height; after a restart as the snapshot has it.
    #[must_use]
    pub const fn supply(&self) -> u128 {
        self.supply
    }

    /// What an outpoint is at a base height, from the final height less `keep_spent` up to the tip.
    #[must_use]
    pub fn lookup(&self, outpoint: &OutPoint, base: Height) -> Lookup {
        self.partitions[outpoint.partition()].lookup(outpoint, base)
    }

    /// Counters after the last applied height.
    fn tip_counters(&self) -> Counters {
        let last = self.speculative.back();
        last.map_or(self.totals.counters, |last| last.counters)
    }

    /// Applies the next height: slashes, then claims, then transactions take effect in list order, those of author
    /// blocks before the slow ones; transactions that break a rule have none.
    ///
    /// A transaction may spend outputs of an earlier one of the list, and compensations of this height. The result
    /// does not depend on the executor.
    ///
    /// # Panics
    /// When `height` is not the tip's next, a bad signature's position is past its body, slashed bonds are more than
    /// those in force, or a claim names more victims than a transaction has inputs: mistakes of the caller.
    pub fn apply(&mut self, height: Height, input: &BlockInput<'_>, executor: &dyn Executor) -> Applied {
        assert_eq!(
            height,
            self.height().next(),
            "heights are applied one after the other"
        );
        let orders = settle::check(&self.tip_counters(), input.slashes, input.claims);
        assert_eq!(orders, Ok(()), "orders are those of a valid block");
        self.plan.read(input);
        let settlement = self.settle(height, input);
        let block = Block {
            input,
            plan: &self.plan,
        };
        let rules = Rules {
            height,
            shard: self.config.shard,
            shards: self.config.shards,
            fee_min: self.config.fee_min,
            expiry_ahead_max: self.config.expiry_ahead_max,
            keep_spent: self.config.keep_spent,
        };
        self.checks.resize(block.plan.txs.len(), Check::default());
        self.resolved
            .resize(block.plan.input_places.len(), Resolved::default());
        let numbers = (&mut self.checks[..], &mut self.resolved[..]);
        resolve::run(&block, &rules, &mut self.partitions, numbers, executor);
        let (batches, slow) = self
            .decisions
            .decide(&block, &self.checks, &self.resolved, self.fault);

        // Commit: nothing below can fail.
        let numbers = (&mut self.checks[..], &mut self.resolved[..]);
        let hashes = commit::run(
            &block,
            height,
            &mut self.partitions,
            numbers,
            (&self.decisions, self.fault),
            executor,
        );
        let digest = effects_digest(&self.digest(), height, &hashes);
        let (applied, fees) = (self.decisions.count, self.decisions.fees);
        let mut counters = settlement.counters;
        counters.fees = counters.fees.saturating_add(fees);
        self.speculative.push_back(Speculative {
            digest,
            counters,
            claimed: settlement.claimed,
        });
        Applied {
            height,
            digest,
            batches,
            claims: settlement.outcomes,
            slow,
            applied,
            fees,
        }
    }

    fn settle(&mut self, height: Height, input: &BlockInput<'_>) -> Settlement {
        settle::run(
            height,
            (input.slashes, input.claims),
            self.tip_counters(),
            &mut self.claimed,
            &mut self.partitions,
            self.fault,
        )
    }

    /// Undoes every height above `to` exactly.
    ///
    /// # Panics
    /// When `to` is below the final height or above the tip: a mistake of the caller.
    pub fn roll_back(&mut self, to: Height) {
        assert!(
            (self.final_height..=self.height()).contains(&to),
            "height {to} is not between the final height and the tip"
        );
        self.partitions
            .iter_mut()
            .for_each(|partition| partition.roll_back(to));
        let kept = (to.0 - self.final_height.0) as usize;
        for undone in self.speculative.drain(kept..) {
            for txid in &undone.claimed {
                self.claimed.remove(txid);
            }
        }
    }

    /// Makes every height up to `height` final and returns what they changed, net. Tombstones that became
    /// `keep_spent` heights old go.
    ///
    /// # Panics
    /// When `height` is below the final height or above the tip: a mistake of the caller.
    pub fn finalize(&mut self, height: Height) -> StateChanges {
        assert!(
            (self.final_height..=self.height()).contains(&height),
            "height {height} is not between the final height and the tip"
        );
        let mut claimed = Vec::new();
        for last in self
            .speculative
            .drain(..(height.0 - self.final_height.0) as usize)
        {
            self.final_digest = last.digest;
            self.totals.counters = last.counters;
            claimed.extend(last.claimed);
        }
        let mut net = StateChanges {
            height,
            digest: self.final_digest,
            counters: self.totals.counters,
            claimed,
            created: Vec::new(),
            spent: Vec::new(),
        };
        for partition in &mut self.partitions {
            partition.finalize(self.final_height, height, &mut net, &mut self.totals);
            partition.purge(height, self.config.keep_spent);
        }
        self.final_height = height;
        net
    }

    /// Unspent outputs at the final height, ascending by outpoint. Sorts one partition at a time.
    pub fn outputs(&self) -> impl Iterator<Item = (OutPoint, Utxo)> + '_ {
        let base = self.final_height.0;
        self.partitions.iter().flat_map(move |partition| {
            let live = partition.entries().filter(|slot| slot.lives_at(base));
            let mut outputs: Vec<_> = live.map(|slot| (slot.outpoint(), slot.utxo())).collect();
            outputs.sort_unstable_by_key(|(outpoint, _)| *outpoint);
            outputs
        })
    }

    /// Walks every output: outputs and counters must add up to the supply at the final height and at the tip
    /// (`ios` I1), and the running sums must be right.
    ///
    /// # Errors
    /// Names the height and the sums that do not fit.
    pub fn check_conservation(&self) -> Result<(), LedgerError> {
        let heights = [
            (self.final_height, self.totals.counters),
            (self.height(), self.tip_counters()),
        ];
        for (height, counters) in heights {
            let found = self.walk(height, counters);
            if found.supply() != self.supply {
                let (value, supply) = (found.value, self.supply);
                return Err(LedgerError::Conservation {
                    height,
                    value,
                    counters,
                    supply,
                });
            }
            if height == self.final_height && found != self.totals {
                return Err(LedgerError::Totals {
                    found: Box::new(found),
                    kept: Box::new(self.totals),
                });
            }
        }
        Ok(())
    }

    fn walk(&self, height: Height, counters: Counters) -> Totals {
        let mut found = Totals {
            counters,
            ..Totals::default()
        };
        for slot in self.partitions.iter().flat_map(Partition::entries) {
            if slot.lives_at(height.0) {
                found.outputs += 1;
                found.value += u128::from(slot.amount);
            }
        }
        found
    }

    /// Makes the ledger wrong on purpose.
    #[cfg(feature = "planted-bugs")]
    pub const fn plant(&mut self, bug: crate::PlantedBug) {
        self.fault.bug = Some(bug);
    }
}
