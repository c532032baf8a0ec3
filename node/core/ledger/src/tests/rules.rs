//! Every rule by itself, each with the state unchanged after a refusal.

use types::{Amount, Height, OutPoint, Reject, ShardId, TxId};

use super::blocks::{
    SHARD, Terms, TestBlock, Tx, body, config, genesis_outpoint, ledger, owner, pay, stranger,
};
use crate::{Counters, Exclusion, Inline, Ledger, LedgerError, Lookup, Totals};

/// Applies one block and returns the reasons of its first batch.
fn reasons(ledger: &mut Ledger, txs: &[Tx]) -> Vec<(u16, Exclusion)> {
    let block = TestBlock::of(txs);
    let height = ledger.height().next();
    block.apply(ledger, height, &Inline).batches.remove(0).reasons
}

fn reject(position: u16, reject: Reject) -> (u16, Exclusion) {
    (position, Exclusion::Reject(reject))
}

/// Applies a lone transaction that must be refused, and checks that nothing but the height moved.
fn refused(amounts: &[u64], tx: &Tx, bad_signatures: &[u32], reason: Reject) {
    let mut ledger = ledger(amounts);
    let before: Vec<_> = ledger.outputs().collect();
    let block = TestBlock {
        bodies: vec![(body(std::slice::from_ref(tx)), bad_signatures.to_vec())],
        ..TestBlock::default()
    };
    let applied = block.apply(&mut ledger, Height(1), &Inline);
    assert_eq!(applied.batches[0].reasons, [reject(0, reason)]);
    assert_eq!(applied.batches[0].excluded, [1]);
    assert_eq!((applied.applied, applied.fees), (0, 0));

    let mut idle = super::blocks::ledger(amounts);
    assert_eq!(
        applied.digest,
        TestBlock::default().apply(&mut idle, Height(1), &Inline).digest,
        "no effect on the digest"
    );
    for (outpoint, utxo) in &before {
        assert_eq!(ledger.lookup(outpoint, Height(1)), Lookup::Unspent(*utxo));
    }
    assert_eq!(ledger.lookup(&tx.output(0), Height(1)), Lookup::Missing);
    let net = ledger.finalize(Height(1));
    assert!(net.created.is_empty() && net.spent.is_empty());
    assert_eq!(ledger.outputs().collect::<Vec<_>>(), before);
    assert_eq!(ledger.totals(), idle.totals());
    ledger.check_conservation().expect("nothing moved");
}

#[test]
fn rules_without_state() {
    let terms = Terms {
        inputs: vec![(genesis_outpoint(0), owner(0))],
        outputs: vec![(owner(1), 9)],
        fee: 1,
        ..Terms::default()
    };
    refused(&[10], &terms.tx(), &[0], Reject::BadSignature);
    refused(
        &[10],
        &Terms {
            expiry: 5,
            ..terms.clone()
        }
        .tx(),
        &[],
        Reject::Expired,
    );
    refused(
        &[10],
        &Terms {
            fee: 0,
            outputs: vec![(owner(1), 10)],
            ..terms.clone()
        }
        .tx(),
        &[],
        Reject::FeeLow,
    );
    let abroad = vec![(owner(1), 5), (stranger(1), 4)];
    refused(
        &[10],
        &Terms {
            outputs: abroad,
            ..terms.clone()
        }
        .tx(),
        &[],
        Reject::KindClosed,
    );

    let mut ledger = ledger(&[10]);
    assert_eq!(
        reasons(&mut ledger, &[Terms { expiry: 4, ..terms }.tx()]),
        [],
        "the furthest expiry is taken"
    );
}

