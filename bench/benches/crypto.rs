//! Hashing, body decoding and signature checks; the checks beside ed25519-zebra and ed25519-dalek on the same
//! signatures, all under distinct keys, all from bytes.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crypto::bls::{KeySet, VotingSecret, is_possessed, sum};
use crypto::keys::{Scheme, SecretKey, account_seed};
use crypto::verify::{BatchVerifier, SignatureJob, verify_one};
use crypto::{body, hash};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use types::block::{AuthorHeader, BlockSeq};
use types::transaction::{Input, Output, TxDraft, TxView};
use types::{Amount, Epoch, Hash, Height, MemberIndex, OutPoint, Owner, ShardId, TxId, ValidatorId};

const GENESIS: Hash = Hash([7; 32]);
const BATCHES: [usize; 3] = [64, 256, 1024];

/// One owner, one input, two outputs: 233 bytes.
fn transaction(index: u64) -> (TxId, Bytes) {
    let key = SecretKey::from_seed(account_seed(1, index));
    let owner = Owner(key.public());
    let txid = TxId(account_seed(2, index));
    let draft = TxDraft {
        owners: vec![owner],
        inputs: vec![Input {
            outpoint: OutPoint { txid, index: 0 },
            owner: 0,
        }],
        outputs: [1, 2]
            .map(|amount| Output {
                owner,
                amount: Amount(amount),
            })
            .to_vec(),
        ..TxDraft::default()
    };
    let mut bytes = Vec::with_capacity(233);
    draft.encode_body(&mut bytes);
    let txid = hash::txid(&bytes);
    bytes.extend_from_slice(&key.sign(&hash::sighash(&GENESIS, &txid)).0);
    (txid, bytes.into())
}

fn transactions(count: usize) -> Vec<(TxId, Bytes)> {
    (0..count as u64).map(transaction).collect()
}

fn hashes(criterion: &mut Criterion) {
    let (txid, bytes) = transaction(0);
    let view = TxView::decode(&bytes).expect("canonical");
    let mut group = criterion.benchmark_group("hash");
    group.throughput(Throughput::Elements(1));
    group.bench_function("txid", |bencher| {
        bencher.iter(|| hash::txid(black_box(view.body())))
    });
    group.bench_function("sighash", |bencher| {
        bencher.iter(|| hash::sighash(&GENESIS, black_box(&txid)))
    });
    group.finish();
}

fn bodies(criterion: &mut Criterion) {
    let txs = transactions(1024);
    let (built, tx_root) = body::build(&txs);
    let header = AuthorHeader {
        version: 1,
        shard: ShardId(0),
        epoch: Epoch(0),
        term: 0,
        group: 0x8000,
        seq: BlockSeq(0),
        prev: GENESIS,
        tx_root,
        tx_count: built.len() as u32,
        body_bytes: built.bytes().len() as u32,
        base_height: Height(0),
        value: 0,
        author: ValidatorId(0),
        timestamp: 0,
    };
    let mut group = criterion.benchmark_group("body, per transaction of 1024");
    group.throughput(Throughput::Elements(1024));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| body::decode(black_box(&header), built.bytes().clone()).expect("own body"));
    });
    group.bench_function("build", |bencher| bencher.iter(|| body::build(black_box(&txs))));
    group.bench_function("signature jobs", |bencher| {
        bencher.iter(|| body::signature_jobs(black_box(&built), 0..1024, &GENESIS));
    });
    group.finish();
}

fn jobs(count: usize) -> Vec<SignatureJob> {
    body::signature_jobs(&body::build(&transactions(count)).0, 0..count as u32, &GENESIS).0
}

fn single_checks(criterion: &mut Criterion) {
    let job = jobs(1)[0];
    let mut group = criterion.benchmark_group("signature, single");
    group.throughput(Throughput::Elements(1));
    group.bench_function("sign", |bencher| {
        let key = SecretKey::from_seed([3; 32]);
        bencher.iter(|| key.sign(black_box(&job.message)));
    });
    group.bench_function("shardbench", |bencher| {
        bencher.iter(|| assert!(verify_one(black_box(&job.key), &job.message, &job.signature)));
    });
    group.bench_function("ed25519-zebra", |bencher| {
        let signature = ed25519_zebra::Signature::from(job.signature.0);
        bencher.iter(|| {
            let key = ed25519_zebra::VerificationKey::try_from(black_box(job.key)).expect("key");
            key.verify(&signature, &job.message).expect("valid");
        });
    });
    group.bench_function("ed25519-dalek", |bencher| {
        let signature = ed25519_dalek::Signature::from_bytes(&job.signature.0);
        bencher.iter(|| {
            let key = ed25519_dalek::VerifyingKey::from_bytes(black_box(&job.key)).expect("key");
            ed25519_dalek::Verifier::verify(&key, &job.message, &signature).expect("valid");
        });
    });
    group.finish();
}

