use std::collections::BTreeSet;

use types::codec::Encode;
use types::genesis::{FundingRule, Genesis};
use types::policy::Policy;
use types::{Amount, Epoch, Hash, MemberIndex, Owner, ShardId, ValidatorId};

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

/// Every bond is eligible: scores are 0.05 and more.
fn two_leagues(validators: u16, shards: u16, seats: u16, candidates: u16) -> Genesis {
    let mut genesis = genesis(validators, shards);
    genesis.policy = Policy::lan().with_leagues();
    let leagues = genesis.policy.leagues.as_mut().expect("two leagues");
    (leagues.seats, leagues.candidates) = (seats, candidates);
    leagues.bond_cap = 8_000;
    genesis.bonds = (0..validators)
        .map(|id| 1_000 * (1 + u64::from(id % 8)))
        .collect();
    genesis
}

#[test]
fn voters_come_first_and_candidates_follow_in_the_order_of_ids() {
    for (validators, shards, seats, candidates) in
        [(5, 1, 1, 1), (10, 2, 1, 1), (28, 4, 2, 3), (160, 8, 4, 8)]
    {
        let genesis = two_leagues(validators, shards, seats, candidates);
        genesis.validate().expect("a genesis that can run");
        for committee in &epoch_config(&genesis).committees {
            let size = usize::from(validators / shards);
            assert_eq!(committee.members.len(), size);
            assert_eq!(committee.size(), size - usize::from(candidates));
            let (voting, standing) = committee.members.split_at(committee.size());
            for part in [voting, standing] {
                assert!(part.windows(2).all(|pair| pair[0].0 < pair[1].0), "{part:?}");
            }
            let mut drawn = numbers(&committee.candidates);
            drawn.sort_unstable();
            assert_eq!(drawn, (committee.voters..size as u16).collect::<Vec<_>>());
            let mut leaders = numbers(&committee.leaders);
            leaders.sort_unstable();
            assert_eq!(
                leaders,
                (0..committee.voters).collect::<Vec<_>>(),
                "voters alone lead"
            );
            for ((id, key), bond) in committee.members.iter().zip(&committee.bonds) {
                assert_eq!(*key, genesis.validators[usize::from(id.0)]);
                assert_eq!(*bond, genesis.bonds[usize::from(id.0)]);
            }
            assert_eq!(
                committee.hash,
                committee_hash(Epoch(0), committee.shard, &committee.members, committee.voters)
            );
            assert_ne!(
                committee.hash,
                committee_hash(Epoch(0), committee.shard, &committee.members, size as u16),
                "the roles are part of the hash"
            );
        }
    }
}

#[test]
fn candidates_and_seats_are_drawn_with_the_weight_of_their_bonds() {
    const NETWORKS: u32 = 20_000;
    // One has no bond and two too small a one: their score, 0.4 * 999 / 8000, is below 0.05.
    let mut genesis = two_leagues(8, 1, 1, 2);
    genesis.bonds = vec![4_000, 0, 1_000, 999, 8_000, 3_000, 999, u64::MAX];
    let mut counts = [[0.0; 8]; 2];
    for number in 0..NETWORKS {
        genesis.randomness = Hash(*blake3::hash(&number.to_le_bytes()).as_bytes());
        let committee = &epoch_config(&genesis).committees[0];
        for (place, member) in committee.candidates.iter().enumerate() {
            let (id, _) = committee.members[usize::from(member.0)];
            counts[place][usize::from(id.0)] += 1.0;
        }
    }
    let weights = [4.0, 0.0, 1.0, 0.0, 8.0, 3.0, 0.0, 8.0];
    let total: f64 = weights.iter().sum();
    let set_apart = |id: usize, other: usize| weights[id] / total * weights[other] / (total - weights[id]);
    let mut chi_square = 0.0;
    for id in 0..8 {
        // Both are set apart in either order; then the one is seated before the other with the weight of the two.
        let seated: f64 = (0..8)
            .filter(|other| *other != id && weights[id] * weights[*other] > 0.0)
            .map(|other| {
                (set_apart(id, other) + set_apart(other, id)) * weights[id] / (weights[id] + weights[other])
            })
            .sum();
        let expected = f64::from(NETWORKS) * seated;
        if expected > 0.0 {
            chi_square += (counts[0][id] - expected).powi(2) / expected;
        } else {
            assert!(
                counts[0][id] + counts[1][id] < 1.0,
                "{id} is not eligible: {counts:?}"
            );
        }
    }
    // Four degrees of freedom, p = 0.001.
    assert!(chi_square < 18.5, "{chi_square}: {counts:?}");
}

#[test]
fn where_too_few_are_eligible_the_others_vote() {
    let mut genesis = two_leagues(8, 1, 2, 3);
    for eligible in 0..3 {
        genesis.bonds = (0..8).map(|id| if id < eligible { 8_000 } else { 0 }).collect();
        let committee = &epoch_config(&genesis).committees[0];
        assert_eq!(committee.candidates.len(), eligible);
        assert_eq!(committee.size(), 8 - eligible);
    }
}

#[test]
fn candidates_are_pinned() {
    let config = epoch_config(&two_leagues(16, 2, 2, 3));
    let found = config.committees.iter().map(|committee| {
        let ids: Vec<u16> = committee.members.iter().map(|(ValidatorId(id), _)| *id).collect();
        let candidates = numbers(&committee.candidates);
        (ids, candidates, committee.hash.to_string())
    });
    let pinned =
        CANDIDATES.map(|(ids, candidates, hash)| (ids.to_vec(), candidates.to_vec(), hash.to_owned()));
    assert_eq!(found.collect::<Vec<_>>(), pinned);
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

const CANDIDATES: [([u16; 8], [u16; 3], &str); 2] = [
    (
        [0, 2, 6, 13, 14, 1, 5, 12],
        [6, 5, 7],
        "66e33d1a7d5a26d263e3bed55eecf100924ae599b230d9097d3154a554a21489",
    ),
    (
        [3, 4, 8, 10, 11, 7, 9, 15],
        [7, 5, 6],
        "449a21242bc6ff506be26e85b1d1faacafc1389b9194902a1a28b19e3565564c",
    ),
];

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
