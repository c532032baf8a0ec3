use bytes::Bytes;
use crypto::keys::{Scheme, SecretKey};
use crypto::sampling::Sampling;
use crypto::verify::BatchVerifier;
use crypto::{body, cosign, hash};
use types::block::{AuthorHeader, BlockSeq, SignedAuthorHeader};
use types::evidence::TxFault;
use types::genesis::SigningContext;
use types::transaction::{Input, Output, TxDraft};
use types::{Amount, Epoch, Hash, Height, OutPoint, Owner, ShardId, TxId, ValidatorId};

use super::{check_body, recheck_body};
use crate::event::{BodyVerdict, SignatureChecks};

const GENESIS: Hash = Hash([7; 32]);
const TXS: u64 = 40;

const CONTEXT: SigningContext = SigningContext {
    genesis_hash: GENESIS,
    epoch: Epoch(0),
    shard: ShardId(0),
    committee_hash: Hash([6; 32]),
};

fn author() -> SecretKey {
    SecretKey::from_seed([200; 32])
}

/// A payment of its own account of `amount`, two of it the fee.
fn payment(number: u64, amount: u64, forged: bool) -> (TxId, Bytes) {
    let key = SecretKey::from_seed([number as u8; 32]);
    let draft = TxDraft {
        fee: Amount(2),
        owners: vec![Owner(key.public())],
        inputs: vec![Input {
            outpoint: OutPoint {
                txid: TxId([number as u8; 32]),
                index: 0,
            },
            owner: 0,
        }],
        outputs: vec![Output {
            owner: Owner([1; 32]),
            amount: Amount(amount - 2),
        }],
        ..TxDraft::default()
    };
    let mut bytes = Vec::new();
    draft.encode_body(&mut bytes);
    let txid = hash::txid(&bytes);
    // A signature that decodes, of something else.
    let genesis = if forged { Hash([8; 32]) } else { GENESIS };
    let signature = key.sign(&hash::sighash(&genesis, &txid));
    bytes.extend_from_slice(&signature.0);
    (txid, bytes.into())
}

fn signed(body: &[u8], tx_count: u32, tx_root: Hash) -> SignedAuthorHeader {
    let header = AuthorHeader {
        version: 1,
        shard: ShardId(0),
        epoch: Epoch(0),
        term: 0,
        group: 0,
        seq: BlockSeq(0),
        prev: GENESIS,
        tx_root,
        tx_count,
        body_bytes: body.len() as u32,
        base_height: Height(0),
        value: 0,
        author: ValidatorId(0),
        timestamp: 0,
    };
    SignedAuthorHeader {
        signature: cosign::sign_author_header(&author(), &CONTEXT, &header),
        header,
    }
}

/// Amounts rise from 100 on; every fourth signature is forged.
fn block() -> (SignedAuthorHeader, Bytes) {
    let txs: Vec<_> = (0..TXS)
        .map(|number| payment(number, 100 + number, number % 4 == 3))
        .collect();
    let (built, root) = body::build(&txs);
    (signed(built.bytes(), TXS as u32, root), built.bytes().clone())
}

fn forged() -> Vec<u32> {
    (0..TXS as u32).filter(|position| position % 4 == 3).collect()
}

/// Bad signatures and how many were looked at.
fn check(checks: &SignatureChecks, batch_max: usize) -> (Vec<u32>, u64) {
    let (header, bytes) = block();
    let mut verifier = BatchVerifier::new([1; 32], Scheme::Ed25519);
    let (verdict, count) = check_body(&mut verifier, &GENESIS, &header, bytes.clone(), checks, batch_max);
    let BodyVerdict::Checked(checked) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(checked.body.bytes(), &bytes);
    assert_eq!(checked.body.len() as u64, TXS);
    (checked.bad_signatures, count)
}

#[test]
fn all_or_none_are_checked_and_batches_change_no_verdict() {
    for batch_max in [0, 1, 7, 1000] {
        let (bad, count) = check(&SignatureChecks::All, batch_max);
        assert_eq!(bad, forged());
        assert!(count >= TXS);
    }
    assert_eq!(check(&SignatureChecks::Skipped, 1000), (Vec::new(), 0));
}

#[test]
fn only_the_sample_enters_an_equation() {
    let secret = author().sampling_secret();
    let sampling = |probability_ppm, full_from| Sampling {
        secret: secret.clone(),
        probability_ppm,
        full_from,
    };
    let hash = hash::author_header_hash(&block().0.header);
    for (probability, full_from) in [
        (0, u64::MAX),
        (250_000, u64::MAX),
        (250_000, 130),
        (0, 139),
        (1_000_000, u64::MAX),
    ] {
        let sampling = sampling(probability, full_from);
        // What a payment moves is its outputs and its fee.
        let sample = sampling.positions(&hash, (0..TXS).map(|number| 100 + number));
        let bad: Vec<u32> = forged().into_iter().filter(|one| sample.contains(one)).collect();
        let (found, count) = check(&SignatureChecks::Sampled(sampling), 1);
        assert_eq!(found, bad);
        // One by one, none is looked at twice.
        assert_eq!(count, sample.len() as u64, "{sample:?}");
    }
}

#[test]
fn a_body_of_another_header_is_foreign_and_one_that_breaks_a_rule_is_the_authors_fault() {
    let (header, bytes) = block();
    let mut verifier = BatchVerifier::new([1; 32], Scheme::Ed25519);
    let mut verdict = |header: &SignedAuthorHeader, bytes: &Bytes| {
        let all = &SignatureChecks::All;
        check_body(&mut verifier, &GENESIS, header, bytes.clone(), all, 64)
    };
    let mut other = bytes.to_vec();
    other[30] ^= 1;
    assert_eq!(verdict(&header, &other.into()), (BodyVerdict::Foreign, 0));
    assert_eq!(verdict(&header, &bytes.slice(..50)), (BodyVerdict::Foreign, 0));

    // A kind that is not open, under the author's own root.
    let (_, good) = payment(1, 100, false);
    let mut bad = good.to_vec();
    bad[1] = 9;
    let leaf = |bytes: &[u8]| {
        let (body, signatures) = bytes.split_at(bytes.len() - 64);
        crypto::merkle::leaf(&[&hash::txid(body).0[..], signatures].concat())
    };
    let root = crypto::merkle::root(&[leaf(&good), leaf(&bad)]);
    let body: Bytes = [&2_u32.to_le_bytes()[..], &good, &bad].concat().into();
    let header = signed(&body, 2, root);
    let (BodyVerdict::Faulty(proof), 0) = verdict(&header, &body) else {
        panic!("the author's fault")
    };
    assert_eq!((proof.fault, proof.path.index), (TxFault::Encoding, 1));
    assert_eq!([&proof.body[..], &proof.signatures].concat(), bad);
    assert_eq!(proof.header, header);
}

#[test]
fn checking_again_proves_every_forgery() {
    let (header, bytes) = block();
    let mut verifier = BatchVerifier::new([1; 32], Scheme::Ed25519);
    let (proofs, count) = recheck_body(&mut verifier, &GENESIS, &header, &bytes, 16);
    assert!(count >= TXS);
    let positions: Vec<u32> = proofs.iter().map(|proof| proof.path.index).collect();
    assert_eq!(positions, forged());
    assert!(proofs.iter().all(|proof| proof.fault == TxFault::Signature));
    let foreign = bytes.slice(..50);
    assert_eq!(
        recheck_body(&mut verifier, &GENESIS, &header, &foreign, 16),
        (Vec::new(), 0)
    );
}
