//! Bodies of author blocks: building one, reading one of a peer, and the signatures that it asks to check.

use bytes::Bytes;
use types::block::{AuthorHeader, Body, TxEntry};
use types::limits::{BATCH_BYTES_MAX, BATCH_TXS_MAX, TX_BYTES_MIN};
use types::transaction::TxView;
use types::{Hash, Reject, TxId};

use crate::hash::{sighash, txid};
use crate::merkle;
use crate::verify::SignatureJob;

/// Bytes of a body before its first transaction: the count.
pub const COUNT_BYTES: usize = 4;

/// Why the bytes are not the body of a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Size differs from the header's, or is out of bounds.
    #[error(
        "body of {found} bytes, accepted are the header's {stated}, from {COUNT_BYTES} to {BATCH_BYTES_MAX}"
    )]
    Bytes {
        /// Bytes of the body.
        found: usize,
        /// What the header states.
        stated: u32,
    },
    /// Count differs from the header's, or is above the limit.
    #[error("body counts {found} transactions, accepted are the header's {stated}, at most {BATCH_TXS_MAX}")]
    Count {
        /// Count in the body.
        found: u32,
        /// What the header states.
        stated: u32,
    },
    /// Where a transaction ends cannot be told.
    #[error("transaction at position {position}: {reject}")]
    Transaction {
        /// Position.
        position: u32,
        /// Why.
        reject: Reject,
    },
    /// The header's own body holds a transaction that breaks a rule: its author answers for it (`ios` 7.7, F2).
    #[error("the author put a transaction at position {position} that no author may take: {reject}")]
    Rule {
        /// Position of the first one.
        position: u32,
        /// Why.
        reject: Reject,
    },
    /// Bytes after the last transaction.
    #[error("{extra} bytes after the last transaction")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A transaction twice.
    #[error("transaction {0} stands twice in the body")]
    Duplicate(TxId),
    /// Not the transactions that the header speaks of.
    #[error("Merkle root {found} of the transactions, accepted is the header's {stated}")]
    Root {
        /// Root of what the body holds.
        found: Hash,
        /// What the header states.
        stated: Hash,
    },
}

/// Reads a peer's body and holds it against its header; signatures are not checked.
///
/// The entries refer to `bytes`, which are kept and not copied.
///
/// # Errors
/// Names the first thing that is not as the header says; of a body that is the header's own, the first thing that is
/// not canonical.
pub fn decode(header: &AuthorHeader, bytes: Bytes) -> Result<Body, BodyError> {
    let (found, stated) = (bytes.len(), header.body_bytes);
    let count = bytes
        .first_chunk::<COUNT_BYTES>()
        .filter(|_| found <= BATCH_BYTES_MAX && found == stated as usize);
    let count = u32::from_le_bytes(*count.ok_or(BodyError::Bytes { found, stated })?);
    if count != header.tx_count || count as usize > BATCH_TXS_MAX {
        return Err(BodyError::Count {
            found: count,
            stated: header.tx_count,
        });
    }
    // As many as the bytes can hold, whatever the count says.
    let room = (count as usize).min(found / TX_BYTES_MIN);
    let mut entries = Vec::with_capacity(room);
    let mut leaves = Vec::with_capacity(room);
    let mut rest = &bytes[COUNT_BYTES..];
    let mut broken = None;
    for position in 0..count {
        let refused = |reject| BodyError::Transaction { position, reject };
        let (view, rule, after) = TxView::cut_prefix(rest).map_err(refused)?;
        if let (None, Some(reject)) = (&broken, rule) {
            broken = Some(BodyError::Rule { position, reject });
        }
        let (entry, leaf) = entry(&view, found - rest.len());
        entries.push(entry);
        leaves.push(leaf);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(BodyError::Trailing { extra: rest.len() });
    }
    let (found, stated) = (merkle::root(&leaves), header.tx_root);
    if found != stated {
        return Err(BodyError::Root { found, stated });
    }
    if let Some(broken) = broken {
        return Err(broken);
    }
    if let Some(twice) = first_duplicate(&entries) {
        return Err(BodyError::Duplicate(twice));
    }
    Ok(Body::new(bytes, entries))
}

