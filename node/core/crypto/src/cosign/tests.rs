use types::block::{AuthorHeader, Block, CommitProof, FinalHeader, ResetRequest, SignedAuthorHeader};
use types::certificate::{Certificate, Phase, Subject};
use types::codec::{Decode, Encode};
use types::genesis::{Committee, SigningContext};
use types::message::{Committed, NewView, Propose, ViewChange, Vote};
use types::{Epoch, Hash, Height, MemberIndex, ShardId, Signature, ValidatorId, View};

use super::{
    CertificateError, CommitProofError, verify_certificate, verify_commit_proof, verify_signatures,
    verify_vote,
};
use crate::hash::{committee_hash, final_header_hash};
use crate::keys::{Scheme, SecretKey};

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
        let hash = committee_hash(Epoch(0), ShardId(1), &members);
        let leaders = (0..u16::from(count)).map(MemberIndex).collect();
        let committee = Committee {
            shard: ShardId(1),
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
            signatures: signers.iter().map(sign).collect(),
        }
    }

    fn check(&self, subject: &Subject, certificate: &Certificate) -> Result<(), CertificateError> {
        verify_certificate(self.scheme, &self.context, &self.committee, subject, certificate)
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

#[test]
fn a_vote_is_its_members_over_its_subject_in_its_context() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, 4);
        let signature = super::sign_subject(&voters.keys[2], &voters.context, &SUBJECT);
        let vote = Vote {
            subject: SUBJECT,
            member: MemberIndex(2),
            signature,
        };
        let check =
            |context: &SigningContext, vote: &Vote| verify_vote(scheme, context, &voters.committee, vote);
        assert!(check(&voters.context, &vote));
        for member in [0, 1, 3, 4, u16::MAX] {
            assert!(
                !check(
                    &voters.context,
                    &Vote {
                        member: MemberIndex(member),
                        ..vote.clone()
                    }
                ),
                "member {member}"
            );
        }
        for subject in other_subjects() {
            assert!(
                !check(
                    &voters.context,
                    &Vote {
                        subject,
                        ..vote.clone()
                    }
                ),
                "{subject:?}"
            );
        }
        for context in other_contexts(voters.context) {
            assert!(!check(&context, &vote), "{context:?}");
        }
    }
}

#[test]
fn every_quorum_certifies_and_every_smaller_set_does_not() {
    for scheme in SCHEMES {
        for (size, quorum) in [(4_u8, 3_u32), (7, 5)] {
            let voters = Voters::new(scheme, size);
            for set in 0_u32..1 << size {
                let signers: Vec<u16> = (0..u16::from(size)).filter(|bit| set >> bit & 1 == 1).collect();
                let certificate = voters.certificate(&SUBJECT, &signers);
                let found = signers.len();
                let expected = (set.count_ones() >= quorum)
                    .then_some(())
                    .ok_or(CertificateError::Quorum {
                        found,
                        quorum: quorum as usize,
                    });
                assert_eq!(
                    voters.check(&SUBJECT, &certificate),
                    expected,
                    "{signers:?} of {size}"
                );
            }
        }
    }
}

#[test]
fn every_changed_bit_of_a_certificate_is_refused() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, 4);
        let bytes = voters.certificate(&SUBJECT, &[0, 2, 3]).to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let accepted = Certificate::from_bytes(&changed)
                .is_ok_and(|certificate| voters.check(&SUBJECT, &certificate).is_ok());
            assert!(!accepted, "{scheme:?}, bit {bit}");
        }
    }
}

