//! Genesis: everything that must be equal on every validator and client of a network (`ios` 1.10).

use crate::certificate::{Phase, is_aggregated};
use crate::codec::{Decode, DecodeError, Encode, Reader, encode_items};
use crate::ids::{Amount, Epoch, Hash, MemberIndex, Owner, ShardId, ValidatorId, View};
use crate::limits::{SHARDS_MAX, VALIDATORS_MAX, VOTERS_MAX};
use crate::policy::{Policy, PolicyError};
use crate::struct_codec;

/// Version of the genesis encoding.
pub const GENESIS_VERSION: u16 = 2;

/// How allocations came to be; a load generator with the same seed owns them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FundingRule {
    /// Seed of the owners' keys.
    pub seed: u64,
    /// Number of accounts that follow the rule; the rest of the allocations are listed freely.
    pub accounts: u32,
    /// Amount of each.
    pub amount: Amount,
}

struct_codec!(FundingRule {
    seed,
    accounts,
    amount
});

/// One allocation of the genesis supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Owner.
    pub owner: Owner,
    /// Amount, above zero.
    pub amount: Amount,
}

struct_codec!(Allocation { owner, amount });

/// A validator's BLS key for votes that are summed up (`ios` 0.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VotingKey {
    /// Public key, a compressed point of G2.
    pub key: [u8; 96],
    /// Proof that its holder knows the secret: the signature of the key over itself. Without it one who knows the
    /// others' keys can choose one that makes everybody's sum its own.
    pub possession: [u8; 48],
}

struct_codec!(VotingKey { key, possession });

/// Genesis without its allocations, of which it holds the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Name of the network, 1 to 64 bytes.
    pub name: String,
    /// Parameters.
    pub policy: Policy,
    /// Number of shards, a power of two.
    pub shards: u16,
    /// Randomness of epoch 0.
    pub randomness: Hash,
    /// Id keys, strictly ascending: position is `ValidatorId`.
    pub validators: Vec<[u8; 32]>,
    /// Keys for aggregates, by validator; empty when committees are small enough for lists. The proofs are for
    /// `crypto` to check.
    pub voting_keys: Vec<VotingKey>,
    /// Bonds by validator, locked for the whole epoch; part of the supply of the shard that the validator serves.
    pub bonds: Vec<u64>,
    /// Rule of the first `accounts` allocations.
    pub funding: FundingRule,
    /// Number of allocations.
    pub allocations: u32,
    /// blake3 of the encoded allocations.
    pub allocations_hash: Hash,
}

/// A genesis that cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Name empty or too long.
    #[error("name has {0} bytes, accepted are 1 to 64")]
    Name(usize),
    /// Shards not a power of two.
    #[error("{0} shards, accepted is a power of two from 1 to 256")]
    Shards(u16),
    /// Validators do not fill the shards evenly, or a committee is too small or too large.
    #[error(
        "{validators} validators for {shards} shards with {candidates} candidates each, accepted are 4 to 256 voters \
         for each shard, equally many"
    )]
    Validators {
        /// Validators.
        validators: usize,
        /// Shards.
        shards: u16,
        /// Candidates of each shard, which do not vote.
        candidates: u16,
    },
    /// Not one bond for each validator.
    #[error("{found} bonds, accepted is one for each of {validators} validators")]
    Bonds {
        /// Bonds.
        found: usize,
        /// Validators.
        validators: usize,
    },
    /// Bonds that no amount can hold together.
    #[error("the bonds are together more than {}, accepted is at most that", u64::MAX)]
    BondSum,
    /// Not one voting key for each validator where certificates are aggregates, or some where they are lists.
    #[error("{found} voting keys, accepted are {expected}")]
    VotingKeys {
        /// Keys.
        found: usize,
        /// One for each validator of committees above 16 voters, else none.
        expected: usize,
    },
    /// Keys not strictly ascending.
    #[error("validator keys are not strictly ascending at position {0}")]
    Unsorted(usize),
    /// A parameter outside its bounds.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Genesis {
    /// Refuses what cannot run.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn validate(&self) -> Result<(), GenesisError> {
        if self.name.is_empty() || self.name.len() > 64 {
            return Err(GenesisError::Name(self.name.len()));
        }
        if !self.shards.is_power_of_two() || usize::from(self.shards) > SHARDS_MAX {
            return Err(GenesisError::Shards(self.shards));
        }
        let (validators, shards) = (self.validators.len(), usize::from(self.shards));
        let size = validators.checked_div(shards).unwrap_or_default();
        let voters = size.saturating_sub(usize::from(self.policy.candidates()));
        if !validators.is_multiple_of(shards)
            || !(4..=VOTERS_MAX).contains(&voters)
            || validators > VALIDATORS_MAX
        {
            return Err(GenesisError::Validators {
                validators,
                shards: self.shards,
                candidates: self.policy.candidates(),
            });
        }
        if self.bonds.len() != validators {
            return Err(GenesisError::Bonds {
                found: self.bonds.len(),
                validators,
            });
        }
        let bonds = self.bonds.iter();
        if bonds.copied().try_fold(0, u64::checked_add).is_none() {
            return Err(GenesisError::BondSum);
        }
        let expected = if is_aggregated(voters) { validators } else { 0 };
        if self.voting_keys.len() != expected {
            return Err(GenesisError::VotingKeys {
                found: self.voting_keys.len(),
                expected,
            });
        }
        let mut pairs = self.validators.iter().zip(self.validators.iter().skip(1));
        if let Some(position) = pairs.position(|(left, right)| left >= right) {
            return Err(GenesisError::Unsorted(position.saturating_add(1)));
        }
        Ok(self.policy.validate()?)
    }
}

