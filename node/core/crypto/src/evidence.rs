//! Faults that anybody can judge: evidence is made from what was received, and judged from itself alone (`ios` 7.7).
//!
//! Invariant: nothing that an honest validator signed is evidence against it. What a header's root covers is fixed to
//! the last bit, so that only transactions which the author itself put into its block can be shown.

use types::block::{SignedAuthorHeader, TxEntry};
use types::certificate::{Partial, Phase, Subject};
use types::evidence::{Evidence, TwoHeaders, TwoPartials, TwoVotes, TxEvidence, TxFault};
use types::genesis::{Committee, EpochConfig, SigningContext};
use types::transaction::TxView;
use types::{Hash, MemberIndex, Owner, ShardId, TxId, ValidatorId};

use crate::body::{COUNT_BYTES, push_jobs};
use crate::cosign::{verify_author_header, verify_single, verify_vote};
use crate::hash::{author_header_hash, txid};
use crate::keys::Scheme;
use crate::placement::{group_of, shard_of};
use crate::{merkle, verify};

/// Whose fault the evidence shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accused {
    /// The member.
    pub member: MemberIndex,
}

/// Why evidence shows no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// A header of another shard, epoch or term.
    #[error("a header of shard {shard}, accepted is one of this shard, epoch and term")]
    Place {
        /// Shard that the header states.
        shard: ShardId,
    },
    /// The author is no candidate of this shard.
    #[error("validator {0} is no candidate of this shard, accepted is one")]
    Author(ValidatorId),
    /// No group of believable authors.
    #[error("a block of group {group}, accepted are the {seats} groups of two leagues")]
    Group {
        /// Group that the header states.
        group: u16,
        /// Seats of the shard.
        seats: u16,
    },
    /// The author did not sign the header.
    #[error("the signature of a header does not verify")]
    HeaderSignature,
    /// The transaction does not lie under the header's root.
    #[error("the transaction is not the one at position {0} of the author's block")]
    Path(u32),
    /// What the leaf holds is no transaction, which is another fault than the one named.
    #[error("what is shown is no transaction, accepted as bad encoding alone")]
    NoTransaction,
    /// Nothing is wrong.
    #[error("nothing is wrong with the transaction that is shown")]
    Innocent,
    /// Not two headers of one author for one position.
    #[error("the headers are not two of one author for one position")]
    OnePosition,
    /// Not in the canonical order, or equal.
    #[error("the second hash is not above the first")]
    Order,
    /// No voter of this shard.
    #[error("member {0} is no voter, accepted is one")]
    Voter(MemberIndex),
    /// Not two signatures of one phase, height and view.
    #[error(
        "accepted are two votes of one voter to prepare or commit, or two proposals, of one height and view"
    )]
    OneSubject,
    /// Sums of several votes, or votes for a committee of another size or with lists.
    #[error("accepted are two votes of one voter alone, of a committee of {voters} voters with aggregates")]
    Alone {
        /// Voters of the committee.
        voters: usize,
    },
    /// A signature that the voter did not give.
    #[error("the signature of a vote does not verify")]
    VoteSignature,
}

/// Evidence against transactions of an author's block, hashed once for all of them; positions that it does not have are
/// left out. `bytes` is the header's own body, whose transactions can be cut apart.
#[must_use]
pub fn of_transactions(
    header: &SignedAuthorHeader,
    bytes: &[u8],
    positions: &[u32],
    fault: TxFault,
) -> Vec<TxEvidence> {
    let (entries, leaves) = cut(bytes);
    let places: Vec<_> = positions.iter().map(|position| *position as usize).collect();
    let paths = merkle::paths(&leaves, &places).into_iter();
    paths
        .filter_map(|path| {
            let (entry, body_bytes) = entries.get(path.index as usize)?;
            let start = entry.offset as usize;
            let (body, signatures) = bytes
                .get(start..start + usize::from(entry.len))?
                .split_at_checked(*body_bytes)?;
            Some(TxEvidence {
                fault,
                header: header.clone(),
                body: body.to_vec(),
                signatures: signatures.to_vec(),
                path,
            })
        })
        .collect()
}

/// [`of_transactions`] against one; `None` without such a position.
#[must_use]
pub fn of_transaction(
    header: &SignedAuthorHeader,
    bytes: &[u8],
    position: u32,
    fault: TxFault,
) -> Option<TxEvidence> {
    of_transactions(header, bytes, &[position], fault).pop()
}

/// Transactions of a body with the bytes before their signatures, and their leaves; ends where none can be cut off.
fn cut(bytes: &[u8]) -> (Vec<(TxEntry, usize)>, Vec<Hash>) {
    let (mut entries, mut leaves) = (Vec::new(), Vec::new());
    let mut rest = bytes.get(COUNT_BYTES..).unwrap_or_default();
    while let Ok((view, _, after)) = TxView::cut_prefix(rest) {
        let body = view.body();
        let id = txid(body);
        leaves.push(leaf(&id, &view.bytes()[body.len()..]));
        let entry = TxEntry {
            txid: id,
            offset: (bytes.len() - rest.len()) as u32,
            len: view.bytes().len() as u16,
        };
        entries.push((entry, body.len()));
        rest = after;
    }
    (entries, leaves)
}