#[test]
fn a_certificate_says_what_is_wrong_with_it() {
    let voters = Voters::new(Scheme::Ed25519, 4);
    let good = voters.certificate(&SUBJECT, &[0, 1, 2, 3]);
    assert_eq!(voters.check(&SUBJECT, &good), Ok(()));

    let wrong = Certificate {
        committee: 5,
        ..good.clone()
    };
    assert_eq!(
        voters.check(&SUBJECT, &wrong),
        Err(CertificateError::Committee {
            found: 5,
            expected: 4
        })
    );
    let wrong = Certificate {
        view: View(3),
        ..good.clone()
    };
    let error = CertificateError::View {
        found: View(3),
        expected: View(2),
    };
    assert_eq!(voters.check(&SUBJECT, &wrong), Err(error));
    // Twice the same signer is not two.
    for (signers, member) in [(vec![0, 1, 1], 1), (vec![0, 2, 1], 1), (vec![3, 3, 3, 3], 3)] {
        let error = CertificateError::Signers {
            member: MemberIndex(member),
        };
        assert_eq!(
            voters.check(&SUBJECT, &voters.certificate(&SUBJECT, &signers)),
            Err(error)
        );
    }
    let mut stranger = good.clone();
    stranger.signatures[3].0 = MemberIndex(4);
    assert_eq!(
        voters.check(&SUBJECT, &stranger),
        Err(CertificateError::Signers {
            member: MemberIndex(4)
        })
    );
    // One wrong signature spoils a certificate even where the others suffice.
    for member in 0..4 {
        let mut wrong = good.clone();
        wrong.signatures[member].1.0[40] ^= 1;
        let error = CertificateError::Signature {
            member: MemberIndex(member as u16),
        };
        assert_eq!(voters.check(&SUBJECT, &wrong), Err(error));
    }
    // Signatures of two members in each other's place.
    let mut swapped = good.clone();
    (swapped.signatures[1].1, swapped.signatures[2].1) = (good.signatures[2].1, good.signatures[1].1);
    assert_eq!(
        voters.check(&SUBJECT, &swapped),
        Err(CertificateError::Signature {
            member: MemberIndex(1)
        })
    );
}

#[test]
fn a_certificate_is_of_its_subject_and_context_only() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, 4);
        let good = voters.certificate(&SUBJECT, &[0, 1, 3]);
        for subject in other_subjects() {
            let moved = Certificate {
                view: subject.view,
                ..good.clone()
            };
            let error = CertificateError::Signature {
                member: MemberIndex(0),
            };
            assert_eq!(voters.check(&subject, &moved), Err(error), "{subject:?}");
        }
        for context in other_contexts(voters.context) {
            let found = verify_certificate(scheme, &context, &voters.committee, &SUBJECT, &good);
            assert_eq!(
                found,
                Err(CertificateError::Signature {
                    member: MemberIndex(0)
                }),
                "{context:?}"
            );
        }
        let strangers = Voters::new(scheme, 5);
        let smaller = Committee {
            members: strangers.committee.members[1..].to_vec(),
            ..strangers.committee
        };
        let found = verify_certificate(scheme, &voters.context, &smaller, &SUBJECT, &good);
        assert_eq!(
            found,
            Err(CertificateError::Signature {
                member: MemberIndex(0)
            })
        );
    }
}

#[test]
fn the_least_number_of_signers_is_the_callers() {
    let voters = Voters::new(Scheme::Simulated, 4);
    let two = voters.certificate(&SUBJECT, &[1, 3]);
    let check = |quorum| {
        verify_signatures(
            voters.scheme,
            &voters.context,
            &voters.committee,
            quorum,
            &SUBJECT,
            &two,
        )
    };
    assert_eq!(check(2), Ok(()));
    assert_eq!(check(3), Err(CertificateError::Quorum { found: 2, quorum: 3 }));
}

fn header(height: u64, prev: Hash) -> FinalHeader {
    let header = FinalHeader::from_bytes(&[7; 364]).expect("364 bytes");
    FinalHeader {
        height: Height(height),
        prev,
        ..header
    }
}

/// Headers at heights 5, 6, 7 and a proof of the first by a certificate over the last.
fn proven(voters: &Voters) -> (FinalHeader, CommitProof) {
    let first = header(5, Hash([1; 32]));
    let second = header(6, final_header_hash(&first));
    let third = header(7, final_header_hash(&second));
    let subject = Subject {
        height: Height(7),
        hash: final_header_hash(&third),
        ..SUBJECT
    };
    let proof = CommitProof {
        height: subject.height,
        hash: subject.hash,
        descendants: vec![second, third],
        certificate: voters.certificate(&subject, &[0, 1, 2]),
    };
    (first, proof)
}

