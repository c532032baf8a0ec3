//! Roll back, finalize, tombstones, snapshots and the digest.

use types::{Amount, Hash, Height, Reject};

use super::blocks::{KEEP_SPENT, TestBlock, Threads, Tx, config, genesis_outpoint, ledger, owner, pay};
use crate::{Applied, Exclusion, Inline, Ledger, LedgerError, Lookup, Snapshot, Utxo};

fn apply(ledger: &mut Ledger, txs: &[Tx]) -> Applied {
    let block = TestBlock::of(txs);
    let height = ledger.height().next();
    block.apply(ledger, height, &Inline)
}

/// Three heights: a payment, its child, a child of that and another payment.
fn chain() -> [Vec<Tx>; 3] {
    let one = pay(genesis_outpoint(0), owner(0), &[(owner(1), 50), (owner(2), 49)]);
    let two = pay(one.output(0), owner(1), &[(owner(3), 49)]);
    let three = pay(two.output(0), owner(3), &[(owner(3), 48)]);
    let other = pay(genesis_outpoint(1), owner(1), &[(owner(0), 99)]);
    [vec![one], vec![two], vec![three, other]]
}

#[test]
fn a_base_sees_its_own_height() {
    let mut ledger = ledger(&[100, 100]);
    let txs = chain();
    txs.iter().for_each(|txs| drop(apply(&mut ledger, txs)));
    let output = txs[0][0].output(0);
    let expected = Utxo {
        owner: owner(1),
        amount: Amount(50),
        created: Height(1),
    };
    assert_eq!(ledger.lookup(&output, Height(0)), Lookup::Missing);
    assert_eq!(ledger.lookup(&output, Height(1)), Lookup::Unspent(expected));
    let spent = Lookup::Spent {
        by: txs[1][0].id,
        at: Height(2),
    };
    assert_eq!(ledger.lookup(&output, Height(2)), spent);
    assert_eq!(ledger.lookup(&output, Height(3)), spent);
}

#[test]
fn roll_back_leaves_no_trace() {
    let txs = chain();
    let mut ledger = ledger(&[100, 100]);
    let mut digests = vec![ledger.digest()];
    digests.extend(txs.iter().map(|txs| apply(&mut ledger, txs).digest));
    for to in [2, 1, 0] {
        ledger.roll_back(Height(to));
        assert_eq!(
            (ledger.height(), ledger.digest()),
            (Height(to), digests[to as usize])
        );
        ledger.check_conservation().expect("undone exactly");
        let undone = txs[to as usize..].iter().flatten();
        for tx in undone {
            assert_eq!(ledger.lookup(&tx.output(0), Height(3)), Lookup::Missing);
        }
    }
    assert!(matches!(
        ledger.lookup(&genesis_outpoint(0), Height(3)),
        Lookup::Unspent(_)
    ));
    let again: Vec<Hash> = txs.iter().map(|txs| apply(&mut ledger, txs).digest).collect();
    assert_eq!(again, digests[1..], "the same blocks again, the same digests");
}

#[test]
fn roll_back_stops_at_tombstones() {
    let txs = chain();
    let mut ledger = ledger(&[100, 100]);
    apply(&mut ledger, &txs[0]);
    apply(&mut ledger, &txs[1]);
    ledger.finalize(Height(1));
    ledger.roll_back(Height(1));
    let spent = Lookup::Spent {
        by: txs[0][0].id,
        at: Height(1),
    };
    assert_eq!(ledger.lookup(&genesis_outpoint(0), Height(1)), spent);
    assert!(matches!(
        ledger.lookup(&txs[0][0].output(0), Height(1)),
        Lookup::Unspent(_)
    ));
    ledger.check_conservation().expect("the final height stays");
}

#[test]
fn net_changes_of_several_heights() {
    let txs = chain();
    let mut ledger = ledger(&[100, 100]);
    txs.iter().for_each(|txs| drop(apply(&mut ledger, txs)));
    let net = ledger.finalize(Height(2));
    let mut created: Vec<_> = net.created.iter().map(|(outpoint, _)| *outpoint).collect();
    created.sort_unstable();
    let mut expected = [txs[0][0].output(1), txs[1][0].output(0)];
    expected.sort_unstable();
    assert_eq!(
        created, expected,
        "spent at a speculative height, but there at the final one"
    );
    assert_eq!(
        (net.spent, net.counters.fees, net.height),
        (vec![genesis_outpoint(0)], 2, Height(2))
    );
    let net = ledger.finalize(Height(3));
    let mut spent = net.spent;
    spent.sort_unstable();
    let mut expected = [genesis_outpoint(1), txs[1][0].output(0)];
    expected.sort_unstable();
    assert_eq!((spent, net.created.len()), (expected.to_vec(), 2));
    assert_eq!(net.digest, ledger.digest());
    let nothing = ledger.finalize(Height(3));
    assert!(nothing.created.is_empty() && nothing.spent.is_empty());
}

