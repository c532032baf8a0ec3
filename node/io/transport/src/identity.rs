//! A validator's TLS identity: its Ed25519 id key in a self-signed certificate.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;

/// A raw Ed25519 public key, which names a validator on every link.
pub type PublicKey = [u8; 32];

/// An identity could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The seed is no Ed25519 secret.
    #[error("secret seed of the id key was rejected")]
    Seed,
    /// The certificate could not be built.
    #[error("certificate of the id key could not be built: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// An Ed25519 id key with the self-signed certificate that carries it.
///
/// The secret lives only inside the cryptography library, which wipes it when the last clone is dropped;
/// it is never printed.
/// The certificate's dates and names mean nothing: peers pin the key.
#[derive(Clone)]
pub struct Identity {
    key: Arc<Ed25519KeyPair>,
    public: PublicKey,
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// The identity of the secret `seed` (RFC 8032, 5.1.5); no copy of the seed is kept.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, IdentityError> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| IdentityError::Seed)?;
        let public = PublicKey::try_from(key.public_key().as_ref()).map_err(|_| IdentityError::Seed)?;
        let key = Arc::new(key);
        let signer = IdKey(Arc::clone(&key));
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let certificate = params.self_signed(&signer)?;
        let chain = vec![certificate.der().clone()];
        let certified = Arc::new(CertifiedKey::new(chain, Arc::new(signer)));
        Ok(Self {
            key,
            public,
            certified,
        })
    }

    /// The key that peers and clients pin.
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// The stateless-reset key of the endpoint named by `domain`.
    ///
    /// It survives a restart, so a restarted validator can tell its peers at once that the old connection is
    /// gone, where they would otherwise wait for the idle timeout.
    /// Derived from a signature, which only the holder of the secret can make and which is never sent.
    pub(crate) fn reset_key(&self, domain: &[u8]) -> ResetKey {
        let message = [b"shardbench/stateless-reset/1/".as_slice(), domain].concat();
        ResetKey(hmac::Key::new(
            hmac::HMAC_SHA256,
            self.key.sign(&message).as_ref(),
        ))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Makes the tokens by which an endpoint that lost its state ends a connection (RFC 9000, 10.3).
pub(crate) struct ResetKey(hmac::Key);

impl ResetKey {
    /// A key of this process alone, for endpoints without an identity.
    pub(crate) fn random() -> Self {
        let mut secret = [0; 32];
        // Entropy failure would leave the key guessable: a forged reset only ends a client's connection.
        if aws_lc_rs::rand::fill(&mut secret).is_err() {
            tracing::warn!("no entropy for the stateless-reset key");
        }
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))
    }

    pub(crate) fn into_hmac(self) -> Arc<dyn quinn::crypto::HmacKey> {
        Arc::new(self.0)
    }
}

/// The id key as the TLS and certificate libraries want it.
#[derive(Clone)]
struct IdKey(Arc<Ed25519KeyPair>);

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey")
    }
}

impl rustls::sign::SigningKey for IdKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        offered
            .contains(&SignatureScheme::ED25519)
            .then(|| Box::new(self.clone()) as _)
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::ED25519
    }
}

impl rustls::sign::Signer for IdKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl rcgen::PublicKeyData for IdKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for IdKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, 7.1, test 1.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
        0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ];
    const PUBLIC: [u8; 32] = [
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
        0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
    ];

    #[test]
    fn the_seed_gives_the_key_of_the_standard() {
        let identity = Identity::from_seed(&SEED).expect("valid seed");
        assert_eq!(identity.public_key(), PUBLIC);
    }

    #[test]
    fn debug_shows_no_secret() {
        let identity = Identity::from_seed(&SEED).expect("valid seed");
        let shown = format!("{identity:?} {:?}", identity.certified.key);
        assert!(shown.contains("215"), "the public key is shown: {shown}");
        assert!(!shown.contains("157, 97, 177"), "{shown}");
        assert!(!shown.contains("9d61b1"), "{shown}");
    }

    #[test]
    fn the_reset_key_survives_a_restart_and_differs_by_endpoint() {
        let token = |domain: &[u8]| {
            let key = Identity::from_seed(&SEED).expect("valid seed").reset_key(domain);
            hmac::sign(&key.0, b"connection id").as_ref().to_vec()
        };
        assert_eq!(token(b"peer"), token(b"peer"));
        assert_ne!(token(b"peer"), token(b"client"));
    }
}
