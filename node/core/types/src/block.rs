//! Author blocks (batches of transactions) and final blocks (ordered references to them).

use bytes::Bytes;

use crate::block_record::Record;
use crate::certificate::Certificate;
use crate::codec::{Decode, DecodeError, Encode, Reader, encode_items};
use crate::ids::{Epoch, Hash, Height, ShardId, Signature, TxId, ValidatorId, View};
use crate::limits::{BATCH_TXS_MAX, BLOCK_RECORDS_MAX, BLOCK_REFS_MAX, DESCENDANTS_MAX};
use crate::struct_codec;
use crate::transaction::TxView;

/// Format version of author blocks and final headers.
pub const BLOCK_VERSION: u8 = 1;
/// Mode 0: two leagues, believable authors and voters that sample (`ios` 7).
pub const MODE_TWO_LEAGUES: u8 = 0;
/// Mode 1: one league, every voter is a batch author (`ios` 10.3).
pub const MODE_ONE_LEAGUE: u8 = 1;
/// Group number of member 0 in mode 1; member `i` writes `0x8000 + i` (`ios` 10.3).
pub const GROUP_ONE_LEAGUE: u16 = 0x8000;

/// Position of an author block: run in the high 16 bits, number inside the run in the low 48 (`ios` 7.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSeq(pub u64);

impl BlockSeq {
    /// First block of a run.
    #[must_use]
    pub const fn start_of(run: u16) -> Self {
        Self((run as u64) << 48)
    }

    /// The run.
    #[must_use]
    pub const fn run(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// The number inside the run.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 & ((1 << 48) - 1)
    }

    /// The block after this one in the same run; the last number of all stays what it is.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Header of an author block, 119 bytes (`ios` 7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorHeader {
    /// `BLOCK_VERSION`.
    pub version: u8,
    /// Shard.
    pub shard: ShardId,
    /// Epoch.
    pub epoch: Epoch,
    /// Term, 0 in the first version.
    pub term: u32,
    /// Group: `0x8000 + member` in mode 1.
    pub group: u16,
    /// Run and number.
    pub seq: BlockSeq,
    /// Hash of the author's block before this one; genesis hash for the first of run 0, the last included
    /// block's hash (or genesis) for the first of a later run.
    pub prev: Hash,
    /// Merkle root over `txid || signatures`.
    pub tx_root: Hash,
    /// Number of transactions.
    pub tx_count: u32,
    /// Bytes of the body.
    pub body_bytes: u32,
    /// Highest height that the author knew final; checks refer to it.
    pub base_height: Height,
    /// Sum of the outputs' amounts, saturating; informative in mode 1.
    pub value: u64,
    /// Author.
    pub author: ValidatorId,
    /// Author's clock, nanoseconds since the UNIX epoch; informative.
    pub timestamp: u64,
}

struct_codec!(AuthorHeader {
    version,
    shard,
    epoch,
    term,
    group,
    seq,
    prev,
    tx_root,
    tx_count,
    body_bytes,
    base_height,
    value,
    author,
    timestamp,
});

impl Encode for BlockSeq {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for BlockSeq {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.u64().map(Self)
    }
}

/// Header with its author's signature, 183 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAuthorHeader {
    /// Header.
    pub header: AuthorHeader,
    /// Signature of the author's id key over the header's hash.
    pub signature: Signature,
}

struct_codec!(SignedAuthorHeader { header, signature });

/// Where a transaction stands in a body, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxEntry {
    /// Id.
    pub txid: TxId,
    /// Offset of the first byte in the body.
    pub offset: u32,
    /// Bytes, signatures included.
    pub len: u16,
}

/// A body that was decoded once: the bytes as they travel, and where each transaction stands.
///
/// Invariant: every entry's bytes were accepted by [`TxView::decode`]; `crypto::body` is what builds it from
/// bytes of a peer, an author's own cut builds it from transactions that were checked at admission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    bytes: Bytes,
    entries: Vec<TxEntry>,
}

impl Body {
    /// Takes bytes and entries that fit together.
    #[must_use]
    pub fn new(bytes: Bytes, entries: Vec<TxEntry>) -> Self {
        debug_assert!(entries.len() <= BATCH_TXS_MAX, "a body is bounded");
        Self { bytes, entries }
    }

    /// The bytes as they travel: count u32, then the transactions.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where each transaction stands.
    #[must_use]
    pub fn entries(&self) -> &[TxEntry] {
        &self.entries
    }

    /// Number of transactions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True for a heartbeat block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The transaction at a position of this body.
    ///
    /// # Panics
    /// When the position is not below `len`: a mistake of the caller.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "no bytes from outside decide here: positions are ours, entries were decoded when the body was built"
    )]
    pub fn tx(&self, position: usize) -> TxView<'_> {
        let entry = &self.entries[position];
        let start = entry.offset as usize;
        TxView::decode_checked_before(&self.bytes[start..start + usize::from(entry.len)])
            .expect("entries were decoded when the body was built")
    }

    /// All transactions with their ids, in order.
    pub fn txs(&self) -> impl Iterator<Item = (TxId, TxView<'_>)> {
        self.entries
            .iter()
            .enumerate()
            .map(|(position, entry)| (entry.txid, self.tx(position)))
    }
}

/// A final block's reference to one author block, 46 bytes (`ios` 7.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Group of the author.
    pub group: u16,
    /// Run and number.
    pub seq: BlockSeq,
    /// Hash of the author block's header.
    pub hash: Hash,
    /// Number of transactions.
    pub tx_count: u32,
}

struct_codec!(BlockRef {
    group,
    seq,
    hash,
    tx_count
});