#[test]
fn rules_on_inputs_and_value() {
    let gone = OutPoint {
        index: 1,
        ..genesis_outpoint(0)
    };
    refused(
        &[10],
        &pay(gone, owner(0), &[(owner(1), 9)]),
        &[],
        Reject::InputMissing,
    );
    refused(
        &[10],
        &pay(genesis_outpoint(0), owner(1), &[(owner(1), 9)]),
        &[],
        Reject::OwnerMismatch,
    );
    for amount in [8, 10] {
        let tx = pay(genesis_outpoint(0), owner(0), &[(owner(1), amount)]);
        refused(&[10], &tx, &[], Reject::ValueMismatch);
    }
    let two = Terms {
        inputs: vec![(genesis_outpoint(0), owner(0)), (genesis_outpoint(1), owner(1))],
        outputs: vec![(owner(2), 28)],
        fee: 1,
        ..Terms::default()
    };
    refused(&[10, 20], &two.tx(), &[], Reject::ValueMismatch);
    let mut ledger = ledger(&[10, 20]);
    assert_eq!(
        reasons(
            &mut ledger,
            &[Terms {
                outputs: vec![(owner(2), 29)],
                ..two
            }
            .tx()]
        ),
        []
    );
    assert_eq!(
        ledger.totals(),
        Totals {
            outputs: 2,
            value: 30,
            counters: Counters::default()
        },
        "not final yet"
    );
    ledger.finalize(Height(1));
    assert_eq!(
        ledger.totals(),
        Totals {
            outputs: 1,
            value: 29,
            counters: Counters {
                fees: 1,
                ..Counters::default()
            }
        }
    );
}

#[test]
fn the_first_broken_rule_is_the_reason() {
    let all_wrong = Terms {
        inputs: vec![(
            OutPoint {
                index: 1,
                ..genesis_outpoint(0)
            },
            owner(1),
        )],
        outputs: vec![(stranger(1), 900)],
        fee: 0,
        expiry: 5,
        nonce: 0,
    };
    refused(&[10], &all_wrong.tx(), &[0], Reject::BadSignature);
    refused(&[10], &all_wrong.tx(), &[], Reject::Expired);
    let terms = Terms {
        expiry: 0,
        ..all_wrong
    };
    refused(&[10], &terms.tx(), &[], Reject::FeeLow);
    let terms = Terms { fee: 1, ..terms };
    refused(&[10], &terms.tx(), &[], Reject::KindClosed);
    let terms = Terms {
        outputs: vec![(owner(1), 900)],
        ..terms
    };
    refused(&[10], &terms.tx(), &[], Reject::InputMissing);
    let terms = Terms {
        inputs: vec![(genesis_outpoint(0), owner(1))],
        ..terms
    };
    refused(&[10], &terms.tx(), &[], Reject::OwnerMismatch);
    let terms = Terms {
        inputs: vec![(genesis_outpoint(0), owner(0))],
        ..terms
    };
    refused(&[10], &terms.tx(), &[], Reject::ValueMismatch);
}

#[test]
fn an_output_is_spent_once_in_a_block_and_across_blocks() {
    let mut ledger = ledger(&[10]);
    let first = pay(genesis_outpoint(0), owner(0), &[(owner(1), 9)]);
    let second = pay(genesis_outpoint(0), owner(0), &[(owner(2), 9)]);
    let twice = [first.clone(), second.clone(), first.clone()];
    let expected = [reject(1, Reject::InputSpent), (2, Exclusion::Duplicate)];
    assert_eq!(reasons(&mut ledger, &twice), expected);
    let expected = [reject(0, Reject::InputSpent), (1, Exclusion::Duplicate)];
    assert_eq!(reasons(&mut ledger, &[second.clone(), first.clone()]), expected);
    assert_eq!(
        ledger.lookup(&genesis_outpoint(0), Height(1)),
        Lookup::Spent {
            by: first.id,
            at: Height(1)
        }
    );
    assert_eq!(ledger.lookup(&second.output(0), Height(2)), Lookup::Missing);
    ledger.check_conservation().expect("one payment took effect");
}

