//! Messages between validators (`ios` 21) and what their frames carry.

use bytes::Bytes;

use crate::block::{Block, CommittedBlock, SignedAuthorHeader};
use crate::block_record::{AuthorReady, ResetRequest};
use crate::certificate::{Certificate, Partial, Subject};
use crate::codec::{Decode, DecodeError, Encode, Reader, encode_items};
use crate::evidence::Evidence;
use crate::ids::{Hash, Height, MemberIndex, Signature, View};
use crate::limits::{FETCH_BLOCKS_MAX, TX_BYTES_MAX, VOTERS_MAX};
use crate::struct_codec;

/// Version of the protocol between validators.
pub const PEER_PROTOCOL_VERSION: u16 = 4;

/// An author block: header and body bytes, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorBlock {
    /// Signed header.
    pub header: SignedAuthorHeader,
    /// Body: count u32, then the transactions.
    pub body: Bytes,
}

/// A leader's proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propose {
    /// View in which it is proposed; differs from `block.header.view` when the base of a view is voted again.
    pub view: View,
    /// Block.
    pub block: Block,
    /// Signature of the view's leader over (propose, height, view, header hash).
    pub signature: Signature,
}

struct_codec!(Propose {
    view,
    block,
    signature
});

/// One voter's vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Phase, height, view and hash.
    pub subject: Subject,
    /// Voter.
    pub member: MemberIndex,
    /// Its signature over the subject.
    pub signature: Signature,
}

struct_codec!(Vote {
    subject,
    member,
    signature
});

/// A leader asks for votes past the tree (`ios` 9.5: star for a subtree, or for all).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collect {
    /// View that the sender leads.
    pub view: View,
    /// First height whose votes it wants from the receiver directly.
    pub from: Height,
    /// Last such height, inclusive.
    pub until: Height,
}

struct_codec!(Collect { view, from, until });

/// A certificate with what it certifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Phase, height, view and hash.
    pub subject: Subject,
    /// Signatures of a quorum.
    pub certificate: Certificate,
}

struct_codec!(Certified { subject, certificate });

/// The highest prepare certificate that a voter ever held, by (view, height) (`ios` 9.6).
pub type Tip = Certified;

/// Highest committed block that a view change reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Height, 0 for genesis.
    pub height: Height,
    /// Header hash; genesis hash at height 0.
    pub hash: Hash,
    /// Proof; none at height 0.
    pub proof: Option<Certified>,
}

struct_codec!(Committed { height, hash, proof });

/// Promise to vote in no view below `new_view`, with what the sender holds (`ios` 9.4, 9.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewChange {
    /// View asked for.
    pub new_view: View,
    /// Highest committed block with a certificate. The certificate may be of the block itself only.
    pub committed: Committed,
    /// Highest prepare certificate ever held.
    pub tip: Option<Tip>,
    /// Sender.
    pub member: MemberIndex,
    /// Its signature over all the above.
    pub signature: Signature,
}

struct_codec!(ViewChange {
    new_view,
    committed,
    tip,
    member,
    signature
});

/// Opening of a view by its leader (`ios` 9.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewView {
    /// The view.
    pub view: View,
    /// A quorum of view changes of distinct senders, ascending by member.
    pub view_changes: Vec<ViewChange>,
    /// Leader's signature.
    pub signature: Signature,
}

impl Encode for NewView {
    fn encode(&self, out: &mut Vec<u8>) {
        self.view.encode(out);
        encode_items(&self.view_changes, out);
        self.signature.encode(out);
    }
}

impl Decode for NewView {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let view = View::decode(reader)?;
        let count = reader.count("view changes", VOTERS_MAX)?;
        let view_changes: Vec<ViewChange> = reader.items(count)?;
        if !view_changes.is_sorted_by(|left, right| left.member < right.member) {
            return Err(DecodeError::Value {
                what: "order of view changes",
            });
        }
        Ok(Self {
            view,
            view_changes,
            signature: Signature::decode(reader)?,
        })
    }
}

/// Question for blocks that the asker lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Final blocks from a height upward.
    Committed {
        /// First height.
        from: Height,
        /// At most this many, at most `FETCH_BLOCKS_MAX`.
        count: u16,
    },
    /// One block by the hash of its header, final or not.
    Block {
        /// Header hash.
        hash: Hash,
    },
    /// One author block by the hash of its header.
    Body {
        /// Header hash.
        hash: Hash,
    },
    /// Anything that carries the asker's own signature: it starts with an empty disk.
    Trace,
}

/// Something that a member signed in this epoch, as another member holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// A vote, also out of a certificate.
    Vote(Vote),
    /// A promise.
    ViewChange(Box<ViewChange>),
    /// The header of an author block.
    AuthorBlock(SignedAuthorHeader),
    /// A sum of votes with its own among them: nobody else can have added it.
    Partial(Partial),
}

