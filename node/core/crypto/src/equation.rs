//! The signature rule of `ios` 1.5 (ZIP-215), for one signature and for many in one multiscalar multiplication.
//!
//! `s` is canonical, `A` and `R` are any encodings that decompress (a `y` of 2^255-19 or more and a sign bit on
//! `x = 0` included), and `[8]sB = [8]R + [8]kA`. With the cofactor in both forms, a signature whose parts carry
//! small-order components gets the same verdict alone and in a batch; without it the two differ.

use blake3::OutputReader;
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use sha2::{Digest, Sha512};
use types::Signature;

/// One statement to check: this key signed this message.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) key: &'a [u8; 32],
    pub(crate) message: &'a [u8],
    pub(crate) signature: &'a Signature,
}

impl Claim<'_> {
    /// `k = SHA-512(R || A || message)` over the bytes as they came, not over canonical ones.
    fn challenge(&self) -> Scalar {
        let (r, _) = halves(self.signature);
        let digest = Sha512::new()
            .chain_update(r)
            .chain_update(self.key)
            .chain_update(self.message)
            .finalize();
        Scalar::from_bytes_mod_order_wide(&digest.into())
    }
}

/// What the equation said about a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Positions of invalid claims, ascending.
    pub(crate) bad: Vec<u32>,
    /// Claims that entered the common equation.
    pub(crate) checks: u64,
    /// Claims checked one by one because the common equation did not hold.
    pub(crate) fallback_checks: u64,
}

/// A claim whose signature decodes.
#[derive(Clone, Copy)]
struct Term {
    position: u32,
    r: EdwardsPoint,
    s: Scalar,
    k: Scalar,
}

/// Working memory of the batch equation, kept between batches.
#[derive(Default)]
pub(crate) struct Equation {
    /// A rule left out on purpose in batches of two and more; always false outside the simulator.
    pub(crate) without_cofactor: bool,
    order: Vec<u32>,
    transcript: Vec<u8>,
    keys: Vec<(EdwardsPoint, usize)>,
    terms: Vec<Term>,
    scalars: Vec<Scalar>,
    points: Vec<EdwardsPoint>,
}

impl Equation {
    /// Checks all claims together and, when that fails, one by one.
    ///
    /// The coefficients follow from `seed` and from every byte of the batch, so that nobody can choose signatures
    /// whose errors cancel: with a public seed that takes 2^128 attempts, with a secret one they cannot be made.
    pub(crate) fn verify(&mut self, seed: &[u8; 32], claims: &[Claim<'_>]) -> Outcome {
        let mut outcome = Outcome::default();
        self.decode(claims, &mut outcome.bad);
        outcome.checks = self.terms.len() as u64;
        let holds = match self.terms.as_slice() {
            [] => true,
            // A lone claim needs no coefficient.
            [_] => false,
            _ => {
                let coefficients = self.coefficients(seed, claims);
                self.holds(coefficients)
            }
        };
        if !holds {
            self.check_each(&mut outcome.bad);
            outcome.fallback_checks = if self.terms.len() == 1 { 0 } else { outcome.checks };
        }
        outcome.bad.sort_unstable();
        outcome
    }

    /// Decompresses every key once and every `R`; claims that do not decode are bad and stay out of the equation.
    fn decode(&mut self, claims: &[Claim<'_>], bad: &mut Vec<u32>) {
        self.order.clear();
        self.order.extend(0..claims.len() as u32);
        self.order
            .sort_unstable_by_key(|position| claims[*position as usize].key);
        self.keys.clear();
        self.terms.clear();
        for group in self
            .order
            .chunk_by(|left, right| claims[*left as usize].key == claims[*right as usize].key)
        {
            let Some(key) = CompressedEdwardsY(*claims[group[0] as usize].key).decompress() else {
                bad.extend_from_slice(group);
                continue;
            };
            let first = self.terms.len();
            for position in group {
                match decode_term(*position, &claims[*position as usize]) {
                    Some(term) => self.terms.push(term),
                    None => bad.push(*position),
                }
            }
            if self.terms.len() > first {
                self.keys.push((key, self.terms.len()));
            }
        }
    }

    /// The stream of the coefficients.
    fn coefficients(&mut self, seed: &[u8; 32], claims: &[Claim<'_>]) -> OutputReader {
        self.transcript.clear();
        for claim in claims {
            self.transcript.extend_from_slice(claim.key);
            self.transcript
                .extend_from_slice(&(claim.message.len() as u64).to_le_bytes());
            self.transcript.extend_from_slice(claim.message);
            self.transcript.extend_from_slice(&claim.signature.0);
        }
        blake3::Hasher::new_keyed(seed)
            .update(&self.transcript)
            .finalize_xof()
    }

    /// `[8](sum z R + sum (z k) A - (sum z s) B) = 0` with one term for each distinct key.
    fn holds(&mut self, mut coefficients: OutputReader) -> bool {
        self.scalars.clear();
        self.points.clear();
        self.scalars.push(Scalar::ZERO);
        self.points.push(ED25519_BASEPOINT_POINT);
        let mut base = Scalar::ZERO;
        let mut start = 0;
        for (key, end) in &self.keys {
            let mut of_key = Scalar::ZERO;
            for term in &self.terms[start..*end] {
                let mut bytes = [0; 16];
                coefficients.fill(&mut bytes);
                let z = Scalar::from(u128::from_le_bytes(bytes));
                base -= z * term.s;
                of_key += z * term.k;
                self.scalars.push(z);
                self.points.push(term.r);
            }
            self.scalars.push(of_key);
            self.points.push(*key);
            start = *end;
        }
        self.scalars[0] = base;
        let sum = EdwardsPoint::vartime_multiscalar_mul(&self.scalars, &self.points);
        self.vanishes(sum)
    }

    /// `[8]sum = 0`.
    fn vanishes(&self, sum: EdwardsPoint) -> bool {
        if cfg!(feature = "planted-bugs") && self.without_cofactor && self.terms.len() > 1 {
            return sum.is_identity();
        }
        sum.mul_by_cofactor().is_identity()
    }

    /// One by one over what is decompressed already: not by halves, so that a batch full of bad signatures costs
    /// a bounded multiple of a good one.
    fn check_each(&self, bad: &mut Vec<u32>) {
        let mut start = 0;
        for (key, end) in &self.keys {
            let terms = self.terms[start..*end].iter();
            bad.extend(
                terms
                    .filter(|term| !self.vanishes(difference(key, term)))
                    .map(|term| term.position),
            );
            start = *end;
        }
    }
}

/// `R` and the canonical `s` of a signature with its challenge; `None` when either does not decode.
fn decode_term(position: u32, claim: &Claim<'_>) -> Option<Term> {
    let (r, s) = halves(claim.signature);
    let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s))?;
    let r = CompressedEdwardsY(r).decompress()?;
    Some(Term {
        position,
        r,
        s,
        k: claim.challenge(),
    })
}

/// `sB - kA - R`: of small order when the signature is right.
fn difference(key: &EdwardsPoint, term: &Term) -> EdwardsPoint {
    EdwardsPoint::vartime_double_scalar_mul_basepoint(&term.k, &-key, &term.s) - term.r
}

/// The rule for a single claim.
pub(crate) fn verify_one(claim: &Claim<'_>) -> bool {
    let Some(term) = decode_term(0, claim) else {
        return false;
    };
    CompressedEdwardsY(*claim.key)
        .decompress()
        .is_some_and(|key| difference(&key, &term).mul_by_cofactor().is_identity())
}

fn halves(signature: &Signature) -> ([u8; 32], [u8; 32]) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    r.copy_from_slice(&signature.0[..32]);
    s.copy_from_slice(&signature.0[32..]);
    (r, s)
}

