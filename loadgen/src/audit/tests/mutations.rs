//! A good history is changed in one place at a time: each change is found, blamed on who made it, with the transaction.

use bytes::Bytes;
use types::block::CommittedBlock;
use types::client::{BlockItem, StateInfo};
use types::message::AuthorBlock;
use types::{Amount, Hash, Height, Reject, ShardId, TxId, ValidatorId};

use super::chain::{Chain, Tx, coins, told};
use super::{FULL, MILLION, audit, payment, read};
use crate::audit::finding::FindingKind as Kind;
use crate::audit::{AuditOutcome, Certified, Claim, Position, Receipts, Told};
use crate::workload::sample::Sample;

/// The validator that lies, in the middle of those that do not.
const LIAR: usize = 2;

/// What four validators show and what the client was told.
struct History {
    sample: Sample,
    /// 0 to 4 are applied: 0, 1 | 2 at height 1, 3 at height 2, 4 at height 3. 5 spends again what 0 spent and is
    /// excluded at height 3. 6 is in no block.
    txs: Vec<Tx>,
    /// By validator.
    served: Vec<Vec<BlockItem>>,
    states: Vec<StateInfo>,
    /// By transaction.
    told: Vec<Told>,
    certified: Certified,
}

fn at(height: u64, reference: u16, index: u16) -> Claim {
    Claim::Final(Some(Position {
        height: Height(height),
        reference,
        index,
    }))
}

impl History {
    fn good() -> Self {
        let sample = Sample::new(1, 40);
        let mut txs: Vec<Tx> = (0..5).map(|number| payment(&sample, 2 * number)).collect();
        txs.push(Tx::pay(&sample, (coins(&sample)[&0], 0), &[(30, MILLION)], 0));
        txs.push(payment(&sample, 20));
        let mut chain = Chain::new(&sample, 0);
        chain.honest(&[(0, &txs[..2]), (1, &txs[2..3])]);
        chain.honest(&[(2, &txs[3..4])]);
        chain.honest(&[(0, &txs[4..6])]);
        let claims = [
            at(1, 0, 0),
            at(1, 0, 1),
            at(1, 1, 0),
            at(2, 0, 0),
            at(3, 0, 0),
            Claim::Rejected(Reject::InputSpent),
            Claim::Open,
        ];
        let told = txs.iter().zip(claims).zip([0, 0, 1, 2, 0, 0, 3]);
        let certified = chain.blocks.iter().map(|(block, _)| {
            let header = &block.block.header;
            ((ShardId(0), header.height), (block.proof.hash, ValidatorId(0)))
        });
        Self {
            told: told
                .map(|((tx, claim), validator)| Told {
                    txid: tx.txid,
                    shard: ShardId(0),
                    validator: ValidatorId(validator),
                    claim,
                })
                .collect(),
            certified: certified.collect(),
            served: vec![chain.items(); 4],
            states: vec![chain.state(); 4],
            txs,
            sample,
        }
    }

    fn audited(self) -> AuditOutcome {
        let mut audit = audit(&self.sample, Receipts::new(self.told, self.certified), FULL);
        for (validator, (items, state)) in (0..).zip(self.served.into_iter().zip(self.states)) {
            read(&mut audit, ValidatorId(validator), items);
            audit.set_state(state);
        }
        audit.finish()
    }

    fn block(&mut self, item: usize) -> &mut CommittedBlock {
        match &mut self.served[LIAR][item] {
            BlockItem::Block(block) => block,
            BlockItem::Body(_) => panic!("item {item} is a body"),
        }
    }

    fn body(&mut self, item: usize) -> &mut AuthorBlock {
        match &mut self.served[LIAR][item] {
            BlockItem::Body(body) => body,
            BlockItem::Block(_) => panic!("item {item} is a block"),
        }
    }
}

// The items: block 1, its bodies; block 2, its body; block 3, its body.
const BLOCK_1: usize = 0;
const BODY_1_0: usize = 1;
const BLOCK_2: usize = 3;
const BODY_2: usize = 4;
const BLOCK_3: usize = 5;

