//! Signatures of validators: votes, certificates, proposals, view changes, author headers (`ios` 0.7, 9).

use types::block::{AuthorHeader, CommitProof, FinalHeader, SignedAuthorHeader};
use types::block_record::{AuthorReady, ResetRequest};
use types::certificate::{Certificate, Partial, Phase, Signatures, Signers, Subject};
use types::genesis::{Committee, SigningContext};
use types::message::{NewView, Propose, ViewChange, Vote};
use types::{AggregateSignature, Hash, Height, MemberIndex, Signature, View};

use crate::bls::{self, KeySet, VotingSecret};
use crate::context;
use crate::equation::{Claim, Equation};
use crate::hash::{
    author_header_hash, author_ready_hash, final_header_hash, new_view_hash, reset_hash, view_change_hash,
};
use crate::keys::{Scheme, SecretKey};
use crate::verify;

/// Why a certificate does not certify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Made for a committee of another size.
    #[error("certificate of a committee of {found}, accepted is {expected}")]
    Committee {
        /// Size that the certificate states.
        found: u16,
        /// Size of the committee.
        expected: usize,
    },
    /// Made in another view than its subject.
    #[error("certificate of view {found}, accepted is view {expected}")]
    View {
        /// View of the certificate.
        found: View,
        /// View of the subject.
        expected: View,
    },
    /// Signers repeat, descend, or are no voters.
    #[error("signer {member} is out of order or no voter, accepted are distinct voters ascending")]
    Signers {
        /// The first such signer.
        member: MemberIndex,
    },
    /// Too few signers.
    #[error("{found} signers, accepted are at least {quorum}")]
    Quorum {
        /// Signers.
        found: usize,
        /// Least number.
        quorum: usize,
    },
    /// A signature does not verify.
    #[error("signature of member {member} does not verify")]
    Signature {
        /// The first such signer.
        member: MemberIndex,
    },
    /// A list where the committee has aggregates, or the other way round.
    #[error(
        "a certificate of the other kind than a committee of {voters} has: lists up to 16 voters, aggregates above"
    )]
    Kind {
        /// Size of the committee.
        voters: usize,
    },
    /// The sum of the signatures does not verify.
    #[error("the sum of the signatures does not verify")]
    Aggregate,
}

/// Why a proof does not make a header final.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitProofError {
    /// The headers do not chain from the header to the certified one.
    #[error("header at height {height} does not follow the one before it")]
    Chain {
        /// Height that the first wrong header states.
        height: Height,
    },
    /// The chain ends at another block than the certified one.
    #[error(
        "the chain ends at height {found}, the certificate speaks of another block at height {certified}"
    )]
    Target {
        /// Height at which the chain ends.
        found: Height,
        /// Height that the proof states.
        certified: Height,
    },
    /// The certificate itself.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Signs a vote's subject.
#[must_use]
pub fn sign_subject(key: &SecretKey, context: &SigningContext, subject: &Subject) -> Signature {
    key.sign(&signed_bytes(context, subject))
}

/// Whether a voter of the committee cast this vote.
#[must_use]
pub fn verify_vote(scheme: Scheme, context: &SigningContext, committee: &Committee, vote: &Vote) -> bool {
    committee
        .voter_key(vote.member)
        .is_some_and(|key| verify_subject(scheme, context, key, &vote.subject, &vote.signature))
}

/// Whether `key` signed this subject.
#[must_use]
pub fn verify_subject(
    scheme: Scheme,
    context: &SigningContext,
    key: &[u8; 32],
    subject: &Subject,
    signature: &Signature,
) -> bool {
    verify::verify(scheme, key, &signed_bytes(context, subject), signature)
}

/// A committee whose certificates are to be verified, with its voting keys decoded once.
#[derive(Clone, Debug)]
pub struct Verifier {
    scheme: Scheme,
    committee: Committee,
    /// Empty where certificates are lists.
    keys: KeySet,
}

