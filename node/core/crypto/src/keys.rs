//! Secret keys of validators and workload accounts.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use types::Signature;
use zeroize::Zeroizing;

use crate::bls::VotingSecret;
use crate::context;

/// How keys sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Ed25519 under the rule of `ios` 1.5: every real network.
    #[default]
    Ed25519,
    /// A keyed hash over the message under the *public* key: anyone can sign for anyone. For volume in the
    /// simulator, where forging is a planted act and not a computation.
    Simulated,
}

/// A secret key. `Debug` shows the public half; memory that holds the seed is cleared when the last clone is gone.
#[derive(Clone)]
pub struct SecretKey(Inner);

#[derive(Clone)]
enum Inner {
    Ed25519(Arc<Ed25519Pair>),
    Simulated {
        public: [u8; 32],
        sampling: SamplingSecret,
    },
}

struct Ed25519Pair {
    signing: Ed25519KeyPair,
    sampling: SamplingSecret,
    /// What the voting key is generated from, when somebody asks for it.
    voting: Zeroizing<[u8; 32]>,
}

/// What a validator draws its samples with (`ios` 7.6): a one-way function of the seed of its key, so that it survives
/// a restart and nobody else can know it. Nothing that is sent depends on it but the verdicts. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SamplingSecret(Zeroizing<[u8; 32]>);

impl SamplingSecret {
    fn of_seed(seed: &[u8; 32]) -> Self {
        Self(Zeroizing::new(context::SAMPLE_SECRET.digest(&[seed]).0))
    }

    /// The 32 bytes.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SamplingSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SamplingSecret(..)")
    }
}

impl SecretKey {
    /// The Ed25519 key of a 32-byte seed (RFC 8032).
    ///
    /// # Panics
    /// Never: every 32-byte seed is one of a key.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let signing = Ed25519KeyPair::from_seed_unchecked(&*seed).expect("any 32 bytes are a seed");
        let sampling = SamplingSecret::of_seed(&seed);
        let voting = VotingSecret::material(&seed);
        Self(Inner::Ed25519(Arc::new(Ed25519Pair {
            signing,
            sampling,
            voting,
        })))
    }

    /// A key of the simulated scheme.
    #[must_use]
    pub fn simulated(seed: [u8; 32]) -> Self {
        Self(Inner::Simulated {
            public: context::SIMULATED.digest(&[&seed]).0,
            sampling: SamplingSecret::of_seed(&seed),
        })
    }

    /// A key of either scheme.
    #[must_use]
    pub fn of_scheme(scheme: Scheme, seed: [u8; 32]) -> Self {
        match scheme {
            Scheme::Ed25519 => Self::from_seed(seed),
            Scheme::Simulated => Self::simulated(seed),
        }
    }

    /// Scheme of the key.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        match self.0 {
            Inner::Ed25519(_) => Scheme::Ed25519,
            Inner::Simulated { .. } => Scheme::Simulated,
        }
    }

    /// The public key: what outputs and committees name.
    ///
    /// # Panics
    /// Never: a public key has 32 bytes.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        match &self.0 {
            Inner::Ed25519(pair) => pair
                .signing
                .public_key()
                .as_ref()
                .try_into()
                .expect("a public key has 32 bytes"),
            Inner::Simulated { public, .. } => *public,
        }
    }

    /// What the holder of the key draws its samples with.
    #[must_use]
    pub fn sampling_secret(&self) -> SamplingSecret {
        match &self.0 {
            Inner::Ed25519(pair) => pair.sampling.clone(),
            Inner::Simulated { sampling, .. } => sampling.clone(),
        }
    }

    /// Secret of the validator's voting key, derived from the same seed; some tens of microseconds of work.
    #[must_use]
    pub fn voting(&self) -> VotingSecret {
        match &self.0 {
            Inner::Ed25519(pair) => VotingSecret::generate(&pair.voting),
            Inner::Simulated { public, .. } => VotingSecret::simulated(public),
        }
    }

    /// Signs a message.
    ///
    /// # Panics
    /// Never for any message: signing with a key in memory cannot fail.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        match &self.0 {
            Inner::Ed25519(pair) => Signature(
                pair.signing
                    .sign(message)
                    .as_ref()
                    .try_into()
                    .expect("a signature has 64 bytes"),
            ),
            Inner::Simulated { public, .. } => simulated_signature(public, message),
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretKey(of {})", types::Owner(self.public()))
    }
}

/// The one valid simulated signature of a key over a message.
pub(crate) fn simulated_signature(public: &[u8; 32], message: &[u8]) -> Signature {
    let mut bytes = [0; 64];
    blake3::Hasher::new_keyed(public)
        .update(message)
        .finalize_xof()
        .fill(&mut bytes);
    Signature(bytes)
}

/// Seed of a workload account's key: a load generator and a genesis with the same seed agree on all owners.
#[must_use]
pub fn account_seed(seed: u64, index: u64) -> [u8; 32] {
    context::ACCOUNT
        .digest(&[&seed.to_le_bytes(), &index.to_le_bytes()])
        .0
}

#[cfg(test)]
mod tests {
    use super::{Scheme, SecretKey, account_seed};

    #[test]
    fn a_key_signs_as_the_standard_says() {
        // RFC 8032, 7.1, test 1.
        let seed =
            hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").expect("hex");
        let key = SecretKey::from_seed(seed.try_into().expect("32 bytes"));
        assert_eq!(
            hex::encode(key.public()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        let expected = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        assert_eq!(hex::encode(key.sign(b"").0), expected);
    }

    #[test]
    fn debug_shows_nothing_secret() {
        let seed = [0x5a; 32];
        for scheme in [Scheme::Ed25519, Scheme::Simulated] {
            let key = SecretKey::of_scheme(scheme, seed);
            assert_eq!(key.scheme(), scheme);
            let shown = format!("{key:?}");
            assert!(shown.contains(&hex::encode(key.public())), "{shown}");
            assert!(!shown.contains("5a5a5a"), "{shown}");
        }
    }

    #[test]
    fn a_sampling_secret_hangs_on_the_seed_alone_and_is_not_shown() {
        for scheme in [Scheme::Ed25519, Scheme::Simulated] {
            let key = SecretKey::of_scheme(scheme, [0x5a; 32]);
            let secret = key.sampling_secret();
            let derived = blake3::derive_key("shardbench v1 samplesecret", &[0x5a; 32]);
            assert_eq!(*secret.bytes(), derived);
            assert_eq!(secret, key.clone().sampling_secret());
            assert_ne!(secret, SecretKey::of_scheme(scheme, [0x5b; 32]).sampling_secret());
            // Whoever knows the public key or any signature knows nothing of it.
            assert_ne!(*secret.bytes(), key.public());
            assert_eq!(format!("{secret:?}"), "SamplingSecret(..)");
        }
    }

    #[test]
    fn account_seeds_are_pinned_and_differ() {
        assert_eq!(
            hex::encode(account_seed(1, 2)),
            "6177add735c7b8d77e2bf79e65e4366f8de4749f172bbedf6604d5986855e8d7"
        );
        assert_ne!(account_seed(1, 2), account_seed(2, 1));
    }
}
