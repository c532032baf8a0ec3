//! Transactions: decoding a view without copying, writing a body, txid; and admission to the ring.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mempool::AdmissionRing;
use std::hint::black_box;
use types::transaction::{Input, Output, TxDraft, TxView};
use types::{Amount, OutPoint, Owner, TxId};

const TXS: u64 = 1024;

/// One owner, one input, two outputs: 233 bytes.
fn draft(number: u64) -> TxDraft {
    let mut owner = [7; 32];
    owner[..8].copy_from_slice(&number.to_le_bytes());
    TxDraft {
        owners: vec![Owner(owner)],
        inputs: vec![Input {
            outpoint: OutPoint {
                txid: TxId(owner),
                index: 1,
            },
            owner: 0,
        }],
        outputs: vec![
            Output {
                owner: Owner([1; 32]),
                amount: Amount(number + 1),
            },
            Output {
                owner: Owner(owner),
                amount: Amount(5),
            },
        ],
        ..TxDraft::default()
    }
}

fn encoded(number: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(233);
    draft(number).encode_body(&mut bytes);
    bytes.extend_from_slice(&[3; 64]);
    bytes
}

fn codec(criterion: &mut Criterion) {
    let txs: Vec<Vec<u8>> = (0..TXS).map(encoded).collect();
    let drafts: Vec<TxDraft> = (0..TXS).map(draft).collect();
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(TXS));
    group.bench_function("decode 233 B", |bencher| {
        bencher.iter(|| {
            txs.iter()
                .map(|tx| TxView::decode(black_box(tx)).map_or(0, |view| view.output_count()))
                .sum::<usize>()
        });
    });
    group.bench_function("encode 233 B", |bencher| {
        let mut out = Vec::with_capacity(512);
        bencher.iter(|| {
            for draft in &drafts {
                out.clear();
                black_box(draft).encode_body(&mut out);
                black_box(&out);
            }
        });
    });
    group.bench_function("decode and txid", |bencher| {
        bencher.iter(|| {
            for tx in &txs {
                let view = TxView::decode(black_box(tx)).expect("canonical");
                black_box(crypto::hash::txid(view.body()));
            }
        });
    });
    group.finish();
}

fn admission(criterion: &mut Criterion) {
    let tx = Bytes::from(encoded(1));
    let batch = || vec![(TxId([1; 32]), tx.clone()); 64];
    let mut group = criterion.benchmark_group("mempool");
    group.throughput(Throughput::Elements(64));
    let ring = AdmissionRing::new(1024, 65_536);
    group.bench_function("push and pop a batch of 64", |bencher| {
        bencher.iter_batched(
            batch,
            |batch| {
                ring.push(batch).expect("room");
                ring.pop()
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, codec, admission);
criterion_main!(benches);
