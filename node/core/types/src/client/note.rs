//! Finality with its proof, as a client receives it.

use crate::block::{BlockRef, CommitProof, FinalHeader, SignedAuthorHeader};
use crate::codec::{Decode, DecodeError, Encode, Reader, encode_items};
use crate::ids::{Hash, Tag, TxId};
use crate::limits::{BATCH_TXS_MAX, BLOCK_REFS_MAX, BLOCK_TXS_MAX, MERKLE_DEPTH_MAX};
use crate::struct_codec;

/// Path of a Merkle leaf to its root (`ios` 0.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MerklePath {
    /// Position of the leaf.
    pub index: u32,
    /// Leaves of the tree; part of the root.
    pub count: u32,
    /// Siblings from the leaf upward.
    pub siblings: Vec<Hash>,
}

impl Encode for MerklePath {
    fn encode(&self, out: &mut Vec<u8>) {
        self.index.encode(out);
        self.count.encode(out);
        (self.siblings.len() as u8).encode(out);
        self.siblings.iter().for_each(|sibling| sibling.encode(out));
    }
}

impl Decode for MerklePath {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (index, count, depth) = (reader.u32()?, reader.u32()?, usize::from(reader.u8()?));
        if depth > MERKLE_DEPTH_MAX {
            return Err(DecodeError::Count {
                what: "siblings",
                count: depth as u64,
                max: MERKLE_DEPTH_MAX as u64,
            });
        }
        Ok(Self {
            index,
            count,
            siblings: reader.items(depth)?,
        })
    }
}

/// Tag of a transaction and its position in the author block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagAt {
    /// Tag.
    pub tag: Tag,
    /// Position in the author block.
    pub position: u16,
}

struct_codec!(TagAt { tag, position });

/// What one author block contributes to a `FinalNote`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteEntry {
    /// Reference, a leaf under `refs_root`.
    pub reference: BlockRef,
    /// Its path.
    pub reference_path: MerklePath,
    /// Excluded bitmap of the reference, empty when nothing is excluded; a leaf under `excluded_root`.
    pub excluded: Vec<u8>,
    /// Its path.
    pub excluded_path: MerklePath,
    /// Author header; its hash is the reference's.
    pub author: SignedAuthorHeader,
    /// Tags of this connection whose transactions are final.
    pub tags: Vec<TagAt>,
}

impl Encode for NoteEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        self.reference.encode(out);
        self.reference_path.encode(out);
        (self.excluded.len() as u16).encode(out);
        out.extend_from_slice(&self.excluded);
        self.excluded_path.encode(out);
        self.author.encode(out);
        (self.tags.len() as u16).encode(out);
        self.tags.iter().for_each(|tag| tag.encode(out));
    }
}

impl Decode for NoteEntry {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let reference = BlockRef::decode(reader)?;
        let reference_path = MerklePath::decode(reader)?;
        let excluded = reader.count16("excluded bitmap", BATCH_TXS_MAX / 8)?;
        let excluded = reader.bytes(excluded)?.to_vec();
        let excluded_path = MerklePath::decode(reader)?;
        let author = SignedAuthorHeader::decode(reader)?;
        let tags = reader.count16("tags", BATCH_TXS_MAX)?;
        Ok(Self {
            reference,
            reference_path,
            excluded,
            excluded_path,
            author,
            tags: reader.items(tags)?,
        })
    }
}

/// 12: transactions of this connection that stand in an author block on which its author staked its bond (`ios` 14.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipts {
    /// Header of the author block.
    pub author: SignedAuthorHeader,
    /// Tags of this connection, with positions in the block.
    pub tags: Vec<TagAt>,
}

impl Encode for Receipts {
    fn encode(&self, out: &mut Vec<u8>) {
        self.author.encode(out);
        (self.tags.len() as u16).encode(out);
        self.tags.iter().for_each(|tag| tag.encode(out));
    }
}

impl Decode for Receipts {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let author = SignedAuthorHeader::decode(reader)?;
        let tags = reader.count16("tags", BATCH_TXS_MAX)?;
        Ok(Self {
            author,
            tags: reader.items(tags)?,
        })
    }
}

/// Outcome of one slow transaction at the height that executed it (`ios` 7.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowEntry {
    /// Tag of this connection.
    pub tag: Tag,
    /// Its id; with the code it is a leaf under `slow_root`.
    pub txid: TxId,
    /// 0 when it took effect, else the reject code.
    pub code: u8,
    /// Path to `slow_root`.
    pub path: MerklePath,
}

struct_codec!(SlowEntry {
    tag,
    txid,
    code,
    path
});

/// 13: transactions of this connection that are final, with the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalNote {
    /// Final header.
    pub header: FinalHeader,
    /// Why it is final.
    pub proof: CommitProof,
    /// By author block.
    pub entries: Vec<NoteEntry>,
    /// Slow transactions that this block executed.
    pub slow: Vec<SlowEntry>,
}

impl Encode for FinalNote {
    fn encode(&self, out: &mut Vec<u8>) {
        self.header.encode(out);
        self.proof.encode(out);
        encode_items(&self.entries, out);
        encode_items(&self.slow, out);
    }
}

impl Decode for FinalNote {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = FinalHeader::decode(reader)?;
        let proof = CommitProof::decode(reader)?;
        let entries = reader.count("entries of a note", BLOCK_REFS_MAX)?;
        let entries = reader.items(entries)?;
        let slow = reader.count("slow transactions of a note", BLOCK_TXS_MAX)?;
        Ok(Self {
            header,
            proof,
            entries,
            slow: reader.items(slow)?,
        })
    }
}