impl Encode for Trace {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Vote(vote) => {
                0_u8.encode(out);
                vote.encode(out);
            }
            Self::ViewChange(change) => {
                1_u8.encode(out);
                change.encode(out);
            }
            Self::AuthorBlock(header) => {
                2_u8.encode(out);
                header.encode(out);
            }
            Self::Partial(partial) => {
                3_u8.encode(out);
                partial.encode(out);
            }
        }
    }
}

impl Decode for Trace {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Vote::decode(reader).map(Self::Vote),
            1 => ViewChange::decode(reader).map(|change| Self::ViewChange(Box::new(change))),
            2 => SignedAuthorHeader::decode(reader).map(Self::AuthorBlock),
            3 => Partial::decode(reader).map(Self::Partial),
            _ => Err(DecodeError::Value {
                what: "kind of trace",
            }),
        }
    }
}

impl Encode for Fetch {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Committed { from, count } => {
                0_u8.encode(out);
                from.encode(out);
                count.encode(out);
            }
            Self::Block { hash } => {
                1_u8.encode(out);
                hash.encode(out);
            }
            Self::Body { hash } => {
                2_u8.encode(out);
                hash.encode(out);
            }
            Self::Trace => 3_u8.encode(out),
        }
    }
}

impl Decode for Fetch {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Committed {
                from: Height::decode(reader)?,
                count: reader.u16()?.min(FETCH_BLOCKS_MAX),
            }),
            1 => Ok(Self::Block {
                hash: Hash::decode(reader)?,
            }),
            2 => Ok(Self::Body {
                hash: Hash::decode(reader)?,
            }),
            3 => Ok(Self::Trace),
            _ => Err(DecodeError::Value {
                what: "kind of fetch",
            }),
        }
    }
}

/// Every message between validators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMessage {
    /// 20: a header passed on by a voter that has its body, so that no author shows a block to a quorum only.
    AuthorHeader(SignedAuthorHeader),
    /// 21: an author block.
    AuthorBlock(AuthorBlock),
    /// 27: a client's transaction for the slow lane.
    SlowIntent(Bytes),
    /// 28: a fault with its proof.
    FraudProof(Box<Evidence>),
    /// 2B: a candidate is there.
    AuthorReady(AuthorReady),
    /// 2C: an author asks for a new run.
    ResetRequest(ResetRequest),
    /// 30: proposal.
    Propose(Propose),
    /// 31: vote, to the leader.
    Vote(Vote),
    /// 32: certificate, from the leader.
    Certified(Certified),
    /// 33.
    ViewChange(Box<ViewChange>),
    /// 34.
    NewView(Box<NewView>),
    /// 35: question.
    Fetch(Fetch),
    /// 36: final blocks, in order.
    Blocks(Vec<CommittedBlock>),
    /// 38: one proposed block asked for by hash.
    Block(Box<Block>),
    /// 37: an aged author block that the proposal omitted (`ios` 9.8).
    Nack(SignedAuthorHeader),
    /// 39: what is known here of the asker's signatures.
    Trace(Option<Box<Trace>>),
    /// 3A: the sender would leave this view; a promise follows when enough others would.
    Suspect(View),
    /// 3B: votes of a committee with aggregates, up the tree or straight to the leader.
    Partial(Partial),
    /// 3C: the leader wants votes straight from the receiver.
    Collect(Collect),
}

/// How urgent a message is: votes never wait behind bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Consensus.
    Control,
    /// Bodies and catch-up.
    Bulk,
}

