use bytes::Bytes;
use types::block::{AuthorHeader, BlockSeq};
use types::limits::{BATCH_BYTES_MAX, BATCH_TXS_MAX};
use types::transaction::{Input, Output, TxDraft, TxView};
use types::{Amount, Epoch, Hash, Height, OutPoint, Owner, Reject, ShardId, TxId, ValidatorId};

use super::{BodyError, build, decode, signature_jobs, tx_leaves};
use crate::hash;
use crate::keys::{Scheme, SecretKey};
use crate::merkle;
use crate::verify::BatchVerifier;

const GENESIS: Hash = Hash([7; 32]);

/// A transaction with one input for each owner.
fn transaction(number: u8, owners: u8) -> (TxId, Bytes) {
    let mut keys: Vec<_> = (0..owners)
        .map(|owner| SecretKey::from_seed([number.wrapping_add(owner); 32]))
        .collect();
    keys.sort_unstable_by_key(SecretKey::public);
    let input = |owner| Input {
        outpoint: OutPoint {
            txid: TxId([number; 32]),
            index: owner,
        },
        owner: owner as u8,
    };
    let draft = TxDraft {
        owners: keys.iter().map(|key| Owner(key.public())).collect(),
        inputs: (0..u16::from(owners)).map(input).collect(),
        outputs: vec![Output {
            owner: Owner([1; 32]),
            amount: Amount(5),
        }],
        memo: vec![number; usize::from(number) % 5],
        ..TxDraft::default()
    };
    let mut bytes = Vec::new();
    draft.encode_body(&mut bytes);
    let txid = hash::txid(&bytes);
    let sighash = hash::sighash(&GENESIS, &txid);
    keys.iter()
        .for_each(|key| bytes.extend_from_slice(&key.sign(&sighash).0));
    (txid, bytes.into())
}

fn header(body: &[u8], tx_count: u32, tx_root: Hash) -> AuthorHeader {
    AuthorHeader {
        version: 1,
        shard: ShardId(0),
        epoch: Epoch(0),
        term: 0,
        group: 0x8000,
        seq: BlockSeq(0),
        prev: GENESIS,
        tx_root,
        tx_count,
        body_bytes: body.len() as u32,
        base_height: Height(0),
        value: 0,
        author: ValidatorId(0),
        timestamp: 0,
    }
}

fn three() -> Vec<(TxId, Bytes)> {
    vec![transaction(1, 1), transaction(10, 3), transaction(20, 2)]
}

#[test]
fn what_was_built_is_read_back() {
    for txs in [vec![], vec![transaction(1, 1)], three()] {
        let (built, root) = build(&txs);
        let header = header(built.bytes(), txs.len() as u32, root);
        let decoded = decode(&header, built.bytes().clone()).expect("own body");
        assert_eq!(decoded, built);
        assert_eq!(decoded.bytes().as_ptr(), built.bytes().as_ptr(), "not copied");
        let found: Vec<_> = decoded
            .txs()
            .map(|(txid, view)| (txid, Bytes::copy_from_slice(view.bytes())))
            .collect();
        assert_eq!(found, txs);
        assert_eq!(merkle::root(&tx_leaves(&decoded)), root);
    }
    assert_eq!(build(&[]).1, merkle::EMPTY);
}

#[test]
fn leaves_are_the_txid_and_the_signatures() {
    let (txid, bytes) = transaction(10, 3);
    let view = TxView::decode(&bytes).expect("canonical");
    let mut leaf = txid.0.to_vec();
    view.signatures().for_each(|signature| leaf.extend(signature.0));
    assert_eq!(build(&[(txid, bytes)]).1, merkle::root(&[merkle::leaf(&leaf)]));
}

