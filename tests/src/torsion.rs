//! Ed25519 signatures with a component of small order in `R`: valid by the rule of `ios` 1.5, which multiplies by the
//! cofactor, and invalid to whoever forgets that. Signers can make them at will; only lone checks and batches that
//! follow the same rule agree on them.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use sha2::{Digest, Sha512};
use types::Signature;

/// Signs under the key of a seed (RFC 8032), with a point of order eight added to `R`.
pub(crate) fn sign(seed: &[u8; 32], message: &[u8]) -> Signature {
    let expanded: [u8; 64] = Sha512::digest(seed).into();
    let (mut secret, mut prefix) = ([0; 32], [0; 32]);
    secret.copy_from_slice(&expanded[..32]);
    prefix.copy_from_slice(&expanded[32..]);
    let secret = Scalar::from_bytes_mod_order(clamp_integer(secret));
    let public = EdwardsPoint::mul_base(&secret).compress();
    let nonce = Sha512::new()
        .chain_update(prefix)
        .chain_update(message)
        .finalize();
    let nonce = Scalar::from_bytes_mod_order_wide(&nonce.into());
    let point = (EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[1]).compress();
    let challenge = Sha512::new()
        .chain_update(point.as_bytes())
        .chain_update(public.as_bytes())
        .chain_update(message)
        .finalize();
    let challenge = Scalar::from_bytes_mod_order_wide(&challenge.into());
    let mut signature = Signature([0; 64]);
    signature.0[..32].copy_from_slice(point.as_bytes());
    signature.0[32..].copy_from_slice((nonce + challenge * secret).as_bytes());
    signature
}

#[cfg(test)]
mod tests {
    use crypto::keys::SecretKey;
    use crypto::verify::verify_one;

    #[test]
    fn a_signature_with_torsion_is_valid_and_another_than_the_usual_one() {
        let (seed, message) = ([9; 32], [5; 32]);
        let key = SecretKey::from_seed(seed);
        let signature = super::sign(&seed, &message);
        assert_ne!(signature, key.sign(&message));
        assert!(verify_one(&key.public(), &message, &signature));
        assert!(!verify_one(&key.public(), &[6; 32], &signature));
    }
}
