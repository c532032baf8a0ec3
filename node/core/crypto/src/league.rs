//! Believability and the draws of candidates and seats: whole numbers, so that every node draws the same (`ios` 7.2, 7.3).

use types::{Amount, Hash, ShardId};

use crate::context;
use crate::hash::Xof;

/// The whole of a quantity that is counted in parts per million.
const WHOLE: u32 = 1_000_000;

/// How far a validator is believed, `0..=1_000_000`; the weight of its draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Believability(u32);

impl Believability {
    /// The highest of all.
    pub const MAX: Self = Self(WHOLE);

    /// From parts per million; more than a million is a million.
    #[must_use]
    pub const fn from_ppm(ppm: u32) -> Self {
        Self(if ppm > WHOLE { WHOLE } else { ppm })
    }

    /// In parts per million.
    #[must_use]
    pub const fn ppm(self) -> u32 {
        self.0
    }
}

/// What customers said about a validator: a mean that starts at 0.6 with the weight of ten reviews (`ios` 7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reviews {
    /// Reviews that count.
    pub count: u32,
    /// Sum of their stars, 1 to 5 each.
    pub stars: u64,
}

impl Reviews {
    /// The mean, 0 (one star each) to 1,000,000 (five stars each). Stars that no reviews could have given count as the
    /// nearest that could.
    #[must_use]
    pub fn mean_ppm(self) -> u32 {
        const PRIOR_WEIGHT: u64 = 10;
        const PRIOR_PPM: u64 = 600_000;
        const STAR_PPM: u64 = WHOLE as u64 / 4;
        let count = u64::from(self.count);
        // One star is worth nothing, each further one a quarter.
        let above = self.stars.clamp(count, 5 * count) - count;
        ((PRIOR_WEIGHT * PRIOR_PPM + above * STAR_PPM) / (PRIOR_WEIGHT + count)) as u32
    }
}

/// What is known of a validator when it is scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Bond in force.
    pub bond: Amount,
    /// Servi held, units (`ios` 8).
    pub servi: u64,
    /// Contributions, units.
    pub contributions: u64,
    /// Reviews.
    pub reviews: Reviews,
    /// Slashed, excluded or not bootstrapped: such a one is not believed at all.
    pub barred: bool,
}

/// Amounts above which a factor does not grow, and the bond below which nobody is believed. A factor whose cap is 0
/// counts nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// `S_min`.
    pub bond_min: Amount,
    /// `S_cap`.
    pub bond: Amount,
    /// `V_cap`.
    pub servi: u64,
    /// `C_cap`.
    pub contributions: u64,
}

/// `B = gate * (5 s + 3 v + 2 c) / 10 * (500,000 + rho / 2) / 1,000,000` (`ios` 7.2), rounded down once at the end.
///
/// Below the caps it is linear: whoever splits one identity into several gains nothing, and the rounding costs it.
#[must_use]
pub fn believability(record: &Record, caps: &Caps) -> Believability {
    if record.barred || record.bond < caps.bond_min {
        return Believability(0);
    }
    let bond = share_ppm(record.bond.0, caps.bond.0);
    let servi = share_ppm(record.servi, caps.servi);
    let contributions = share_ppm(record.contributions, caps.contributions);
    let weighted = 5 * bond + 3 * servi + 2 * contributions;
    let reviews = u64::from(WHOLE + record.reviews.mean_ppm());
    // (w / 10) * ((1,000,000 + rho) / 2) / 1,000,000, with one division.
    Believability((weighted * reviews / (20 * u64::from(WHOLE))) as u32)
}

/// `min(amount, cap) / cap` in parts per million, rounded down.
fn share_ppm(amount: u64, cap: u64) -> u64 {
    let scaled = u128::from(amount.min(cap)) * u128::from(WHOLE);
    scaled.checked_div(cap.into()).unwrap_or_default() as u64
}

/// Seed of the draw of a shard's candidates: `H_league(randomness || shard || "cand")` (`ios` 7.3 a).
#[must_use]
pub fn candidate_seed(randomness: &Hash, shard: ShardId) -> Hash {
    context::LEAGUE.digest(&[&randomness.0, &shard.0.to_le_bytes(), b"cand"])
}

/// Seed of the draw of a shard's seats in a term: `H_league(randomness || shard || "term" || term)` (`ios` 7.3 b).
#[must_use]
pub fn seat_seed(randomness: &Hash, shard: ShardId, term: u32) -> Hash {
    context::LEAGUE.digest(&[
        &randomness.0,
        &shard.0.to_le_bytes(),
        b"term",
        &term.to_le_bytes(),
    ])
}

/// Draws up to `count` positions without replacement, each time with the weight of its score among those that remain;
/// in the order of the draw (`ios` 7.3).
///
/// Eligible is who has a score of at least `minimum` and above 0. With fewer of them than `count`, all are drawn. Scores
/// are in the order of validator ids; there are at most 65,536.
#[must_use]
pub fn draw(seed: &Hash, scores: &[Believability], minimum: Believability, count: usize) -> Vec<u16> {
    let mut xof = Xof::new(seed);
    let mut remaining: Vec<(u16, u64)> = (0_u16..)
        .zip(scores)
        .filter(|(_, score)| **score >= minimum && score.0 > 0)
        .map(|(position, score)| (position, score.0.into()))
        .collect();
    let count = count.min(remaining.len());
    let mut drawn = Vec::with_capacity(count);
    for _ in 0..count {
        let total = remaining.iter().map(|(_, score)| score).sum();
        let mut mark = xof.uniform(total);
        let hit = remaining.iter().position(|(_, score)| {
            let inside = mark < *score;
            mark = mark.saturating_sub(*score);
            inside
        });
        // The mark is below the sum of all, so that one interval holds it.
        drawn.extend(hit.map(|at| remaining.remove(at).0));
    }
    drawn
}

#[cfg(test)]
mod tests;
