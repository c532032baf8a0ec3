//! Every hash of the protocol: BLAKE3 under the contexts of `ios` 0.6.

use blake3::OutputReader;
use types::block::{AuthorHeader, FinalHeader};
use types::block_record::{AuthorReady, ResetRequest};
use types::codec::Encode;
use types::genesis::{Allocation, Genesis};
use types::message::{NewView, ViewChange};
use types::{Epoch, Hash, Height, OutPoint, ShardId, TxId, ValidatorId};

use crate::context;
pub use crate::merkle::records_root;

/// Id of a transaction: `H_tx` of all bytes before its signatures (`ios` 1.4).
#[must_use]
pub fn txid(body: &[u8]) -> TxId {
    TxId(context::TX.digest(&[body]).0)
}

/// The 32 bytes that every owner of a transaction signs: `H_sighash(genesis || txid)` (`ios` 1.4).
#[must_use]
pub fn sighash(genesis: &Hash, txid: &TxId) -> [u8; 32] {
    context::SIGHASH.digest(&[&genesis.0, &txid.0]).0
}

/// Hash of an author header: `H_opt` of its 119 bytes (`ios` 7.4).
#[must_use]
pub fn author_header_hash(header: &AuthorHeader) -> Hash {
    context::OPT.digest(&[&header.to_bytes()])
}

/// Hash of a final header: `H_final` of its 364 bytes (`ios` 9.3).
#[must_use]
pub fn final_header_hash(header: &FinalHeader) -> Hash {
    context::FINAL.digest(&[&header.to_bytes()])
}

/// Hash of a genesis: plain BLAKE3 of its encoding (`ios` 1.10).
#[must_use]
pub fn genesis_hash(genesis: &Genesis) -> Hash {
    Hash(blake3::hash(&genesis.to_bytes()).into())
}

/// Hash of the allocations: plain BLAKE3 of their count (u32) and encodings (`ios` 0.5, 1.10).
#[must_use]
pub fn allocations_hash(allocations: &[Allocation]) -> Hash {
    // Pieces of 64 KiB: one buffer for any number of allocations, large enough for the wide code paths.
    const PIECE: usize = 1600;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = Vec::with_capacity(PIECE * 40 + 4);
    (allocations.len() as u32).encode(&mut buffer);
    for piece in allocations.chunks(PIECE) {
        piece.iter().for_each(|allocation| allocation.encode(&mut buffer));
        hasher.update(&buffer);
        buffer.clear();
    }
    hasher.update(&buffer);
    Hash(hasher.finalize().into())
}

/// Outpoint of allocation `index`: `(H_tx("genesis" || name || u64 index), 0)` (`ios` 1.10).
#[must_use]
pub fn allocation_outpoint(name: &str, index: u64) -> OutPoint {
    let hash = context::TX.digest(&[b"genesis", name.as_bytes(), &index.to_le_bytes()]);
    OutPoint {
        txid: TxId(hash.0),
        index: 0,
    }
}

/// Hash of a committee: `H_committee(epoch || shard || (id u16, key 32, role u8)*)`, the `voters` first with role 0,
/// then the candidates with role 1 (`ios` 0.7).
#[must_use]
pub fn committee_hash(
    epoch: Epoch,
    shard: ShardId,
    members: &[(ValidatorId, [u8; 32])],
    voters: u16,
) -> Hash {
    let mut bytes = Vec::with_capacity(6 + members.len() * 35);
    epoch.encode(&mut bytes);
    shard.encode(&mut bytes);
    for (position, (id, key)) in members.iter().enumerate() {
        id.encode(&mut bytes);
        key.encode(&mut bytes);
        u8::from(position >= usize::from(voters)).encode(&mut bytes);
    }
    context::COMMITTEE.digest(&[&bytes])
}

/// Effects digest after a height: `H_effects(previous || height || P_0 .. P_63)` (`ios` 0.6).
#[must_use]
pub fn effects_digest(previous: &Hash, height: Height, partitions: &[[u8; 32]; 64]) -> Hash {
    let height = height.0.to_le_bytes();
    context::EFFECTS.digest(&[&previous.0, &height, partitions.as_flattened()])
}

/// Hash of everything in a view change but its signature.
#[must_use]
pub fn view_change_hash(change: &ViewChange) -> Hash {
    without_signature(&context::VIEW_CHANGE, change)
}

/// Hash of everything in an opening of a view but its signature.
#[must_use]
pub fn new_view_hash(opening: &NewView) -> Hash {
    without_signature(&context::NEW_VIEW, opening)
}

/// Hash of everything in a reset request but its signature.
#[must_use]
pub fn reset_hash(request: &ResetRequest) -> Hash {
    without_signature(&context::RESET, request)
}

/// Hash of everything in a candidate's report but its signature.
#[must_use]
pub fn author_ready_hash(ready: &AuthorReady) -> Hash {
    without_signature(&context::READY, ready)
}

/// Rank of a voter for checking a final author block again: `H_evidence(block || id)`; the lowest do (`ios` 7.8).
#[must_use]
pub fn recheck_rank(block: &Hash, voter: ValidatorId) -> Hash {
    context::EVIDENCE.digest(&[&block.0, &voter.0.to_le_bytes()])
}

/// The signature is the last field of every signed message.
fn without_signature<T: Encode>(context: &context::Context, message: &T) -> Hash {
    let mut bytes = message.to_bytes();
    bytes.truncate(bytes.len() - 64);
    context.digest(&[&bytes])
}

/// Draws from a BLAKE3 output stream (`ios` 0.8). Holds no floats: every node draws the same numbers.
#[derive(Clone, Debug)]
pub struct Xof {
    stream: OutputReader,
    /// One block of the stream: asking for eight bytes would compute all 64 every time.
    block: [u8; 64],
    /// Bytes of the block that are used up.
    used: usize,
}

impl Xof {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: &Hash) -> Self {
        Self {
            stream: blake3::Hasher::new().update(&seed.0).finalize_xof(),
            block: [0; 64],
            used: 64,
        }
    }

    /// The next eight bytes, little-endian.
    pub fn next_u64(&mut self) -> u64 {
        if self.used == self.block.len() {
            self.stream.fill(&mut self.block);
            self.used = 0;
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.block[self.used..self.used + 8]);
        self.used += 8;
        u64::from_le_bytes(bytes)
    }

    /// A number below `bound`, each equally likely, by rejection; 0 for a bound of 0 or 1, which draw as any other.
    pub fn uniform(&mut self, bound: u64) -> u64 {
        let bound = bound.max(1);
        // 2^64 mod bound numbers at the top would make the low residues likelier.
        let excess = (u64::MAX % bound + 1) % bound;
        loop {
            let drawn = self.next_u64();
            if drawn <= u64::MAX - excess {
                return drawn % bound;
            }
        }
    }

    /// A permutation of `0..count` by Fisher-Yates, high index downward.
    pub fn permutation(&mut self, count: u16) -> Vec<u16> {
        let mut order: Vec<u16> = (0..count).collect();
        for high in (1..order.len()).rev() {
            let low = self.uniform(high as u64 + 1) as usize;
            order.swap(low, high);
        }
        order
    }
}

#[cfg(test)]
mod tests;
