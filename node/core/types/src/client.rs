//! The client protocol of all designs (`ios` 14.2). Frames carry the same envelope as between validators.

mod note;
mod status;

use bytes::Bytes;

use crate::block::{CommittedBlock, SignedAuthorHeader};
use crate::codec::{Decode, DecodeError, Encode, Reader, encode_items};
use crate::ids::{Epoch, Hash, Height, ShardId, Tag, TxId, ValidatorId};
use crate::limits::{BLOCK_REFS_MAX, SHARDS_MAX, SUBMIT_TXS_MAX, TX_BYTES_MAX, VALIDATORS_MAX};
use crate::message::AuthorBlock;
use crate::reject::Reject;
use crate::struct_codec;

pub use note::{FinalNote, MerklePath, NoteEntry, Receipts, SlowEntry, TagAt};
pub use status::{FaultCounts, Level, NodeInfo, StateInfo, TxStatus};

/// Version of the client protocol; a mismatch is refused and names both sides.
pub const CLIENT_PROTOCOL_VERSION: u16 = 3;

/// Who speaks (`Hello.role`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// A validator.
    Validator = 0,
    /// A client; its `id` is zero.
    Client = 1,
}

/// First message of both sides on every connection, also between validators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Genesis hash: two networks never talk.
    pub genesis: Hash,
    /// Id key of a validator, zero for a client.
    pub id: [u8; 32],
    /// `CLIENT_PROTOCOL_VERSION` or `PEER_PROTOCOL_VERSION`.
    pub protocol_version: u16,
    /// Who speaks.
    pub role: Role,
    /// Ledger design: 0 `pob`, 1 `pbft`, 2 `records`, 3 `constellation`.
    pub design: u8,
    /// Epoch.
    pub epoch: Epoch,
    /// Tags that may be in flight on this connection.
    pub in_flight_max: u32,
}

impl Encode for Role {
    fn encode(&self, out: &mut Vec<u8>) {
        (*self as u8).encode(out);
    }
}

impl Decode for Role {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Validator),
            1 => Ok(Self::Client),
            _ => Err(DecodeError::Value { what: "role" }),
        }
    }
}

struct_codec!(Hello {
    genesis,
    id,
    protocol_version,
    role,
    design,
    epoch,
    in_flight_max
});

/// State of one shard in a `Topology`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStatus {
    /// Members, voters and candidates.
    pub members: u16,
    /// 0 two leagues, 1 one league.
    pub mode: u8,
    /// Final height known to the answering node; 0 for shards that it does not serve.
    pub height: Height,
}

struct_codec!(ShardStatus {
    members,
    mode,
    height
});

/// Group of a member that authors none.
pub const GROUP_NONE: u16 = u16::MAX;

/// Address of one validator in a `Topology`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorAddress {
    /// Index in the id-sorted list.
    pub id: ValidatorId,
    /// Id key; checked against genesis.
    pub key: [u8; 32],
    /// Shard that it serves.
    pub shard: ShardId,
    /// 0 voter, 1 candidate.
    pub role: u8,
    /// Group that it authors: in mode 0 of a seated candidate, in mode 1 of a voter, else [`GROUP_NONE`].
    pub group: u16,
    /// IPv6 address, or an IPv4 one mapped.
    pub ip: [u8; 16],
    /// UDP port for clients.
    pub port: u16,
}

struct_codec!(ValidatorAddress {
    id,
    key,
    shard,
    role,
    group,
    ip,
    port
});

/// Addresses, modes and heights; keys and shards are checked against genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Epoch.
    pub epoch: Epoch,
    /// By shard.
    pub shards: Vec<ShardStatus>,
    /// By validator id.
    pub validators: Vec<ValidatorAddress>,
}

/// One refused tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Tag.
    pub tag: Tag,
    /// Reason.
    pub reason: Reject,
}

impl Encode for Refused {
    fn encode(&self, out: &mut Vec<u8>) {
        self.tag.encode(out);
        self.reason.code().encode(out);
    }
}

