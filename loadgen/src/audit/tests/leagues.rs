//! Chains of two leagues: honest ones pass, forgeries have to be claimed, records and authors have to be due.

use crypto::evidence::of_transaction;
use types::block_record::{Record, StandIn};
use types::evidence::{Evidence, TxFault};
use types::{Height, MemberIndex, ShardId};

use super::chain::{Chain, Tx, coins};
use super::{MILLION, assert_found, audit, final_at, outcome, payment, read, receipts};
use crate::audit::{AuditOptions, AuditOutcome, Receipts};
use crate::workload::sample::{BOND, Sample};

/// One seat, whose author is member 4.
const AUTHOR: usize = 4;

fn sample() -> Sample {
    Sample::two_leagues(1, 40, |_| {})
}

/// Every member shows the chain and its state.
fn outcome_with_states(sample: &Sample, chain: &Chain<'_>) -> AuditOutcome {
    let options = AuditOptions::full([1; 32]);
    let mut audit = audit(sample, Receipts::default(), options);
    for validator in chain.validators() {
        read(&mut audit, validator, chain.items());
        audit.set_state(chain.state());
    }
    audit.finish()
}

/// A chain whose first block applies a forged payment of account 0, and `heights` empty ones after it.
fn forged_chain(sample: &Sample, heights: usize) -> (Chain<'_>, Tx) {
    let forged = payment(sample, 0).forged();
    let mut chain = Chain::new(sample, 0);
    chain.honest(&[(AUTHOR, &[payment(sample, 4), forged.clone()])]);
    (0..heights).for_each(|_| chain.honest(&[]));
    (chain, forged)
}

/// Evidence against the second transaction of the first block.
fn evidence(chain: &Chain<'_>) -> Record {
    let block = &chain.blocks[0].1[0];
    let evidence = of_transaction(&block.header, &block.body, 1, TxFault::Signature).expect("a position");
    Record::Evidence(Evidence::Transaction(Box::new(evidence)))
}

#[test]
fn an_honest_chain_of_a_believable_author_is_clean() {
    let sample = sample();
    assert_eq!(
        sample.epoch.committees[0].candidates,
        [MemberIndex(AUTHOR as u16)]
    );
    let (first, again) = (payment(&sample, 0), payment(&sample, 0));
    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[(AUTHOR, std::slice::from_ref(&first))]);
    chain.honest(&[(AUTHOR, &[again, payment(&sample, 2)])]);
    let clean = outcome(&sample, &chain, receipts([(first.txid, final_at(1, 0))]));
    assert!(clean.is_clean(), "{:#?}", clean.findings);
    assert_eq!(
        (clean.applied_txs, clean.author_blocks, clean.final_blocks),
        (2, 2, 2)
    );
    assert_eq!(clean.replicas_agree, (1, 1), "candidates are asked too");
    let money = clean.money[0];
    assert_eq!(money.counters.bonds, 5 * BOND);
    assert_eq!(money.supply, money.value + money.counters.held());
}

#[test]
fn a_forgery_that_nobody_claims_is_found() {
    let sample = sample();
    let (chain, forged) = forged_chain(&sample, 3);
    let wrong = outcome_with_states(&sample, &chain);
    assert_eq!((wrong.forgeries_accepted, wrong.faults.forged_final), (1, 1));
    assert_found(&wrong, &[&forged.txid.to_string(), "forged", "a claim for it"]);
}