fn body_of(txs: &[&Tx]) -> Bytes {
    let list: Vec<(TxId, Bytes)> = txs.iter().map(|tx| (tx.txid, tx.bytes.clone())).collect();
    crypto::body::build(&list).0.bytes().clone()
}

/// Position of the first output's amount from the end of a payment with one output: count of bytes behind it is the
/// signature's.
fn raised(tx: &Tx) -> Tx {
    let mut bytes = tx.bytes.to_vec();
    let amount = MILLION - 7;
    let at = bytes
        .windows(8)
        .position(|window| window == amount.to_le_bytes())
        .expect("the output's amount");
    bytes[at..at + 8].copy_from_slice(&(amount + 1000).to_le_bytes());
    let body = bytes.len() - 64;
    Tx {
        txid: crypto::hash::txid(&bytes[..body]),
        bytes: bytes.into(),
    }
}

struct Mutation {
    name: &'static str,
    change: fn(&mut History),
    /// Every kind that is found, the first with the witness; nobody but the liar is blamed.
    kinds: &'static [Kind],
    /// Transaction that the first of these names.
    witness: usize,
}

const fn mutation(
    name: &'static str,
    kinds: &'static [Kind],
    witness: usize,
    change: fn(&mut History),
) -> Mutation {
    Mutation {
        name,
        change,
        kinds,
        witness,
    }
}

const SERVED: [Mutation; 14] = [
    mutation(
        "drop a transaction",
        &[Kind::Body, Kind::ReceiptDropped],
        1,
        |history| {
            let rest = body_of(&[&history.txs[0]]);
            history.body(BODY_1_0).body = rest;
        },
    ),
    mutation("drop a body", &[Kind::Body, Kind::ReceiptDropped], 3, |history| {
        history.served[LIAR].remove(BODY_2);
    }),
    mutation(
        "leave a block out",
        &[Kind::Header, Kind::ReceiptDropped],
        4,
        |history| {
            history.served[LIAR].drain(BLOCK_2..BLOCK_3);
        },
    ),
    mutation(
        "cut the chain",
        &[Kind::State, Kind::ReceiptDropped],
        3,
        |history| {
            history.served[LIAR].truncate(BLOCK_3);
        },
    ),
    mutation(
        "raise an output",
        &[Kind::Body, Kind::ReceiptDropped],
        3,
        |history| {
            let minted = body_of(&[&raised(&history.txs[3])]);
            history.body(BODY_2).body = minted;
        },
    ),
    mutation("swap transactions", &[Kind::Body], 1, |history| {
        let swapped = body_of(&[&history.txs[1], &history.txs[0]]);
        history.body(BODY_1_0).body = swapped;
    }),
    mutation("change a signature", &[Kind::Body], 3, |history| {
        let forged = body_of(&[&history.txs[3].forged()]);
        history.body(BODY_2).body = forged;
    }),
    mutation("a body twice", &[Kind::Body], 0, |history| {
        let again = history.served[LIAR][BODY_1_0].clone();
        history.served[LIAR].insert(BLOCK_2, again);
    }),
    mutation(
        "a block twice",
        &[Kind::Header, Kind::ReceiptDropped],
        3,
        |history| {
            let again = history.served[LIAR][BLOCK_2..BLOCK_3].to_vec();
            history.served[LIAR].splice(BLOCK_3..BLOCK_3, again);
        },
    ),
    mutation(
        "a reference twice",
        &[Kind::Header, Kind::ReceiptDropped],
        3,
        |history| {
            let again = history.block(BLOCK_2).block.refs[0].clone();
            history.block(BLOCK_2).block.refs.push(again);
            let again = history.served[LIAR][BODY_2].clone();
            history.served[LIAR].insert(BODY_2, again);
        },
    ),
    mutation(
        "another digest in a header",
        &[Kind::Certificate, Kind::ReceiptDropped],
        3,
        |history| history.block(BLOCK_2).block.header.state_digest.0[0] ^= 1,
    ),
    mutation(
        "a vote that is not one",
        &[Kind::Certificate, Kind::ReceiptDropped],
        0,
        |history| {
            history
                .block(BLOCK_1)
                .proof
                .certificate
                .list_mut()
                .expect("a list")[1]
                .1
                .0[7] ^= 1
        },
    ),
    mutation(
        "a certificate without a quorum",
        &[Kind::Certificate, Kind::ReceiptDropped],
        4,
        |history| {
            history
                .block(BLOCK_3)
                .proof
                .certificate
                .list_mut()
                .expect("a list")
                .truncate(2)
        },
    ),
    mutation(
        "a chain of another network",
        &[Kind::Header, Kind::ReceiptDropped],
        3,
        |history| {
            let mut genesis = history.sample.genesis.clone();
            genesis.name = "another".into();
            let accounts = crate::ownership::Accounts::derive(1, 40, 1, 2, &|_, _| {});
            let mut other = Sample::with(1, accounts, history.sample.allocations.clone(), true);
            other.epoch = crypto::placement::epoch_config(&genesis);
            let mut chain = Chain::new(&other, 0);
            chain.honest(&[(0, &history.txs[3..4])]);
            history.served[LIAR] = chain.items();
        },
    ),
];

