//! BLS signatures that add up: 48 bytes in G1 stand for any number of votes (`ios` 0.7, 9.2).
//!
//! BLS12-381 with keys in G2 and signatures in G1, ciphersuite `BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_`, by `blst`.
//! All that sign together sign the same bytes, so a key must come with a proof that its holder knows the secret:
//! one who chooses a key as another's negative would else sign for both. Sums are safe under that rule alone.

use std::fmt;

use blst::BLST_ERROR;
use blst::min_sig;
use types::AggregateSignature;
use types::MemberIndex;
use types::certificate::Signers;
use types::genesis::VotingKey;
use zeroize::Zeroizing;

use crate::context;
use crate::keys::Scheme;

/// Domain of votes.
const VOTE_DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
/// Domain of proofs of possession.
const POSSESSION_DOMAIN: &[u8] = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

/// Secret of a voting key. `Debug` shows nothing of it; its memory is cleared when it is dropped.
#[derive(Clone)]
pub struct VotingSecret(Secret);

#[derive(Clone)]
enum Secret {
    Bls(min_sig::SecretKey),
    Simulated([u8; 96]),
}

impl VotingSecret {
    /// What the secret of a validator is generated from: a hash of the seed of its id key, under a context of its own.
    pub(crate) fn material(seed: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(context::VOTING.digest(&[seed]).0)
    }

    /// The secret of a validator: `KeyGen` over its material.
    pub(crate) fn generate(material: &[u8; 32]) -> Self {
        let secret = min_sig::SecretKey::key_gen(material, &[]).expect("32 bytes are enough");
        Self(Secret::Bls(secret))
    }

    /// The secret that goes with a simulated id key.
    pub(crate) fn simulated(id: &[u8; 32]) -> Self {
        let mut key = [0; 96];
        let mut hasher = context::VOTING.hasher();
        hasher.update(id).finalize_xof().fill(&mut key);
        Self(Secret::Simulated(key))
    }

    /// The public key, a compressed point of G2.
    #[must_use]
    pub fn public(&self) -> [u8; 96] {
        match &self.0 {
            Secret::Bls(secret) => secret.sk_to_pk().compress(),
            Secret::Simulated(key) => *key,
        }
    }

    /// The public key with the proof that this secret is known.
    #[must_use]
    pub fn voting_key(&self) -> VotingKey {
        let key = self.public();
        let possession = match &self.0 {
            Secret::Bls(secret) => secret.sign(&key, POSSESSION_DOMAIN, &[]).compress(),
            Secret::Simulated(key) => simulated(key, POSSESSION_DOMAIN),
        };
        VotingKey { key, possession }
    }

    /// Signs a message that others sign too.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> AggregateSignature {
        AggregateSignature(match &self.0 {
            Secret::Bls(secret) => secret.sign(message, VOTE_DOMAIN, &[]).compress(),
            Secret::Simulated(key) => simulated(key, message),
        })
    }
}

impl fmt::Debug for VotingSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("VotingSecret(..)")
    }
}

/// Whether the proof of a voting key holds: the key is a point of the right group other than zero, and whoever made
/// the proof knew its secret.
#[must_use]
pub fn is_possessed(scheme: Scheme, voting: &VotingKey) -> bool {
    match scheme {
        Scheme::Simulated => voting.possession == simulated(&voting.key, POSSESSION_DOMAIN),
        Scheme::Ed25519 => {
            let key = min_sig::PublicKey::key_validate(&voting.key);
            let proof = min_sig::Signature::sig_validate(&voting.possession, true);
            let (Ok(key), Ok(proof)) = (key, proof) else {
                return false;
            };
            // Both groups are checked above.
            proof.verify(false, &voting.key, POSSESSION_DOMAIN, &[], &key, false) == BLST_ERROR::BLST_SUCCESS
        }
    }
}

/// Sum of signatures over one message; none when one of them is no point of the curve, or there are none. Whether they
/// are right the sum will tell.
#[must_use]
pub fn sum(scheme: Scheme, signatures: &[AggregateSignature]) -> Option<AggregateSignature> {
    match scheme {
        Scheme::Simulated => {
            let lanes = signatures.iter().map(|signature| lanes(&signature.0)).reduce(add);
            lanes.map(from_lanes).map(AggregateSignature)
        }
        Scheme::Ed25519 => {
            let bytes: Vec<&[u8]> = signatures.iter().map(|signature| &signature.0[..]).collect();
            let sum = min_sig::AggregateSignature::aggregate_serialized(&bytes, false).ok()?;
            Some(AggregateSignature(sum.to_signature().compress()))
        }
    }
}

