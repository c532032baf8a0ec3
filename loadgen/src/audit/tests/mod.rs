//! Chains of honest validators pass; each way of cheating is found, with the validator and the transaction named.

pub(crate) mod chain;
mod fetching;
mod leagues;
mod mutations;

use std::collections::HashSet;

use types::client::{BlockItem, StateInfo};
use types::{Amount, Hash, Height, Reject, ShardId, Signature, TxId, ValidatorId};

use super::{Audit, AuditError, AuditOptions, AuditOutcome, Certified, Claim, Receipts, Told as ToldBy};
use crate::arena::Arena;
use crate::audit::Position;
use crate::audit::model::Told;
use crate::wallet::Wallet;
use crate::workload::sample::{BOND, Sample, times};
use crate::workload::{TransferShape, Workload};
use chain::{Chain, Tx, coins, told};

const FULL: AuditOptions = AuditOptions {
    seed: [3; 32],
    sample_ppm: 1_000_000,
};
const MILLION: u64 = 1_000_000;

fn audit(sample: &Sample, receipts: Receipts, options: AuditOptions) -> Audit {
    Audit::new(
        &sample.genesis,
        &sample.epoch,
        &sample.allocations,
        receipts,
        options,
    )
    .expect("funded")
}

fn read(audit: &mut Audit, validator: ValidatorId, items: Vec<BlockItem>) {
    audit.begin(validator).expect("of this network");
    for item in items {
        audit.push(item);
    }
}

/// What validator 0 of shard 0 said.
fn receipts<const N: usize>(claims: [(TxId, Claim); N]) -> Receipts {
    let told = claims.map(|(txid, claim)| ToldBy {
        txid,
        shard: ShardId(0),
        validator: ValidatorId(0),
        claim,
    });
    Receipts::new(told, Certified::new())
}

const REFUSED: Claim = Claim::Rejected(Reject::InputSpent);

/// A receipt for a transaction of the first reference.
const fn final_at(height: u64, index: u16) -> Claim {
    Claim::Final(Some(Position {
        height: Height(height),
        reference: 0,
        index,
    }))
}

/// Every validator shows the same chain.
fn outcome(sample: &Sample, chain: &Chain<'_>, receipts: Receipts) -> AuditOutcome {
    let mut audit = audit(sample, receipts, FULL);
    for validator in chain.validators() {
        read(&mut audit, validator, chain.items());
    }
    audit.finish()
}

/// A finding whose line names all of `parts`.
fn assert_found(outcome: &AuditOutcome, parts: &[&str]) {
    let lines: Vec<String> = outcome.findings.iter().map(ToString::to_string).collect();
    let is_named = |line: &String| parts.iter().all(|part| line.contains(part));
    assert!(lines.iter().any(is_named), "{parts:?} in {lines:#?}");
    assert!(!outcome.is_clean());
}

fn name(validator: ValidatorId) -> String {
    format!("validator {validator} (key ")
}

/// A payment of everything from one account to the next.
fn payment(sample: &Sample, from: u32) -> Tx {
    let coin = coins(sample)[&from];
    Tx::pay(sample, (coin, from), &[(from + 1, MILLION - 7)], 7)
}

