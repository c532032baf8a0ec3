//! Signature checks by the one rule that all nodes share (`ios` 1.5, ZIP-215): single, and in batches of any size.

use types::Signature;

use crate::equation::{self, Claim, Equation};
use crate::keys::{Scheme, simulated_signature};

/// One signature to check. For transactions the message is the sighash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureJob {
    /// Public key: the owner as it stands.
    pub key: [u8; 32],
    /// Message.
    pub message: [u8; 32],
    /// Signature, not yet known to decode.
    pub signature: Signature,
}

impl SignatureJob {
    const fn claim(&self) -> Claim<'_> {
        Claim {
            key: &self.key,
            message: &self.message,
            signature: &self.signature,
        }
    }
}

/// What a batch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Positions of the invalid jobs, ascending.
    pub bad: Vec<u32>,
    /// Signatures that entered the equation; those that do not decode never do. Each counts once.
    pub checks: u64,
    /// Further checks, one by one, because the batch as a whole was not right.
    pub fallback_checks: u64,
}

impl Verdict {
    /// True when every job was right.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.bad.is_empty()
    }
}

/// Checks batches of signatures; keeps its working memory, so each verifying thread has one of its own.
pub struct BatchVerifier {
    seed: [u8; 32],
    scheme: Scheme,
    equation: Equation,
}

impl std::fmt::Debug for BatchVerifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The seed stays out: with it, coefficients could be foreseen.
        formatter
            .debug_struct("BatchVerifier")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl BatchVerifier {
    /// A verifier whose coefficients follow from `seed` and the batch; the seed should be known to no one else.
    #[must_use]
    pub fn new(seed: [u8; 32], scheme: Scheme) -> Self {
        Self {
            seed,
            scheme,
            equation: Equation::default(),
        }
    }

    /// Makes batches wrong on purpose: without the cofactor, which lone checks keep.
    #[cfg(feature = "planted-bugs")]
    pub const fn plant_without_cofactor(&mut self) {
        self.equation.without_cofactor = true;
    }

    /// Checks all jobs. The verdict on each job does not depend on the others, nor on the seed.
    ///
    /// Cost: one multiscalar multiplication when all are right; with a bad one among those that decode, a further
    /// single check of each.
    pub fn verify(&mut self, jobs: &[SignatureJob]) -> Verdict {
        match self.scheme {
            Scheme::Ed25519 => {
                let claims: Vec<_> = jobs.iter().map(SignatureJob::claim).collect();
                let outcome = self.equation.verify(&self.seed, &claims);
                Verdict {
                    bad: outcome.bad,
                    checks: outcome.checks,
                    fallback_checks: outcome.fallback_checks,
                }
            }
            Scheme::Simulated => {
                let is_bad =
                    |job: &SignatureJob| !verify(self.scheme, &job.key, &job.message, &job.signature);
                let bad = (0..)
                    .zip(jobs)
                    .filter(|(_, job)| is_bad(job))
                    .map(|(position, _)| position);
                Verdict {
                    bad: bad.collect(),
                    checks: jobs.len() as u64,
                    fallback_checks: 0,
                }
            }
        }
    }
}

/// Whether `key` signed `message`: Ed25519 under the rule of `ios` 1.5.
#[must_use]
pub fn verify_one(key: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
    equation::verify_one(&Claim {
        key,
        message,
        signature,
    })
}

/// Whether `key` signed `message` under a scheme.
#[must_use]
pub fn verify(scheme: Scheme, key: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
    match scheme {
        Scheme::Ed25519 => verify_one(key, message, signature),
        Scheme::Simulated => simulated_signature(key, message) == *signature,
    }
}

/// Which implementation of the curve this build uses on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendReport {
    /// The one in use.
    pub name: &'static str,
    /// The fastest that a build of this source could use here.
    pub best_here: &'static str,
    /// True when `name` is not `best_here`: results must be labelled.
    pub slower: bool,
}

const AVX512: &str = "curve25519-dalek 5 avx512ifma";
const AVX2: &str = "curve25519-dalek 5 avx2";
const SERIAL: &str = "curve25519-dalek 5 serial";

/// Names the curve implementation in use. The library chooses at run time among those compiled in, and what is
/// compiled in hangs on `--cfg curve25519_dalek_backend`, which an environment variable can drop unnoticed.
#[must_use]
#[expect(
    unexpected_cfgs,
    reason = "a cfg of curve25519-dalek, set for the whole build"
)]
pub fn backend() -> BackendReport {
    let forced_serial = cfg!(any(
        curve25519_dalek_backend = "serial",
        curve25519_dalek_backend = "fiat"
    ));
    let forced_avx2 = cfg!(curve25519_dalek_backend = "simd");
    let has_ifma = cfg!(curve25519_dalek_backend = "avx512")
        || cfg!(all(target_feature = "avx512ifma", target_feature = "avx512vl"));
    let (avx512_here, avx2_here) = processor();
    let best_here = best(avx512_here, avx2_here);
    let compiled = match (forced_serial, forced_avx2) {
        (true, _) => best(false, false),
        (_, true) => best(false, avx2_here),
        _ => best(avx512_here && has_ifma, avx2_here),
    };
    BackendReport {
        name: compiled,
        best_here,
        slower: compiled != best_here,
    }
}

const fn best(avx512: bool, avx2: bool) -> &'static str {
    match (avx512, avx2) {
        (true, _) => AVX512,
        (_, true) => AVX2,
        _ => SERIAL,
    }
}

#[cfg(target_arch = "x86_64")]
fn processor() -> (bool, bool) {
    let avx512 = is_x86_feature_detected!("avx512ifma") && is_x86_feature_detected!("avx512vl");
    (avx512, is_x86_feature_detected!("avx2"))
}

#[cfg(not(target_arch = "x86_64"))]
const fn processor() -> (bool, bool) {
    (false, false)
}

#[cfg(test)]
mod tests;
