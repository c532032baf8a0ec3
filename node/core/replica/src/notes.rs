//! Answers to clients when a block becomes final: one note for each connection, with proof (`ios` 14.2).

use std::collections::BTreeMap;

use crypto::merkle;
use ledger::{BatchOutcome, Exclusion};
use types::block::{Block, BlockRef, CommitProof, SignedAuthorHeader};
use types::client::{FinalNote, NoteEntry, Refused, TagAt};
use types::limits::{BATCH_TXS_MAX, CLIENT_FRAME_BYTES_MAX};
use types::{ConnectionId, Reject, Tag, TxId};

use crate::author::Asker;

/// Author blocks of one note: at most 26 KiB each, so that a note fits a client's frame of 1 MiB.
const ENTRIES_MAX: usize = 32;

const _: () = assert!(
    ENTRIES_MAX * (46 + 2 * (9 + 32 * 11) + BATCH_TXS_MAX / 8 + 183 + 4 + 6 * BATCH_TXS_MAX) + (64 << 10)
        < CLIENT_FRAME_BYTES_MAX,
    "a note with its header and proof fits one frame"
);

/// An own author block that a final block includes.
#[derive(Debug)]
pub(crate) struct OwnIncluded {
    /// Position among the references.
    pub(crate) position: usize,
    pub(crate) author: SignedAuthorHeader,
    /// Transactions in order, with who asked.
    pub(crate) txs: Vec<(TxId, Option<Asker>)>,
}

/// What clients are told about one final block.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) notes: Vec<(ConnectionId, FinalNote)>,
    pub(crate) refused: Vec<(ConnectionId, Refused)>,
    /// Transactions that were excluded: what waits for their outputs is refused.
    pub(crate) excluded: Vec<TxId>,
}

/// Code that a client is answered with for an excluded transaction.
const fn reject_of(exclusion: &Exclusion) -> Reject {
    match exclusion {
        Exclusion::Reject(reject) => *reject,
        Exclusion::Duplicate => Reject::InputSpent,
    }
}

/// Splits the transactions of own included blocks into final and refused ones, by connection.
pub(crate) fn build(
    block: &Block,
    proof: &CommitProof,
    outcomes: &[BatchOutcome],
    own: &[OwnIncluded],
) -> Notes {
    let mut notes = Notes::default();
    if own.is_empty() {
        return notes;
    }
    let ref_leaves: Vec<_> = block.refs.iter().map(merkle::ref_leaf).collect();
    let excluded_leaves: Vec<_> = outcomes
        .iter()
        .map(|outcome| merkle::excluded_leaf(&outcome.excluded))
        .collect();
    let mut entries: BTreeMap<ConnectionId, Vec<NoteEntry>> = BTreeMap::new();
    for included in own {
        let (Some(reference), Some(outcome)) =
            (block.refs.get(included.position), outcomes.get(included.position))
        else {
            continue;
        };
        let mut reasons = outcome.reasons.iter().peekable();
        let mut tags: BTreeMap<ConnectionId, Vec<TagAt>> = BTreeMap::new();
        for (position, (txid, asker)) in included.txs.iter().enumerate() {
            let reason = reasons
                .next_if(|(at, _)| usize::from(*at) == position)
                .map(|(_, exclusion)| reject_of(exclusion));
            if reason.is_some() {
                notes.excluded.push(*txid);
            }
            let Some(Asker { connection, tag, .. }) = *asker else {
                continue;
            };
            match reason {
                Some(reason) => notes.refused.push((connection, Refused { tag, reason })),
                None => tags.entry(connection).or_default().push(tag_at(tag, position)),
            }
        }
        for (connection, tags) in tags {
            let entry = entry(
                reference,
                included,
                outcome,
                (&ref_leaves, &excluded_leaves),
                tags,
            );
            entries.entry(connection).or_default().push(entry);
        }
    }
    let note = |entries| FinalNote {
        header: block.header.clone(),
        proof: proof.clone(),
        entries,
        slow: Vec::new(),
    };
    notes.notes = entries
        .into_iter()
        .map(|(connection, entries)| (connection, note(entries)))
        .collect();
    notes
}

const fn tag_at(tag: Tag, position: usize) -> TagAt {
    TagAt {
        tag,
        position: position as u16,
    }
}

fn entry(
    reference: &BlockRef,
    included: &OwnIncluded,
    outcome: &BatchOutcome,
    (ref_leaves, excluded_leaves): (&[types::Hash], &[types::Hash]),
    tags: Vec<TagAt>,
) -> NoteEntry {
    NoteEntry {
        reference: reference.clone(),
        reference_path: merkle::path(ref_leaves, included.position).unwrap_or_default(),
        excluded: outcome.excluded.clone(),
        excluded_path: merkle::path(excluded_leaves, included.position).unwrap_or_default(),
        author: included.author.clone(),
        tags,
    }
}
