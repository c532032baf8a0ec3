//! Money of a shard that is in no output.

use crate::struct_codec;

/// The value of a shard that stands outside its outputs, and what it still owes; all in base units.
///
/// Unspent value, fees, bonds, pool and rewards together are the supply of the shard at every height (`ios` I1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Fees paid since genesis.
    pub fees: u64,
    /// Bonds in force of the validators that serve the shard (`ios` 20.4).
    pub bonds: u64,
    /// Confiscated and not paid out yet: the defrauded are paid from it (`ios` 7.8).
    pub pool: u64,
    /// What detectors have earned: their share of every slashed bond.
    pub rewards: u64,
    /// What the defrauded should have got and nothing was there to pay; outside the supply, at most `u64::MAX`.
    pub unpaid: u64,
}

impl Counters {
    /// Value held by the counters: their part of the supply.
    #[must_use]
    pub fn held(&self) -> u128 {
        [self.fees, self.bonds, self.pool, self.rewards]
            .into_iter()
            .map(u128::from)
            .fold(0, u128::saturating_add)
    }
}

struct_codec!(Counters {
    fees,
    bonds,
    pool,
    rewards,
    unpaid
});
