//! The rule against ed25519-zebra, the reference implementation of ZIP-215, on random, tampered, small-order and
//! non-canonical signatures; and the difference to ed25519-dalek, which is why its checks are not used.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha512};
use types::{Hash, Signature};

use super::{BatchVerifier, SignatureJob, Verdict, backend, verify, verify_one};
use crate::hash::Xof;
use crate::keys::{Scheme, SecretKey};

const SIZES: [usize; 8] = [1, 2, 3, 7, 8, 64, 256, 1024];

fn zebra_single(job: &SignatureJob) -> bool {
    ed25519_zebra::VerificationKey::try_from(job.key).is_ok_and(|key| {
        key.verify(&ed25519_zebra::Signature::from(job.signature.0), &job.message)
            .is_ok()
    })
}

fn zebra_batch(jobs: &[SignatureJob]) -> bool {
    let mut batch = ed25519_zebra::batch::Verifier::new();
    for job in jobs {
        let key = ed25519_zebra::VerificationKeyBytes::from(job.key);
        batch.queue((key, ed25519_zebra::Signature::from(job.signature.0), &job.message));
    }
    batch.verify(rand_chacha::ChaCha20Rng::from_seed([1; 32])).is_ok()
}

fn verifier() -> BatchVerifier {
    BatchVerifier::new([7; 32], Scheme::Ed25519)
}

fn bytes32(xof: &mut Xof) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes
        .chunks_exact_mut(8)
        .for_each(|chunk| chunk.copy_from_slice(&xof.next_u64().to_le_bytes()));
    bytes
}

fn signed(key: &SecretKey, message: [u8; 32]) -> SignatureJob {
    SignatureJob {
        key: key.public(),
        message,
        signature: key.sign(&message),
    }
}

/// Changes a right job in one of many ways; some leave it right.
fn tamper(job: &mut SignatureJob, xof: &mut Xof) {
    let (byte, bit) = (xof.uniform(32) as usize, 1 << xof.uniform(8));
    match xof.uniform(7) {
        0 => job.message[byte] ^= bit,
        1 => job.key[byte] ^= bit,
        2 => job.signature.0[byte] ^= bit,
        3 => job.signature.0[32 + byte] ^= bit,
        4 => job.signature.0[..32].copy_from_slice(&bytes32(xof)),
        // s + l: the same residue, not canonical.
        5 => add_order(&mut job.signature),
        // R plus a point of small order, its challenge and s made to fit: right under this rule.
        _ => *job = torsioned(xof),
    }
}

fn add_order(signature: &mut Signature) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, order) in signature.0[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "s + l fits 32 bytes");
}

/// A signature made by its equation, with small-order parts in `A` and `R`.
fn torsioned(xof: &mut Xof) -> SignatureJob {
    let (a, r) = (
        Scalar::from_bytes_mod_order(bytes32(xof)),
        Scalar::from_bytes_mod_order(bytes32(xof)),
    );
    let torsion = |xof: &mut Xof| EIGHT_TORSION[xof.uniform(8) as usize];
    let (key, nonce) = (mul_base(a) + torsion(xof), mul_base(r) + torsion(xof));
    let (key, nonce) = (key.compress().0, nonce.compress().0);
    let message = bytes32(xof);
    let k = challenge(&nonce, &key, &message);
    SignatureJob {
        key,
        message,
        signature: joined(nonce, (r + k * a).to_bytes()),
    }
}

fn mul_base(scalar: Scalar) -> EdwardsPoint {
    scalar * ED25519_BASEPOINT_POINT
}

fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let digest = Sha512::new()
        .chain_update(r)
        .chain_update(key)
        .chain_update(message)
        .finalize();
    Scalar::from_bytes_mod_order_wide(&digest.into())
}

fn joined(r: [u8; 32], s: [u8; 32]) -> Signature {
    let mut signature = Signature::default();
    signature.0[..32].copy_from_slice(&r);
    signature.0[32..].copy_from_slice(&s);
    signature
}

