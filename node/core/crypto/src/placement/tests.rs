use std::collections::BTreeSet;

use types::codec::Encode;
use types::genesis::{FundingRule, Genesis};
use types::policy::Policy;
use types::{Amount, Hash, MemberIndex, Owner, ShardId, ValidatorId};

use super::{VotingKeyError, check_voting_keys, epoch_config, group_of, member_of, shard_of};
use crate::hash::{committee_hash, genesis_hash};
use crate::keys::{Scheme, SecretKey, account_seed};

fn genesis(validators: u16, shards: u16) -> Genesis {
    let key = |id: u16| {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&id.to_be_bytes());
        key
    };
    Genesis {
        name: "test".into(),
        policy: Policy::lan(),
        shards,
        randomness: Hash([3; 32]),
        validators: (0..validators).map(key).collect(),
        voting_keys: Vec::new(),
        bonds: vec![0; validators.into()],
        funding: FundingRule {
            seed: 1,
            accounts: 0,
            amount: Amount(0),
        },
        allocations: 0,
        allocations_hash: Hash([4; 32]),
    }
}

#[test]
fn the_top_bits_of_the_first_eight_bytes_are_the_shard() {
    let mut owner = Owner([0; 32]);
    owner.0[7] = 0b1011_0000;
    let shards = [1, 2, 4, 8, 16, 256].map(|shards| shard_of(&owner, shards).0);
    assert_eq!(shards, [0, 1, 2, 5, 11, 176]);
    assert_eq!(shard_of(&Owner([0xff; 32]), 256), ShardId(255));
    owner.0[8..].fill(0xff);
    assert_eq!(shard_of(&owner, 2), ShardId(1));
    owner.0[7] = 0;
    owner.0[..7].fill(0xff);
    assert_eq!(shard_of(&owner, 256), ShardId(0));
}

#[test]
fn owners_spread_evenly_over_shards_and_groups() {
    const OWNERS: u64 = 1_000_000;
    let (shards, groups) = (4_u16, 7_u16);
    let mut counts = vec![0_u32; usize::from(shards * groups)];
    for index in 0..OWNERS {
        let owner = Owner(account_seed(5, index));
        let shard = shard_of(&owner, shards);
        let group = group_of(&owner, &Hash([1; 32]), shard, groups);
        counts[usize::from(shard.0 * groups + group)] += 1;
    }
    let expected = OWNERS as f64 / counts.len() as f64;
    let chi_square: f64 = counts
        .iter()
        .map(|count| (f64::from(*count) - expected).powi(2) / expected)
        .sum();
    // 27 degrees of freedom, p = 0.001.
    assert!(chi_square < 55.5, "{chi_square}: {counts:?}");
}

#[test]
fn the_only_group_has_everyone() {
    for owner in 0..=255 {
        for groups in [0, 1] {
            assert_eq!(
                group_of(&Owner([owner; 32]), &Hash([1; 32]), ShardId(0), groups),
                0
            );
        }
    }
}

