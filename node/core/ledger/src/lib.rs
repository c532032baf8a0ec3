//! UTXO set of one shard: check, parallel apply, roll back, finalize, effects digest, conservation.
//!
//! ```text
//!   slashes, claims ──► settle
//!            bodies, slow ──► plan ──► resolve ──► decide ──► commit ──► Applied (bitmaps, reasons, digest)
//!                           in order  64 parts    in order   64 parts
//! ```
//!
//! The ledger holds the state at its *tip*, the last applied height. Heights above the final one are speculative
//! and are undone by [`Ledger::roll_back`]. Entries carry the heights at which they were created and spent, so
//! that one map answers for every base from the final height less `keep_spent` up to the tip: "unspent at base b"
//! means created at or below b and not spent at or below b (`ios` 1.6).
//!
//! Invariant: what `apply` decides is a function of the state and of the list order alone, never of the number of
//! threads, of the order of a map, or of when `finalize` was called.

mod commit;
mod decide;
mod digest;
mod executor;
mod hash;
mod ledger;
mod partition;
mod plan;
mod planted;
mod resolve;
mod settle;
mod slab;
#[cfg(test)]
mod tests;

use types::block::Body;
use types::transaction::TxView;
use types::{Amount, Hash, Height, OutPoint, Owner, Reject, ShardId, TxId};

pub use executor::{Executor, Inline};
pub use ledger::Ledger;
#[cfg(feature = "planted-bugs")]
pub use planted::PlantedBug;
pub use types::Counters;

/// Partitions of the set and of the effects digest: the top six bits of an outpoint's hash part (`ios` 0.6).
pub const PARTITIONS: usize = 64;

/// One output, spendable or spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utxo {
    /// Who may spend it.
    pub owner: Owner,
    /// Its value.
    pub amount: Amount,
    /// Height that created it; 0 is genesis.
    pub created: Height,
}

/// What an outpoint is at some base height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// There and not spent.
    Unspent(Utxo),
    /// Spent at or below the base.
    Spent {
        /// The transaction that spent it; its own txid when a claim seized it.
        by: TxId,
        /// The height of that transaction.
        at: Height,
    },
    /// Never created at or below the base, or spent so long ago that nothing of it is left.
    Missing,
}

/// What a ledger is made with.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// The shard.
    pub shard: ShardId,
    /// Number of shards, a power of two.
    pub shards: u16,
    /// Hash of the genesis: the digest before height 0.
    pub genesis_hash: Hash,
    /// Heights for which a spent output stays as a tombstone (`LAG + W + 8`, `ios` 1.6).
    pub keep_spent: u64,
    /// Smallest fee of a transaction.
    pub fee_min: u64,
    /// Furthest expiry ahead, in epochs.
    pub expiry_ahead_max: u32,
    /// Secret of this process that keys the map's hash: keys are hashes of bytes that a sender chooses.
    pub hash_seed: [u8; 16],
}

/// The state after a final height, as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The height.
    pub height: Height,
    /// Effects digest after that height.
    pub digest: Hash,
    /// Counters after that height.
    pub counters: Counters,
    /// Transactions whose claims were settled up to that height, in any order.
    pub claimed: Vec<TxId>,
    /// Every unspent output, in any order.
    pub outputs: Vec<(OutPoint, Utxo)>,
}

/// Sums over the state at the final height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Unspent outputs.
    pub outputs: u64,
    /// Their value.
    pub value: u128,
    /// Value outside the outputs.
    pub counters: Counters,
}

impl Totals {
    /// Outputs and counters together: the supply, at every height (`ios` I1).
    #[must_use]
    pub fn supply(&self) -> u128 {
        self.value + self.counters.held()
    }
}

/// What some final heights changed, for the store that is written behind.
///
/// An output that these heights both created and spent appears in neither list. The order is that of the
/// partitions, then of the lists that were applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChanges {
    /// The last of the heights.
    pub height: Height,
    /// Effects digest after it.
    pub digest: Hash,
    /// Counters after it.
    pub counters: Counters,
    /// Transactions whose claims were settled.
    pub claimed: Vec<TxId>,
    /// New outputs.
    pub created: Vec<(OutPoint, Utxo)>,
    /// Outputs that are gone.
    pub spent: Vec<OutPoint>,
}

/// One author block's transactions with the verdicts on their signatures.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The transactions.
    pub body: &'a Body,
    /// Positions of transactions with a bad signature, ascending.
    pub bad_signatures: &'a [u32],
}

/// A validator's bond that is lost (`ios` 7.8, 20.4): 5 % reward the detectors, the rest goes into the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slash {
    /// The bond, which is in force.
    pub bond: u64,
}

/// A transaction whose signatures were found forged after it had become final (`ios` 7.8).
///
/// What is unspent of its outputs is seized. The victims are paid in order, each by a new output with the forged
/// txid and the index [`types::limits::COMPENSATION_INDEX`] plus the victim's place: first from what was seized, then
/// from the pool, and the shortfall is counted as unpaid. More is seized than lost when an owner of the forged
/// transaction signed for inputs of its own, whose value its outputs carry too: the rest goes into the pool. Less is
/// seized than lost even when all outputs are unspent, by the fee.
///
/// A transaction is claimed once: a second claim, at whatever height, has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The forged transaction.
    pub txid: TxId,
    /// Its outputs.
    pub output_count: u16,
    /// Who lost how much, at most one for each input; owners of this shard.
    pub victims: Vec<(Owner, u64)>,
}