/// Right and tampered jobs under few and many keys.
fn random_jobs(count: usize, tampered_per_mille: u64, xof: &mut Xof) -> Vec<SignatureJob> {
    let keys: Vec<_> = (0..97).map(|_| SecretKey::from_seed(bytes32(xof))).collect();
    let mut jobs = Vec::with_capacity(count);
    for _ in 0..count {
        let key = &keys[xof.uniform(keys.len() as u64) as usize];
        let mut job = signed(key, bytes32(xof));
        if xof.uniform(1000) < tampered_per_mille {
            tamper(&mut job, xof);
        }
        jobs.push(job);
    }
    jobs
}

fn bad_positions(expected: &[bool]) -> Vec<u32> {
    (0..)
        .zip(expected)
        .filter(|(_, good)| !**good)
        .map(|(position, _)| position)
        .collect()
}

/// Verdicts in batches of every size equal those of each job alone, and those of zebra.
fn agrees_with_zebra(jobs: &[SignatureJob], sizes: &[usize]) {
    let expected: Vec<bool> = jobs.iter().map(zebra_single).collect();
    for (job, expected) in jobs.iter().zip(&expected) {
        assert_eq!(
            verify_one(&job.key, &job.message, &job.signature),
            *expected,
            "{job:?}"
        );
    }
    let mut verifier = verifier();
    for size in sizes {
        for (jobs, expected) in jobs.chunks(*size).zip(expected.chunks(*size)) {
            let verdict = verifier.verify(jobs);
            assert_eq!(verdict.bad, bad_positions(expected), "batch of {size}");
            assert_eq!(verdict.is_good(), expected.iter().all(|good| *good));
            assert!(verdict.checks <= jobs.len() as u64);
        }
    }
}

#[test]
fn random_and_tampered_signatures_get_zebras_verdict() {
    let mut xof = Xof::new(&Hash([1; 32]));
    // 10^5 vectors in all; each kind of batch sees enough wholly right ones and enough spoilt ones.
    for (round, size) in SIZES.into_iter().enumerate() {
        let tampered = [300, 300, 200, 100, 100, 15, 4, 1][round];
        let jobs = random_jobs(12_500, tampered, &mut xof);
        agrees_with_zebra(&jobs, &[size]);
        let batches = jobs.chunks(size).take(20);
        batches.for_each(|jobs| {
            assert_eq!(
                verifier().verify(jobs).is_good(),
                zebra_batch(jobs),
                "batch of {size}"
            )
        });
    }
}

#[test]
fn a_spoilt_signature_is_found_at_every_position_of_every_size() {
    let mut xof = Xof::new(&Hash([2; 32]));
    for size in SIZES {
        let good = random_jobs(size, 0, &mut xof);
        let verdict = verifier().verify(&good);
        assert_eq!(
            verdict,
            Verdict {
                bad: vec![],
                checks: size as u64,
                fallback_checks: 0
            }
        );
        assert!(zebra_batch(&good));
        for position in [0, size / 2, size - 1] {
            let mut jobs = good.clone();
            // Still decodes, so that the equation is what finds it.
            jobs[position].message[0] ^= 1;
            let verdict = verifier().verify(&jobs);
            let fallback_checks = if size == 1 { 0 } else { size as u64 };
            assert_eq!(
                verdict,
                Verdict {
                    bad: vec![position as u32],
                    checks: size as u64,
                    fallback_checks
                }
            );
            assert!(!zebra_batch(&jobs));
        }
    }
}

#[test]
fn an_empty_batch_is_right() {
    assert_eq!(verifier().verify(&[]), Verdict::default());
}

#[test]
fn what_does_not_decode_stays_out_of_the_equation() {
    let mut xof = Xof::new(&Hash([3; 32]));
    let mut jobs = random_jobs(20, 0, &mut xof);
    add_order(&mut jobs[3].signature);
    jobs[7].key = not_a_point();
    jobs[11].signature.0[..32].copy_from_slice(&not_a_point());
    let expected = Verdict {
        bad: vec![3, 7, 11],
        checks: 17,
        fallback_checks: 0,
    };
    assert_eq!(verifier().verify(&jobs), expected);
    agrees_with_zebra(&jobs, &[20]);
}

