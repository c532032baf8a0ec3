//! What the transactions that an author has not final yet are worth, and the bonds that answer for it (`ios` 7.12).
//!
//! Receipts are given before finality. What one author could at most steal unseen by forging everything that it has
//! open at a time is the exposed value times `U`; the rules leave the cap on it off, so that a genesis has to make
//! bonds large enough.

use crypto::sampling::bond_against;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use types::Amount;
use types::policy::Policy;

use crate::passes;

/// How many times the exposed value that could pass unseen a bond is sized for: shards and seats are not loaded evenly,
/// and finality may take longer than the policy's pace.
pub const EXPOSURE_SAFETY: u32 = 2;
/// How many times the largest value stays below the value from which every voter checks every signature.
pub const VALUE_SAFETY: u32 = 10;

/// What a network is to carry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    /// Transactions of all shards together, per second; 0 when nothing is known of it.
    pub rate: f64,
    /// Value of a transaction, mean, units of the ledger.
    pub value_mean: u64,
    /// Largest value of a common transaction, units of the ledger.
    pub value_max: u64,
}

/// Bonds that traffic asks for, of each author, units of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bonds {
    /// So that [`VALUE_SAFETY`] times the largest value is sampled like any other; absent when no bond is large enough.
    pub for_value: Option<u64>,
    /// So that it covers [`EXPOSURE_SAFETY`] times what could pass unseen of everything that is open; the highest number
    /// when none suffices.
    pub for_exposure: u64,
}

impl Traffic {
    /// Value of the transactions of one author that have a receipt and are not final: rate times [`open_seconds`] times
    /// mean value.
    #[must_use]
    pub fn exposed_value(&self, policy: &Policy, shards: u16) -> f64 {
        let authors = f64::from(shards.max(1)) * f64::from(policy.seats().max(1));
        self.rate / authors * open_seconds(policy) * self.value_mean as f64
    }

    /// The bonds that this asks for in a network of two leagues; `honest` is `h_w`, the honest voters inside any quorum.
    /// Without sampling nothing is checked for its value, and a forgery always passes.
    #[must_use]
    pub fn bonds(&self, policy: &Policy, shards: u16, honest: u32) -> Bonds {
        let ppm = policy.leagues.as_ref().map_or(0, |leagues| leagues.sampling_ppm);
        let value = self.value_max.saturating_mul(VALUE_SAFETY.into());
        let for_value = match ppm {
            0 => Some(0),
            _ => bond_against(Amount(value.saturating_sub(1)), ppm, honest).map(|bond| bond.0),
        };
        let unseen = self.exposed_value(policy, shards) * passes(ppm, honest);
        Bonds {
            for_value,
            // A cast of what is too large gives the highest number.
            for_exposure: (unseen * f64::from(EXPOSURE_SAFETY)).ceil() as u64,
        }
    }
}

/// Longest time from a receipt to finality at the policy's pace: a block is included within `lag` heights of its base or
/// never, and `window` heights are in flight.
#[must_use]
pub fn open_seconds(policy: &Policy) -> f64 {
    let heights = policy.lag.saturating_add(policy.window);
    heights as f64 * policy.block_interval.as_secs_f64()
}

/// How many times a bond covers what could pass unseen of an exposed value; `None` when that is nothing.
#[must_use]
pub fn exposure_margin(bond: u64, exposed_value: f64, forgery_passes: f64) -> Option<f64> {
    let margin = bond as f64 / (exposed_value * forgery_passes);
    margin.is_finite().then_some(margin)
}