#[test]
fn honest_chains_are_clean_with_all_that_honest_validators_exclude() {
    let sample = Sample::new(1, 20);
    let first = payment(&sample, 0);
    let child = Tx::pay(&sample, (first.output(0), 1), &[(5, 400), (6, MILLION - 407)], 0);
    let again = Tx::pay(&sample, (coins(&sample)[&0], 0), &[(9, MILLION)], 0);
    let minting = Tx::pay(&sample, (coins(&sample)[&2], 2), &[(3, MILLION + 1)], 0);
    let thief = Tx::pay(&sample, (coins(&sample)[&4], 3), &[(3, MILLION)], 0);
    let forged = payment(&sample, 8).forged();
    let late = payment(&sample, 10);

    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[
        (0, &[first.clone(), child.clone(), again.clone()]),
        (2, std::slice::from_ref(&minting)),
    ]);
    chain.honest(&[]);
    // The same transaction again, one with a bad signature, one of a foreign coin, an empty heartbeat.
    let bad = Told {
        bad_signatures: HashSet::from([(0, 1)]),
        ..Told::default()
    };
    chain.append(
        &[
            (1, &[first.clone(), forged.clone(), thief.clone()]),
            (3, &[]),
            (0, std::slice::from_ref(&late)),
        ],
        &bad,
    );

    for options in [
        FULL,
        AuditOptions {
            seed: [1; 32],
            sample_ppm: 0,
        },
        AuditOptions::sampled([2; 32]),
    ] {
        let claims = [
            (first.txid, final_at(1, 0)),
            (child.txid, final_at(1, 1)),
            (again.txid, REFUSED),
            (minting.txid, REFUSED),
            (forged.txid, REFUSED),
            (late.txid, Claim::Open),
        ];
        let mut audit = audit(&sample, receipts(claims), options);
        for validator in chain.validators() {
            read(&mut audit, validator, chain.items());
        }
        let outcome = audit.finish();
        assert!(outcome.is_clean(), "{:#?}", outcome.findings);
        assert_eq!((outcome.replicas_agree, outcome.receipts_honoured), ((1, 1), 1.0));
        assert_eq!(
            (
                outcome.final_txs_in_chain,
                outcome.open_txs_in_chain,
                outcome.applied_txs
            ),
            (3, 1, 3)
        );
        assert_eq!(outcome.heights, [Height(3)]);
    }
}

#[test]
fn an_applied_double_spend_is_found() {
    let sample = Sample::new(1, 20);
    let first = payment(&sample, 0);
    let again = Tx::pay(&sample, (coins(&sample)[&0], 0), &[(9, MILLION)], 0);
    for same_block in [true, false] {
        let mut chain = Chain::new(&sample, 0);
        if same_block {
            chain.append(&[(0, &[first.clone(), again.clone()])], &told(&[(1, true)]));
        } else {
            chain.honest(&[(0, std::slice::from_ref(&first))]);
            chain.append(&[(0, &[payment(&sample, 4), again.clone()])], &told(&[(1, true)]));
        }
        let outcome = outcome(&sample, &chain, Receipts::default());
        assert_eq!((outcome.double_spends, outcome.supply_conserved), (1, false));
        let validator = name(chain.validators()[0]);
        assert_found(
            &outcome,
            &[&validator, &again.txid.to_string(), "an input is already spent"],
        );
    }
}

#[test]
fn minted_value_is_found() {
    let sample = Sample::new(1, 20);
    let minting = Tx::pay(&sample, (coins(&sample)[&2], 2), &[(3, MILLION + 1)], 0);
    let mut chain = Chain::new(&sample, 0);
    chain.append(&[(0, std::slice::from_ref(&minting))], &told(&[(0, true)]));
    let outcome = outcome(&sample, &chain, Receipts::default());
    assert!(!outcome.supply_conserved);
    let validator = name(chain.validators()[0]);
    let txid = minting.txid.to_string();
    assert_found(&outcome, &[&validator, &txid, "mint", "do not equal"]);
    assert_found(&outcome, &[&validator, &txid, "does not conserve the supply"]);
}

#[test]
fn forged_signatures_are_found_by_the_full_audit_and_by_the_sample() {
    let sample = Sample::new(1, 60);
    let forged: Vec<Tx> = (0..50).map(|from| payment(&sample, from).forged()).collect();
    let mut chain = Chain::new(&sample, 0);
    // The committee takes all of them: nothing is told to its model.
    chain.honest(&[(0, &forged)]);
    let full = outcome(&sample, &chain, Receipts::default());
    let validator = name(chain.validators()[0]);
    assert_eq!(full.forgeries_accepted, 50);
    assert_found(
        &full,
        &[&validator, &forged[0].txid.to_string(), "signature is not valid"],
    );

    let half = AuditOptions {
        seed: [5; 32],
        sample_ppm: 500_000,
    };
    let mut audit = audit(&sample, Receipts::default(), half);
    read(&mut audit, chain.validators()[0], chain.items());
    let outcome = audit.finish();
    assert!(
        (10..40).contains(&outcome.forgeries_accepted),
        "{}",
        outcome.forgeries_accepted
    );
    assert_eq!(
        outcome.signatures_checked, outcome.forgeries_accepted,
        "only the sample was verified"
    );
    assert_found(&outcome, &[&validator, "signature is not valid"]);
}