fn not_a_point() -> [u8; 32] {
    let encodings = (2..).map(|y| {
        [[y; 1].to_vec(), vec![0; 31]]
            .concat()
            .try_into()
            .unwrap_or([0; 32])
    });
    encodings
        .into_iter()
        .find(|y| CompressedEdwardsY(*y).decompress().is_none())
        .expect("half of all y are none")
}

#[test]
fn errors_that_cancel_without_coefficients_are_found() {
    let mut xof = Xof::new(&Hash([4; 32]));
    let mut jobs = random_jobs(2, 0, &mut xof);
    // s_0 + 1 and s_1 - 1: the plain sum of both equations still holds.
    for (job, change) in jobs.iter_mut().zip([Scalar::ONE, -Scalar::ONE]) {
        let s: [u8; 32] = job.signature.0[32..].try_into().expect("32 bytes");
        let s = Scalar::from_canonical_bytes(s).expect("canonical") + change;
        job.signature.0[32..].copy_from_slice(&s.to_bytes());
    }
    assert_eq!(verifier().verify(&jobs).bad, [0, 1]);
}

#[test]
fn one_key_many_times_is_one_term_and_the_same_verdict() {
    let mut xof = Xof::new(&Hash([5; 32]));
    let key = SecretKey::from_seed([1; 32]);
    let mut jobs: Vec<_> = (0..300).map(|_| signed(&key, bytes32(&mut xof))).collect();
    // The very same job twice is right twice.
    jobs[7] = jobs[8];
    assert!(verifier().verify(&jobs).is_good());
    for position in [2, 250] {
        jobs[position].message[31] ^= 0x80;
    }
    agrees_with_zebra(&jobs, &[300, 7]);
    assert_eq!(verifier().verify(&jobs).bad, [2, 250]);
    jobs.iter_mut().for_each(|job| job.key = not_a_point());
    let verdict = verifier().verify(&jobs);
    assert_eq!((verdict.bad.len(), verdict.checks), (300, 0));
}

#[test]
fn verdicts_do_not_hang_on_the_seed_or_on_earlier_batches() {
    let mut xof = Xof::new(&Hash([6; 32]));
    let jobs = random_jobs(64, 200, &mut xof);
    let expected = verifier().verify(&jobs);
    let mut used = BatchVerifier::new([8; 32], Scheme::Ed25519);
    for size in [64, 3, 64] {
        let verdict = used.verify(&jobs[..size]);
        let bad: Vec<u32> = expected
            .bad
            .iter()
            .copied()
            .filter(|position| (*position as usize) < size)
            .collect();
        assert_eq!(verdict.bad, bad);
    }
}

/// The encodings of the eight points of small order: eight canonical ones and six that are not.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut encodings: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().0).collect();
    // p, p + 1 for y = 0 and y = 1, each with either sign bit; y = 1 and y = -1 with the sign bit of a zero x.
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    let mut above = prime;
    above[0] += 1;
    let (mut one, mut minus_one) = ([0; 32], prime);
    (one[0], minus_one[0]) = (1, 0xec);
    let signed = |mut bytes: [u8; 32]| {
        bytes[31] |= 0x80;
        bytes
    };
    encodings.extend([
        prime,
        signed(prime),
        above,
        signed(above),
        signed(one),
        signed(minus_one),
    ]);
    encodings
}

#[test]
fn all_pairs_of_small_order_points_verify() {
    let encodings = small_order_encodings();
    let distinct: std::collections::BTreeSet<_> = encodings.iter().collect();
    assert_eq!(distinct.len(), 14);
    for encoding in &encodings {
        let point = CompressedEdwardsY(*encoding)
            .decompress()
            .expect("every one decodes");
        assert!(point.is_small_order());
    }
    let job = |key: &[u8; 32], r: &[u8; 32]| SignatureJob {
        key: *key,
        message: *b"Zcash, thirty-two bytes of it...",
        signature: joined(*r, [0; 32]),
    };
    let jobs: Vec<_> = encodings
        .iter()
        .flat_map(|key| encodings.iter().map(move |r| job(key, r)))
        .collect();
    assert_eq!(jobs.len(), 196);
    // By the common equation, not by the single checks behind it.
    let expected = Verdict {
        bad: vec![],
        checks: 196,
        fallback_checks: 0,
    };
    assert_eq!(verifier().verify(&jobs), expected);
    assert!(zebra_batch(&jobs));
    agrees_with_zebra(&jobs, &SIZES);
}

