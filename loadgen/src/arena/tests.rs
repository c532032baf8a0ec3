//! Whole workloads: bytes, value, routes, order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{ArenaError, Expect, Host, plan};
use crate::import::{ImportCounts, Source, Trace, TraceCoin, TraceTx};
use crate::ownership::Accounts;
use crate::workload::sample::{Sample, times};
use crate::workload::{InvalidShares, Span, TransferShape, Workload, trace_allocations};
use crypto::hash::sighash;
use crypto::placement::{member_of, shard_of};
use crypto::verify::verify_one;
use types::genesis::Allocation;
use types::transaction::TxView;
use types::{Amount, OutPoint, Owner, Reject, ShardId, Signature};

fn shape(inputs: Span, outputs: Span) -> Workload {
    Workload::Transfer(TransferShape {
        inputs,
        outputs,
        ..TransferShape::default()
    })
}

/// Replays an arena on a plain map: every input exists, is unspent and belongs to its owner, value is kept, and
/// signatures verify. Returns the transactions' inputs for further questions.
fn check(sample: &Sample, arena: &super::Arena) -> Vec<Vec<OutPoint>> {
    let mut live: HashMap<OutPoint, (Owner, u64)> = HashMap::new();
    for coin in sample.wallet().coins() {
        let owner = sample.accounts.owner(coin.account).expect("an account");
        live.insert(coin.outpoint, (owner, coin.amount.0));
    }
    let supply: u64 = live.values().map(|(_, amount)| amount).sum();
    let mut creators: HashMap<OutPoint, u32> = HashMap::new();
    let (mut spends, mut fees) = (Vec::new(), 0);
    for (position, entry) in (0_u32..).zip(&arena.entries) {
        let tx = TxView::decode(arena.tx(position)).expect("canonical");
        assert_eq!(crypto::hash::txid(tx.body()), entry.txid);
        let message = sighash(&sample.epoch.genesis_hash, &entry.txid);
        for (owner, signature) in tx.owners().zip(tx.signatures()) {
            assert!(verify_one(&owner.0, &message, &signature));
        }
        let mut sum = 0;
        for input in tx.inputs() {
            let (owner, amount) = live.remove(&input.outpoint).expect("live");
            assert_eq!(tx.owner(input.owner), Some(owner));
            assert_eq!(shard_of(&owner, sample.genesis.shards), entry.shard);
            sum += amount;
        }
        let latest = tx
            .inputs()
            .filter_map(|input| creators.get(&input.outpoint))
            .max();
        assert_eq!(entry.parent, latest.copied());
        for (index, output) in (0_u16..).zip(tx.outputs()) {
            assert_eq!(shard_of(&output.owner, sample.genesis.shards), entry.shard);
            let outpoint = OutPoint {
                txid: entry.txid,
                index,
            };
            live.insert(outpoint, (output.owner, output.amount.0));
            creators.insert(outpoint, position);
            sum -= output.amount.0;
        }
        assert_eq!(sum, tx.fee().0);
        fees += tx.fee().0;
        spends.push(tx.inputs().map(|input| input.outpoint).collect());
    }
    assert_eq!(
        live.values().map(|(_, amount)| amount).sum::<u64>() + fees,
        supply
    );
    spends
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let sample = Sample::new(2, 200);
    let times = times(1500, 1000);
    let workload = shape(Span::exactly(1), Span::exactly(2));
    let one = sample.build(&workload, &times, 1).expect("built");
    let three = sample.build(&workload, &times, 3).expect("built");
    assert_eq!((one.digest, &one.bytes), (three.digest, &three.bytes));
    assert_eq!(one.signing.signatures, 1500);
    let mut later = times.clone();
    *later.last_mut().expect("not empty") += 1;
    let other = sample.build(&workload, &later, 2).expect("built");
    assert_eq!(one.bytes, other.bytes);
    assert_ne!(one.digest, other.digest, "the digest covers the times");
    // Pinned: a change of the generator changes what published digests mean.
    assert_eq!(hex(&one.digest[..8]), "cca92fdf8a27a699");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn transfers_keep_value_stay_in_their_shard_and_load_shards_evenly() {
    let sample = Sample::new(4, 300);
    // Far more transactions than coins: 4000 in 40 s on 300 coins.
    let arena = sample
        .build(&shape(Span::exactly(1), Span::exactly(2)), &times(4000, 100), 2)
        .expect("built");
    check(&sample, &arena);
    for shard in 0..4 {
        let count = arena
            .entries
            .iter()
            .filter(|entry| entry.shard.0 == shard)
            .count();
        assert_eq!(count, 1000);
    }
    assert_eq!(
        (
            arena.mix.inputs_mean,
            arena.mix.outputs_mean,
            arena.mix.owners_mean
        ),
        (1.0, 2.0, 1.0)
    );
    // At 100 per second every coin has settled before it is taken again: nobody but the owner's member is asked.
    for (position, entry) in (0..).zip(&arena.entries) {
        let tx = TxView::decode(arena.tx(position)).expect("canonical");
        let owner = tx.owner(0).expect("an owner");
        let member = member_of(&owner, &sample.genesis.randomness, entry.shard, 4);
        assert_eq!(entry.member, member);
    }
    assert!(arena.mix.dependent > 3000);
}

#[test]
fn coins_that_have_not_settled_are_spent_at_the_member_of_their_parent() {
    let sample = Sample::new(1, 10);
    // 2000 transactions in 0.2 s on 10 coins: nothing settles.
    for outputs in [1, 2] {
        let workload = shape(Span::exactly(1), Span::exactly(outputs));
        let arena = sample.build(&workload, &times(2000, 10_000), 2).expect("built");
        check(&sample, &arena);
        assert!(arena.mix.dependent >= 1990);
        for entry in &arena.entries {
            if let Some(parent) = entry.parent {
                assert_eq!(entry.member, arena.entries[parent as usize].member);
            }
        }
    }
}

#[test]
fn ranges_several_inputs_and_fixed_amounts() {
    let sample = Sample::new(2, 2000);
    let workload = Workload::Transfer(TransferShape {
        inputs: Span { min: 1, max: 4 },
        outputs: Span { min: 1, max: 5 },
        amount: Some(Amount(50)),
        ..TransferShape::default()
    });
    let arena = sample.build(&workload, &times(500, 500), 2).expect("built");
    check(&sample, &arena);
    assert!((2.2..2.8).contains(&arena.mix.inputs_mean), "{:?}", arena.mix);
    assert!((2.7..3.3).contains(&arena.mix.outputs_mean), "{:?}", arena.mix);
    let mut paid = BTreeSet::new();
    for position in 0..500 {
        let tx = TxView::decode(arena.tx(position)).expect("canonical");
        if tx.output_count() > 1 {
            paid.insert(tx.outputs().next().expect("a payment").amount.0);
        }
    }
    assert!(
        paid.contains(&50) && paid.iter().all(|amount| *amount <= 50),
        "{paid:?}"
    );
}

#[test]
fn chains_follow_the_change_to_their_depth() {
    let sample = Sample::new(2, 400);
    let workload = Workload::Transfer(TransferShape {
        chain_depth: 5,
        ..TransferShape::default()
    });
    let arena = sample.build(&workload, &times(1000, 1000), 2).expect("built");
    check(&sample, &arena);
    let mut depths = Vec::new();
    for entry in &arena.entries {
        let depth = entry.parent.map_or(1, |parent| depths[parent as usize] + 1);
        depths.push(depth);
    }
    // One shard's transactions follow each other: depths 1 to 5, again and again, on fresh coins.
    let of_shard: Vec<u32> = depths.iter().step_by(2).copied().collect();
    assert!(of_shard.chunks(5).all(|chunk| chunk == [1, 2, 3, 4, 5]));
}

#[test]
fn a_drained_wallet_takes_fewer_inputs_and_keeps_its_value() {
    let sample = Sample::new(1, 8);
    let drain = shape(Span::exactly(3), Span::exactly(1));
    let arena = sample.build(&drain, &times(50, 10), 1).expect("built");
    check(&sample, &arena);
    assert!(arena.mix.inputs_mean < 1.5, "{:?}", arena.mix);
}

#[test]
fn shapes_that_cannot_be_met_are_refused_by_flag() {
    for (shape, flag) in [
        (
            TransferShape {
                inputs: Span::exactly(0),
                ..TransferShape::default()
            },
            "--inputs",
        ),
        (
            TransferShape {
                outputs: Span { min: 1, max: 65 },
                ..TransferShape::default()
            },
            "--outputs",
        ),
        (
            TransferShape {
                amount: Some(Amount(0)),
                ..TransferShape::default()
            },
            "--amount",
        ),
        (
            TransferShape {
                chain_depth: 0,
                ..TransferShape::default()
            },
            "--chain-depth",
        ),
        (
            TransferShape {
                chain_depth: 2,
                outputs: Span { min: 1, max: 2 },
                ..TransferShape::default()
            },
            "--chain-depth",
        ),
    ] {
        let error = shape.validate().expect_err(flag);
        assert!(error.to_string().contains(flag), "{error}");
    }
}

#[test]
fn networks_that_cannot_carry_the_workload_are_refused() {
    let accounts = Accounts::derive(1, 40, 2, 1, &|_, _| {});
    let first = accounts
        .owner(accounts.of_shard(ShardId(0))[0])
        .expect("an account");
    let allocation = Allocation {
        owner: first,
        amount: Amount(9),
    };
    let poor = Sample::with(2, accounts, vec![allocation], true);
    let workload = shape(Span::exactly(1), Span::exactly(2));
    let error = poor
        .build(&workload, &times(5, 10), 1)
        .expect_err("shard 1 holds nothing");
    assert_eq!(
        error,
        ArenaError::OutOfCoins {
            shard: ShardId(1),
            position: 1
        }
    );
    let few = Sample::new(8, 9);
    let error = few
        .build(&workload, &times(5, 10), 1)
        .expect_err("an empty shard");
    assert!(matches!(error, ArenaError::Accounts { .. }));
    let error = Sample::new(1, 8)
        .build(&workload, &[5, 4], 1)
        .expect_err("falling times");
    assert_eq!(error, ArenaError::Schedule { position: 0 });
}

#[test]
fn plans_that_do_not_fit_name_the_way_out() {
    let workload = shape(Span::exactly(1), Span::exactly(2));
    let host = Host {
        memory_bytes: 8 << 30,
        threads: 2,
    };
    let fits = plan(&workload, 100_000, host).expect("fits");
    assert_eq!(fits.count, 100_000);
    assert!(fits.bytes_estimate > 100_000 * 233);
    let error = plan(&workload, 10_000_000, host).expect_err("4 GB of 2");
    assert!(matches!(error, ArenaError::Memory { .. }));
    assert!(
        error.to_string().contains("--duration") && error.to_string().contains("prepare"),
        "{error}"
    );
    let host = Host {
        memory_bytes: u64::MAX,
        threads: 1,
    };
    let error = plan(&workload, u64::from(u32::MAX) - 1, host).expect_err("hours of signing");
    assert!(matches!(error, ArenaError::Signing { .. }));
    assert!(
        error.to_string().contains("--duration") && error.to_string().contains("prepare"),
        "{error}"
    );
    assert!(matches!(
        plan(&workload, u64::MAX, host),
        Err(ArenaError::Count(_))
    ));
}

fn coin(owner: u32, amount: u64) -> TraceCoin {
    TraceCoin {
        owner,
        amount: Amount(amount),
    }
}

/// 0 and 1 are independent; 2 joins them; 3 spends 2; 4 is alone.
fn trace() -> Trace {
    let tx = |inputs: &[Source], outputs: &[TraceCoin], fee| TraceTx {
        fee: Amount(fee),
        inputs: inputs.to_vec(),
        outputs: outputs.to_vec(),
        memo: b"memo".to_vec(),
    };
    let output = |tx, index| Source::Output { tx, index };
    let trace = Trace {
        source: [0; 32],
        counts: ImportCounts::default(),
        owners: 6,
        allocations: vec![coin(0, 100), coin(1, 200), coin(2, 300), coin(3, 50)],
        transactions: vec![
            tx(
                &[Source::Allocation(0), Source::Allocation(1)],
                &[coin(4, 250), coin(5, 40)],
                10,
            ),
            tx(&[Source::Allocation(2)], &[coin(4, 300)], 0),
            tx(&[output(1, 0), output(0, 0)], &[coin(0, 545)], 5),
            tx(&[output(2, 0)], &[coin(1, 545)], 0),
            tx(&[Source::Allocation(3)], &[coin(2, 50)], 0),
        ],
    };
    trace.validate().expect("a valid trace");
    trace
}

fn replay_sample(shards: u16) -> Sample {
    let accounts = Accounts::derive(5, 6, shards, 1, &|_, _| {});
    let allocations = trace_allocations(&trace(), &accounts);
    Sample::with(shards, accounts, allocations, false)
}

#[test]
fn a_trace_is_replayed_with_parents_and_one_member_for_what_hangs_together() {
    let sample = replay_sample(1);
    let arena = sample
        .build(&Workload::Replay(trace()), &times(5, 1000), 2)
        .expect("built");
    let spends = check(&sample, &arena);
    assert_eq!(spends.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 2, 1, 1]);
    let parents: Vec<_> = arena.entries.iter().map(|entry| entry.parent).collect();
    assert_eq!(parents, [None, None, Some(1), Some(2), None]);
    let member = arena.entries[0].member;
    assert!(arena.entries[..4].iter().all(|entry| entry.member == member));
    let fees: u64 = (0..5)
        .map(|position| TxView::decode(arena.tx(position)).expect("canonical").fee().0)
        .sum();
    assert_eq!(fees, 15);
    let first = TxView::decode(arena.tx(0)).expect("canonical");
    assert_eq!((first.memo(), first.owner_count()), (&b"memo"[..], 2));
    assert_ne!(first.signatures().next(), Some(Signature([0; 64])));
}

