use types::block::FinalHeader;
use types::certificate::{Certificate, Partial, Phase, Signatures, Subject, is_aggregated};
use types::codec::Decode;
use types::genesis::{Committee, SigningContext};
use types::{Epoch, Hash, Height, MemberIndex, ShardId, ValidatorId, View};

use super::{CertificateError, Verifier, sign_partial, sum_partials, verify_certificate};
use crate::hash::committee_hash;
use crate::keys::{Scheme, SecretKey};

mod aggregates;
mod certificates;
mod messages;

const SCHEMES: [Scheme; 2] = [Scheme::Ed25519, Scheme::Simulated];

/// A committee whose secrets the test holds.
struct Voters {
    scheme: Scheme,
    keys: Vec<SecretKey>,
    committee: Committee,
    context: SigningContext,
}

impl Voters {
    fn new(scheme: Scheme, count: u8) -> Self {
        let keys: Vec<_> = (0..count)
            .map(|id| SecretKey::of_scheme(scheme, [id + 1; 32]))
            .collect();
        let members: Vec<_> = (0..)
            .map(ValidatorId)
            .zip(keys.iter().map(SecretKey::public))
            .collect();
        let hash = committee_hash(Epoch(0), ShardId(1), &members, count.into());
        let leaders = (0..u16::from(count)).map(MemberIndex).collect();
        let committee = Committee {
            shard: ShardId(1),
            voting_keys: if is_aggregated(count.into()) {
                keys.iter().map(|key| key.voting().public()).collect()
            } else {
                Vec::new()
            },
            voters: count.into(),
            candidates: Vec::new(),
            bonds: vec![0; members.len()],
            members,
            leaders,
            hash,
        };
        let context = SigningContext {
            genesis_hash: Hash([9; 32]),
            epoch: Epoch(0),
            shard: ShardId(1),
            committee_hash: hash,
        };
        Self {
            scheme,
            keys,
            committee,
            context,
        }
    }

    fn certificate(&self, subject: &Subject, signers: &[u16]) -> Certificate {
        let sign = |signer: &u16| {
            let key = &self.keys[usize::from(*signer)];
            (
                MemberIndex(*signer),
                super::sign_subject(key, &self.context, subject),
            )
        };
        Certificate {
            view: subject.view,
            committee: self.keys.len() as u16,
            signatures: Signatures::List(signers.iter().map(sign).collect()),
        }
    }

    fn check(&self, subject: &Subject, certificate: &Certificate) -> Result<(), CertificateError> {
        verify_certificate(&self.context, &self.verifier(), subject, certificate)
    }

    fn verifier(&self) -> Verifier {
        Verifier::new(self.scheme, self.committee.clone())
    }

    /// A sum of votes of members in any number and order.
    fn partial(&self, subject: &Subject, signers: &[u16]) -> Partial {
        let sign = |signer: &u16| {
            let secret = self.keys[usize::from(*signer)].voting();
            sign_partial(
                &secret,
                &self.context,
                &self.committee,
                MemberIndex(*signer),
                *subject,
            )
        };
        let votes: Vec<_> = signers.iter().map(sign).collect();
        sum_partials(&self.verifier(), &votes.iter().collect::<Vec<_>>()).expect("points of the curve")
    }

    fn aggregate(&self, subject: &Subject, signers: &[u16]) -> Certificate {
        let Partial {
            signers, signature, ..
        } = self.partial(subject, signers);
        Certificate {
            view: subject.view,
            committee: self.keys.len() as u16,
            signatures: Signatures::Aggregate { signers, signature },
        }
    }
}

const SUBJECT: Subject = Subject {
    phase: Phase::Commit,
    height: Height(5),
    view: View(2),
    hash: Hash([3; 32]),
};

/// Each differs from the first in one field.
fn other_subjects() -> [Subject; 4] {
    [
        Subject {
            phase: Phase::Prepare,
            ..SUBJECT
        },
        Subject {
            height: Height(6),
            ..SUBJECT
        },
        Subject {
            view: View(3),
            ..SUBJECT
        },
        Subject {
            hash: Hash([4; 32]),
            ..SUBJECT
        },
    ]
}

fn other_contexts(context: SigningContext) -> [SigningContext; 4] {
    [
        SigningContext {
            genesis_hash: Hash([0; 32]),
            ..context
        },
        SigningContext {
            epoch: Epoch(1),
            ..context
        },
        SigningContext {
            shard: ShardId(0),
            ..context
        },
        SigningContext {
            committee_hash: Hash([0; 32]),
            ..context
        },
    ]
}

fn header(height: u64, prev: Hash) -> FinalHeader {
    let header = FinalHeader::from_bytes(&[7; 364]).expect("364 bytes");
    FinalHeader {
        height: Height(height),
        prev,
        ..header
    }
}
