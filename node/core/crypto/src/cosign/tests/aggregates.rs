use types::certificate::{Certificate, Partial, Signatures, Signers};
use types::codec::{Decode, Encode};
use types::{AggregateSignature, MemberIndex};

use super::{SCHEMES, SUBJECT, Voters, other_contexts, other_subjects};
use crate::cosign::{CertificateError, verify_certificate, verify_partial};
use crate::keys::Scheme;

/// The smallest committee with aggregates; its quorum is 12.
const VOTERS: u8 = 17;
const QUORUM: [u16; 12] = [0, 1, 3, 4, 5, 6, 8, 10, 11, 13, 15, 16];

#[test]
fn a_quorum_certifies_and_one_less_does_not() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, VOTERS);
        let all: Vec<u16> = (0..17).collect();
        for signers in [&all[..], &all[..12], &all[5..], &QUORUM] {
            let certificate = voters.aggregate(&SUBJECT, signers);
            assert_eq!(voters.check(&SUBJECT, &certificate), Ok(()), "{signers:?}");
        }
        for signers in [&all[..11], &QUORUM[1..], &all[..1]] {
            let found = signers.len();
            assert_eq!(
                voters.check(&SUBJECT, &voters.aggregate(&SUBJECT, signers)),
                Err(CertificateError::Quorum { found, quorum: 12 })
            );
        }
    }
}

#[test]
fn a_changed_bit_of_an_aggregate_is_refused() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, VOTERS);
        let verifier = voters.verifier();
        let bytes = voters.aggregate(&SUBJECT, &QUORUM).to_bytes();
        assert_eq!(bytes.len(), 54 + 3);
        for bit in (0..bytes.len() * 8).filter(|bit| bit / 8 < 9 || bit % 3 == 0) {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let accepted = Certificate::from_bytes(&changed).is_ok_and(|certificate| {
                verify_certificate(&voters.context, &verifier, &SUBJECT, &certificate).is_ok()
            });
            assert!(!accepted, "{scheme:?}, bit {bit}");
        }
    }
}

#[test]
fn an_aggregate_is_of_its_subject_and_context_only() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, VOTERS);
        let good = voters.aggregate(&SUBJECT, &QUORUM);
        for subject in other_subjects() {
            let moved = Certificate {
                view: subject.view,
                ..good.clone()
            };
            assert_eq!(
                voters.check(&subject, &moved),
                Err(CertificateError::Aggregate),
                "{subject:?}"
            );
        }
        for context in other_contexts(voters.context) {
            let found = verify_certificate(&context, &voters.verifier(), &SUBJECT, &good);
            assert_eq!(found, Err(CertificateError::Aggregate), "{context:?}");
        }
    }
}

#[test]
fn lists_and_aggregates_stay_where_they_belong() {
    let large = Voters::new(Scheme::Simulated, VOTERS);
    let list = large.certificate(&SUBJECT, &QUORUM);
    assert_eq!(
        large.check(&SUBJECT, &list),
        Err(CertificateError::Kind { voters: 17 })
    );
    let small = Voters::new(Scheme::Simulated, 16);
    let aggregate = small.aggregate(&SUBJECT, &QUORUM[..11]);
    assert_eq!(
        small.check(&SUBJECT, &aggregate),
        Err(CertificateError::Kind { voters: 16 })
    );
}

#[test]
fn strangers_do_not_count() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, VOTERS);
        let mut stranger = voters.aggregate(&SUBJECT, &QUORUM);
        if let Signatures::Aggregate { signers, .. } = &mut stranger.signatures {
            signers.insert(MemberIndex(17));
        }
        assert_eq!(
            voters.check(&SUBJECT, &stranger),
            Err(CertificateError::Signers {
                member: MemberIndex(17)
            })
        );
    }
}

#[test]
fn partials_verify_alone_and_summed_up_in_any_order() {
    for scheme in SCHEMES {
        let voters = Voters::new(scheme, VOTERS);
        let verifier = voters.verifier();
        let check = |partial: &Partial| verify_partial(&voters.context, &verifier, partial);
        for signers in [&[3][..], &[3, 16], &[16, 3], &QUORUM] {
            assert!(check(&voters.partial(&SUBJECT, signers)), "{signers:?}");
        }
        assert_eq!(
            voters.partial(&SUBJECT, &[3, 16]),
            voters.partial(&SUBJECT, &[16, 3])
        );
        let good = voters.partial(&SUBJECT, &[3, 16]);
        let wrong = [
            Partial {
                signers: [3, 15].map(MemberIndex).into_iter().collect(),
                ..good.clone()
            },
            Partial {
                signers: Signers::of(MemberIndex(3)),
                ..good.clone()
            },
            Partial {
                signers: [3, 4, 16].map(MemberIndex).into_iter().collect(),
                ..good.clone()
            },
            Partial {
                signers: Signers::default(),
                ..good.clone()
            },
            Partial {
                signers: [3, 16, 17].map(MemberIndex).into_iter().collect(),
                ..good.clone()
            },
            Partial {
                committee: 18,
                ..good.clone()
            },
            Partial {
                signature: AggregateSignature::default(),
                ..good.clone()
            },
            // One of them counted twice.
            Partial {
                signers: good.signers,
                ..voters.partial(&SUBJECT, &[3, 16, 16])
            },
        ];
        for wrong in wrong {
            assert!(!check(&wrong), "{scheme:?}: {wrong:?}");
        }
    }
}
