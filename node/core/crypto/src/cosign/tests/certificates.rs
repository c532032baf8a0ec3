use types::block::{CommitProof, FinalHeader};
use types::certificate::{Certificate, Phase, Subject};
use types::codec::{Decode, Encode};
use types::genesis::{Committee, SigningContext};
use types::message::Vote;
use types::{Hash, Height, MemberIndex, Signature, View};

use super::{SCHEMES, SUBJECT, Voters, header, other_contexts, other_subjects};
use crate::cosign::{
    CertificateError, CommitProofError, Verifier, sign_subject, verify_certificate, verify_commit_proof,
    verify_signatures, verify_vote,
};
use crate::hash::final_header_hash;
use crate::keys::Scheme;

fn list(certificate: &mut Certificate) -> &mut Vec<(MemberIndex, Signature)> {
    certificate.list_mut().expect("a list")
}

#[test]
fn a_vote_is_its_members_over_its_subject_in_its_context() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, 4);
        let signature = sign_subject(&voters.keys[2], &voters.context, &SUBJECT);
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
fn a_candidate_casts_no_vote_and_stands_in_no_certificate() {
    for scheme in SCHEMES {
        // The last of five is a candidate: four vote, three are a quorum.
        let mut voters = Voters::new(scheme, 5);
        voters.committee.voters = 4;
        voters.committee.candidates = vec![MemberIndex(4)];
        let vote = |member: u16| Vote {
            subject: SUBJECT,
            member: MemberIndex(member),
            signature: sign_subject(&voters.keys[usize::from(member)], &voters.context, &SUBJECT),
        };
        let is_vote = |member| verify_vote(scheme, &voters.context, &voters.committee, &vote(member));
        assert!(is_vote(3) && !is_vote(4));
        let certificate = |signers: &[u16]| Certificate {
            committee: 4,
            ..voters.certificate(&SUBJECT, signers)
        };
        assert_eq!(voters.check(&SUBJECT, &certificate(&[0, 2, 3])), Ok(()));
        let error = CertificateError::Signers {
            member: MemberIndex(4),
        };
        assert_eq!(voters.check(&SUBJECT, &certificate(&[0, 2, 4])), Err(error));
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
    list(&mut stranger)[3].0 = MemberIndex(4);
    assert_eq!(
        voters.check(&SUBJECT, &stranger),
        Err(CertificateError::Signers {
            member: MemberIndex(4)
        })
    );
    // One wrong signature spoils a certificate even where the others suffice.
    for member in 0..4 {
        let mut wrong = good.clone();
        list(&mut wrong)[member].1.0[40] ^= 1;
        let error = CertificateError::Signature {
            member: MemberIndex(member as u16),
        };
        assert_eq!(voters.check(&SUBJECT, &wrong), Err(error));
    }
    // Signatures of two members in each other's place.
    let mut swapped = good.clone();
    (list(&mut swapped)[1].1, list(&mut swapped)[2].1) = (good.list()[2].1, good.list()[1].1);
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
            let found = verify_certificate(&context, &voters.verifier(), &SUBJECT, &good);
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
            voters: 4,
            ..strangers.committee
        };
        let found = verify_certificate(&voters.context, &Verifier::new(scheme, smaller), &SUBJECT, &good);
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
    let check = |quorum| verify_signatures(&voters.context, &voters.verifier(), quorum, &SUBJECT, &two);
    assert_eq!(check(2), Ok(()));
    assert_eq!(check(3), Err(CertificateError::Quorum { found: 2, quorum: 3 }));
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
            verify_commit_proof(&voters.context, &voters.verifier(), header, proof)
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
    let check = |proof| verify_commit_proof(&voters.context, &voters.verifier(), &first, proof);
    let error = CertificateError::Signature {
        member: MemberIndex(0),
    };
    assert_eq!(check(&prepared), Err(CommitProofError::Certificate(error)));
    let mut few = proof;
    list(&mut few.certificate).pop();
    let error = CertificateError::Quorum { found: 2, quorum: 3 };
    assert_eq!(check(&few), Err(CommitProofError::Certificate(error)));
}
