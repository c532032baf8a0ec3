//! Conservation: unspent value, fees, bonds, pool and rewards add up to the supply of genesis, on every node, by a walk over its ledger.

use ledger::Ledger;
use types::MemberIndex;

use super::{Checked, Violation};

/// Running sums, after every event that made a height final.
///
/// # Errors
/// When they do not add up to the supply of genesis.
pub fn check_sums(member: MemberIndex, ledger: &Ledger, supply: u128) -> Checked {
    let totals = ledger.totals();
    if totals.supply() == supply {
        return Ok(());
    }
    let detail = format!("member {member} holds {totals:?}, genesis made {supply}");
    Err(Violation::new("conservation", detail))
}

/// A walk over every output; costs as much as there are.
///
/// # Errors
/// When the walk contradicts the sums or the supply.
pub fn check_walk(member: MemberIndex, ledger: &Ledger) -> Checked {
    ledger
        .check_conservation()
        .map_err(|error| Violation::new("conservation", format!("member {member}: {error}")))
}
