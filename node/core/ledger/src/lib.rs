//! UTXO set of one shard: check, parallel apply, roll back, finalize, effects digest, conservation.
//!
//! ```text
//!   bodies ──► plan ──► resolve ──► decide ──► commit ──► Applied (bitmaps, reasons, digest)
//!            in order  64 parts    in order   64 parts
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
mod slab;
#[cfg(test)]
mod tests;

use types::block::Body;
use types::{Amount, Hash, Height, OutPoint, Owner, Reject, ShardId, TxId};

pub use executor::{Executor, Inline};
pub use ledger::Ledger;
#[cfg(feature = "planted-bugs")]
pub use planted::PlantedBug;

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
        /// The transaction that spent it.
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
    /// Fees paid from genesis to that height.
    pub fees: u64,
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
    /// Fees paid since genesis.
    pub fees: u64,
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
    /// Fees paid from genesis to that height.
    pub fees_total: u64,
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

/// What a height did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The height.
    pub height: Height,
    /// Effects digest after it (`ios` 0.6).
    pub digest: Hash,
    /// One outcome for each batch, in order.
    pub batches: Vec<BatchOutcome>,
    /// Transactions that took effect.
    pub applied: u32,
    /// Fees of those.
    pub fees: u64,
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
        "value and fees of shard {shard} are {value}, accepted is at most {}",
        u64::MAX
    )]
    Supply {
        /// The shard.
        shard: ShardId,
        /// The sum.
        value: u128,
    },
    /// Value came from nowhere or went nowhere.
    #[error("at height {height} unspent value {value} and fees {fees} do not add up to the supply {supply}")]
    Conservation {
        /// The height.
        height: Height,
        /// Sum of the unspent outputs.
        value: u128,
        /// Fees since genesis.
        fees: u64,
        /// Value at the start.
        supply: u128,
    },
    /// The running sums differ from what a walk over all outputs finds.
    #[error("a walk over all outputs finds {found:?}, the running sums say {kept:?}")]
    Totals {
        /// Found by the walk.
        found: Totals,
        /// Kept by `finalize`.
        kept: Totals,
    },
}
