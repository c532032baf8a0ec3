//! Merkle trees (`ios` 0.6): leaves and nodes under their own contexts, an odd node is promoted, and the number of
//! leaves is part of the root, so that no inner node can pass for a leaf and no tree for another.

use types::block::BlockRef;
use types::block_record::Record;
use types::client::MerklePath;
use types::codec::Encode;
use types::{Hash, TxId};

use crate::context;

/// Root of no leaves: a count of zero over a top of zeros.
pub const EMPTY: Hash = Hash([
    135, 53, 141, 49, 182, 149, 222, 15, 18, 119, 29, 25, 185, 101, 47, 133, 205, 149, 125, 78, 153, 186,
    168, 54, 114, 11, 18, 101, 26, 40, 29, 228,
]);

/// `H_leaf(bytes)`.
#[must_use]
pub fn leaf(bytes: &[u8]) -> Hash {
    context::LEAF.digest(&[bytes])
}

/// Leaf over parts, as if they were one piece.
pub(crate) fn leaf_of(parts: &[&[u8]]) -> Hash {
    context::LEAF.digest(parts)
}

fn node(left: &Hash, right: &Hash) -> Hash {
    context::NODE.digest(&[&left.0, &right.0])
}

fn seal(count: usize, top: &Hash) -> Hash {
    context::NODE.digest(&[&(count as u64).to_le_bytes(), &top.0])
}

/// The level above: pairs are hashed, an odd last one is promoted.
fn parents(level: &[Hash]) -> Vec<Hash> {
    let (pairs, odd) = level.as_chunks::<2>();
    pairs
        .iter()
        .map(|[left, right]| node(left, right))
        .chain(odd.iter().copied())
        .collect()
}

/// Root over leaf hashes; [`EMPTY`] for none.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    if leaves.is_empty() {
        return EMPTY;
    }
    let mut level = leaves.to_vec();
    let mut width = level.len();
    while width > 1 {
        // In place: the parent of pair `i` lands on `i`, which no later pair reads.
        for pair in 0..width / 2 {
            level[pair] = node(&level[2 * pair], &level[2 * pair + 1]);
        }
        if width % 2 == 1 {
            level[width / 2] = level[width - 1];
        }
        width = width.div_ceil(2);
    }
    seal(leaves.len(), &level[0])
}

/// Path of the leaf at `index`, for a tree over these leaf hashes; `None` when there is no such leaf.
#[must_use]
pub fn path(leaves: &[Hash], index: usize) -> Option<MerklePath> {
    paths(leaves, &[index]).pop()
}

/// Paths of several leaves of one tree, hashed once; positions without a leaf are left out.
#[must_use]
pub fn paths(leaves: &[Hash], indices: &[usize]) -> Vec<MerklePath> {
    let mut levels = vec![leaves.to_vec()];
    while let Some(level) = levels.last().filter(|level| level.len() > 1) {
        levels.push(parents(level));
    }
    let within = indices.iter().copied().filter(|index| *index < leaves.len());
    within
        .map(|index| MerklePath {
            index: index as u32,
            count: leaves.len() as u32,
            siblings: levels
                .iter()
                .enumerate()
                .filter_map(|(depth, level)| level.get((index >> depth) ^ 1).copied())
                .collect(),
        })
        .collect()
}

/// Whether `path` leads from the leaf hash to the root: the position lies in the tree, and there are exactly the
/// siblings that the position has.
#[must_use]
pub fn verify(root: &Hash, leaf: &Hash, path: &MerklePath) -> bool {
    if path.index >= path.count {
        return false;
    }
    let (mut at, mut width) = (path.index, path.count);
    let mut top = *leaf;
    let mut siblings = path.siblings.iter();
    while width > 1 {
        // The last of an odd level has no sibling and is promoted.
        if at ^ 1 < width {
            let Some(sibling) = siblings.next() else {
                return false;
            };
            top = if at & 1 == 0 {
                node(&top, sibling)
            } else {
                node(sibling, &top)
            };
        }
        at /= 2;
        width = width.div_ceil(2);
    }
    siblings.next().is_none() && seal(path.count as usize, &top) == *root
}

/// Leaf of a reference: `H_leaf` of its 46 bytes.
#[must_use]
pub fn ref_leaf(reference: &BlockRef) -> Hash {
    leaf(&reference.to_bytes())
}

/// `refs_root` of a final header.
#[must_use]
pub fn refs_root(refs: &[BlockRef]) -> Hash {
    root(&refs.iter().map(ref_leaf).collect::<Vec<_>>())
}

/// Leaf of one reference's excluded bitmap, which is empty when none is excluded.
#[must_use]
pub fn excluded_leaf(bitmap: &[u8]) -> Hash {
    leaf(bitmap)
}

/// `excluded_root` of a final header: leaf `i` is the bitmap of reference `i`.
#[must_use]
pub fn excluded_root(bitmaps: &[Vec<u8>]) -> Hash {
    root(
        &bitmaps
            .iter()
            .map(|bitmap| excluded_leaf(bitmap))
            .collect::<Vec<_>>(),
    )
}

/// Leaf of a slow transaction's outcome under `slow_root`: `H_leaf(txid || code)`, code 0 when it took effect.
#[must_use]
pub fn slow_leaf(txid: &TxId, code: u8) -> Hash {
    leaf_of(&[&txid.0, &[code]])
}

/// Leaf of a record: `H_leaf` of its encoding, signature included.
#[must_use]
pub fn record_leaf(record: &Record) -> Hash {
    leaf(&record.to_bytes())
}

/// `evidence_root` of a final header.
#[must_use]
pub fn records_root(records: &[Record]) -> Hash {
    root(&records.iter().map(record_leaf).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