#[test]
fn wrong_digests_and_wrong_bits_are_found() {
    let sample = Sample::new(1, 20);
    let (first, second) = (payment(&sample, 0), payment(&sample, 2));
    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[(0, std::slice::from_ref(&first))]);
    chain.rewrite(|header| header.state_digest = Hash([7; 32]));
    let validator = name(chain.validators()[0]);
    let wrong = outcome(&sample, &chain, Receipts::default());
    assert_found(
        &wrong,
        &[
            &validator,
            "height 1:",
            &first.txid.to_string(),
            "state digest 0707",
        ],
    );
    assert_eq!(wrong.findings.len(), 1);

    let mut chain = Chain::new(&sample, 0);
    chain.append(&[(0, &[first.clone(), second.clone()])], &told(&[(1, false)]));
    let wrong = outcome(&sample, &chain, Receipts::default());
    assert_found(
        &wrong,
        &[
            &validator,
            &second.txid.to_string(),
            "excluded",
            "it breaks no rule",
        ],
    );

    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[(0, &[first.clone(), second])]);
    chain.rewrite(|header| header.excluded_root = Hash([8; 32]));
    let wrong = outcome(&sample, &chain, Receipts::default());
    assert_found(
        &wrong,
        &[&validator, &first.txid.to_string(), "expected excluded_root"],
    );
}

fn with_third_replica(change: impl FnOnce(&Sample, &mut Vec<BlockItem>)) -> (AuditOutcome, String, String) {
    with_replica(2, change)
}

/// Two blocks of one transaction each; one validator of four shows `change`d items. Gives the outcome, its name and
/// the second transaction.
fn with_replica(
    liar: usize,
    change: impl FnOnce(&Sample, &mut Vec<BlockItem>),
) -> (AuditOutcome, String, String) {
    let sample = Sample::new(1, 20);
    let second = payment(&sample, 2);
    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[(0, &[payment(&sample, 0)])]);
    chain.honest(&[(1, std::slice::from_ref(&second))]);
    let mut changed = chain.items();
    change(&sample, &mut changed);
    let validators = chain.validators();
    let mut audit = audit(&sample, Receipts::default(), FULL);
    for (position, validator) in validators.iter().enumerate() {
        let items = if position == liar {
            changed.clone()
        } else {
            chain.items()
        };
        read(&mut audit, *validator, items);
    }
    let outcome = audit.finish();
    assert_eq!(outcome.replicas_agree, (0, 1));
    assert_eq!(outcome.applied_txs, 2, "the others' chain was replayed");
    (outcome, name(validators[liar]), second.txid.to_string())
}

#[test]
fn forked_and_cut_replicas_are_found() {
    let (outcome, third, second) = with_third_replica(|sample, items| {
        let mut fork = Chain::new(sample, 0);
        fork.honest(&[(0, &[payment(sample, 0)])]);
        fork.honest(&[(2, &[payment(sample, 2)])]);
        *items = fork.items();
    });
    assert_found(
        &outcome,
        &[&third, "height 2", &second, "another certified block"],
    );
    type Change = fn(&mut Vec<BlockItem>);
    let changes: [(Change, &[&str]); 5] = [
        (
            |items| drop(items.remove(1)),
            &["height 1", "the body of reference 0", "found none"],
        ),
        (
            |items| drop(items.pop()),
            &["height 2", "the body of reference 0", "found none"],
        ),
        (
            |items| items.insert(2, items[1].clone()),
            &["height 1", "a body that no reference names"],
        ),
        (
            |items| drop(items.drain(..2)),
            &["height 2", "expected height 1, found height 2"],
        ),
        (|items| drop(items.remove(0)), &["a body before any block"]),
    ];
    for (change, what) in changes {
        let (outcome, third, _) = with_third_replica(|_, items| change(items));
        let parts: Vec<&str> = std::iter::once(third.as_str())
            .chain(what.iter().copied())
            .collect();
        assert_found(&outcome, &parts);
    }
}