const STATES: [Mutation; 5] = [
    mutation("lie about the digest", &[Kind::State], 4, |history| {
        history.states[LIAR].digest = Hash([1; 32]);
    }),
    mutation("mint in the state", &[Kind::State], 4, |history| {
        history.states[LIAR].value.0 += 1
    }),
    mutation("hide an output", &[Kind::State], 4, |history| {
        history.states[LIAR].outputs -= 1
    }),
    mutation("take a fee", &[Kind::State], 4, |history| {
        history.states[LIAR].fees = Amount(history.states[LIAR].fees.0 + 1);
    }),
    mutation(
        "spend before the first block",
        &[Kind::State],
        usize::MAX,
        |history| {
            history.states[LIAR].height = Height(0);
        },
    ),
];

/// What a validator told the client; the liar is who is asked.
const ANSWERS: [Mutation; 6] = [
    mutation(
        "a receipt without a proof",
        &[Kind::ReceiptForged],
        6,
        |history| {
            history.told[6].claim = Claim::Final(None);
        },
    ),
    mutation("a receipt for nothing", &[Kind::ReceiptFalse], 6, |history| {
        history.told[6].claim = at(2, 0, 0);
    }),
    mutation(
        "a receipt for another place",
        &[Kind::ReceiptFalse],
        3,
        |history| {
            history.told[3].claim = at(1, 0, 0);
        },
    ),
    mutation(
        "a receipt for what was excluded",
        &[Kind::ReceiptFalse],
        5,
        |history| {
            history.told[5].claim = at(3, 0, 1);
        },
    ),
    mutation(
        "a refusal of what was applied",
        &[Kind::RefusalFalse],
        3,
        |history| {
            history.told[3].claim = Claim::Rejected(Reject::InputSpent);
        },
    ),
    mutation("another certified block", &[Kind::Fork], 3, |history| {
        let liar = ValidatorId(LIAR as u16);
        history
            .certified
            .insert((ShardId(0), Height(2)), (Hash([5; 32]), liar));
    }),
];

#[test]
fn a_good_history_is_clean() {
    let outcome = History::good().audited();
    assert!(outcome.is_clean(), "{:#?}", outcome.findings);
    assert_eq!((outcome.applied_txs, outcome.receipts_honoured), (5, 1.0));
}

