//! The planted faults do what they say, so that a simulator that misses them is at fault.

use types::Height;

use super::blocks::{TestBlock, Tx, bonded, genesis_outpoint, ledger, owner, pay};
use crate::{Claim, Inline, Ledger, LedgerError, PlantedBug, Slash};

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

/// A forgery at height 1 that gave 60 and 39 to owners 1 and 2, and the block that claims it for owner 0.
fn forged() -> (Ledger, Tx, TestBlock) {
    let mut ledger = bonded(&[100], 1_000);
    let tx = pay(genesis_outpoint(0), owner(0), &[(owner(1), 60), (owner(2), 39)]);
    TestBlock::of(std::slice::from_ref(&tx)).apply(&mut ledger, Height(1), &Inline);
    let block = TestBlock {
        slashes: vec![Slash { bond: 500 }],
        claims: vec![Claim {
            txid: tx.id,
            output_count: 2,
            victims: vec![(owner(0), 100)],
        }],
        ..TestBlock::default()
    };
    (ledger, tx, block)
}

#[test]
fn a_digest_that_skips_counters_does_not_show_a_slash() {
    let (mut ledger, _, block) = forged();
    let slash = TestBlock {
        claims: vec![],
        ..block
    };
    let right = slash.apply(&mut ledger, Height(2), &Inline).digest;
    ledger.roll_back(Height(1));
    let idle = TestBlock::default().apply(&mut ledger, Height(2), &Inline).digest;
    ledger.roll_back(Height(1));
    ledger.plant(PlantedBug::DigestSkipsCounters);
    let planted = slash.apply(&mut ledger, Height(2), &Inline).digest;
    assert_ne!(right, idle);
    assert_eq!(planted, idle);
    ledger.check_conservation().expect("the slash itself is right");
}

#[test]
fn a_claim_that_is_paid_twice_empties_the_pool() {
    let (mut ledger, _, block) = forged();
    let again = TestBlock {
        slashes: vec![],
        ..block.clone()
    };
    block.apply(&mut ledger, Height(2), &Inline);
    let right = again.apply(&mut ledger, Height(3), &Inline);
    assert_eq!(right.claims[0].paid, 0);
    ledger.roll_back(Height(2));
    ledger.plant(PlantedBug::ClaimPaidTwice);
    let planted = again.apply(&mut ledger, Height(3), &Inline);
    assert_eq!(planted.claims[0].paid, 100);
    assert_ne!(planted.digest, right.digest);
}

#[test]
fn a_seized_output_that_stays_spendable_is_there_twice() {
    let (mut ledger, tx, block) = forged();
    ledger.plant(PlantedBug::SeizedStaysSpendable);
    block.apply(&mut ledger, Height(2), &Inline);
    assert!(matches!(
        ledger.check_conservation(),
        Err(LedgerError::Conservation { .. })
    ));
    let spend = TestBlock::of(&[pay(tx.output(0), owner(1), &[(owner(3), 59)])]);
    assert_eq!(spend.apply(&mut ledger, Height(3), &Inline).applied, 1);
}

#[test]
fn a_slow_transaction_that_ignores_an_earlier_spend_spends_twice() {
    let rivals = [1, 2].map(|to| pay(genesis_outpoint(0), owner(0), &[(owner(to), 9)]));
    let fast = TestBlock::of(&rivals);
    let slow = TestBlock {
        slow: vec![rivals[1].clone()],
        ..TestBlock::of(&rivals[..1])
    };
    let mut ledger = ledger(&[10]);
    assert_eq!(slow.apply(&mut ledger, Height(1), &Inline).applied, 1);
    ledger.roll_back(Height(0));
    ledger.plant(PlantedBug::SlowForgetsClaim);
    assert_eq!(
        fast.apply(&mut ledger, Height(1), &Inline).applied,
        1,
        "only the slow lane forgets"
    );
    ledger.roll_back(Height(0));
    assert_eq!(slow.apply(&mut ledger, Height(1), &Inline).applied, 2);
    assert!(matches!(
        ledger.check_conservation(),
        Err(LedgerError::Conservation { .. })
    ));
}