#[test]
fn a_descendants_certificate_proves_its_ancestors() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, 4);
        let check = |header: &FinalHeader, proof: &CommitProof| {
            verify_commit_proof(scheme, &voters.context, &voters.committee, header, proof)
        };
        let (first, proof) = proven(&voters);
        assert_eq!(check(&first, &proof), Ok(()));
        // Each link proves itself with the rest of the chain.
        let second = &proof.descendants[0];
        assert_eq!(
            check(
                second,
                &CommitProof {
                    descendants: proof.descendants[1..].to_vec(),
                    ..proof.clone()
                }
            ),
            Ok(())
        );
        let third = &proof.descendants[1];
        assert_eq!(
            check(
                third,
                &CommitProof {
                    descendants: Vec::new(),
                    ..proof.clone()
                }
            ),
            Ok(())
        );

        let cut = CommitProof {
            descendants: proof.descendants[..1].to_vec(),
            ..proof.clone()
        };
        assert_eq!(
            check(&first, &cut),
            Err(CommitProofError::Target {
                found: Height(6),
                certified: Height(7)
            })
        );
        let skipped = CommitProof {
            descendants: proof.descendants[1..].to_vec(),
            ..proof.clone()
        };
        assert_eq!(
            check(&first, &skipped),
            Err(CommitProofError::Chain { height: Height(7) })
        );
        let other = FinalHeader {
            timestamp: 0,
            ..first.clone()
        };
        assert_eq!(
            check(&other, &proof),
            Err(CommitProofError::Chain { height: Height(6) })
        );
        let restated = CommitProof {
            height: Height(8),
            ..proof.clone()
        };
        assert_eq!(
            check(&first, &restated),
            Err(CommitProofError::Target {
                found: Height(7),
                certified: Height(8)
            })
        );
        // A height that does not follow, under a hash chain and a certificate that are right.
        let jumped = header(8, final_header_hash(&first));
        let subject = Subject {
            height: Height(8),
            hash: final_header_hash(&jumped),
            ..SUBJECT
        };
        let certificate = voters.certificate(&subject, &[0, 1, 2]);
        let jump = CommitProof {
            height: subject.height,
            hash: subject.hash,
            descendants: vec![jumped],
            certificate,
        };
        assert_eq!(
            check(&first, &jump),
            Err(CommitProofError::Chain { height: Height(8) })
        );
    }
}

#[test]
fn only_a_commit_certificate_proves() {
    let voters = Voters::new(Scheme::Ed25519, 4);
    let (first, proof) = proven(&voters);
    let subject = Subject {
        phase: Phase::Prepare,
        height: proof.height,
        hash: proof.hash,
        ..SUBJECT
    };
    let prepared = CommitProof {
        certificate: voters.certificate(&subject, &[0, 1, 2]),
        ..proof.clone()
    };
    let check = |proof| verify_commit_proof(voters.scheme, &voters.context, &voters.committee, &first, proof);
    let error = CertificateError::Signature {
        member: MemberIndex(0),
    };
    assert_eq!(check(&prepared), Err(CommitProofError::Certificate(error)));
    let mut few = proof;
    few.certificate.signatures.pop();
    let error = CertificateError::Quorum { found: 2, quorum: 3 };
    assert_eq!(check(&few), Err(CommitProofError::Certificate(error)));
}

fn view_change(voters: &Voters) -> ViewChange {
    let change = ViewChange {
        new_view: View(4),
        committed: Committed {
            height: Height(3),
            hash: Hash([1; 32]),
            proof: None,
        },
        tip: None,
        member: MemberIndex(1),
        signature: Signature::default(),
    };
    let signature = super::sign_view_change(&voters.keys[1], &voters.context, &change);
    ViewChange { signature, ..change }
}

/// Checks a signed message against right and wrong keys and contexts.
fn is_bound(voters: &Voters, signer: usize, verify: impl Fn(&SigningContext, &[u8; 32]) -> bool) {
    for (id, key) in voters.keys.iter().enumerate() {
        assert_eq!(verify(&voters.context, &key.public()), id == signer);
    }
    for context in other_contexts(voters.context) {
        assert!(!verify(&context, &voters.keys[signer].public()), "{context:?}");
    }
}

