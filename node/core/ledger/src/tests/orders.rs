//! Slashes, claims and slow transactions, one rule at a time.

use types::{Amount, Height, OutPoint, Owner, Reject};

use super::blocks::{
    KEEP_SPENT, Terms, TestBlock, Tx, body, bonded, config, genesis_outpoint, ledger, owner, pay,
};
use crate::{
    Applied, Claim, ClaimOutcome, Counters, Exclusion, Inline, Ledger, Lookup, Slash, Snapshot, Utxo, settle,
};

fn apply(ledger: &mut Ledger, block: &TestBlock) -> Applied {
    let height = ledger.height().next();
    let applied = block.apply(ledger, height, &Inline);
    ledger.check_conservation().expect("value neither comes nor goes");
    applied
}

fn slash(bond: u64) -> TestBlock {
    TestBlock {
        slashes: vec![Slash { bond }],
        ..TestBlock::default()
    }
}

fn claim(tx: &Tx, victims: &[(Owner, u64)]) -> Claim {
    Claim {
        txid: tx.id,
        output_count: tx.view().output_count() as u16,
        victims: victims.to_vec(),
    }
}

fn claims(claims: &[Claim]) -> TestBlock {
    TestBlock {
        claims: claims.to_vec(),
        ..TestBlock::default()
    }
}

fn outcome(seized: u64, paid: u64, unpaid: u64) -> Vec<ClaimOutcome> {
    vec![ClaimOutcome { seized, paid, unpaid }]
}

fn amount(ledger: &Ledger, outpoint: &OutPoint) -> Option<(Owner, u64)> {
    match ledger.lookup(outpoint, ledger.height()) {
        Lookup::Unspent(utxo) => Some((utxo.owner, utxo.amount.0)),
        _ => None,
    }
}

/// Owner 0 has lost an output of 100 by a forgery that gave 60 to owner 1 and 39 to owner 2.
fn forgery() -> Tx {
    pay(genesis_outpoint(0), owner(0), &[(owner(1), 60), (owner(2), 39)])
}

/// A ledger with the forgery applied at height 1.
fn forged(bonds: u64) -> (Ledger, Tx) {
    let mut ledger = bonded(&[100, 100, 100], bonds);
    let tx = forgery();
    apply(&mut ledger, &TestBlock::of(std::slice::from_ref(&tx)));
    (ledger, tx)
}

fn counters(ledger: &mut Ledger) -> Counters {
    let height = ledger.height();
    ledger.finalize(height).counters
}

#[test]
fn a_slashed_bond_goes_to_the_pool_and_a_twentieth_of_it_to_the_detectors() {
    let mut ledger = bonded(&[10], 2_000);
    assert_eq!(ledger.supply(), 2_010);
    let mut block = slash(1_000);
    block.slashes.push(Slash { bond: 39 });
    apply(&mut ledger, &block);
    let expected = Counters {
        bonds: 961,
        pool: 950 + 38,
        rewards: 50 + 1,
        ..Counters::default()
    };
    assert_eq!(
        ledger.totals().counters.bonds,
        2_000,
        "nothing of it is final before finalize"
    );
    assert_eq!(counters(&mut ledger), expected);
    assert_eq!(ledger.totals().counters, expected);
    assert_eq!(ledger.supply(), 2_010);
}

#[test]
fn orders_that_no_valid_block_gives_are_refused() {
    let counters = Counters {
        bonds: 61,
        ..Counters::default()
    };
    let slashed = |bonds: &[u64]| {
        let slashes: Vec<Slash> = bonds.iter().map(|bond| Slash { bond: *bond }).collect();
        settle::check(&counters, &slashes, &[])
    };
    assert_eq!(slashed(&[30, 31]), Ok(()));
    let once = Err("a bond is slashed once: more is slashed than is in force");
    assert_eq!(slashed(&[30, 32]), once);
    assert_eq!(slashed(&[u64::MAX, 62]), once, "the sum does not wrap");
    let claimed = |victims| {
        settle::check(
            &counters,
            &[],
            &[claim(&forgery(), &vec![(owner(0), 1); victims])],
        )
    };
    assert_eq!(claimed(64), Ok(()));
    let many = Err("a claim names more victims than a transaction has inputs");
    assert_eq!(claimed(65), many);
}