#[test]
fn a_trace_that_the_network_cannot_replay_is_refused() {
    let workload = Workload::Replay(trace());
    let error = replay_sample(2)
        .build(&workload, &times(5, 9), 1)
        .expect_err("two shards");
    assert!(error.to_string().contains("--shards 1"), "{error}");
    let error = Sample::new(1, 8)
        .build(&workload, &times(5, 9), 1)
        .expect_err("not funded");
    assert_eq!(error, ArenaError::TraceUnfunded { allocation: 0 });
    let error = Sample::new(1, 5)
        .build(&workload, &times(5, 9), 1)
        .expect_err("few keys");
    assert!(matches!(
        error,
        ArenaError::TraceAccounts {
            owners: 6,
            accounts: 5
        }
    ));
    let error = replay_sample(1)
        .build(&workload, &times(4, 9), 1)
        .expect_err("short schedule");
    assert!(matches!(
        error,
        ArenaError::TraceLength {
            transactions: 5,
            times: 4
        }
    ));
}

#[test]
fn what_is_spoilt_on_purpose_breaks_its_rule_and_takes_no_coin_away() {
    let sample = Sample::new(2, 300);
    let shares =
        InvalidShares::parse("--invalid", "sig=0.1,missing=0.1,value=0.1,encoding=0.1").expect("kinds");
    let workload = Workload::Transfer(TransferShape {
        invalid: shares,
        ..TransferShape::default()
    });
    let arena = sample.build(&workload, &times(4000, 100), 2).expect("built");
    let mut counts: BTreeMap<Reject, u64> = BTreeMap::new();
    for (position, entry) in (0..).zip(&arena.entries) {
        let Expect::Rejected(reason) = entry.expect else {
            continue;
        };
        *counts.entry(reason).or_default() += 1;
        let decoded = TxView::decode(arena.tx(position));
        if reason == Reject::Encoding {
            assert!(decoded.is_err());
            continue;
        }
        let tx = decoded.expect("canonical");
        let message = sighash(&sample.epoch.genesis_hash, &entry.txid);
        let signature = tx.signatures().next().expect("one");
        let holds = verify_one(&tx.owner(0).expect("one").0, &message, &signature);
        assert_eq!(holds, reason != Reject::BadSignature);
    }
    assert_eq!(counts.len(), 4);
    assert!(
        counts.values().all(|count| (300..500).contains(count)),
        "{counts:?}"
    );
    assert_eq!(arena.mix.invalid, counts.values().sum::<u64>());
    let mut txids: Vec<_> = arena.entries.iter().map(|entry| entry.txid).collect();
    txids.sort_unstable();
    txids.dedup();
    assert_eq!(txids.len(), 4000, "every transaction is one of its own");
    // Whoever spends what was valid never names an output of what was not.
    let spoilt: HashSet<_> = arena
        .entries
        .iter()
        .filter(|entry| matches!(entry.expect, Expect::Rejected(_)))
        .map(|entry| entry.txid)
        .collect();
    for (position, entry) in (0..).zip(&arena.entries) {
        if entry.expect == Expect::Final {
            let tx = TxView::decode(arena.tx(position)).expect("canonical");
            assert!(tx.inputs().all(|input| !spoilt.contains(&input.outpoint.txid)));
        }
    }
}