#[test]
fn small_order_parts_change_no_verdict_here_and_do_with_dalek() {
    let mut xof = Xof::new(&Hash([9; 32]));
    let jobs: Vec<_> = (0..400).map(|_| torsioned(&mut xof)).collect();
    assert!(
        jobs.iter()
            .all(|job| verify_one(&job.key, &job.message, &job.signature))
    );
    let expected = Verdict {
        bad: vec![],
        checks: 400,
        fallback_checks: 0,
    };
    assert_eq!(verifier().verify(&jobs), expected);
    agrees_with_zebra(&jobs, &SIZES);

    // dalek: batches take some that its single check refuses, so two nodes could disagree on one block.
    let dalek = |job: &SignatureJob| {
        let signature = ed25519_dalek::Signature::from_bytes(&job.signature.0);
        let key = ed25519_dalek::VerifyingKey::from_bytes(&job.key).expect("decodes");
        let single = ed25519_dalek::Verifier::verify(&key, &job.message, &signature).is_ok();
        let batch = ed25519_dalek::verify_batch(&[&job.message[..]], &[signature], &[key]).is_ok();
        (single, batch)
    };
    let disagree = jobs
        .iter()
        .map(dalek)
        .filter(|(single, batch)| single != batch)
        .count();
    assert!(
        disagree > 0,
        "dalek's single and batch checks agree on all of them"
    );
}

#[test]
fn messages_of_any_length_and_both_schemes() {
    for scheme in [Scheme::Ed25519, Scheme::Simulated] {
        let key = SecretKey::of_scheme(scheme, [5; 32]);
        for len in [0, 1, 31, 32, 33, 127, 128, 1000] {
            let message = vec![len as u8; len];
            let signature = key.sign(&message);
            assert!(
                verify(scheme, &key.public(), &message, &signature),
                "{scheme:?}, {len} bytes"
            );
            assert!(!verify(
                scheme,
                &key.public(),
                &[&message[..], &[0]].concat(),
                &signature
            ));
            assert!(!verify(scheme, &[9; 32], &message, &signature));
            for byte in 0..64 {
                let mut wrong = signature;
                wrong.0[byte] ^= 4;
                assert!(
                    !verify(scheme, &key.public(), &message, &wrong),
                    "{scheme:?}, byte {byte}"
                );
            }
        }
    }
}

#[test]
fn simulated_batches_count_and_find_like_real_ones() {
    let mut jobs: Vec<_> = (0..9)
        .map(|id| signed(&SecretKey::simulated([id; 32]), [id; 32]))
        .collect();
    let mut verifier = BatchVerifier::new([0; 32], Scheme::Simulated);
    assert_eq!(
        verifier.verify(&jobs),
        Verdict {
            bad: vec![],
            checks: 9,
            fallback_checks: 0
        }
    );
    jobs[4].signature.0[63] ^= 1;
    assert_eq!(verifier.verify(&jobs).bad, [4]);
    assert_eq!(verifier.verify(&[]), Verdict::default());
    // Neither scheme takes the other's signatures.
    assert_eq!(
        BatchVerifier::new([0; 32], Scheme::Ed25519)
            .verify(&jobs)
            .bad
            .len(),
        9
    );
    assert!(!format!("{verifier:?}").contains("seed"));
}

#[test]
fn the_backend_is_named() {
    let report = backend();
    assert_eq!(report.slower, report.name != report.best_here);
    assert!(report.name.starts_with("curve25519-dalek 5 "), "{report:?}");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        assert_ne!(report.best_here, super::SERIAL);
    }
}
