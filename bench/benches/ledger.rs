//! `apply` of blocks of 4096 payments, one input and two outputs each, on a million live outputs; time per block at
//! one and two threads, throughput in transactions.
//!
//! The blocks follow one another and spend outputs all over the set, so that no block finds its outputs in a cache;
//! when all are applied they are rolled back, which is not timed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crypto::hash;
use crypto::keys::account_seed;
use ledger::{Batch, BlockInput, Executor, Inline, Ledger, LedgerConfig};
use types::block::{Body, TxEntry};
use types::transaction::{Input, Output, TxDraft};
use types::{Amount, Hash, Height, OutPoint, Owner, ShardId, TxId};

const LIVE: u64 = 1_000_000;
const BLOCKS: u64 = 32;
const BLOCK_TXS: u64 = 4096;
const BATCH_TXS: u64 = 1024;

/// Two threads, each with its half of the tasks, so that a partition stays with its thread.
struct Halves;

impl Executor for Halves {
    fn run<'scope>(&self, mut tasks: Vec<Box<dyn FnOnce() + Send + 'scope>>) {
        let half = tasks.split_off(tasks.len() / 2);
        std::thread::scope(|scope| {
            scope.spawn(|| half.into_iter().for_each(|task| task()));
            tasks.into_iter().for_each(|task| task());
        });
    }
}

fn funding(account: u64) -> (OutPoint, Owner, Amount) {
    let outpoint = OutPoint {
        txid: TxId(account_seed(1, account)),
        index: 0,
    };
    (outpoint, Owner(account_seed(2, account)), Amount(1000))
}

/// Spends the outputs of `BATCH_TXS` accounts.
fn body(first: u64) -> Body {
    let mut bytes = (BATCH_TXS as u32).to_le_bytes().to_vec();
    let mut entries = Vec::new();
    for account in first..first + BATCH_TXS {
        let (outpoint, owner, _) = funding(account);
        let start = bytes.len();
        let draft = TxDraft {
            owners: vec![owner],
            inputs: vec![Input { outpoint, owner: 0 }],
            outputs: [300, 700]
                .map(|amount| Output {
                    owner,
                    amount: Amount(amount),
                })
                .to_vec(),
            ..TxDraft::default()
        };
        draft.encode_body(&mut bytes);
        let txid = hash::txid(&bytes[start..]);
        bytes.extend_from_slice(&[0; 64]);
        entries.push(TxEntry {
            txid,
            offset: start as u32,
            len: (bytes.len() - start) as u16,
        });
    }
    Body::new(Bytes::from(bytes), entries)
}

fn apply(criterion: &mut Criterion) {
    let config = LedgerConfig {
        shard: ShardId(0),
        shards: 1,
        genesis_hash: Hash([7; 32]),
        keep_spent: 33,
        fee_min: 0,
        expiry_ahead_max: 4,
        hash_seed: [9; 16],
    };
    let mut ledger = Ledger::new(config, (0..LIVE).map(funding), 0).expect("a valid genesis");
    let bodies: Vec<Body> = (0..BLOCKS * BLOCK_TXS / BATCH_TXS)
        .map(|batch| body(batch * BATCH_TXS))
        .collect();
    let batches: Vec<Batch<'_>> = bodies
        .iter()
        .map(|body| Batch {
            body,
            bad_signatures: &[],
        })
        .collect();
    let blocks: Vec<&[Batch<'_>]> = batches.chunks((BLOCK_TXS / BATCH_TXS) as usize).collect();

    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(BLOCK_TXS)).sample_size(20);
    let executors: [(u32, &dyn Executor); 2] = [(1, &Inline), (2, &Halves)];
    for (threads, executor) in executors {
        group.bench_function(BenchmarkId::new("threads", threads), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                for _ in 0..iterations {
                    if ledger.height() == Height(BLOCKS) {
                        ledger.roll_back(Height(0));
                    }
                    let start = Instant::now();
                    let applied = ledger.apply(
                        ledger.height().next(),
                        &BlockInput::new(blocks[ledger.height().0 as usize]),
                        executor,
                    );
                    spent += start.elapsed();
                    assert_eq!(u64::from(applied.applied), BLOCK_TXS);
                }
                spent
            });
        });
        ledger.roll_back(Height(0));
    }
    group.finish();
}

criterion_group!(benches, apply);
criterion_main!(benches);