#[test]
fn what_is_left_of_a_forgery_is_seized_and_its_victim_paid_the_rest_from_the_pool() {
    let (mut ledger, tx) = forged(1_000);
    let spend = pay(tx.output(1), owner(2), &[(owner(3), 38)]);
    apply(&mut ledger, &TestBlock::of(std::slice::from_ref(&spend)));
    let mut block = claims(&[claim(&tx, &[(owner(0), 100)])]);
    block.slashes = vec![Slash { bond: 200 }];
    let applied = apply(&mut ledger, &block);
    assert_eq!(
        applied.claims,
        outcome(60, 100, 0),
        "the bond of this height is in the pool already"
    );
    assert_eq!(amount(&ledger, &tx.output(0xC000)), Some((owner(0), 100)));
    assert_eq!(amount(&ledger, &tx.output(0)), None);
    assert_eq!(
        amount(&ledger, &spend.output(0)),
        Some((owner(3), 38)),
        "what was spent on is not touched"
    );
    let expected = Counters {
        fees: 2,
        bonds: 800,
        pool: 190 - 40,
        rewards: 10,
        unpaid: 0,
    };
    assert_eq!(counters(&mut ledger), expected);
}

#[test]
fn victims_are_paid_in_order_while_there_is_something_and_the_rest_is_unpaid() {
    let (mut ledger, tx) = forged(0);
    let victims = [(owner(0), 50), (owner(4), 0), (owner(5), 60), (owner(6), 7)];
    let applied = apply(&mut ledger, &claims(&[claim(&tx, &victims)]));
    assert_eq!(applied.claims, outcome(99, 99, 18));
    assert_eq!(amount(&ledger, &tx.output(0xC000)), Some((owner(0), 50)));
    assert_eq!(amount(&ledger, &tx.output(0xC001)), None, "nothing was lost");
    assert_eq!(amount(&ledger, &tx.output(0xC002)), Some((owner(5), 49)));
    assert_eq!(amount(&ledger, &tx.output(0xC003)), None);
    let counters = counters(&mut ledger);
    assert_eq!((counters.pool, counters.unpaid), (0, 18));
    assert_eq!(ledger.supply(), 300, "what is unpaid is nobody's money");
}

#[test]
fn what_is_seized_beyond_the_losses_is_the_pools() {
    // Owner 1 signed for its own input of 100, the signature of owner 0 was forged.
    let mut ledger = bonded(&[100, 100], 0);
    let tx = Terms {
        inputs: vec![(genesis_outpoint(0), owner(0)), (genesis_outpoint(1), owner(1))],
        outputs: vec![(owner(1), 199)],
        fee: 1,
        ..Terms::default()
    }
    .tx();
    apply(&mut ledger, &TestBlock::of(std::slice::from_ref(&tx)));
    let applied = apply(&mut ledger, &claims(&[claim(&tx, &[(owner(0), 100)])]));
    assert_eq!(applied.claims, outcome(199, 100, 0));
    assert_eq!(counters(&mut ledger).pool, 99);
}

#[test]
fn losses_above_any_sum_are_counted_up_to_the_largest() {
    let (mut ledger, tx) = forged(0);
    let block = claims(&[claim(&tx, &[(owner(0), u64::MAX), (owner(0), u64::MAX)])]);
    assert_eq!(
        apply(&mut ledger, &block).claims,
        outcome(99, 99, u64::MAX),
        "saturated"
    );
    let other = pay(genesis_outpoint(1), owner(1), &[(owner(1), 99)]);
    apply(&mut ledger, &claims(&[claim(&other, &[(owner(1), 5)])]));
    assert_eq!(counters(&mut ledger).unpaid, u64::MAX);
}

#[test]
fn a_claim_is_settled_once_in_a_block_later_and_after_a_restart() {
    let (mut ledger, tx) = forged(1_000);
    let paid = claim(&tx, &[(owner(0), 90)]);
    let mut block = claims(&[paid.clone(), paid.clone()]);
    block.slashes = vec![Slash { bond: 1_000 }];
    let applied = apply(&mut ledger, &block);
    let nothing = ClaimOutcome::default();
    assert_eq!(applied.claims, [outcome(99, 90, 0), vec![nothing]].concat());
    // The compensation is spent, and its tombstone goes.
    let spend = pay(tx.output(0xC000), owner(0), &[(owner(0), 89)]);
    apply(&mut ledger, &TestBlock::of(&[spend]));
    let net = ledger.finalize(Height(3));
    assert_eq!(net.claimed, [tx.id]);
    let snapshot = Snapshot {
        height: net.height,
        digest: net.digest,
        counters: net.counters,
        claimed: net.claimed,
        outputs: ledger.outputs().collect(),
    };
    let mut restored = Ledger::restore(config(5), snapshot).expect("a valid snapshot");
    for _ in 0..KEEP_SPENT + 2 {
        let applied = apply(&mut ledger, &claims(std::slice::from_ref(&paid)));
        assert_eq!(applied.claims, [nothing]);
        assert_eq!(
            applied,
            apply(&mut restored, &claims(std::slice::from_ref(&paid))),
            "a validator that restored a snapshot has no tombstones and decides the same"
        );
        ledger.finalize(applied.height);
    }
    assert_eq!(
        ledger.lookup(&tx.output(0xC000), ledger.height()),
        Lookup::Missing
    );
}

