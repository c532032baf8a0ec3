//! What every node does with the body of an author block: one place for validators, their restart and the simulator.

use bytes::Bytes;
use crypto::body::{self, BodyError};
use crypto::verify::{BatchVerifier, SignatureJob};
use crypto::{evidence, hash};
use types::Hash;
use types::block::SignedAuthorHeader;
use types::evidence::{TxEvidence, TxFault};

use crate::event::{BodyVerdict, CheckedBody, SignatureChecks};

/// Holds a body against its header and verifies the signatures that are asked for, at most `batch_max` of them together;
/// also says how many entered an equation. The verdict does not depend on `batch_max`.
///
/// The header's own signature was verified before; it goes into the proof where the body breaks a rule.
pub fn check_body(
    verifier: &mut BatchVerifier,
    genesis: &Hash,
    header: &SignedAuthorHeader,
    bytes: Bytes,
    checks: &SignatureChecks,
    batch_max: usize,
) -> (BodyVerdict, u64) {
    let body = match body::decode(&header.header, bytes.clone()) {
        Ok(body) => body,
        Err(BodyError::Rule { position, .. }) => {
            let proof = evidence::of_transaction(header, &bytes, position, TxFault::Encoding);
            let faulty = |proof| BodyVerdict::Faulty(Box::new(proof));
            return (proof.map_or(BodyVerdict::Foreign, faulty), 0);
        }
        Err(_) => return (BodyVerdict::Foreign, 0),
    };
    let all = 0..body.len() as u32;
    let (jobs, positions) = match checks {
        SignatureChecks::All => body::signature_jobs(&body, all, genesis),
        SignatureChecks::Skipped => Default::default(),
        SignatureChecks::Sampled(sampling) => {
            let values = body.txs().map(|(_, view)| view.value().0);
            let sample = sampling.positions(&hash::author_header_hash(&header.header), values);
            body::signature_jobs(&body, sample, genesis)
        }
    };
    let (bad_signatures, checks) = bad_positions(verifier, &jobs, &positions, batch_max);
    (BodyVerdict::Checked(CheckedBody { body, bad_signatures }), checks)
}

/// Verifies every signature of a final block again; gives proofs of the bad ones, in the order of the block, and how many
/// signatures entered an equation. Nothing is found in a body that is not the header's: no final block has one.
pub fn recheck_body(
    verifier: &mut BatchVerifier,
    genesis: &Hash,
    header: &SignedAuthorHeader,
    bytes: &Bytes,
    batch_max: usize,
) -> (Vec<TxEvidence>, u64) {
    let all = &SignatureChecks::All;
    match check_body(verifier, genesis, header, bytes.clone(), all, batch_max) {
        (BodyVerdict::Checked(CheckedBody { bad_signatures, .. }), checks) => {
            let forged = evidence::of_transactions(header, bytes, &bad_signatures, TxFault::Signature);
            (forged, checks)
        }
        (_, checks) => (Vec::new(), checks),
    }
}

/// Positions of the transactions with a bad signature, ascending, each once.
fn bad_positions(
    verifier: &mut BatchVerifier,
    jobs: &[SignatureJob],
    positions: &[u32],
    batch_max: usize,
) -> (Vec<u32>, u64) {
    let (mut bad, mut checks) = (Vec::new(), 0);
    let batch_max = batch_max.max(1);
    for (jobs, positions) in jobs.chunks(batch_max).zip(positions.chunks(batch_max)) {
        let verdict = verifier.verify(jobs);
        checks += verdict.checks + verdict.fallback_checks;
        let places = verdict.bad.iter().map(|job| *job as usize);
        bad.extend(places.filter_map(|job| positions.get(job).copied()));
    }
    bad.dedup();
    (bad, checks)
}

#[cfg(test)]
mod tests;