#[test]
fn every_mutation_is_found_and_blamed_on_who_made_it_with_a_witness() {
    for mutation in SERVED.iter().chain(&STATES).chain(&ANSWERS) {
        let name = mutation.name;
        let mut history = History::good();
        let txids: Vec<String> = history.txs.iter().map(|tx| tx.txid.to_string()).collect();
        history
            .told
            .iter_mut()
            .for_each(|told| told.validator = ValidatorId(LIAR as u16));
        (mutation.change)(&mut history);
        let outcome = history.audited();
        let lines: Vec<String> = outcome.findings.iter().map(ToString::to_string).collect();
        assert!(!outcome.is_clean(), "{name}");
        assert!(
            outcome
                .findings
                .iter()
                .all(|finding| usize::from(finding.validator) == LIAR),
            "{name}: {lines:#?}"
        );
        let mut kinds: Vec<Kind> = outcome.findings.iter().map(|finding| finding.kind).collect();
        kinds.dedup();
        assert_eq!(kinds, mutation.kinds, "{name}: {lines:#?}");
        let witness = outcome
            .findings
            .first()
            .and_then(|finding| finding.transaction.as_ref());
        assert_eq!(witness, txids.get(mutation.witness), "{name}: {lines:#?}");
        assert!(
            lines.iter().all(|line| !line.contains('\n')),
            "{name}: {lines:#?}"
        );
        assert_eq!(outcome.applied_txs, 5, "{name}: the others' chain was recomputed");
    }
}

/// The first validator to be read is the one that lies: who comes first is not believed more.
#[test]
fn what_is_served_first_is_not_believed_more() {
    for mutation in &SERVED {
        let name = mutation.name;
        let mut history = History::good();
        (mutation.change)(&mut history);
        history.served.swap(0, LIAR);
        history.states.swap(0, LIAR);
        let outcome = history.audited();
        assert!(!outcome.findings.is_empty(), "{name}");
        let lines: Vec<String> = outcome.findings.iter().map(ToString::to_string).collect();
        assert!(
            outcome.findings.iter().all(|finding| finding.validator == 0),
            "{name}: {lines:#?}"
        );
        assert_eq!(outcome.applied_txs, 5, "{name}: {lines:#?}");
    }
}

#[test]
fn a_body_that_nobody_serves_leaves_the_chain_unaudited() {
    let mut history = History::good();
    for served in &mut history.served {
        served.remove(BODY_2);
    }
    let outcome = history.audited();
    let not_recomputed = outcome
        .findings
        .iter()
        .filter(|finding| finding.kind == Kind::NotRecomputed);
    assert_eq!(not_recomputed.count(), 4, "{:#?}", outcome.findings);
    assert!(
        (outcome.receipts_honoured - 0.6).abs() < 1e-9,
        "height 2 and above: {outcome:#?}"
    );
}

#[test]
fn findings_are_bounded_and_all_are_counted() {
    let mut history = History::good();
    let liar = ValidatorId(1);
    history.told = (0..1000_u32)
        .map(|number| {
            let mut txid = TxId::default();
            txid.0[..4].copy_from_slice(&number.to_le_bytes());
            Told {
                txid,
                shard: ShardId(0),
                validator: liar,
                claim: at(2, 0, 0),
            }
        })
        .collect();
    history.states[LIAR].value.0 += 1;
    let outcome = history.audited();
    let of = |kind| {
        outcome
            .findings
            .iter()
            .filter(|finding| finding.kind == kind)
            .count()
    };
    assert_eq!(
        (of(Kind::ReceiptFalse), of(Kind::State)),
        (5, 1),
        "{:#?}",
        outcome.findings
    );
    assert_eq!(outcome.findings.len() as u64 + outcome.findings_omitted, 1001);
}

