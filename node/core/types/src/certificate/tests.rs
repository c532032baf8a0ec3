use super::{Certificate, Partial, Phase, Signatures, Signers, Subject};
use crate::codec::{Decode, DecodeError, Encode};
use crate::ids::{AggregateSignature, Hash, Height, MemberIndex, Signature, View};

const SUBJECT: Subject = Subject {
    phase: Phase::Commit,
    height: Height(9),
    view: View(3),
    hash: Hash([7; 32]),
};

fn signers(members: &[u16]) -> Signers {
    members.iter().copied().map(MemberIndex).collect()
}

fn aggregate(committee: u16, members: &[u16]) -> Certificate {
    Certificate {
        view: View(3),
        committee,
        signatures: Signatures::Aggregate {
            signers: signers(members),
            signature: AggregateSignature([5; 48]),
        },
    }
}

#[test]
fn lists_round_trip_and_have_no_bit_past_the_committee() {
    let list = [0, 2, 3].map(|member| (MemberIndex(member), Signature([member as u8; 64])));
    let certificate = Certificate {
        view: View(3),
        committee: 4,
        signatures: Signatures::List(list.to_vec()),
    };
    let bytes = certificate.to_bytes();
    assert_eq!(bytes.len(), 6 + 1 + 64 * 3);
    assert_eq!(certificate.signers(), signers(&[0, 2, 3]));
    assert_eq!(Certificate::from_bytes(&bytes), Ok(certificate));
    for bit in 4..8 {
        let mut broken = bytes.clone();
        broken[6] |= 1 << bit;
        assert!(Certificate::from_bytes(&broken).is_err());
    }
}

#[test]
fn aggregates_round_trip_in_the_size_of_the_rule_and_have_no_bit_past_the_committee() {
    for (committee, members) in [
        (17_u16, &[0, 7, 8, 16][..]),
        (48, &[1, 47]),
        (240, &[0, 239]),
        (256, &[255]),
    ] {
        let certificate = aggregate(committee, members);
        let bytes = certificate.to_bytes();
        assert_eq!(bytes.len(), 54 + usize::from(committee).div_ceil(8), "ios 0.7");
        assert_eq!(Certificate::from_bytes(&bytes), Ok(certificate));
        for bit in committee..committee.next_multiple_of(8) {
            let mut broken = bytes.clone();
            broken[6 + usize::from(bit / 8)] |= 1 << (bit % 8);
            assert_eq!(
                Certificate::from_bytes(&broken),
                Err(DecodeError::Value {
                    what: "bitmap of a certificate"
                })
            );
        }
    }
}

#[test]
fn no_committee_is_empty_or_larger_than_any() {
    for committee in [0_u16, 257, u16::MAX] {
        let mut bytes = aggregate(17, &[1]).to_bytes();
        bytes[4..6].copy_from_slice(&committee.to_le_bytes());
        assert!(matches!(
            Certificate::from_bytes(&bytes),
            Err(DecodeError::Count { max: 256, .. })
        ));
        let mut bytes = partial().to_bytes();
        bytes[45..47].copy_from_slice(&committee.to_le_bytes());
        assert!(matches!(
            Partial::from_bytes(&bytes),
            Err(DecodeError::Count { max: 256, .. })
        ));
    }
}

fn partial() -> Partial {
    Partial {
        subject: SUBJECT,
        committee: 20,
        signers: signers(&[3, 19]),
        signature: AggregateSignature([5; 48]),
    }
}

#[test]
fn partials_round_trip_and_have_no_bit_past_the_committee() {
    let bytes = partial().to_bytes();
    assert_eq!(bytes.len(), 45 + 2 + 3 + 48);
    assert_eq!(Partial::from_bytes(&bytes), Ok(partial()));
    let mut broken = bytes;
    broken[49] |= 1 << 4;
    assert!(Partial::from_bytes(&broken).is_err());
}

#[test]
fn sets_of_voters_are_sets() {
    let (left, right) = (signers(&[0, 63, 64, 255]), signers(&[64, 200]));
    assert_eq!(left.len(), 4);
    assert_eq!(left.union(&right), signers(&[0, 63, 64, 200, 255]));
    assert_eq!(left.without(&right), signers(&[0, 63, 255]));
    assert!(!left.is_disjoint(&right) && left.is_disjoint(&signers(&[1, 254])));
    assert_eq!(left.iter().collect::<Vec<_>>(), [0, 63, 64, 255].map(MemberIndex));
    assert!(Signers::default().is_empty() && !left.is_empty());
    let mut past = left;
    past.insert(MemberIndex(256));
    assert_eq!(past, left, "no voter has this number");
    assert!(!past.contains(MemberIndex(256)));
}