#[test]
fn jobs_cover_every_owner_over_the_sighash() {
    let txs = three();
    let (body, _) = build(&txs);
    let (jobs, positions) = signature_jobs(&body, 0..3, &GENESIS);
    assert_eq!(positions, [0, 1, 1, 1, 2, 2]);
    assert_eq!(jobs.len(), 6);
    for (job, position) in jobs.iter().zip(&positions) {
        assert_eq!(job.message, hash::sighash(&GENESIS, &txs[*position as usize].0));
    }
    // A sample takes those of its transactions alone.
    let sample = signature_jobs(&body, [0, 2], &GENESIS);
    assert_eq!(sample, ([&jobs[..1], &jobs[4..]].concat(), vec![0, 2, 2]));
    let mut verifier = BatchVerifier::new([0; 32], Scheme::Ed25519);
    assert!(verifier.verify(&jobs).is_good());
    // Signed for another network: none is right.
    let foreign = verifier.verify(&signature_jobs(&body, 0..3, &Hash([8; 32])).0);
    assert_eq!(foreign.bad, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_body_that_is_not_the_headers_is_refused() {
    let (built, root) = build(&three());
    let bytes = built.bytes();
    let good = header(bytes, 3, root);
    let refused =
        |header: &AuthorHeader, bytes: &Bytes| decode(header, bytes.clone()).expect_err("not this header's");

    let stated = bytes.len() as u32 + 1;
    let error = refused(
        &AuthorHeader {
            body_bytes: stated,
            ..good.clone()
        },
        bytes,
    );
    assert_eq!(
        error,
        BodyError::Bytes {
            found: bytes.len(),
            stated
        }
    );
    let error = refused(
        &AuthorHeader {
            tx_count: 2,
            ..good.clone()
        },
        bytes,
    );
    assert_eq!(error, BodyError::Count { found: 3, stated: 2 });
    let stated = Hash([0; 32]);
    let error = refused(
        &AuthorHeader {
            tx_root: stated,
            ..good.clone()
        },
        bytes,
    );
    assert_eq!(error, BodyError::Root { found: root, stated });
    for len in 0..4 {
        let short = bytes.slice(..len);
        assert_eq!(
            refused(&header(&short, 3, root), &short),
            BodyError::Bytes {
                found: len,
                stated: len as u32
            }
        );
    }
    // One transaction less than the count says: the next one is cut off.
    let cut = bytes.slice(..built.entries()[2].offset as usize);
    assert_eq!(
        refused(&header(&cut, 3, root), &cut),
        BodyError::Transaction {
            position: 2,
            reject: Reject::Encoding
        }
    );
    let long: Bytes = [bytes, &b"xyz"[..]].concat().into();
    assert_eq!(
        refused(&header(&long, 3, root), &long),
        BodyError::Trailing { extra: 3 }
    );
}

#[test]
fn every_changed_bit_of_a_body_is_refused() {
    let (built, root) = build(&[transaction(1, 1), transaction(2, 1)]);
    let good = header(built.bytes(), 2, root);
    for bit in 0..built.bytes().len() * 8 {
        let mut bytes = built.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&good, bytes.into()).is_err(), "bit {bit}");
    }
}

#[test]
fn a_transaction_stands_once() {
    let (txid, bytes) = transaction(1, 1);
    // Other signatures make no other transaction.
    let mut resigned = bytes.to_vec();
    let last = resigned.len() - 1;
    resigned[last] ^= 1;
    for second in [bytes.clone(), resigned.into()] {
        let (built, root) = build(&[(txid, bytes.clone()), transaction(2, 1), (txid, second)]);
        let found = decode(&header(built.bytes(), 3, root), built.bytes().clone());
        assert_eq!(found, Err(BodyError::Duplicate(txid)));
    }
}

#[test]
fn bodies_beyond_the_limits_are_refused_before_they_are_read() {
    let count = BATCH_TXS_MAX as u32 + 1;
    let bytes = Bytes::copy_from_slice(&count.to_le_bytes());
    let error = decode(&header(&bytes, count, merkle::EMPTY), bytes);
    assert_eq!(
        error,
        Err(BodyError::Count {
            found: count,
            stated: count
        })
    );
    let bytes = Bytes::from(vec![0; BATCH_BYTES_MAX + 1]);
    let stated = BATCH_BYTES_MAX as u32 + 1;
    let error = decode(&header(&bytes, 0, merkle::EMPTY), bytes);
    assert_eq!(
        error,
        Err(BodyError::Bytes {
            found: BATCH_BYTES_MAX + 1,
            stated
        })
    );
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(mut bytes in proptest::collection::vec(0_u8..6, 4..700), count in 0_u32..3) {
        bytes[..4].copy_from_slice(&count.to_le_bytes());
        let bytes = Bytes::from(bytes);
        let result = decode(&header(&bytes, count, merkle::EMPTY), bytes.clone());
        proptest::prop_assert_eq!(result.is_ok(), bytes.len() == 4 && count == 0);
    }
}
