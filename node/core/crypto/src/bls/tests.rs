use blst::{BLST_ERROR, min_sig};
use proptest::prelude::{ProptestConfig, any, prop};
use sha2::{Digest, Sha256};
use types::certificate::Signers;
use types::genesis::VotingKey;
use types::{AggregateSignature, MemberIndex};

use super::{KeySet, POSSESSION_DOMAIN, VOTE_DOMAIN, VotingSecret, is_possessed, sum};
use crate::keys::{Scheme, SecretKey};

const SCHEMES: [Scheme; 2] = [Scheme::Ed25519, Scheme::Simulated];

fn secrets(scheme: Scheme, count: u8) -> Vec<VotingSecret> {
    (0..count)
        .map(|id| SecretKey::of_scheme(scheme, [id + 1; 32]).voting())
        .collect()
}

fn key_set(scheme: Scheme, secrets: &[VotingSecret]) -> KeySet {
    let keys: Vec<_> = secrets.iter().map(VotingSecret::public).collect();
    KeySet::new(scheme, &keys)
}

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text)
        .expect("hex")
        .try_into()
        .expect("as long as stated")
}

/// The secret 1: it signs with the hash itself, and its public key is the generator.
fn one() -> min_sig::SecretKey {
    let mut bytes = [0; 32];
    bytes[31] = 1;
    min_sig::SecretKey::from_bytes(&bytes).expect("in range")
}

#[test]
fn hashing_to_the_curve_is_that_of_the_standard() {
    // RFC 9380, J.9.1, x of the points; the top bits of a compressed point say that it is one, and its sign.
    let domain = b"QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_";
    for (message, x) in [
        (
            "",
            "052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1",
        ),
        (
            "abc",
            "03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903",
        ),
    ] {
        let mut point = one().sign(message.as_bytes(), domain, &[]).compress();
        point[0] &= 0x1f;
        assert_eq!(hex::encode(point), x);
    }
    let generator = "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e\
                     024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8";
    assert_eq!(hex::encode(one().sk_to_pk().compress()), generator);
}

#[test]
fn a_signature_of_another_implementation_verifies() {
    // Round 1000 of drand's quicknet, made by others' code: the same curve and groups, a domain of its own.
    let domain = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";
    let key = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d106451\
               0d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
    let signature =
        "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";
    let key = min_sig::PublicKey::key_validate(&unhex::<96>(key)).expect("a key");
    let signature = min_sig::Signature::sig_validate(&unhex::<48>(signature), true).expect("a signature");
    let verdict = |round: u64| {
        let message = Sha256::digest(round.to_be_bytes());
        signature.verify(true, &message, domain, &[], &key, true)
    };
    assert_eq!(verdict(1000), BLST_ERROR::BLST_SUCCESS);
    assert_ne!(verdict(1001), BLST_ERROR::BLST_SUCCESS);
}

#[test]
fn keys_are_pinned_and_apart_from_the_id_key() {
    let id = SecretKey::from_seed([7; 32]);
    let secret = id.voting();
    assert_eq!(
        hex::encode(&secret.public()[..16]),
        "aad9fe28ac98aaa1d78fbfb1150d164b",
        "a genesis names it"
    );
    assert_eq!(
        hex::encode(&secret.sign(b"x").0[..16]),
        "b747466df39f985390bf3473a1418072"
    );
    assert_ne!(secret.public(), SecretKey::from_seed([8; 32]).voting().public());
    // The seed itself is no material: who learns one secret learns nothing of the other.
    let naive = min_sig::SecretKey::key_gen(&[7; 32], &[]).expect("32 bytes");
    assert_ne!(secret.public(), naive.sk_to_pk().compress());
    assert_eq!(format!("{secret:?}"), "VotingSecret(..)");
}

#[test]
fn a_proof_of_possession_is_of_its_key_alone() {
    for scheme in SCHEMES {
        let [mine, other] = &secrets(scheme, 2)[..] else {
            panic!("two");
        };
        let voting = mine.voting_key();
        assert!(is_possessed(scheme, &voting));
        let stolen = VotingKey {
            key: other.public(),
            ..voting
        };
        assert!(!is_possessed(scheme, &stolen));
        // A vote for the bytes of a key is no proof: the domains differ.
        let vote = VotingKey {
            possession: mine.sign(&voting.key).0,
            ..voting
        };
        assert!(!is_possessed(scheme, &vote));
        for bit in (0..(96 + 48) * 8).step_by(5) {
            let mut changed = voting;
            match bit / 8 {
                byte @ ..96 => changed.key[byte] ^= 1 << (bit % 8),
                byte => changed.possession[byte - 96] ^= 1 << (bit % 8),
            }
            assert!(!is_possessed(scheme, &changed), "bit {bit}");
        }
    }
}