#[cfg(test)]
mod tests {
    use types::Signature;

    use super::{Claim, Equation};

    /// Key, message, and what `R` and `s` are filled with.
    type Parts<'a> = (u8, &'a [u8], u8, u8);

    /// The first coefficient of a batch.
    fn coefficients(seed: u8, claims: &[Parts<'_>]) -> [u8; 16] {
        let parts: Vec<_> = claims
            .iter()
            .map(|(key, message, r, s)| {
                let mut signature = Signature([*r; 64]);
                signature.0[32..].fill(*s);
                ([*key; 32], *message, signature)
            })
            .collect();
        let claims: Vec<_> = parts
            .iter()
            .map(|(key, message, signature)| Claim {
                key,
                message,
                signature,
            })
            .collect();
        let mut bytes = [0; 16];
        Equation::default()
            .coefficients(&[seed; 32], &claims)
            .fill(&mut bytes);
        bytes
    }

    #[test]
    fn coefficients_hang_on_the_seed_and_every_part_of_every_claim() {
        let batches: [(u8, &[Parts<'_>]); 10] = [
            (0, &[(1, b"ab", 2, 3), (4, b"c", 5, 6)]),
            (9, &[(1, b"ab", 2, 3), (4, b"c", 5, 6)]),
            (0, &[(9, b"ab", 2, 3), (4, b"c", 5, 6)]),
            (0, &[(1, b"a9", 2, 3), (4, b"c", 5, 6)]),
            (0, &[(1, b"ab", 9, 3), (4, b"c", 5, 6)]),
            (0, &[(1, b"ab", 2, 9), (4, b"c", 5, 6)]),
            (0, &[(1, b"ab", 2, 3), (4, b"c", 5, 9)]),
            (0, &[(1, b"ab", 2, 3), (4, b"9", 5, 6)]),
            (0, &[(4, b"c", 5, 6), (1, b"ab", 2, 3)]),
            (0, &[(1, b"ab", 2, 3)]),
        ];
        let distinct: std::collections::BTreeSet<_> = batches
            .iter()
            .map(|(seed, claims)| coefficients(*seed, claims))
            .collect();
        assert_eq!(distinct.len(), batches.len());
        assert_eq!(coefficients(0, batches[0].1), coefficients(0, batches[0].1));
    }
}