#[test]
fn damaged_bodies_are_found_whoever_serves_them_first() {
    type Change = fn(&mut types::message::AuthorBlock);
    let changes: [(Change, &str); 3] = [
        (
            |block| {
                let mut bytes = block.body.to_vec();
                *bytes.last_mut().expect("a signature") ^= 1;
                block.body = bytes.into();
            },
            "a body that is not what its header says",
        ),
        (
            |block| block.header.signature = Signature([1; 64]),
            "not signed by validator",
        ),
        (
            |block| block.header.header.timestamp += 1,
            "a body that no reference names",
        ),
    ];
    for (change, what) in changes {
        for liar in [0, 2] {
            let (outcome, name, second) = with_replica(liar, |_, items| {
                let Some(BlockItem::Body(block)) = items.get_mut(3) else {
                    panic!("the second block's body")
                };
                change(block);
            });
            assert_found(&outcome, &[&name, "height 2", &second, what]);
            assert_eq!(outcome.findings.len(), 1, "{:#?}", outcome.findings);
        }
    }
}

#[test]
fn broken_proofs_are_found() {
    let sample = Sample::new(1, 20);
    let first = payment(&sample, 0);
    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[(0, std::slice::from_ref(&first))]);
    chain.honest(&[]);
    let validator = chain.validators()[0];
    let run = |change: &dyn Fn(&mut Chain<'_>)| {
        let mut chain = Chain::new(&sample, 0);
        chain.honest(&[(0, std::slice::from_ref(&first))]);
        chain.honest(&[]);
        change(&mut chain);
        let mut audit = audit(&sample, Receipts::default(), FULL);
        read(&mut audit, validator, chain.items());
        audit.finish()
    };
    let parts = [
        &name(validator),
        "height 1",
        &first.txid.to_string(),
        "is not certified",
    ];
    for member in 0..3 {
        let outcome = run(&|chain| {
            chain.blocks[0].0.proof.certificate.list_mut().expect("a list")[member]
                .1
                .0[3] ^= 4
        });
        assert_found(&outcome, &parts);
        assert_eq!(
            (outcome.applied_txs, outcome.heights[0]),
            (0, Height(0)),
            "nothing was taken over"
        );
    }
    assert_found(
        &run(&|chain| {
            chain.blocks[0]
                .0
                .proof
                .certificate
                .list_mut()
                .expect("a list")
                .truncate(2)
        }),
        &parts,
    );
    assert_found(&run(&|chain| chain.blocks[0].0.proof.height = Height(2)), &parts);
    // The child's certificate commits its ancestors, when the headers lead to it.
    let by_child = |chain: &mut Chain<'_>| {
        let child = chain.blocks[1].0.clone();
        chain.blocks[0].0.proof = child.proof;
        chain.blocks[0].0.proof.descendants = vec![child.block.header];
    };
    assert!(
        run(&by_child)
            .findings
            .iter()
            .all(|finding| finding.found == "nothing was fetched")
    );
    let missing_link = |chain: &mut Chain<'_>| chain.blocks[0].0.proof = chain.blocks[1].0.proof.clone();
    assert_found(&run(&missing_link), &parts);
}

#[test]
fn headers_that_do_not_fit_are_found() {
    let sample = Sample::new(1, 20);
    let first = payment(&sample, 0);
    type Change = fn(&mut types::block::FinalHeader);
    let changes: [(Change, &str); 14] = [
        (|header| header.version = 2, "version"),
        (|header| header.mode = 0, "mode"),
        (|header| header.shard.0 = 1, "shard"),
        (|header| header.epoch.0 = 1, "epoch"),
        (|header| header.term = 1, "term"),
        (|header| header.height.0 = 3, "height"),
        (|header| header.prev.0[0] ^= 1, "block before it"),
        (|header| header.refs_root.0[0] ^= 1, "refs_root"),
        (|header| header.evidence_root.0[0] ^= 1, "evidence_root"),
        (|header| header.slow_root.0[0] ^= 1, "slow_root"),
        (|header| header.tx_count = 2, "tx_count"),
        (|header| header.committee_hash.0[0] ^= 1, "committee_hash"),
        (|header| header.beacon_height.0 = 1, "beacon"),
        (|header| header.timestamp = 1, "time"),
    ];
    for (change, what) in changes {
        let mut chain = Chain::new(&sample, 0);
        chain.honest(&[]);
        chain.honest(&[(0, std::slice::from_ref(&first))]);
        chain.rewrite(change);
        let validator = chain.validators()[0];
        let mut audit = audit(&sample, Receipts::default(), FULL);
        read(&mut audit, validator, chain.items());
        let outcome = audit.finish();
        assert_found(&outcome, &[&name(validator), &first.txid.to_string(), what]);
        assert_eq!(outcome.heights, [Height(1)]);
    }
}