impl PeerMessage {
    /// Type byte of the frame.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::AuthorHeader(_) => 0x20,
            Self::AuthorBlock(_) => 0x21,
            Self::SlowIntent(_) => 0x27,
            Self::FraudProof(_) => 0x28,
            Self::AuthorReady(_) => 0x2b,
            Self::ResetRequest(_) => 0x2c,
            Self::Propose(_) => 0x30,
            Self::Vote(_) => 0x31,
            Self::Certified(_) => 0x32,
            Self::ViewChange(_) => 0x33,
            Self::NewView(_) => 0x34,
            Self::Fetch(_) => 0x35,
            Self::Blocks(_) => 0x36,
            Self::Nack(_) => 0x37,
            Self::Block(_) => 0x38,
            Self::Trace(_) => 0x39,
            Self::Suspect(_) => 0x3a,
            Self::Partial(_) => 0x3b,
            Self::Collect(_) => 0x3c,
        }
    }

    /// Lane of the message.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::AuthorBlock(_) | Self::Blocks(_) | Self::Block(_) => Lane::Bulk,
            _ => Lane::Control,
        }
    }

    /// Payload of the frame as a head and, for author blocks, the body that follows it without a copy.
    #[must_use]
    pub fn encode_payload(&self) -> (Vec<u8>, Option<Bytes>) {
        let mut out = Vec::with_capacity(256);
        match self {
            Self::AuthorBlock(block) => {
                block.header.encode(&mut out);
                return (out, Some(block.body.clone()));
            }
            Self::AuthorHeader(header) => header.encode(&mut out),
            Self::SlowIntent(tx) => out.extend_from_slice(tx),
            Self::FraudProof(evidence) => evidence.encode(&mut out),
            Self::AuthorReady(ready) => ready.encode(&mut out),
            Self::ResetRequest(request) => request.encode(&mut out),
            Self::Propose(propose) => propose.encode(&mut out),
            Self::Vote(vote) => vote.encode(&mut out),
            Self::Certified(certified) => certified.encode(&mut out),
            Self::ViewChange(change) => change.encode(&mut out),
            Self::NewView(new_view) => new_view.encode(&mut out),
            Self::Fetch(fetch) => fetch.encode(&mut out),
            Self::Blocks(blocks) => encode_items(blocks, &mut out),
            Self::Nack(header) => header.encode(&mut out),
            Self::Block(block) => block.encode(&mut out),
            Self::Suspect(view) => view.encode(&mut out),
            Self::Partial(partial) => partial.encode(&mut out),
            Self::Collect(collect) => collect.encode(&mut out),
            Self::Trace(trace) => trace.as_deref().cloned().encode(&mut out),
        }
        (out, None)
    }

    /// Reads the payload of a frame; the body of an author block is a slice of it, not a copy.
    ///
    /// # Errors
    /// Names what is not canonical; an unknown type is `Value`.
    pub fn decode_payload(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        match kind {
            0x21 => {
                let mut reader = Reader::new(payload);
                let header = SignedAuthorHeader::decode(&mut reader)?;
                Ok(Self::AuthorBlock(AuthorBlock {
                    header,
                    body: payload.slice(reader.offset()..),
                }))
            }
            0x20 => SignedAuthorHeader::from_bytes(payload).map(Self::AuthorHeader),
            0x27 if payload.len() > TX_BYTES_MAX => Err(DecodeError::Count {
                what: "bytes of a transaction",
                count: payload.len() as u64,
                max: TX_BYTES_MAX as u64,
            }),
            0x27 => Ok(Self::SlowIntent(payload.clone())),
            0x28 => Evidence::from_bytes(payload).map(|evidence| Self::FraudProof(Box::new(evidence))),
            0x2b => AuthorReady::from_bytes(payload).map(Self::AuthorReady),
            0x2c => ResetRequest::from_bytes(payload).map(Self::ResetRequest),
            0x30 => Propose::from_bytes(payload).map(Self::Propose),
            0x31 => Vote::from_bytes(payload).map(Self::Vote),
            0x32 => Certified::from_bytes(payload).map(Self::Certified),
            0x33 => ViewChange::from_bytes(payload).map(|change| Self::ViewChange(Box::new(change))),
            0x34 => NewView::from_bytes(payload).map(|new_view| Self::NewView(Box::new(new_view))),
            0x35 => Fetch::from_bytes(payload).map(Self::Fetch),
            0x36 => {
                let mut reader = Reader::new(payload);
                let count = reader.count("final blocks", usize::from(FETCH_BLOCKS_MAX))?;
                let blocks = reader.items(count)?;
                reader.finish()?;
                Ok(Self::Blocks(blocks))
            }
            0x37 => SignedAuthorHeader::from_bytes(payload).map(Self::Nack),
            0x38 => Block::from_bytes(payload).map(|block| Self::Block(Box::new(block))),
            0x3a => {
                let mut reader = Reader::new(payload);
                let view = View::decode(&mut reader)?;
                reader.finish()?;
                Ok(Self::Suspect(view))
            }
            0x3b => Partial::from_bytes(payload).map(Self::Partial),
            0x3c => Collect::from_bytes(payload).map(Self::Collect),
            0x39 => Option::<Trace>::from_bytes(payload).map(|trace| Self::Trace(trace.map(Box::new))),
            _ => Err(DecodeError::Value {
                what: "type of a peer message",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::PeerMessage;

    proptest::proptest! {
        #[test]
        fn arbitrary_payloads_decode_canonically_or_are_refused(kind in 0x20u8..0x3e, bytes in proptest::collection::vec(0u8..4, 0..900)) {
            let payload = Bytes::from(bytes);
            if let Ok(message) = PeerMessage::decode_payload(kind, &payload) {
                let (mut head, body) = message.encode_payload();
                head.extend_from_slice(&body.unwrap_or_default());
                // A fetch may ask for more than is served; everything else has one encoding.
                if kind != 0x35 {
                    proptest::prop_assert_eq!(&head[..], &payload[..]);
                }
            }
        }
    }
}