#[test]
fn chains_inside_a_block_work_in_list_order_only() {
    let mut ledger = ledger(&[10]);
    let parent = pay(genesis_outpoint(0), owner(0), &[(owner(1), 4), (owner(1), 5)]);
    let child = pay(parent.output(1), owner(1), &[(owner(2), 4)]);
    let rival = pay(parent.output(1), owner(1), &[(owner(3), 4)]);
    let thief = pay(parent.output(0), owner(2), &[(owner(2), 3)]);
    let past_end = pay(parent.output(2), owner(1), &[(owner(2), 3)]);
    let list = [
        child.clone(),
        parent.clone(),
        child.clone(),
        rival,
        thief,
        past_end,
        child.clone(),
        parent.clone(),
    ];
    let expected = [
        reject(0, Reject::InputMissing),
        reject(3, Reject::InputSpent),
        reject(4, Reject::OwnerMismatch),
        reject(5, Reject::InputMissing),
        (6, Exclusion::Duplicate),
        (7, Exclusion::Duplicate),
    ];
    assert_eq!(reasons(&mut ledger, &list), expected);
    let at = |output| ledger.lookup(&output, Height(1));
    assert_eq!(
        at(parent.output(1)),
        Lookup::Spent {
            by: child.id,
            at: Height(1)
        }
    );
    assert!(matches!(at(parent.output(0)), Lookup::Unspent(utxo) if utxo.amount == Amount(4)));

    let net = ledger.finalize(Height(1));
    let mut created: Vec<_> = net.created.iter().map(|(outpoint, _)| *outpoint).collect();
    created.sort_unstable();
    let mut expected = [parent.output(0), child.output(0)];
    expected.sort_unstable();
    assert_eq!(created, expected, "what the block spends again is no change");
    assert_eq!(net.spent, [genesis_outpoint(0)]);
}

#[test]
fn children_of_an_excluded_parent_are_told_so() {
    let mut ledger = ledger(&[10, 20]);
    let parent = pay(genesis_outpoint(0), owner(0), &[(owner(1), 8)]);
    let child = pay(parent.output(0), owner(1), &[(owner(1), 7)]);
    let grandchild = pay(child.output(0), owner(1), &[(owner(1), 6)]);
    let expected = [
        reject(0, Reject::ValueMismatch),
        reject(1, Reject::ParentExcluded),
        reject(2, Reject::ParentExcluded),
    ];
    assert_eq!(reasons(&mut ledger, &[parent, child, grandchild]), expected);
}

#[test]
fn a_second_copy_counts_where_the_first_had_a_bad_signature() {
    let mut ledger = ledger(&[10]);
    let parent = pay(genesis_outpoint(0), owner(0), &[(owner(1), 9)]);
    let child = pay(parent.output(0), owner(1), &[(owner(1), 8)]);
    let bodies = vec![
        (body(&[parent.clone(), child.clone()]), vec![0]),
        (body(&[parent.clone(), child.clone()]), vec![]),
        (body(&[]), vec![]),
    ];
    let block = TestBlock {
        bodies,
        ..TestBlock::default()
    };
    let applied = block.apply(&mut ledger, Height(1), &Inline);
    let expected = [reject(0, Reject::BadSignature), reject(1, Reject::ParentExcluded)];
    assert_eq!(applied.batches[0].reasons, expected);
    assert_eq!(applied.batches[0].excluded, [0b11]);
    assert_eq!(applied.batches[1].reasons, []);
    assert!(applied.batches[1].excluded.is_empty() && applied.batches[2].excluded.is_empty());
    assert_eq!((applied.applied, applied.fees), (2, 2));
    assert_eq!(
        ledger.lookup(&parent.output(0), Height(1)),
        Lookup::Spent {
            by: child.id,
            at: Height(1)
        },
        "a child of the second copy is found under the first"
    );
}

