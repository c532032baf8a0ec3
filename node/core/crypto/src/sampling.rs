//! Which transactions of an optimistic block a voter checks the signatures of (`ios` 7.6, 7.12): a choice that is fixed
//! by the block, known to the voter alone, and of everything that is worth more than the author's bond can answer for.

use types::{Amount, Hash};

use crate::context;
use crate::hash::Xof;
pub use crate::keys::SamplingSecret;

/// Probabilities are parts of this.
pub const PPM: u32 = 1_000_000;

/// How one voter samples the blocks of one author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// The voter's secret.
    pub secret: SamplingSecret,
    /// `p`, parts per million; a million or more is always.
    pub probability_ppm: u32,
    /// `v_full`: a transaction whose inputs are worth this or more is always checked.
    pub full_from: u64,
}

impl Sampling {
    /// Positions to check in the block of hash `block`, ascending. `values` are the sums of inputs by position, at most
    /// 2^32 of them.
    ///
    /// The stream is read once per position whether its draw decides or not, so that value and draw do not shift one
    /// another.
    pub fn positions(&self, block: &Hash, values: impl IntoIterator<Item = u64>) -> Vec<u32> {
        let always = self.probability_ppm >= PPM;
        let below = ((u128::from(self.probability_ppm) << 64) / u128::from(PPM)) as u64;
        let seed = context::SAMPLE.digest(&[self.secret.bytes(), &block.0]);
        let mut xof = Xof::new(&seed);
        (0..)
            .zip(values)
            .filter(|(_, value)| {
                let drawn = xof.next_u64();
                always || *value >= self.full_from || drawn < below
            })
            .map(|(position, _)| position)
            .collect()
    }
}

/// `U = (1 - p)^honest` in parts of 2^64, rounded up at each power: the probability that one forgery passes `honest`
/// voters who sample it. At most 2^64.
#[must_use]
pub fn survival(probability_ppm: u32, honest: u32) -> u128 {
    let passes = u128::from(PPM - probability_ppm.min(PPM));
    let mut survival = 1_u128 << 64;
    for _ in 0..honest {
        survival = (survival * passes).div_ceil(u128::from(PPM));
        if survival <= 1 {
            // Rounding up keeps a one for ever; a probability of one has come down to nothing.
            break;
        }
    }
    survival
}

/// `v_full = bond (1 - U) / (2 U)`, rounded down: from this value on, the bond of an author does not deter a forgery
/// that is only sampled, so that every voter checks it (`ios` 7.12). `honest` is `h_w = n - 2f`, the honest voters
/// inside any quorum.
///
/// Without sampling (`p = 0`) nothing is ever checked, with `p = 1` all is: both give the highest value.
#[must_use]
pub fn full_from(bond: Amount, probability_ppm: u32, honest: u32) -> u64 {
    let survival = survival(probability_ppm, honest);
    if probability_ppm == 0 || survival == 0 {
        return u64::MAX;
    }
    let caught = (1 << 64) - survival;
    let value = u128::from(bond.0) * caught / (2 * survival);
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// The smallest bond under which a payment of `value` is sampled like any other, `full_from(bond) > value`: twice what
/// makes a theft of it a loss. None without sampling, or when no bond is large enough.
#[must_use]
pub fn bond_against(value: Amount, probability_ppm: u32, honest: u32) -> Option<Amount> {
    if probability_ppm == 0 {
        return None;
    }
    let survival = survival(probability_ppm, honest);
    let caught = (1 << 64) - survival;
    // A product that does not fit 128 bits needs a bond that does not fit 64.
    let product = (u128::from(value.0) + 1).checked_mul(2 * survival)?;
    if caught == 0 {
        return None;
    }
    u64::try_from(product.div_ceil(caught)).ok().map(Amount)
}

#[cfg(test)]
mod tests;