impl Decode for Refused {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = Tag::decode(reader)?;
        let reason = Reject::from_code(reader.u8()?).ok_or(DecodeError::Value { what: "reject code" })?;
        Ok(Self { tag, reason })
    }
}

/// Part of the answer to `BlocksReq`: a final block, or one of the bodies that the block before it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockItem {
    /// Final block; its bodies follow in the order of its references.
    Block(Box<CommittedBlock>),
    /// Author block.
    Body(AuthorBlock),
}

/// Messages of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// 01.
    Hello(Hello),
    /// 03.
    Topology,
    /// 10: transactions; tag of item `i` is `first_tag + i`.
    Submit {
        /// Tag of the first.
        first_tag: Tag,
        /// Transactions, slices of the received frame.
        txs: Vec<Bytes>,
    },
    /// 18: transactions for the slow lane, to any voter; tags as above.
    SubmitSlow {
        /// Tag of the first.
        first_tag: Tag,
        /// Transactions, slices of the received frame.
        txs: Vec<Bytes>,
    },
    /// 16: how far these are.
    Status(Vec<TxId>),
    /// 19: final blocks and their bodies from a height upward.
    Blocks {
        /// First height.
        from: Height,
        /// At most this many blocks.
        count: u16,
    },
    /// 1B.
    State,
    /// 1D.
    Info,
}

/// Messages of a node to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 01.
    Hello(Hello),
    /// 02.
    Topology(Topology),
    /// 11: refused, each for its own reason.
    Reject(Vec<Refused>),
    /// 12: optimistic: their author staked its bond on them.
    Receipts(Box<Receipts>),
    /// 13: final, with proof.
    Final(Box<FinalNote>),
    /// 15: these were not taken; ask again after `retry_ms`.
    Busy {
        /// First tag.
        first_tag: Tag,
        /// How many.
        count: u16,
        /// Milliseconds.
        retry_ms: u16,
    },
    /// 17: in the order of the question.
    Status(Vec<TxStatus>),
    /// 1A: part of an answer; `last` ends it.
    Blocks {
        /// In order.
        items: Vec<BlockItem>,
        /// True on the last frame of this answer.
        last: bool,
    },
    /// 1C.
    State(StateInfo),
    /// 1E.
    Info(Box<NodeInfo>),
}

impl Request {
    /// Type byte of the frame.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 0x01,
            Self::Topology => 0x03,
            Self::Submit { .. } => 0x10,
            Self::SubmitSlow { .. } => 0x18,
            Self::Status(_) => 0x16,
            Self::Blocks { .. } => 0x19,
            Self::State => 0x1b,
            Self::Info => 0x1d,
        }
    }

    /// Payload of the frame.
    #[must_use]
    pub fn encode_payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Hello(hello) => hello.encode(&mut out),
            Self::Topology | Self::State | Self::Info => {}
            Self::Submit { first_tag, txs } | Self::SubmitSlow { first_tag, txs } => {
                encode_submit(*first_tag, txs, &mut out);
            }
            Self::Status(txids) => {
                (txids.len() as u16).encode(&mut out);
                txids.iter().for_each(|txid| txid.encode(&mut out));
            }
            Self::Blocks { from, count } => {
                from.encode(&mut out);
                count.encode(&mut out);
            }
        }
        out
    }

    /// Reads the payload of a frame; transactions are slices of it, not copies.
    ///
    /// # Errors
    /// Names what is not canonical; an unknown type is `Value`.
    pub fn decode_payload(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let request = match kind {
            0x01 => Self::Hello(Hello::decode(&mut reader)?),
            0x03 => Self::Topology,
            0x10 | 0x18 => {
                let first_tag = Tag::decode(&mut reader)?;
                let count = reader.count16("transactions of a submission", SUBMIT_TXS_MAX)?;
                // A transaction takes its length at least, whatever the count says.
                let mut txs = Vec::with_capacity(count.min(reader.remaining() / 2));
                for _ in 0..count {
                    let len = reader.count16("bytes of a transaction", TX_BYTES_MAX)?;
                    txs.push(payload.slice_ref(reader.bytes(len)?));
                }
                if first_tag.0.checked_add(count as u32).is_none() {
                    return Err(DecodeError::Value { what: "first tag" });
                }
                if kind == 0x18 {
                    Self::SubmitSlow { first_tag, txs }
                } else {
                    Self::Submit { first_tag, txs }
                }
            }
            0x16 => {
                let count = reader.count16("transaction ids", SUBMIT_TXS_MAX)?;
                Self::Status(reader.items(count)?)
            }
            0x19 => Self::Blocks {
                from: Height::decode(&mut reader)?,
                count: reader.u16()?,
            },
            0x1b => Self::State,
            0x1d => Self::Info,
            _ => {
                return Err(DecodeError::Value {
                    what: "type of a client message",
                });
            }
        };
        reader.finish()?;
        Ok(request)
    }
}