#[test]
fn a_member_hangs_on_owner_randomness_and_shard() {
    let draw = |owner: u8, randomness: u8, shard| {
        (0..16)
            .map(|at| {
                member_of(
                    &Owner([owner + at; 32]),
                    &Hash([randomness; 32]),
                    ShardId(shard),
                    16,
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(draw(0, 1, 0), draw(0, 1, 0));
    assert_ne!(draw(0, 1, 0), draw(16, 1, 0));
    assert_ne!(draw(0, 1, 0), draw(0, 2, 0));
    assert_ne!(draw(0, 1, 0), draw(0, 1, 1));
    assert_eq!(
        member_of(&Owner([1; 32]), &Hash([1; 32]), ShardId(0), 1),
        MemberIndex(0)
    );
    assert_eq!(numbers(&draw(0, 1, 0)), MEMBERS);
}

fn numbers(members: &[MemberIndex]) -> Vec<u16> {
    members.iter().map(|member| member.0).collect()
}

#[test]
fn every_validator_serves_exactly_one_shard() {
    for (validators, shards) in [(4, 1), (8, 2), (28, 4), (1024, 64)] {
        let genesis = genesis(validators, shards);
        genesis.validate().expect("a genesis that can run");
        let config = epoch_config(&genesis);
        assert_eq!(config.committees.len(), usize::from(shards));
        assert_eq!(config.genesis_hash, genesis_hash(&genesis));
        assert_eq!(
            config.genesis_hash.0,
            *blake3::hash(&genesis.to_bytes()).as_bytes()
        );
        let mut seen = BTreeSet::new();
        for (shard, committee) in (0..).zip(&config.committees) {
            assert_eq!(committee.shard, ShardId(shard));
            assert_eq!(committee.size(), usize::from(validators / shards));
            assert!(
                committee.members.windows(2).all(|pair| pair[0].0 < pair[1].0),
                "ascending by id"
            );
            for (id, key) in &committee.members {
                assert_eq!(*key, genesis.validators[usize::from(id.0)]);
                assert!(seen.insert(*id), "{id:?} serves twice");
            }
            let leaders: BTreeSet<_> = committee.leaders.iter().collect();
            assert_eq!(
                (leaders.len(), committee.leaders.len()),
                (committee.size(), committee.size())
            );
            assert_eq!(
                committee.hash,
                committee_hash(
                    config.epoch,
                    committee.shard,
                    &committee.members,
                    committee.voters
                )
            );
        }
        assert_eq!(seen.len(), usize::from(validators));
    }
}

#[test]
fn committees_and_leaders_are_pinned() {
    let config = epoch_config(&genesis(8, 2));
    let found = config.committees.iter().map(|committee| {
        let ids: Vec<u16> = committee.members.iter().map(|(ValidatorId(id), _)| *id).collect();
        (ids, numbers(&committee.leaders), committee.hash.to_string())
    });
    let pinned = COMMITTEES.map(|(ids, leaders, hash)| (ids.to_vec(), leaders.to_vec(), hash.to_owned()));
    assert_eq!(found.collect::<Vec<_>>(), pinned);
}

const MEMBERS: [u16; 16] = [14, 5, 8, 7, 14, 8, 10, 15, 4, 4, 7, 9, 0, 3, 4, 10];

const COMMITTEES: [([u16; 4], [u16; 4], &str); 2] = [
    (
        [0, 2, 5, 7],
        [2, 1, 3, 0],
        "cb68edbc31556f5064222ab9134fce8dc0f351752994cf03882eab0effb02988",
    ),
    (
        [1, 3, 4, 6],
        [3, 1, 0, 2],
        "618b3d0fd6dfa55c8c6eadc985c8f0d7e06bf69a1fdc7d4b3fe86cf306f63f4e",
    ),
];

#[test]
fn voting_keys_go_with_their_members_and_each_needs_its_proof() {
    for scheme in [Scheme::Ed25519, Scheme::Simulated] {
        let mut genesis = genesis(34, 2);
        let voting = |id: u8| SecretKey::of_scheme(scheme, [id; 32]).voting().voting_key();
        genesis.voting_keys = (0..34).map(voting).collect();
        for committee in epoch_config(&genesis).committees {
            let expected: Vec<_> = committee
                .members
                .iter()
                .map(|(id, _)| voting(id.0 as u8).key)
                .collect();
            assert_eq!(committee.voting_keys, expected);
        }
        assert_eq!(check_voting_keys(scheme, &genesis), Ok(()));
        // The proof of another key proves nothing.
        genesis.voting_keys[33].possession = genesis.voting_keys[32].possession;
        let error = VotingKeyError(ValidatorId(33));
        assert_eq!(check_voting_keys(scheme, &genesis), Err(error));
    }
    assert_eq!(check_voting_keys(Scheme::Ed25519, &genesis(8, 2)), Ok(()));
}