#[test]
fn shorter_and_absent_replicas_are_told_apart() {
    let sample = Sample::new(1, 20);
    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[(0, &[payment(&sample, 0)])]);
    let short = chain.items();
    chain.honest(&[(1, &[payment(&sample, 2)])]);
    let validators = chain.validators();
    // The shorter chain first: the longer one goes on from where it ended.
    let mut all = audit(&sample, Receipts::default(), FULL);
    read(&mut all, validators[0], short);
    validators[1..]
        .iter()
        .for_each(|validator| read(&mut all, *validator, chain.items()));
    let outcome = all.finish();
    assert!(outcome.is_clean(), "{:#?}", outcome.findings);
    assert_eq!(
        outcome.notes,
        [format!(
            "validator {} shows 1 of 2 heights of shard 0",
            validators[0]
        )]
    );
    assert_eq!((outcome.applied_txs, outcome.heights), (2, vec![Height(2)]));

    let mut three = audit(&sample, Receipts::default(), FULL);
    validators[1..]
        .iter()
        .for_each(|validator| read(&mut three, *validator, chain.items()));
    three.unreachable(validators[0], "no answer");
    let outcome = three.finish();
    assert_found(&outcome, &[&name(validators[0]), "no answer"]);
    assert_eq!(outcome.findings.len(), 1, "said once");
    assert_eq!(outcome.replicas_agree, (0, 1));
    let error = audit(&sample, Receipts::default(), FULL).begin(ValidatorId(9));
    assert_eq!(error, Err(AuditError::Validator(ValidatorId(9))));
}

#[test]
fn states_are_held_against_the_replay() {
    let sample = Sample::new(1, 20);
    let mut chain = Chain::new(&sample, 0);
    let last = payment(&sample, 0).txid.to_string();
    chain.honest(&[(0, &[payment(&sample, 0)])]);
    let right = StateInfo {
        height: Height(1),
        digest: chain.model.digest,
        outputs: 20,
        value: Amount(20 * MILLION - 7),
        fees: Amount(7),
        bonds: Amount(4 * BOND),
        ..StateInfo::default()
    };
    let wrong = [
        StateInfo {
            digest: Hash([1; 32]),
            ..right.clone()
        },
        StateInfo {
            outputs: 21,
            ..right.clone()
        },
        StateInfo {
            value: Amount(20 * MILLION),
            ..right.clone()
        },
        StateInfo {
            fees: Amount(8),
            ..right.clone()
        },
        StateInfo {
            bonds: Amount(4 * BOND + 1),
            ..right.clone()
        },
        StateInfo {
            pool: Amount(1),
            ..right.clone()
        },
        StateInfo {
            rewards: Amount(1),
            ..right.clone()
        },
        StateInfo {
            unpaid: Amount(1),
            ..right.clone()
        },
        StateInfo {
            height: Height(u64::MAX),
            ..right.clone()
        },
    ];
    let run = |state: &StateInfo| {
        let mut audit = audit(&sample, Receipts::default(), FULL);
        for validator in chain.validators() {
            read(&mut audit, validator, chain.items());
            let is_liar = validator == chain.validators()[1];
            audit.set_state(if is_liar { state.clone() } else { right.clone() });
        }
        audit.finish()
    };
    assert!(run(&right).is_clean());
    for state in wrong {
        let outcome = run(&state);
        let liar = name(chain.validators()[1]);
        let height = format!("height {}:", state.height);
        assert_found(&outcome, &[&liar, "lies about its state", &height, &last]);
        assert_eq!((outcome.findings.len(), outcome.replicas_agree), (1, (0, 1)));
    }
}

