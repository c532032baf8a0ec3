//! The planted faults do what they say, so that a simulator that misses them is at fault.

use types::Height;

use super::blocks::{TestBlock, genesis_outpoint, ledger, owner, pay};
use crate::{Inline, LedgerError, PlantedBug};

#[test]
fn a_forgotten_claim_lets_a_block_spend_twice() {
    let block = TestBlock::of(&[
        pay(genesis_outpoint(0), owner(0), &[(owner(1), 9)]),
        pay(genesis_outpoint(0), owner(0), &[(owner(2), 9)]),
    ]);
    let mut ledger = ledger(&[10]);
    assert_eq!(block.apply(&mut ledger, Height(1), &Inline).applied, 1);
    ledger.roll_back(Height(0));
    ledger.plant(PlantedBug::ForgottenClaim);
    assert_eq!(block.apply(&mut ledger, Height(1), &Inline).applied, 2);
    assert!(matches!(
        ledger.check_conservation(),
        Err(LedgerError::Conservation { .. })
    ));
    ledger.roll_back(Height(0));
    ledger.check_conservation().expect("even a wrong block is undone");
}

#[test]
fn skipped_conservation_makes_value() {
    let block = TestBlock::of(&[pay(genesis_outpoint(0), owner(0), &[(owner(1), 90)])]);
    let mut ledger = ledger(&[10]);
    assert_eq!(block.apply(&mut ledger, Height(1), &Inline).applied, 0);
    ledger.roll_back(Height(0));
    ledger.plant(PlantedBug::SkippedConservation);
    assert_eq!(block.apply(&mut ledger, Height(1), &Inline).applied, 1);
    assert!(matches!(
        ledger.check_conservation(),
        Err(LedgerError::Conservation {
            height: Height(1),
            value: 90,
            counters: crate::Counters { fees: 1, .. },
            supply: 10
        })
    ));
}

#[test]
fn a_digest_that_skips_outputs_differs_only_where_there_are_second_outputs() {
    let digests = |outputs: &[(types::Owner, u64)]| {
        let block = TestBlock::of(&[pay(genesis_outpoint(0), owner(0), outputs)]);
        let mut ledger = ledger(&[10]);
        let right = block.apply(&mut ledger, Height(1), &Inline).digest;
        ledger.roll_back(Height(0));
        ledger.plant(PlantedBug::DigestSkipsOutput);
        (right, block.apply(&mut ledger, Height(1), &Inline).digest)
    };
    let (right, planted) = digests(&[(owner(1), 9)]);
    assert_eq!(right, planted);
    let (right, planted) = digests(&[(owner(1), 5), (owner(2), 4)]);
    assert_ne!(right, planted);
}