#[test]
fn a_rogue_key_forges_a_sum_and_has_no_proof() {
    // The attacker's key is what it knows the secret of, less the victim's: their sum is its own.
    let [attacker, victim] = &secrets(Scheme::Ed25519, 2)[..] else {
        panic!("two");
    };
    let point = |secret: &VotingSecret| min_sig::PublicKey::from_bytes(&secret.public()).expect("a key");
    let mut rogue = min_sig::AggregatePublicKey::from_public_key(&point(attacker));
    rogue.sub_aggregate(&min_sig::AggregatePublicKey::from_public_key(&point(victim)));
    let rogue = rogue.to_public_key().compress();
    let keys = KeySet::new(Scheme::Ed25519, &[rogue, victim.public()]);
    let both = [0, 1].map(MemberIndex).into_iter().collect();
    assert!(
        keys.verify(
            b"never said by the victim",
            &both,
            &attacker.sign(b"never said by the victim")
        ),
        "what the proof is there for"
    );
    for possession in [
        attacker.voting_key().possession,
        victim.voting_key().possession,
        attacker.sign(&rogue).0,
    ] {
        assert!(!is_possessed(
            Scheme::Ed25519,
            &VotingKey {
                key: rogue,
                possession
            }
        ));
    }
}

#[test]
fn zero_and_points_outside_the_group_are_no_keys_and_no_signatures() {
    let infinity = |byte: &mut u8| *byte = 0xc0;
    let (mut key, mut signature) = ([0; 96], [0; 48]);
    infinity(&mut key[0]);
    infinity(&mut signature[0]);
    let zero = VotingKey {
        key,
        possession: signature,
    };
    assert!(!is_possessed(Scheme::Ed25519, &zero));
    let secret = &secrets(Scheme::Ed25519, 1)[0];
    let keys = KeySet::new(Scheme::Ed25519, &[key, secret.public()]);
    for member in [0, 1] {
        let signers = Signers::of(MemberIndex(member));
        assert!(!keys.verify(b"m", &signers, &AggregateSignature(signature)));
    }
    // On the curve, not in the group of prime order: x = 4 in G1.
    let mut outside = [0; 48];
    (outside[0], outside[47]) = (0x80, 4);
    let point = min_sig::Signature::from_bytes(&outside).expect("on the curve");
    assert!(!point.subgroup_check());
    let signers = Signers::of(MemberIndex(1));
    assert!(!keys.verify(b"m", &signers, &AggregateSignature(outside)));
    // Nor does it hide in a sum.
    let good = secret.sign(b"m");
    assert!(keys.verify(b"m", &signers, &good));
    let hidden = sum(Scheme::Ed25519, &[good, AggregateSignature(outside)]).expect("on the curve");
    assert!(!keys.verify(b"m", &signers, &hidden));
}

#[test]
fn signatures_that_are_no_points_have_no_sum() {
    let good = secrets(Scheme::Ed25519, 1)[0].sign(b"m");
    assert_eq!(
        sum(Scheme::Ed25519, &[good, AggregateSignature([0xff; 48])]),
        None
    );
    for scheme in SCHEMES {
        assert_eq!(sum(scheme, &[]), None);
        let alone = secrets(scheme, 1)[0].sign(b"m");
        assert_eq!(sum(scheme, &[alone]), Some(alone));
    }
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Against the library's own verification of the sum of exactly the signers' keys.
    #[test]
    fn any_subset_verifies_as_the_library_says(
        set in prop::collection::vec(any::<bool>(), 20),
        claimed in prop::collection::vec(prop::bool::weighted(0.02), 20),
        message in any::<[u8; 8]>(),
    ) {
        for scheme in SCHEMES {
            let secrets = secrets(scheme, 20);
            let signed: Vec<_> = (0..20_u16).filter(|at| set[usize::from(*at)]).collect();
            let votes: Vec<_> = signed.iter().map(|at| secrets[usize::from(*at)].sign(&message)).collect();
            let Some(signature) = sum(scheme, &votes) else {
                proptest::prop_assert!(signed.is_empty());
                continue;
            };
            // Now and then one signer is added or left out.
            let signers: Signers = (0..20_u16)
                .filter(|at| set[usize::from(*at)] ^ claimed[usize::from(*at)])
                .map(MemberIndex)
                .collect();
            let found = key_set(scheme, &secrets).verify(&message, &signers, &signature);
            let expected = signers == signed.iter().copied().map(MemberIndex).collect();
            proptest::prop_assert_eq!(found, expected);
            if scheme == Scheme::Ed25519 && !signers.is_empty() {
                let points: Vec<_> = signers
                    .iter()
                    .map(|at| min_sig::PublicKey::from_bytes(&secrets[usize::from(at.0)].public()).expect("a key"))
                    .collect();
                let points: Vec<_> = points.iter().collect();
                let library = min_sig::Signature::from_bytes(&signature.0)
                    .expect("a point")
                    .fast_aggregate_verify(true, &message, VOTE_DOMAIN, &points);
                proptest::prop_assert_eq!(found, library == BLST_ERROR::BLST_SUCCESS);
            }
        }
    }
}

#[test]
fn the_domains_are_those_of_the_ciphersuite() {
    assert_eq!(VOTE_DOMAIN, b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_");
    assert_eq!(POSSESSION_DOMAIN, b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_");
}