/// Puts an arena into two blocks of each shard.
fn fill(chains: &mut [Chain<'_>; 2], arena: &Arena) {
    for (shard, chain) in chains.iter_mut().enumerate() {
        let mut txs = Vec::new();
        for (position, entry) in (0..).zip(&arena.entries) {
            if usize::from(entry.shard.0) == shard {
                let bytes = bytes::Bytes::copy_from_slice(arena.tx(position));
                txs.push(Tx {
                    txid: entry.txid,
                    bytes,
                });
            }
        }
        let (left, right) = txs.split_at(10);
        chain.honest(&[(0, left), (1, &right[..5])]);
        chain.honest(&[(1, &right[5..])]);
    }
}

#[test]
fn a_second_run_resumes_from_the_unspent_set() {
    let sample = Sample::new(2, 40);
    let workload = Workload::Transfer(TransferShape::default());
    let first = sample.build(&workload, &times(60, 10), 2).expect("built");
    let mut chains = [Chain::new(&sample, 0), Chain::new(&sample, 1)];
    fill(&mut chains, &first);
    let mut resuming = audit(&sample, Receipts::default(), AuditOptions::sampled([1; 32]));
    for chain in &chains {
        read(&mut resuming, chain.validators()[0], chain.items());
    }
    let unspent = resuming.unspent().expect("an honest chain");
    let wallet = Wallet::resume(&sample.genesis, &sample.accounts, unspent).expect("funded");
    assert_eq!(wallet.coins().len(), 40 + 60, "each transaction adds one output");
    assert_eq!(wallet.value(), sample.wallet().value());
    let second = sample
        .build_from(wallet.clone(), &workload, &times(60, 10), 2)
        .expect("built");
    let again = sample.build_from(wallet, &workload, &times(60, 10), 1);
    assert_eq!(second.digest, again.expect("built").digest);
    fill(&mut chains, &second);
    let claims = first.entries.iter().chain(&second.entries);
    let told = claims.map(|entry| ToldBy {
        txid: entry.txid,
        shard: entry.shard,
        validator: ValidatorId(0),
        claim: Claim::Final(None),
    });
    let mut audit = audit(&sample, Receipts::new(told, Certified::new()), FULL);
    for chain in &chains {
        for validator in chain.validators() {
            read(&mut audit, validator, chain.items());
        }
    }
    let outcome = audit.finish();
    assert!(outcome.is_clean(), "{:#?}", outcome.findings);
    assert_eq!(
        (outcome.final_txs_in_chain, outcome.replicas_agree),
        (120, (2, 2))
    );
}

/// A validator that lies does not keep a network from being used; a chain that is wrong does.
#[test]
fn the_state_is_taken_from_a_validator_whose_chain_holds() {
    let sample = Sample::new(1, 20);
    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[(0, &[payment(&sample, 0)])]);
    chain.honest(&[(1, &[payment(&sample, 2)])]);
    let validators = chain.validators();
    // Without item 2, the second block, what is left is a shorter chain that holds.
    for lie in [0, 1, 3] {
        let mut resuming = audit(&sample, Receipts::default(), FULL);
        let mut items = chain.items();
        items.remove(lie);
        read(&mut resuming, validators[0], items);
        resuming.end();
        let fault = resuming.fault_of(validators[0]).expect("a fault");
        assert!(fault.starts_with(&name(validators[0])), "{fault}");
        let mut alone = audit(&sample, Receipts::default(), FULL);
        let mut items = chain.items();
        items.remove(lie);
        read(&mut alone, validators[0], items);
        assert!(matches!(alone.unspent(), Err(AuditError::Chain(_))), "item {lie}");
        read(&mut resuming, validators[1], chain.items());
        resuming.end();
        assert_eq!(resuming.fault_of(validators[1]), None);
        assert_eq!(resuming.unspent().expect("a whole chain").len(), 20, "item {lie}");
    }
}

#[test]
fn no_state_is_taken_from_a_chain_that_does_not_hold() {
    let sample = Sample::new(1, 20);
    let mut broken = Chain::new(&sample, 0);
    broken.honest(&[]);
    broken.rewrite(|header| header.state_digest = Hash([1; 32]));
    let mut resuming = audit(&sample, Receipts::default(), FULL);
    read(&mut resuming, broken.validators()[0], broken.items());
    assert!(matches!(resuming.unspent(), Err(AuditError::Chain(_))));
    let mut foreign = sample.allocations.clone();
    foreign.pop();
    let refused = Audit::new(
        &sample.genesis,
        &sample.epoch,
        &foreign,
        Receipts::default(),
        FULL,
    );
    assert!(matches!(refused.err(), Some(AuditError::Allocations { .. })));
}