impl Encode for Genesis {
    fn encode(&self, out: &mut Vec<u8>) {
        GENESIS_VERSION.encode(out);
        self.name.encode(out);
        self.policy.encode(out);
        self.shards.encode(out);
        self.randomness.encode(out);
        encode_items(&self.validators, out);
        encode_items(&self.voting_keys, out);
        encode_items(&self.bonds, out);
        self.funding.encode(out);
        self.allocations.encode(out);
        self.allocations_hash.encode(out);
    }
}

impl Decode for Genesis {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.u16()? != GENESIS_VERSION {
            return Err(DecodeError::Value {
                what: "version of the genesis",
            });
        }
        let (name, policy, shards) = (String::decode(reader)?, Policy::decode(reader)?, reader.u16()?);
        let randomness = Hash::decode(reader)?;
        let validators = reader.count("validators", VALIDATORS_MAX)?;
        let validators = reader.items(validators)?;
        let voting_keys = reader.count("voting keys", VALIDATORS_MAX)?;
        let voting_keys = reader.items(voting_keys)?;
        let bonds = reader.count("bonds", VALIDATORS_MAX)?;
        Ok(Self {
            name,
            policy,
            shards,
            randomness,
            validators,
            voting_keys,
            bonds: reader.items(bonds)?,
            funding: FundingRule::decode(reader)?,
            allocations: reader.u32()?,
            allocations_hash: Hash::decode(reader)?,
        })
    }
}

/// One shard's committee in an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    /// Shard.
    pub shard: ShardId,
    /// Members with their id keys: first the voters, then the candidates, each ascending by id; the position is the
    /// `MemberIndex`.
    pub members: Vec<(ValidatorId, [u8; 32])>,
    /// Keys for aggregates, by member; empty where certificates are lists.
    pub voting_keys: Vec<[u8; 96]>,
    /// How many of them vote.
    pub voters: u16,
    /// Candidates in the order in which they were drawn: the first hold the seats, group by group, the rest stand in.
    pub candidates: Vec<MemberIndex>,
    /// Bonds by member.
    pub bonds: Vec<u64>,
    /// Order of leaders; view `v` is led by `leaders[v mod n]` (`ios` 3.7).
    pub leaders: Vec<MemberIndex>,
    /// Hash that every header and signed string carries (`ios` 0.7).
    pub hash: Hash,
}

impl Committee {
    /// Number of voters, `n_n`.
    #[must_use]
    pub fn size(&self) -> usize {
        usize::from(self.voters)
    }

    /// Whether a member votes.
    #[must_use]
    pub fn is_voter(&self, member: MemberIndex) -> bool {
        member.0 < self.voters
    }

    /// Position of a validator.
    #[must_use]
    pub fn member_of(&self, id: ValidatorId) -> Option<MemberIndex> {
        let position = self.members.iter().position(|(member, _)| *member == id)?;
        u16::try_from(position).ok().map(MemberIndex)
    }

    /// Faulty voters that are tolerated, `f = floor((n-1)/3)` (`ios` 0.3).
    #[must_use]
    pub fn faulty_max(&self) -> usize {
        self.size().saturating_sub(1) / 3
    }

    /// Quorum, `q = n - f` (`ios` 0.3).
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.size().saturating_sub(self.faulty_max())
    }

    /// Bonds of all members together: the part of the shard's supply that is bonded at genesis.
    #[must_use]
    pub fn bonded(&self) -> u64 {
        // The bonds of a valid genesis fit.
        self.bonds.iter().copied().fold(0, u64::saturating_add)
    }

    /// Whether this committee certifies by aggregates (`ios` 0.7).
    #[must_use]
    pub fn is_aggregated(&self) -> bool {
        is_aggregated(self.size())
    }

    /// Leader of a view.
    #[must_use]
    pub fn leader(&self, view: View) -> MemberIndex {
        let position = (view.0 as usize).checked_rem(self.leaders.len());
        let leader = position.and_then(|position| self.leaders.get(position));
        leader.copied().unwrap_or_default()
    }

    /// Id key of a voter; none of a candidate, which signs nothing of the ordering.
    #[must_use]
    pub fn voter_key(&self, member: MemberIndex) -> Option<&[u8; 32]> {
        self.key(member).filter(|_| self.is_voter(member))
    }

    /// Id key of a member.
    #[must_use]
    pub fn key(&self, member: MemberIndex) -> Option<&[u8; 32]> {
        self.members.get(usize::from(member.0)).map(|(_, key)| key)
    }
}