fn leaf(id: &TxId, signatures: &[u8]) -> Hash {
    merkle::leaf_of(&[&id.0, signatures])
}

/// Two headers as evidence, in the canonical order; `None` when they do not contradict each other (F4).
#[must_use]
pub fn of_headers(one: &SignedAuthorHeader, other: &SignedAuthorHeader) -> Option<TwoHeaders> {
    let swap = author_header_hash(&one.header) > author_header_hash(&other.header);
    let (first, second) = if swap { (other, one) } else { (one, other) };
    let headers = TwoHeaders {
        first: first.clone(),
        second: second.clone(),
    };
    contradicts(&headers).is_ok().then_some(headers)
}

/// Two votes as evidence, in the canonical order; `None` when they do not contradict each other (F7).
#[must_use]
pub fn of_votes(one: &types::message::Vote, other: &types::message::Vote) -> Option<TwoVotes> {
    let swap = one.subject.hash > other.subject.hash;
    let (first, second) = if swap { (other, one) } else { (one, other) };
    let votes = TwoVotes {
        first: first.clone(),
        second: second.clone(),
    };
    excludes(&votes).is_ok().then_some(votes)
}

/// Two votes of a committee with aggregates as evidence, in the canonical order; `None` when they do not contradict
/// each other, or either is a sum (F7).
#[must_use]
pub fn of_partials(one: &Partial, other: &Partial) -> Option<TwoPartials> {
    let swap = one.subject.hash > other.subject.hash;
    let (first, second) = if swap { (other, one) } else { (one, other) };
    let partials = TwoPartials {
        first: first.clone(),
        second: second.clone(),
    };
    excludes_alone(&partials).ok()?.map(|_| partials)
}

/// Judges evidence: who is at fault.
///
/// F3 hangs on the state, which is judged by replay: here it is only made sure that the author put the transaction into
/// its block. Only blocks of two leagues are judged: in mode 1 every signature is checked before a block is voted for.
///
/// # Errors
/// Names the first thing that does not hold.
pub fn verify(
    scheme: Scheme,
    context: &SigningContext,
    committee: &Committee,
    epoch: &EpochConfig,
    evidence: &Evidence,
) -> Result<Accused, EvidenceError> {
    match evidence {
        Evidence::Transaction(evidence) => {
            let accused = author(scheme, context, committee, epoch, &evidence.header)?;
            is_inside(evidence)?;
            is_faulty(scheme, committee, epoch, evidence)?;
            Ok(accused)
        }
        Evidence::Headers(headers) => {
            contradicts(headers)?;
            author(scheme, context, committee, epoch, &headers.second)?;
            author(scheme, context, committee, epoch, &headers.first)
        }
        Evidence::Votes(votes) => {
            excludes(votes)?;
            let member = votes.first.member;
            if !committee.is_voter(member) {
                return Err(EvidenceError::Voter(member));
            }
            let signed = |vote| verify_vote(scheme, context, committee, vote);
            if !signed(&votes.first) || !signed(&votes.second) {
                return Err(EvidenceError::VoteSignature);
            }
            Ok(Accused { member })
        }
        Evidence::Partials(partials) => {
            let member = voted_twice(scheme, context, committee, partials)?;
            Ok(Accused { member })
        }
    }
}

/// Who of a committee with aggregates cast both votes.
fn voted_twice(
    scheme: Scheme,
    context: &SigningContext,
    committee: &Committee,
    partials: &TwoPartials,
) -> Result<MemberIndex, EvidenceError> {
    let voters = committee.size();
    let member = excludes_alone(partials)?.ok_or(EvidenceError::Alone { voters })?;
    if !committee.is_voter(member) {
        return Err(EvidenceError::Voter(member));
    }
    let both = [&partials.first, &partials.second];
    let key = committee.voting_keys.get(usize::from(member.0));
    let fits = committee.is_aggregated() && both.iter().all(|one| usize::from(one.committee) == voters);
    let Some(key) = key.filter(|_| fits) else {
        return Err(EvidenceError::Alone { voters });
    };
    let signed = |one: &Partial| verify_single(scheme, context, key, &one.subject, &one.signature);
    if both.into_iter().all(signed) {
        Ok(member)
    } else {
        Err(EvidenceError::VoteSignature)
    }
}

