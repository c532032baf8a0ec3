//! Probability that a shard drawn at random has too many faulty members (`ios` 4.4).

use statrs::distribution::{Binomial, DiscreteCDF as _, Hypergeometric};

/// Probability that of `members` drawn without replacement from `validators`, of whom `faulty` are faulty, more than
/// `tolerated` are. By logarithms of factorials; relative error below 1e-8 up to a million validators.
///
/// More faulty or members than validators count as all of them.
#[must_use]
pub fn shard_fails(validators: u32, faulty: u32, members: u32, tolerated: u32) -> f64 {
    let (faulty, members) = (faulty.min(validators), members.min(validators));
    Hypergeometric::new(validators.into(), faulty.into(), members.into())
        .map_or(0.0, |drawn| drawn.sf(tolerated.into()).min(1.0))
}

/// The same with infinitely many validators, `faulty_ppm` of a million faulty: the bound that more shards approach.
#[must_use]
pub fn shard_fails_unlimited(faulty_ppm: u32, members: u32, tolerated: u32) -> f64 {
    let share = f64::from(faulty_ppm.min(1_000_000)) / 1e6;
    Binomial::new(share, members.into()).map_or(0.0, |drawn| drawn.sf(tolerated.into()))
}

#[cfg(test)]
mod tests;