#[test]
fn a_claimed_forgery_is_paid_for_to_the_last_unit_and_its_author_slashed_once() {
    let sample = sample();
    let (mut chain, forged) = forged_chain(&sample, 18);
    // The first bans, the second claims, the third has nothing left to say.
    for _ in 0..3 {
        chain.records = vec![evidence(&chain)];
        chain.honest(&[]);
    }
    chain.honest(&[]);
    let clean = outcome_with_states(&sample, &chain);
    assert!(clean.is_clean(), "{:#?}", clean.findings);
    let log = &clean.faults;
    assert_eq!((log.forged_final, log.claims), (1, 1));
    assert_eq!(log.caught.get("bad_signature"), Some(&3), "pieces of evidence");
    assert_eq!(
        (log.bonds_lost, log.rewards),
        (u128::from(BOND), u128::from(BOND / 20))
    );
    let (author, _) = sample.epoch.committees[0].members[AUTHOR];
    assert_eq!(log.slashed, [author]);
    // All but the fee of seven was still unspent; the bond pays the rest.
    assert_eq!(
        (log.seized, log.paid, log.unpaid),
        (u128::from(MILLION - 7), u128::from(MILLION), 0)
    );
    let money = clean.money[0];
    assert_eq!(money.supply, money.value + money.counters.held());
    assert_eq!(money.counters.pool, BOND - BOND / 20 - 7);
    assert_eq!(money.counters.bonds, 4 * BOND);
    let victim = sample.accounts.owner(0);
    let unspent = {
        let mut audit = audit(&sample, Receipts::default(), AuditOptions::full([1; 32]));
        read(&mut audit, chain.validators()[0], chain.items());
        audit.unspent().expect("whole")
    };
    let paid = unspent
        .iter()
        .find(|(outpoint, owner, _)| outpoint.txid == forged.txid && Some(*owner) == victim);
    assert_eq!(paid.map(|(.., amount)| amount.0), Some(MILLION));
}

#[test]
fn records_that_are_not_due_and_claims_that_come_too_early_are_told_apart() {
    let sample = sample();
    for (record, words) in [
        (Record::ModeSwitch(1), "a switch to mode 1 that is not due"),
        (
            Record::StandIn(StandIn {
                group: 0,
                member: MemberIndex(4),
            }),
            "a stand-in for group 0 that is not due",
        ),
    ] {
        let mut chain = Chain::new(&sample, 0);
        chain.records = vec![record];
        chain.honest(&[(AUTHOR, &[payment(&sample, 0)])]);
        let wrong = outcome(&sample, &chain, Receipts::default());
        assert_found(&wrong, &["height 1:", words]);
    }
    // A voter's batch in mode 0.
    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[(0, &[payment(&sample, 0)])]);
    let wrong = outcome(&sample, &chain, Receipts::default());
    assert_found(&wrong, &["group 0x8000", "nobody authors in mode 0"]);
    // Too young to be claimed: the author is slashed, and the forgery stays open.
    let (mut chain, _) = forged_chain(&sample, 5);
    chain.records = vec![evidence(&chain)];
    chain.honest(&[]);
    let early = outcome_with_states(&sample, &chain);
    assert_eq!((early.faults.claims, early.faults.slashed.len()), (0, 1));
    assert_eq!(early.forgeries_accepted, 1);
    assert_eq!(early.heights, [Height(7)]);
}

#[test]
fn evidence_that_proves_nothing_and_a_banned_author_are_found() {
    let sample = sample();
    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[(AUTHOR, &[payment(&sample, 4), payment(&sample, 0)])]);
    chain.records = vec![evidence(&chain)];
    chain.honest(&[]);
    let wrong = outcome(&sample, &chain, Receipts::default());
    assert_found(&wrong, &["height 2", "evidence that proves nothing"]);
    assert!(wrong.faults.slashed.is_empty(), "an honest author keeps its bond");

    let (mut chain, _) = forged_chain(&sample, 18);
    chain.records = vec![evidence(&chain)];
    chain.honest(&[]);
    let coin = (coins(&sample)[&8], 8);
    chain.honest(&[(AUTHOR, &[Tx::pay(&sample, coin, &[(9, MILLION)], 0)])]);
    let wrong = outcome(&sample, &chain, Receipts::default());
    assert_found(&wrong, &["height 21", "nobody authors in mode 0"]);
    assert_eq!(sample.epoch.committees[0].shard, ShardId(0));
}