/// Everything that an epoch fixes; computed from genesis in the first version (`ios` 20.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochConfig {
    /// Epoch.
    pub epoch: Epoch,
    /// Hash of the genesis.
    pub genesis_hash: Hash,
    /// Randomness of the epoch.
    pub randomness: Hash,
    /// Parameters.
    pub policy: Policy,
    /// By shard.
    pub committees: Vec<Committee>,
}

impl EpochConfig {
    /// What signatures of a committee of this epoch are bound to.
    #[must_use]
    pub const fn signing_context(&self, committee: &Committee) -> SigningContext {
        SigningContext {
            genesis_hash: self.genesis_hash,
            epoch: self.epoch,
            shard: committee.shard,
            committee_hash: committee.hash,
        }
    }
}

/// The fixed part of every signed string of one committee (`ios` 0.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningContext {
    /// Genesis.
    pub genesis_hash: Hash,
    /// Epoch.
    pub epoch: Epoch,
    /// Shard.
    pub shard: ShardId,
    /// Committee.
    pub committee_hash: Hash,
}

impl SigningContext {
    /// `phase tag || genesis || epoch || shard || committee || height || view || hash` (`ios` 0.7).
    #[must_use]
    pub fn signed_string(&self, phase: Phase, height: crate::Height, view: View, hash: &Hash) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(phase.tag().as_bytes());
        self.genesis_hash.encode(&mut out);
        self.epoch.encode(&mut out);
        self.shard.encode(&mut out);
        self.committee_hash.encode(&mut out);
        height.encode(&mut out);
        view.encode(&mut out);
        hash.encode(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{FundingRule, Genesis, GenesisError, VotingKey};
    use crate::codec::{Decode, Encode};
    use crate::ids::{Amount, Hash};
    use crate::policy::Policy;

    fn genesis() -> Genesis {
        Genesis {
            name: "test".into(),
            policy: Policy::lan(),
            shards: 2,
            randomness: Hash([3; 32]),
            validators: (0..8).map(|id| [id; 32]).collect(),
            voting_keys: Vec::new(),
            bonds: vec![7; 8],
            funding: FundingRule {
                seed: 1,
                accounts: 10,
                amount: Amount(5),
            },
            allocations: 10,
            allocations_hash: Hash([4; 32]),
        }
    }

    #[test]
    fn round_trip_and_every_rule_is_enforced() {
        let good = genesis();
        good.validate().expect("valid");
        assert_eq!(Genesis::from_bytes(&good.to_bytes()), Ok(good));
        assert_eq!(
            Genesis {
                shards: 3,
                ..genesis()
            }
            .validate(),
            Err(GenesisError::Shards(3))
        );
        assert_eq!(
            Genesis {
                name: String::new(),
                ..genesis()
            }
            .validate(),
            Err(GenesisError::Name(0))
        );
        let mut unsorted = genesis();
        unsorted.validators.swap(2, 3);
        assert_eq!(unsorted.validate(), Err(GenesisError::Unsorted(3)));
        let key = VotingKey {
            key: [1; 96],
            possession: [2; 48],
        };
        let voting_keys = vec![key; 8];
        assert_eq!(
            Genesis {
                voting_keys,
                ..genesis()
            }
            .validate(),
            Err(GenesisError::VotingKeys {
                found: 8,
                expected: 0
            })
        );
        let mut large = genesis();
        large.validators = (0..34).map(|id| [id; 32]).collect();
        large.bonds = vec![7; 34];
        large.voting_keys = vec![key; 33];
        assert_eq!(
            large.validate(),
            Err(GenesisError::VotingKeys {
                found: 33,
                expected: 34
            })
        );
        large.voting_keys.push(key);
        large.validate().expect("one for each");
        assert_eq!(Genesis::from_bytes(&large.to_bytes()), Ok(large));
        let mut leagues = genesis();
        leagues.policy = leagues.policy.with_leagues();
        assert!(
            matches!(
                leagues.validate(),
                Err(GenesisError::Validators { candidates: 1, .. })
            ),
            "three voters are too few"
        );
        let mut bonds = genesis();
        bonds.bonds.pop();
        assert!(matches!(
            bonds.validate(),
            Err(GenesisError::Bonds {
                found: 7,
                validators: 8
            })
        ));
        let mut rich = genesis();
        rich.bonds[0] = u64::MAX - 7 * 7;
        assert_eq!(rich.validate(), Ok(()));
        rich.bonds[7] += 1;
        assert_eq!(rich.validate(), Err(GenesisError::BondSum));
        let mut few = genesis();
        few.validators.pop();
        assert!(matches!(
            few.validate(),
            Err(GenesisError::Validators {
                validators: 7,
                shards: 2,
                ..
            })
        ));
    }
}