/// Voting keys of a committee, decoded once, with their sum: a certificate lacks fewer voters than it has.
#[derive(Clone, Debug)]
pub struct KeySet(Keys);

#[derive(Clone, Debug)]
enum Keys {
    Bls {
        /// By member; none where the bytes are no key.
        points: Vec<Option<min_sig::PublicKey>>,
        /// Sum of those that are.
        sum: Option<min_sig::AggregatePublicKey>,
    },
    Simulated(Vec<[u8; 96]>),
}

impl KeySet {
    /// Decodes keys, by member. Their proofs of possession were checked with the genesis. Under bytes that are no key
    /// nothing verifies.
    #[must_use]
    pub fn new(scheme: Scheme, keys: &[[u8; 96]]) -> Self {
        if scheme == Scheme::Simulated {
            return Self(Keys::Simulated(keys.to_vec()));
        }
        let decode = |key: &[u8; 96]| min_sig::PublicKey::key_validate(key).ok();
        let points: Vec<_> = keys.iter().map(decode).collect();
        let sum = sum_of(points.iter().flatten());
        Self(Keys::Bls { points, sum })
    }

    /// Whether exactly these voters signed the message, each once.
    #[must_use]
    pub fn verify(&self, message: &[u8], signers: &Signers, signature: &AggregateSignature) -> bool {
        match &self.0 {
            Keys::Simulated(keys) => {
                let expected = |member: MemberIndex| {
                    let key = keys.get(usize::from(member.0))?;
                    Some(lanes(&simulated(key, message)))
                };
                let expected: Option<Vec<_>> = signers.iter().map(expected).collect();
                let sum = expected.and_then(|all| all.into_iter().reduce(add));
                sum == Some(lanes(&signature.0))
            }
            Keys::Bls { points, sum } => {
                let Some(key) = sum_of_signers(points, sum.as_ref(), signers) else {
                    return false;
                };
                let Ok(signature) = min_sig::Signature::sig_validate(&signature.0, true) else {
                    return false;
                };
                let verdict = signature.verify(false, message, VOTE_DOMAIN, &[], &key, false);
                verdict == BLST_ERROR::BLST_SUCCESS
            }
        }
    }
}

/// Sum of the signers' keys: added up, or taken from the sum of all where that is less work. None when a signer has no
/// key.
fn sum_of_signers(
    points: &[Option<min_sig::PublicKey>],
    all: Option<&min_sig::AggregatePublicKey>,
    signers: &Signers,
) -> Option<min_sig::PublicKey> {
    let of = |member: MemberIndex| points.get(usize::from(member.0)).and_then(Option::as_ref);
    let present: Vec<_> = signers.iter().map(of).collect::<Option<_>>()?;
    if 2 * present.len() <= points.len() {
        return sum_of(present.into_iter()).map(|sum| sum.to_public_key());
    }
    let absent = (0..points.len() as u16)
        .map(MemberIndex)
        .filter(|member| !signers.contains(*member));
    let mut sum = *all?;
    if let Some(absent) = sum_of(absent.filter_map(of)) {
        sum.sub_aggregate(&absent);
    }
    Some(sum.to_public_key())
}

fn sum_of<'a>(
    mut points: impl Iterator<Item = &'a min_sig::PublicKey>,
) -> Option<min_sig::AggregatePublicKey> {
    let mut sum = min_sig::AggregatePublicKey::from_public_key(points.next()?);
    // Keys were validated when they were decoded: this cannot fail.
    points
        .try_for_each(|point| sum.add_public_key(point, false))
        .ok()?;
    Some(sum)
}

/// The one valid simulated signature of a key over a message.
fn simulated(key: &[u8; 96], message: &[u8]) -> [u8; 48] {
    let mut bytes = [0; 48];
    let mut hasher = context::SIMULATED.hasher();
    hasher.update(key).update(message).finalize_xof().fill(&mut bytes);
    bytes
}

/// Simulated signatures add up lane by lane.
fn lanes(bytes: &[u8; 48]) -> [u64; 6] {
    std::array::from_fn(|lane| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[8 * lane..8 * lane + 8]);
        u64::from_le_bytes(word)
    })
}

fn add(left: [u64; 6], right: [u64; 6]) -> [u64; 6] {
    std::array::from_fn(|lane| left[lane].wrapping_add(right[lane]))
}

fn from_lanes(lanes: [u64; 6]) -> [u8; 48] {
    let mut bytes = [0; 48];
    for (chunk, lane) in bytes.chunks_exact_mut(8).zip(lanes) {
        chunk.copy_from_slice(&lane.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests;