#[test]
fn tombstones_stay_as_long_as_promised_and_then_go() {
    let mut ledger = ledger(&[100, 100]);
    let tx = pay(genesis_outpoint(0), owner(0), &[(owner(1), 99)]);
    apply(&mut ledger, std::slice::from_ref(&tx));
    let spent = Lookup::Spent {
        by: tx.id,
        at: Height(1),
    };
    for height in 2..=KEEP_SPENT {
        apply(&mut ledger, &[]);
        ledger.finalize(Height(height));
        assert_eq!(ledger.lookup(&genesis_outpoint(0), Height(height)), spent);
    }
    let again = apply(&mut ledger, std::slice::from_ref(&tx));
    assert_eq!(again.batches[0].reasons, [(0, Exclusion::Duplicate)]);
    ledger.finalize(Height(1 + KEEP_SPENT));
    assert_eq!(
        ledger.lookup(&genesis_outpoint(0), Height(1 + KEEP_SPENT)),
        Lookup::Missing
    );
    let late = apply(&mut ledger, std::slice::from_ref(&tx));
    assert_eq!(
        late.batches[0].reasons,
        [(0, Exclusion::Reject(Reject::InputMissing))]
    );
    assert_eq!(late.batches[0].excluded, again.batches[0].excluded);
    ledger.check_conservation().expect("tombstones have no value");
}

#[test]
fn reasons_do_not_depend_on_when_heights_became_final() {
    let (mut prompt, mut late) = (ledger(&[100]), ledger(&[100]));
    let tx = pay(genesis_outpoint(0), owner(0), &[(owner(1), 99)]);
    for _ in 0..=KEEP_SPENT + 2 {
        let one = apply(&mut prompt, std::slice::from_ref(&tx));
        let two = apply(&mut late, std::slice::from_ref(&tx));
        assert_eq!(one, two);
        prompt.finalize(one.height);
    }
}

#[test]
fn a_snapshot_goes_on_where_it_was_taken() {
    let txs = chain();
    let mut ledger = ledger(&[100, 100]);
    apply(&mut ledger, &txs[0]);
    ledger.finalize(Height(1));
    let snapshot = Snapshot {
        height: Height(1),
        digest: ledger.digest(),
        counters: ledger.totals().counters,
        claimed: Vec::new(),
        outputs: ledger.outputs().collect(),
    };
    let mut restored = Ledger::restore(config(9), snapshot.clone()).expect("a valid snapshot");
    assert_eq!(
        (restored.height(), restored.final_height()),
        (Height(1), Height(1))
    );
    assert_eq!(
        (restored.totals(), restored.supply()),
        (ledger.totals(), ledger.supply())
    );
    for txs in &txs[1..] {
        assert_eq!(apply(&mut restored, txs), apply(&mut ledger, txs));
    }
    restored.finalize(Height(3));
    ledger.finalize(Height(3));
    assert_eq!(
        restored.outputs().collect::<Vec<_>>(),
        ledger.outputs().collect::<Vec<_>>()
    );
    restored.check_conservation().expect("fees of the snapshot count");

    let early = Snapshot {
        height: Height(0),
        ..snapshot
    };
    let refused = Ledger::restore(config(9), early).err();
    assert!(
        matches!(
            refused,
            Some(LedgerError::FromLater {
                accepted: Height(0),
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn the_digest_is_known_and_nothing_but_content_moves_it() {
    let txs: Vec<Tx> = (0..100)
        .map(|number| {
            pay(
                genesis_outpoint(number),
                owner(number),
                &[(owner(0), 60), (owner(number), 39)],
            )
        })
        .collect();
    let run = |seed: u8, executor: &dyn crate::Executor, halves: bool| {
        let outputs = (0..100).map(|number| (genesis_outpoint(number), owner(number), Amount(100)));
        let mut ledger = Ledger::new(config(seed), outputs, 0).expect("valid");
        let mut block = TestBlock::of(&txs);
        if halves {
            block = TestBlock {
                bodies: [&txs[..50], &txs[50..]]
                    .map(|txs| (super::blocks::body(txs), vec![]))
                    .into(),
                ..TestBlock::default()
            };
        }
        let applied = block.apply(&mut ledger, Height(1), executor);
        assert_eq!(applied.applied, 100);
        applied.digest
    };
    let digest = run(1, &Inline, false);
    assert_eq!(
        digest.to_string(),
        "def5eac544227f0f706cb9621b7912159b168243cba1c7de617c05c1351e9252"
    );
    assert_eq!(run(2, &Threads(3), false), digest);
    assert_eq!(run(3, &Threads(1), true), digest);
}
