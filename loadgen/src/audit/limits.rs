//! Bounds of an audit.

use std::time::Duration;

/// Findings kept in full; more are counted.
pub const FINDINGS_MAX: usize = 20;
/// Of these, findings of one kind about one validator.
pub const FINDINGS_OF_A_KIND_MAX: usize = 5;
/// Wrong bodies of one validator whose transactions are remembered, to tell which receipted one is missing.
pub const DAMAGED_BODIES_MAX: usize = 20;
/// Receipts that prove nothing and contradictory answers that are remembered; more are counted.
pub const ACCUSATIONS_MAX: usize = 20;
/// Besides the patience for one height: time granted to a validator for each height of its chain, mean.
pub const HEIGHT_ALLOWANCE: Duration = Duration::from_secs(1);
