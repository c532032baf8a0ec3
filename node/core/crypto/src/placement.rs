//! Where owners live and who serves them: pure functions of the genesis (`ios` 1.6, 1.7, 3.7, 4.2, 7.3).

use types::genesis::{Committee, EpochConfig, Genesis};
use types::{Amount, Epoch, Hash, MemberIndex, Owner, ShardId, ValidatorId, View};

use crate::bls;
use crate::context;
use crate::hash::{Xof, committee_hash, genesis_hash};
use crate::keys::Scheme;
use crate::league::{self, Believability, Caps, Record};

/// The one epoch and term of the first version (`ios` 20.1).
const TERM: u32 = 0;

/// Shard of an owner: the top `log2(shards)` bits of bytes 0..8 read little-endian (`ios` 1.6). `shards` is a power
/// of two, as the genesis demands.
#[must_use]
pub fn shard_of(owner: &Owner, shards: u16) -> ShardId {
    let [a, b, c, d, e, f, g, h, ..] = owner.0;
    let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let bits = shards.max(1).ilog2();
    ShardId(number.checked_shr(u64::BITS - bits).unwrap_or(0) as u16)
}

/// Group of an owner in the one term: uniform over the groups, drawn from `H_group(S || owner)` with
/// `S = H_group(randomness || shard || term)` (`ios` 1.7). With one group there is nothing to draw.
///
/// In mode 0 a rule: only the author of this group may include the owner's spends.
#[must_use]
pub fn group_of(owner: &Owner, randomness: &Hash, shard: ShardId, groups: u16) -> u16 {
    if groups <= 1 {
        return 0;
    }
    let shard_seed = context::GROUP.digest(&[&randomness.0, &shard.0.to_le_bytes(), &TERM.to_le_bytes()]);
    let seed = context::GROUP.digest(&[&shard_seed.0, &owner.0]);
    Xof::new(&seed).uniform(groups.into()) as u16
}

/// Voter that a client sends an owner's transactions to in mode 1: the draw of groups over the voters (`ios` 1.7). A
/// routing hint, not a rule.
#[must_use]
pub fn member_of(owner: &Owner, randomness: &Hash, shard: ShardId, voters: u16) -> MemberIndex {
    MemberIndex(group_of(owner, randomness, shard, voters))
}

/// Order in which a shard's voters are drawn for the tree of a view and a window of heights (`ios` 9.5).
#[must_use]
pub fn tree_order(
    randomness: &Hash,
    shard: ShardId,
    view: View,
    window: u64,
    voters: u16,
) -> Vec<MemberIndex> {
    let seed = context::PERM.digest(&[
        &randomness.0,
        b"tree",
        &shard.0.to_le_bytes(),
        &view.0.to_le_bytes(),
        &window.to_le_bytes(),
    ]);
    let order = Xof::new(&seed).permutation(voters);
    order.into_iter().map(MemberIndex).collect()
}

/// Committees, leaders, candidates and hashes for the one epoch of a genesis (`ios` 4.2, 3.7, 7.3, 20.2).
///
/// The genesis has passed `Genesis::validate`. Where fewer members are eligible than the policy asks for as candidates,
/// fewer are set apart and the others vote. Where it has voting keys, they have passed
/// [`check_voting_keys`].
#[must_use]
pub fn epoch_config(genesis: &Genesis) -> EpochConfig {
    let seed = context::PERM.digest(&[&genesis.randomness.0, b"eds"]);
    let order = Xof::new(&seed).permutation(genesis.validators.len() as u16);
    let (count, shards) = (order.len(), usize::from(genesis.shards.max(1)));
    let committees = (0..shards).map(|shard| {
        let mut ids = order[shard * count / shards..(shard + 1) * count / shards].to_vec();
        ids.sort_unstable();
        committee(genesis, ShardId(shard as u16), &ids)
    });
    EpochConfig {
        epoch: Epoch(0),
        genesis_hash: genesis_hash(genesis),
        randomness: genesis.randomness,
        policy: genesis.policy.clone(),
        committees: committees.collect(),
    }
}

