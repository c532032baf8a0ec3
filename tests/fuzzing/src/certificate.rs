//! Certificates and signed messages against a committee, under both schemes: a quorum is accepted exactly when its
//! signatures are right one by one.

use crypto::cosign::{verify_certificate, verify_commit_proof, verify_new_view, verify_view_change};
use crypto::hash::final_header_hash;
use crypto::keys::Scheme;
use crypto::verify;
use types::block::CommittedBlock;
use types::certificate::{Phase, Signatures, Subject};
use types::codec::{Decode, Encode};
use types::message::{Certified, NewView, ViewChange};

use crate::memory::in_proportion;
use crate::seeds::Voters;

/// The first byte chooses scheme (bit 0), committee (bits 1 and 4) and what the rest is (bits 2 and 3).
pub(crate) fn check(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let scheme = [Scheme::Simulated, Scheme::Ed25519][usize::from(choice & 1)];
    let size = match (choice >> 1 & 1, choice >> 4 & 1) {
        (0, 0) => 4,
        (_, 0) => 7,
        _ => 17,
    };
    Voters::with(scheme, size, |voters| match choice >> 2 & 3 {
        0 => canonical(bytes, |certified: Certified| check_certified(voters, &certified)),
        1 => canonical(bytes, |block: CommittedBlock| check_proof(voters, &block)),
        2 => canonical(bytes, |change: ViewChange| check_view_change(voters, change)),
        _ => canonical(bytes, |opening: NewView| check_new_view(voters, opening)),
    });
}

/// Decodes, compares the encoding and goes on with what is accepted.
fn canonical<T: Decode + Encode>(bytes: &[u8], accepted: impl FnOnce(T)) {
    if let Ok(value) = in_proportion(bytes.len(), 16, || T::from_bytes(bytes)) {
        assert_eq!(value.to_bytes(), bytes);
        accepted(value);
    }
}

fn check_certified(voters: &Voters, certified: &Certified) {
    let (subject, certificate) = (&certified.subject, &certified.certificate);
    let verdict = verify_certificate(&voters.context, &voters.verifier, subject, certificate);
    assert_eq!(verdict.is_ok(), is_quorum(voters, certified), "{verdict:?}");
}

/// The rules of `ios` 0.7, one by one and each signature alone.
fn is_quorum(voters: &Voters, Certified { subject, certificate }: &Certified) -> bool {
    let n = voters.committee.members.len();
    let message = voters
        .context
        .signed_string(subject.phase, subject.height, subject.view, &subject.hash);
    let signers: Vec<usize> = certificate
        .signers()
        .iter()
        .map(|member| usize::from(member.0))
        .collect();
    usize::from(certificate.committee) == n
        && certificate.view == subject.view
        && signers.len() >= n - (n - 1) / 3
        && signers.windows(2).all(|pair| pair[0] < pair[1])
        && signers.iter().all(|signer| *signer < n)
        && match &certificate.signatures {
            Signatures::List(list) => {
                n <= 16
                    && list.iter().all(|(member, signature)| {
                        let (_, key) = &voters.committee.members[usize::from(member.0)];
                        verify::verify(voters.scheme, key, &message, signature)
                    })
            }
            // A BLS signature is the only one of its key over a message, and so is a sum.
            Signatures::Aggregate { signature, .. } => {
                let signers: Vec<u16> = signers.iter().map(|signer| *signer as u16).collect();
                n > 16 && voters.partial(*subject, &signers).signature == *signature
            }
        }
}

fn check_proof(voters: &Voters, CommittedBlock { block, proof }: &CommittedBlock) {
    if verify_commit_proof(&voters.context, &voters.verifier, &block.header, proof).is_err() {
        return;
    }
    // From the block to the certified one, each names the one before it and is one higher.
    let mut last = &block.header;
    for next in &proof.descendants {
        assert_eq!(
            (next.prev, next.height),
            (final_header_hash(last), last.height.next())
        );
        last = next;
    }
    let certified = Certified {
        subject: Subject {
            phase: Phase::Commit,
            height: last.height,
            view: proof.certificate.view,
            hash: final_header_hash(last),
        },
        certificate: proof.certificate.clone(),
    };
    assert!(is_quorum(voters, &certified), "final without a quorum");
}

/// What is signed covers every other byte: the same signature under another view is refused.
fn check_view_change(voters: &Voters, mut change: ViewChange) {
    for (_, key) in &voters.committee.members {
        if verify_view_change(voters.scheme, &voters.context, key, &change) {
            change.new_view.0 ^= 1;
            assert!(!verify_view_change(voters.scheme, &voters.context, key, &change));
            change.new_view.0 ^= 1;
        }
    }
}

fn check_new_view(voters: &Voters, mut opening: NewView) {
    for (_, key) in &voters.committee.members {
        if verify_new_view(voters.scheme, &voters.context, key, &opening) {
            opening.view.0 ^= 1;
            assert!(!verify_new_view(voters.scheme, &voters.context, key, &opening));
            opening.view.0 ^= 1;
        }
    }
}
