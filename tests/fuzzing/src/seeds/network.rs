//! A genesis and committees whose secrets everybody knows.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crypto::cosign::{Verifier, sign_partial, sign_subject, sum_partials};
use crypto::hash::{allocations_hash, committee_hash};
use crypto::keys::{Scheme, SecretKey};
use types::certificate::{Certificate, Partial, Signatures, Subject, is_aggregated};
use types::genesis::{Allocation, Committee, FundingRule, Genesis, SigningContext};
use types::message::Certified;
use types::policy::Policy;
use types::{Amount, Epoch, Hash, MemberIndex, Owner, ShardId, Signature, ValidatorId};

/// Allocations of [`genesis`].
pub(super) fn allocations() -> Vec<Allocation> {
    let allocation = |owner| Allocation {
        owner: Owner([owner; 32]),
        amount: Amount(u64::from(owner) + 1),
    };
    (0..3).map(allocation).collect()
}

/// Two shards of four validators.
pub(crate) fn genesis() -> Genesis {
    let allocations = allocations();
    Genesis {
        name: "fuzz".into(),
        policy: Policy::lan(),
        shards: 2,
        randomness: Hash([3; 32]),
        validators: (0..8).map(|id| [id; 32]).collect(),
        voting_keys: Vec::new(),
        bonds: vec![5; 8],
        funding: FundingRule {
            seed: 1,
            accounts: 2,
            amount: Amount(1),
        },
        allocations: allocations.len() as u32,
        allocations_hash: allocations_hash(&allocations),
    }
}

/// The same of two leagues: four voters and a candidate in each shard.
pub(super) fn genesis_of_leagues() -> Genesis {
    Genesis {
        policy: Policy::lan().with_leagues(),
        validators: (0..10).map(|id| [id; 32]).collect(),
        bonds: vec![1 << 40; 10],
        ..genesis()
    }
}

/// A committee with its keys.
pub(crate) struct Voters {
    pub(crate) scheme: Scheme,
    pub(crate) keys: Vec<SecretKey>,
    pub(crate) committee: Committee,
    /// The committee with its voting keys decoded.
    pub(crate) verifier: Verifier,
    pub(crate) context: SigningContext,
}

thread_local! {
    // Keys are derived once: that costs more than to check an input.
    static MADE: RefCell<BTreeMap<(bool, u8), Voters>> = const { RefCell::new(BTreeMap::new()) };
}

impl Voters {
    /// Gives the committee of a scheme and a size to `use_them`.
    pub(crate) fn with<R>(scheme: Scheme, size: u8, use_them: impl FnOnce(&Self) -> R) -> R {
        MADE.with_borrow_mut(|made| {
            let key = (scheme == Scheme::Ed25519, size);
            use_them(made.entry(key).or_insert_with(|| Self::new(scheme, size)))
        })
    }

    pub(super) fn new(scheme: Scheme, size: u8) -> Self {
        let keys: Vec<_> = (0..size)
            .map(|id| SecretKey::of_scheme(scheme, [id + 1; 32]))
            .collect();
        let members: Vec<_> = (0..)
            .map(ValidatorId)
            .zip(keys.iter().map(SecretKey::public))
            .collect();
        let hash = committee_hash(Epoch(0), ShardId(1), &members, size.into());
        let voting_keys: Vec<_> = if is_aggregated(size.into()) {
            keys.iter().map(|key| key.voting().public()).collect()
        } else {
            Vec::new()
        };
        let committee = Committee {
            shard: ShardId(1),
            voters: size.into(),
            candidates: Vec::new(),
            bonds: vec![0; members.len()],
            members,
            voting_keys,
            leaders: (0..u16::from(size)).map(MemberIndex).collect(),
            hash,
        };
        Self {
            scheme,
            keys,
            verifier: Verifier::new(scheme, committee.clone()),
            committee,
            context: SigningContext {
                genesis_hash: Hash([9; 32]),
                epoch: Epoch(0),
                shard: ShardId(1),
                committee_hash: hash,
            },
        }
    }

    /// Votes of these members, summed up.
    pub(crate) fn partial(&self, subject: Subject, signers: &[u16]) -> Partial {
        let sign = |signer: &u16| {
            let secret = self.keys[usize::from(*signer)].voting();
            sign_partial(
                &secret,
                &self.context,
                &self.committee,
                MemberIndex(*signer),
                subject,
            )
        };
        let votes: Vec<_> = signers.iter().map(sign).collect();
        sum_partials(&self.verifier, &votes.iter().collect::<Vec<_>>()).expect("points of the curve")
    }

    /// A certificate by these members, of the kind that the committee has.
    pub(super) fn certify(&self, subject: Subject, signers: &[u16]) -> Certified {
        let signatures = if self.committee.is_aggregated() {
            let sum = self.partial(subject, signers);
            Signatures::Aggregate {
                signers: sum.signers,
                signature: sum.signature,
            }
        } else {
            Signatures::List(self.list(subject, signers))
        };
        Certified {
            subject,
            certificate: Certificate {
                view: subject.view,
                committee: self.keys.len() as u16,
                signatures,
            },
        }
    }

    fn list(&self, subject: Subject, signers: &[u16]) -> Vec<(MemberIndex, Signature)> {
        let sign = |signer: &u16| {
            let key = &self.keys[usize::from(*signer)];
            (MemberIndex(*signer), sign_subject(key, &self.context, &subject))
        };
        signers.iter().map(sign).collect()
    }
}