#[test]
fn double_spends_come_in_pairs_over_the_same_coins_and_nobody_spends_from_them() {
    let sample = Sample::new(2, 4000);
    let workload = Workload::Transfer(TransferShape {
        conflicts_ppm: 200_000,
        ..TransferShape::default()
    });
    let arena = sample.build(&workload, &times(4000, 100), 2).expect("built");
    let spent = |position| -> Vec<_> {
        let tx = TxView::decode(arena.tx(position)).expect("canonical");
        tx.inputs().map(|input| input.outpoint).collect()
    };
    let mut doubled = HashSet::new();
    let mut pairs = 0;
    for (position, entry) in (0_u32..).zip(&arena.entries) {
        let Expect::OneOf(other) = entry.expect else {
            continue;
        };
        let twin = &arena.entries[other as usize];
        assert_eq!(twin.expect, Expect::OneOf(position));
        assert_eq!((twin.shard, twin.group), (entry.shard, entry.group));
        assert_eq!(spent(position), spent(other));
        assert_ne!(twin.txid, entry.txid);
        assert_ne!(twin.member, entry.member, "in one league another voter is asked");
        doubled.insert(entry.txid);
        pairs += u64::from(other > position);
    }
    assert_eq!(arena.mix.conflicts, pairs);
    assert!((700..900).contains(&pairs), "a fifth of 4000: {pairs}");
    for position in 0..4000 {
        assert!(
            spent(position)
                .iter()
                .all(|outpoint| !doubled.contains(&outpoint.txid))
        );
    }
}
