//! Store: group commit of records, and the state written behind.
//!
//! Files are made below `TMPDIR`; on a filesystem in memory an fsync costs nothing, so the name is printed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use store::{
    BlockLog, Identity, LogOptions, Output, StateChanges, StateOptions, StateStore, filesystem_name,
};
use types::block::SignedAuthorHeader;
use types::codec::Decode;
use types::message::AuthorBlock;
use types::record::LogRecord;
use types::{Amount, Hash, Height, OutPoint, Owner, Sequence, TxId};

const IDENTITY: Identity = Identity {
    genesis: Hash([1; 32]),
    validator: [2; 32],
};
/// Bytes of a record's payload.
const RECORD_BYTES: usize = 1024;
/// Outputs created by one batch of the state; as many of the one before are spent.
const OUTPUTS: u64 = 10_000;

fn record(number: u64) -> LogRecord {
    let mut header = SignedAuthorHeader::from_bytes(&[0; 183]).expect("183 bytes");
    header.header.timestamp = number;
    LogRecord::AuthorBlock(AuthorBlock {
        header,
        body: Bytes::from(vec![7; RECORD_BYTES - 183]),
    })
}

fn group_commit(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("directory");
    println!("files on {}", filesystem_name(directory.path()));
    let mut log = BlockLog::open(directory.path(), IDENTITY, LogOptions::default()).expect("log");
    let mut seq = 0;
    let mut group = criterion.benchmark_group("store/group_commit_1KiB");
    for count in [1_u64, 16, 256] {
        let records: Vec<_> = (0..count).map(record).collect();
        group.throughput(Throughput::Elements(count));
        for (name, fsync) in [("fsync", true), ("write", false)] {
            group.bench_with_input(BenchmarkId::new(name, count), &records, |bencher, records| {
                bencher.iter(|| {
                    seq += 1;
                    log.append(black_box(records), Sequence(seq)).expect("appended");
                    if fsync {
                        log.sync().expect("synced");
                    }
                });
            });
        }
    }
    group.finish();
}

fn output(id: u64, created: u64) -> Output {
    let mut txid = [0; 32];
    txid[..8].copy_from_slice(&id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let outpoint = OutPoint {
        txid: TxId(txid),
        index: 0,
    };
    Output {
        outpoint,
        owner: Owner([3; 32]),
        amount: Amount(1),
        created: Height(created),
    }
}

fn write_behind(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("directory");
    let mut state = StateStore::open(directory.path(), IDENTITY, StateOptions::default()).expect("state");
    state.begin(&StateChanges::default()).expect("begun");
    let mut height = 0;
    let mut group = criterion.benchmark_group("store/state_write");
    group.throughput(Throughput::Elements(OUTPUTS));
    group.bench_function("create_10k", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut took = Duration::ZERO;
            for _ in 0..iterations {
                height += 1;
                let changes = StateChanges {
                    height: Height(height),
                    created: (0..OUTPUTS)
                        .map(|id| output(height * OUTPUTS + id, height))
                        .collect(),
                    ..StateChanges::default()
                };
                let began = Instant::now();
                state.write(black_box(&changes)).expect("written");
                took += began.elapsed();
            }
            took
        });
    });
    group.throughput(Throughput::Elements(2 * OUTPUTS));
    group.bench_function("create_and_spend_10k", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut took = Duration::ZERO;
            for _ in 0..iterations {
                height += 1;
                let changes = StateChanges {
                    height: Height(height),
                    created: (0..OUTPUTS)
                        .map(|id| output(height * OUTPUTS + id, height))
                        .collect(),
                    spent: (0..OUTPUTS)
                        .map(|id| output((height - 1) * OUTPUTS + id, 0).outpoint)
                        .collect(),
                    ..StateChanges::default()
                };
                let began = Instant::now();
                state.write(black_box(&changes)).expect("written");
                took += began.elapsed();
            }
            took
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = group_commit, write_behind
}
criterion_main!(benches);