/// Who signed a header: a candidate of this shard, for a group that candidates serve.
fn author(
    scheme: Scheme,
    context: &SigningContext,
    committee: &Committee,
    epoch: &EpochConfig,
    signed: &SignedAuthorHeader,
) -> Result<Accused, EvidenceError> {
    let header = &signed.header;
    if (header.shard, header.epoch, header.term) != (committee.shard, epoch.epoch, 0) {
        return Err(EvidenceError::Place { shard: header.shard });
    }
    let seats = epoch.policy.seats();
    if header.group >= seats {
        return Err(EvidenceError::Group {
            group: header.group,
            seats,
        });
    }
    let member = committee.member_of(header.author);
    let member = member.filter(|member| !committee.is_voter(*member));
    let (Some(member), Some(key)) = (member, member.and_then(|member| committee.key(member))) else {
        return Err(EvidenceError::Author(header.author));
    };
    if !verify_author_header(scheme, context, key, signed) {
        return Err(EvidenceError::HeaderSignature);
    }
    Ok(Accused { member })
}

/// Whether the header's root covers what is shown.
fn is_inside(evidence: &TxEvidence) -> Result<(), EvidenceError> {
    let leaf = leaf(&txid(&evidence.body), &evidence.signatures);
    if merkle::verify(&evidence.header.header.tx_root, &leaf, &evidence.path) {
        Ok(())
    } else {
        Err(EvidenceError::Path(evidence.path.index))
    }
}

fn is_faulty(
    scheme: Scheme,
    committee: &Committee,
    epoch: &EpochConfig,
    evidence: &TxEvidence,
) -> Result<(), EvidenceError> {
    let bytes = [&evidence.body[..], &evidence.signatures].concat();
    // The signatures begin where the leaf says: what is hashed as the body is the body.
    let view = TxView::decode(&bytes)
        .ok()
        .filter(|view| view.body().len() == evidence.body.len());
    let faulty = match (evidence.fault, view) {
        (TxFault::Encoding, view) => view.is_none(),
        (_, None) => return Err(EvidenceError::NoTransaction),
        (TxFault::Signature, Some(view)) => has_bad_signature(scheme, &epoch.genesis_hash, &view),
        (TxFault::State, Some(_)) => true,
        (TxFault::Group, Some(view)) => view
            .owners()
            .any(|owner| !is_home(committee, epoch, evidence.header.header.group, &owner)),
    };
    if faulty {
        Ok(())
    } else {
        Err(EvidenceError::Innocent)
    }
}

fn has_bad_signature(scheme: Scheme, genesis: &Hash, view: &TxView<'_>) -> bool {
    let mut jobs = Vec::new();
    push_jobs(&txid(view.body()), view, genesis, &mut jobs);
    jobs.iter()
        .any(|job| !verify::verify(scheme, &job.key, &job.message, &job.signature))
}

/// Whether the author of a group may take what this owner spends (`ios` 1.6, 1.7).
#[must_use]
pub fn is_home(committee: &Committee, epoch: &EpochConfig, group: u16, owner: &Owner) -> bool {
    let (shard, shards) = (committee.shard, epoch.committees.len() as u16);
    shard_of(owner, shards) == shard
        && group_of(owner, &epoch.randomness, shard, epoch.policy.seats()) == group
}

fn contradicts(headers: &TwoHeaders) -> Result<(), EvidenceError> {
    let place = |signed: &SignedAuthorHeader| {
        let header = &signed.header;
        (
            header.author,
            header.shard,
            header.epoch,
            header.term,
            header.group,
            header.seq,
        )
    };
    if place(&headers.first) != place(&headers.second) {
        return Err(EvidenceError::OnePosition);
    }
    let hash = |signed: &SignedAuthorHeader| author_header_hash(&signed.header);
    if hash(&headers.first) >= hash(&headers.second) {
        return Err(EvidenceError::Order);
    }
    Ok(())
}

fn excludes(votes: &TwoVotes) -> Result<(), EvidenceError> {
    let phases = [Phase::Prepare, Phase::Commit, Phase::Propose];
    if votes.first.member != votes.second.member {
        return Err(EvidenceError::OneSubject);
    }
    at_one_place(&votes.first.subject, &votes.second.subject, &phases)
}

/// The one voter of both, whose votes exclude each other; none where they are sums.
fn excludes_alone(partials: &TwoPartials) -> Result<Option<MemberIndex>, EvidenceError> {
    let (first, second) = (&partials.first, &partials.second);
    if first.signers != second.signers {
        return Err(EvidenceError::OneSubject);
    }
    at_one_place(&first.subject, &second.subject, &[Phase::Prepare, Phase::Commit])?;
    Ok(first.signers.only())
}

/// Two hashes in the canonical order at one of these phases, one height and view.
fn at_one_place(first: &Subject, second: &Subject, phases: &[Phase]) -> Result<(), EvidenceError> {
    let same = (first.phase, first.height, first.view) == (second.phase, second.height, second.view);
    if !same || !phases.contains(&first.phase) {
        return Err(EvidenceError::OneSubject);
    }
    if first.hash >= second.hash {
        return Err(EvidenceError::Order);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