/// Every validator runs the same ledger with the same fault: headers, digests, certificates and states all agree.
#[test]
fn a_ledger_that_is_wrong_everywhere_is_found() {
    let sample = Sample::new(1, 40);
    let good = payment(&sample, 0);
    let minting = Tx::pay(&sample, (coins(&sample)[&2], 2), &[(3, MILLION + 1)], 0);
    let again = Tx::pay(&sample, (coins(&sample)[&0], 0), &[(9, MILLION)], 0);
    let forged = payment(&sample, 4).forged();

    // Value is not balanced; spent outputs are not looked up; signatures are not verified.
    type Ledger = fn(&mut Chain<'_>, &[Tx]);
    let cases: [(Ledger, &Tx, Kind); 3] = [
        (
            |chain, txs| chain.append(&[(0, txs)], &told(&[(1, true)])),
            &minting,
            Kind::Mint,
        ),
        (
            |chain, txs| chain.append(&[(0, txs)], &told(&[(1, true)])),
            &again,
            Kind::DoubleSpend,
        ),
        (|chain, txs| chain.honest(&[(0, txs)]), &forged, Kind::Forgery),
    ];
    for (ledger, culprit, kind) in cases {
        let mut chain = Chain::new(&sample, 0);
        ledger(&mut chain, &[good.clone(), culprit.clone()]);
        let outcome = whole_network(&sample, &chain);
        let first = outcome.findings.first().expect("a finding");
        assert_eq!(
            (first.kind, first.transaction.clone()),
            (kind, Some(culprit.txid.to_string()))
        );
        assert!(!outcome.is_clean());
        assert_eq!(outcome.supply_conserved, kind == Kind::Forgery);
        assert_eq!(
            (outcome.replicas_agree, outcome.receipts_honoured),
            ((1, 1), 1.0),
            "all agree"
        );
    }
}

/// The ledger credits more than the transaction says: nothing in the bits of the block shows it.
#[test]
fn a_ledger_that_credits_too_much_is_found_by_its_digest_and_by_its_states() {
    let sample = Sample::new(1, 40);
    let (good, culprit) = (payment(&sample, 0), payment(&sample, 2));
    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[(0, std::slice::from_ref(&good))]);
    let mut spoilt = false;
    chain.append_spoilt(&[(1, std::slice::from_ref(&culprit))], &told(&[]), |run| {
        for held in run.created.values_mut() {
            held.amount.0 += 500;
            run.outgoing += 500;
            spoilt = true;
        }
    });
    assert!(spoilt);
    let outcome = whole_network(&sample, &chain);
    let lines: Vec<String> = outcome.findings.iter().map(ToString::to_string).collect();
    let txid = culprit.txid.to_string();
    assert!(
        outcome
            .findings
            .iter()
            .all(|finding| finding.transaction.as_ref() == Some(&txid)),
        "{lines:#?}"
    );
    let kinds: Vec<Kind> = outcome.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(
        kinds,
        [Kind::Digest, Kind::State, Kind::State, Kind::State, Kind::State],
        "{lines:#?}"
    );
    assert!(
        lines[1].contains("unspent value 39999986") && lines[1].contains("unspent value 40000486"),
        "{lines:#?}"
    );
}

/// The same author block twice: the ledger excludes its transactions the second time, but it must not be there.
#[test]
fn an_author_block_that_a_committee_includes_twice_is_found() {
    let sample = Sample::new(1, 40);
    let tx = payment(&sample, 0);
    let mut chain = Chain::new(&sample, 0);
    chain.honest(&[(0, std::slice::from_ref(&tx))]);
    chain.repeat(1);
    let outcome = whole_network(&sample, &chain);
    assert_eq!(outcome.findings.len(), 1, "{:#?}", outcome.findings);
    let finding = &outcome.findings[0];
    assert_eq!((finding.kind, finding.height), (Kind::AuthorOrder, Some(2)));
    assert_eq!(finding.transaction, Some(tx.txid.to_string()));
    assert_eq!(outcome.applied_txs, 1, "counted once");
}

fn whole_network(sample: &Sample, chain: &Chain<'_>) -> AuditOutcome {
    let mut audit = audit(sample, Receipts::default(), FULL);
    for validator in chain.validators() {
        read(&mut audit, validator, chain.items());
        audit.set_state(chain.state());
    }
    audit.finish()
}