/// Appends the payload of a submission (10): what a generator prepares before its measured window.
pub fn encode_submit<T: AsRef<[u8]>>(first_tag: Tag, txs: &[T], out: &mut Vec<u8>) {
    first_tag.encode(out);
    (txs.len() as u16).encode(out);
    for tx in txs {
        (tx.as_ref().len() as u16).encode(out);
        out.extend_from_slice(tx.as_ref());
    }
}

impl Answer {
    /// Type byte of the frame.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 0x01,
            Self::Topology(_) => 0x02,
            Self::Reject(_) => 0x11,
            Self::Receipts(_) => 0x12,
            Self::Final(_) => 0x13,
            Self::Busy { .. } => 0x15,
            Self::Status(_) => 0x17,
            Self::Blocks { .. } => 0x1a,
            Self::State(_) => 0x1c,
            Self::Info(_) => 0x1e,
        }
    }

    /// Payload of the frame.
    #[must_use]
    pub fn encode_payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Hello(hello) => hello.encode(&mut out),
            Self::Topology(topology) => {
                topology.epoch.encode(&mut out);
                encode_items(&topology.shards, &mut out);
                encode_items(&topology.validators, &mut out);
            }
            Self::Reject(refused) => {
                (refused.len() as u16).encode(&mut out);
                refused.iter().for_each(|item| item.encode(&mut out));
            }
            Self::Receipts(receipts) => receipts.encode(&mut out),
            Self::Final(note) => note.encode(&mut out),
            Self::Busy {
                first_tag,
                count,
                retry_ms,
            } => {
                first_tag.encode(&mut out);
                count.encode(&mut out);
                retry_ms.encode(&mut out);
            }
            Self::Status(statuses) => {
                (statuses.len() as u16).encode(&mut out);
                statuses.iter().for_each(|status| status.encode(&mut out));
            }
            Self::Blocks { items, last } => encode_blocks(items, *last, &mut out),
            Self::State(state) => state.encode(&mut out),
            Self::Info(info) => info.encode(&mut out),
        }
        out
    }

    /// Reads the payload of a frame; bodies are slices of it.
    ///
    /// # Errors
    /// Names what is not canonical; an unknown type is `Value`.
    pub fn decode_payload(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let answer = match kind {
            0x01 => Self::Hello(Hello::decode(&mut reader)?),
            0x02 => {
                let epoch = Epoch::decode(&mut reader)?;
                let shards = reader.count("shards", SHARDS_MAX)?;
                let shards = reader.items(shards)?;
                let validators = reader.count("validators", VALIDATORS_MAX)?;
                Self::Topology(Topology {
                    epoch,
                    shards,
                    validators: reader.items(validators)?,
                })
            }
            0x11 => {
                let count = reader.count16("refused tags", usize::from(u16::MAX))?;
                Self::Reject(reader.items(count)?)
            }
            0x12 => Self::Receipts(Box::new(Receipts::decode(&mut reader)?)),
            0x13 => Self::Final(Box::new(FinalNote::decode(&mut reader)?)),
            0x15 => Self::Busy {
                first_tag: Tag::decode(&mut reader)?,
                count: reader.u16()?,
                retry_ms: reader.u16()?,
            },
            0x17 => {
                let count = reader.count16("statuses", SUBMIT_TXS_MAX)?;
                Self::Status(reader.items(count)?)
            }
            0x1a => decode_blocks(&mut reader, payload)?,
            0x1c => Self::State(StateInfo::decode(&mut reader)?),
            0x1e => Self::Info(Box::new(NodeInfo::decode(&mut reader)?)),
            _ => {
                return Err(DecodeError::Value {
                    what: "type of a node's answer",
                });
            }
        };
        reader.finish()?;
        Ok(answer)
    }
}