fn entry(view: &TxView<'_>, offset: usize) -> (TxEntry, Hash) {
    let (all, body) = (view.bytes(), view.body());
    let txid = txid(body);
    let leaf = merkle::leaf_of(&[&txid.0, &all[body.len()..]]);
    (
        TxEntry {
            txid,
            offset: offset as u32,
            len: all.len() as u16,
        },
        leaf,
    )
}

/// By sorting: no hash map whose collisions a peer could choose.
fn first_duplicate(entries: &[TxEntry]) -> Option<TxId> {
    let mut ids: Vec<&TxId> = entries.iter().map(|entry| &entry.txid).collect();
    ids.sort_unstable();
    ids.windows(2)
        .find(|pair| pair[0] == pair[1])
        .map(|pair| *pair[0])
}

/// Leaf of a transaction under `tx_root`: `H_leaf(txid || signatures)` (`ios` 7.4).
#[must_use]
pub fn tx_leaf(txid: &TxId, view: &TxView<'_>) -> Hash {
    merkle::leaf_of(&[&txid.0, &view.bytes()[view.body().len()..]])
}

/// Leaves of all transactions, in order: what a client's Merkle path starts from.
#[must_use]
pub fn tx_leaves(body: &Body) -> Vec<Hash> {
    body.txs().map(|(txid, view)| tx_leaf(&txid, &view)).collect()
}

/// An author's own body, with its `tx_root`, of transactions that passed admission.
///
/// # Panics
/// When bytes are not a canonical transaction: a mistake of the caller.
#[must_use]
pub fn build(txs: &[(TxId, Bytes)]) -> (Body, Hash) {
    let len = COUNT_BYTES + txs.iter().map(|(_, tx)| tx.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&(txs.len() as u32).to_le_bytes());
    let mut entries = Vec::with_capacity(txs.len());
    let mut leaves = Vec::with_capacity(txs.len());
    for (txid, tx) in txs {
        let view = TxView::decode_checked_before(tx).expect("admission decoded the transaction");
        entries.push(TxEntry {
            txid: *txid,
            offset: bytes.len() as u32,
            len: tx.len() as u16,
        });
        leaves.push(tx_leaf(txid, &view));
        bytes.extend_from_slice(tx);
    }
    (Body::new(bytes.into(), entries), merkle::root(&leaves))
}

/// The signatures of the transactions at these positions, in order and in each by owner, and for each signature the
/// position of its transaction.
///
/// # Panics
/// When a position is not in the body: a mistake of the caller.
#[must_use]
pub fn signature_jobs(
    body: &Body,
    positions: impl IntoIterator<Item = u32>,
    genesis: &Hash,
) -> (Vec<SignatureJob>, Vec<u32>) {
    let positions = positions.into_iter();
    let room = positions.size_hint().0;
    let (mut jobs, mut of_job) = (Vec::with_capacity(room), Vec::with_capacity(room));
    for position in positions {
        let place = position as usize;
        push_jobs(&body.entries()[place].txid, &body.tx(place), genesis, &mut jobs);
        of_job.resize(jobs.len(), position);
    }
    (jobs, of_job)
}

/// Appends the signatures of one transaction, one for each owner.
pub fn push_jobs(txid: &TxId, view: &TxView<'_>, genesis: &Hash, jobs: &mut Vec<SignatureJob>) {
    let message = sighash(genesis, txid);
    let signed = view.owners().zip(view.signatures());
    jobs.extend(signed.map(|(owner, signature)| SignatureJob {
        key: owner.0,
        message,
        signature,
    }));
}

#[cfg(test)]
mod tests;