impl Claim {
    /// Partition of the forged outputs, and of those that compensate.
    pub(crate) const fn partition(&self) -> usize {
        OutPoint {
            txid: self.txid,
            index: 0,
        }
        .partition()
    }
}

/// A transaction of the slow lane (`ios` 7.9), whose signatures every voter has checked.
#[derive(Clone, Copy, Debug)]
pub struct SlowTx<'a> {
    /// Its id.
    pub txid: TxId,
    /// The transaction.
    pub tx: TxView<'a>,
}

/// What a height orders, in the order in which it takes effect (`ios` 22).
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockInput<'a> {
    /// Bonds that are lost.
    pub slashes: &'a [Slash],
    /// Forged transactions to be compensated.
    pub claims: &'a [Claim],
    /// The transactions of author blocks.
    pub batches: &'a [Batch<'a>],
    /// Slow transactions that are due.
    pub slow: &'a [SlowTx<'a>],
}

impl<'a> BlockInput<'a> {
    /// A height that orders nothing but author blocks.
    #[must_use]
    pub const fn new(batches: &'a [Batch<'a>]) -> Self {
        Self {
            slashes: &[],
            claims: &[],
            batches,
            slow: &[],
        }
    }
}

/// What a height did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The height.
    pub height: Height,
    /// Effects digest after it (`ios` 0.6).
    pub digest: Hash,
    /// One outcome for each batch, in order.
    pub batches: Vec<BatchOutcome>,
    /// One outcome for each claim, in order.
    pub claims: Vec<ClaimOutcome>,
    /// For each slow transaction, in order, why it took no effect; `None` when it did.
    pub slow: Vec<Option<Exclusion>>,
    /// Transactions that took effect, slow ones included.
    pub applied: u32,
    /// Fees of those.
    pub fees: u64,
}

/// What a claim did; all zero when it had no effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimOutcome {
    /// Taken from the forged outputs that were unspent.
    pub seized: u64,
    /// Paid to the victims.
    pub paid: u64,
    /// What they lost beyond that; `u64::MAX` when it is more.
    pub unpaid: u64,
}

/// Which transactions of a batch took no effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// Bit `i % 8` of byte `i / 8` is set when transaction `i` took no effect; empty when all did.
    pub excluded: Vec<u8>,
    /// Position and reason of each set bit, ascending. Bits are equal on every honest validator; a reason may
    /// read `InputMissing` instead of `InputSpent` or `Duplicate` on one that restored a snapshot, which holds no
    /// tombstones.
    pub reasons: Vec<(u16, Exclusion)>,
}

/// Why a transaction took no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// A rule is broken.
    Reject(Reject),
    /// The same transaction took effect before, in this block or an earlier one (`ios` 7.7).
    Duplicate,
}

/// A state that cannot be: refused at the start, or found by [`Ledger::check_conservation`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// An output whose owner lives elsewhere.
    #[error("output {}:{} belongs to shard {found}, accepted is shard {accepted}", .outpoint.txid, .outpoint.index)]
    WrongShard {
        /// The output.
        outpoint: OutPoint,
        /// Shard of its owner.
        found: ShardId,
        /// Shard of this ledger.
        accepted: ShardId,
    },
    /// An output given twice.
    #[error("output {}:{} is given twice, accepted is once", .0.txid, .0.index)]
    Twice(OutPoint),
    /// An output of a height above the snapshot's.
    #[error("output {}:{} was created at height {created}, accepted is at most the snapshot's {accepted}", .outpoint.txid, .outpoint.index)]
    FromLater {
        /// The output.
        outpoint: OutPoint,
        /// Its height.
        created: Height,
        /// Height of the snapshot.
        accepted: Height,
    },
    /// More value than an amount can hold; with less, no sum of inputs or fees can overflow.
    #[error(
        "outputs, fees, bonds, pool and rewards of shard {shard} are {value}, accepted is at most {}",
        u64::MAX
    )]
    Supply {
        /// The shard.
        shard: ShardId,
        /// The sum.
        value: u128,
    },
    /// Value came from nowhere or went nowhere.
    #[error("at height {height} unspent value {value} and {counters:?} do not add up to the supply {supply}")]
    Conservation {
        /// The height.
        height: Height,
        /// Sum of the unspent outputs.
        value: u128,
        /// Counters at it.
        counters: Counters,
        /// Value at the start.
        supply: u128,
    },
    /// The running sums differ from what a walk over all outputs finds.
    #[error("a walk over all outputs finds {found:?}, the running sums say {kept:?}")]
    Totals {
        /// Found by the walk.
        found: Box<Totals>,
        /// Kept by `finalize`.
        kept: Box<Totals>,
    },
}
