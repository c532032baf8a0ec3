use crypto::hash::Xof;
use types::Hash;

use super::{shard_fails, shard_fails_unlimited};

/// Counts the shards among all subsets of the validators, of whom the first `faulty` are faulty.
fn enumerated(validators: u32, faulty: u32, members: u32, tolerated: u32) -> f64 {
    let (mut all, mut failed) = (0_u64, 0_u64);
    for shard in (0_u32..1 << validators).filter(|shard| shard.count_ones() == members) {
        all += 1;
        failed += u64::from((shard & ((1 << faulty) - 1)).count_ones() > tolerated);
    }
    failed as f64 / all as f64
}

#[test]
fn every_shard_of_small_networks_is_counted() {
    for (validators, members) in [(8, 4), (12, 5), (16, 8), (20, 4), (20, 7), (20, 10), (20, 20)] {
        for faulty in [0, 1, validators / 4, validators / 3, validators / 2, validators] {
            let tolerated = (members - 1) / 3;
            let counted = enumerated(validators, faulty, members, tolerated);
            let computed = shard_fails(validators, faulty, members, tolerated);
            assert!(
                (counted - computed).abs() < 1e-12,
                "{validators} {faulty} {members}: counted {counted}, computed {computed}"
            );
        }
    }
}

#[test]
fn the_table_of_the_rules_is_met() {
    // Members, share in parts per million, binomial, hypergeometric with four shards; 0 where the table says ~0.
    for (members, ppm, unlimited, four_shards) in [
        (16, 100_000, 3.3e-3, 1.1e-4),
        (16, 200_000, 8.2e-2, 3.7e-2),
        (16, 250_000, 0.19, 0.16),
        (64, 100_000, 1.2e-7, 3e-12),
        (64, 200_000, 5.1e-3, 1.2e-3),
        (64, 250_000, 6.0e-2, 3.5e-2),
        (128, 100_000, 4e-13, 0.0),
        (128, 200_000, 2.2e-4, 1.4e-5),
        (128, 250_000, 1.8e-2, 7.5e-3),
        (256, 100_000, 0.0, 0.0),
        (256, 200_000, 2.4e-7, 1.0e-9),
        (256, 250_000, 1.3e-3, 2.2e-4),
        (600, 200_000, 1e-14, 0.0),
        (600, 250_000, 3.0e-6, 6.3e-8),
    ] {
        let tolerated = (members - 1) / 3;
        let validators = 4 * members;
        let faulty = (u64::from(validators) * u64::from(ppm) / 1_000_000) as u32;
        for (expected, found) in [
            (unlimited, shard_fails_unlimited(ppm, members, tolerated)),
            (four_shards, shard_fails(validators, faulty, members, tolerated)),
        ] {
            // One or two digits are printed there.
            let digits = if expected > 1e-11 { 0.05 } else { 0.5 };
            let met = if expected == 0.0 {
                found < 1e-15
            } else {
                (found - expected).abs() <= digits * expected
            };
            assert!(met, "{members} {ppm}: {expected} and {found}");
        }
    }
}

#[test]
fn random_shards_fail_as_often_as_computed() {
    const SHARDS: u32 = 1_000_000;
    let (validators, faulty, members, tolerated) = (64, 16, 16, 5);
    let mut xof = Xof::new(&Hash([7; 32]));
    let mut ids: Vec<u32> = (0..validators).collect();
    let mut failed = 0;
    for _ in 0..SHARDS {
        // The first places of a permutation, whatever the order before was.
        for place in 0..members as usize {
            let other = place + xof.uniform(u64::from(validators) - place as u64) as usize;
            ids.swap(place, other);
        }
        let bad = ids[..members as usize].iter().filter(|id| **id < faulty).count();
        failed += u32::from(bad > tolerated as usize);
    }
    let probability = shard_fails(validators, faulty, members, tolerated);
    let expected = f64::from(SHARDS) * probability;
    let deviation = (expected * (1.0 - probability)).sqrt();
    let found = f64::from(failed);
    assert!(
        (found - expected).abs() < 3.0 * deviation,
        "{found} of {expected} by {deviation}"
    );
}

#[test]
fn more_shards_come_closer_to_the_bound() {
    let bound = shard_fails_unlimited(250_000, 64, 21);
    let mut before = 0.0;
    for shards in [2, 4, 16, 256, 4096] {
        let found = shard_fails(64 * shards, 16 * shards, 64, 21);
        assert!(before < found && found < bound, "{shards}: {found}");
        before = found;
    }
    assert!((bound - before) / bound < 1e-3, "{before} {bound}");
}

#[test]
fn what_is_certain_is_certain() {
    assert!(shard_fails(10, 10, 10, 3) > 1.0 - 1e-12);
    assert!(shard_fails(10, 0, 5, 1) <= 0.0);
    assert!(shard_fails(10, 3, 10, 3) <= 0.0, "one shard has all of them");
    assert!(shard_fails(10, 4, 10, 3) > 1.0 - 1e-12);
    assert!(shard_fails(10, 99, 99, 3) > 1.0 - 1e-12);
    assert!(shard_fails_unlimited(0, 5, 1) <= 0.0);
    assert!(shard_fails_unlimited(u32::MAX, 5, 1) > 1.0 - 1e-12);
}