impl Verifier {
    /// Decodes the voting keys: about a third of a millisecond for each, nothing where certificates are lists.
    #[must_use]
    pub fn new(scheme: Scheme, committee: Committee) -> Self {
        Self {
            scheme,
            // Candidates have keys and no vote.
            keys: KeySet::new(
                scheme,
                committee.voting_keys.get(..committee.size()).unwrap_or_default(),
            ),
            committee,
        }
    }

    /// The committee.
    #[must_use]
    pub const fn committee(&self) -> &Committee {
        &self.committee
    }

    /// Signature scheme of the id keys.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }
}

/// Signs a vote of a committee with aggregates.
#[must_use]
pub fn sign_partial(
    secret: &VotingSecret,
    context: &SigningContext,
    committee: &Committee,
    member: MemberIndex,
    subject: Subject,
) -> Partial {
    Partial {
        subject,
        committee: committee.size() as u16,
        signers: Signers::of(member),
        signature: secret.sign(&signed_bytes(context, &subject)),
    }
}

/// Whether all who are named in a partial signed its subject, and at least one is.
#[must_use]
pub fn verify_partial(context: &SigningContext, verifier: &Verifier, partial: &Partial) -> bool {
    let message = signed_bytes(context, &partial.subject);
    usize::from(partial.committee) == verifier.committee.size()
        && verifier
            .keys
            .verify(&message, &partial.signers, &partial.signature)
}

/// Whether the holder of a voting key, and nobody else, signed this subject. Decodes the key: for evidence, where a
/// [`Verifier`] would decode those of all.
#[must_use]
pub fn verify_single(
    scheme: Scheme,
    context: &SigningContext,
    key: &[u8; 96],
    subject: &Subject,
    signature: &AggregateSignature,
) -> bool {
    let signer = Signers::of(MemberIndex(0));
    KeySet::new(scheme, &[*key]).verify(&signed_bytes(context, subject), &signer, signature)
}

/// Sums up partials for one subject that share no signer. None when there are none, or a signature is no point of its
/// curve; whether the sum is right [`verify_partial`] says.
#[must_use]
pub fn sum_partials(verifier: &Verifier, partials: &[&Partial]) -> Option<Partial> {
    let first = partials.first()?;
    let signatures: Vec<_> = partials.iter().map(|partial| partial.signature).collect();
    let mut signers = Signers::default();
    for partial in partials {
        signers = signers.union(&partial.signers);
    }
    Some(Partial {
        signers,
        signature: bls::sum(verifier.scheme, &signatures)?,
        ..(*first).clone()
    })
}

/// Whether a quorum of the committee signed the subject.
///
/// # Errors
/// Names the first rule that is broken.
pub fn verify_certificate(
    context: &SigningContext,
    verifier: &Verifier,
    subject: &Subject,
    certificate: &Certificate,
) -> Result<(), CertificateError> {
    let quorum = verifier.committee.quorum();
    verify_signatures(context, verifier, quorum, subject, certificate)
}

/// [`verify_certificate`] with the least number of signers stated by the caller.
///
/// # Errors
/// Names the first rule that is broken.
pub fn verify_signatures(
    context: &SigningContext,
    verifier: &Verifier,
    quorum: usize,
    subject: &Subject,
    certificate: &Certificate,
) -> Result<(), CertificateError> {
    let (found, expected) = (certificate.committee, verifier.committee.size());
    if usize::from(found) != expected {
        return Err(CertificateError::Committee { found, expected });
    }
    if certificate.view != subject.view {
        return Err(CertificateError::View {
            found: certificate.view,
            expected: subject.view,
        });
    }
    let message = signed_bytes(context, subject);
    match (&certificate.signatures, verifier.committee.is_aggregated()) {
        (Signatures::List(list), false) => {
            at_least(quorum, list.len())?;
            verify_list(verifier, &message, list)
        }
        (Signatures::Aggregate { signers, signature }, true) => {
            at_least(quorum, signers.len())?;
            if let Some(member) = signers
                .iter()
                .find(|member| !verifier.committee.is_voter(*member))
            {
                return Err(CertificateError::Signers { member });
            }
            let verified = verifier.keys.verify(&message, signers, signature);
            verified.then_some(()).ok_or(CertificateError::Aggregate)
        }
        _ => Err(CertificateError::Kind { voters: expected }),
    }
}