#[test]
fn a_second_copy_with_a_bad_signature_takes_nothing_back() {
    let mut ledger = ledger(&[10]);
    let parent = pay(genesis_outpoint(0), owner(0), &[(owner(1), 9)]);
    let child = pay(parent.output(0), owner(1), &[(owner(1), 8)]);
    let bodies = vec![
        (body(std::slice::from_ref(&parent)), vec![]),
        (body(&[parent, child]), vec![0]),
    ];
    let block = TestBlock {
        bodies,
        ..TestBlock::default()
    };
    let applied = block.apply(&mut ledger, Height(1), &Inline);
    assert_eq!(applied.batches[1].reasons, [reject(0, Reject::BadSignature)]);
    assert_eq!(applied.applied, 2, "the child's parent took effect");
}

#[test]
fn bitmaps_have_a_bit_for_each_transaction() {
    let mut ledger = ledger(&[100; 11]);
    let mut txs: Vec<Tx> = (0..11)
        .map(|number| pay(genesis_outpoint(number), owner(number), &[(owner(0), 99)]))
        .collect();
    txs[8] = txs[0].clone();
    txs[10] = pay(genesis_outpoint(10), owner(10), &[(owner(0), 98)]);
    let block = TestBlock::of(&txs);
    let applied = block.apply(&mut ledger, Height(1), &Inline);
    assert_eq!(applied.batches[0].excluded, [0, 0b101]);
    assert_eq!((applied.applied, applied.fees), (9, 9));
}

#[test]
fn amounts_up_to_the_largest() {
    let mut whole = ledger(&[u64::MAX - 5, 5]);
    let merge = |output| Terms {
        inputs: vec![(genesis_outpoint(0), owner(0)), (genesis_outpoint(1), owner(1))],
        outputs: vec![(owner(2), output)],
        fee: 1,
        ..Terms::default()
    };
    // With wrapping sums u64::MAX - 1 + 1 and this would agree.
    assert!(
        merge(u64::MAX).try_tx().is_none(),
        "outputs and fee above u64::MAX are no canonical transaction"
    );
    assert_eq!(
        reasons(&mut whole, &[merge(u64::MAX - 2).tx()]),
        [reject(0, Reject::ValueMismatch)]
    );
    assert_eq!(reasons(&mut whole, &[merge(u64::MAX - 1).tx()]), []);
    whole
        .check_conservation()
        .expect("the whole supply in one output");

    let outputs = [u64::MAX - 5, 6].into_iter().zip(0..);
    let outputs = outputs.map(|(amount, number)| (genesis_outpoint(number), owner(number), Amount(amount)));
    let refused = Ledger::new(config(1), outputs, 0).err();
    assert_eq!(
        refused,
        Some(LedgerError::Supply {
            shard: SHARD,
            value: 1 << 64
        })
    );
}

#[test]
fn a_genesis_that_cannot_be_is_refused() {
    let output = (genesis_outpoint(0), owner(0), Amount(1));
    let twice = Ledger::new(config(1), [output, output], 0).err();
    assert_eq!(twice, Some(LedgerError::Twice(genesis_outpoint(0))));
    let strange = Ledger::new(config(1), [(genesis_outpoint(0), stranger(0), Amount(1))], 0).err();
    let expected = LedgerError::WrongShard {
        outpoint: genesis_outpoint(0),
        found: ShardId(0),
        accepted: SHARD,
    };
    assert_eq!(strange, Some(expected.clone()));
    let text = expected.to_string();
    assert!(
        text.contains("shard 0, accepted is shard 1") && text.contains(":0 belongs"),
        "{text}"
    );
}

#[test]
fn lookups_of_what_never_was() {
    let ledger = ledger(&[10]);
    let unknown = OutPoint {
        txid: TxId([9; 32]),
        index: 0,
    };
    assert_eq!(ledger.lookup(&unknown, Height(0)), Lookup::Missing);
    assert_eq!((ledger.height(), ledger.final_height()), (Height(0), Height(0)));
    assert_eq!(ledger.supply(), 10);
}