/// Header of a final block, 364 bytes (`ios` 9.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalHeader {
    /// `BLOCK_VERSION`.
    pub version: u8,
    /// 0 two leagues, 1 one league.
    pub mode: u8,
    /// Shard.
    pub shard: ShardId,
    /// Epoch.
    pub epoch: Epoch,
    /// Term.
    pub term: u32,
    /// Height, one above the parent's.
    pub height: Height,
    /// View of the first proposal of this block.
    pub view: View,
    /// Hash of the parent's header; genesis hash at height 1.
    pub prev: Hash,
    /// Merkle root of the references.
    pub refs_root: Hash,
    /// Merkle root of the excluded bitmaps, leaf `i` for reference `i`, empty when none is excluded.
    pub excluded_root: Hash,
    /// Merkle root of slow-lane results; of nothing in the first version.
    pub slow_root: Hash,
    /// Merkle root of the inbox; of nothing until cross-shard commit.
    pub inbox_root: Hash,
    /// Merkle root of the outbox; of nothing until cross-shard commit.
    pub outbox_root: Hash,
    /// Merkle root of the records.
    pub evidence_root: Hash,
    /// Transactions of all references, excluded ones included.
    pub tx_count: u32,
    /// Effects digest after this block (`ios` 0.6).
    pub state_digest: Hash,
    /// Hash of the committee.
    pub committee_hash: Hash,
    /// Always 0 (`ios` 20.4).
    pub beacon_height: Height,
    /// Always zero (`ios` 20.4).
    pub beacon_hash: Hash,
    /// Above the parent's; nanoseconds since the UNIX epoch by the leader's clock, informative.
    pub timestamp: u64,
}

struct_codec!(FinalHeader {
    version,
    mode,
    shard,
    epoch,
    term,
    height,
    view,
    prev,
    refs_root,
    excluded_root,
    slow_root,
    inbox_root,
    outbox_root,
    evidence_root,
    tx_count,
    state_digest,
    committee_hash,
    beacon_height,
    beacon_hash,
    timestamp,
});

/// What a leader proposes: a header and all that its roots cover, except bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Header.
    pub header: FinalHeader,
    /// References in the order in which they are applied.
    pub refs: Vec<BlockRef>,
    /// Bitmaps of the transactions that take no effect, by reference, empty where all do; under `excluded_root`.
    pub excluded: Vec<Vec<u8>>,
    /// Records, under `evidence_root`.
    pub records: Vec<Record>,
}

impl Encode for Block {
    fn encode(&self, out: &mut Vec<u8>) {
        self.header.encode(out);
        encode_items(&self.refs, out);
        for bitmap in &self.excluded {
            (bitmap.len() as u16).encode(out);
            out.extend_from_slice(bitmap);
        }
        encode_items(&self.records, out);
    }
}

impl Decode for Block {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = FinalHeader::decode(reader)?;
        let refs = reader.count("references", BLOCK_REFS_MAX)?;
        let refs: Vec<BlockRef> = reader.items(refs)?;
        let mut excluded = Vec::with_capacity(refs.len());
        for _ in &refs {
            let bytes = reader.count16("excluded bitmap", BATCH_TXS_MAX / 8)?;
            excluded.push(reader.bytes(bytes)?.to_vec());
        }
        let records = reader.count("records", BLOCK_RECORDS_MAX)?;
        Ok(Self {
            header,
            refs,
            excluded,
            records: reader.items(records)?,
        })
    }
}

/// A final block with the certificate that makes it final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedBlock {
    /// Block.
    pub block: Block,
    /// Commit certificate of this block, or of the nearest descendant that has one.
    pub proof: CommitProof,
}

/// Why a block is final: a commit certificate over itself or over a descendant (`ios` 9.6: it commits every
/// ancestor).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitProof {
    /// Height of the certified block.
    pub height: Height,
    /// Hash of the certified block.
    pub hash: Hash,
    /// Headers from the one after this block up to the certified one; empty when the block itself is certified.
    pub descendants: Vec<FinalHeader>,
    /// Commit certificate.
    pub certificate: Certificate,
}

impl Encode for CommitProof {
    fn encode(&self, out: &mut Vec<u8>) {
        self.height.encode(out);
        self.hash.encode(out);
        encode_items(&self.descendants, out);
        self.certificate.encode(out);
    }
}

impl Decode for CommitProof {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (height, hash) = (Height::decode(reader)?, Hash::decode(reader)?);
        let descendants = reader.count("descendants", DESCENDANTS_MAX)?;
        Ok(Self {
            height,
            hash,
            descendants: reader.items(descendants)?,
            certificate: Certificate::decode(reader)?,
        })
    }
}

struct_codec!(CommittedBlock { block, proof });

#[cfg(test)]
mod tests {
    use super::{AuthorHeader, BlockSeq, FinalHeader};
    use crate::codec::{Decode, DecodeError, Encode};

    #[test]
    fn headers_have_the_sizes_of_the_rules() {
        let author = AuthorHeader::from_bytes(&[0; 119]).expect("119 bytes (ios 7.4)");
        assert_eq!(author.to_bytes().len(), 119);
        let header = FinalHeader::from_bytes(&[0; 364]).expect("364 bytes (ios 9.3)");
        assert_eq!(header.to_bytes().len(), 364);
        assert_eq!(
            FinalHeader::from_bytes(&[0; 365]),
            Err(DecodeError::Trailing { extra: 1 })
        );
    }

    #[test]
    fn runs_and_numbers_do_not_mix() {
        let seq = BlockSeq::start_of(3).next().next();
        assert_eq!((seq.run(), seq.number()), (3, 2));
        assert!(BlockSeq::start_of(4) > seq);
    }
}