fn batch_checks(criterion: &mut Criterion) {
    let all = jobs(1024);
    let mut group = criterion.benchmark_group("signature, batch");
    for size in BATCHES {
        let jobs = &all[..size];
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("shardbench", size), |bencher| {
            let mut verifier = BatchVerifier::new([9; 32], Scheme::Ed25519);
            bencher.iter(|| assert!(verifier.verify(black_box(jobs)).is_good()));
        });
        group.bench_function(BenchmarkId::new("ed25519-zebra", size), |bencher| {
            let setup = || ChaCha20Rng::from_seed([9; 32]);
            bencher.iter_batched(
                setup,
                |rng| zebra_batch(black_box(jobs), rng),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("ed25519-dalek", size), |bencher| {
            bencher.iter(|| dalek_batch(black_box(jobs)));
        });
    }
    group.finish();
}

fn zebra_batch(jobs: &[SignatureJob], rng: ChaCha20Rng) {
    let mut verifier = ed25519_zebra::batch::Verifier::new();
    for job in jobs {
        let key = ed25519_zebra::VerificationKeyBytes::from(job.key);
        verifier.queue((key, ed25519_zebra::Signature::from(job.signature.0), &job.message));
    }
    verifier.verify(rng).expect("valid");
}

fn dalek_batch(jobs: &[SignatureJob]) {
    let messages: Vec<&[u8]> = jobs.iter().map(|job| &job.message[..]).collect();
    let signatures: Vec<_> = jobs
        .iter()
        .map(|job| ed25519_dalek::Signature::from_bytes(&job.signature.0))
        .collect();
    let keys: Vec<_> = jobs
        .iter()
        .map(|job| ed25519_dalek::VerifyingKey::from_bytes(&job.key).expect("key"))
        .collect();
    ed25519_dalek::verify_batch(&messages, &signatures, &keys).expect("valid");
}

/// Aggregates of committees of 17, 48 and 240 voters: what a leaf, a sub-leader, a leader and everybody does.
fn aggregates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("aggregates");
    let message = [7; 130];
    let secrets: Vec<VotingSecret> = (0..240)
        .map(|id| SecretKey::from_seed([id + 1; 32]).voting())
        .collect();
    group.bench_function("sign", |bencher| {
        bencher.iter(|| secrets[0].sign(black_box(&message)))
    });
    let voting_key = secrets[0].voting_key();
    group.bench_function("possession", |bencher| {
        bencher.iter(|| assert!(is_possessed(Scheme::Ed25519, black_box(&voting_key))));
    });
    for voters in [17_u16, 48, 240] {
        let keys: Vec<_> = secrets
            .iter()
            .take(voters.into())
            .map(VotingSecret::public)
            .collect();
        let quorum = voters - (voters - 1) / 3;
        let votes: Vec<_> = secrets
            .iter()
            .take(quorum.into())
            .map(|secret| secret.sign(&message))
            .collect();
        let signers = (0..quorum).map(MemberIndex).collect();
        let signature = sum(Scheme::Ed25519, &votes).expect("points of the curve");
        let set = KeySet::new(Scheme::Ed25519, &keys);
        group.bench_function(BenchmarkId::new("sum of a quorum", voters), |bencher| {
            bencher.iter(|| sum(Scheme::Ed25519, black_box(&votes)));
        });
        group.bench_function(BenchmarkId::new("verify a quorum", voters), |bencher| {
            bencher.iter(|| assert!(set.verify(black_box(&message), &signers, &signature)));
        });
        group.bench_function(BenchmarkId::new("decode the keys", voters), |bencher| {
            bencher.iter(|| KeySet::new(Scheme::Ed25519, black_box(&keys)));
        });
    }
    group.finish();
}

criterion_group!(crypto, hashes, bodies, single_checks, batch_checks, aggregates);
criterion_main!(crypto);