#[test]
fn a_claim_without_victims_left_to_pay_is_settled_too() {
    let (mut ledger, tx) = forged(1_000);
    let unpaid = claims(&[claim(&tx, &[(owner(0), 500)])]);
    assert_eq!(apply(&mut ledger, &unpaid).claims, outcome(99, 99, 401));
    apply(&mut ledger, &slash(1_000));
    assert_eq!(
        apply(&mut ledger, &unpaid).claims,
        outcome(0, 0, 0),
        "owed once, not paid later"
    );
    assert_eq!(counters(&mut ledger).unpaid, 401);
}

#[test]
fn a_seized_output_is_spent_for_every_transaction_of_the_height_and_after_it() {
    let (mut ledger, tx) = forged(0);
    let late = pay(tx.output(0), owner(1), &[(owner(3), 59)]);
    let mut block = claims(&[claim(&tx, &[(owner(0), 100)])]);
    block.bodies = vec![(body(std::slice::from_ref(&late)), vec![])];
    block.slow = vec![pay(tx.output(1), owner(2), &[(owner(3), 38)])];
    let spent = Exclusion::Reject(Reject::InputSpent);
    let applied = apply(&mut ledger, &block);
    assert_eq!(applied.batches[0].reasons, [(0, spent)]);
    assert_eq!(applied.slow, [Some(spent)]);
    assert_eq!((applied.applied, applied.fees), (0, 0));
    let applied = apply(&mut ledger, &TestBlock::of(&[late]));
    assert_eq!(applied.batches[0].reasons, [(0, spent)]);
}

#[test]
fn a_compensation_can_be_spent_at_once_and_is_then_no_net_change() {
    let (mut ledger, tx) = forged(0);
    let digest = |ledger: &mut Ledger, block: &TestBlock| {
        let digest = apply(ledger, block).digest;
        let height = Height(ledger.height().0 - 1);
        ledger.roll_back(height);
        digest
    };
    let mut block = claims(&[claim(&tx, &[(owner(0), 99)])]);
    let unspent = digest(&mut ledger, &block);
    let spend = pay(tx.output(0xC000), owner(0), &[(owner(4), 98)]);
    block.bodies = vec![(body(std::slice::from_ref(&spend)), vec![])];
    assert_ne!(digest(&mut ledger, &block), unspent);
    assert_eq!(apply(&mut ledger, &block).applied, 1);
    let net = ledger.finalize(Height(2));
    assert!(
        net.created
            .iter()
            .all(|(outpoint, _)| *outpoint == spend.output(0)),
        "{net:?}"
    );
    assert_eq!(net.created.len(), 1);
    let by = Lookup::Spent {
        by: spend.id,
        at: Height(2),
    };
    assert_eq!(ledger.lookup(&tx.output(0xC000), Height(2)), by);
    assert_eq!(ledger.lookup(&tx.output(0xC000), Height(1)), Lookup::Missing);
}

#[test]
fn lookups_answer_for_every_base_also_for_seized_and_compensated_outputs() {
    let (mut ledger, tx) = forged(0);
    let spend = pay(tx.output(0xC000), owner(0), &[(owner(4), 79)]);
    apply(&mut ledger, &claims(&[claim(&tx, &[(owner(0), 80)])]));
    apply(&mut ledger, &TestBlock::of(std::slice::from_ref(&spend)));
    let utxo = |number, amount, created| {
        Lookup::Unspent(Utxo {
            owner: owner(number),
            amount: Amount(amount),
            created: Height(created),
        })
    };
    let spent = |by, at| Lookup::Spent { by, at: Height(at) };
    let seized = [Lookup::Missing, utxo(1, 60, 1), spent(tx.id, 2), spent(tx.id, 2)];
    let compensated = [
        Lookup::Missing,
        Lookup::Missing,
        utxo(0, 80, 2),
        spent(spend.id, 3),
    ];
    // Height 3 is the tip, then the final height, then as far behind it as tombstones are kept.
    for final_height in 0..=2 + KEEP_SPENT {
        if ledger.height() < Height(final_height) {
            apply(&mut ledger, &TestBlock::default());
        }
        ledger.finalize(Height(final_height));
        for base in final_height.saturating_sub(KEEP_SPENT)..=ledger.height().0 {
            let at = (base as usize).min(3);
            let found = |index| ledger.lookup(&tx.output(index), Height(base));
            let held = |lookup: Lookup| match lookup {
                Lookup::Spent { at, .. } if at.0 + KEEP_SPENT <= final_height => Lookup::Missing,
                lookup => lookup,
            };
            assert_eq!(
                (found(0), found(0xC000)),
                (held(seized[at]), held(compensated[at]))
            );
        }
    }
}