/// Checks the proof of possession of every voting key of a genesis: about two milliseconds for each. Nothing that is
/// certified by aggregates may be believed before.
///
/// # Errors
/// The first validator whose proof does not hold.
pub fn check_voting_keys(scheme: Scheme, genesis: &Genesis) -> Result<(), VotingKeyError> {
    let bad = |key| !bls::is_possessed(scheme, key);
    match genesis.voting_keys.iter().position(bad) {
        Some(position) => Err(VotingKeyError(ValidatorId(position as u16))),
        None => Ok(()),
    }
}

/// A voting key whose holder did not prove that it knows the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the voting key of validator {0} has no valid proof of possession, accepted is what its holder signed"
)]
pub struct VotingKeyError(pub ValidatorId);

/// Voters and candidates of a shard, of whom `ids` are the members, ascending (`ios` 7.3, 20.2).
fn committee(genesis: &Genesis, shard: ShardId, ids: &[u16]) -> Committee {
    let drawn = candidates(genesis, shard, ids);
    let (candidate_ids, mut ordered): (Vec<u16>, Vec<u16>) = ids.iter().partition(|id| drawn.contains(id));
    let voters = ordered.len() as u16;
    ordered.extend(candidate_ids);
    let members: Vec<_> = ordered
        .iter()
        .map(|id| (ValidatorId(*id), genesis.validators[usize::from(*id)]))
        .collect();
    let place = |id: &u16| ordered.iter().position(|member| member == id);
    let seed = context::PERM.digest(&[&genesis.randomness.0, b"lead", &shard.0.to_le_bytes()]);
    let leaders = Xof::new(&seed).permutation(voters);
    let voting_keys = ordered
        .iter()
        .filter_map(|id| genesis.voting_keys.get(usize::from(*id)))
        .map(|voting| voting.key);
    Committee {
        shard,
        voting_keys: voting_keys.collect(),
        hash: committee_hash(Epoch(0), shard, &members, voters),
        leaders: leaders.into_iter().map(MemberIndex).collect(),
        voters,
        candidates: drawn
            .iter()
            .filter_map(place)
            .map(|at| MemberIndex(at as u16))
            .collect(),
        bonds: ordered.iter().map(|id| genesis.bonds[usize::from(*id)]).collect(),
        members,
    }
}

/// Ids of a shard's candidates, in the order in which the one term seats them; fewer than the policy asks for when fewer
/// are eligible.
///
/// Two draws: the first sets the candidates apart from those who vote, the second, of the term, orders them.
fn candidates(genesis: &Genesis, shard: ShardId, ids: &[u16]) -> Vec<u16> {
    let Some(leagues) = &genesis.policy.leagues else {
        return Vec::new();
    };
    let caps = Caps {
        bond_min: Amount(leagues.bond_min),
        bond: Amount(leagues.bond_cap),
        ..Caps::default()
    };
    let score = |id: &u16| {
        let record = Record {
            bond: Amount(genesis.bonds[usize::from(*id)]),
            ..Record::default()
        };
        league::believability(&record, &caps)
    };
    let minimum = Believability::from_ppm(leagues.believability_min);
    let draw = |seed: Hash, from: &[u16], count: usize| {
        let scores: Vec<_> = from.iter().map(score).collect();
        let places = league::draw(&seed, &scores, minimum, count);
        places
            .iter()
            .map(|place| from[usize::from(*place)])
            .collect::<Vec<_>>()
    };
    let seed = league::candidate_seed(&genesis.randomness, shard);
    let mut candidates = draw(seed, ids, leagues.candidates.into());
    candidates.sort_unstable();
    let seed = league::seat_seed(&genesis.randomness, shard, TERM);
    draw(seed, &candidates, candidates.len())
}

#[cfg(test)]
mod tests;