#[test]
fn view_changes_and_openings_are_bound_to_every_field() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, 4);
        let change = view_change(&voters);
        is_bound(&voters, 1, |context, key| {
            super::verify_view_change(scheme, context, key, &change)
        });
        let committed = |height, hash| Committed {
            height: Height(height),
            hash: Hash(hash),
            proof: None,
        };
        for wrong in [
            ViewChange {
                new_view: View(5),
                ..change.clone()
            },
            ViewChange {
                committed: committed(4, [1; 32]),
                ..change.clone()
            },
            ViewChange {
                committed: committed(3, [2; 32]),
                ..change.clone()
            },
            ViewChange {
                member: MemberIndex(2),
                ..change.clone()
            },
        ] {
            assert!(
                !super::verify_view_change(scheme, &voters.context, &voters.keys[1].public(), &wrong),
                "{wrong:?}"
            );
        }

        let opening = NewView {
            view: View(4),
            view_changes: vec![change.clone()],
            signature: Signature::default(),
        };
        let signature = super::sign_new_view(&voters.keys[0], &voters.context, &opening);
        let opening = NewView { signature, ..opening };
        is_bound(&voters, 0, |context, key| {
            super::verify_new_view(scheme, context, key, &opening)
        });
        for wrong in [
            NewView {
                view: View(5),
                ..opening.clone()
            },
            NewView {
                view_changes: Vec::new(),
                ..opening.clone()
            },
            NewView {
                view_changes: vec![ViewChange {
                    new_view: View(9),
                    ..change
                }],
                ..opening.clone()
            },
        ] {
            assert!(
                !super::verify_new_view(scheme, &voters.context, &voters.keys[0].public(), &wrong),
                "{wrong:?}"
            );
        }
    }
}

#[test]
fn proposals_are_bound_to_view_and_header() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, 4);
        let block = Block {
            header: header(5, Hash([1; 32])),
            refs: Vec::new(),
            records: Vec::new(),
        };
        let signature = super::sign_propose(&voters.keys[3], &voters.context, View(2), &block.header);
        let propose = Propose {
            view: View(2),
            block,
            signature,
        };
        is_bound(&voters, 3, |context, key| {
            super::verify_propose(scheme, context, key, &propose)
        });
        let mut wrong = propose.clone();
        wrong.view = View(3);
        assert!(!super::verify_propose(
            scheme,
            &voters.context,
            &voters.keys[3].public(),
            &wrong
        ));
        let mut wrong = propose.clone();
        wrong.block.header.timestamp ^= 1;
        assert!(!super::verify_propose(
            scheme,
            &voters.context,
            &voters.keys[3].public(),
            &wrong
        ));
        // A proposal is no vote of its leader.
        let subject = Subject {
            phase: Phase::Prepare,
            ..super::propose_subject(View(2), &propose.block.header)
        };
        let vote = Vote {
            subject,
            member: MemberIndex(3),
            signature,
        };
        assert!(!verify_vote(scheme, &voters.context, &voters.committee, &vote));
    }
}

#[test]
fn author_headers_and_reset_requests_are_bound_to_every_field() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, 4);
        let (key, public) = (&voters.keys[1], voters.keys[1].public());
        let header = AuthorHeader::from_bytes(&[1; 119]).expect("119 bytes");
        let signature = super::sign_author_header(key, &header);
        let signed = SignedAuthorHeader { header, signature };
        assert!(super::verify_author_header(scheme, &public, &signed));
        assert!(!super::verify_author_header(
            scheme,
            &voters.keys[0].public(),
            &signed
        ));
        for byte in 0..119 {
            let mut bytes = signed.to_bytes();
            bytes[byte] ^= 1;
            let wrong = SignedAuthorHeader::from_bytes(&bytes).expect("every header decodes");
            assert!(
                !super::verify_author_header(scheme, &public, &wrong),
                "byte {byte}"
            );
        }

        let request = ResetRequest {
            group: 0x8001,
            run: 2,
            boot_nonce: 3,
            signature: Signature::default(),
        };
        let signature = super::sign_reset_request(key, &voters.context, &request);
        let request = ResetRequest { signature, ..request };
        is_bound(&voters, 1, |context, key| {
            super::verify_reset_request(scheme, context, key, &request)
        });
        for byte in 0..12 {
            let mut bytes = request.to_bytes();
            bytes[byte] ^= 1;
            let wrong = ResetRequest::from_bytes(&bytes).expect("every request decodes");
            assert!(
                !super::verify_reset_request(scheme, &voters.context, &public, &wrong),
                "byte {byte}"
            );
        }
    }
}