#[test]
fn slow_transactions_come_last_and_obey_the_same_rules() {
    let mut ledger = ledger(&[100, 100, 100]);
    let fast = pay(genesis_outpoint(0), owner(0), &[(owner(3), 99)]);
    let slow = [
        pay(genesis_outpoint(0), owner(0), &[(owner(4), 99)]),
        fast.clone(),
        pay(genesis_outpoint(1), owner(2), &[(owner(4), 99)]),
        pay(genesis_outpoint(1), owner(1), &[(owner(4), 98)]),
        pay(fast.output(0), owner(3), &[(owner(5), 98)]),
        pay(genesis_outpoint(2), owner(2), &[(owner(6), 99)]),
        pay(genesis_outpoint(2), owner(2), &[(owner(7), 99)]),
    ];
    let block = TestBlock {
        bodies: vec![(body(std::slice::from_ref(&fast)), vec![])],
        slow: slow.to_vec(),
        ..TestBlock::default()
    };
    let applied = apply(&mut ledger, &block);
    let reject = |reject| Some(Exclusion::Reject(reject));
    assert_eq!(
        applied.slow,
        [
            reject(Reject::InputSpent),
            Some(Exclusion::Duplicate),
            reject(Reject::OwnerMismatch),
            reject(Reject::ValueMismatch),
            None,
            None,
            reject(Reject::InputSpent),
        ]
    );
    assert!(
        applied.batches[0].excluded.is_empty(),
        "the author's transaction comes first"
    );
    assert_eq!((applied.applied, applied.fees), (3, 3));
    assert_eq!(amount(&ledger, &slow[4].output(0)), Some((owner(5), 98)));
}

#[test]
fn slow_transactions_and_batches_give_one_digest() {
    let txs: Vec<Tx> = (0..3)
        .map(|number| {
            pay(
                genesis_outpoint(number),
                owner(number),
                &[(owner(0), 60), (owner(1), 39)],
            )
        })
        .collect();
    let run = |slow: usize| {
        let (fast, slow) = txs.split_at(txs.len() - slow);
        let block = TestBlock {
            slow: slow.to_vec(),
            ..TestBlock::of(fast)
        };
        apply(&mut ledger(&[100, 100, 100]), &block).digest
    };
    assert_eq!(run(0), run(1));
    assert_eq!(run(0), run(3), "the lane is no part of the state");
}

#[test]
fn roll_back_takes_orders_back_and_the_same_orders_give_the_same_digests() {
    let (mut ledger, tx) = forged(1_000);
    let before = ledger.digest();
    let blocks = [
        slash(600),
        claims(&[claim(&tx, &[(owner(0), 100)])]),
        TestBlock::of(&[pay(tx.output(0xC000), owner(0), &[(owner(4), 99)])]),
    ];
    let run = |ledger: &mut Ledger| blocks.each_ref().map(|block| apply(ledger, block));
    let first = run(&mut ledger);
    assert_eq!(first[1].claims, outcome(99, 100, 0));
    for to in [3, 2, 1] {
        ledger.roll_back(Height(to));
        ledger.check_conservation().expect("undone exactly");
    }
    assert_eq!(ledger.digest(), before);
    assert_eq!(amount(&ledger, &tx.output(0)), Some((owner(1), 60)));
    assert_eq!(ledger.lookup(&tx.output(0xC000), Height(4)), Lookup::Missing);
    assert_eq!(run(&mut ledger), first);
    ledger.finalize(Height(2));
    ledger.roll_back(Height(2));
    let counters = ledger.totals().counters;
    assert_eq!((counters.bonds, counters.pool, counters.rewards), (400, 570, 30));
}

#[test]
fn the_digest_holds_the_counters_and_the_claims() {
    let (mut ledger, tx) = forged(1_000);
    let mut digest = |block: &TestBlock| {
        let digest = apply(&mut ledger, block).digest;
        ledger.roll_back(Height(1));
        digest
    };
    let idle = digest(&TestBlock::default());
    assert_ne!(digest(&slash(20)), idle);
    assert_ne!(digest(&slash(20)), digest(&slash(21)));
    assert_eq!(digest(&slash(0)), idle, "no counter changed");
    let other = pay(genesis_outpoint(1), owner(1), &[(owner(1), 99)]);
    let without_effect = digest(&claims(&[claim(&other, &[])]));
    assert_ne!(without_effect, idle, "the claim is settled, if by nothing");
    let two = [claim(&other, &[]), claim(&tx, &[])];
    let reversed = [two[1].clone(), two[0].clone()];
    assert_eq!(
        digest(&claims(&two)),
        digest(&claims(&reversed)),
        "entries ascend, however the claims were listed"
    );
    let unpaid = |loss| claims(&[claim(&other, &[(owner(1), loss)])]);
    assert_ne!(digest(&unpaid(1)), digest(&unpaid(2)));
    let plain = bonded(&[100], 0).digest();
    assert_ne!(bonded(&[100], 1).digest(), plain);
}