fn encode_blocks(items: &[BlockItem], last: bool, out: &mut Vec<u8>) {
    u8::from(last).encode(out);
    (items.len() as u32).encode(out);
    for item in items {
        match item {
            BlockItem::Block(block) => {
                0_u8.encode(out);
                block.encode(out);
            }
            BlockItem::Body(block) => {
                1_u8.encode(out);
                block.header.encode(out);
                (block.body.len() as u32).encode(out);
                out.extend_from_slice(&block.body);
            }
        }
    }
}

fn decode_blocks(reader: &mut Reader<'_>, payload: &Bytes) -> Result<Answer, DecodeError> {
    let last = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(DecodeError::Value { what: "end mark" }),
    };
    let count = reader.count("block items", BLOCK_REFS_MAX)?;
    let mut items = Vec::new();
    for _ in 0..count {
        match reader.u8()? {
            0 => items.push(BlockItem::Block(Box::new(CommittedBlock::decode(reader)?))),
            1 => {
                let header = SignedAuthorHeader::decode(reader)?;
                let len = reader.count("bytes of a body", crate::limits::BATCH_BYTES_MAX)?;
                items.push(BlockItem::Body(AuthorBlock {
                    header,
                    body: payload.slice_ref(reader.bytes(len)?),
                }));
            }
            _ => {
                return Err(DecodeError::Value {
                    what: "kind of a block item",
                });
            }
        }
    }
    Ok(Answer::Blocks { items, last })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Answer, Hello, NodeInfo, Refused, Request, Role};
    use crate::codec::Encode;
    use crate::ids::{Epoch, Hash, Tag};
    use crate::reject::Reject;

    #[test]
    fn hello_has_the_size_of_the_rule_and_everything_round_trips() {
        let hello = Hello {
            genesis: Hash([1; 32]),
            id: [0; 32],
            protocol_version: 1,
            role: Role::Client,
            design: 1,
            epoch: Epoch(0),
            in_flight_max: 9,
        };
        assert_eq!(hello.to_bytes().len(), 76);
        let submit = Request::Submit {
            first_tag: Tag(7),
            txs: vec![Bytes::from_static(b"ab"), Bytes::new()],
        };
        for request in [Request::Hello(hello), submit, Request::Info] {
            let payload = Bytes::from(request.encode_payload());
            assert_eq!(Request::decode_payload(request.kind(), &payload), Ok(request));
        }
        let refused = vec![Refused {
            tag: Tag(3),
            reason: Reject::Busy,
        }];
        for answer in [
            Answer::Reject(refused),
            Answer::Info(Box::new(NodeInfo {
                backend: "x".into(),
                ..NodeInfo::default()
            })),
        ] {
            let payload = Bytes::from(answer.encode_payload());
            assert_eq!(Answer::decode_payload(answer.kind(), &payload), Ok(answer));
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_frames_decode_canonically_or_are_refused(kind in 0u8..0x20, bytes in proptest::collection::vec(0u8..4, 0..700)) {
            let payload = Bytes::from(bytes);
            if let Ok(request) = Request::decode_payload(kind, &payload) {
                proptest::prop_assert_eq!(request.encode_payload(), payload.to_vec());
            }
            if let Ok(answer) = Answer::decode_payload(kind, &payload) {
                proptest::prop_assert_eq!(answer.encode_payload(), payload.to_vec());
            }
        }
    }
}