const fn at_least(quorum: usize, found: usize) -> Result<(), CertificateError> {
    if found < quorum {
        return Err(CertificateError::Quorum { found, quorum });
    }
    Ok(())
}

fn verify_list(
    verifier: &Verifier,
    message: &[u8],
    list: &[(MemberIndex, Signature)],
) -> Result<(), CertificateError> {
    let mut claims = Vec::with_capacity(list.len());
    let mut before = None;
    for (member, signature) in list {
        let key = verifier.committee.voter_key(*member);
        let key = key.filter(|_| before < Some(*member));
        let Some(key) = key else {
            return Err(CertificateError::Signers { member: *member });
        };
        claims.push(Claim {
            key,
            message,
            signature,
        });
        before = Some(*member);
    }
    match first_bad(verifier.scheme, &claims).and_then(|position| list.get(position)) {
        Some((member, _)) => Err(CertificateError::Signature { member: *member }),
        None => Ok(()),
    }
}

/// Position of the first claim that does not hold.
fn first_bad(scheme: Scheme, claims: &[Claim<'_>]) -> Option<usize> {
    match scheme {
        Scheme::Ed25519 => {
            // No secret seed here: the coefficients hang on every byte of the batch, which suffices.
            let seed = context::BATCH.digest(&[]);
            let bad = Equation::default().verify(&seed.0, claims).bad;
            bad.first().map(|position| *position as usize)
        }
        Scheme::Simulated => claims
            .iter()
            .position(|claim| !verify::verify(scheme, claim.key, claim.message, claim.signature)),
    }
}

/// Whether a proof makes a header final: headers chain from it to the certified one, and a quorum committed that
/// one (`ios` 9.6).
///
/// # Errors
/// Names the first thing that is not so.
pub fn verify_commit_proof(
    context: &SigningContext,
    verifier: &Verifier,
    header: &FinalHeader,
    proof: &CommitProof,
) -> Result<(), CommitProofError> {
    let (mut height, mut hash) = (header.height, final_header_hash(header));
    for descendant in &proof.descendants {
        let follows = height.0.checked_add(1) == Some(descendant.height.0) && descendant.prev == hash;
        if !follows {
            return Err(CommitProofError::Chain {
                height: descendant.height,
            });
        }
        (height, hash) = (descendant.height, final_header_hash(descendant));
    }
    if (height, hash) != (proof.height, proof.hash) {
        return Err(CommitProofError::Target {
            found: height,
            certified: proof.height,
        });
    }
    let subject = Subject {
        phase: Phase::Commit,
        height,
        view: proof.certificate.view,
        hash,
    };
    Ok(verify_certificate(
        context,
        verifier,
        &subject,
        &proof.certificate,
    )?)
}

/// Signs an author header. Its hash names no network, hence the context: a header of one network, epoch or shard
/// binds nobody in another, also where the same key serves both.
#[must_use]
pub fn sign_author_header(key: &SecretKey, context: &SigningContext, header: &AuthorHeader) -> Signature {
    key.sign(&in_context(context, &author_header_hash(header)).0)
}

/// Whether `key` signed an author header for this context.
#[must_use]
pub fn verify_author_header(
    scheme: Scheme,
    context: &SigningContext,
    key: &[u8; 32],
    signed: &SignedAuthorHeader,
) -> bool {
    let digest = in_context(context, &author_header_hash(&signed.header));
    verify::verify(scheme, key, &digest.0, &signed.signature)
}

/// Signs a reset request; the field `signature` is not read. Unlike a header it names no chain of its own, hence
/// the context: a request of one network or shard is none in another.
#[must_use]
pub fn sign_reset_request(key: &SecretKey, context: &SigningContext, request: &ResetRequest) -> Signature {
    key.sign(&reset_digest(context, request).0)
}

/// Whether `key` signed a reset request for this context.
#[must_use]
pub fn verify_reset_request(
    scheme: Scheme,
    context: &SigningContext,
    key: &[u8; 32],
    request: &ResetRequest,
) -> bool {
    verify::verify(scheme, key, &reset_digest(context, request).0, &request.signature)
}

/// Signs a candidate's report that it is there; the field `signature` is not read.
#[must_use]
pub fn sign_author_ready(key: &SecretKey, context: &SigningContext, ready: &AuthorReady) -> Signature {
    key.sign(&in_context(context, &author_ready_hash(ready)).0)
}

/// Whether `key` signed a candidate's report for this context.
#[must_use]
pub fn verify_author_ready(
    scheme: Scheme,
    context: &SigningContext,
    key: &[u8; 32],
    ready: &AuthorReady,
) -> bool {
    let digest = in_context(context, &author_ready_hash(ready));
    verify::verify(scheme, key, &digest.0, &ready.signature)
}

fn reset_digest(context: &SigningContext, request: &ResetRequest) -> Hash {
    in_context(context, &reset_hash(request))
}

/// `H_bound(genesis || epoch || shard || committee || hash)`: a hash bound to genesis, epoch, shard and committee.
fn in_context(context: &SigningContext, hash: &Hash) -> Hash {
    let (epoch, shard) = (context.epoch.0.to_le_bytes(), context.shard.0.to_le_bytes());
    let chain = [
        &context.genesis_hash.0[..],
        &epoch,
        &shard,
        &context.committee_hash.0,
    ];
    context::BOUND.digest(&[chain[0], chain[1], chain[2], chain[3], &hash.0])
}

/// Signs a leader's proposal of a block in a view.
#[must_use]
pub fn sign_propose(
    key: &SecretKey,
    context: &SigningContext,
    view: View,
    header: &FinalHeader,
) -> Signature {
    sign_subject(key, context, &propose_subject(view, header))
}

/// Whether `key` signed a proposal. What the header's roots cover is for the caller to compare.
#[must_use]
pub fn verify_propose(scheme: Scheme, context: &SigningContext, key: &[u8; 32], propose: &Propose) -> bool {
    let subject = propose_subject(propose.view, &propose.block.header);
    verify_subject(scheme, context, key, &subject, &propose.signature)
}

fn propose_subject(view: View, header: &FinalHeader) -> Subject {
    Subject {
        phase: Phase::Propose,
        height: header.height,
        view,
        hash: final_header_hash(header),
    }
}

/// Signs a view change; the field `signature` is not read.
#[must_use]
pub fn sign_view_change(key: &SecretKey, context: &SigningContext, change: &ViewChange) -> Signature {
    sign_subject(key, context, &view_change_subject(change))
}

/// Whether `key` signed a view change. The certificates inside are for the caller to verify.
#[must_use]
pub fn verify_view_change(
    scheme: Scheme,
    context: &SigningContext,
    key: &[u8; 32],
    change: &ViewChange,
) -> bool {
    verify_subject(
        scheme,
        context,
        key,
        &view_change_subject(change),
        &change.signature,
    )
}

fn view_change_subject(change: &ViewChange) -> Subject {
    Subject {
        phase: Phase::ViewChange,
        height: change.committed.height,
        view: change.new_view,
        hash: view_change_hash(change),
    }
}

/// Signs the opening of a view; the field `signature` is not read.
#[must_use]
pub fn sign_new_view(key: &SecretKey, context: &SigningContext, opening: &NewView) -> Signature {
    sign_subject(key, context, &new_view_subject(opening))
}

/// Whether `key` signed the opening of a view. The view changes inside are for the caller to verify.
#[must_use]
pub fn verify_new_view(scheme: Scheme, context: &SigningContext, key: &[u8; 32], opening: &NewView) -> bool {
    verify_subject(
        scheme,
        context,
        key,
        &new_view_subject(opening),
        &opening.signature,
    )
}

fn new_view_subject(opening: &NewView) -> Subject {
    Subject {
        phase: Phase::NewView,
        height: Height(0),
        view: opening.view,
        hash: new_view_hash(opening),
    }
}

fn signed_bytes(context: &SigningContext, subject: &Subject) -> Vec<u8> {
    context.signed_string(subject.phase, subject.height, subject.view, &subject.hash)
}

#[cfg(test)]
mod tests;
